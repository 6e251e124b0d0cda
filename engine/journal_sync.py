"""Group commit: many waiters, one fdatasync at a time, off the loop."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from engine.errors import JournalError
from engine.journal import Journal


def promised(journal: Journal) -> int:
    """Return how many records the policy promises to be kept."""
    return journal.head if journal.policy == "written" else journal.synced


class GroupCommit:
    """Lets tasks wait until the journal keeps its promise for a record.

    Under `written` nothing waits. Under `synced` one thread calls fdatasync; every record that was
    stored before the call began is promised when it returns. An error is final: the journal fails,
    every waiter is told, nothing is tried again as if it were fine.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pool = ThreadPoolExecutor(1, "journal-sync")
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def durable(self, seq: int) -> None:
        """Wait until record `seq` is kept as the policy promises.

        Raises:
            JournalError: it cannot be promised.
        """
        journal = self._journal
        if journal.failed:
            raise JournalError(journal.failed)
        if seq < promised(journal):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((seq, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit(), name="journal-sync")
        await future

    async def close(self) -> None:
        """Wait for the call that runs and stop the thread."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self._pool.shutdown()

    async def _commit(self) -> None:
        """Sync until nobody waits."""
        loop = asyncio.get_running_loop()
        journal = self._journal
        while self._waiters:
            head = journal.head
            descriptor = os.dup(journal.descriptor)  # a rotation may close ours meanwhile
            try:
                await loop.run_in_executor(self._pool, os.fdatasync, descriptor)
                journal.synced = max(journal.synced, head)
            except OSError as error:
                journal.fail(f"the disk refused to keep the journal ({error.strerror})")
            finally:
                os.close(descriptor)
            self._wake()

    def _wake(self) -> None:
        """Tell the waiters whose records are kept, or all of them that nothing is any more."""
        journal, waiting = self._journal, self._waiters
        self._waiters = []
        for seq, future in waiting:
            if future.done():
                continue
            if journal.failed:
                future.set_exception(JournalError(journal.failed))
            elif seq < journal.synced:
                future.set_result(None)
            else:
                self._waiters.append((seq, future))
