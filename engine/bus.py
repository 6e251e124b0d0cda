"""The event bus: direct calls to typed subscribers inside, bounded buffers with a policy outside.

Inside the hot path an event is handed to a tuple of handlers, one after the other, in the order in
which they subscribed; a handler that raises is a programmer's error and stops the run. Whoever is
slower or may fail (terminal, dashboard, notifier, recorder) subscribes through an Outlet: a buffer
of fixed size whose policy says what happens when its reader is behind. Market data does not travel
here but on the tape.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from enum import Enum
from typing import Any, Generic, TypeVar

E = TypeVar("E")
Handler = Callable[[E], None]


class Topic(Generic[E]):
    """The subscribers of one type of event. Hold the topic where events are frequent.

    `handlers` is for reading: empty where nobody listens.

    Example:
        >>> topic, seen = Topic[int](), []
        >>> topic.subscribe(seen.append)
        >>> topic.publish(3)
        >>> seen
        [3]
    """

    __slots__ = ("handlers",)

    def __init__(self) -> None:
        self.handlers: tuple[Handler[E], ...] = ()

    def subscribe(self, handler: Handler[E]) -> None:
        """Call `handler` with every later event; takes effect with the next one."""
        self.handlers = (*self.handlers, handler)

    def unsubscribe(self, handler: Handler[E]) -> None:
        """Stop calling `handler`; one that is not subscribed is a programmer's error."""
        assert handler in self.handlers
        left = list(self.handlers)
        left.remove(handler)
        self.handlers = tuple(left)

    def publish(self, event: E) -> None:
        """Call every subscriber with the event, now, in the order of subscription."""
        for handler in self.handlers:
            handler(event)


class Bus:
    """One topic for each type of event."""

    def __init__(self) -> None:
        self._topics: dict[type, Topic[Any]] = {}

    def topic(self, kind: type[E]) -> Topic[E]:
        """Return the topic of exactly this type (subclasses have their own)."""
        return self._topics.setdefault(kind, Topic[Any]())

    def publish(self, event: object) -> None:
        """Hand an event to the subscribers of its type."""
        topic = self._topics.get(type(event))
        if topic is not None:
            topic.publish(event)


class Policy(Enum):
    """What a full outlet does with one more event."""

    BLOCK = "block"  # refuses it; the producer waits for `room` before it goes on
    DROP_OLDEST = "drop oldest"  # forgets the oldest, counted
    CONFLATE = "conflate"  # keeps the newest of each key; a new key when full drops the oldest


class Outlet(Generic[E]):
    """A bounded buffer between the engine and one slower reader on the same event loop.

    `put` never waits and never raises; what it could not keep is counted. Counters: `taken`
    (accepted), `delivered`, `dropped`, `conflated`, `most` (the fullest it was).

    Args:
        size: events kept at most, >= 1.
        policy: what happens when it is full.
        key: what makes two events the same; for CONFLATE only.
    Example:
        >>> outlet = Outlet[str](2, Policy.DROP_OLDEST)
        >>> [outlet.put(word) for word in "abc"], outlet.take(), outlet.dropped
        ([True, True, True], ['b', 'c'], 1)
    """

    def __init__(
        self, size: int, policy: Policy, *, key: Callable[[E], Hashable] | None = None
    ) -> None:
        assert size >= 1
        assert (key is not None) == (policy is Policy.CONFLATE)
        self.size = size
        self.policy = policy
        self._key = key
        self._events: deque[E] = deque()
        self._newest: dict[Hashable, E] = {}  # CONFLATE: in the order of each key's first arrival
        self._changed = asyncio.Event()
        self.closed = False
        self.taken = self.delivered = self.dropped = self.conflated = self.most = 0

    def __len__(self) -> int:
        return len(self._newest) if self._key else len(self._events)

    def put(self, event: E) -> bool:
        """Keep an event as the policy says.

        Returns:
            False when the event was not kept: BLOCK and full, or closed.
        """
        if self.closed or (self.policy is Policy.BLOCK and len(self) >= self.size):
            self.dropped += self.closed
            return False
        self.taken += 1
        if self._key:
            self._conflate(self._key(event), event)
        else:
            if len(self._events) >= self.size:
                self._events.popleft()
                self.dropped += 1
            self._events.append(event)
        self.most = max(self.most, len(self))
        self._changed.set()
        return True

    def _conflate(self, key: Hashable, event: E) -> None:
        if key in self._newest:
            self.conflated += 1
        elif len(self._newest) >= self.size:
            del self._newest[next(iter(self._newest))]
            self.dropped += 1
        self._newest[key] = event

    def take(self, count: int | None = None) -> list[E]:
        """Remove and return up to `count` events, oldest first; all of them by default."""
        count = len(self) if count is None else min(count, len(self))
        if self._key:
            out = [self._newest.pop(next(iter(self._newest))) for _ in range(count)]
        else:
            out = [self._events.popleft() for _ in range(count)]
        self.delivered += len(out)
        if out:
            self._changed.set()
        return out

    async def room(self) -> None:
        """Wait until one more event is kept without loss."""
        await self._until(lambda: len(self) < self.size)

    async def __aiter__(self) -> AsyncIterator[E]:
        """Yield events as they come, until the outlet is closed and empty."""
        while True:
            await self._until(lambda: len(self) > 0)
            events = self.take(1)
            if not events:
                return
            yield events[0]

    def close(self) -> None:
        """Take no more events; readers get what is left and end."""
        self.closed = True
        self._changed.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready() and not self.closed:
            self._changed.clear()
            await self._changed.wait()
