"""Orders of the kernel's ledger into an account's journal, before their first byte goes out."""

from engine.account import Account


class Intents:
    """Stores intents from LEDGER records, as `Account.intent` does from what Python keeps.

    Args:
        account: its run has begun.
    """

    def __init__(self, account: Account) -> None:
        self._append = account.journal.append_intent
        self._now = account.now
        self._tag = int.from_bytes(account.tag.encode(), "little", signed=True)
        self._last = -1

    def store(self, line: bytes, ordinal: int, refs: int) -> None:
        """Store an order; it survives the process when this returns.

        Args:
            line: its LEDGER record.
            ordinal: its number, the record's first word.
            refs: its market's reference | its model's << 32.
        Raises:
            JournalError: it cannot be kept: the order must not leave.
        """
        assert ordinal > self._last, "client ids are used once, in order"
        self._append(line, self._now(), self._tag, refs)
        self._last = ordinal
