"""Parse the usual layouts of Binance messages by machine code; anything else is left to msgspec.

The kernel takes compact JSON with the keys in the venue's order, plain decimals and integers, and
gives up (returns 0) at the first byte it does not expect: it never judges what is wrong. It reads
one byte after the other and stops at a mismatch, hence never beyond the NUL that ends every bytes
object. A place of 0 means "given up": byte 0 is the opening brace, which nothing expects, so that
the next step gives up as well and one test at the end is enough. A decimal of n digits below 2^53
over a power of ten is one division of two exact numbers, hence the nearest float64, as a full
parser gives it.
"""

import numpy as np
from numba import carray, njit

from engine.inlining import merge_fresh_code
from engine.kernel.memory import pointer
from engine.rows import LAST, Kind
from venues.admit import admit

merge_fresh_code()
MAX_SYMBOLS = (
    2048  # slots of the table, a power of two; above half of it the rest goes the slow way
)
SYMBOL_WORDS = 3  # a symbol has at most 24 characters here
# The kernel's record: where to write, what it found, and the symbols (open addressing).
STATE = np.dtype(
    [
        ("rows", "i8"),  # address of the first row of the buffer
        ("room", "i8"),  # rows in the buffer
        ("found", "i8"),  # 0 no depth, 1 update, 2 full book
        ("first_id", "i8"),
        ("last_id", "i8"),
        ("prev_id", "i8"),
        ("instrument", "i8"),
        ("header", "i8"),  # bytes before the characters of a bytes object
        ("kind", "i8"),  # address of the type `bytes`: an object of another type is never read
        ("names", "u8", (MAX_SYMBOLS, SYMBOL_WORDS)),
        ("index", "i8", (MAX_SYMBOLS,)),  # instrument + 1; 0 is an empty slot
        ("tick", "f8", (MAX_SYMBOLS,)),
    ],
    align=True,
)
POWERS = 10.0 ** np.arange(23)
_EXACT = 1 << 53
_QUOTE, _TRADE, _DEPTH = int(Kind.QUOTE), int(Kind.TRADE), int(Kind.DEPTH)
_QUOTE_WORD = (_QUOTE << 16) | (LAST << 32)
_TRADE_WORD = (_TRADE << 16) | (LAST << 32)
_DEPTH_WORD = _DEPTH << 16
_LAST_BIT = LAST << 32
_MOST = 4_102_444_800_000_000
_MICROSECONDS_FROM = 100_000_000_000_000


def _literal(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).copy()


_STREAM, _DATA = _literal('"stream":"'), _literal('","data":{')
_TICKER = _literal('"e":"bookTicker",')
_TRADED = _literal('"e":"trade","E":')
_UPDATED = _literal('"e":"depthUpdate","E":')
_U, _S, _B, _UB, _A, _UA = (
    _literal(one) for one in ('"u":', ',"s":', ',"b":', ',"B":', ',"a":', ',"A":')
)
_T, _E, _TT, _P, _Q, _M = (
    _literal(one) for one in (',"T":', ',"E":', ',"t":', ',"p":', ',"q":', ',"m":')
)
_MARKET = _literal(',"X":"MARKET"')
_BEST = _literal(',"M":true')
_FIRST, _LAST_ID, _PREV = _literal(',"U":'), _literal(',"u":'), _literal(',"pu":')
_TRUE, _FALSE = _literal("true"), _literal("false")


@njit(cache=True, inline="always")
def _expect(text, at, literal):  # type: ignore[no-untyped-def]
    """Return the place behind a literal, 0 if something else stands there."""
    for k in range(len(literal)):
        if text[at + k] != literal[k]:
            return np.int64(0)
    return at + len(literal)


@njit(cache=True, inline="always")
def _integer(text, at):  # type: ignore[no-untyped-def]
    """Parse an integer of at most 18 digits; returns (value, place behind or 0)."""
    value = np.int64(0)
    start = at
    while 48 <= text[at] <= 57:
        value = value * 10 + (text[at] - 48)
        at += 1
    count = at - start
    if count == 0 or count > 18 or (count > 1 and text[start] == 48):
        return np.int64(0), np.int64(0)
    return value, at


