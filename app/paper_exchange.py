"""The exchange that a paper session owns: told to start before anything else is loaded."""

import contextlib
from collections.abc import Iterator, Sequence

from app.live_urls import EMBEDDED
from venues.embedded.launcher import StartingExchange, begin_exchange

# Lively, so that models warm in seconds and there is something to see.
OPTIONS = ("--rows-per-s", "20", "--predictability", "0.9", "--speed", "4")


@contextlib.contextmanager
def begun(venue: str, options: Sequence[str] = ()) -> Iterator[StartingExchange | None]:
    """Start the exchange of `--venue embedded` and do not wait for it; nothing for other venues.

    It starts while the engine loads. What nobody has taken over is ended with the block.

    Args:
        venue: of the session.
        options: further words of the exchange's command line.
    """
    if venue != EMBEDDED:
        yield None
        return
    starting = begin_exchange(options=(*OPTIONS, *options))
    try:
        yield starting
    finally:
        starting.stop()
