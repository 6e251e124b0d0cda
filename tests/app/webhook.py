"""A real HTTP server that takes what the notifier posts."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLANTED = "planted-secret-4711"


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted; answers with `status`, or hangs until released."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[dict] = []
        self.status = 200
        self.hangs = False
        self.arrived, self.release = threading.Event(), threading.Event()

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://user:{PLANTED}@127.0.0.1:{self.server_address[1]}/{PLANTED}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append({"path": self.path, **body})
        self.server.arrived.set()
        if self.server.hangs:
            self.server.release.wait(30)
        with contextlib.suppress(OSError):
            self.send_response(self.server.status)
            self.end_headers()

    def log_message(self, *words: object) -> None:
        """Stay silent."""


@contextlib.contextmanager
def webhook() -> Iterator[Receiver]:
    """Serve until the block ends."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield receiver
        receiver.release.set()
        receiver.shutdown()
        thread.join()