@njit(cache=True, inline="always")
def _decimal(text, at):  # type: ignore[no-untyped-def]
    """Parse a decimal in quotes; returns (value, place behind), place 0 if it is none."""
    if text[at] != 34:
        return 0.0, np.int64(0)
    at += 1
    start = at
    value = np.int64(0)
    while 48 <= text[at] <= 57:
        value = value * 10 + (text[at] - 48)
        at += 1
    whole = at - start
    if whole == 0 or (whole > 1 and text[start] == 48):
        return 0.0, np.int64(0)
    fraction = np.int64(0)
    if text[at] == 46:
        at += 1
        start = at
        while 48 <= text[at] <= 57:
            value = value * 10 + (text[at] - 48)
            at += 1
        fraction = at - start
        if fraction == 0:
            return 0.0, np.int64(0)
    if text[at] != 34 or whole + fraction > 18 or value >= _EXACT:
        return 0.0, np.int64(0)
    return value / POWERS[fraction], at + 1


@njit(cache=True, inline="always")
def _symbol(text, at, names, index):  # type: ignore[no-untyped-def]
    """Find a symbol in quotes; returns (slot of the table or -1, place behind)."""
    if text[at] != 34:
        return np.int64(-1), np.int64(0)
    at += 1
    first = second = third = np.uint64(0)
    count = np.int64(0)
    while text[at] != 34:
        letter = np.uint64(text[at])
        if letter < 48 or letter > 122 or letter == 92 or count == 24:
            return np.int64(-1), np.int64(0)
        shift = np.uint64(8 * (count & 7))
        if count < 8:
            first |= letter << shift
        elif count < 16:
            second |= letter << shift
        else:
            third |= letter << shift
        count += 1
        at += 1
    slot = np.int64(symbol_slot(first, second, third))
    while index[slot] != 0:
        if names[slot, 0] == first and names[slot, 1] == second and names[slot, 2] == third:
            return slot, at + 1
        slot = (slot + 1) & (MAX_SYMBOLS - 1)
    return np.int64(-1), np.int64(0)


@njit(cache=True, inline="always")
def symbol_slot(first, second, third):  # type: ignore[no-untyped-def]
    """Return where the search for a symbol begins."""
    mixed = (first ^ (second * np.uint64(0x9E3779B97F4A7C15)) ^ third) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    return (mixed >> np.uint64(40)) & np.uint64(MAX_SYMBOLS - 1)


@njit(cache=True, inline="always")
def _nanoseconds(stamp):  # type: ignore[no-untyped-def]
    """Scale a stamp of ms, or of us by its size."""
    return stamp * 1_000_000 if stamp < _MICROSECONDS_FROM else stamp * 1_000


@njit(cache=True)
def _levels(text, at, ints, floats, place, room, fixed):  # type: ignore[no-untyped-def]
    """Write the levels of one side; returns (rows written, place behind), place 0 to give up.

    `fixed`: (stamp, ts_recv, header word, previous id, last id, first id, tick).
    """
    nothing = np.int64(0)
    stamp, ts_recv, header, prev_id, last_id, first_id, tick = fixed
    if text[at] != 91:
        return nothing, nothing
    at += 1
    count = np.int64(0)
    if text[at] == 93:
        return count, at + 1
    while True:
        if text[at] != 91 or count == room:
            return nothing, nothing
        price, at = _decimal(text, at + 1)
        if at == 0 or text[at] != 44 or not 0.0 < price < 1e15:
            return nothing, nothing
        size, at = _decimal(text, at + 1)
        if at == 0 or text[at] != 93 or size >= 1e18:
            return nothing, nothing
        word = (place + count) * 8
        ints[word] = stamp
        ints[word + 1] = ts_recv
        ints[word + 2] = header
        floats[word + 3] = price
        floats[word + 4] = size
        ints[word + 5] = np.int64(np.rint(price / tick)) if tick > 0.0 else prev_id
        ints[word + 6] = last_id
        ints[word + 7] = first_id
        count += 1
        at += 1
        if text[at] == 93:
            return count, at + 1
        if text[at] != 44:
            return nothing, nothing
        at += 1


