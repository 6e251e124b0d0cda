"""Decode the market streams of Binance USD-M: trade, aggTrade, bookTicker, depth, REST books.

Stamps: all carry the transaction time `T`. Trades whose `X` is not MARKET (insurance fund, auto
deleveraging) are flagged OFF_MARKET.
"""

from engine.book_sync import CHAINED
from engine.wire_formats import WireFormat, register
from venues.binance_messages import DepthIds, MessageDecoder

__all__ = ["DepthIds", "MessageDecoder"]

register("binance_usdm", WireFormat(MessageDecoder, CHAINED))
