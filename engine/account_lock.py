"""The lock on an account's folder: one engine at a time trades an account."""

import fcntl
import os
import time
from pathlib import Path

from engine.errors import UsageError

LOCK = "lock"
TRIES, PAUSE_S = 5, 0.01  # somebody who only looks holds it for an instant


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
        if not self._taken():
            owner = _owner(self._descriptor)
            os.close(self._descriptor)
            raise UsageError(
                f"{folder}: the engine with process id {owner} trades this account; "
                "one account is traded by one engine"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _taken(self) -> bool:
        for last in range(TRIES - 1, -1, -1):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if last:
                    time.sleep(PAUSE_S)
            else:
                return True
        return False

    def release(self) -> None:
        """Let the next engine have the account."""
        os.close(self._descriptor)


def holder_of(folder: Path) -> str:
    """Return the process id of who holds an account, "unknown" where it has not said so, "" for
    nobody.

    Changes nothing; who takes the account in the same instant tries again.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(descriptor)
    else:
        return ""
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