@njit(cache=True)
def _ticker(text, at, state, words, floats, ts_recv):  # type: ignore[no-untyped-def]
    """Write a QUOTE row; returns the place of the closing brace, 0 to give up."""
    ident, at = _integer(text, _expect(text, at, _U))
    slot, at = _symbol(text, _expect(text, at, _S), state["names"], state["index"])
    bid, at = _decimal(text, _expect(text, at, _B))
    bid_size, at = _decimal(text, _expect(text, at, _UB))
    ask, at = _decimal(text, _expect(text, at, _A))
    ask_size, at = _decimal(text, _expect(text, at, _UA))
    stamp = np.int64(0)
    if text[at] == 44:
        stamp, at = _integer(text, _expect(text, at, _T))
        sent, at = _integer(text, _expect(text, at, _E))
        if stamp == 0 or sent >= _MOST:
            return np.int64(0)
    if at == 0 or stamp >= _MOST or not (0.0 < bid < 1e15 and 0.0 < ask < 1e15):
        return np.int64(0)
    if bid_size >= 1e18 or ask_size >= 1e18:
        return np.int64(0)
    words[0] = _nanoseconds(stamp)
    words[1] = ts_recv
    words[2] = (state["index"][slot] - 1) | _QUOTE_WORD
    floats[3] = bid
    floats[4] = ask
    floats[5] = bid_size
    floats[6] = ask_size
    words[7] = ident
    return at


@njit(cache=True)
def _trade(text, at, state, words, floats, ts_recv):  # type: ignore[no-untyped-def]
    """Write a TRADE row of a market trade; returns the place of the closing brace, 0 to give up."""
    sent, at = _integer(text, at)
    stamp = np.int64(-1)
    if text[at] == 44 and text[at + 1] == 34 and text[at + 2] == 84:
        stamp, at = _integer(text, _expect(text, at, _T))
    slot, at = _symbol(text, _expect(text, at, _S), state["names"], state["index"])
    ident, at = _integer(text, _expect(text, at, _TT))
    price, at = _decimal(text, _expect(text, at, _P))
    quantity, at = _decimal(text, _expect(text, at, _Q))
    if stamp < 0:
        stamp, at = _integer(text, _expect(text, at, _T))
    else:
        at = _expect(text, at, _MARKET)
    at = _expect(text, at, _M)
    maker = text[at] == 116
    at = _expect(text, at, _TRUE) if maker else _expect(text, at, _FALSE)
    if text[at] == 44:
        at = _expect(text, at, _BEST)
    if at == 0 or sent >= _MOST or stamp >= _MOST or not 0.0 < price < 1e15 or quantity >= 1e18:
        return np.int64(0)
    words[0] = _nanoseconds(stamp)
    words[1] = ts_recv
    words[2] = (state["index"][slot] - 1) | _TRADE_WORD | ((255 if maker else 1) << 24)
    floats[3] = price
    floats[4] = quantity
    words[5] = ident
    words[6] = 0
    words[7] = 0
    return at


