"""The account journal's layout: fixed records of 128 bytes, little-endian, version 1.

`runs/accounts/<venue>-<account>/journal/000000.journal` begins with a header of 128 bytes; records
follow. A record is the header below and a body of 72 bytes: nine int64 (`numbers`), or a text of at
most 40 bytes and four int64. `seq` counts from 0 over the whole life of the account.

| offset | field   |                                                                    |
|--------|---------|--------------------------------------------------------------------|
| 0      | seq     | u64 number of the record                                           |
| 8      | durable | u64 records known to be on the disk when this one was written; all  |
|        |         | ones under the policy `written`                                    |
| 16     | ts      | i64 wall clock, ns UTC                                             |
| 24     | tag     | 8 bytes run tag of the order; zeros where there is none            |
| 32     | ordinal | u64 the order's number in its run                                  |
| 40     | ref     | u32 NAME record (instrument, reason, asset), 0 for none            |
| 44     | ref2    | u32 a second one (model, fee asset)                                |
| 48     | kind    | u8 Kind                                                            |
| 49     | side    | i8 +1 buy, -1 sell                                                 |
| 50     | type    | u8 OrderType                                                       |
| 51     | code    | u8 purpose, reason, liquidity, latch, counter: by kind             |
| 52     | check   | u32 CRC-32 of the record with 0 here, begun with the check before  |

| kind         | body                                                                        |
|--------------|-----------------------------------------------------------------------------|
| RUN          | text boot id (32 hex digits): reserves `tag`; `code` policy                 |
| NAME         | `code` Name, `ordinal` part * 256 + parts; text of <= 72 bytes; number `ref` |
| INTENT       | qty_lot, price_tick, wire_tick, collar_low, collar_high, intent_id; `code`  |
|              | Purpose, `ref` instrument, `ref2` model                                     |
| SENT         | hash of what may go out (2 numbers); the call that sends comes after it     |
| ACK          | text venue order id; ts_event                                               |
| REJECT       | `code` RejectReason; text the venue's code; ts_event                        |
| CANCEL_ASKED |                                                                             |
| CANCELED     | `code` RejectReason; ts_event                                               |
| EXPIRED      | `code` RejectReason; ts_event                                               |
| UNKNOWN      | `code` Doubt                                                                |
| NOT_SENT     | `code` RejectReason                                                         |
| FILL         | text venue trade id; price_tick, qty_lot, fee_minor, ts_event; `ref`        |
|              | instrument, `ref2` fee asset, `code` Liquidity                              |
| LATCH        | `code` Latch; 1 latched, 0 cleared; `ref` who and why                       |
| COUNTERS     | `code` Counter, `ref` whose; nine numbers of the writer's choice            |
| NOTE         | `code` Note; `ref` text                                                     |
| BALANCE      | `ref` asset; text amount as decimal: what the account held at its first     |
|              | start, or what the operator declared right                                  |
| CHAIN        | 32 bytes sha256(chain before || the records since it)                       |

Every record whose number is a multiple of CHAIN_RECORDS (but 0) is a CHAIN record. The check runs
from record to record, so a record that is changed, moved or left out is seen at once; the chain
makes it a proof. All zeros after the last record: the file is allocated ahead. Values are part of
the format: never renumber, only append.
"""

import hashlib
import struct
import zlib
from enum import IntEnum
from typing import NamedTuple

RECORD_BYTES = 128
TEXT_BYTES = 40
NAME_BYTES = 72
VERSION = 1
CHAIN_RECORDS = 64
AT_ONCE = 2**64 - 1  # `durable` where the policy promises nothing of the disk
MAGIC = b"TGJOURN1"
HEAD = struct.Struct("<QQq8sQIIBbBBI")  # 56 bytes
NUMBERS = struct.Struct("<9q")
MIXED = struct.Struct("<40s4q")
FILE_HEADER = struct.Struct(
    "<8sIIQQI32s16sI"
)  # magic, version, bytes, first, capacity, check, chain
_CHECK_AT = 52
_BLANK = b"\0\0\0\0"
assert HEAD.size + NUMBERS.size == RECORD_BYTES
assert NUMBERS.size == MIXED.size == NAME_BYTES


class Kind(IntEnum):
    """What a record is."""

    EMPTY = 0
    RUN = 1
    NAME = 2
    INTENT = 3
    SENT = 4
    ACK = 5
    REJECT = 6
    CANCEL_ASKED = 7
    CANCELED = 8
    EXPIRED = 9
    UNKNOWN = 10
    NOT_SENT = 11
    FILL = 12
    LATCH = 13
    COUNTERS = 14
    NOTE = 15
    BALANCE = 16
    CHAIN = 17


class Name(IntEnum):
    """What a NAME record names."""

    INSTRUMENT = 1  # JSON: [venue, symbol, base, quote, tick, lot]
    MODEL = 2  # JSON: [model id, version, sha256]
    ASSET = 3
    TEXT = 4  # reasons and notes


