"""Write audit.jsonl: the records as JSON lines that a person, grep or jq can read.

Each line has `seq, ts, kind, ...` and `ids`, which links signal -> intent -> order -> fill. HOLD
signals are counted, one line for each stretch of them, with their reasons; all else is listed.
Prices and money are in units of the quote currency, quantities in base units. Strict JSON: what is
not a number is null. The binary records stay the truth: the text can be made again.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.audit_columns import Columns, Fields, Tables
from engine.audit_layout import ModelStatus, Record, Verdict
from engine.audit_reader import AuditFile, block_names, read_names, reason_name
from engine.events import (
    Action,
    HoldReason,
    Liquidity,
    OrderState,
    OrderType,
    Purpose,
    RejectReason,
)
from engine.json_files import read_lines
from engine.kernel.output_layout import OutputKind
from engine.run_files import AUDIT_TEXT, EVENTS, EventLine, ModelName, Names

RENDER_RECORDS = 8192  # rendered at once: what fits the processor's cache
OUTPUT_OF = {Record.DECISION: Record.OUTPUT, Record.SHADOW: Record.SHADOW_OUTPUT}
KEPT_ORDERS = 65_536  # orders whose intent and signal are remembered for their later lines
Progress = Callable[[int, int], None]
_encode = msgspec.json.Encoder().encode


class _Stretch:
    """HOLD signals in a row: counted, not kept."""

    def __init__(self, models: Sequence[ModelName]) -> None:
        self._models = models
        self._unknown: Counter[tuple[int, int]] = Counter()  # by model and column
        self.count = 0
        self._from = self._to = (0, 0, 0)  # seq, ts, row
        self._reasons: Counter[int] = Counter()

    def add(self, records: np.ndarray) -> None:
        """Count the next AUDIT[n >= 1] HOLD signals."""
        first, last = records[0], records[-1]
        if not self.count:
            self._from = (int(first["seq"]), int(first["ts"]), int(first["row"]))
        self._to = (int(last["seq"]), int(last["ts"]), int(last["row"]))
        self.count += len(records)
        self._reasons.update((records["aux"] & 0xFF).tolist())
        named = records[records["aux"] > 0xFF]
        self._unknown.update(zip(named["model"].tolist(), (named["aux"] >> 8).tolist()))

    def _name(self, model: int, column: int) -> str:
        """Name the feature behind a HOLD: `model: feature`, or the number of its column."""
        known = self._models[model] if model < len(self._models) else None
        names = () if known is None else known.features
        feature = names[column - 1] if column <= len(names) else f"column {column}"
        return f"{model if known is None else known.name}: {feature}"

    def line(self) -> str:
        """Return the stretch as one line, '' where it is empty."""
        if not self.count:
            return ""
        line: dict[str, Any] = {
            "seq": self._from[0],
            "ts": self._from[1],
            "kind": "holds",
            "row": self._from[2],
            "count": self.count,
            "to_seq": self._to[0],
            "to_ts": self._to[1],
            "reasons": {reason_name(HoldReason, k): n for k, n in self._reasons.most_common()},
        }
        if self._unknown:
            line["unknown"] = {self._name(*at): n for at, n in self._unknown.most_common()}
        return _encode(line).decode() + "\n"


class Renderer:
    """Turns records into lines, remembering which signal and intent an order came from."""

    def __init__(self, names: Names, events: Iterator[tuple[int, int, EventLine | None]]) -> None:
        """Take the run's tables and the words of its events, in order."""
        self._tables = Tables(names)
        self._events = events
        self._signals: dict[int, int | str] = {}  # intent without verdict -> signal
        self._origins: dict[int, tuple[int, int | str]] = {}  # order -> intent, signal
        self._models = names.models
        self._held = _Stretch(self._models)
        self._last_held = dict.fromkeys(OUTPUT_OF, -1)  # where it is a HOLD: output may follow
        self._kinds: tuple[tuple[Record, Callable[[Columns], Fields]], ...] = (
            (Record.RUN, self._run),
            (Record.MODEL, self._model),
            (Record.DECISION, self._decision),
            (Record.OUTPUT, self._output),
            (Record.SHADOWED, self._model),
            (Record.SHADOW, self._shadow),
            (Record.SHADOW_OUTPUT, self._shadow_output),
            (Record.INTENT, self._intent),  # before the kinds that look up where they come from
            (Record.VERDICT, self._verdict),
            (Record.ORDER, self._order),
            (Record.FILL, self._fill),
            (Record.EXPOSURE, self._exposure),
            (Record.EVENT, self._event),
        )

    def lines(self, block: np.ndarray) -> bytes:
        """Render AUDIT[n] records; a stretch of HOLDs that is open at the end is kept."""
        block = self._listed(block)
        if not len(block):
            return b""
        kinds = block["kind"]
        signals = np.isin(kinds, (Record.DECISION, Record.SHADOW))
        holds = signals & (block["code"] == Action.HOLD)
        lines = np.full(len(block), "", dtype=object)
        for kind, fields in self._kinds:
            at = np.flatnonzero((kinds == kind) & ~holds)
            if len(at):
                columns = Columns(block[at], self._tables)
                lines[at] = columns.render(kind.name.lower(), fields(columns))
        self._stretches(block, holds, lines)
        return "".join(lines.tolist()).encode()

    def _listed(self, block: np.ndarray) -> np.ndarray:
        """Leave out what models said behind HOLDs, which are counted only."""
        quiet = np.zeros(len(block), bool)
        for kind, output in OUTPUT_OF.items():
            said = block["kind"] == output
            decided = block[block["kind"] == kind]
            if said.any():
                held = decided["id"][decided["code"] == Action.HOLD]
                quiet |= said & np.isin(block["id"], [*held, self._last_held[kind]])
            if len(decided):
                last = decided[-1]
                self._last_held[kind] = int(last["id"]) if last["code"] == Action.HOLD else -1
        return block[~quiet] if quiet.any() else block

    def _stretches(self, block: np.ndarray, holds: np.ndarray, lines: np.ndarray) -> None:
        """Put a line before each listed record that follows HOLDs; keep the open stretch."""
        edges = np.flatnonzero(np.diff(holds, prepend=False, append=False))
        starts, ends = edges[0::2].tolist(), edges[1::2].tolist()
        if self._held.count and not holds[0]:
            lines[0] = self.close() + lines[0]
        for start, end in zip(starts, ends):
            self._held.add(block[start:end])
            if end < len(block):
                lines[end] = self.close() + lines[end]

    def close(self) -> str:
        """Return the line of the open stretch of HOLDs, '' where there is none."""
        line, self._held = self._held.line(), _Stretch(self._models)
        return line

    def _run(self, c: Columns) -> Fields:
        return [("layout", c.ints("id")), ("inputs_sha256", c.sha256())]

    def _model(self, c: Columns) -> Fields:
        status, confidence = c.names("code", ModelStatus), c.floats("f4")
        return [("status", status), ("sha256", c.sha256()), ("min_confidence", confidence)]

    def _decision(self, c: Columns) -> Fields:
        return [*self._advice(c), ("ids", [f'{{"signal":{ident}}}' for ident in c.ints("id")])]

    def _shadow(self, c: Columns) -> Fields:
        return [*self._advice(c), ("ids", [f'{{"shadow":{ident}}}' for ident in c.ints("id")])]

    def _advice(self, c: Columns) -> Fields:
        return [
            ("action", c.names("code", Action)),
            ("p_sell", c.floats("f0")),
            ("p_hold", c.floats("f1")),
            ("p_buy", c.floats("f2")),
            ("row_hash", [f'"{value & (1 << 64) - 1:016x}"' for value in c.ints("i3")]),
            ("bid", c.floats("f4")),
            ("ask", c.floats("f5")),
            ("data_age_ns", c.ints("i6")),
        ]

    def _output(self, c: Columns) -> Fields:
        return [*self._said(c), ("ids", [f'{{"signal":{ident}}}' for ident in c.ints("id")])]

    def _shadow_output(self, c: Columns) -> Fields:
        return [*self._said(c), ("ids", [f'{{"shadow":{ident}}}' for ident in c.ints("id")])]

    def _said(self, c: Columns) -> Fields:
        columns = zip(*(c.floats(f"f{k}") for k in range(2, 7)))
        return [
            ("output", c.names("code", OutputKind)),
            ("value", c.floats("f0")),
            ("position", c.floats("f1")),
            ("first", c.ints("aux")),
            ("columns", [f"[{','.join(five)}]" for five in columns]),
        ]

    def _intent(self, c: Columns) -> Fields:
        signals: list[int | str] = [value if value >= 0 else "null" for value in c.ints("i0")]
        self._signals.update(zip(c.ints("id"), signals))
        ids = [f'{{"signal":{s},"intent":{i}}}' for s, i in zip(signals, c.ints("id"))]
        return [
            ("purpose", c.names("code", Purpose)),
            ("side", c.sides("i1")),
            ("qty", c.quantities("i2")),
            ("type", c.names("i4", OrderType)),
            ("price", c.prices("i3")),
            ("stop_loss", c.prices("i5")),
            ("take_profit", c.prices("i6")),
            ("ids", ids),
        ]

    def _verdict(self, c: Columns) -> Fields:
        ids = []
        blocks = {bits: _encode(block_names(bits)).decode() for bits in set(c.ints("i0"))}
        for intent, code, order in zip(c.ints("id"), c.ints("code"), c.ints("i5")):
            signal = self._signals.pop(intent, "null")
            if code != Verdict.BLOCKED:
                self._origins[order] = (intent, signal)
                ids.append(f'{{"signal":{signal},"intent":{intent},"order":{order}}}')
            else:
                ids.append(f'{{"signal":{signal},"intent":{intent}}}')
        while len(self._origins) > 2 * KEPT_ORDERS:
            self._origins = dict(list(self._origins.items())[-KEPT_ORDERS:])
        return [
            ("verdict", c.names("code", Verdict)),
            ("blocks", [blocks[bits] for bits in c.ints("i0")]),
            ("qty", c.quantities("i1")),
            ("notional", c.money("i2")),
            ("exposure", c.money("i3")),
            ("limit", c.money("i4")),
            ("mid", c.mids("f6")),
            ("ids", ids),
        ]

    def _order(self, c: Columns) -> Fields:
        ids = []
        for intent, order in zip(c.ints("i0"), c.ints("id")):
            signal = self._origins.get(order, (0, "null"))[1]
            ids.append(f'{{"signal":{signal},"intent":{intent},"order":{order}}}')
        return [
            ("state", c.names("code", OrderState)),
            ("side", c.sides("i1")),
            ("qty", c.quantities("i2")),
            ("price", c.prices("i3")),
            ("filled", c.quantities("i4")),
            ("reason", c.names("i5", RejectReason)),
            ("queue", c.quantities("i6")),
            ("ids", ids),
        ]

    def _fill(self, c: Columns) -> Fields:
        ids = []
        for order, fill in zip(c.ints("i0"), c.ints("id")):
            intent, signal = self._origins.get(order, ("null", "null"))
            ids.append(f'{{"signal":{signal},"intent":{intent},"order":{order},"fill":{fill}}}')
        return [
            ("liquidity", c.names("code", Liquidity)),
            ("side", c.sides("i1")),
            ("qty", c.quantities("i2")),
            ("price", c.prices("i3")),
            ("fee", c.money("i4")),
            ("realized", c.money("i5")),
            ("purpose", c.names("i6", Purpose)),
            ("ids", ids),
        ]

    def _exposure(self, c: Columns) -> Fields:
        parts = ("filled", "resting", "in_flight", "unknown", "total", "limit")
        fields: Fields = [(name, c.money(f"i{k}")) for k, name in enumerate(parts)]
        causes = zip(c.ints("id"), c.ints("i6"))
        ids = [f'{{"change":{change},"order":{order}}}' for change, order in causes]
        return [*fields, ("cause", c.names("code", Record)), ("ids", ids)]

    def _event(self, c: Columns) -> Fields:
        words = []
        for ident in c.ints("id"):
            line = next(self._events, (0, 0, None))[2]
            known = line is not None and line.event_id == ident
            words.append((line.name, line.text) if line and known else (None, None))
        args = zip(c.ints("i0"), c.ints("i1"), c.ints("i2"))
        return [
            ("name", [_encode(name).decode() for name, _ in words]),
            ("text", [_encode(text).decode() for _, text in words]),
            ("code", c.ints("code")),
            ("args", [f"[{a},{b},{d}]" for a, b, d in args]),
            ("ids", [f'{{"event":{ident}}}' for ident in c.ints("id")]),
        ]


def render(run_dir: Path, progress: Progress | None = None) -> Path:
    """Write `audit.jsonl` of a run, streaming, whole or not at all.

    Args:
        run_dir: the run's folder.
        progress: called with (records done, records in all) after each block.
    Returns:
        the path of audit.jsonl.
    Raises:
        DataError: the folder has no audit.
    """
    audit = AuditFile(run_dir)
    renderer = Renderer(read_names(run_dir), read_lines(run_dir / EVENTS, EventLine))
    target = run_dir / AUDIT_TEXT
    handle, temporary = tempfile.mkstemp(dir=run_dir, prefix=f".{AUDIT_TEXT}.")
    done = 0
    try:
        with os.fdopen(handle, "wb") as file:
            for block in audit.blocks(size=RENDER_RECORDS):
                file.write(renderer.lines(block))
                done += len(block)
                if progress:
                    progress(done, audit.records)
            file.write(renderer.close().encode())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
