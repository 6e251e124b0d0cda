"""WebSocket frames from the server's side as bytes (RFC 6455), whole or broken on purpose; pure.

The exchange writes its own frames: one encoding serves every subscriber, and a fault is a frame
that is cut, doubled or wrong.
"""

import zlib

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_FIN, _RSV1 = 0x80, 0x40


def frame(payload: bytes, opcode: int = TEXT, *, first: int = _FIN) -> bytes:
    """Return one unmasked frame.

    >>> frame(b"hi").hex(), len(frame(bytes(200))), len(frame(bytes(70_000)))
    ('81026869', 204, 70010)
    """
    size = len(payload)
    head = first | opcode
    if size < 126:
        return bytes((head, size)) + payload
    if size < 1 << 16:
        return bytes((head, 126)) + size.to_bytes(2, "big") + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame."""
    return frame(code.to_bytes(2, "big") + reason.encode(), CLOSE)


def bomb(size: int) -> bytes:
    """Return a permessage-deflate frame of a few hundred kB that inflates to `size` bytes."""
    packer = zlib.compressobj(9, wbits=-15)
    parts = [packer.compress(b" " * (1 << 20)) for _ in range(size >> 20)]
    parts.append(packer.flush(zlib.Z_SYNC_FLUSH)[:-4])
    return frame(b"".join(parts), first=_FIN | _RSV1)


def broken(kind: str) -> bytes:
    """Return bytes that break the protocol.

    Args:
        kind: bad_utf8, bad_opcode, rsv_bits, masked, huge_header (announces 2^62 bytes), or
            endless (a message that is begun and never ended).
    """
    return {
        "bad_utf8": frame(b'{"e":"\xff\xfe"}'),
        "bad_opcode": frame(b"{}", 0x0B),
        "rsv_bits": frame(b"{}", first=_FIN | 0x30),
        "masked": b"\x81\x82\x00\x00\x00\x00{}",
        "huge_header": b"\x81\x7f" + (1 << 62).to_bytes(8, "big") + b"{",
        "endless": frame(b"{", TEXT, first=0),
    }[kind]


CONTINUATION = frame(b" " * 1000, 0, first=0)  # follows "endless" for ever