class Latch(IntEnum):
    """What stays latched across restarts."""

    KILL = 1
    DRAWDOWN = 2
    DAY_LOSS = 3
    ACCOUNT = 4  # the account does not agree with the venue


class Note(IntEnum):
    """What a NOTE is about."""

    OPERATOR = 1
    FOREIGN_ORDER = 2
    BALANCE_DIFFERS = 3
    TAIL_CUT = 4
    QUARANTINE = 5  # a venue message that cannot be booked
    UNRESOLVED = 6  # an order whose fate nobody could prove


class Doubt(IntEnum):
    """Why an order is UNKNOWN."""

    NO_ANSWER = 1  # time-out, reset or close after the first byte
    UNREADABLE = 2  # an answer that is not what the venue sends
    VENUE_UNSURE = 3  # a status or code by which the venue says that it does not know
    NO_PROOF = 4  # an answer that is in no list of proofs
    RESTART = 5  # found in the journal at start
    DUPLICATE = 6  # the venue has an order of this id: accepted earlier


class Record(NamedTuple):
    """One record, unpacked."""

    seq: int
    durable: int
    ts: int
    tag: str
    ordinal: int
    ref: int
    ref2: int
    kind: int
    side: int
    order_type: int
    code: int
    check: int
    body: bytes

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the body as nine int64."""
        return NUMBERS.unpack(self.body)

    @property
    def text(self) -> str:
        """Return the text of 40 bytes that the body begins with."""
        return self.body[:TEXT_BYTES].rstrip(b"\0").decode("ascii", "replace")

    @property
    def mixed(self) -> tuple[int, ...]:
        """Return the four int64 behind the text."""
        return MIXED.unpack(self.body)[1:]


def put_check(record: bytearray, before: int) -> int:
    """Compute the check of a record whose check field is 0, and store it there."""
    check = zlib.crc32(record, before) or 1
    struct.pack_into("<I", record, _CHECK_AT, check)
    return check


def stored_check(record: bytes | memoryview) -> int:
    """Return the check that a record carries."""
    return int.from_bytes(record[_CHECK_AT : _CHECK_AT + 4], "little")


def record_check(record: bytes | memoryview, before: int) -> int:
    """Return the check that 128 bytes should carry; `before` is the check of those before them."""
    check = zlib.crc32(_BLANK, zlib.crc32(record[:_CHECK_AT], before))
    return zlib.crc32(record[_CHECK_AT + 4 :], check) or 1


def unpack(data: bytes | memoryview) -> Record:
    """Unpack 128 bytes whose check has been seen to be right."""
    (seq, durable, ts, tag, ordinal, ref, ref2, kind, side, order_type, code, check) = (
        HEAD.unpack_from(data)
    )
    return Record(
        seq,
        durable,
        ts,
        tag.rstrip(b"\0").decode("ascii", "replace"),
        ordinal,
        ref,
        ref2,
        kind,
        side,
        order_type,
        code,
        check,
        bytes(data[HEAD.size : RECORD_BYTES]),
    )


def text_bytes(text: str) -> bytes:
    """Return a venue's id as at most 40 bytes; a longer one becomes a hash of itself.

    >>> text_bytes("28457")
    b'28457'
    """
    data = text.encode("ascii", "replace")
    if len(data) <= TEXT_BYTES:
        return data
    return b"#" + hashlib.sha256(text.encode()).hexdigest()[: TEXT_BYTES - 1].encode()


def named(text: str, *numbers: int) -> bytes:
    """Return a body of a text of at most 40 bytes and up to four numbers."""
    return MIXED.pack(text_bytes(text), *(*numbers, 0, 0, 0, 0)[:4])


class FileHeader(NamedTuple):
    """What a segment file says of itself."""

    first_seq: int
    capacity: int
    check_before: int
    chain_before: bytes
    account: bytes


def pack_header(header: FileHeader) -> bytes:
    """Return a segment's first 128 bytes."""
    packed = FILE_HEADER.pack(
        MAGIC,
        VERSION,
        RECORD_BYTES,
        header.first_seq,
        header.capacity,
        header.check_before,
        header.chain_before,
        header.account,
        0,
    )
    packed = packed.ljust(RECORD_BYTES - 4, b"\0")
    return packed + struct.pack("<I", zlib.crc32(packed))


def unpack_header(data: bytes) -> FileHeader | str:
    """Read a segment's first 128 bytes, or say in words what is wrong with them."""
    if len(data) < RECORD_BYTES:
        return "it is cut off inside its header"
    if data[:8] != MAGIC:
        return "it is no journal"
    if zlib.crc32(data[: RECORD_BYTES - 4]) != struct.unpack_from("<I", data, RECORD_BYTES - 4)[0]:
        return "its header is damaged"
    fields = FILE_HEADER.unpack_from(data)
    if fields[1] != VERSION:
        return f"it has version {fields[1]}, this program reads version {VERSION}"
    return FileHeader(*fields[3:8])
