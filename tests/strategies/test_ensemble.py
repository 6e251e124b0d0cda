"""The ensemble strategy: entries are those of who advised, exits of who holds."""

from types import SimpleNamespace

import pytest

from engine.books import Book
from engine.errors import ConfigError
from engine.events import Action, HoldReason, Purpose, Signal
from engine.instruments import Instrument
from engine.money import Grid
from engine.view import FusedView
from strategies.registry import build_strategy

GRID = Grid(Instrument(venue="t", symbol="AUSDT", base="A", quote="USDT", tick="0.01", lot="0.001"))
SECOND = 1_000_000_000


class World:
    """A fused view of members 1 and 4."""

    def __init__(self, **params) -> None:
        self.strategy = build_strategy("ensemble", params)
        self.books = {1: Book(), 4: Book()}
        self.words = dict.fromkeys(range(64), 0)
        source = SimpleNamespace(owners=((1, 700_000), (4, 300_000)))
        self.view = FusedView(self.words, self.books, source)  # type: ignore[arg-type]
        self.view.instrument, self.view.model, self.view.grid = 0, 9, GRID
        self.view.size_quote = 0.0
        self.at(0)

    def at(self, ts: int) -> None:
        from engine.view import ASK_TICK, BID_TICK, NOW

        self.words[NOW], self.words[BID_TICK], self.words[ASK_TICK] = ts, 9_999, 10_001

    def hears(self, action: Action, confidence: float):
        chances = [0.0, 0.0, 0.0]
        chances[action] = confidence
        self.view.signal = Signal(
            11, self.view.now, 3, 0, 9, int(action), int(HoldReason.NONE), *chances
        )
        return self.strategy.decide(self.view)


def test_an_entry_belongs_to_who_advised_and_an_exit_to_who_holds():
    world = World(cooldown_s=0.0)
    (entry,) = world.hears(Action.BUY, 0.7)
    assert entry.owners == ((1, 700_000), (4, 300_000))
    assert (entry.side, entry.purpose, entry.signal_id) == (1, Purpose.ENTRY, 11)
    assert entry.qty_lot == GRID.lots(50.0, 10_001)
    assert 0 < entry.stop_loss_tick < 10_001 < entry.take_profit_tick
    assert world.hears(Action.SELL, 0.9) == ()  # nothing is held, shorts are not allowed
    world.books[1].position_lot, world.books[4].position_lot = 30, 12
    world.books[4].closing_lot = 2
    (leave,) = world.hears(Action.SELL, 0.9)
    assert (leave.side, leave.purpose, leave.qty_lot) == (-1, Purpose.EXIT, 40)
    assert leave.owners == ((1, 30), (4, 10))
    world.books[1].closing_lot, world.books[4].closing_lot = 30, 12
    assert world.hears(Action.SELL, 0.9) == ()  # all of it is on its way out


def test_threshold_cooldown_and_the_models_own_size():
    world = World(threshold=0.65, cooldown_s=30.0)
    assert world.hears(Action.BUY, 0.64) == ()
    assert world.hears(Action.HOLD, 0.9) == ()
    world.view.size_quote = 80.0
    (entry,) = world.hears(Action.BUY, 0.65)
    assert entry.qty_lot == GRID.lots(80.0, 10_001)
    world.at(30 * SECOND - 1)
    assert world.hears(Action.BUY, 0.9) == ()
    world.at(30 * SECOND)
    assert len(world.hears(Action.BUY, 0.9)) == 1


def test_a_short_is_opened_only_where_allowed_and_bought_back_by_its_holders():
    world = World(allow_short=True, cooldown_s=0.0)
    (entry,) = world.hears(Action.SELL, 0.8)
    assert (entry.side, entry.purpose) == (-1, Purpose.ENTRY)
    world.books[4].position_lot = -7
    (back,) = world.hears(Action.BUY, 0.8)
    assert (back.side, back.purpose, back.owners) == (1, Purpose.EXIT, ((4, 7),))


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"size_quote": 0.0}, "size_quote"),
        ({"cooldown_s": -1.0}, "cooldown_s"),
    ],
)
def test_parameters_that_cannot_be_are_refused(params, key):
    with pytest.raises(ConfigError, match=f"strategies.ensemble.params.{key}"):
        build_strategy("ensemble", params)
