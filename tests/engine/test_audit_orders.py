"""The verifier's own table of moves is the engine's, and its memory is bounded."""

import numpy as np
import pytest

from engine import audit_orders, orders
from engine.audit_layout import AUDIT, Record, Verdict
from engine.audit_orders import KEPT_CLOSED, BrokenAudit, OrderFlow
from engine.events import OrderState as S


def test_the_table_is_that_of_the_engine():
    assert {int(a): frozenset(map(int, b)) for a, b in orders.MOVES.items()} == audit_orders.MOVES
    assert {int(state) for state in orders.FINAL} == audit_orders.CLOSED


def life(first, states, *, qty=10, fills=(10,), seq=0):
    """Make the records of one intent, its verdict, its states and its fills."""
    rows = []

    def add(kind, ident, code, *slots):
        record = np.zeros(1, AUDIT)[0]
        record["seq"], record["kind"], record["id"], record["code"] = (
            seq + len(rows),
            kind,
            ident,
            code,
        )
        for k, value in enumerate(slots):
            record[f"i{k}"] = value
        rows.append(record)

    add(Record.INTENT, first, 0, -1, 1, qty)
    add(Record.VERDICT, first, Verdict.APPROVED, 0, qty, 0, 0, 0, first)
    done = 0
    parts = list(fills)
    for state in states:
        if state in (S.PARTIAL, S.FILLED):
            part = parts.pop(0)
            done += part
            add(Record.FILL, first + len(fills) - len(parts) - 1, 0, first, 1, part, 100)
        add(Record.ORDER, first, state, first, 1, qty, 0, done)
    return np.array(rows, dtype=AUDIT)


GOOD = [
    ([S.APPROVED, S.SENT, S.ACKED, S.FILLED], (10,)),
    ([S.APPROVED, S.SENT, S.PARTIAL, S.PARTIAL, S.FILLED], (2, 3, 5)),
    ([S.APPROVED, S.SENT, S.PARTIAL, S.CANCELED], (4,)),
    ([S.APPROVED, S.SENT, S.CANCELED, S.PARTIAL], (4,)),
    ([S.APPROVED, S.REJECTED], ()),
]


@pytest.mark.parametrize(("states", "fills"), GOOD)
def test_legal_lives_pass(states, fills):
    flow = OrderFlow()
    flow.update(life(0, states, fills=fills))
    assert flow.finish() == 0


BAD = [
    ([S.SENT, S.APPROVED], (), "moves from SENT to APPROVED"),
    ([S.APPROVED, S.SENT, S.FILLED], (9,), "FILLED with 9"),
    ([S.APPROVED, S.SENT, S.FILLED], (11,), "makes 11 lots"),
    ([S.APPROVED, S.REJECTED, S.SENT], (), "moves from REJECTED to SENT"),
    ([S.UNKNOWN], (), "begins as UNKNOWN"),
    ([], (), "has no ORDER record"),
]


@pytest.mark.parametrize(("states", "fills", "words"), BAD)
def test_illegal_lives_are_named(states, fills, words):
    flow = OrderFlow()
    with pytest.raises(BrokenAudit, match=words):
        flow.update(life(0, states, fills=fills))
        flow.finish()


def test_a_fill_that_no_state_counts_is_found_when_the_order_is_forgotten():
    flow = OrderFlow()
    rows = life(0, [S.APPROVED, S.SENT, S.PARTIAL, S.CANCELED], fills=(4,))
    rows = rows[rows["kind"] != Record.FILL]
    flow.update(rows)
    with pytest.raises(BrokenAudit, match="says 4 lots filled, its fills make 0"):
        for order in range(1, KEPT_CLOSED + 2):
            flow.update(life(order, [S.APPROVED, S.SENT, S.FILLED]))


def test_closed_orders_are_forgotten():
    flow = OrderFlow()
    for order in range(KEPT_CLOSED + 500):
        flow.update(life(order, [S.APPROVED, S.SENT, S.FILLED]))
    assert len(flow._closed) == KEPT_CLOSED
    assert flow.finish() == 0
