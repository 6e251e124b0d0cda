"""Markets for the embedded exchange: the synthetic one, or one that was recorded."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np

from config.settings import AssumedMarket
from engine.errors import DataError, UsageError
from engine.instruments import split_symbol
from engine.rows import NS_PER_S, OFF_MARKET, Kind
from engine.tape import Tape
from store import synth
from store.synth_symbols import SynthSymbol, synth_symbol
from venues.embedded.market import QUOTES, TRADES, Block, Market, SymbolMarket, SymbolSpec

NS_PER_MINUTE = 60 * NS_PER_S
HISTORY_ROWS_PER_S = 4.0  # before the opening, whatever the rate after it
LIVE_BLOCK = 1024  # rows generated ahead
LADDER_OF_MOVE = 4  # levels behind the touch stand a quarter of a typical move apart
ASSUMED = AssumedMarket(quote_size_notional=100_000.0, bar_spread_bps=1.0)


def synthetic_market(
    *, symbols: int, seed: int, predictability: float, rows_per_s: float, history_hours: float
) -> Market:
    """Make the market of `lab.py data synth` with a history and an endless rest.

    Market time always begins at the generator's own start, so that a seed gives the same events
    whenever the exchange is started.

    Args:
        symbols: how many instruments.
        seed: of the generator.
        predictability: share of moves whose side follows the latent state.
        rows_per_s: about, of one instrument, from the opening on.
        history_hours: market time before the opening.
    Raises:
        UsageError: one is out of range.
    """
    settings = synth.SynthSettings(
        symbols=symbols,
        hours=synth.MAX_HOURS,
        seed=seed,
        predictability=predictability,
        rows_per_s=rows_per_s,
    )
    synth.check_settings(settings)
    if not 1.0 / 60.0 <= history_hours <= 24 * 30:
        raise UsageError(f"exchange: --history-hours {history_hours:g}: allowed is 1/60 to 720")
    live_ns = settings.start_ns + round(history_hours * 60) * NS_PER_MINUTE
    made = tuple(_synthetic_symbol(settings, index, live_ns) for index in range(symbols))
    name = f"synthetic, seed {seed}, predictability {predictability:g}"
    return Market(made, live_ns, seed, name)


def _synthetic_symbol(settings: synth.SynthSettings, index: int, live_ns: int) -> SymbolMarket:
    """Generate one instrument's history and leave the generator at the opening."""
    state = synth.new_state(settings, index)
    synth.set_rate(state, HISTORY_ROWS_PER_S)
    end, state[0]["end"] = int(state[0]["end"]), live_ns
    blocks = [_block(block) for block in synth.generate_on(state)]
    state[0]["end"] = end
    synth.set_rate(state, settings.rows_per_s)
    rest = (_block(block) for block in synth.generate_on(state, LIVE_BLOCK))
    return _opened(_synthetic_spec(synth_symbol(index)), blocks, rest, live_ns)


def _block(made: synth.SynthBlock) -> Block:
    """Return a generated block in the exchange's columns."""
    quotes = np.empty(len(made.quotes), QUOTES)
    trades = np.empty(len(made.trades), TRADES)
    quotes["ts"], trades["ts"] = made.quotes["ts_event"], made.trades["ts_event"]
    for name in ("bid", "ask", "bid_lots", "ask_lots"):
        quotes[name] = made.quotes[name]
    for name in ("price", "lots", "side"):
        trades[name] = made.trades[name]
    return Block(quotes, trades)


def _synthetic_spec(symbol: SynthSymbol) -> SymbolSpec:
    return SymbolSpec(
        symbol=symbol.symbol,
        base=symbol.base,
        quote="USDT",
        tick=symbol.tick,
        lot=symbol.lot,
        min_notional=symbol.min_notional,
        ladder_ticks=max(1, int(symbol.move_ticks / LADDER_OF_MOVE)),
        ladder_lots=max(1, int(symbol.touch_lots)),
    )


def _opened(
    spec: SymbolSpec, blocks: list[Block], rest: Iterator[Block], live_ns: int
) -> SymbolMarket:
    """Cut blocks that reach the opening into what was before it and what comes."""
    quotes = np.concatenate([block.quotes for block in blocks])
    trades = np.concatenate([block.trades for block in blocks])
    past = quotes[quotes["ts"] < live_ns]
    if len(past) == 0:
        raise DataError(f"{spec.symbol}: there is no quote before the opening of the exchange")
    last = past[-1]
    touch = int(last["bid"]), int(last["ask"]), int(last["bid_lots"]), int(last["ask_lots"])
    first = Block(quotes[len(past) :], trades[trades["ts"] >= live_ns])

    def live() -> Iterator[Block]:
        yield first
        yield from rest

    return SymbolMarket(spec, trades[trades["ts"] < live_ns], touch, live())


