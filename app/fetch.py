"""`lab.py data fetch`: candles and trades of any exchange into the data folder, through ccxt."""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import UsageError

KINDS = {"candles": "bars", "trades": "trades"}
MAX_DAYS = 3660.0
MAX_SYMBOLS = 100
DESCRIPTION = """\
Fetch candles and trades through ccxt into DIR/<venue>/<SYMBOL>/<kind>/. Stopped
at any moment, the same command goes on where it was. Run again later, it takes
what is new. Holes are counted and named.
"""


def add_fetch_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `fetch` below `data`."""
    parser = subparsers.add_parser(
        "fetch", help="candles and trades from an exchange", description=DESCRIPTION
    )
    add = parser.add_argument
    add("--venue", required=True, metavar="V", help="such as binance_spot, or a name of ccxt's")
    add("--symbol", required=True, metavar="S[,S]", help="such as BTC/USDT,ETH/USDT")
    add("--days", required=True, type=float, metavar="N", help="how far back; 0.5 is 12 hours")
    add("--out", required=True, type=Path, metavar="DIR", help="the data folder")
    add("--what", default="candles", metavar="KINDS", help="candles, trades, or both with a comma")
    add("--interval", default="1m", metavar="I", help="of the candles (default: 1m)")
    add("--base-url", default="", metavar="URL", help="another address, of an embedded exchange")
    parser.set_defaults(run=main_fetch)


def main_fetch(args: argparse.Namespace) -> int:
    """Fetch each symbol and print what there is now.

    Raises:
        UsageError: an option, the venue or a symbol cannot be used.
        VenueError: the exchange does not answer.
    """
    from app.data import progress_bar
    from engine.instruments import split_symbol
    from venues.ccxt_history import open_history

    if not args.venue.replace("_", "").isalnum() or not args.venue.isascii():
        raise UsageError(f"--venue {args.venue}: allowed are letters, digits and _")
    kinds = _kinds(args.what)
    interval_ns = _interval_ns(args.interval)
    if not math.isfinite(args.days) or not 0 < args.days <= MAX_DAYS:
        raise UsageError(f"--days {args.days:g}: allowed is a number above 0, up to {MAX_DAYS:g}")
    words = [word for word in args.symbol.split(",") if word.strip()]
    symbols = list(dict.fromkeys(split_symbol(word)[0] for word in words))
    if not symbols or not all(one.isalnum() and one.isascii() for one in symbols):
        raise UsageError(f"--symbol {args.symbol}: not symbols such as BTC/USDT")
    if len(symbols) > MAX_SYMBOLS:
        raise UsageError(f"--symbol: {len(symbols)} are given, at most {MAX_SYMBOLS} are taken")
    history = open_history(args.venue, args.base_url)
    markets = [history.market(one) for one in symbols]  # a wrong one is told before any is fetched
    if "bars" in kinds and history.intervals() and args.interval not in history.intervals():
        raise UsageError(
            f"--interval {args.interval}: {args.venue} has {', '.join(history.intervals())}"
        )
    for market in markets:
        with progress_bar() as progress:
            folder = _fetch(args, history, market, (kinds, interval_ns, progress))
        _report(folder, kinds, interval_ns)
    return 0


def _kinds(text: str) -> tuple[str, ...]:
    """Return the folders that are filled."""
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in KINDS]:
        raise UsageError(f"--what {unknown[0]}: allowed are {', '.join(KINDS)}")
    return tuple(sorted({KINDS[word] for word in words}))


def _interval_ns(text: str) -> int:
    """Return the length of a candle that the engine has a number for."""
    from engine.rows import BAR_INTERVALS_NS, NS_PER_S

    unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(text[-1:], 0)
    number = int(text[:-1]) if text[:-1].isascii() and text[:-1].isdigit() else 0
    length = number * unit * NS_PER_S
    if length not in BAR_INTERVALS_NS:
        raise UsageError(f"--interval {text}: allowed are 1s 5s 15s 1m 3m 5m 15m 30m 1h 4h 1d")
    return length


def _fetch(args: argparse.Namespace, history: Any, market: Any, how: tuple[Any, ...]) -> Path:
    """Fill the folder of one market."""
    from engine.instruments import Instrument
    from store.fetched import FetchState, claimed, write_beside

    kinds, interval_ns, progress = how
    folder: Path = args.out / args.venue / market.symbol
    with claimed(folder) as before:
        interval = args.interval
        if before is not None and (folder / "bars").is_dir() and before.interval != interval:
            if "bars" in kinds:
                raise UsageError(
                    f"--interval {interval}: {folder} holds candles of {before.interval}"
                )
            interval, interval_ns = before.interval, _interval_ns(before.interval)
        asked = {"what": kinds, "interval": interval, "days": args.days}
        if before is not None and not before.done and _same(before, asked):
            state = before
        else:
            until_ns = history.settled_ms() * 1_000_000
            until_ns -= until_ns % interval_ns
            since_ns = until_ns - int(args.days * 86_400) * 1_000_000_000
            since_ns -= since_ns % interval_ns
            state = FetchState(since_ns=since_ns, until_ns=until_ns, **asked)
        has = {"bars": ("bars",), "trades": ("trades", "trade_sides")}
        there = sorted({*kinds, *(kind for kind in has if (folder / kind).is_dir())})
        instrument = Instrument(
            venue=args.venue, symbol=market.symbol, base=market.base, quote=market.quote,
            tick=market.tick, lot=market.lot, min_notional=market.min_notional,
            has=tuple(sorted(word for kind in there for word in has[kind])),
            bar_interval_ns=interval_ns if "bars" in there else 0,
        )  # fmt: skip
        write_beside(folder, instrument, state)
        for kind in kinds:
            _fill(folder / kind, (history, market), state, interval_ns, progress)
        write_beside(folder, instrument, msgspec.structs.replace(state, done=True))
    return folder


def _same(before: Any, asked: dict[str, Any]) -> bool:
    return all(getattr(before, name) == value for name, value in asked.items())


def _fill(folder: Path, source: tuple[Any, Any], state: Any, interval_ns: int, show: Any) -> None:
    """Write the parts of one kind that are not there."""
    from store.fetched import PartWriter, missing_parts, part_length_ns

    history, market = source
    length = part_length_ns(folder.name, interval_ns)
    name = f"{market.symbol} {'candles' if folder.name == 'bars' else 'trades'}"
    span = state.until_ns - state.since_ns
    for run in _runs(missing_parts(folder, length, state.since_ns, state.until_ns)):
        since_ms, until_ms = run[0].since_ns // 1_000_000, run[-1].until_ns // 1_000_000
        if folder.name == "bars":
            pages = history.candles(market, state.interval, since_ms, until_ms)
        else:
            pages = history.trades(market, since_ms, until_ms)
        writer = PartWriter(folder, run)
        for page in pages:
            writer.take(page.rows, page.reached_ns)
            show(name, min(max(page.reached_ns - state.since_ns, 0), span), span)
        assert not writer.parts, "the pages ended before their window"
    show(name, span, span)


def _runs(parts: list[Any]) -> Iterator[list[Any]]:
    """Yield parts that follow one another together: their pages need not stop between them."""
    run: list[Any] = []
    for part in parts:
        if run and run[-1].until_ns != part.since_ns:
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _report(folder: Path, kinds: tuple[str, ...], interval_ns: int) -> None:
    """Print what a folder holds, and its holes."""
    from store.fetch_checks import checked_series, when

    print(folder)
    for kind in kinds:
        found = checked_series(folder / kind, interval_ns if kind == "bars" else 0)
        if not found.rows:
            print(f"  {kind}: nothing in this time")
            continue
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in found.dropped.items())
        print(
            f"  {kind}: {found.rows:,} rows, {when(found.first_ns)} to {when(found.last_ns)}, "
            f"dropped: {dropped or 0}, holes: {found.holes:,}"
            + (f" ({found.missing:,} missing)" if found.holes else "")
        )
        for line in found.named:
            print(f"    hole: {line}")
        if found.holes > len(found.named):
            print(f"    and {found.holes - len(found.named):,} more")
