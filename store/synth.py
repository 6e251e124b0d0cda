"""The seeded synthetic market: a data folder of quotes and trades, its own probabilities beside.

Everything made from it shows that the plumbing works, never that a model has skill. How it moves
stands in docs/synthetic_market.md; the event loop in synth_kernel.py, the truth in synth_truth.py.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.errors import UsageError
from store import synth_kernel as k
from store import synth_truth as truth
from store.synth_symbols import MAX_SYMBOLS, VENUE, SynthSymbol, synth_symbol

FORMAT = 1  # raised when the same parameters give other rows
BLOCK_ROWS = 1 << 17
DEFAULT_START_NS = 1_736_121_600 * k.NS_PER_S  # 2025-01-06 00:00 UTC, a Monday
DEFAULT_ROWS_PER_S = 4.0
SECOND_HORIZONS_S = (1, 5)
MINUTE_HORIZON = 15
MAX_HOURS = 24 * 366
STATEMENT = (
    "Synthetic market made by `lab.py data synth`. Whatever is trained on it, traded on it or "
    "measured on it shows that the plumbing works; it shows no skill on any real market."
)

Progress = Callable[[str, float], None]  # symbol, share done 0..1


class SynthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a synthetic market is a pure function of."""

    symbols: int
    hours: float
    seed: int
    predictability: float
    start_ns: int = DEFAULT_START_NS
    rows_per_s: float = DEFAULT_ROWS_PER_S  # about; quotes and trades of one instrument together

    def minutes(self) -> int:
        """Return the whole minutes generated."""
        return round(self.hours * 60.0)


def check_settings(settings: SynthSettings) -> None:
    """Refuse parameters out of range.

    Raises:
        UsageError: one line with the option, its value and what is allowed.
    """
    s = settings
    _allow("--symbols", s.symbols, 1 <= s.symbols <= MAX_SYMBOLS, f"1 to {MAX_SYMBOLS}")
    hours_ok = math.isfinite(s.hours) and 1.0 / 60.0 <= s.hours <= MAX_HOURS
    _allow("--hours", s.hours, hours_ok, f"1/60 (one minute) to {MAX_HOURS}")
    _allow("--seed", s.seed, 0 <= s.seed < 1 << 63, "0 to 2^63 - 1")
    share_ok = 0.0 <= s.predictability <= 1.0
    _allow("--predictability", s.predictability, share_ok, "0 (a martingale) to 1")
    rate_ok = math.isfinite(s.rows_per_s) and 1.0 <= s.rows_per_s <= 10_000.0
    _allow("--rows-per-s", s.rows_per_s, rate_ok, "1 to 10000")
    start_ok = 0 < s.start_ns < 1 << 62 and s.start_ns % k.NS_PER_MINUTE == 0
    _allow("--start", s.start_ns, start_ok, "a whole minute after 1970")


def _allow(option: str, value: object, ok: bool, allowed: str) -> None:
    """Raise the one line that names what is allowed, unless `ok`."""
    if not ok:
        raise UsageError(f"data synth: {option} {value} is not allowed; allowed is {allowed}")


class SynthBlock(msgspec.Struct):
    """Some minutes of one instrument, in ticks and lots (dtypes in synth_kernel.py)."""

    quotes: np.ndarray
    trades: np.ndarray
    seconds: np.ndarray
    minutes: np.ndarray


def new_state(settings: SynthSettings, index: int) -> np.ndarray:
    """Return the generator's SYNTH_STATE[1] of instrument `index`, before its first event."""
    symbol = synth_symbol(index)
    state = np.zeros(1, k.SYNTH_STATE)
    s = state[0]
    s["key"] = k.make_key(settings.seed, index + 1)
    s["market_key"] = k.make_key(settings.seed, 0)
    s["t"] = s["start"] = s["minute_end"] = s["next_second"] = settings.start_ns
    s["end"] = settings.start_ns + settings.minutes() * k.NS_PER_MINUTE
    s["predictability"] = settings.predictability
    set_rate(state, settings.rows_per_s)
    s["move_ticks"] = symbol.move_ticks
    s["bid"] = s["start_bid"] = symbol.start_bid_tick
    s["spread"] = 1
    s["touch_lots"] = symbol.touch_lots
    s["trade_lots"] = symbol.trade_lots
    s["step_lots"] = symbol.step_lots
    return state


