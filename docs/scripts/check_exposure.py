"""Prove from the audit alone that no model ever exceeded its exposure limit.

    python docs/scripts/check_exposure.py runs/ID [--json]

Two ways, both over every record of the run: (1) each EXPOSURE record is within its limit and adds
up; (2) the exposure of each model is rebuilt from VERDICT, ORDER and FILL records, by the rules of
docs/risk.md, and must be within the limit and equal to what the EXPOSURE records say. Needs NumPy
and audit/names.json, nothing of Tickgate. Exit code 1 on a violation, 2 when there is no audit.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

RECORD = np.dtype(
    [("seq", "<i8"), ("ts", "<i8"), ("row", "<i8"), ("id", "<i8"), ("kind", "u1"), ("code", "u1"),
     ("aux", "<u2"), ("instrument", "<u2"), ("model", "<u2"), ("i", "<i8", (7,))]
)  # fmt: skip
INTENT, VERDICT, ORDER, FILL, EXPOSURE = 4, 5, 6, 7, 8
BLOCKED, MODEL_EXPOSURE_BIT = 2, 1 << 3
ENDED = (5, 6, 7, 8)  # FILLED, CANCELED, REJECTED, EXPIRED
NONE = 0xFFFF
BLOCK = 65_536


def records(path: Path):
    """Yield the audit in blocks of RECORD[n]; a torn last record is left out."""
    with path.open("rb") as file:
        while content := file.read(RECORD.itemsize * BLOCK):
            whole = len(content) // RECORD.itemsize * RECORD.itemsize
            yield np.frombuffer(content[:whole], RECORD)


class Book:
    """One model's position in one instrument, at average cost."""

    def __init__(self) -> None:
        self.lots = self.cost = self.closing = 0

    def apply(self, side: int, lots: int, notional: int) -> None:
        """Book a fill: what closes takes its share of the cost, the rest opens."""
        if self.lots * side < 0:
            held = abs(self.lots)
            part = min(lots, held)
            paid = notional if part == lots else notional * part // lots
            self.cost -= self.cost * part // held if part < held else self.cost
            self.lots += side * part
            lots, notional = lots - part, notional - paid
        self.lots += side * lots
        self.cost += side * notional


class Order:
    """An approved order: how much of it opens exposure, and what that has reserved."""

    def __init__(self, model: int, instrument: int, side: int, lots: int) -> None:
        self.model, self.instrument, self.side = model, instrument, side
        self.opening = lots
        self.closing = 0
        self.worst = 0  # ticks, the price the reserve is counted at


class Rebuilt:
    """Exposure of every model, rebuilt from what the gate, the venue and the fills said."""

    def __init__(self, units: list[Fraction]) -> None:
        self.units = units  # minor units of one tick times one lot, by instrument
        self.books: dict[tuple[int, int], Book] = {}
        self.orders: dict[int, Order] = {}
        self.sides: dict[int, int] = {}  # intent -> side
        self.limits: dict[int, int] = {}
        self.reserved: dict[int, int] = {}
        self.filled: dict[int, int] = {}
        self.unnamed: set[int] = set()  # orders of no model, or of several
        self.joint: set[int] = set()  # of several models: the records do not say their shares

    def notional(self, instrument: int, tick: int, lots: int) -> int:
        """Return money in minor units, rounded half up."""
        unit = self.units[instrument]
        return (2 * tick * lots * unit.numerator + unit.denominator) // (2 * unit.denominator)

    def total(self, model: int) -> int:
        """Return filled at cost + reserved."""
        return self.filled.get(model, 0) + self.reserved.get(model, 0)

    def book(self, model: int, instrument: int) -> Book:
        """Return a model's book of an instrument."""
        return self.books.setdefault((model, instrument), Book())

    def verdict(self, record) -> None:
        """Reserve what an approved order opens, at the worst price it may fill at."""
        side = self.sides.pop(int(record["id"]), 0)
        _, lots, notional, _, limit, order_id, _ = record["i"].tolist()
        model, instrument = int(record["model"]), int(record["instrument"])
        if record["code"] == BLOCKED or model == NONE:
            if record["code"] != BLOCKED:
                self.unnamed.add(order_id)
            return
        self.limits[model] = limit
        order = Order(model, instrument, side, lots)
        book = self.book(model, instrument)
        order.closing = min(lots, max(0, -side * book.lots - book.closing))
        order.opening -= order.closing
        book.closing += order.closing
        order.worst = round(Fraction(notional) / (lots * self.units[instrument]))
        self.orders[order_id] = order
        self.reserve(order, order.opening, 0)

    def reserve(self, order: Order, after: int, before: int) -> None:
        """Change a reserve from `before` to `after` opening lots."""
        change = self.notional(order.instrument, order.worst, after)
        change -= self.notional(order.instrument, order.worst, before)
        self.reserved[order.model] = self.reserved.get(order.model, 0) + change

    def fill(self, record) -> None:
        """Move what filled from the reserve to the book."""
        order_id, side, lots, tick, *_ = record["i"].tolist()
        order = self.orders.get(order_id)
        if order is None:
            return
        book = self.book(order.model, order.instrument)
        closing = min(lots, order.closing)
        order.closing -= closing
        book.closing -= closing
        before, order.opening = order.opening, order.opening - (lots - closing)
        self.reserve(order, max(0, order.opening), before)
        held = abs(book.cost)
        book.apply(side, lots, self.notional(order.instrument, tick, lots))
        self.filled[order.model] = self.filled.get(order.model, 0) + abs(book.cost) - held

    def state(self, record) -> None:
        """Free what an order that ended had reserved."""
        order = self.orders.get(int(record["id"]))
        if order is None or int(record["code"]) not in ENDED:
            return
        self.reserve(order, 0, max(0, order.opening))
        self.book(order.model, order.instrument).closing -= order.closing
        del self.orders[int(record["id"])]


