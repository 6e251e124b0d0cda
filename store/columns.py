"""Which column of a file is what: aliases, kinds of tables, public formats without header."""

from collections.abc import Sequence

from engine.errors import DataError

KINDS = ("trades", "quotes", "depth", "bars", "gaps")

_TIME = (
    "ts_event", "event_ns", "ts_ns", "timestamp", "time", "ts", "transact_time", "transaction_time",
    "datetime", "date_time", "open_time", "opentime", "date", "event_time", "exch_time",
)  # fmt: skip
_RECV = ("ts_recv", "recv_ns", "local_timestamp", "received_time", "receive_time")
_SIZE = ("size", "qty", "quantity", "amount", "volume", "sz", "vol", "q")
_PRICE = ("price", "px", "p", "rate")
_SYMBOL = ("symbol", "ticker", "instrument")

# kind -> field -> the names it goes by, most specific first. Names are compared in lower case with
# spaces, dots and angle brackets removed.
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "trades": {
        "ts_event": _TIME,
        "ts_recv": _RECV,
        "price": _PRICE,
        "size": _SIZE,
        "side": ("side", "aggressor_side", "taker_side", "aggressor", "direction"),
        "buyer_maker": ("is_buyer_maker", "isbuyermaker", "buyer_maker", "m"),
        "id": ("trade_id", "agg_trade_id", "tradeid", "tid", "id", "a", "t"),
        "print": ("kind", "x"),
        "symbol": _SYMBOL,
    },
    "quotes": {
        "ts_event": _TIME,
        "ts_recv": _RECV,
        "bid": ("bid", "bid_px", "bid_price", "best_bid_price", "best_bid", "bidprice"),
        "ask": ("ask", "ask_px", "ask_price", "best_ask_price", "best_ask", "askprice", "offer"),
        "bid_size": (
            "bid_size", "bid_sz", "bid_amount", "best_bid_qty", "bid_qty", "bidsize", "bid_volume",
            "best_bid_size",
        ),
        "ask_size": (
            "ask_size", "ask_sz", "ask_amount", "best_ask_qty", "ask_qty", "asksize", "ask_volume",
            "best_ask_size",
        ),
        "id": ("update_id", "u"),
        "symbol": _SYMBOL,
    },
    "depth": {
        "ts_event": _TIME,
        "ts_recv": _RECV,
        "side": ("side",),
        "price": _PRICE,
        "size": _SIZE,
        "flags": ("flags",),
        "snapshot": ("is_snapshot", "snapshot"),
        "last_id": ("last_id", "seq", "last_update_id", "final_update_id"),
        "first_id": ("first_id", "first_update_id"),
        "prev_id": ("prev_id", "prev_update_id", "prev_final_update_id"),
        "symbol": _SYMBOL,
    },
    "bars": {
        "ts_event": ("open_time", "opentime", *_TIME),
        "open": ("open", "o"),
        "high": ("high", "h"),
        "low": ("low", "l"),
        "close": ("close", "c", "last"),
        "volume": ("volume", "vol", "v", "base_volume", "tick_volume", "tickvol"),
        "close_time": ("close_time", "closetime"),
        "open_bid": ("open_bid",),
        "open_ask": ("open_ask",),
        "close_bid": ("close_bid",),
        "close_ask": ("close_ask",),
        "symbol": _SYMBOL,
    },
    "gaps": {
        "ts_event": ("ts_event",),
        "ts_recv": ("ts_recv",),
        "ts_from": ("ts_from",),
        "ts_to": ("ts_to",),
        "reason": ("reason",),
    },
}  # fmt: skip

NEEDED: dict[str, tuple[str, ...]] = {
    "trades": ("price", "size"),
    "quotes": ("bid", "ask"),
    "depth": ("side", "price", "size"),
    "bars": ("ts_event", "open", "high", "low", "close"),
    "gaps": ("ts_recv", "ts_from", "ts_to", "reason"),
}
# What tells one kind from the others when the folder does not say.
_TELLING = (
    ("bars", ("open", "high", "low", "close")),
    ("quotes", ("bid", "ask")),
    ("gaps", ("ts_from", "ts_to")),
    ("trades", ("price", "size")),
)
_DEPTH_MARKS = ("flags", "snapshot", "last_id", "first_id")