@njit(cache=True)
def _update(text, at, state, words, floats, room, ts_recv):  # type: ignore[no-untyped-def]
    """Write the DEPTH rows of an update; returns (rows, place of the brace), place 0 to give up."""
    nothing = np.int64(0)
    stamp, at = _integer(text, at)
    if text[at] == 44 and text[at + 1] == 34 and text[at + 2] == 84:
        sent = stamp
        stamp, at = _integer(text, _expect(text, at, _T))
        if sent >= _MOST or stamp == 0:
            return nothing, nothing
    slot, at = _symbol(text, _expect(text, at, _S), state["names"], state["index"])
    first_id, at = _integer(text, _expect(text, at, _FIRST))
    last_id, at = _integer(text, _expect(text, at, _LAST_ID))
    prev_id = np.int64(-1)
    if text[at] == 44 and text[at + 1] == 34 and text[at + 2] == 112:
        prev_id, at = _integer(text, _expect(text, at, _PREV))
    if at == 0 or stamp >= _MOST:
        return nothing, nothing
    state["first_id"] = first_id
    state["last_id"] = last_id
    state["prev_id"] = prev_id
    state["instrument"] = state["index"][slot] - 1
    header = (state["index"][slot] - 1) | _DEPTH_WORD
    tick = state["tick"][slot]
    fixed = (_nanoseconds(stamp), ts_recv, header | (1 << 24), prev_id, last_id, first_id, tick)
    bids, at = _levels(text, _expect(text, at, _B), words, floats, nothing, room, fixed)
    fixed = (_nanoseconds(stamp), ts_recv, header | (255 << 24), prev_id, last_id, first_id, tick)
    asks, at = _levels(text, _expect(text, at, _A), words, floats, bids, room - bids, fixed)
    rows = bids + asks
    if at == 0 or rows == 0:
        return nothing, nothing
    words[rows * 8 - 6] |= _LAST_BIT
    state["found"] = 1
    return rows, at


@njit("int64(int64, int64, int64, int64)", cache=True)
def parse(message, place, ts_recv, state_address):  # type: ignore[no-untyped-def]
    """Write the rows of one message; returns their number, 0 to leave it to the slow way.

    Args:
        message: address of the bytes object.
        place: index of the first row to write.
        ts_recv: receive stamp, ns.
        state_address: address of a STATE record.
    """
    state = carray(pointer(state_address), (1,), STATE)[0]
    room = state["room"] - place
    kind = carray(pointer(message + 8), (1,), np.int64)[0]
    if room < 1 or place < 0 or kind != state["kind"]:
        return 0
    text = carray(pointer(message + state["header"]), (1 << 30,), np.uint8)
    words = carray(pointer(state["rows"] + place * 64), (1 << 30,), np.int64)
    floats = carray(pointer(state["rows"] + place * 64), (1 << 30,), np.float64)
    state["found"] = 0
    at = np.int64(text[0] == 123)
    wrapped = text[at] == 34 and text[at + 1] == 115
    if wrapped:
        at = _expect(text, at, _STREAM)
        while text[at] != 34 and text[at] >= 32 and text[at] != 92:
            at += 1
        at = _expect(text, at, _DATA)
    rows = np.int64(1)
    if text[at] != 34:
        return 0
    if text[at + 1] == 117:
        at = _ticker(text, at, state, words, floats, ts_recv)
    elif text[at + 1] != 101 or text[at + 2] != 34 or text[at + 3] != 58 or text[at + 4] != 34:
        return 0
    elif text[at + 5] == 98:
        at = _ticker(text, _expect(text, at, _TICKER), state, words, floats, ts_recv)
    elif text[at + 5] == 116:
        at = _trade(text, _expect(text, at, _TRADED), state, words, floats, ts_recv)
    else:
        at = _expect(text, at, _UPDATED)
        rows, at = _update(text, at, state, words, floats, room, ts_recv)
    if at == 0 or text[at] != 125:
        return 0
    if wrapped and text[at + 1] != 125:
        return 0
    if text[at + 1 + wrapped] != 0:
        return 0
    return rows


_PUBLISHED = -1


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def publish(state_address, message, at, ts_recv, first_row, states):  # type: ignore[no-untyped-def]
    """Write a message's rows and, where it is one that simply follows, publish it: see admit.py.

    Args:
        state_address, message, ts_recv: as for `parse`.
        at: index of the tape's next row in the buffer, which is the open segment.
        first_row: number of the segment's first row on the tape.
        states: address of the records of venues/admit.py.
    Returns:
        -1 if it stands on the tape, else how many rows were written: 0 to leave it to the slow way.
    """
    count = parse(message, at, ts_recv, state_address)
    if count != 1:
        return count
    rows = carray(pointer(state_address), (1,), STATE)[0]["rows"]
    size = carray(pointer(message + 16), (1,), np.int64)[0]
    return _PUBLISHED if admit(states, rows, at, first_row, ts_recv, size) == 1 else count
