"""Verify a run's audit: chain, sequence, completeness, and the tape that it speaks of. Streaming.

A last record or last link that is torn is cut, and said: that is what a killed process leaves.
What was sealed by the chain or by the summary and is gone, and anything wrong in the middle, is a
finding that names the first bad record.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from engine.audit_layout import AUDIT_BYTES, CHAIN_RECORDS, Record
from engine.audit_orders import BrokenAudit, OrderFlow
from engine.audit_reader import AuditFile, Funnel, read_names
from engine.audit_shape import RecordShape
from engine.audit_streams import Streams, link_rest
from engine.audit_tape import TapeWitness
from engine.audit_text import TextWitness
from engine.errors import DataError
from engine.hash_words import text_word
from engine.json_files import read_json, read_lines
from engine.run_files import (
    AUDIT_RECORDS,
    AUDIT_TEXT,
    CHAIN,
    EVENTS,
    FIRST_CHAIN,
    SUMMARY,
    TAPE_EVENT,
    ChainLink,
    EventLine,
    Names,
    Summary,
)

Progress = Callable[[int, int], None]  # (done, total) records


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong."""

    file: str  # inside the run folder
    what: str
    seq: int = -1  # record, where it is one
    offset: int = -1  # byte in the file
    last_seq: int = -1  # last record of a range, where one cannot be told apart

    def line(self) -> str:
        """Say it in one line."""
        where = ""
        if self.seq >= 0:
            more = f" to {self.last_seq:,}" if self.last_seq > self.seq else ""
            where = f", record {self.seq:,}{more}"
        at = f" (byte {self.offset:,})" if self.offset >= 0 else ""
        return f"{self.file}{where}{at}: {self.what}"


class Verification(msgspec.Struct, kw_only=True):
    """What a verification found. `ok` means: everything that is there is as it was written."""

    run_dir: str
    ok: bool = False
    records: int = 0
    sealed: int = 0  # records under the chain
    links: int = 0
    audit_head: str = ""
    decision_digest: str = ""
    open_orders: int = 0
    kinds: dict[str, int] = {}
    exposure_share: dict[str, float] = {}  # model name -> fullest share of its limit
    first_bad: Finding | None = None
    cut: list[str] = []  # what a crash left torn, and what was therefore not read
    warnings: list[str] = []
    tape: str = ""  # what was checked of the tape
    text: str = ""  # what was checked of audit.jsonl


class _Wrong(Exception):
    """Carries the first finding out of the pass."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


def verify(
    run_dir: Path,
    *,
    check_tape: bool = True,
    check_text: bool = True,
    tape_dir: Path | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify one run folder.

    Args:
        run_dir: the run's folder.
        check_tape: also hash the tape's rows.
        check_text: also compare audit.jsonl with the records.
        tape_dir: where the tape lies now, if not where the run says.
        progress: called with (records done, records in all) after each block.
    Returns:
        the verdict; `first_bad` names the first bad record when it is not ok.
    Raises:
        DataError: there is no audit to verify.
    """
    result = Verification(run_dir=str(run_dir))
    names = read_names(run_dir)
    tape = TapeWitness(run_dir, tape_dir, enabled=check_tape)
    text = TextWitness(run_dir, names, enabled=check_text)
    try:
        _Pass(run_dir, names, result, (tape, text)).run(progress)
    except _Wrong as wrong:
        result.first_bad = wrong.finding
    finally:
        text.close()
    result.ok = result.first_bad is None
    return result


