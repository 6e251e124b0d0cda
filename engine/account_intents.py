"""Orders of the kernel's ledger into an account's journal, before their first byte goes out."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from engine.account import Account
from engine.journal_intent import BYTES_HEADER, Word, entry_point


class Intents:
    """Stores intents from LEDGER records, as `Account.intent` does from what Python keeps.

    Args:
        account: its run has begun.
        refs: by the tape's index, the NAME records of the markets.
        models: int64[n], by owner, the numbers of the models behind orders as they serve now.

    Attributes:
        write: (address of a LEDGER record, wall clock ns, 0) -> 1, or 0 where `store` must do it.
    """

    def __init__(self, account: Account, refs: Sequence[int], models: np.ndarray) -> None:
        assert models.dtype == np.int64
        self._journal = account.journal
        self._kept = (np.array(refs, np.int64), models)
        words = np.frombuffer(account.journal.words, np.int64)
        words[Word.TAG] = int.from_bytes(account.tag.encode(), "little", signed=True)
        words[Word.LAST] = -1
        addresses = [int(one.ctypes.data) for one in (words, *self._kept)]
        self.write = partial(entry_point(), *addresses)

    def store(self, line: bytes, ts: int) -> None:
        """Store an order whatever is due before; it survives the process when this returns.

        Args:
            line: its LEDGER record.
            ts: wall clock, ns UTC.
        Raises:
            JournalError: it cannot be kept: the order must not leave.
        """
        if not self.write(id(line) + BYTES_HEADER, ts, 0):
            self._journal.make_ready(ts)
            stored = self.write(id(line) + BYTES_HEADER, ts, 1)
            assert stored, "client ids are used once, in order"
