"""Measures whole replays beside the floor of replay, beside the peers where they are installed."""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ours, peer_models, tapes, ticks
from benchmarks.bars import Figure
from benchmarks.floor_replay import Floor
from benchmarks.peer_venvs import HFTBACKTEST, NAUTILUS_1, NAUTILUS_2, Peer
from benchmarks.peers import DEPTH_SUM, IMBALANCES, PROBABILITIES, TOLERANCE, peer_command, run_json
from engine.audit_layout import AUDIT
from engine.errors import RunError
from engine.tape import Tape

TICKS, DEPTH_ROWS = 200_000, 2_000_000
RECORDS, BUFFER = 200_000, 7_168
ROW_BAR, BATCH_BAR, ORDER_BAR, DEPTH_BAR = 12.0, 30.0, 15.0, 2.0
PER_EVENT_US = {"cpu": "cpu_s", "wall": "wall_s"}


class Turns:
    """The cases of one table, each run in turns; keeps the smallest CPU time per event."""

    def __init__(self) -> None:
        self.best: dict[str, dict[str, Any]] = {}
        self.times: dict[str, list[float]] = {}

    def add(self, name: str, found: dict[str, Any]) -> None:
        """Keep a run's result; `cpu_ns` is CPU time per event."""
        self.times.setdefault(name, []).append(found["cpu_ns"])
        known = self.best.get(name)
        if known is None or found["cpu_ns"] < known["cpu_ns"]:
            self.best[name] = found
        if known is not None and known.get("digest") != found.get("digest"):
            raise RunError(f"{name}: two replays of one tape gave two digests")

    def ns(self, name: str) -> float:
        """Return the smallest CPU time per event."""
        return float(self.best[name]["cpu_ns"])

    def spread(self, name: str) -> str:
        """Return `min / median` in ns."""
        times = self.times[name]
        return f"{min(times):,.0f} / {statistics.median(times):,.0f} ns"


def _ours(mode: str, batch: int = 1) -> dict[str, Any]:
    found = ours.run(mode, DEPTH_ROWS if mode.startswith("depth") else TICKS, batch)
    return {**found, "cpu_ns": found["cpu_s"] / found["events"] * 1e9}


def _peer(peer: Peer, arguments: list[str]) -> dict[str, Any]:
    found = run_json(peer_command(peer, arguments))
    return {**found, "cpu_ns": found["cpu_us_per_event"] * 1e3}


def _floor(floor: Floor, name: str) -> dict[str, Any]:
    work = {"features": floor.features, "row": floor.row_by_row, "batch": floor.batch_ahead}[name]
    cpu = time.process_time()
    events = work()
    return {"cpu_ns": (time.process_time() - cpu) / events * 1e9}


def run_turns(rounds: int) -> tuple[Turns, str]:
    """Run floors, engine and installed peers in turns; return the times and the peers' names."""
    folder = tapes.tick_tape(TICKS)
    rows = np.ascontiguousarray(Tape.open(folder).segments[0].rows)
    grid = tuple(listing.tick for listing in ticks.LISTINGS)
    floor = Floor(rows, grid, peer_models.make_all()["mlp"])
    turns = Turns()
    nautilus = next((p for p in (NAUTILUS_2, NAUTILUS_1) if p.installed), None)
    for k in range(rounds + 1):
        found = {f"floor {name}": _floor(floor, name) for name in ("features", "row", "batch")}
        found |= {mode: _ours(mode) for mode in ("noop", "features", "model", "force", "depth")}
        found["batch"] = _ours("model", 1024)
        if nautilus is not None:
            found |= {f"peer {m}": _peer(nautilus, ["--mode", m]) for m in ("model", "force")}
        if HFTBACKTEST.installed:
            found["peer depth"] = _peer(HFTBACKTEST, ["--mode", "features"])
        if k > 0:  # the first turn compiles and warms up
            for name, result in found.items():
                turns.add(name, result)
    names = [f"{p.name} {p.version}" for p in (nautilus, HFTBACKTEST) if p and p.installed]
    check(turns)
    return turns, " and ".join(names) or "none installed: run make bench-peers once"


def check(turns: Turns) -> None:
    """Compare checksums, orders and digests with what is known.

    Raises:
        RunError: something differs: the times would be those of other work.
    """
    wanted = {"features": IMBALANCES, "model": PROBABILITIES, "batch": PROBABILITIES}
    wanted |= {"force": PROBABILITIES, "depth": DEPTH_SUM}
    for name, value in wanted.items():
        if abs(turns.best[name]["checksum"] - value) > TOLERANCE:
            raise RunError(f"{name}: checksum {turns.best[name]['checksum']}, expected {value}")
    if turns.best["force"]["orders"] != TICKS // 10:
        raise RunError(f"force: {turns.best['force']['orders']} orders, expected {TICKS // 10}")
    if turns.best["model"]["digest"] != turns.best["batch"]["digest"]:
        raise RunError("row by row and batch ahead gave two digests")


