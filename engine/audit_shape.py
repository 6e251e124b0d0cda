"""Check what an audit record must be by itself and after the record before it, in bulk."""

import numpy as np

from engine.audit_layout import NO_INDEX, ModelStatus, Record
from engine.audit_orders import BrokenAudit
from engine.audit_reader import reason_name
from engine.events import Action, HoldReason
from engine.hash_words import words_hash
from engine.run_files import Names

# Kinds whose ids count up one by one from 0; intents and fills are followed in audit_orders.py.
_COUNTED = (
    (Record.DECISION, "signal"),
    (Record.SHADOW, "shadow"),
    (Record.EXPOSURE, "change"),
    (Record.EVENT, "event"),
)


class RecordShape:
    """Checks records in bulk; raises BrokenAudit naming the first bad one."""

    def __init__(self, names: Names) -> None:
        """Take the tables that the records' indices point into."""
        self._names = names
        self._seq = 0
        self._last = {"ts": 0, "row": 0}
        self._next = {kind: -1 for kind, _ in _COUNTED}  # -1: none seen yet
        self._model_records = 0
        self.over_limit: list[tuple[int, int]] = []  # first (seq, model) above limit
        self.exposure_share: dict[int, float] = {}  # model index -> fullest share of its limit

    def update(self, part: np.ndarray) -> None:
        """Check the next AUDIT[n] records.

        Raises:
            BrokenAudit: the first bad record of the first check that fails.
        """
        first = self._seq
        self._refuse(part, part["seq"] != np.arange(first, first + len(part)), self._wrong_seq)
        self._refuse(part, ~np.isin(part["kind"], list(Record)), lambda r: f"kind {r['kind']}")
        self._indices(part)
        self._times(part)
        for kind, name in _COUNTED:
            self._counted(part[part["kind"] == kind], kind, name)
        self._decisions(part[np.isin(part["kind"], (Record.DECISION, Record.SHADOW))])
        self._intents(part[part["kind"] == Record.INTENT])
        self._exposures(part[part["kind"] == Record.EXPOSURE])
        self._inputs(part[np.isin(part["kind"], (Record.RUN, Record.MODEL, Record.SHADOWED))])
        self._seq += len(part)

    def _wrong_seq(self, record: np.void) -> str:
        return f"its sequence number is {record['seq']}"

    def _refuse(self, part: np.ndarray, bad: np.ndarray, say, *, at: int | None = None) -> None:  # type: ignore[no-untyped-def]
        if not bad.any():
            return
        index = int(np.argmax(bad))
        record = part[index]
        seq = self._seq + index if say == self._wrong_seq else int(record["seq"])
        raise BrokenAudit(seq if at is None else at, say(record))

    def _indices(self, part: np.ndarray) -> None:
        for field, table in (
            ("instrument", self._names.instruments),
            ("model", self._names.models),
        ):
            bad = (part[field] >= len(table)) & (part[field] != NO_INDEX)
            self._refuse(
                part, bad, lambda r, field=field: f"{field} {r[field]} is not in names.json"
            )

    def _times(self, part: np.ndarray) -> None:
        """Time and tape row never run back."""
        for field in ("ts", "row"):
            values = part[field]
            backward = np.diff(values, prepend=self._last[field]) < 0
            self._refuse(part, backward, lambda r, field=field: f"{field} {r[field]} runs back")
            self._last[field] = int(values[-1])

    def _counted(self, chosen: np.ndarray, kind: Record, name: str) -> None:
        if not len(chosen):
            return
        start = int(chosen["id"][0]) if self._next[kind] < 0 else self._next[kind]
        if self._next[kind] < 0 and start not in (0, 1):
            raise BrokenAudit(int(chosen["seq"][0]), f"the first {name} is {start}")
        bad = chosen["id"] != np.arange(start, start + len(chosen))
        self._refuse(chosen, bad, lambda r: f"{name} {r['id']} is out of turn")
        self._next[kind] = start + len(chosen)

    def _decisions(self, part: np.ndarray) -> None:
        holds, reason = part["code"] == Action.HOLD, part["aux"] & 0xFF
        self._refuse(part, part["code"] > Action.BUY, lambda r: f"action {r['code']}")
        self._refuse(
            part,
            holds != (reason != HoldReason.NONE),
            lambda r: (
                f"{Action(r['code']).name} with reason {reason_name(HoldReason, r['aux'] & 255)}"
            ),
        )
        advice = part[~holds]
        with np.errstate(invalid="ignore"):
            fine = np.ones(len(advice), dtype=bool)
            for slot in ("f0", "f1", "f2"):
                fine &= (advice[slot] >= 0.0) & (advice[slot] <= 1.0)
        self._refuse(advice, ~fine, lambda r: "a probability outside 0..1")

    def _intents(self, part: np.ndarray) -> None:
        newest = self._next[Record.DECISION]
        bad = part["i0"] >= max(newest, 0)
        self._refuse(part, bad, lambda r: f"intent {r['id']} names signal {r['i0']}, not made yet")

    def _exposures(self, part: np.ndarray) -> None:
        total = part["i0"] + part["i1"] + part["i2"] + part["i3"]
        self._refuse(part, part["i4"] != total, lambda r: f"exposure parts do not make {r['i4']}")
        over = part[part["i4"] > part["i5"]]
        room = 8 - len(self.over_limit)
        self.over_limit += [(int(r["seq"]), int(r["model"])) for r in over[: max(room, 0)]]
        shares = part["i4"] / np.maximum(part["i5"], 1)
        for model in np.unique(part["model"]):
            fullest = float(shares[part["model"] == model].max())
            self.exposure_share[int(model)] = max(self.exposure_share.get(int(model), 0.0), fullest)

    def _inputs(self, part: np.ndarray) -> None:
        for record in part:
            seq = int(record["seq"])
            sha256 = words_hash([int(record[f"i{k}"]) for k in range(4)])
            if record["kind"] == Record.RUN:
                if seq != 0:
                    raise BrokenAudit(seq, "a second RUN record")
                wanted = self._names.run.inputs_sha256
                if wanted and sha256 != wanted:
                    raise BrokenAudit(seq, "the inputs' sha256 is not that of names.json")
                continue
            self._refuse(
                part,
                part["code"] > max(ModelStatus),
                lambda r: f"model status {r['code']} is not known",
            )
            self._model(record, seq, sha256)

    def _model(self, record: np.void, seq: int, sha256: str) -> None:
        index = int(record["model"])
        if index >= len(self._names.models):
            raise BrokenAudit(seq, "a MODEL record without a model")
        if self._model_records >= len(self._names.models):
            return  # a reload: names.json tells of the start
        self._model_records += 1
        wanted = self._names.models[index].sha256
        if wanted and sha256 != wanted:
            raise BrokenAudit(seq, f"model {index}'s sha256 is not that of names.json")
