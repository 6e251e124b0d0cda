"""Look-ahead and recursion: planted cheats are caught and named, honest functions are not."""

import numpy as np
import pytest
from scipy.signal import lfilter

from app.feature_bias import MULTIPLES, SETTLED, Compute, look_ahead, recursion
from app.feature_functions import load_function, of_function, of_model
from engine.errors import UsageError
from engine.rows import Kind
from features.batch import bar_rows

N = 2_000
MINUTE = 60_000_000_000


def market(seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0, 1e-3, N)))
    flat = dict.fromkeys(("open", "high", "low", "close"), close)
    stamps = 1_700_000_040_000_000_000 + MINUTE * np.arange(N)
    return bar_rows({**flat, "ts_event": stamps, "volume": draw.random(N)})


def windows(x: np.ndarray, span: int) -> np.ndarray:
    view = np.lib.stride_tricks.sliding_window_view(x, span)
    return np.concatenate([np.full(span - 1, np.nan), view.mean(axis=1)])


def ewm(x: np.ndarray, alpha: float) -> np.ndarray:
    return lfilter([alpha], [1.0, alpha - 1.0], x, zi=[(1.0 - alpha) * x[0]])[0]


def honest(c: dict) -> dict:
    close = c["close"]
    return {
        "mean_20": close / windows(close, 20),
        "slow": close / ewm(close, 2.0 / 21.0),
        "return_1": np.concatenate([[np.nan], np.diff(np.log(close))]),
    }


def centred(close: np.ndarray) -> np.ndarray:
    """Return the mean of the 5 bars around each one: pandas' rolling(5, center=True)."""
    return np.concatenate([windows(close, 5)[2:], [np.nan, np.nan]])


CHEATS = {
    "span_maximum": lambda close: close / close.max(),
    "centred_window": centred,
    "shifted_label": lambda close: np.concatenate([close[1:] / close[:-1] - 1.0, [np.nan]]),
    "full_sample_score": lambda close: (close - close.mean()) / close.std(),
}


def bars(function) -> Compute:  # type: ignore[no-untyped-def]
    return of_function(function, Kind.BAR)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_named_with_its_first_row_and_both_values(name: str) -> None:
    cheat = CHEATS[name]
    rows = market()
    compute = bars(lambda c: {**honest(c), name: cheat(c["close"])})
    (found,) = look_ahead(compute, rows, cuts=10, draw=np.random.default_rng(3))
    assert found.feature == name
    whole = cheat(rows["f3"])
    assert found.whole == whole[found.row]
    assert found.ts == rows["ts_recv"][found.row]
    assert 0 <= found.row < found.cut
    if "cut off" in found.check:
        np.testing.assert_equal(found.other, cheat(rows["f3"][: found.cut])[found.row])
    if name == "shifted_label":
        assert found.row == found.cut - 1  # the one bar that looks at the first that was cut
    assert name in found.text()


@pytest.mark.parametrize("seed", range(3))
def test_what_only_looks_back_is_left_alone(seed: int) -> None:
    rows = market(seed)
    draw = np.random.default_rng(seed)
    assert look_ahead(bars(honest), rows, cuts=20, draw=draw) == []


def test_a_function_that_drops_rows_by_their_future_is_named() -> None:
    def sorts(c: dict) -> dict:
        return {"rank": np.argsort(np.argsort(c["close"])).astype(float)}

    (found,) = look_ahead(bars(sorts), market(), cuts=5, draw=np.random.default_rng(1))
    assert found.feature == "rank"


def test_a_recursion_that_never_warms_is_named() -> None:
    def endless(c: dict) -> dict:
        step = np.diff(c["close"], prepend=c["close"][0])
        return {**honest(c), "walk": np.cumsum(np.sign(step) * c["volume"])}  # OBV from the start

    found = recursion(bars(endless), market(), places=5, draw=np.random.default_rng(2), unit=20)
    settles = {one.feature: one.settles for one in found}
    assert settles == {"mean_20": True, "slow": True, "return_1": True, "walk": False}
    walk = found[-1]
    assert walk.example is not None
    assert walk.example.whole != walk.example.other
    assert walk.worst[-1] > SETTLED
    slow = found[1]
    assert all(a > b for a, b in zip(slow.worst[:4], slow.worst[1:5], strict=True))
    assert found[0].worst[1:] == (0.0,) * (len(MULTIPLES) - 1)


def test_a_start_that_belongs_to_the_formula_is_a_note() -> None:
    def buckets(c: dict) -> dict:
        return {"vpin_like": np.cumsum(c["volume"])}

    rows, draw = market(), np.random.default_rng(2)
    notes = {"vpin": "its buckets begin with the data"}
    (found,) = recursion(bars(buckets), rows, places=3, draw=draw, unit=20, notes=notes)
    assert not found.settles
    assert found.note == "its buckets begin with the data"


def test_too_few_rows_say_nothing() -> None:
    assert recursion(bars(honest), market()[:200], places=3, draw=np.random.default_rng(1)) == []


@pytest.mark.parametrize("peeks", [False, True])
def test_a_models_answers_are_examined_too(peeks: bool) -> None:
    def ask(x: np.ndarray) -> np.ndarray:
        centre = x.mean(axis=0) if peeks else 0.0  # of all rows that it is asked at once
        up = 1.0 / (1.0 + np.exp(-(x - centre).sum(axis=1)))
        return np.stack([1.0 - up, up], axis=1).astype(np.float32)

    compute = of_model(bars(honest), ask, ("sell", "buy"))
    assert compute(market()).names[-2:] == ("signal sell", "signal buy")
    found = look_ahead(compute, market(), cuts=5, draw=np.random.default_rng(1))
    assert [one.feature for one in found] == (["signal sell", "signal buy"] if peeks else [])


def test_functions_are_found_by_file_and_name(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mine.py"
    file.write_text("def mine(c):\n    return {'half': c['close'] / 2}\n\n\nbroken = 1 / 1\n")
    table = bars(load_function(f"{file}:mine"))(market())
    assert table.names == ("half",)
    assert np.array_equal(table.x[:, 0], market()["f3"] / 2)
    for text, hint in (
        (f"{file}:yours", "no function yours"),
        (f"{file}:broken", "no function broken"),
        (f"{tmp_path / 'none.py'}:mine", "of a file that is there"),
    ):
        with pytest.raises(UsageError, match=hint):
            load_function(text)


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda c: {"x": c["close"][1:]}, r"shape \(1999,\)"),
        (lambda c: {"x": c["nothing"]}, "raised KeyError"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_line(function, hint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=hint):
        bars(function)(market())