def plain(name: str) -> str:
    """Return a column name as it is compared.

    >>> plain("<Open>"), plain("Open Time"), plain(" Vol. ")
    ('open', 'open_time', 'vol')
    """
    kept = name.strip().strip("<>").replace(".", "").replace("-", "_")
    return "_".join(kept.lower().split())


def match(kind: str, names: Sequence[str]) -> dict[str, str]:
    """Map the fields of a kind to the columns of a file, as far as there are any.

    >>> match("quotes", ["event_ns", "bid_px", "ask_px"])
    {'ts_event': 'event_ns', 'bid': 'bid_px', 'ask': 'ask_px'}
    """
    found = {plain(name): name for name in reversed(names)}
    fields: dict[str, str] = {}
    for field, aliases in ALIASES[kind].items():
        for alias in aliases:
            if alias in found and found[alias] not in fields.values():
                fields[field] = found[alias]
                break
    if "date" in found and fields.get("ts_event") == found.get("time"):
        fields |= {"ts_event": found["date"], "clock": found["time"]}  # joined when they are read
    return fields


def kind_of(names: Sequence[str]) -> str | None:
    """Tell the kind of a table from its columns, or None.

    >>> kind_of(["time", "open", "high", "low", "close"]), kind_of(["a", "b"])
    ('bars', None)
    """
    depth = match("depth", names)
    if {"side", "price", "size"} <= depth.keys() and any(mark in depth for mark in _DEPTH_MARKS):
        return "depth"
    for kind, telling in _TELLING:
        if set(telling) <= match(kind, names).keys():
            return kind
    return None


def checked_match(kind: str, names: Sequence[str], path: object) -> dict[str, str]:
    """Map fields to columns, refusing a file that lacks what its kind needs.

    Raises:
        DataError: names the file, the columns found and those needed.
    """
    fields = match(kind, names)
    missing = [field for field in NEEDED[kind] if field not in fields]
    if not missing and "ts_event" not in fields and "ts_recv" not in fields:
        missing = ["ts_event"]
    if missing:
        raise DataError(
            f"{path}: {kind} need the columns {', '.join(_wanted(kind))}; "
            f"missing {', '.join(missing)}; found {', '.join(names) or 'none'}"
        )
    return fields


def _wanted(kind: str) -> list[str]:
    """List the needed columns by their canonical names."""
    return ["ts_event" if kind not in ("bars", "gaps") else "", *NEEDED[kind]][kind == "bars" :]


# Public dumps without a header line, by number of columns.
_SPOT_TRADES = ["trade_id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match"]
_AGG_TRADES = [
    "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time",
    "is_buyer_maker",
]  # fmt: skip
_KLINES = [
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
]  # fmt: skip
_CANDLES = ["open_time", "open", "high", "low", "close", "volume"]


def headerless(cells: Sequence[str]) -> list[str] | None:
    """Name the columns of a file whose first line is data, or None if the layout is not known.

    >>> headerless("1,0.5,2,1.0,1690000000000,True,True".split(","))[0]
    'trade_id'
    """
    booleans = [cell.strip().lower() in ("true", "false") for cell in cells]
    if len(cells) == 12 and not any(booleans):
        return list(_KLINES)
    if len(cells) == 8 and booleans[6]:
        return [*_AGG_TRADES, "is_best_match"]
    if len(cells) == 7 and booleans[5]:
        return list(_SPOT_TRADES)
    if len(cells) == 7 and booleans[6]:
        return list(_AGG_TRADES)
    if len(cells) == 6 and booleans[5]:
        return _SPOT_TRADES[:6]
    if len(cells) == 6 and not any(booleans):
        return list(_CANDLES)
    if len(cells) == 7 and not any(booleans) and ":" in cells[1]:
        return ["date", "time", *_CANDLES[1:]]
    return None


def is_number(cell: str) -> bool:
    """Say whether a CSV cell is a plain number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_data(cells: Sequence[str]) -> bool:
    """Say whether a CSV line is data rather than a header.

    >>> is_data(["1690000000000", "1.0"]), is_data(["time", "price"])
    (True, False)
    """
    return sum(is_number(cell) for cell in cells) * 2 >= len(cells)
