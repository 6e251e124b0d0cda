"""A planted mismatch between somebody's matrix and the kernel's is named as what it is."""

import numpy as np
import pytest

from ml.adoption import CAUSES, Finding, Pairing, compare, pair
from ml.column_names import feature_of, map_columns

NAMES = ("rsi_14", "returns_1", "momentum_10")
N = 400


@pytest.fixture
def kernel():
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.normal(size=(N, 3)), axis=0) * (1.0, 0.001, 3.0) + (50, 0, -7)
    x[:15] = np.nan
    return x


def examined(kernel, changes, rows=slice(None)) -> dict[str, Finding]:
    """Compare a matrix that is the kernel's but for `changes`: feature -> its column."""
    columns = {name: kernel[:, k].copy() for k, name in enumerate(NAMES)} | changes
    columns = {name: values[rows] for name, values in columns.items()}
    at = np.arange(N)[rows]
    found = compare(columns, {name: name for name in NAMES}, Pairing(kernel, NAMES, at))
    assert all(finding.cause in CAUSES for finding in found)
    return {finding.column: finding for finding in found}


def moved(values, k):
    out = np.full(len(values), np.nan)
    out[max(k, 0) : len(values) + min(k, 0)] = values[max(-k, 0) : len(values) - max(k, 0)]
    return out


def test_what_is_equal_agrees_also_after_float32_and_a_cut(kernel):
    changes = {name: kernel[:, k].astype(np.float32) for k, name in enumerate(NAMES)}
    found = examined(kernel, changes, slice(40, 300))
    assert all(finding.agrees and finding.first_row == -1 for finding in found.values())


@pytest.mark.parametrize(("k", "cause"), [(1, "behind"), (3, "behind"), (-1, "ahead")])
def test_a_shifted_column_is_named_with_its_shift(kernel, k, cause):
    found = examined(kernel, {"returns_1": moved(kernel[:, 1], k)})
    assert (found["returns_1"].cause, found["returns_1"].shift) == (cause, -k)
    assert found["rsi_14"].agrees and found["momentum_10"].agrees
    assert ("look-ahead" in found["returns_1"].text) == (cause == "ahead")


def test_a_swapped_pair_is_named(kernel):
    found = examined(kernel, {"rsi_14": kernel[:, 2], "momentum_10": kernel[:, 0]})
    assert found["rsi_14"].cause == found["momentum_10"].cause == "swapped"
    assert "momentum_10 holds rsi_14" in found["rsi_14"].text
    assert found["returns_1"].agrees


def test_a_column_with_anothers_values_is_named(kernel):
    found = examined(kernel, {"rsi_14": kernel[:, 2]})
    assert found["rsi_14"].cause == "other_feature"
    assert "--map rsi_14=momentum_10" in found["rsi_14"].text


def test_another_seed_dies_away_and_is_named_with_its_span(kernel):
    keep = 1 - 2 / (9 + 1)
    gap = 5.0 * keep ** np.arange(N)
    found = examined(kernel, {"rsi_14": kernel[:, 0] + gap * keep**-15})["rsi_14"]
    assert (found.cause, found.first_row) == ("seed", 15)
    assert "span 9" in found.text
    assert "gone after" in found.text


@pytest.mark.parametrize(("factor", "offset"), [(100.0, 0.0), (-1.0, 0.0), (0.5, 3.0)])
def test_a_factor_and_an_offset_are_named(kernel, factor, offset):
    found = examined(kernel, {"momentum_10": kernel[:, 2] * factor + offset})["momentum_10"]
    assert found.cause == "scaled"
    assert f"{factor:g} times" in found.text
    assert ("normalised?" in found.text) == (offset != 0)


def test_rounding_is_named(kernel):
    found = examined(kernel, {"rsi_14": np.round(kernel[:, 0], 1)})["rsi_14"]
    assert found.cause == "rounded"
    assert "1 decimals" in found.text


def test_some_wrong_rows_are_counted_and_the_first_is_shown(kernel):
    wrong = kernel[:, 0].copy()
    wrong[[100, 200, 201]] += 4.0
    found = examined(kernel, {"rsi_14": wrong})["rsi_14"]
    assert (found.cause, found.first_row, found.largest) == ("some_rows", 100, pytest.approx(4.0))
    assert "3 rows" in found.text
    wrong = kernel[:, 0].copy()
    wrong[50] = np.nan
    found = examined(kernel, {"rsi_14": wrong})["rsi_14"]
    assert (found.cause, found.first_row) == ("some_rows", 50)


def test_another_formula_is_called_that(kernel):
    rng = np.random.default_rng(9)
    found = examined(kernel, {"rsi_14": np.cumsum(rng.normal(size=N))})["rsi_14"]
    assert found.cause == "differs"
    assert "correlation" in found.text


def test_rows_of_another_time_have_no_pair(kernel):
    found = examined(kernel, {}, slice(0, 10))
    assert all(finding.cause == "blind" for finding in found.values())


def test_rows_are_paired_by_equal_time_or_by_the_last_before():
    kernel_ts = np.array([10, 20, 20, 30])
    assert pair(np.array([5, 10, 15, 20, 99]), kernel_ts, exact=True).tolist() == [-1, 0, -1, 2, -1]
    assert pair(np.array([5, 10, 15, 20, 99]), kernel_ts, exact=False).tolist() == [-1, 0, 0, 2, 3]
    assert pair(np.array([5]), kernel_ts[:0], exact=False).tolist() == [-1]


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("RSI_14", "rsi_14"),
        ("rsi", "rsi_14"),
        ("RSI21", "rsi_21"),
        ("log_return_5", "returns_5"),
        ("Momentum.10", "momentum_10"),
        ("feat_stoch_K", "stoch_k"),
        ("bollingerWidth", "bb_width"),
        ("close_vs_ema_21", "price_vs_ema_21"),
        ("twitter_mood", ""),
    ],
)
def test_usual_names_are_understood(name, feature):
    assert feature_of(name) == feature


def test_what_the_user_says_goes_first():
    found = map_columns(["a", "rsi"], {"a": "momentum_10", "rsi": "rsi_7"})
    assert found == {"a": "momentum_10", "rsi": "rsi_7"}
