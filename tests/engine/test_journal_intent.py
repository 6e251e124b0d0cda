"""The INTENT record that machine code writes is, byte for byte, the one that Python packs."""

import zlib
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.account_intents import Intents
from engine.events import OrderType
from engine.journal_intent import crc32
from engine.kernel.ledger import LEDGER
from engine.wire_order import WireOrder
from tests.engine.account_world import World

LARGEST = 2**62

orders = st.fixed_dictionaries(
    {
        "side": st.sampled_from((1, -1)),
        "order_type": st.sampled_from([int(kind) for kind in OrderType]),
        "qty_lot": st.integers(1, LARGEST),
        "price_tick": st.integers(0, LARGEST),
        "purpose": st.integers(0, 4),
        "intent_id": st.integers(0, LARGEST),
        "collar_low": st.integers(1, LARGEST),
        "collar_high": st.integers(1, LARGEST),
    }
)


def line_of(number: int, order: dict[str, int]) -> bytes:
    """Return the LEDGER record of an order."""
    line = np.zeros(1, LEDGER)
    for name, value in {**order, "order_id": number, "open": 1, "state": 2, "owner": 3}.items():
        line[name] = value
    return line.tobytes()


def keep_by_python(world: World, number: int, order: dict[str, int], model: int) -> None:
    market, kind = order["order_type"] == OrderType.MARKET, order["order_type"]
    collar = order["collar_high"] if order["side"] > 0 else order["collar_low"]
    tick = collar if market else order["price_tick"]
    wire = WireOrder(world.tag, number, "BTCUSDT", order["side"], kind, order["qty_lot"], tick)
    names = ("purpose", "price_tick", "collar_low", "collar_high", "intent_id")
    world.account.intent(wire, world.market, (*(order[name] for name in names), model))


def keep_by_machine(world: World, number: int, order: dict[str, int], model: int) -> None:
    models = np.full(8, model, np.int64)
    intents = Intents(world.account, [world.market.ref], models)
    intents.store(line_of(number, order), world.account.now())


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the journal's segments without what says whose they are."""
    paths = sorted((folder / "journal").glob("*.journal"))
    return {path.name: path.read_bytes()[128:] for path in paths}


@settings(max_examples=30, deadline=None)
@given(given_orders=st.lists(orders, min_size=1, max_size=150), model=st.integers(0, 2**31 - 1))
def test_both_ways_leave_the_same_bytes_also_over_links_and_segments(
    given_orders: list[dict[str, int]], model: int, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("both")
    worlds = [World(folder / name, segment_records=64) for name in ("python", "machine")]
    for number, order in enumerate(given_orders):
        keep_by_python(worlds[0], number, order, model)
        keep_by_machine(worlds[1], number, order, model)
    python, machine = (world.account for world in worlds)
    assert python.journal.head == machine.journal.head > len(given_orders)
    assert list(python.state.orders) == list(machine.state.orders)
    for one, other in zip(python.state.orders.values(), machine.state.orders.values(), strict=True):
        assert one.words() == other.words()
    for account in (python, machine):
        account.journal.close()
    assert files_of(folder / "python") == files_of(folder / "machine")


def test_what_was_kept_by_machine_code_is_read_again(tmp_path: Path) -> None:
    world = World(tmp_path / "account", segment_records=64)
    order = {"side": 1, "qty_lot": 7, "price_tick": 60_000, "collar_low": 1, "collar_high": 9}
    for number in range(200):
        keep_by_machine(world, number, {**order, "order_type": 1}, 0)
        if number % 3 == 0:
            world.account.journal.settle()
    found = {client: one.words() for client, one in world.account.state.orders.items()}
    world.account.journal.close()
    again = World(tmp_path / "account", boot="boot-1", segment_records=64)
    told = again.account.state.orders
    assert list(told) == list(found)
    assert all(one.qty_lot == 7 and one.wire_tick == 60_000 for one in told.values())
    again.account.journal.close()


@given(st.binary(max_size=256).filter(lambda data: len(data) % 8 == 0), st.integers(0, 2**32 - 1))
def test_crc32_is_that_of_zlib(data: bytes, before: int) -> None:
    assert int(crc32(np.frombuffer(data, np.uint64), before)) == zlib.crc32(data, before)