def replays(rounds: int) -> list[Figure]:
    """Measure replay without model, row by row, batch ahead, with orders, and with depth."""
    turns, peers = run_turns(rounds)
    ns = turns.ns
    figures = [
        Figure(
            "replay, ten features, no model",
            ns("features"),
            ns("floor features"),
            ns("features") / ns("floor features"),
            2.25,
            "ns",
            f"hand loop; no features {ns('noop'):.0f} ns an event",
        ),
        Figure(
            "replay, MLP each 10th, row by row",
            ns("model"),
            ns("floor row"),
            ns("model") / ns("floor row"),
            1.25,
            "ns",
            "hand loop + bound MLP; audit and its writer are in ours",
        ),
        Figure(
            "replay, MLP each 10th, batch ahead",
            ns("batch"),
            ns("floor batch"),
            ns("batch") / ns("floor batch"),
            6.0,
            "ns",
            "hand loop + batches of 1024, no second market, no audit",
        ),
        _outside(turns),
    ]
    for name, work, bar, against in (
        ("MLP row by row against NautilusTrader", "model", ROW_BAR, "peer model"),
        ("MLP batch ahead against NautilusTrader", "batch", BATCH_BAR, "peer model"),
        ("order after each inference, same peer", "force", ORDER_BAR, "peer force"),
        ("depth, 12 features, against hftbacktest", "depth", DEPTH_BAR, "peer depth"),
    ):
        if against in turns.best:
            ratio = ns(against) / ns(work)
            note = f"{turns.spread(work)} (min / median), {peers}"
            figures.append(
                Figure(name, ns(work), ns(against), ratio, bar, "ns", note, at_least=True)
            )
    if not any(name.startswith("peer") for name in turns.best):
        print(f"peers: {peers}")
    return figures


def _outside(turns: Turns) -> Figure:
    """Return what a decision with an order costs outside decode, features and model."""
    order = (turns.ns("force") - turns.ns("model")) / 1e3 * 10
    return Figure(
        "order round trip: strategy, gate, books, fill",
        order,
        0.0,
        order,
        8.0,
        "us",
        "force less model, per order, 8 audit records and their writer in",
    )


def decisions(rounds: int) -> list[Figure]:
    """Measure a decision outside features, model and strategy: from advice to an order sent."""
    folder, best, digests = tapes.tick_tape(TICKS), np.inf, set()
    spread = ""
    for _ in range(rounds + 1):
        taken: list[int] = []
        digests.add(ours.replay_once("force", folder, 1, taken=taken)["digest"])
        values = np.array(taken)
        p50, p99 = (float(v) / 1e3 for v in np.percentile(values, (50, 99)))
        if p50 < best:
            best, spread = p50, f"p50 {p50:.2f}, p99 {p99:.2f} us of {len(values):,} orders"
    if len(digests) != 1:
        raise RunError(f"force: clocked replays gave {len(digests)} digests")
    note = f"signal, view, gate, books, ledger, 5 audit records, sent; {spread}"
    return [
        Figure(
            "a decision with an order, outside model and strategy", best, 0.0, best, 2.0, "us", note
        )
    ]


def audit(_rounds: int) -> list[Figure]:
    """Measure the audit: time on the hot thread per record, and whether the writer keeps up."""
    import shutil
    import tempfile

    from engine.audit import AuditWriter
    from engine.audit_layout import Record
    from engine.limits import AUDIT_BUFFER

    buffer = np.zeros(AUDIT_BUFFER, AUDIT)
    buffer["kind"] = int(Record.DECISION)
    best_hot, best_all = np.inf, np.inf
    for _ in range(5):
        folder = Path(tempfile.mkdtemp(prefix="tickgate-bench-"))
        try:
            writer = AuditWriter(folder, lambda _row: "0" * 64)
            cpu, hot, written = time.process_time(), 0.0, 0
            while written < RECORDS:
                buffer["seq"][:BUFFER] = np.arange(written, written + BUFFER)
                started = time.thread_time()
                buffer = writer.flush(buffer, BUFFER)
                hot += time.thread_time() - started
                buffer["kind"] = int(Record.DECISION)
                written += BUFFER
            writer.close()
            best_all = min(best_all, (time.process_time() - cpu) / written)
            best_hot = min(best_hot, hot / written)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return [
        Figure(
            "audit on the hot thread, per record",
            best_hot * 1e6,
            0.0,
            best_hot * 1e6,
            0.3,
            "us",
            "hand-over of full buffers; the kernel's own stores are in the replays",
        ),
        Figure(
            "audit with its writer, per record",
            best_all * 1e6,
            0.0,
            best_all * 1e6,
            1.0,
            "us",
            "hash chain, two digests, file: so it keeps up with a million records a second",
        ),
    ]


ALL = (replays, decisions, audit)