class _Pass:
    """One walk over records, links, events, text and tape."""

    def __init__(
        self,
        run_dir: Path,
        names: Names,
        result: Verification,
        witnesses: tuple[TapeWitness, TextWitness],
    ) -> None:
        self.run_dir = run_dir
        self.result = result
        self.tape, self.text = witnesses
        self.names = names
        self.audit = AuditFile(run_dir)
        self.shape = RecordShape(self.names)
        self.flow = OrderFlow()
        self.streams = Streams()
        self.funnel = Funnel()
        self.events = self._event_lines()
        self.links = self._chain_links()
        self.chain = FIRST_CHAIN
        self.position = 0
        self.short_link = False  # a link of fewer records was seen: it must be the last
        self.last_tape_row = 0

    def run(self, progress: Progress | None) -> None:
        result, audit = self.result, self.audit
        if audit.torn_bytes:
            result.cut.append(
                f"the last record is torn: {audit.torn_bytes} of {AUDIT_BYTES} bytes are there"
            )
        for block in audit.blocks():
            self.funnel.update(block)
            for start in range(0, len(block), CHAIN_RECORDS):
                self._part(block[start : start + CHAIN_RECORDS])
            result.records = self.position
            if progress:
                progress(self.position, audit.records)
        result.records = self.position
        result.decision_digest = self.streams.digest()
        result.kinds = {kind.name: n for kind in Record if (n := self.funnel.count(kind))}
        self._end_of_chain()
        self._end_of_orders()
        self._end_of_events()
        self._summary()
        self._exposures()
        self._text()
        if what := self.tape.finish():
            raise _Wrong(Finding(file="tape", what=what))
        result.tape = self.tape.note

    def _part(self, part: np.ndarray) -> None:
        """Check the next 1,024 records (fewer at the end): the chain first, then each record."""
        self.streams.update(part)
        bad_chain = self._link(part)
        try:
            self.shape.update(part)
            self._event_records(part[part["kind"] == Record.EVENT])
            self.flow.update(part)
        except BrokenAudit as broken:
            if bad_chain:
                raise self._changed(part, bad_chain, broken) from None
            raise self._wrong(broken.seq, broken.what) from None
        if bad_chain:
            raise self._changed(part, bad_chain)
        self.text.update(part)
        self.position += len(part)

    def _changed(
        self, part: np.ndarray, bad_chain: str, broken: BrokenAudit | None = None
    ) -> "_Wrong":
        """Name the changed record by its line in audit.jsonl or by its contradiction.

        Where neither tells, the records of the whole link are named.
        """
        first, text = self.position, self.text
        text.update(part)
        told = "differs" in text.wrong and first <= text.wrong_seq < first + len(part)
        if told and (broken is None or text.wrong_seq <= broken.seq):
            what = f"{bad_chain}; {AUDIT_TEXT} {text.wrong}"
            return self._wrong(text.wrong_seq, what, last=text.wrong_last_seq)
        if broken is not None:
            return self._wrong(broken.seq, f"{broken.what}; the chain differs here too")
        return self._wrong(first, bad_chain, last=first + len(part) - 1)

    def _text(self) -> None:
        """Say what audit.jsonl is worth."""
        text = self.text
        text.finish(cut=self._ends_early())
        if text.wrong and not (self._ends_early() and "ends" in text.wrong):
            finding = Finding(
                file=AUDIT_TEXT,
                seq=text.wrong_seq,
                last_seq=text.wrong_last_seq,
                offset=text.wrong_offset,
                what=text.wrong,
            )
            raise _Wrong(finding)
        self.result.text = text.note or text.wrong

    def _wrong(self, seq: int, what: str, *, last: int = -1) -> _Wrong:
        finding = Finding(
            file=AUDIT_RECORDS, seq=seq, offset=seq * AUDIT_BYTES, last_seq=last, what=what
        )
        return _Wrong(finding)

    def _chain_links(self) -> Iterator[ChainLink]:
        """Yield the links; a torn last line is noted, an unreadable one before it is a finding."""
        unreadable: tuple[int, int] | None = None
        for number, offset, link in read_lines(self.run_dir / CHAIN, ChainLink):
            if unreadable:
                break
            if link is None:
                unreadable = (number, offset)
                continue
            yield link
        else:
            if unreadable:
                self.result.cut.append(f"the last chain link (line {unreadable[0]}) is torn")
            return
        assert unreadable is not None
        what = f"line {unreadable[0]} is not a chain link"
        raise _Wrong(Finding(file=CHAIN, offset=unreadable[1], what=what))

    def _link(self, part: np.ndarray) -> str:
        """Check the next link against its records; return what is wrong with the records, or ''."""
        link = next(self.links, None)
        if link is None:
            if self.short_link:
                return "records stand behind the last link of a closed audit"
            return ""
        wanted = (self.result.links, self.position)
        if (link.block, link.first_seq) != wanted or not 0 < link.records <= CHAIN_RECORDS:
            what = f"line {wanted[0] + 1} is not link {wanted[0]} from record {wanted[1]} on"
            raise _Wrong(Finding(file=CHAIN, what=what))
        if self.short_link:
            raise _Wrong(Finding(file=CHAIN, what=f"link {link.block} follows the closing link"))
        if link.records > len(part):
            return self._removed(link, len(part))
        self.short_link = link.records < CHAIN_RECORDS
        if link.records < len(part):
            return "records stand behind the last link of a closed audit"
        self.chain = self.streams.chain(self.chain, b"".join(link_rest(part)))
        if self.chain.hex() != link.chain:
            return "one of these records was changed: the chain differs"
        self._tape(link, int(part["row"].max()))
        self.result.links += 1
        self.result.sealed = self.position + len(part)
        self.result.audit_head = link.chain
        return ""

    def _removed(self, link: ChainLink, there: int) -> str:
        """Tell a torn last record, which is only cut, from sealed records that are gone."""
        missing = link.records - there
        self.result.cut.append(
            f"link {link.block} sealed {link.records:,} records, {there:,} are whole; these "
            f"{there:,} cannot be checked against it"
        )
        further = next(self.links, None) is not None
        if missing == 1 and self.audit.torn_bytes and not further:
            return ""
        self.position += there
        what = f"the audit is cut here: {missing:,} sealed records are gone"
        raise self._wrong(self.position, what + (", and whole links after them" if further else ""))

    def _tape(self, link: ChainLink, last_row: int) -> None:
        if not max(self.last_tape_row, last_row) <= link.tape_row:
            what = (
                f"link {link.block} says {link.tape_row:,} tape rows, records speak of {last_row:,}"
            )
            raise _Wrong(Finding(file=CHAIN, what=what))
        self.last_tape_row = link.tape_row
        if what := self.tape.link(link):
            raise _Wrong(Finding(file=CHAIN, seq=link.first_seq, what=what))

    def _event_lines(self) -> Iterator[tuple[int, int, EventLine | None]]:
        return read_lines(self.run_dir / EVENTS, EventLine)

    def _event_records(self, part: np.ndarray) -> None:
        for record in part:
            number, offset, line = next(self.events, (0, -1, None))
            if line is None:
                if number and next(self.events, None) is None:
                    self.result.cut.append(f"the last line of {EVENTS} is torn")
                    return
                if not number and self.audit.records - self.position <= CHAIN_RECORDS:
                    self.result.cut.append(f"{EVENTS} lacks the text of event {record['id']}")
                    return
                what = f"line {number} is not an event" if number else "lines are missing"
                raise _Wrong(Finding(file=EVENTS, offset=offset, what=what))
            same = (line.event_id, line.code) == (int(record["id"]), int(record["code"]))
            if not same or int(record["i3"]) not in (0, text_word(line.text)):
                what = f"line {number} is not event {record['id']} of record {record['seq']}"
                raise _Wrong(Finding(file=EVENTS, offset=offset, what=what))
            if line.name == TAPE_EVENT and self.tape.content not in ("", line.text):
                what = f"the run read tape {line.text[:12]}, this is {self.tape.content[:12]}"
                raise _Wrong(Finding(file="tape", what=what))

    def _end_of_chain(self) -> None:
        link = next(self.links, None)
        if link is not None:
            what = f"the audit ends here, but chain links seal records from {link.first_seq:,} on"
            raise self._wrong(self.position, what)
        unsealed = self.position - self.result.sealed
        if unsealed:
            which = "record is" if unsealed == 1 else f"{unsealed:,} records are"
            self.result.cut.append(
                f"the last {which} not under the chain yet: read, but not sealed"
            )

    def _end_of_orders(self) -> None:
        try:
            self.result.open_orders = self.flow.finish()
        except BrokenAudit as broken:
            if self._ends_early():
                self.result.cut.append(f"record {broken.seq:,}: {broken.what} before the end")
                return
            raise self._wrong(broken.seq, broken.what) from None

    def _end_of_events(self) -> None:
        extra = next(self.events, None)
        if extra is not None and not self._ends_early():
            what = f"line {extra[0]} has no EVENT record"
            raise _Wrong(Finding(file=EVENTS, offset=extra[1], what=what))

    def _ends_early(self) -> bool:
        """Say whether something is cut off, or the run never came to its end."""
        return bool(self.result.cut) or not (self.run_dir / SUMMARY).exists()

    def _summary(self) -> None:
        """Compare with summary.json, where the run came to its end."""
        if not (self.run_dir / SUMMARY).exists():
            self.result.warnings.append("no summary.json: the run did not come to its end")
            return
        summary = read_json(self.run_dir / SUMMARY, Summary)
        if self.result.cut and summary.audit_records != self.position:
            return
        pairs = (
            ("audit_records", summary.audit_records, self.position),
            ("audit_head", summary.audit_head, self.result.audit_head),
            ("decision_digest", summary.decision_digest, self.result.decision_digest),
        )
        for name, said, found in pairs:
            if said != found and not (name == "audit_head" and self.result.cut):
                what = f"{name} is {said}, the audit gives {found}"
                raise _Wrong(Finding(file=SUMMARY, what=what))

    def _exposures(self) -> None:
        models = self.names.models
        self.result.exposure_share = {
            models[k].name: share for k, share in sorted(self.shape.exposure_share.items())
        }
        for seq, model in self.shape.over_limit[:3]:
            self.result.warnings.append(
                f"record {seq:,}: exposure of {models[model].name} is above its limit"
            )


__all__ = ["DataError", "Finding", "Verification", "verify"]
