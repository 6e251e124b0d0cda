"""Which wire formats can be decoded: venues register theirs, the importer looks them up by name."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from engine.book_sync import SyncRule


class DepthIdsOf(Protocol):
    """Ids of a decoded depth packet."""

    @property
    def first_id(self) -> int:
        """First update id of the message."""

    @property
    def last_id(self) -> int:
        """Last update id."""

    @property
    def prev_id(self) -> int:
        """Last update id of the message before, -1 if the venue does not say."""

    @property
    def snapshot(self) -> bool:
        """Whether it is a full book."""

    @property
    def instrument(self) -> int:
        """Index of the instrument."""


class WireDecoder(Protocol):
    """Decode one message into rows; implemented by venues/*/decode.py."""

    skipped: Counter[str]

    @property
    def depth(self) -> DepthIdsOf | None:
        """Ids of the packet written last, None if it is no depth."""

    @property
    def needed_rows(self) -> int:
        """Rows of the message that did not fit."""

    def decode_into(
        self, message: bytes, buffer: memoryview, at: int, ts_recv: int, symbol: str = ""
    ) -> int:
        """Write the rows of one message; see venues/binance_messages.py."""


class WireFormat(NamedTuple):
    """How to read the wire of one venue."""

    decoder: Callable[[Mapping[str, int]], WireDecoder]
    rule: SyncRule


FORMATS: dict[str, WireFormat] = {}


def register(venue: str, wire_format: WireFormat) -> None:
    """Make a venue's format known. Called once per venue, when its module is imported."""
    assert venue not in FORMATS, f"{venue} is registered twice"
    FORMATS[venue] = wire_format
