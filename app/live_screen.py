"""The status of a running session on the terminal: drawn in place, or plain lines elsewhere.

An update never waits: a terminal that takes nothing, because it is paused or its connection hangs,
gets the rest of a frame later, and no new one until then. What goes wrong here ends the status and
nothing else.
"""

import contextlib
import os
import select
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from app.live_lines import plain_line, sections
from app.live_numbers import LiveView
from app.live_text import Line, clean, lay_out, line_width
from app.live_view import Collector
from app.parts import Parts
from engine.feed_health import FeedHealth

STYLES = {
    "bold": "bold",
    "dim": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "alarm": "bold white on red",
}
KEPT_SAID = 200  # lines said between two updates; the newest are kept
CLOSE_WAIT_MS = 200  # how long the end of the run waits for a terminal that takes nothing


class Screen:
    """Shows how a session stands; `update` is called a few times a second.

    Args:
        parts: the running session.
        health: counters of its feed.
        title: mode and venue, for a person.
        now_ns: the session's clock, which stamps messages too; it never goes back.
        stream: where to draw.
        plain: True for plain lines, False for drawing; None asks the stream.
        plain_every_s: time between two plain lines.
    """

    def __init__(
        self,
        parts: Parts,
        health: FeedHealth,
        *,
        title: str,
        now_ns: Callable[[], int],
        stream: TextIO = sys.stderr,
        plain: bool | None = None,
        plain_every_s: float = 10.0,
    ) -> None:
        self.plain = not _draws(stream) if plain is None else plain
        self._collector = Collector(parts, health, title, now_ns)
        self._clock = now_ns
        self._out = Outlet(stream, own=not self.plain)
        self._canvas = None if self.plain else Canvas(stream)
        self._every_ns = int(plain_every_s * 1e9)
        self._next_ns = now_ns()
        self._said: list[str] = []
        self._open = True

    def update(self) -> None:
        """Show the session as it stands; takes a millisecond or two, never waits, never raises."""
        if not self._open:
            return
        try:
            self._show()
        except Exception as error:  # a status may not end a session: it ends itself, and says so
            self._end(f"status ended by {type(error).__name__}: {error}")

    def say(self, text: str) -> None:
        """Put lines above the status with the next update; plain lines are written as they come.

        What else is written to a terminal while the status is drawn there breaks it.
        """
        self._said += [clean(line) for line in text.splitlines()]
        del self._said[:-KEPT_SAID]

    def close(self) -> None:
        """Show the session a last time and leave the terminal as a program's lines leave it."""
        if not self._open:
            return
        self._next_ns = self._clock()
        with contextlib.suppress(OSError, ValueError):  # the update finds the same and ends it
            self._out.wait(CLOSE_WAIT_MS)
        self.update()
        self._end("")

    def _show(self) -> None:
        if not self._out.flush():
            return
        said, self._said = self._said, []
        if self._canvas is not None:
            self._out.send(self._canvas.frame(self._collector.collect(), said))
            return
        if (now := self._clock()) >= self._next_ns:
            self._next_ns = now + self._every_ns
            said.append(plain_line(self._collector.collect()))
        self._out.send("".join(f"{line}\n" for line in said))

    def _end(self, words: str) -> None:
        self._open = False
        drawn = self._canvas is not None and self._canvas.height > 0
        try:
            self._out.send(("\n" if drawn else "") + (f"{words}\n" if words else ""))
            self._out.wait(CLOSE_WAIT_MS)
        except (OSError, ValueError):
            pass  # the terminal is gone
        self._out.close()


