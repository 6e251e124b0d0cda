"""What an answer proves. Three outcomes of an order: accepted, rejected (proven), UNKNOWN. Pure.

A class name of a client library proves nothing. Proof of a rejection is an answer that was read to
its end, is JSON, and carries a code of the venue's that stands in the tables below. Whatever else
comes back, or does not, leaves the order UNKNOWN, unless our own transport record shows that not
one byte of it left.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec

from engine.events import RejectReason as R
from engine.journal_layout import Doubt

MAX_BODY = 4 << 20


class Attempt:
    """The transport's record of one call, filled in while it runs."""

    __slots__ = (
        "began", "body", "guard", "redirected", "retry_after_s", "sent", "status", "stopped",
    )  # fmt: skip

    def __init__(self, guard: Callable[[str, str, str], None] | None = None) -> None:
        self.guard = guard  # checks url, method and body of what is about to leave
        self.began = 0  # requests handed to the connection
        self.sent = False  # the first byte may have left
        self.redirected = False
        self.stopped = False  # by the guard
        self.status = 0  # of an answer that was read to its end
        self.body = ""
        self.retry_after_s = 0.0


class Kind(IntEnum):
    """How a call ended."""

    ACCEPTED = 0
    REJECTED = 1  # proven
    UNKNOWN = 2
    NOT_SENT = 3  # proven


class Outcome(NamedTuple):
    """What is known after a call."""

    kind: Kind
    reason: R = R.NONE
    code: str = ""  # the venue's: digits and letters, no text
    doubt: Doubt | None = None
    gone: bool = False  # of a cancel or query: the venue says that it has no such order
    message: str = ""  # for tables only: never logged, journalled or raised


class VenueRules(NamedTuple):
    """One exchange's ways to say no. Codes not listed prove nothing."""

    read_code: Callable[[object], tuple[str, str]]  # (code, message) of a parsed answer
    proofs: Mapping[str, R]
    by_message: tuple[tuple[str, str, R], ...] = ()  # (code, part of the message, reason)
    duplicate: tuple[tuple[str, str], ...] = ()  # (code, part of the message)
    gone: frozenset[str] = frozenset()
    request_life_s: float = 0.0  # after this the venue refuses the request itself; 0: it never does
    lag_bound_s: float = 30.0  # how long a query may miss an order that is live
    polls: int = 5  # queries that must miss it


