"""Keep a Binance spot book in sync: REST snapshot, then updates whose ids continue it.

Buffer updates; fetch the snapshot; drop updates with `u` <= lastUpdateId; the first one kept must
have `U` <= lastUpdateId + 1; from then on `U` must not leave a hole after the last `u`. (Procedure:
"How to manage a local order book correctly", Binance spot API, as corrected on 2025-11-12.)
"""

from engine.book_sync import FIRST_TO_LAST, BookSync, Delta, GapReason, Packet

__all__ = ["BookSync", "Delta", "GapReason", "new_sync"]


def new_sync() -> BookSync[Packet]:
    """Return the sync of one instrument, knowing nothing yet."""
    return BookSync(FIRST_TO_LAST)
