"""The notifier against a real HTTP server: what arrives, what is held back, what never leaks."""

import io
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from app import log, notify
from app.notify import MAX_CODES, MAX_WAITING, Notifier
from config.settings import NotifySettings
from engine.errors import ConfigError
from tests.app.webhook import PLANTED, Receiver, webhook

VARIABLE = "TICKGATE_NOTIFY_URLS"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with webhook() as receiver:
        yield receiver
    for one in threading.enumerate():
        if one.name == notify.THREAD_NAME:
            one.join(10)
            assert not one.is_alive()


@pytest.fixture
def seen() -> Iterator[io.StringIO]:
    """Give all that is logged, of every library, at every level."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    log.configure(stream=stream, verbose=True, levels={"library": "debug"})
    plain = logging.StreamHandler(stream)
    root.addHandler(plain)
    root.setLevel(logging.DEBUG)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def notifier(*urls: str, **settings: object) -> Notifier:
    chosen = NotifySettings(urls_env=VARIABLE, **settings)  # type: ignore[arg-type]
    return Notifier(chosen, {VARIABLE: " ".join(urls)})


def test_an_event_arrives_with_its_fields_and_without_secrets(server: Receiver) -> None:
    one = notifier(server.url(), server.url("json"))
    one.notify("order_unknown", "An order has no answer.", order=12, symbol="BTCUSDT", api_key="k1")
    assert one.close(20)
    assert (one.sent, one.failed, one.dropped) == (2, 0, 0)
    assert [got["path"] for got in server.got] == [f"/{PLANTED}"] * 2
    assert server.got[0]["title"] == "Tickgate: order_unknown"
    assert server.got[0]["message"].splitlines() == [
        "An order has no answer.", "order: 12", "symbol: BTCUSDT", "api_key: (hidden)",
    ]  # fmt: skip
    one.notify("stop", "Too late.")
    assert one.dropped == 1


def test_without_addresses_nothing_happens() -> None:
    before = threading.active_count()
    one = Notifier(NotifySettings(), {})
    one.notify("start", "A run starts.")
    assert threading.active_count() == before
    assert one.close(0)


def test_only_chosen_events_and_each_code_once_an_interval(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(notify, "time", clock)
    one = notifier(server.url(), events=("halt", "kill"), min_interval_s=60.0)
    for _ in range(1000):
        one.notify("halt", "Trading halts.")
        one.notify("stop", "The run stops.")
    one.notify("kill", "The kill switch is on.")
    clock.now += 59.9
    one.notify("halt", "Trading halts.")
    clock.now += 0.1
    one.notify("halt", "Trading halts.")
    assert one.close(20)
    assert [got["message"] for got in server.got] == [
        "Trading halts.",
        "The kill switch is on.",
        "Trading halts. (1000 more of this since the last message)",
    ]
    assert one.held_back == 1000


def test_a_server_that_hangs_costs_messages_and_never_the_caller(
    server: Receiver, seen: io.StringIO
) -> None:
    server.hangs = True
    one = notifier(server.url(), min_interval_s=0.0)
    one.notify("first", "The server hangs on this one.")
    assert server.arrived.wait(20)
    for number in range(1000):
        one.notify(f"code{number}", "A flood.")
    assert one.dropped == 1000 - MAX_WAITING
    assert len(one._codes) == MAX_CODES
    assert not one.close(0.05)
    assert one.dropped == 1000
    server.release.set()
    assert one._thread is not None
    one._thread.join(20)
    assert (len(server.got), one.sent + one.failed) == (1, 1)
    assert PLANTED not in seen.getvalue()


@pytest.mark.parametrize("status", [500, 404, 302])
def test_failures_are_counted_and_logged_without_the_address(
    server: Receiver, seen: io.StringIO, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = status
    gone = f"json://{PLANTED}:{PLANTED}@127.0.0.1:9/{PLANTED}"
    one = notifier(server.url(), gone, min_interval_s=0.0)
    for number in range(3):
        one.notify("feed_lost", f"The feed is lost, {number}.")
    assert one.close(30)
    assert (one.sent, one.failed) == (0, 6)
    said = seen.getvalue()
    assert said.count("notify.failed") == 1  # not once a message
    assert "service=NotifyJSON" in said
    whole = said + "".join(capfd.readouterr()) + repr(one) + repr(vars(one))
    assert PLANTED not in whole
    logging.getLogger("urllib3.connectionpool").debug("others may still log")
    assert "others may still log" in seen.getvalue()


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ("", f"the environment variable {VARIABLE} is not set"),
        (f"json://127.0.0.1/ok  {PLANTED}", "address 2 of TICKGATE_NOTIFY_URLS is none we know"),
        (f"atlantis://{PLANTED}", "address 1 of TICKGATE_NOTIFY_URLS is none we know"),
        (f"json://{PLANTED} " * 17, "TICKGATE_NOTIFY_URLS has 17 addresses, 16 fit"),
    ],
)
def test_a_bad_address_is_told_by_its_number(urls: str, message: str, seen: io.StringIO) -> None:
    with pytest.raises(ConfigError) as caught:
        Notifier(NotifySettings(urls_env=VARIABLE), {VARIABLE: urls})
    assert message in str(caught.value)
    assert PLANTED not in str(caught.value) + seen.getvalue()
    assert caught.value.__cause__ is None
