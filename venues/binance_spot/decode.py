"""Decode the market streams of Binance spot: trade, aggTrade, bookTicker, depth, REST books.

Stamps: trades carry `T`, depth updates `E`, bookTicker none; ms, or us with timeUnit=MICROSECOND.
"""

from engine.book_sync import FIRST_TO_LAST
from engine.wire_formats import WireFormat, register
from venues.binance_messages import DepthIds, MessageDecoder

__all__ = ["DepthIds", "MessageDecoder"]

register("binance_spot", WireFormat(MessageDecoder, FIRST_TO_LAST))
