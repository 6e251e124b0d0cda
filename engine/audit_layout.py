"""The audit's primary form: fixed records of 96 bytes, little-endian, in `audit/000000.audit`.

This table is the documented layout (version 1) from which anyone can recompute the decision digest:
docs/audit.md says how, scripts outside the engine do it. Slots are named `f0..f6` / `i0..i6`, the
same eight bytes read as float64 or int64. Records of every kind share the header.

| kind     | id             | code       | slots 0..6                                             |
|----------|----------------|------------|--------------------------------------------------------|
| RUN      | layout version | 0          | words of sha256 of the run's inputs (4 slots)          |
| MODEL    | model index    | status     | sha256 of the model file (4 slots), f min_confidence   |
| DECISION | signal id      | action     | f p_sell, f p_hold, f p_buy, i row_hash, f bid, f ask, |
|          |                |            | i data_age_ns                                          |
| INTENT   | intent id      | purpose    | i signal_id, i side, i qty_lot, i price_tick,          |
|          |                |            | i order_type, i stop_tick, i profit_tick               |
| VERDICT  | intent id      | 0/1/2      | i blocks, i qty_lot, i notional, i exposure, i limit,  |
|          |                |            | i order_id, f mid                                      |
| ORDER    | order id       | new state  | i intent_id, i side, i qty_lot, i price_tick,          |
|          |                |            | i filled_lot, i reason, i queue_lot                    |
| FILL     | fill id        | liquidity  | i order_id, i side, i qty_lot, i price_tick,           |
|          |                |            | i fee_minor, i realized_minor, i purpose               |
| EXPOSURE | change id      | cause kind | i filled, i resting, i in_flight, i unknown, i total,  |
|          |                |            | i limit, i intent or order id                          |
| OUTPUT   | signal id      | kind       | f value, f position, f columns aux .. aux+4 of the     |
|          |                |            | model's output                                         |
| EVENT    | event id       | event code | three int64 arguments; text in events.jsonl            |
| SHADOW   | shadow id      | action     | as DECISION, of a model that runs as a shadow          |
| SHADOWED | model index    | status     | as MODEL, of a model that runs as a shadow             |
| SHADOW_  | shadow id      | kind       | as OUTPUT, of a model that runs as a shadow            |
| OUTPUT   |                |            |                                                        |

`reason` of DECISION and SHADOW records stands in the low byte of `aux` (HoldReason), of others 0;
with WINDOW_SHORT its high byte says how many rows are missing (255: that many or more), else the
first column that was not known (from 1, at most 255) where the model reads own state, else 0. Money
is in minor units of the quote currency (1e-8). VERDICT codes: 0 approved, 1 reduced, 2 blocked.
EXPOSURE records stand after every change of a model's exposure, `model` names it; total = filled +
resting + in_flight + unknown, all at cost (docs/risk.md). OUTPUT and SHADOW_OUTPUT records stand
behind the DECISION or SHADOW that was made of an output that is more than probabilities, one for
each five columns; `aux` is the first, columns beyond the last are NaN; `code` is
engine/kernel/output_layout.py's OutputKind.

Digest streams: RUN, MODEL, DECISION and OUTPUT form the decision stream; INTENT, VERDICT, ORDER,
FILL and EXPOSURE the order stream; SHADOW, SHADOWED and SHADOW_OUTPUT the shadow stream, which is
no part of the decision digest, so that shadows leave no trace there; EVENT is in none. Each stream
hashes bytes 8..96 of its records in order (everything but `seq`); decision_digest =
sha256(sha256(decisions) || sha256(orders)) and shadow_digest = sha256(shadows), in hex.
"""

from enum import IntEnum

import numpy as np

AUDIT_BYTES = 96
AUDIT_LAYOUT_VERSION = 1
CHAIN_RECORDS = 1024  # records per link of the hash chain
DIGEST_FROM = 8  # bytes of a record before this are not in the digest
MINOR_DECIMALS = 8  # money is counted in 1e-8 of its currency

_HEADER = (
    ("seq", "i8", 0),
    ("ts", "i8", 8),
    ("row", "i8", 16),
    ("id", "i8", 24),
    ("kind", "u1", 32),
    ("code", "u1", 33),
    ("aux", "u2", 34),
    ("instrument", "u2", 36),
    ("model", "u2", 38),
)
_SLOTS = tuple((f"{t}{k}", f"{t}8", 40 + 8 * k) for t in "fi" for k in range(7))
AUDIT = np.dtype(
    {
        "names": [name for name, _, _ in _HEADER + _SLOTS],
        "formats": [code for _, code, _ in _HEADER + _SLOTS],
        "offsets": [offset for _, _, offset in _HEADER + _SLOTS],
        "itemsize": AUDIT_BYTES,
    }
)

NO_INDEX = 0xFFFF  # `instrument` or `model` where there is none


class Record(IntEnum):
    """What an audit record is. Values are part of the format: only append."""

    RUN = 1
    MODEL = 2
    DECISION = 3
    INTENT = 4
    VERDICT = 5
    ORDER = 6
    FILL = 7
    EXPOSURE = 8
    EVENT = 9
    OUTPUT = 10
    SHADOW = 11
    SHADOWED = 12
    SHADOW_OUTPUT = 13


DECISION_STREAM = (Record.RUN, Record.MODEL, Record.DECISION, Record.OUTPUT)
SHADOW_STREAM = (Record.SHADOWED, Record.SHADOW, Record.SHADOW_OUTPUT)
ORDER_STREAM = (Record.INTENT, Record.VERDICT, Record.ORDER, Record.FILL, Record.EXPOSURE)


class Verdict(IntEnum):
    """The risk gate's answer."""

    APPROVED = 0
    REDUCED = 1
    BLOCKED = 2


class ModelStatus(IntEnum):
    """How a model stands in a run (`code` of MODEL records)."""

    SERVING = 0
    MISSING = 1
    REFUSED = 2
    RUNTIME_MISSING = 3
    DEMOTED = 4
