"""Keep a Binance USD-M book in sync: REST snapshot, then updates that name the one before.

Buffer updates; fetch the snapshot; drop updates with `u` < lastUpdateId; the first one kept must
have `U` <= lastUpdateId <= `u`; from then on `pu` must equal the last `u`. (Procedure: "How to
manage a local order book correctly", Binance USD-M futures API.)
"""

from engine.book_sync import CHAINED, BookSync, Delta, GapReason, Packet

__all__ = ["BookSync", "Delta", "GapReason", "new_sync"]


def new_sync() -> BookSync[Packet]:
    """Return the sync of one instrument, knowing nothing yet."""
    return BookSync(CHAINED)
