"""A websocket server that sends quotes and trades at fixed times, whatever the receiver does.

    python -m benchmarks.lateness_sender

Prints one JSON line with its port, one when the streams are subscribed to, and one after each
stretch that a line on its stdin asked for: {"symbol": ..., "start_ns": ..., "count": ...,
"period_ns": ...}; times are the monotonic clock's. Message k is due at start + k * period, and goes
then, or as soon as this process has the processor: it waits for nobody. What it says at the end is
how late each one went. It ends when its stdin does.
"""

import gc
import json
import sys
import threading
import time

import numpy as np

STREAMS = 3  # requests to be answered before anything is sent
SLEEP_OVER_NS, WAKE_UP_NS = 150_000, 90_000  # a longer gap is slept, the rest of it is spun
TRADE_EACH = 5


class Tape:
    """Frames of one symbol, with ids that go on from stretch to stretch."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.rng = np.random.default_rng(len(symbol))
        self.update, self.trade, self.level = 1_000, 1, 100_000

    def frames(self, count: int, first_ms: float, period_ms: float) -> list[str]:
        """Return the next `count` messages, each fifth one a trade with its time of the day."""
        steps = np.cumsum(self.rng.integers(-1, 2, count)) + self.level
        sizes = self.rng.integers(1, 5_000, (count, 2)) / 1_000
        self.level = int(steps[-1])
        made = []
        for k in range(count):
            bid, ask = steps[k] / 100, (steps[k] + 1) / 100
            if k % TRADE_EACH == TRADE_EACH - 1:
                now = int(first_ms + k * period_ms)
                data = (
                    f'{{"e":"trade","E":{now},"s":"{self.symbol}","t":{self.trade},'
                    f'"p":"{bid if k % 2 else ask:.8f}","q":"{sizes[k, 0]:.8f}","T":{now},'
                    f'"m":{"true" if k % 2 else "false"},"M":true}}'
                )
                self.trade += 1
                stream = "trade"
            else:
                data = (
                    f'{{"u":{self.update},"s":"{self.symbol}","b":"{bid:.8f}",'
                    f'"B":"{sizes[k, 0]:.8f}","a":"{ask:.8f}","A":"{sizes[k, 1]:.8f}"}}'
                )
                self.update += 1
                stream = "bookTicker"
            made.append(f'{{"stream":"{self.symbol.lower()}@{stream}","data":{data}}}')
        return made


def say(**fields: object) -> None:
    """Print one line."""
    print(json.dumps(fields), flush=True)


def send(socket: object, tapes: dict[str, Tape], asked: dict) -> None:
    """Send one stretch at its times; say how late the sender itself was."""
    tape = tapes.setdefault(asked["symbol"], Tape(asked["symbol"]))
    put, clock, sleep = socket.send, time.monotonic_ns, time.sleep  # type: ignore[attr-defined]
    due, period = asked["start_ns"], asked["period_ns"]
    first_ms = (time.time_ns() + due - clock()) / 1e6
    frames, late = tape.frames(asked["count"], first_ms, period / 1e6), []
    for frame in frames:
        left = due - clock()
        if left > SLEEP_OVER_NS:
            sleep((left - WAKE_UP_NS) / 1e9)
        while due > clock():
            pass
        late.append(clock() - due)
        put(frame)
        due += period
    say(late_ns=late)


def main() -> int:
    """Serve one receiver."""
    from websockets.sync.server import ServerConnection, serve

    gc.disable()
    over = threading.Event()

    def answer(socket: ServerConnection) -> None:
        for count, text in enumerate(socket, 1):
            socket.send(json.dumps({"result": None, "id": json.loads(text)["id"]}))
            if count == STREAMS:
                say(subscribed=count)

    def handle(socket: ServerConnection) -> None:
        threading.Thread(target=answer, args=(socket,), daemon=True).start()
        tapes: dict[str, Tape] = {}
        for line in sys.stdin:
            send(socket, tapes, json.loads(line))
        over.set()

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(port=server.socket.getsockname()[1])
        over.wait()
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
