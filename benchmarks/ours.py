"""Our engine on the benchmark loads; prints one JSON object, as the peers' scripts do.

    python -m benchmarks.ours --mode model --batch 1024

Modes: noop (the engine without slots), features (ten features, read each 10th event), model (+ the
MLP, all advice below the threshold), trade (+ orders outside the band), force (+ an order after
each inference), depth (12 features at each packet of level-two rows), depth-noop. Everything from
`noop` on except `features` and the depth modes is a whole replay: run folder, audit with its
writer, paper matching. The time is that of the replay's loop, writer's thread included.
"""

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np

from benchmarks import tapes
from benchmarks.artifacts import MODEL_ID, VERSION, artifacts
from benchmarks.depth_features import CHECKED, DEPTH_SPEC
from benchmarks.proc_memory import rss_anon_mib
from benchmarks.tick_features import TICK_SPEC
from config.settings import (
    AssumedMarket,
    EngineSettings,
    ModelSettings,
    PaperVenue,
    Portfolio,
    RiskLimits,
    Settings,
    StrategySettings,
)
from engine.audit_layout import AUDIT, Record
from engine.kernel.layout import NEVER, WORD, Cadence, Reason
from engine.kernel.state import KernelState
from engine.run_files import AUDIT_RECORDS, Summary
from engine.tape import Tape
from features.spec import FeatureSpec

REPLAYS = ("noop", "model", "trade", "force")
COLLECTS = ("features", "depth", "depth-noop")
STRATEGIES = {"trade": "bench_band", "force": "bench_force"}
SHADOWS = 4
ALWAYS_BELOW = 1.0  # a confidence that the model never reaches
COLLECTED = 1024
WRITER_POLL_S = 0.0005
BIG = 1e9


def bench_settings(
    mode: str, batch: int, runs_dir: Path, block: int = 65_536, *, shadows: str = ""
) -> Settings:
    """Return settings whose limits never bind, with neither latency nor fees.

    `shadows` is the cadence of four more of the same model as shadows; empty: there are none.
    """
    strategies = (StrategySettings(name=STRATEGIES[mode]),) if mode in STRATEGIES else ()
    least = ALWAYS_BELOW if mode == "model" else 0.0
    model = ModelSettings(
        name="bench", model_id=MODEL_ID, version=VERSION, cadence="every_n:10", min_confidence=least
    )
    models = () if mode == "noop" else (model, *_shadows(model, shadows))
    return Settings(
        engine=EngineSettings(batch_rows=batch, block_rows=block),
        assumed=AssumedMarket(quote_size_notional=100_000.0, bar_spread_bps=1.0),
        paper=PaperVenue(
            maker_fee_bps=2.0,
            taker_fee_bps=5.0,
            order_latency_ms=0.0,
            cancel_latency_ms=0.0,
            decision_latency_ms=0.0,
        ),
        portfolio=Portfolio(balances={"USDT": "1000000000", "BTC": "100000", "ETH": "1000000"}),
        risk=RiskLimits(
            max_order_notional=BIG,
            max_position_notional=BIG,
            max_model_exposure=BIG,
            max_gross_exposure=BIG,
            max_price_deviation_pct=50.0,
            max_orders_per_s=BIG,
            max_open_orders=256,
            duplicate_window_ms=0.0,
            max_market_age_ms=1e9,
            max_signal_age_ms=1e9,
            max_daily_loss=BIG,
            max_drawdown_pct=100.0,
            allow_short=True,
        ),
        strategies=strategies,
        models=models,
        artifacts_dir=str(artifacts()),
        runs_dir=str(runs_dir),
    )


def _shadows(model: ModelSettings, cadence: str) -> tuple[ModelSettings, ...]:
    return tuple(
        msgspec.structs.replace(model, name=f"shadow{k}", cadence=cadence, mode="shadow")
        for k in range(SHADOWS if cadence else 0)
    )


