"""What the gate answers to an intent."""

from engine.audit_layout import Verdict
from engine.orders import Approved

BLOCKED = int(Verdict.BLOCKED)


class Answer:
    """The gate's answer: code, the bits of the limits that were broken, and the approved order."""

    __slots__ = ("approved", "blocks", "code", "limit", "mid", "notional", "qty_lot", "used")

    def __init__(self) -> None:
        self.approved: Approved | None = None
        self.blocks = 0
        self.code = BLOCKED
        self.qty_lot = 0
        self.notional = 0  # of the checked size at the worst price, minor units
        self.used = 0  # the model's exposure before the order
        self.limit = 0
        self.mid = 0.0
