"""The lock on an account's folder: one engine at a time trades an account."""

import fcntl
import os
from pathlib import Path

from engine.errors import UsageError

LOCK = "lock"


class AccountLock:
    """Holds an account's folder for one engine, as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        """Create the folder (0700) and take it.

        Raises:
            UsageError: another engine holds it, or it cannot be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(folder / LOCK, flags, 0o600)
        except OSError as error:
            raise UsageError(f"{folder}: cannot keep an account here ({error.strerror})") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise UsageError(
                f"{folder}: the engine with process id {owner or 'unknown'} trades this account; "
                "one account is traded by one engine"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next engine have the account."""
        os.close(self._descriptor)
