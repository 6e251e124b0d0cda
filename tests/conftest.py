"""What all tests share: fixed random draws, one thread, no display, no network but this machine."""

import gc
import os
import signal
import socket
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import HealthCheck, settings

LONGEST = (  # files, as they shall begin; the first ones compile what many others need
    "features/test_every_feature app/test_live_screen app/test_drawn_orders ml/test_registry"
    " app/test_live_orders app/test_kills app/test_paper app/test_train store/test_synth"
    " engine/test_history_rows app/test_replay benchmarks/test_live_line app/test_reload_live"
    " app/test_disk_full app/test_feed_faults venues/test_orders_embedded app/test_threaded_session"
    " app/test_reload_session app/test_ahead features/test_calculator app/test_fetch"
    " benchmarks/test_flood engine/test_journal venues/test_binance_messages"
).split()

settings.register_profile(
    "house",
    deadline=None,  # the first example may compile a kernel
    derandomize=True,  # the same draws everywhere: a failure is a failure for all
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long files begin first, so that processes which test side by side end together."""
    begins = {f"tests/{name}.py": at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: begins.get(item.nodeid.partition("::")[0], len(begins)))


# Imports and a kernel's compiler make millions of objects that are no garbage yet: with the usual
# threshold, a fifth of the time of compiling goes into looking at them.
gc.set_threshold(50_000, 50, 50)


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of the garbage collector's rounds: it stays."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _ears_for_ctrl_c() -> None:
    """Undo what makes a process that tests beside others, or behind a shell, deaf to Ctrl-C.

    All that it starts would be deaf too.
    """
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _only_this_machine() -> Iterator[None]:
    """Refuse connections to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"a test connects to {address}"
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield
