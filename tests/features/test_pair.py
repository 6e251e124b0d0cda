"""Two instruments on one tape: pairs by the bars' time, whatever stands first on the tape."""

import msgspec
import numpy as np
import pytest

from engine.kernel.state import KernelRules, KernelState
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from features.batch import DEMO, FeatureBlock, bar_rows, batch_features, merge_rows, quote_rows
from features.calculator import FeatureCalculator
from features.registry import absent_features, reads_peer, required_inputs
from features.spec import FeatureSpec
from references.bars_more import ON_BARS as MORE
from tests.features.harness import MINUTE, START, random_bars

SPAN = 10
NAMES = ("pair_correlation_10", "pair_zscore_10", "relative_strength_10", "returns_1")
SPEC = FeatureSpec(tuple((name, {}) for name in NAMES))
A = msgspec.structs.replace(DEMO, symbol="AUSD")
B = msgspec.structs.replace(DEMO, symbol="BUSD")
BARS = random_bars(np.random.default_rng(1), 200)


def rows_of(keep: np.ndarray, keep_peer: np.ndarray, peer_first: bool) -> np.ndarray:
    """Make the bars of both instruments; rows of one time stand in the order that is asked."""
    opened = START + np.arange(200) * MINUTE
    own = bar_rows({**{k: BARS[k][keep] for k in BARS}, "ts_event": opened[keep]})
    flat = dict.fromkeys(("open", "high", "low", "close"), BARS["peer"][keep_peer])
    volume = np.ones(int(keep_peer.sum()))
    peer = bar_rows({**flat, "volume": volume, "ts_event": opened[keep_peer]})
    peer["instrument"] = 1
    return merge_rows(peer, own) if peer_first else merge_rows(own, peer)


def block(rows: np.ndarray) -> FeatureBlock:
    return batch_features(SPEC, rows, instrument=A, peer=B)


EVERY = np.ones(200, bool)


def expected(bars: dict[str, np.ndarray]) -> np.ndarray:
    names = ("pair_correlation_{span}", "pair_zscore_{span}", "relative_strength_{span}")
    return np.stack([MORE[name](bars, {"span": SPAN}) for name in names], axis=1)


def test_pairs_are_those_of_the_reference() -> None:
    found = block(rows_of(EVERY, EVERY, peer_first=True))
    assert len(found.x) == 200
    np.testing.assert_allclose(found.x[:, :3], expected(BARS), rtol=2e-6, atol=1e-6)
    assert found.valid.sum() == 200 - SPAN


def test_where_the_own_bar_comes_first_the_pair_is_seen_with_the_next_one() -> None:
    first = block(rows_of(EVERY, EVERY, peer_first=True))
    late = block(rows_of(EVERY, EVERY, peer_first=False))
    assert late.x[1:, :3].tobytes() == first.x[:-1, :3].tobytes()
    assert late.x[:, 3].tobytes() == first.x[:, 3].tobytes()


def test_a_minute_that_one_of_them_lacks_makes_no_pair() -> None:
    keep, keep_peer = EVERY.copy(), EVERY.copy()
    keep[[50, 51, 90]] = False
    keep_peer[[70, 90, 120]] = False
    found = block(rows_of(keep, keep_peer, peer_first=True))
    both = keep & keep_peer
    wanted = expected({name: BARS[name][both] for name in BARS})
    at = np.flatnonzero(keep_peer[keep])
    np.testing.assert_allclose(found.x[at, :3], wanted, rtol=2e-6, atol=1e-6)
    alone = np.flatnonzero(~keep_peer[keep])
    assert found.x[alone, :3].tobytes() == found.x[alone - 1, :3].tobytes()  # the last pair's


