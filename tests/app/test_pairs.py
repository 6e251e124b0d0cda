"""Who is paired with whom: from the settings to the kernel's rules and to what a model may read."""

import msgspec

from app.rules import kernel_rules
from app.slots import data_of
from config.load import load_settings
from config.settings import Settings
from engine.instruments import Instrument

A = Instrument(
    venue="test", symbol="AUSD", base="A", quote="USD", tick="0.01", lot="0.01", has=("trades",)
)
B = msgspec.structs.replace(A, symbol="BUSD", base="B")


def paired(pairs: dict[str, str]) -> Settings:
    settings = load_settings(None)
    engine = msgspec.structs.replace(settings.engine, pairs=pairs)
    return msgspec.structs.replace(settings, engine=engine)


def test_a_peer_on_the_tape_brings_its_bars() -> None:
    settings = paired({"AUSD": "BUSD"})
    assert data_of(settings, [A, B], 0) == ("trades", "peer_bars")
    assert data_of(settings, [A, B], 1) == ("trades",)
    assert kernel_rules(settings, True).pairs == (("AUSD", "BUSD"),)


def test_a_peer_that_is_not_on_the_tape_brings_nothing() -> None:
    assert data_of(paired({"AUSD": "ZUSD"}), [A, B], 0) == ("trades",)
    assert data_of(paired({}), [A, B], 0) == ("trades",)
