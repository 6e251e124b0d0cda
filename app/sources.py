"""Open data with the wire decoders of all venues at hand. (store/ may not import venues/.)"""

import venues.binance_spot.decode
import venues.binance_usdm.decode  # noqa: F401  (registers)
from store.source import cached_tape, make_tape, open_tape

__all__ = ["cached_tape", "make_tape", "open_tape"]
