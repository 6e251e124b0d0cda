"""What the independent versions say where numbers are flat, few or tied."""

import numpy as np
import pytest

from app.feature_references import differing
from references.bars import signed_share, vpin
from references.registry import on_bars, on_levels, on_ticks

P = {"mode": "bulk", "buckets": 5, "bucket_bars": 1.0, "span": 10, "sigma_span": 10}


def bars(volume: np.ndarray, seed: int = 1) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0, 1e-3, len(volume))))
    return {"close": close, "volume": volume}


@pytest.mark.parametrize("volume", [7.0, 0.1, 1.386715])
def test_where_each_bar_is_a_bucket_vpin_is_the_mean_share(volume: float) -> None:
    b = bars(np.full(200, volume))
    share = np.abs(signed_share(b, "bulk", P["sigma_span"]))
    wanted = np.convolve(share, np.full(5, 0.2), "valid")[20:]
    np.testing.assert_allclose(vpin(b, P)[24:], wanted, rtol=1e-9)


@pytest.mark.parametrize("name", ["bb_position", "regression_r2_{span}", "volume_zscore"])
def test_a_flat_window_is_exactly_flat(name: str) -> None:
    flat = np.full(60, 1.386715)  # no short binary fraction
    b = {"close": flat, "volume": flat, "high": flat, "low": flat, "open": flat}
    params = {"span": 20, "width": 2.0}
    wanted = {"bb_position": 0.5, "regression_r2_{span}": 0.0, "volume_zscore": 0.0}[name]
    assert (on_bars()[name](b, params)[20:] == wanted).all()


def test_nan_must_agree_and_infinite_is_no_value() -> None:
    ours = np.float32([1.0, 2.0, np.nan, np.nan, 3.0])
    theirs = np.array([np.inf, 2.0, np.nan, 1.0, np.nan])
    assert differing(ours, theirs).tolist() == [True, False, False, True, True]


def test_four_places_are_allowed_and_five_are_not() -> None:
    one = np.float32(0.7)
    step = float(np.spacing(one))
    theirs = np.array([float(one) + 4 * step, float(one) + 5 * step])
    assert differing(np.float32([one, one]), theirs).tolist() == [False, True]


def test_no_feature_stands_in_two_tables() -> None:
    names = [*on_bars(), *on_ticks(), *on_levels()]
    assert len(names) == len(set(names))