def set_rate(state: np.ndarray, rows_per_s: float) -> None:
    """Set how many rows a second come from the state's next event on, about.

    About 1 + MOVE_WITH_TRADE rows a move and 0.4 of latent changes; the rest is shared so that a
    quarter of the events are trades (two rows each).
    """
    rest = max(0.2, rows_per_s - k.MOVE_RATE * (1.0 + k.MOVE_WITH_TRADE) - 0.4)
    state[0]["trade_rate"] = rest * 0.2
    state[0]["size_rate"] = rest * 0.6


def generate(
    settings: SynthSettings, index: int, block_rows: int = BLOCK_ROWS
) -> Iterator[SynthBlock]:
    """Yield the market of one instrument block by block.

    Args:
        settings: checked parameters.
        index: the instrument, 0 <= index < settings.symbols.
        block_rows: capacity of a block, at least 2; how rows are grouped changes no row.
    Yields:
        SynthBlock of arrays that the caller owns.
    """
    yield from generate_on(new_state(settings, index), block_rows)


def generate_on(state: np.ndarray, block_rows: int = BLOCK_ROWS) -> Iterator[SynthBlock]:
    """Yield the market from a state on, which moves along; another call goes on from there.

    Args:
        state: from `new_state`.
        block_rows: as in `generate`.
    Yields:
        SynthBlock of arrays that the caller owns.
    """
    shapes = (k.QUOTE_OUT, k.TRADE_OUT, k.SECOND_OUT, k.MINUTE_OUT)
    buffers = [np.empty(max(2, block_rows), dtype) for dtype in shapes]
    finished = 0
    while not finished:
        with np.errstate(over="ignore"):
            finished = k.fill_block(state, *buffers)
        s = state[0]
        counts = (s["quotes"], s["trades"], s["seconds"], s["minutes"])
        yield SynthBlock(*(b[:n].copy() for b, n in zip(buffers, counts, strict=True)))


class TruthTables:
    """The probability tables of one instrument; `rows` turns latent states into truth columns."""

    def __init__(self, predictability: float, symbol: SynthSymbol) -> None:
        self.law = truth.move_law(symbol.move_ticks)
        self.start_bid = symbol.start_bid_tick
        one = truth.second_table
        self.seconds = {h: one(predictability, self.law, float(h)) for h in SECOND_HORIZONS_S}
        self.minutes = truth.minute_table(predictability, self.law, MINUTE_HORIZON)

    def rows(self, block: SynthBlock) -> dict[str, np.ndarray]:
        """Return the truth of a block: ts, horizon_ns, flat_ticks, p_down, p_flat, p_up."""
        parts = []
        seconds = block.seconds
        for horizon, table in self.seconds.items():
            p = truth.second_probabilities(table, seconds["scale"], seconds["d"], seconds["fast"])
            band = np.full(len(p), float(truth.FLAT_TICKS))
            parts.append(self._part(seconds, horizon * k.NS_PER_S, band, p))
        minutes = block.minutes
        ahead = np.arange(MINUTE_HORIZON) * k.NS_PER_MINUTE
        active = np.array([np.mean([k.activity(t + a) for a in ahead]) for t in minutes["ts"]])
        p = truth.minute_probabilities(self.minutes, active, minutes["d"], minutes["h"])
        band = np.rint(truth.FLAT_MOVES * self.law.mean * minutes["bid"] / self.start_bid)
        parts.append(self._part(minutes, MINUTE_HORIZON * k.NS_PER_MINUTE, band, p))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.lexsort((columns["horizon_ns"], columns["ts"]))
        return {name: column[order] for name, column in columns.items()}

    @staticmethod
    def _part(
        states: np.ndarray, horizon_ns: int, flat_ticks: np.ndarray, p: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the truth columns of one horizon."""
        return {
            "ts": states["ts"].copy(),
            "horizon_ns": np.full(len(states), horizon_ns, np.int64),
            "flat_ticks": flat_ticks,
            "p_down": p[:, 0].astype(np.float32),
            "p_flat": p[:, 1].astype(np.float32),
            "p_up": p[:, 2].astype(np.float32),
        }


def write_market(
    settings: SynthSettings, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Generate the whole market into the data folder `out`, which appears complete or not at all.

    Args:
        settings: what to make; the same settings give the same bytes.
        out: folder to make; an existing one must be empty, or a former result with `overwrite`.
        progress: called with (symbol, share done) now and then.
    Returns:
        The manifest that is written to `out/manifest.json`.
    Raises:
        UsageError: a parameter out of range, or `out` cannot be used.
    """
    check_settings(settings)
    _check_out(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    former = out.parent / f".{out.name}.former-{os.getpid()}"
    try:
        manifest = _write_folder(settings, partial, progress)
        if out.exists():
            os.replace(out, former)
        os.replace(partial, out)
    finally:
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)
    return manifest


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds anything that would be lost."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"data synth: --out {out} is a file; name a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"data synth: --out {out} is not empty; name a new folder or --overwrite")
    if not _is_synthetic(out):
        raise UsageError(
            f"data synth: --out {out} was not made by data synth, so --overwrite leaves it alone"
        )


