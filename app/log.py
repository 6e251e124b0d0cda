"""Logging: structlog to stderr, for people by default, strict JSON by flag, a level for each part.

    log = logger("data")
    log.info("import.done", rows=12, message="12 rows kept")

An event's name is ours, lower case with dots. Text from a venue, a file or a library is a value and
is escaped: it can neither forge a line nor move the cursor. Secrets are hidden by their key.
"""

import argparse
import datetime
import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, TextIO

from app.lean import without
from engine.errors import UsageError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}
_EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_PLAIN = re.compile(r"[\w.+:/@%,()-]+", re.ASCII)
_SECRET = re.compile(r"api_?key|secret|token|passw|passphrase|signature|credential", re.IGNORECASE)
_NAMES = {number: name for name, number in LEVELS.items()}
EventDict = MutableMapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command the logging flags."""
    group = parser.add_argument_group("logging (to stderr)")
    group.add_argument("--verbose", action="store_true", help="say more: level debug for all parts")
    group.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="PART=LEVEL",
        help=f"level of one part, for example data=debug; levels: {', '.join(LEVELS)}",
    )
    group.add_argument("--log-json", action="store_true", help="one JSON object a line")


def configure_from(args: argparse.Namespace) -> None:
    """Set logging up from the flags of `add_arguments`."""
    configure(as_json=args.log_json, verbose=args.verbose, levels=parse_levels(args.log))


def parse_levels(words: Sequence[str]) -> dict[str, str]:
    """Return part -> level of words such as `data=debug`.

    Raises:
        UsageError: a word is not PART=LEVEL, or the level is unknown.
    Example:
        >>> parse_levels(["data=debug", "risk=warning"])
        {'data': 'debug', 'risk': 'warning'}
    """
    levels = {}
    for word in words:
        part, _, level = word.partition("=")
        if not part or level not in LEVELS:
            known = ", ".join(LEVELS)
            raise UsageError(f"--log {word!r}: write PART=LEVEL; levels are {known}")
        levels[part] = level
    return levels


def configure(
    *,
    as_json: bool = False,
    verbose: bool = False,
    levels: Mapping[str, str] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set up logging for the whole process; may be called again.

    Args:
        as_json: write one JSON object a line, without NaN (they become null).
        verbose: level debug instead of info for every part that `levels` does not name.
        levels: part -> level name; `library` is everything from other packages.
        stream: where to; None is stderr.
    """
    with without("rich"):  # it is for tracebacks in colour, which nobody draws here
        import structlog  # not at the top: `--help` does without it

    default = LEVELS["debug" if verbose else "info"]
    by_part = {"library": LEVELS["warning"]}
    by_part |= {part: LEVELS[level] for part, level in (levels or {}).items()}

    def wanted(_: Any, method: str, event: EventDict) -> EventDict:
        level = {"warn": 30, "exception": 40, "critical": 40}.get(method) or LEVELS[method]
        if level < by_part.get(event.get("part", ""), default):
            raise structlog.DropEvent
        event["level"] = _NAMES[level]
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            wanted,
            _clean,
            _stamp,
            structlog.processors.format_exc_info,
            _as_json if as_json else _for_people,
        ],
        wrapper_class=structlog.BoundLogger,
        logger_factory=lambda *_: _Stream(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Library()]
    root.setLevel(by_part["library"])


def logger(part: str) -> Any:
    """Return the logger of one part, named after its room: data, feed, models, risk, run, ..."""
    import structlog

    return structlog.get_logger().bind(part=part)


def lines_to(say: Callable[[str], None] | None) -> None:
    """Hand lines for stderr to `say` from now on; None writes them again."""
    _Stream.say = None if say is None else staticmethod(say)


def is_secret(name: str) -> bool:
    """Say whether a value of this name is hidden in logs.

    >>> is_secret("api_key"), is_secret("symbol")
    (True, False)
    """
    return _SECRET.search(name) is not None


class _Stream:
    """Writes lines; a closed pipe or a full disk costs lines, never the run."""

    lost = 0
    say: Callable[[str], None] | None = None  # while a status is drawn on the terminal

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    def msg(self, line: str) -> None:
        """Write one line."""
        if _Stream.say is not None and self.stream is None:
            _Stream.say(line)
            return
        try:
            print(line, file=self.stream or sys.stderr, flush=True)
        except (OSError, ValueError):
            _Stream.lost += 1

    debug = info = warning = warn = error = exception = critical = msg


class _Library(logging.Handler):
    """Takes what other packages log, as values of our event."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record on."""
        level = "error" if record.levelno >= 40 else "warning" if record.levelno >= 30 else "debug"
        log = logger("library")
        getattr(log, level)("library.message", name=record.name, message=record.getMessage())


def _clean(_: Any, __: str, event: EventDict) -> EventDict:
    """Keep foreign text out of the event's name, and secrets out of its values."""
    name = event.get("event")
    if not isinstance(name, str) or not _EVENT.fullmatch(name):
        event.update(event="log.unnamed", text=str(name))
    return {key: "(hidden)" if is_secret(key) else value for key, value in event.items()}


def _stamp(_: Any, __: str, event: EventDict) -> EventDict:
    now = datetime.datetime.now(datetime.UTC)
    event["ts"] = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _as_json(_: Any, __: str, event: EventDict) -> str:
    """Return one line of strict JSON."""
    first = {key: event.pop(key) for key in ("ts", "level", "part", "event") if key in event}
    import msgspec

    return msgspec.json.encode(first | dict(event), enc_hook=str).decode()


def _for_people(_: Any, __: str, event: EventDict) -> str:
    """Return `12:00:00.123 warning models.refused  sentence  key=value ...`."""
    time = event.pop("ts")[11:23]
    trace = event.pop("exception", None)
    level, name = event.pop("level"), event.pop("event")
    name = f"{event.pop('part', 'run')}.{name}"
    words = [f"{time} {level:<7} {name}"]
    if "message" in event:
        words.append(" " + _escaped(str(event.pop("message"))))
    words += [f"{key}={_value(value)}" for key, value in event.items()]
    lines = [" ".join(words)]
    lines += [f"    {_escaped(line)}" for line in (trace or "").splitlines()]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
