"""Read YAML strictly: bytes in, plain dicts, lists and scalars out, with the line of every key.

The reader goes through ruamel.yaml's events, so nothing is constructed that is not allowed here:

- at most 1 MiB, 16 levels, 10,000 values (an alias counts as much as what it stands for);
- no tags, no directives, no merge keys, one document, keys are text and stand once in a mapping;
- plain `true`, `false`, `null`, integers and decimals are what they look like, everything else is
  text: `NO`, `on`, `1:30`, `010`, `0x1F`, `1_000` and dates stay strings, which numbers refuse;
- NaN and infinities, written out or by overflow (`1e400`), are refused.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_VALUES = 10_000
MAX_ANCHORS = 64
MAX_INT = 2**63 - 1

Path = tuple[str | int, ...]
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.?(nan|inf(inity)?)", re.IGNORECASE)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


class YamlProblem(ValueError):
    """What is wrong in the text, and where: `line` from 1 (0: the whole), `path` to the key."""

    def __init__(self, message: str, line: int = 0, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


def scalar(text: str) -> Any:
    """Return what a plain scalar stands for: None, bool, int, float or the text itself.

    Raises:
        YamlProblem: not a finite number, or an integer beyond 63 bits.
    Example:
        >>> [scalar(t) for t in ("12", "-0.5", "1e3", "true", "NO", "1:30", "010")]
        [12, -0.5, 1000.0, True, 'NO', '1:30', '010']
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 20 or abs(int(text)) > MAX_INT:
            raise YamlProblem("is beyond 63 bits")
        return int(text)
    if _NOT_FINITE.fullmatch(text):
        raise YamlProblem("is not a finite number")
    if _FLOAT.fullmatch(text):
        if not math.isfinite(float(text)):
            raise YamlProblem("is not a finite number")
        return float(text)
    return text


def read_tree(data: bytes) -> tuple[Any, dict[Path, int]]:
    """Parse one strict YAML document.

    Args:
        data: UTF-8 text, at most MAX_BYTES.
    Returns:
        the tree, and the line (from 1) of every key and list item by its path.
    Raises:
        YamlProblem: anything the module's docstring does not allow.
    """
    if len(data) > MAX_BYTES:
        raise YamlProblem(f"has {len(data):,} bytes; at most {MAX_BYTES:,} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlProblem(f"is not UTF-8 text (byte {error.start})", line) from None
    try:
        reader = _Reader(text)
        return reader.document(), reader.lines
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(error.problem or error.context).split())
        raise YamlProblem(f"is no YAML: {what}", mark.line + 1 if mark else 0) from None
    except YAMLError as error:
        what = str(error).splitlines()[0]
        raise YamlProblem(f"is no YAML: {what}") from None


class _Reader:
    """One pass over the events of a text."""

    def __init__(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        self.events: Iterator[Event] = iter(yaml.parse(text))
        self.lines: dict[Path, int] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}  # name -> value, count of values in it
        self.count = 0

    def document(self) -> Any:
        """Return the tree of the only document; None for an empty text."""
        next(self.events)  # the stream's start
        event = next(self.events)
        if isinstance(event, StreamEndEvent):
            return None
        assert isinstance(event, DocumentStartEvent)
        if event.version or event.tags:
            raise YamlProblem("has a % directive; none is allowed", _line(event))
        tree = self.value(next(self.events), ())
        event = next(self.events)
        assert isinstance(event, DocumentEndEvent)
        event = next(self.events)
        if not isinstance(event, StreamEndEvent):
            raise YamlProblem("has more than one document (`---`)", _line(event))
        return tree

    def value(self, event: Event, path: Path) -> Any:
        """Return the value that starts with an event."""
        if len(path) > MAX_DEPTH:
            raise YamlProblem(f"is nested deeper than {MAX_DEPTH} levels", _line(event), path)
        if isinstance(event, AliasEvent):
            return self.alias(event, path)
        before = self.count
        self.add(1, event, path)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise YamlProblem(f"has the tag {tag}; no tags are allowed", _line(event), path)
        result: Any
        if isinstance(event, ScalarEvent):
            result = self.plain(event, path)
        elif isinstance(event, SequenceStartEvent):
            result = self.sequence(path)
        else:
            assert isinstance(event, MappingStartEvent)
            result = self.mapping(path)
        if event.anchor is not None:
            if len(self.anchors) >= MAX_ANCHORS:
                raise YamlProblem(f"has more than {MAX_ANCHORS} anchors", _line(event), path)
            self.anchors[event.anchor] = (result, self.count - before)
        return result

    def plain(self, event: ScalarEvent, path: Path) -> Any:
        """Return a scalar; quoted and block scalars are text."""
        if event.style not in (None, ""):
            return event.value
        try:
            return scalar(event.value)
        except YamlProblem as problem:
            raise YamlProblem(f"{event.value[:40]} {problem}", _line(event), path) from None

    def sequence(self, path: Path) -> list[Any]:
        """Return the items up to the end of a sequence."""
        items: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            here = (*path, len(items))
            self.lines[here] = _line(event)
            items.append(self.value(event, here))
        return items

    def mapping(self, path: Path) -> dict[str, Any]:
        """Return the pairs up to the end of a mapping."""
        pairs: dict[str, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self.key(event, path)
            here = (*path, key)
            if key in pairs:
                first = self.lines[here]
                raise YamlProblem(f"stands twice, first in line {first}", _line(event), here)
            self.lines[here] = _line(event)
            pairs[key] = self.value(next(self.events), here)
        return pairs

    def key(self, event: Event, path: Path) -> str:
        """Return a key, which must be text."""
        if not isinstance(event, ScalarEvent) or event.tag is not None:
            raise YamlProblem("has a key that is not plain text", _line(event), path)
        if event.value == "<<":
            raise YamlProblem("has a merge key `<<`; none is allowed", _line(event), path)
        key = self.plain(event, (*path, event.value))
        if not isinstance(key, str):
            raise YamlProblem(f"has the key {event.value}: quote it", _line(event), path)
        return key

    def alias(self, event: AliasEvent, path: Path) -> Any:
        """Return what an alias stands for, counting it in full."""
        if event.anchor not in self.anchors:
            what = f"has the alias *{event.anchor} inside or before its anchor"
            raise YamlProblem(what, _line(event), path)
        value, count = self.anchors[event.anchor]
        self.add(count, event, path)
        return value

    def add(self, count: int, event: Event, path: Path) -> None:
        """Count values against MAX_VALUES."""
        self.count += count
        if self.count > MAX_VALUES:
            raise YamlProblem(f"has more than {MAX_VALUES:,} values", _line(event), path)


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1
