"""Read an account's journal without touching it: fold it, or prove that it is whole."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engine.account_state import AccountState
from engine.errors import DataError
from engine.journal_layout import CHAIN_RECORDS, HEAD, Kind, Record
from engine.journal_segment import scan_segment, segment_paths


class Verified(NamedTuple):
    """What a whole journal holds."""

    records: int
    segments: int
    orders: int
    fills: int
    open_orders: int
    torn_bytes: int  # behind the last record; the next start cuts them
    chain: str  # hash over all records, hex


class _Chain:
    """Follows the hash chain through the records."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash = hashlib.sha256(bytes(32))

    def see(self, record: Record, raw: bytes) -> None:
        if record.seq % CHAIN_RECORDS or not record.seq:
            self._hash.update(raw)
            return
        digest = self._hash.digest()
        if record.kind != Kind.CHAIN or raw[HEAD.size : HEAD.size + 32] != digest:
            raise DataError(
                f"{self._folder}: the hash chain breaks at record {record.seq}: it was edited"
            )
        self._hash = hashlib.sha256(digest)

    @property
    def digest(self) -> str:
        """The chain so far."""
        return self._hash.hexdigest()


def read_journal(folder: Path, visit: Callable[[Record], None]) -> Verified:
    """Give every record to `visit`, in order, checking all that can be checked.

    Args:
        folder: `runs/accounts/<venue>-<account>`; it may be in use.
    Returns:
        Counts and the chain's hash.
    Raises:
        DataError: no journal there, or damage, with file and offset.
    """
    files = folder / "journal"
    paths = segment_paths(files) if files.is_dir() else []
    if not paths:
        raise DataError(f"{folder}: no account's journal is here")
    state, chain = AccountState(), _Chain(files)
    head = check = torn = 0

    def each(record: Record, raw: bytes) -> None:
        chain.see(record, raw)
        state.apply(record)
        visit(record)

    for path in paths:
        scan = scan_segment(path, path == paths[-1], each)
        if scan.header.first_seq != head or scan.header.check_before != check:
            raise DataError(f"{path}: it does not follow the segment before it")
        head, check, torn = head + scan.whole, scan.check, scan.cut
    return Verified(
        records=head,
        segments=len(paths),
        orders=len(state.orders),
        fills=len(state.fills),
        open_orders=len(state.live),
        torn_bytes=torn,
        chain=chain.digest,
    )


def verify(folder: Path) -> Verified:
    """Check a journal from its first byte to its last; see `read_journal`."""
    return read_journal(folder, lambda record: None)


def fold(folder: Path) -> AccountState:
    """Return what an account's journal adds up to."""
    state = AccountState()

    def each(record: Record) -> None:
        state.apply(record)

    read_journal(folder, each)
    return state
