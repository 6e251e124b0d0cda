"""Tell people of a run's events, through any service that the library apprise knows.

`notify` is called on the event loop and costs microseconds: it looks at the clock, puts a message
into a bounded buffer and wakes a thread. That thread alone speaks to services; one that hangs or
fails costs messages, never the run. Addresses hold secrets: they come from the environment, and no
log line, message or exception of ours holds one.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.log import is_secret, logger
from config.settings import NotifySettings
from engine.bus import Outlet, Policy
from engine.errors import ConfigError

MAX_WAITING = 64  # messages; the oldest gives way
MAX_CODES = 256  # codes whose last message is remembered
MAX_TEXT = 1000  # characters of a message: services cut at 1,000 to 4,000
MAX_URLS = 16
LOG_EVERY_S = 60.0  # between two log lines about failures
THREAD_NAME = "notifier"
_LIBRARIES = (
    "apprise", "requests", "urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry",
)  # fmt: skip


class Message(NamedTuple):
    """One message on its way."""

    code: str
    text: str


class Notifier:
    """Tells services of events; without addresses it does nothing.

    Counters: `sent` and `failed` per message and service, `held_back` (too soon after the last of
    the same code), `dropped` (given way in a full buffer, or left when it closed).
    """

    def __init__(self, settings: NotifySettings, environ: Mapping[str, str]) -> None:
        """Read the addresses and start the thread, if there are any.

        Raises:
            ConfigError: the variable is not set, or an address is none that is known.
        """
        self.sent = self.failed = self.held_back = 0
        self._events = frozenset(settings.events)
        self._min_interval_s = settings.min_interval_s
        self._codes: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._outlet = Outlet[Message](MAX_WAITING, Policy.DROP_OLDEST)
        self._ready = threading.Condition()
        self._logged_s = -LOG_EVERY_S
        self._left = 0
        self._thread: threading.Thread | None = None
        self._services: list[Any] = []
        if settings.urls_env:
            self._services = _services(settings.urls_env, environ)
            self._thread = threading.Thread(target=self._deliver, name=THREAD_NAME, daemon=True)
            self._thread.start()

    @property
    def dropped(self) -> int:
        """Messages that were never tried."""
        return self._outlet.dropped + self._left

    def notify(self, code: str, text: str, **fields: Any) -> None:
        """Tell of an event; never waits, never raises for what a service does.

        Args:
            code: what happened, such as `order_unknown`; the same one is told once an interval.
            text: one sentence.
            fields: shown behind it; those with the name of a secret are hidden.
        """
        if self._thread is None or (self._events and code not in self._events):
            return
        now = time.monotonic()
        with self._ready:
            last, more = self._codes.get(code, (-self._min_interval_s, 0))
            if now - last < self._min_interval_s:
                self._codes[code] = (last, more + 1)
                self.held_back += 1
                return
            self._codes[code] = (now, 0)
            self._codes.move_to_end(code)
            if len(self._codes) > MAX_CODES:
                self._codes.popitem(last=False)
            self._outlet.put(Message(code, _body(text, fields, more)))
            self._ready.notify()

    def close(self, timeout_s: float) -> bool:
        """Take no more, and give what waits so much time.

        Returns:
            True when everything was tried; what was not counts as dropped.
        """
        if self._thread is None:
            return True
        with self._ready:
            self._outlet.close()
            self._ready.notify()
        self._thread.join(timeout_s)
        with self._ready:
            self._left += len(self._outlet.take())
        return not self._thread.is_alive() and self.dropped == 0

    def _deliver(self) -> None:
        """Send messages until the outlet is closed and empty; the thread's body."""
        while True:
            with self._ready:
                self._ready.wait_for(lambda: len(self._outlet) > 0 or self._outlet.closed)
                taken = self._outlet.take(1)
            if not taken:
                return
            for service in self._services:
                self._send(service, taken[0])

    def _send(self, service: Any, message: Message) -> None:
        """Send one message to one service, and count how it went."""
        reason = "refused, or no answer in time"
        try:
            done = bool(service.notify(title=f"Tickgate: {message.code}", body=message.text))
        except Exception as error:  # a border: plugins raise what they like, with addresses in it
            done, reason = False, type(error).__name__
        if done:
            self.sent += 1
            return
        self.failed += 1
        now = time.monotonic()
        if now - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now
            logger("notify").warning(
                "failed", service=type(service).__name__, code=message.code, reason=reason,
                failures=self.failed,
            )  # fmt: skip


def _body(text: str, fields: Mapping[str, Any], more: int) -> str:
    """Return a message's text."""
    words = [text if not more else f"{text} ({more} more of this since the last message)"]
    words += [
        f"{name}: {'(hidden)' if is_secret(name) else value}" for name, value in fields.items()
    ]
    whole = "\n".join(words)
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 4] + " ..."


def _services(variable: str, environ: Mapping[str, str]) -> list[Any]:
    """Return the services behind the addresses of a variable.

    A plain http(s) address that belongs to no service takes JSON by POST.

    Raises:
        ConfigError: none, too many, or one that is not known; its number is told, not its text.
    """
    urls = environ.get(variable, "").split()
    if not urls:
        raise ConfigError(f"notify.urls_env: the environment variable {variable} is not set")
    if len(urls) > MAX_URLS:
        raise ConfigError(f"notify.urls_env: {variable} has {len(urls)} addresses, {MAX_URLS} fit")
    import apprise

    _silence()
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
    services = []
    for number, url in enumerate(urls, 1):
        found = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if found is None and url.startswith(("http://", "https://")):
            url = "json" + url.removeprefix("http")
            found = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if found is None:
            raise ConfigError(f"notify.urls_env: address {number} of {variable} is none we know")
        services.append(found)
    return services


def _silence() -> None:
    """Keep what the libraries log about addresses to themselves, at any level."""
    for name in _LIBRARIES:
        one = logging.getLogger(name)
        one.filters = [kept for kept in one.filters if not isinstance(kept, _NotOurs)]
        one.addFilter(_NotOurs())
    own = logging.getLogger("apprise")
    own.propagate = False
    own.handlers = [logging.NullHandler()]


class _NotOurs(logging.Filter):
    """Drops records of the notifier's thread."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record may be seen."""
        return record.threadName != THREAD_NAME