def _is_synthetic(folder: Path) -> bool:
    """Tell whether a folder is a former result, by its manifest."""
    try:
        return json.loads((folder / "manifest.json").read_text())["kind"] == "synthetic"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_folder(
    settings: SynthSettings, folder: Path, progress: Progress | None
) -> dict[str, Any]:
    """Write every instrument, the manifest and the README into a new folder."""
    from store.synth_parquet import write_symbol

    manifest: dict[str, Any] = {
        "kind": "synthetic",
        "format": FORMAT,
        "statement": STATEMENT,
        "settings": msgspec.to_builtins(settings),
        "truth_horizons_ns": [h * k.NS_PER_S for h in SECOND_HORIZONS_S]
        + [MINUTE_HORIZON * k.NS_PER_MINUTE],
        "symbols": {},
    }
    for index in range(settings.symbols):
        symbol = synth_symbol(index)
        target = folder / VENUE / symbol.symbol
        target.mkdir(parents=True)
        tables = TruthTables(settings.predictability, symbol)

        def report(ts: int, name: str = symbol.symbol) -> None:
            if progress is not None:
                progress(name, (ts - settings.start_ns) / (settings.minutes() * k.NS_PER_MINUTE))

        counts = write_symbol(target, symbol, generate(settings, index), tables.rows, report)
        instrument = msgspec.json.format(msgspec.json.encode(symbol.instrument()), indent=2)
        (target / "instrument.json").write_bytes(instrument + b"\n")
        manifest["symbols"][symbol.symbol] = counts
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (folder / "README.md").write_text(_readme(settings))
    return manifest


def _readme(settings: SynthSettings) -> str:
    """Return the README of a generated folder."""
    command = (
        f"python lab.py data synth --symbols {settings.symbols} --hours {settings.hours:g} "
        f"--seed {settings.seed} --predictability {settings.predictability:g} "
        f"--rows-per-s {settings.rows_per_s:g} --start {settings.start_ns} --out DIR"
    )
    return (
        f"# Synthetic market\n\n{STATEMENT}\n\n"
        f"Made by `{command}`; the same command gives the same bytes.\n"
        "`truth.parquet` of each instrument holds the generator's own probabilities of down, flat\n"
        "and up (displacement of the mid over `horizon_ns` against +-`flat_ticks` ticks): the\n"
        "ceiling of any skill. It is not market data; no run reads it.\n"
    )