def test_a_gap_of_the_peer_starts_the_pairs_anew() -> None:
    plain = rows_of(EVERY, EVERY, peer_first=True)
    at = 2 * 100
    words = plain.view(np.uint8).reshape(-1, ROW_BYTES)
    rows = np.concatenate([words[:at], words[at : at + 1], words[at:]]).view(ROW).ravel()
    rows["kind"][at], rows["flags"][at], rows["i2"][at] = Kind.GAP, LAST, 0
    rows["instrument"][at] = 1
    found = block(rows)
    assert found.valid[99]
    assert not found.valid[100 : 100 + SPAN].any()
    assert found.valid[100 + SPAN :].all()
    assert np.isfinite(found.x[100:, 3]).all()  # the own features go on


def test_bars_that_the_clock_closes_are_paired_before_a_row_is_written() -> None:
    """Quotes of both: the order of the instruments and of their rows does not matter."""
    draw = np.random.default_rng(3)
    ts = START + np.arange(40_000) * 300_000_000
    tapes = []
    mids = 100.0 * np.exp(np.cumsum(draw.normal(0, 1e-5, (2, len(ts))), axis=1))
    for late in (0, 1):
        parts = []
        for k in range(2):
            stamps = {"ts_event": ts + 1000 * (k == late)}
            part = quote_rows({**stamps, "bid": mids[k] - 0.01, "ask": mids[k] + 0.01})
            part["instrument"] = k
            parts.append(part)
        tapes.append(merge_rows(*parts))
    quoted = [msgspec.structs.replace(x, has=("quotes",), bar_interval_ns=0) for x in (A, B)]
    one, other = (
        batch_features(SPEC, rows, instrument=quoted[0], peer=quoted[1]) for rows in tapes
    )
    assert one.valid.sum() > 150
    assert one.x.tobytes() == other.x.tobytes()


def test_history_that_comes_instrument_by_instrument_makes_pairs() -> None:
    """The last bars of one wait for the other's: what follows is warm at once."""
    rows = rows_of(EVERY, EVERY, peer_first=True)
    past = rows["ts_event"] < START + 150 * MINUTE
    words = rows.view(np.uint8).reshape(-1, ROW_BYTES)
    own = rows["instrument"] == 0
    order = [words[past & own], words[past & ~own], words[~past]]
    found = block(np.concatenate(order).view(ROW).ravel())
    wanted = block(rows)
    np.testing.assert_allclose(found.x[150:], wanted.x[150:], rtol=1e-6)
    assert found.valid[150:].all()


def test_row_by_row_equals_batch() -> None:
    rows = rows_of(EVERY, EVERY, peer_first=True)
    found = block(rows)
    calculator, x = FeatureCalculator(SPEC, A, peer=B), np.zeros(4, np.float32)
    seen = []
    for row in rows:
        calculator.on_tick(row)
        calculator.fill_feature_vector(x)
        if row["instrument"] == 0:
            seen.append(x.copy())
    assert np.array(seen).tobytes() == found.x.tobytes()


def test_what_a_pair_needs_is_named() -> None:
    assert required_inputs(SPEC) == {"bars"}
    assert reads_peer([SPEC])
    assert absent_features(SPEC, {"bars"}) == dict.fromkeys(NAMES[:3], ("peer_bars",))
    assert absent_features(SPEC, {"bars", "peer_bars"}) == {}


@pytest.mark.parametrize("pairs", [(("AUSD", "BUSD"),), (("AUSD", "ZUSD"), ("AUSD", "BUSD"))])
def test_the_kernel_is_told_who_is_paired_with_whom(pairs: tuple[tuple[str, str], ...]) -> None:
    rules = KernelRules(
        implied_wakes=True, bar_interval_ns=MINUTE, bar_grace_ns=0, max_data_age_ns=1, max_jump=0.1,
        jump_confirmations=1, trigger_confirmations=1, sample_ns=1, assumed_notional=0.0,
        half_spread=0.0, pairs=pairs,
    )  # fmt: skip
    state = KernelState([A, B], 0, np.dtype([("unused", "i8")]), rules)
    assert state.markets["peer"].tolist() == [2, 0]
    assert state.root["paired"][0] == 1
