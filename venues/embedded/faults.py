"""Faults that can be set on what the exchange sends: which message, which way it goes wrong; pure.

A fault names a target, a glob over the names of that target's messages, and an action. It may let
some matches pass first (`skip`), hit only each n-th (`every`), and end by itself (`count`).
"""

from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import msgspec

from engine.errors import UsageError

Target = Literal["market", "user", "rest", "ws_api", "connect"]
ACTIONS: dict[str, tuple[str, ...]] = {
    # frames of a socket; names are streams (`btcusdt@trade`) or events (`executionReport:TRADE`)
    "market": (
        "drop", "delay", "duplicate", "reorder", "truncate", "stall", "replace", "close", "reset",
        "unconfirmed",
    ),
    "user": (
        "drop", "delay", "duplicate", "reorder", "truncate", "stall", "replace", "close", "reset",
    ),
    # answers; names are `POST /api/v3/order` and `order.place`
    "rest": ("delay", "hang", "reset", "truncate", "status", "stale"),
    "ws_api": ("delay", "hang", "reset", "truncate", "status"),
    # opening handshakes of sockets; names are their paths
    "connect": ("delay", "hang", "reset", "status"),
}  # fmt: skip
MAX_FAULTS = 100


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault as the control port takes it; see docs/embedded_exchange.md for each field."""

    target: Target
    action: str
    match: str = "*"
    skip: int = 0
    every: int = 1
    count: int = 0  # hits until it ends; 0 lasts until it is removed
    phase: Literal["before", "after"] = "before"  # the request took effect, or did not
    delay_ms: float = 0.0
    bytes: int = 10  # truncate: how much still goes out
    status: int = 503
    body: str = ""
    retry_after_s: int = 0
    pongs: bool = True  # stall: whether pings are still answered
    seen: int = 0
    hits: int = 0


class FaultBook:
    """The faults that are set, by number."""

    def __init__(self) -> None:
        self.faults: dict[int, Fault] = {}
        self.busy: set[str] = set()  # targets that have one: looked at for every message
        self._next = 1

    def add(self, fault: Fault) -> int:
        """Set a fault. Returns its number.

        Raises:
            UsageError: the target knows no such action, or a number is out of range.
        """
        allowed = ACTIONS[fault.target]
        if fault.action not in allowed:
            known = ", ".join(allowed)
            raise UsageError(
                f"fault: {fault.target} knows no action {fault.action!r}; it has {known}"
            )
        if min(fault.skip, fault.count, fault.bytes) < 0 or fault.every < 1:
            raise UsageError("fault: skip, count and bytes must be 0 or more, every 1 or more")
        if not 0 <= fault.delay_ms <= 600_000 or not 100 <= fault.status <= 599:
            raise UsageError("fault: delay_ms must be 0 to 600000, status 100 to 599")
        if len(self.faults) >= MAX_FAULTS:
            raise UsageError(f"fault: at most {MAX_FAULTS} at a time")
        number = self._next
        self._next += 1
        self.faults[number] = fault
        self.busy.add(fault.target)
        return number

    def remove(self, number: int) -> bool:
        """Remove one fault. Returns whether it was there."""
        found = self.faults.pop(number, None)
        self._refresh()
        return found is not None

    def clear(self) -> None:
        """Remove all."""
        self.faults.clear()
        self._refresh()

    def hit(self, target: str, name: str, *, action: str = "", phase: str = "") -> Fault | None:
        """Return the fault that this message meets now, and count it.

        Args:
            target: see Fault.
            name: of the message.
            action: only this action; empty for any.
            phase: only this phase; empty for any.
        """
        if target not in self.busy:
            return None
        for number, fault in self.faults.items():
            if fault.target != target or not fnmatchcase(name, fault.match):
                continue
            if (action and fault.action != action) or (phase and fault.phase != phase):
                continue
            if not action and fault.action in ("unconfirmed", "stale"):
                continue  # these are asked for by name
            fault.seen += 1
            if fault.seen <= fault.skip or (fault.seen - fault.skip - 1) % fault.every:
                continue
            fault.hits += 1
            if fault.count and fault.hits >= fault.count:
                del self.faults[number]
                self._refresh()
            return fault
        return None

    def described(self) -> list[dict[str, Any]]:
        """Return every fault with its number and counts."""
        return [
            {"id": number, **msgspec.to_builtins(fault)} for number, fault in self.faults.items()
        ]

    def _refresh(self) -> None:
        self.busy = {fault.target for fault in self.faults.values()}


assert set(ACTIONS) == set(get_args(Target))
