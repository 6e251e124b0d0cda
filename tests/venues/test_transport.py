"""The transport against servers that break off, lie and shout: every end has its reason."""

import asyncio
import random
import socket
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.feed_health import EndReason
from tests.venues.raw_server import frame, raw_server, reset
from venues.transport import Backoff, ConnectionEnded, TransportLimits, WebsocketTransport

LIMITS = TransportLimits(
    open_timeout_s=2.0, close_timeout_s=0.2, max_message_bytes=1 << 16, max_queue_messages=64
)
HELLO = b'{"u":1,"s":"BTCUSDT"}'
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


async def drain(script, *, upgrade: str = "") -> tuple[list[bytes], ConnectionEnded]:
    """Connect, read to the end, and return the messages and why it ended."""
    got: list[bytes] = []
    async with raw_server(script, upgrade=upgrade) as url:
        connection = await WebsocketTransport(LIMITS).connect(url)
        try:
            while True:
                got.append(await connection.receive())
        except ConnectionEnded as ended:
            return got, ended
        finally:
            await connection.close()


async def refused(url: str, limits: TransportLimits = LIMITS) -> ConnectionEnded:
    """Return why no connection can be made."""
    with pytest.raises(ConnectionEnded) as caught:
        await WebsocketTransport(limits).connect(url)
    return caught.value


@pytest.mark.asyncio
async def test_messages_come_as_bytes_and_those_that_wait_come_at_once() -> None:
    async def script(reader, writer):
        writer.write(frame(HELLO) * 50)
        await reader.read()

    async with raw_server(script) as url:
        connection = await WebsocketTransport(LIMITS).connect(url)
        assert await connection.receive() == HELLO
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        asyncio.get_running_loop().call_soon(count)
        for _ in range(49):
            assert await connection.receive() == HELLO
        assert turns == 0  # not one turn of the loop between them: a burst is one wake
        await connection.close()


@pytest.mark.asyncio
async def test_fault_F01_a_clean_close_and_a_reset_are_told_apart() -> None:
    async def closes(reader, writer):
        writer.write(frame(HELLO) + frame(b"\x03\xe9bye", 8))
        await reader.read(100)

    async def resets(reader, writer):
        writer.write(frame(HELLO))
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    got, ended = await drain(closes)
    assert (got, ended.reason) == ([HELLO], EndReason.CLOSED)
    got, ended = await drain(resets)
    assert (got, ended.reason) == ([HELLO], EndReason.LOST)


@pytest.mark.asyncio
async def test_fault_F02_no_part_of_a_cut_frame_is_handed_out() -> None:
    whole = frame(HELLO)
    for count in range(len(whole)):

        async def script(reader, writer, count=count):
            writer.write(whole + whole[:count])

        got, ended = await drain(script)
        assert (got, ended.reason) == ([HELLO], EndReason.LOST)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sent",
    [
        frame(b"x" * (10 << 20)),
        bytes([0x81, 127]) + (1 << 62).to_bytes(8, "big"),
        frame(b"x", 1, first=0) + frame(b"x" * 1000, 0, first=0) * 1000,
    ],
    ids=["10 MB", "length of 2^62", "endless continuation"],
)
async def test_fault_F19_too_long_messages_end_the_connection(sent: bytes) -> None:
    async def script(reader, writer):
        writer.write(sent)
        await writer.drain()
        await reader.read(100)

    got, ended = await drain(script)
    assert (got, ended.reason) == ([], EndReason.TOO_BIG)


def anonymous_kib() -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("RssAnon")))


@pytest.mark.asyncio
async def test_fault_F20_a_compressed_bomb_is_refused_before_it_grows() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(64 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert bomb.endswith(b"\0\0\xff\xff")

    async def script(reader, writer):
        writer.write(frame(bomb[:-4], 1, first=0xC0))
        await writer.drain()
        await reader.read(100)

    before = anonymous_kib()
    got, ended = await drain(script, upgrade=DEFLATE)
    assert (got, ended.reason) == ([], EndReason.TOO_BIG)
    assert anonymous_kib() - before < 5 * 1024


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sent",
    [frame(b"x", 3), frame(b"x", 1, first=0xB0), b"\x81\x81abcdx", frame(b"x", 0)],
    ids=["opcode", "RSV bits", "masked", "continuation of nothing"],
)
async def test_fault_F21_what_is_no_websocket_ends_the_connection(sent: bytes) -> None:
    async def script(reader, writer):
        writer.write(frame(HELLO) + sent)
        await writer.drain()
        await reader.read(100)

    got, ended = await drain(script)
    assert (got, ended.reason) == ([HELLO], EndReason.PROTOCOL)


@pytest.mark.asyncio
async def test_fault_F22_whatever_hinders_a_connection_has_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def limited(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

    async def silent(reader, writer):
        await reader.read()

    async def shuts(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    async def no_tls(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1 << 16)

    async with raw_server(limited, upgrade=None) as url:
        ended = await refused(url)
        assert (ended.reason, ended.retry_after_s) == (EndReason.REFUSED, 7.0)
    async with raw_server(silent, upgrade=None) as url:
        assert (await refused(url, TransportLimits(open_timeout_s=0.1))).reason == EndReason.TIMEOUT
        tls = url.replace("ws://", "wss://")
        assert (await refused(tls, TransportLimits(open_timeout_s=0.1))).reason == EndReason.TIMEOUT
    async with raw_server(shuts, upgrade=None) as url:
        assert (await refused(url)).reason == EndReason.PROTOCOL
    async with raw_server(no_tls, upgrade=None) as tls:
        assert (await refused(tls.replace("ws://", "wss://"))).reason == EndReason.TLS
    assert (await refused(url)).reason == EndReason.UNREACHABLE
    assert (await refused("http://127.0.0.1:1/")).reason == EndReason.UNREACHABLE

    async def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "create_connection", no_such_host)
    ended = await refused("wss://data.invalid/stream")
    assert ended.reason == EndReason.UNREACHABLE
    assert "Name or service not known" in str(ended)


@given(
    seed=st.integers(0, 1000),
    lives=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=40),
    asked=st.floats(0.0, 100.0),
)
def test_fault_F22_delays_grow_with_full_jitter_and_never_vanish(
    seed: int, lives: list[float], asked: float
) -> None:
    backoff = Backoff(random.Random(seed), base_s=0.25, cap_s=8.0, floor_s=0.05, stable_s=10.0)
    failures = 0
    for lived in lives:
        failures = 0 if lived >= 10.0 else failures
        delay = backoff.next_delay_s(lived)
        assert 0.05 <= delay <= min(8.0, 0.25 * 2.0**failures)
        failures += 1
    assert backoff.next_delay_s(0.0, asked) >= asked
    again = Backoff(random.Random(seed), base_s=0.25, cap_s=8.0, floor_s=0.05, stable_s=10.0)
    same = Backoff(random.Random(seed), base_s=0.25, cap_s=8.0, floor_s=0.05, stable_s=10.0)
    assert [again.next_delay_s() for _ in range(9)] == [same.next_delay_s() for _ in range(9)]
