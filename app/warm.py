"""What takes long, done before a session begins to count: runtime, models, kernels, decoders.

A first start compiles; later ones load from disk. All of it happens in a thread while the venue is
reached, so that nothing is compiled or read for the first time once messages come.
"""

import contextlib
import importlib
from collections.abc import Callable, Sequence

from app.kernel import is_compiled, kernel_source, load_kernel
from app.wire import plan
from config.settings import Settings
from engine.errors import TickgateError
from engine.instruments import Instrument
from venues.binance_fast import FastParser


def warm(settings: Settings, named: Sequence[str], say: Callable[[str], None]) -> None:
    """Compile or load everything that a session with these settings uses.

    Args:
        settings: of the session.
        named: models given on the command line.
        say: tells a person what takes long before it begins.
    """
    quote = settings.portfolio.reporting_currency
    stand_in = Instrument(venue="", symbol="", base="", quote=quote, tick="1", lot="1")
    with contextlib.suppress(TickgateError):  # what is wrong will be said when it is built
        parts = plan(settings, [stand_in], named)
        source = kernel_source(parts.specs, parts.bars)
        if not is_compiled(source):
            say("compiling the kernel for these features; this happens once and takes a while")
        load_kernel(parts.specs, bars=parts.bars, source=source)
    FastParser()
    importlib.import_module("websockets.asyncio.client")