def read_json(attempt: Attempt) -> object | None:
    """Return the parsed answer, None when it is no JSON object or list."""
    try:
        found: object = msgspec.json.decode(attempt.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def judge(rules: VenueRules, attempt: Attempt, accepted: bool) -> Outcome:
    """Say what a call proves.

    Args:
        rules: the exchange's.
        attempt: the transport's record.
        accepted: the answer was understood as a success and names what was asked for.
    """
    if not attempt.sent:
        if attempt.stopped:
            return Outcome(Kind.NOT_SENT, R.WIRE)
        return Outcome(Kind.NOT_SENT, R.NOT_REACHED if attempt.began else R.LIBRARY)
    if not attempt.status or attempt.redirected:
        return Outcome(Kind.UNKNOWN, doubt=Doubt.NO_ANSWER)
    parsed = read_json(attempt)
    if parsed is None:
        return Outcome(Kind.UNKNOWN, doubt=Doubt.UNREADABLE)
    code, message = rules.read_code(parsed)
    code = "".join(c for c in code if c.isalnum() or c in "-_:")[:40]
    if attempt.status >= 500:
        return Outcome(Kind.UNKNOWN, code=code, doubt=Doubt.VENUE_UNSURE)
    if accepted and attempt.status < 300 and code not in rules.proofs:
        return Outcome(Kind.ACCEPTED)
    if any(code == c and part in message for c, part in rules.duplicate):
        return Outcome(Kind.UNKNOWN, code=code, doubt=Doubt.DUPLICATE)
    if code in rules.gone:
        return Outcome(Kind.UNKNOWN, code=code, doubt=Doubt.NO_PROOF, gone=True)
    for listed, part, reason in rules.by_message:
        if code == listed and part in message:
            return Outcome(Kind.REJECTED, reason, code)
    if code in rules.proofs:
        return Outcome(Kind.REJECTED, rules.proofs[code], code)
    return Outcome(Kind.UNKNOWN, code=code, doubt=Doubt.NO_PROOF)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _binance_code(answer: object) -> tuple[str, str]:
    if isinstance(answer, dict) and "code" in answer and "msg" in answer:
        return _text(answer["code"]), _text(answer["msg"])
    return "", ""


def _bybit_code(answer: object) -> tuple[str, str]:
    if isinstance(answer, dict) and answer.get("retCode") not in (None, 0):
        return _text(answer["retCode"]), _text(answer.get("retMsg"))
    return "", ""


def _okx_code(answer: object) -> tuple[str, str]:
    if not isinstance(answer, dict) or _text(answer.get("code")) in ("", "0"):
        return "", ""
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    inner = _text(first.get("sCode"))
    if inner not in ("", "0"):
        return inner, _text(first.get("sMsg"))
    return _text(answer["code"]), _text(answer.get("msg"))


def _kraken_code(answer: object) -> tuple[str, str]:
    errors = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(errors, list) and errors:
        text = _text(errors[0])
        return text.replace(" ", "_"), text
    return "", ""


def _coinbase_code(answer: object) -> tuple[str, str]:
    failure = answer.get("error_response") if isinstance(answer, dict) else None
    if isinstance(failure, dict):
        return _text(failure.get("error")), _text(failure.get("message"))
    return "", ""


BINANCE = VenueRules(
    read_code=_binance_code,
    proofs={
        "-1003": R.RATE_LIMIT,
        "-1008": R.RATE_LIMIT,  # overloaded: refused, may be tried later
        "-1013": R.VENUE,
        "-1015": R.RATE_LIMIT,
        "-1021": R.CLOCK,
        "-1022": R.ACCESS,
        **{f"-{code}": R.VENUE for code in range(1100, 1131)},
        "-1111": R.LOT_SIZE,
        "-2010": R.VENUE,
        "-2014": R.ACCESS,
        "-2015": R.ACCESS,
    },
    by_message=(
        ("-1013", "LOT_SIZE", R.LOT_SIZE),
        ("-1013", "PRICE_FILTER", R.PRICE_TICK),
        ("-1013", "NOTIONAL", R.MIN_NOTIONAL),
        ("-1013", "PERCENT_PRICE", R.COLLAR),
        ("-1013", "MAX_NUM_ORDERS", R.OPEN_ORDERS),
        ("-2010", "insufficient balance", R.BALANCE),
        ("-2010", "immediately match", R.POST_ONLY_WOULD_CROSS),
        ("-2010", "Market is closed", R.MARKET_HALTED),
    ),
    duplicate=(("-2010", "Duplicate order"),),
    gone=frozenset({"-2011", "-2013"}),
    request_life_s=6.0,  # recvWindow of 5 s and the second that a stamp may lie ahead
)
_KRAKEN_PROOFS = {
    "EOrder:Insufficient_funds": R.BALANCE,
    "EOrder:Post_only_order": R.POST_ONLY_WOULD_CROSS,
    "EOrder:Order_minimum_not_met": R.LOT_SIZE,
    "EOrder:Tick_size_check_failed": R.PRICE_TICK,
    "EOrder:Cost_minimum_not_met": R.MIN_NOTIONAL,
    "EOrder:Rate_limit_exceeded": R.RATE_LIMIT,
    "EAPI:Invalid_nonce": R.CLOCK,
    "EAPI:Invalid_signature": R.ACCESS,
    "EAPI:Rate_limit_exceeded": R.RATE_LIMIT,
}
RULES: dict[str, VenueRules] = {
    "binance": BINANCE,
    "bybit": VenueRules(
        read_code=_bybit_code,
        proofs={
            "10001": R.VENUE,
            "10002": R.CLOCK,
            **{str(code): R.ACCESS for code in (10003, 10004, 10005, 10007, 10009, 10010)},
            "10006": R.RATE_LIMIT,
            "110003": R.COLLAR,
            **dict.fromkeys(("110004", "110007", "110012", "170131"), R.BALANCE),
            **{str(code): R.VENUE for code in (*range(170124, 170131), *range(170132, 170141))},
        },
        duplicate=(("110072", ""), ("170141", "")),
        gone=frozenset({"110001", "170213"}),
    ),
    "okx": VenueRules(
        read_code=_okx_code,
        proofs={
            "50011": R.RATE_LIMIT,
            "50061": R.RATE_LIMIT,
            "50102": R.CLOCK,
            "50111": R.ACCESS,
            "50113": R.ACCESS,
            "51000": R.VENUE,
            "51006": R.COLLAR,
            "51008": R.BALANCE,
            "51119": R.BALANCE,
            "51020": R.LOT_SIZE,
            "51120": R.LOT_SIZE,
            "51121": R.LOT_SIZE,
        },
        duplicate=(("51016", ""),),
        gone=frozenset({"51400", "51401", "51603"}),
    ),
    "kraken": VenueRules(
        read_code=_kraken_code,
        proofs=_KRAKEN_PROOFS,
        gone=frozenset({"EOrder:Unknown_order"}),
    ),
    "coinbase": VenueRules(
        read_code=_coinbase_code,
        proofs={
            "INSUFFICIENT_FUND": R.BALANCE,
            "INVALID_LIMIT_PRICE_POST_ONLY": R.POST_ONLY_WOULD_CROSS,
        },
    ),
}
UNLISTED = VenueRules(read_code=lambda _: ("", ""), proofs={})  # every failure is UNKNOWN


def rules_of(exchange: str) -> VenueRules:
    """Return an exchange's rules; one without rules of its own proves no rejection."""
    return RULES.get(exchange, UNLISTED)
