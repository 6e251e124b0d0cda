"""What a live session is asked to do, and what it is given: a screen, and where its orders go."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from app.parts import NewVenue, Parts
from config.settings import Settings
from engine.bus import Bus
from engine.feed_health import FeedHealth
from venues.embedded.launcher import StartingExchange

if TYPE_CHECKING:
    from app.live import Session


class Screen(Protocol):
    """Shows a session to a person. Given by app/live_screen.py."""

    plain: bool  # it writes lines; else it draws, and lines go through `say`

    def update(self) -> None:
        """Draw the state of now."""

    def say(self, text: str) -> None:
        """Put lines above the status."""

    def close(self) -> None:
        """Leave the terminal clean."""


class Venue:
    """What a session's orders go to. This one is paper matching in the kernel: it does nothing.

    Attributes:
        mode: the session's, in config.json.
        new_venue: for app/wire.py `build`.
    """

    mode = "paper"
    new_venue: NewVenue | None = None

    def begin(self, session: "Session") -> None:
        """Write what the tape opens with; the parts are built, no row has come."""

    def send(self) -> None:
        """Send what the pipeline decided; called after each wake."""

    async def watch(self) -> None:
        """Work beside the feed until cancelled; to return ends the session."""
        await asyncio.Event().wait()

    async def finish(self) -> None:
        """End the orders; the feed has ended, and `wake` may still be called."""


class Job(msgspec.Struct, kw_only=True):
    """What a session is asked to do.

    Attributes:
        settings: the run's settings.
        named: models given on the command line, `ID:VERSION`.
        command: the command line.
        venue: embedded or binance (its public data).
        symbols: only these; empty takes all of an exchange of our own.
        duration_s: 0 for until it is stopped.
        exchange: our own one, told to start; for the venue `embedded` on paper.
        say: tells a person what takes long before it begins.
        screen: makes what shows the session, from parts, health, a title and the session's clock;
            None shows nothing.
        report: also write audit.jsonl and report.html at the end.
        subscribe: given the bus, to listen to signals and fills.
    """

    settings: Settings
    named: Sequence[str] = ()
    command: Sequence[str] = ()
    venue: str = "embedded"
    symbols: Sequence[str] = ()
    duration_s: float = 0.0
    exchange: StartingExchange | None = None
    say: Callable[[str], None] = lambda _: None
    screen: Callable[[Parts, FeedHealth, str, Callable[[], int]], Screen] | None = None
    report: bool = True
    subscribe: Callable[[Bus], None] | None = None
