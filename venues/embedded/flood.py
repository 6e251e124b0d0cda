"""A flood of bookTicker frames at a set rate, with the rate that was truly sent (F17)."""

import asyncio
import time
from typing import Any

from venues.embedded.connection import MAX_BACKLOG_BYTES
from venues.embedded.frames import frame
from venues.embedded.messages import book_ticker, combined
from venues.embedded.streams import MarketStreams
from venues.embedded.symbols import Symbol

MAX_RATE, MAX_SECONDS = 500_000.0, 600.0
STEP_S = 0.002
VARIANTS = 64  # different touches, so that no two messages in a row are alike
MAX_CHUNK = 5_000


class Flood:
    """Sends frames to the subscribers of one bookTicker stream; one flood at a time."""

    def __init__(self, streams: MarketStreams) -> None:
        self.streams = streams
        self.task: asyncio.Task | None = None
        self.report: dict[str, Any] = {"running": False, "sent": 0, "seconds": 0.0, "rate": 0.0}

    def start(self, symbol: Symbol, rate: float, seconds: float) -> None:
        """Begin; the market goes on beside it.

        Args:
            symbol: whose bookTicker.
            rate: frames a second to each subscriber.
            seconds: for how long.
        """
        assert self.task is None or self.task.done()
        self.report = {"running": True, "sent": 0, "seconds": 0.0, "rate": 0.0, "held_back": 0}
        self.task = asyncio.create_task(self._run(symbol, rate, seconds))

    async def _run(self, symbol: Symbol, rate: float, seconds: float) -> None:
        """Send what is due each few milliseconds, however long the last step took."""
        name = symbol.lower + "@bookTicker"
        begin = time.monotonic()
        due = sent = 0
        try:
            while (elapsed := time.monotonic() - begin) < seconds:
                due = int(rate * elapsed)
                count = min(due - sent, MAX_CHUNK)
                if count > 0 and self._send(symbol, name, count):
                    sent += count
                    self._note(sent, time.monotonic() - begin)
                await asyncio.sleep(0 if due - sent > 0 else STEP_S)
        finally:
            self._note(sent, time.monotonic() - begin)
            self.report["running"] = False

    def _send(self, symbol: Symbol, name: str, count: int) -> bool:
        """Send one chunk to every subscriber that keeps up. Returns whether anyone got it."""
        ready = [c for c in self.streams.subscribers.get(name, ()) if self._keeps_up(c)]
        if not ready:
            self.report["held_back"] += 1
            return False
        first = symbol.book.update_id + 1
        symbol.book.update_id += count
        tails = self._tails(symbol)
        for envelope in {connection.combined for connection in ready}:
            data = _chunk(name if envelope else "", first, count, tails)
            for connection in ready:
                if connection.combined == envelope:
                    connection.send(name, data)
        return True

    def _keeps_up(self, connection: Any) -> bool:
        """Say whether a client's unsent bytes leave room: a flood fills them, it does not kill."""
        return connection.backlog < MAX_BACKLOG_BYTES // 8 and not connection.gone

    def _tails(self, symbol: Symbol) -> list[str]:
        """Return what stands behind the update id, in several variants of the touch."""
        bid, ask, bid_lots, ask_lots = symbol.book.touch()
        made = []
        for at in range(VARIANTS):
            touch = bid, ask, bid_lots + at, ask_lots + VARIANTS - at
            text = book_ticker(symbol, touch)
            made.append(text[text.index(',"s"') :])
        return made

    def _note(self, sent: int, seconds: float) -> None:
        rate = sent / seconds if seconds > 0.0 else 0.0
        self.report |= {"sent": sent, "seconds": round(seconds, 6), "rate": round(rate, 1)}


def _chunk(stream: str, first: int, count: int, tails: list[str]) -> bytes:
    """Return frames with consecutive update ids as one piece of bytes."""
    parts = []
    for at in range(count):
        text = f'{{"u":{first + at}{tails[at % VARIANTS]}'
        parts.append(frame((combined(stream, text) if stream else text).encode()))
    return b"".join(parts)
