"""docs/audit.md names every code with its number, and its example commands are true."""

import re
from enum import IntEnum
from pathlib import Path

import pytest

from engine.audit_layout import AUDIT, AUDIT_BYTES, ModelStatus, Record, Verdict
from engine.events import Action, Block, HoldReason, OrderState, OrderType, Purpose, RejectReason

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text()


@pytest.mark.parametrize("enum", [Action, Verdict, Purpose, OrderType, OrderState, ModelStatus])
def test_short_codes_are_listed(enum: type[IntEnum]):
    assert ", ".join(f"{one.value} {one.name}" for one in enum) in TEXT


def test_reasons_and_blocks_are_listed():
    for reason in HoldReason:
        assert f"| {reason.value} | {reason.name} |" in TEXT
    for reason in RejectReason:
        assert re.search(rf"^\| {reason.value} \| {reason.name}\b", TEXT, re.MULTILINE), reason
    for block in Block:
        if block:
            assert f"| {int(block).bit_length() - 1} | {block.name} |" in TEXT


def test_kinds_and_the_header_are_listed():
    for kind in Record:
        assert f"| {kind.value} | {kind.name} |" in TEXT
    for name in ("seq", "ts", "row", "id", "kind", "code", "aux", "instrument", "model"):
        dtype, offset = AUDIT.fields[name][:2]
        assert f"| {offset} | {dtype.itemsize} | `{name}` |" in TEXT
    assert AUDIT.fields["i0"][1] == 40
    assert AUDIT_BYTES == 96