def _draws(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class Canvas:
    """Turns views into frames that change only the lines that differ.

    Args:
        stream: asked for its size, its colours and its letters.
    """

    def __init__(self, stream: TextIO) -> None:
        self.height = 0  # lines on the screen, the cursor at the end of the last one
        self._stream = stream
        self._shown: list[str] = []
        self._size = (0, 0)
        self._codes = style_codes(stream)
        self._ascii = "utf" not in (getattr(stream, "encoding", None) or "utf-8").lower()

    def frame(self, view: LiveView, said: Sequence[str] = ()) -> str:
        """Return what to write so that the terminal shows a view, below lines that were said."""
        width, height = terminal_size(self._stream)
        lines = lay_out(sections(view, width, self._ascii), width, max(1, height - 1))
        texts = [self._text(line, width) for line in lines]
        start = ""
        if (width, height) != self._size:
            # A terminal that changed its width has broken our lines: begin on a clear one.
            start = "\x1b[2J\x1b[H" if self.height else ""
            self._size, self._shown, self.height = (width, height), [], 0
        if said:
            start += self._top() + "\x1b[J" + "".join(f"{line}\r\n" for line in said)
            self._shown, self.height = [], 0
        return start + self._change(texts)

    def _top(self) -> str:
        """Move the cursor to the beginning of the first line."""
        return "\r" + (f"\x1b[{self.height - 1}A" if self.height > 1 else "")

    def _change(self, texts: list[str]) -> str:
        """Move to the first line and go down, writing what differs; rows are made once by \\n."""
        out = [self._top()]
        rows = max(len(texts), self.height)
        for at in range(rows):
            text = texts[at] if at < len(texts) else ""
            if at >= len(self._shown) or text != self._shown[at]:
                out.append(f"\x1b[2K{text}\r")
            if at + 1 < rows:
                out.append("\n")
        self._shown = [*texts, *[""] * (rows - len(texts))]
        self.height = rows
        return "".join(out)

    def _text(self, line: Line, width: int) -> str:
        assert line_width(line) <= width, "a line of the status is wider than the terminal"
        codes = self._codes
        words = []
        for text, style in line:
            before, after = codes.get(style, ("", ""))
            words.append(f"{before}{text}{after}" if before and text.strip() else text)
        joined = "".join(words)
        return joined.encode("ascii", "replace").decode() if self._ascii else joined


def style_codes(stream: TextIO) -> dict[str, tuple[str, str]]:
    """Return what to write before and after a text of each style, by the terminal's colours.

    NO_COLOR leaves bold and dim.
    """
    from rich.color import ColorSystem
    from rich.console import Console
    from rich.style import Style

    console = Console(file=stream)
    known = console.color_system
    system = ColorSystem[known.upper().replace("256", "EIGHT_BIT")] if known else None
    codes = {}
    for name, words in STYLES.items():
        style = Style.parse(words)
        if console.no_color:
            style = style.without_color + Style(reverse=name == "alarm")
        before, _, after = style.render("|", color_system=system).partition("|")
        codes[name] = (before, after)
    return codes


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Return (columns, lines) of a stream's terminal, 80 by 24 where it does not say."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = shutil.get_terminal_size((80, 24))
    return columns or 80, lines or 24


class Outlet:
    """Writes without waiting. What a stream does not take at once is kept, and goes first.

    Args:
        stream: where to; one without a file descriptor is written to directly.
        own: open the terminal once more for ourselves, so that only our writes never wait.
    """

    def __init__(self, stream: TextIO, *, own: bool) -> None:
        self._stream = stream
        self._left = b""
        self._own = -1
        self._descriptor = -1
        try:
            self._descriptor = stream.fileno()
            if own and stream.isatty():
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                self._own = self._descriptor = os.open(os.ttyname(self._descriptor), flags)
        except (OSError, ValueError):
            pass  # no file behind it, or a terminal that cannot be opened by its name

    def send(self, text: str) -> None:
        """Write a text, as far as the stream takes it."""
        if self._descriptor < 0:
            self._stream.write(text)
            self._stream.flush()
            return
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._left += text.encode(encoding, "replace")
        self.flush()

    def flush(self) -> bool:
        """Write what is left; return True when nothing is."""
        while self._left and self._takes(0):
            try:
                # Where the descriptor is not our own a small write is what it surely takes.
                some = self._left if self._own >= 0 else self._left[: select.PIPE_BUF]
                self._left = self._left[os.write(self._descriptor, some) :]
            except BlockingIOError:
                break
        return not self._left

    def wait(self, timeout_ms: int) -> None:
        """Give a slow stream a moment to take what is left."""
        if self._left and self._takes(timeout_ms):
            self.flush()

    def close(self) -> None:
        """Give back what was opened; what is left is lost."""
        self._left = b""
        if self._own >= 0:
            os.close(self._own)
        self._own = self._descriptor = -1

    def _takes(self, timeout_ms: int) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(timeout_ms))
