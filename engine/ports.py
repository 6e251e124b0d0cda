"""The ports: what the pipeline needs of the rooms, and who gives it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engine.events import Intent, Place
from engine.orders import Approved, Order
from engine.portfolio import Change
from engine.view import View


class Predictor(Protocol):
    """A model bound to its slot's input and output. Given by ml/runtime."""

    def run(self) -> None:
        """Evaluate the bound input into the bound output, in place."""


class Asker(Protocol):
    """Takes requests to models that answer later. Given by app/inference.py, app/asked_again.py."""

    def __call__(self, slot: int, request: int, x: np.ndarray) -> None:
        """Take one: float32[1, F], valid during the call. Its answer comes as a SIGNAL row."""


class Strategy(Protocol):
    """Turns advice into wishes. Given by strategies/."""

    name: str
    index: int  # its place in the settings; its book has this number

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Return what to do now; nothing is an empty tuple."""


class Verdict(Protocol):
    """The gate's answer to one intent. Given by risk/gate.py."""

    code: int  # audit_layout.Verdict
    blocks: int  # Block bits
    qty_lot: int  # lots that were checked
    notional: int  # of them at the worst price, minor units
    used: int  # the model's exposure before the order, minor units
    limit: int  # the model's limit
    mid: float  # in ticks
    approved: Approved | None


class RiskGate(Protocol):
    """The one door to the venue. Given by risk/gate.py."""

    def check(self, place: Place, intent_id: int) -> Verdict:
        """Approve, reduce or block; an approved order counts as in flight at once."""

    def passed(self, at: int) -> Approved:
        """Return the proof of an order that passed in the kernel, by its place in the ledger."""

    def filled(self, order: Order, qty: int, changes: Sequence[Change]) -> None:
        """Count a fill that the portfolio has booked."""

    def rests(self, order: Order) -> None:
        """Count an acknowledged order as resting."""

    def release(self, order: Order) -> None:
        """Free what an order that is over had reserved."""

    def kill(self, latched: bool) -> None:
        """Latch or clear the kill switch."""

    def restore(self, command: int, day: int, minor: int) -> None:
        """Go on counting an earlier run's losses."""


class AccountGate(RiskGate, Protocol):
    """What a venue's account needs of the gate beside. Given by risk/gate.py."""

    def doubt(self, order: Order, unknown: bool) -> None:
        """Count an order's reserve as unknown, or no longer."""

    def reopen(self, order: Order) -> None:
        """Reserve again what an order that was over has left."""

    def opening(self, instrument: int, owner: int, lots: int, moved: tuple[int, int, int]) -> None:
        """Count a position that no order of this run made."""

    def capital(self, amount: int) -> None:
        """Count money that the run starts with."""


class Venue(Protocol):
    """Takes what the gate approved. Given by venues/paper.py, venues/outbox.py and
    venues/recorded.py."""

    def submit(self, approved: Approved) -> None:
        """Send an order."""

    def cancel(self, order: Order) -> bool:
        """Ask for an order's removal; False when the venue no longer has it."""
