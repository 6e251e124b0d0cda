"""Rows that the trading kernel collects equal those of features/batch.py, bit for bit."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.collect import collect_rows
from config.load import load_settings
from engine.instruments import Instrument
from engine.tape import Tape, TapeWriter
from features.batch import batch_features, merge_rows, quote_rows, trade_rows
from features.spec import FeatureSpec
from tests.features.harness import random_quotes

SPEC = FeatureSpec(
    (
        ("rsi_7", {}),
        ("trade_imbalance", {}),
        ("microprice", {}),
        ("order_flow_imbalance_1s", {}),
        ("mid_price_velocity_5s", {}),
        ("time_since_quote", {}),
        ("pair_zscore_20", {}),
    )
)
WHAT = Instrument(
    venue="test", symbol="AUSD", base="A", quote="USD", tick="0.01", lot="0.01",
    has=("quotes", "quote_sizes", "trades", "trade_sides"),
)  # fmt: skip


PEER = msgspec.structs.replace(WHAT, symbol="BUSD", has=("quotes", "quote_sizes"))


def market(n: int = 12_000) -> np.ndarray:
    """Make rows of both instruments, the peer's quotes a little after the other's."""
    draw = np.random.default_rng(1)
    peer = random_quotes(draw, n, mean_ns=3e8)
    peer_rows = quote_rows({**peer, "ts_event": peer["ts"] + 7})
    peer_rows["instrument"] = 1
    quotes = random_quotes(draw, n, mean_ns=3e8)
    at = np.sort(draw.integers(0, n, n // 2))
    trades = {
        "ts_event": quotes["ts"][at],
        "price": quotes["bid"][at],
        "size": draw.integers(1, 99, n // 2) / 10.0,
        "side": draw.choice([-1, 1], n // 2),
    }
    rows = quote_rows({**quotes, "ts_event": quotes["ts"]})
    return merge_rows(rows, trade_rows(trades), peer_rows)


@pytest.mark.slow  # compiles a whole kernel of its own: a minute of processor time
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("cadence", "after"), [("quote", "quote"), ("bar:1m", "bar")])
def test_the_trading_kernel_and_the_batch_give_the_same_rows(
    tmp_path: Path, cadence: str, after: str
) -> None:
    rows = market()
    writer = TapeWriter(tmp_path / "tape", (WHAT, PEER))
    writer.append(rows)
    writer.close()
    settings = load_settings(None)
    engine = msgspec.structs.replace(settings.engine, pairs={"AUSD": "BUSD"})
    settings = msgspec.structs.replace(settings, engine=engine)
    found = collect_rows(Tape.open(tmp_path / "tape"), SPEC, cadence, settings)
    block = batch_features(
        SPEC, rows, instrument=WHAT, after=after, peer=PEER,
        bar_grace_ms=settings.engine.bar_grace_ms,
    )  # fmt: skip
    by_place = {
        (int(ts), int(row) if after == "quote" else 0): k
        for k, (ts, row) in enumerate(zip(block.ts, block.row))
    }
    matched = 0
    for k in range(len(found.ts)):
        place = by_place[int(found.ts[k]), int(found.row[k]) if after == "quote" else 0]
        assert found.x[k].tobytes() == block.x[place].tobytes()
        assert found.valid[k] == block.valid[place]
        matched += 1
    assert matched > 0.9 * len(block.ts)
    assert (found.instrument == 0).all()  # the other has no trades: features are absent
    assert found.valid.sum() > (1000 if after == "quote" else 20)