def recorded_market(paths: list[Path], *, cache_dir: Path, history_hours: float) -> Market:
    """Make a market of quotes and trades that were recorded: tape, capture, Parquet, CSV.

    Args:
        paths: what `run_live.py --replay` takes.
        cache_dir: where a converted tape is kept.
        history_hours: of the recording, from its start; at most half of it.
    Raises:
        DataError: the recording cannot be read, or an instrument has no quotes with sizes.
    """
    from app.sources import open_tape

    tape = Tape.open(open_tape(paths, assumed=ASSUMED, cache_dir=cache_dir))
    parts: list[list[Block]] = [[] for _ in tape.instruments]
    for segment in tape.segments:
        for _, rows in segment.strides():
            for index, instrument in enumerate(tape.instruments):
                mine = rows[rows["instrument"] == index]
                parts[index].append(_recorded_block(mine, instrument.tick, instrument.lot))
    times = [block.quotes["ts"] for blocks in parts for block in blocks if len(block.quotes)]
    if not times:
        raise DataError("exchange: the recorded market has no quotes")
    first, last = min(int(one.min()) for one in times), max(int(one.max()) for one in times)
    history_ns = min(round(history_hours * 3600 * NS_PER_S), (last - first) // 2)
    live_ns = max(first + 1, (first + history_ns) // NS_PER_MINUTE * NS_PER_MINUTE)
    made = []
    for instrument, blocks in zip(tape.instruments, parts):
        base, quote = split_symbol(instrument.symbol)[1:]
        spec = SymbolSpec(
            symbol=instrument.symbol,
            base=base,
            quote=quote,
            tick=instrument.tick,
            lot=instrument.lot,
            min_notional=instrument.min_notional,
            ladder_ticks=5,
            ladder_lots=_typical_lots(blocks),
        )
        made.append(_opened(spec, _sorted(blocks), iter(()), live_ns))
    return Market(tuple(made), live_ns, 0, f"recorded, {paths[0].name}")


def _recorded_block(rows: np.ndarray, tick: str, lot: str) -> Block:
    """Return the quotes and market trades of tape rows of one instrument, in ticks and lots."""
    tick_size, lot_size = float(Decimal(tick)), float(Decimal(lot))

    def counts(values: np.ndarray, unit: float) -> np.ndarray:
        return np.maximum(1, np.rint(np.nan_to_num(values, nan=unit) / unit)).astype(np.int64)

    told = rows[rows["kind"] == Kind.QUOTE]
    told = told[(told["f0"] > 0) & (told["f1"] > told["f0"])]
    quotes = np.empty(len(told), QUOTES)
    quotes["ts"] = np.where(told["ts_event"] > 0, told["ts_event"], told["ts_recv"])
    quotes["bid"], quotes["ask"] = counts(told["f0"], tick_size), counts(told["f1"], tick_size)
    quotes["bid_lots"], quotes["ask_lots"] = (
        counts(told["f2"], lot_size),
        counts(told["f3"], lot_size),
    )
    traded = rows[(rows["kind"] == Kind.TRADE) & (rows["flags"] & OFF_MARKET == 0)]
    trades = np.empty(len(traded), TRADES)
    trades["ts"] = np.where(traded["ts_event"] > 0, traded["ts_event"], traded["ts_recv"])
    trades["price"] = counts(traded["f0"], tick_size)
    trades["lots"] = counts(traded["f1"], lot_size)
    trades["side"] = np.where(traded["side"] < 0, -1, 1)
    return Block(quotes, trades)


def _typical_lots(blocks: list[Block]) -> int:
    """Return the median size at the touch."""
    sizes = [block.quotes["bid_lots"] for block in blocks if len(block.quotes)]
    return max(1, int(np.median(np.concatenate(sizes)))) if sizes else 1


def _sorted(blocks: list[Block]) -> list[Block]:
    """Return all blocks as one, each kind in order of time."""
    quotes = np.concatenate([block.quotes for block in blocks])
    trades = np.concatenate([block.trades for block in blocks])
    return [
        Block(quotes[np.argsort(quotes["ts"], kind="stable")],
              trades[np.argsort(trades["ts"], kind="stable")])
    ]  # fmt: skip