class Check:
    """Walks over the records and keeps what was found."""

    def __init__(self, units: list[Fraction]) -> None:
        self.rebuilt = Rebuilt(units)
        self.violations: list[str] = []
        self.said: dict[int, int] = {}  # model -> total of its last EXPOSURE record
        self.fullest: dict[int, Fraction] = {}
        self.counts = dict.fromkeys(("fills", "intents", "blocked", "blocked_model_exposure"), 0)
        self.row = -1

    def take(self, record) -> None:
        """Check one record of the order stream."""
        kind = int(record["kind"])
        if int(record["row"]) != self.row or kind == INTENT:
            self.settle(int(record["seq"]))
            self.row = int(record["row"])
        if kind == INTENT:
            self.counts["intents"] += 1
            self.rebuilt.sides[int(record["id"])] = int(record["i"][1])
        elif kind == VERDICT:
            blocked = record["code"] == BLOCKED
            self.counts["blocked"] += int(blocked)
            hit = blocked and int(record["i"][0]) & MODEL_EXPOSURE_BIT
            self.counts["blocked_model_exposure"] += bool(hit)
            self.rebuilt.verdict(record)
        elif kind == ORDER:
            self.rebuilt.state(record)
        elif kind == FILL:
            self.counts["fills"] += 1
            self.rebuilt.fill(record)
        elif kind == EXPOSURE:
            self.exposure(record)

    def exposure(self, record) -> None:
        """Check one EXPOSURE record by itself."""
        filled, resting, in_flight, unknown, total, limit, order_id = record["i"].tolist()
        model = int(record["model"])
        if order_id in self.rebuilt.unnamed:
            self.rebuilt.joint.add(order_id)
        self.said[model] = total
        self.rebuilt.limits[model] = limit
        self.fullest[model] = max(
            self.fullest.get(model, Fraction(0)), Fraction(total, max(limit, 1))
        )
        if total > limit:
            self.bad(record["seq"], f"model {model}: {total} is above its limit {limit}")
        if total != filled + resting + in_flight + unknown or min(filled, resting, in_flight) < 0:
            self.bad(record["seq"], f"model {model}: the parts do not make {total}")

    def settle(self, seq: int) -> None:
        """Between two rows or intents: what is rebuilt is within the limit and as recorded."""
        fine = all(unit.denominator == 1 for unit in self.rebuilt.units)
        slack = 0 if fine else len(self.rebuilt.orders)  # rounding of parts of a minor unit
        for model, limit in self.rebuilt.limits.items():
            total = self.rebuilt.total(model)
            if total > limit:
                self.bad(seq, f"model {model}: rebuilt {total} is above its limit {limit}")
            if not self.rebuilt.joint and abs(total - self.said.get(model, 0)) > slack:
                said = self.said.get(model, 0)
                self.bad(seq, f"model {model}: rebuilt {total}, EXPOSURE records say {said}")
                self.said[model] = total  # name a difference once

    def bad(self, seq, what: str) -> None:
        """Keep a violation."""
        self.violations.append(f"before record {int(seq)}: {what}")


def check(run: Path) -> tuple[Check, list[str]]:
    """Check one run; return the check and the models' names."""
    names = json.loads((run / "audit" / "names.json").read_text(encoding="utf-8"))
    result = Check([Fraction(one["unit_minor"]) for one in names["instruments"]])
    last = 0
    for block in records(run / "audit" / "000000.audit"):
        for record in block[np.isin(block["kind"], (INTENT, VERDICT, ORDER, FILL, EXPOSURE))]:
            result.take(record)
            last = int(record["seq"])
    result.settle(last + 1)
    return result, [one["name"] for one in names["models"]]


def main(arguments: list[str]) -> int:
    """Check the run named on the command line and print what was found."""
    as_json = "--json" in arguments
    paths = [word for word in arguments if word != "--json"]
    if len(paths) != 1:
        print("usage: check_exposure.py RUN_FOLDER [--json]", file=sys.stderr)
        return 2
    try:
        result, models = check(Path(paths[0]))
    except FileNotFoundError as error:
        print(f"{error.filename}: not there; is this a run folder?", file=sys.stderr)
        return 2
    fullest = {models[k]: float(share) for k, share in sorted(result.fullest.items())}
    if as_json:
        told = {**result.counts, "fullest": fullest, "violations": result.violations[:20],
                "violation_count": len(result.violations),
                "joint_orders": len(result.rebuilt.joint)}  # fmt: skip
        print(json.dumps(told, indent=2))
        return 1 if result.violations else 0
    counts = result.counts
    print(f"intents {counts['intents']:,}, blocked {counts['blocked']:,}, "
          f"of these for model exposure {counts['blocked_model_exposure']:,}, "
          f"fills {counts['fills']:,}")  # fmt: skip
    for name, share in fullest.items():
        print(f"  {name}: at most {share:.2%} of its limit")
    if result.rebuilt.joint:
        print(f"  {len(result.rebuilt.joint):,} orders of several models: EXPOSURE records alone")
    for line in result.violations[:20]:
        print(f"  VIOLATION {line}")
    print("BAD" if result.violations else "OK: every model was within its limit at every record")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