def _clock_signals(pipeline: Any, taken: list[int]) -> None:
    """Write down how long each call of `on_signal` takes, less its strategy and the clocks."""
    inner, clock = pipeline.on_signal, time.perf_counter_ns
    own = min(-(clock() - clock()) for _ in range(1000))
    strategies = {id(s): s for slot in pipeline.slots for s in slot.strategies}.values()
    spent, shell = [0], 0

    def clocked(decide: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed(view: Any) -> Any:
            started = clock()
            intents = decide(view)
            spent[0] += clock() - started + own + shell
            return intents

        return timed

    shell = _shell_ns(clocked(lambda _: ()), spent)

    for strategy in strategies:
        strategy.decide = clocked(strategy.decide)

    def on_signal() -> None:
        spent[0] = 0
        started = clock()
        inner()
        taken.append(clock() - started - own - spent[0])

    pipeline.on_signal = on_signal
    pipeline.actions = tuple(
        (bit, on_signal if action == inner else action) for bit, action in pipeline.actions
    )


def _shell_ns(timed: Callable[[Any], Any], spent: list[int]) -> int:
    """Return what calling a clocked function costs beyond what it counts itself, in ns."""
    clock, found = time.perf_counter_ns, []
    for _ in range(1000):
        spent[0] = 0
        started = clock()
        timed(None)
        found.append(clock() - started - spent[0])
    return max(0, min(found))


def replay_once(
    mode: str,
    folder: Path,
    batch: int,
    *,
    block: int = 65_536,
    progress: Callable[[int, int, int], None] | None = None,
    taken: list[int] | None = None,
    shadows: str = "",
) -> dict[str, Any]:
    """Replay a tape through the whole engine; the run folder is read and removed.

    `taken` gets the ns that each piece of advice took between two kernel calls, strategy left out.

    Returns:
        wall_s, cpu_s of the loop and of closing the audit, checksum (sum of p_buy), orders, digest.
    """
    from app import replay as module
    from benchmarks import traders  # noqa: F401  registers the strategies

    runs_dir = Path(tempfile.mkdtemp(prefix="tickgate-bench-"))
    timed: dict[str, float] = {}
    inner = module._run

    def clocked(*given: Any) -> float:
        if taken is not None:
            _clock_signals(given[0].pipeline, taken)
        gc.collect()
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        took = inner(*given)
        parts = given[0]
        parts.pipeline.on_flush()
        while parts.audit.records < int(parts.state.root[0]["audit_seq"]):
            time.sleep(WRITER_POLL_S)  # the writer's work belongs to the run
        timed["wall_s"] = time.perf_counter() - wall
        timed["cpu_s"] = time.process_time() - cpu
        timed["rss_anon_mib"] = rss_anon_mib()
        return took

    module._run = clocked
    try:
        settings = bench_settings(mode, batch, runs_dir, block, shadows=shadows)
        tape = Tape.open(folder)
        job = module.Replay(tape=tape, settings=settings, report=False, progress=progress)
        summary = module.replay(job)
        records = np.fromfile(Path(summary.run_dir) / AUDIT_RECORDS, AUDIT)
    finally:
        module._run = inner
        gc.unfreeze()
        shutil.rmtree(runs_dir, ignore_errors=True)
    return {**timed, **_result(summary, records)}


def _result(summary: Summary, records: np.ndarray) -> dict[str, Any]:
    """Return what a replay did, by which its work is checked."""
    decided = records[records["kind"] == int(Record.DECISION)]
    return {
        "events": summary.events,
        "checksum": float(decided["f2"].sum()),
        "inferences": len(decided),
        "orders": summary.orders,
        "fills": summary.fills,
        "blocked": summary.blocked,
        "digest": summary.decision_digest,
        "records": len(records),
        "kernel_calls": summary.kernel_calls,
    }


class Collector:
    """The kernel over a tape with orders off, keeping a feature row at each wanted event."""

    def __init__(self, folder: Path, spec: FeatureSpec, cadence: Cadence, number: int) -> None:
        """Compile and map; nothing is applied yet. A spec of no features keeps no rows."""
        from app.kernel import load_kernel
        from app.rules import kernel_rules

        self.tape = Tape.open(folder)
        self.spec, self.cadence, self.number = spec, cadence, number
        self.kernel = load_kernel([spec] if len(spec) else [])
        self.rules = kernel_rules(bench_settings("noop", 1, Path(".")), True)

    def _state(self) -> KernelState:
        instruments = self.tape.instruments
        slots = len(instruments) if len(self.spec) else 0
        state = KernelState(instruments, slots, self.kernel.features, self.rules, COLLECTED)
        x = np.zeros((1, max(2, len(self.spec))), np.float32)
        y = np.zeros((1, 3), np.float32)
        for at in range(slots):
            given = {"instrument": at, "cadence": int(self.cadence), "cadence_n": self.number}
            state.set_slot(at, given, x[:, : len(self.spec)], y)
        state.root["needs_levels"] = self.kernel.needs_levels
        state.root["ahead"] = 1
        state.root["next_sample"] = NEVER
        state.root["sample_ns"] = NEVER // 4
        self.kernel.start(state.address)
        return state

    def run(self, columns: tuple[int, ...] = ()) -> dict[str, Any]:
        """Go over the tape once; sum up the given columns of the feature rows, untimed."""
        state = self._state()
        root, advance = state.root[0], self.kernel.advance
        full, head = int(Reason.BATCH), int(Reason.HEAD)
        checksum, count, checking = 0.0, 0, 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        for segment in self.tape.segments:
            while state.words[WORD["cursor"]] < segment.stop_row:
                stop = min(segment.stop_row, state.words[WORD["cursor"]] + 65_536)
                reasons = advance(state.address, segment.address, segment.first_row, stop)
                if columns and reasons & (full | head):
                    paused = time.process_time()
                    kept = state.collect_x[: int(root["collect_count"]), list(columns)]
                    checksum += float(kept.astype(np.float64).sum())
                    count += len(kept)
                    checking += time.process_time() - paused
                if reasons & (full | head):
                    root["collect_count"] = 0
        took = time.process_time() - cpu - checking
        return {
            "wall_s": time.perf_counter() - wall - checking,
            "cpu_s": took,
            "events": self.tape.info.rows,
            "checksum": checksum,
            "wakes": count,
        }


def collect_once(mode: str, folder: Path) -> dict[str, Any]:
    """Run the kernel alone in one of the COLLECTS modes; the checked run comes first, untimed."""
    if mode == "features":
        collector, columns = Collector(folder, TICK_SPEC, Cadence.EVERY_N, 10), (1,)
    elif mode == "depth":
        collector, columns = Collector(folder, DEPTH_SPEC, Cadence.PACKET, 0), CHECKED
    else:
        collector, columns = Collector(folder, FeatureSpec(()), Cadence.PACKET, 0), ()
    checked = collector.run(columns)
    return {**collector.run(), "checksum": checked["checksum"], "wakes": checked["wakes"]}


def run(mode: str, n: int, batch: int) -> dict[str, Any]:
    """Run one mode once."""
    folder = tapes.depth_tape(n) if mode.startswith("depth") else tapes.tick_tape(n)
    return collect_once(mode, folder) if mode in COLLECTS else replay_once(mode, folder, batch)


def main() -> int:
    """Parse the command line, warm up, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=(*REPLAYS, *COLLECTS), default="model")
    parser.add_argument("--n", type=int, default=0, help="events; 0 takes the published number")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    n = given.n or (2_000_000 if given.mode.startswith("depth") else 200_000)
    runs = [run(given.mode, n, given.batch) for _ in range(given.repeats + 1)][1:]
    best = min(runs, key=lambda found: found["cpu_s"])
    digests = {found.get("digest", "") for found in runs}
    assert len(digests) == 1, f"one replay, several digests: {digests}"
    out = {
        "peer": "tickgate",
        "mode": given.mode,
        **best,
        "wall_s": [found["wall_s"] for found in runs],
        "events_per_s": best["events"] / min(found["wall_s"] for found in runs),
        "cpu_us_per_event": best["cpu_s"] / best["events"] * 1e6,
    }
    print(json.dumps(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
