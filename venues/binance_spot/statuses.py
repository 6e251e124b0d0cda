"""Which instruments the venue trades now: asked for regularly, and at once where one falls silent.

The venue's streams do not say that an instrument is halted: its messages only stop.
"""

import asyncio
import contextlib
from collections.abc import Callable

from engine.errors import UsageError
from venues.binance_spot.rest import RestError, SpotRest
from venues.intake import Intake

TRADING = "TRADING"
HALTED_POLL_S = 5.0  # while one is halted: its end is to be seen soon


class StatusWatch:
    """Asks for the status of all instruments of a feed; a change is a STATUS row.

    Args:
        rest: of the venue.
        intake: whose instruments.
        gate: bounds how many requests are under way.
        now_ns: stamps rows.
        say: told of changes and failures.
        poll_s: between two looks where nothing hurries.
    """

    def __init__(
        self,
        rest: SpotRest,
        intake: Intake,
        gate: asyncio.Semaphore,
        *,
        now_ns: Callable[[], int],
        say: Callable[[str, dict[str, object]], None],
        poll_s: float,
    ) -> None:
        self._rest = rest
        self._intake = intake
        self._gate = gate
        self._now_ns = now_ns
        self._say = say
        self._poll_s = poll_s
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look at once: an instrument fell silent, or came back."""
        self._hurry.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._hurry.clear()
            await self._look()
            halted = any(one.halted for one in self._intake.health.instruments)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    min(self._poll_s, HALTED_POLL_S) if halted else self._poll_s
                ):
                    await self._hurry.wait()

    async def _look(self) -> None:
        intake = self._intake
        try:
            async with self._gate:
                found = await self._rest.statuses(list(intake.by_symbol))
        except (RestError, UsageError) as error:
            self._say("feed.status_failed", {"why": str(error)})
            return
        for symbol, status in found.items():
            line = intake.by_symbol[symbol]
            if line.set_halted(status != TRADING):
                now_ns = self._now_ns()
                line.since_ns = now_ns  # from here on silence counts anew
                intake.sink.status_row(line, now_ns)
                self._say("feed.status", {"symbol": symbol, "status": status})
