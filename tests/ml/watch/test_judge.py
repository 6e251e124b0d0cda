"""Each check of a model under watch fails for its own fault, and for no other."""

import msgspec
import numpy as np
import pytest

from config.settings import WatchSettings
from engine.events import HoldReason
from ml.watch.judge import DECISION, ModelWatch, Watched
from ml.watch.reference import reference_of

RULES = WatchSettings()
SECOND = 1_000_000_000
START = 1_736_000_000 * SECOND
N = 3000


def rows(seed: int, n: int = N, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 3)) + shift).astype(np.float32)


def watched(**changes) -> Watched:
    kept = reference_of(rows(1), ("a", "b", "c"), np.zeros(N, int))
    plain = Watched("Model", "Model:1", "ab" * 32, "2025-01-01T00:00:00Z", 20.0, True, kept)
    return msgspec.structs.replace(plain, **changes)


def decisions(n: int = N, *, seed: int = 3, right: float = 0.7, said: float = 0.7) -> np.ndarray:
    """Return a second apart answers, whose side is right so often a minute later."""
    rng = np.random.default_rng(seed)
    found = np.zeros(n, DECISION)
    found["ts"] = START + np.arange(n) * SECOND
    found["mid"] = 100 + np.cumsum(rng.choice([-0.01, 0.01], n))
    move = np.sign(np.roll(found["mid"], -60) - found["mid"])
    up = np.where(rng.random(n) < right, move, -move) > 0
    p = said + 0.02 * rng.normal(size=n)
    found["p"][:, 2] = np.where(up, p, 1 - p)
    found["p"][:, 0] = 1 - found["p"][:, 2]
    found["reason"] = HoldReason.NONE
    return found


def look(x=None, told=None, *, rules=RULES, days=30, latency=None, **changes) -> dict:
    watch = ModelWatch(watched(**changes), rules)
    x = rows(2) if x is None else x
    watch.add_rows(x, np.zeros(len(x), int))
    watch.add_decisions(decisions() if told is None else told)
    if latency:
        watch.took(latency)
    return {one.check: one for one in watch.look(START + days * 86_400 * SECOND)}


def failed(found: dict) -> set[str]:
    return {name for name, one in found.items() if one.failed}


def test_a_model_as_in_training_passes_all_checks():
    found = look(latency=30.0)
    assert failed(found) == set()
    assert [one.check for one in found.values() if one.value is None] == []
    assert all(len(one.text) < 120 for one in found.values())


def shifting() -> np.ndarray:
    found = decisions()
    found["p"][N // 2 :, 2] = 0.95
    found["p"][: N // 2, 2] = 0.2
    found["p"][:, 2] += 0.02 * np.random.default_rng(1).random(N)
    found["p"][:, 0] = 1 - found["p"][:, 2]
    return found


def striking() -> np.ndarray:
    found = decisions()
    found["reason"][::10] = HoldReason.MODEL_NAN
    return found


def constant() -> np.ndarray:
    found = decisions()
    found["p"][-RULES.least_rows :] = (0.4, 0.2, 0.4)
    return found


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("features", {"x": rows(2) + np.float32([0, 0.8, 0.8])}),
        ("outputs", {"told": shifting(), "chances": False}),
        ("dissimilar", {"x": rows(2) * np.float32([8, 1, 1])}),
        ("calibration", {"told": decisions(right=0.45, said=0.9)}),
        ("strikes", {"told": striking()}),
        ("constant", {"told": constant()}),
        ("latency", {"latency": 900.0}),
        ("age", {"days": 500}),
    ],
)
def test_each_fault_is_named_by_its_check(check, words):
    assert failed(look(**words)) == {check}


def test_what_cannot_be_judged_is_said_and_fails_nothing():
    found = look(x=rows(2, 20), told=decisions(20), reference=None, chances=False, created_at="?")
    assert failed(found) == set()
    unknown = {name for name, one in found.items() if one.value is None}
    assert unknown == {
        "features", "outputs", "dissimilar", "calibration", "constant", "latency", "age",
    }  # fmt: skip
    assert "training statistics" in found["features"].text


def test_looks_in_pieces_end_where_one_look_ends():
    whole = ModelWatch(watched(), RULES)
    parts = ModelWatch(watched(), RULES)
    x, told = rows(5, shift=1.0), decisions()
    whole.add_rows(x, np.zeros(N, int))
    whole.add_decisions(told)
    for start in range(0, N, 100):
        parts.add_rows(x[start : start + 100], np.zeros(100, int))
        parts.add_decisions(told[start : start + 100])
    assert whole.look(START) == parts.look(START)


def test_only_the_latest_rows_count_and_memory_is_bounded():
    rules = msgspec.structs.replace(RULES, window_rows=1000)
    watch = ModelWatch(watched(), rules)
    for k in range(10):
        watch.add_rows(rows(k, shift=9.0), np.zeros(N, int))
        watch.add_decisions(decisions(seed=k))
        watch.look(START)
    watch.add_rows(rows(99, 1000), np.zeros(1000, int))
    assert not watch.look(START)[0].failed
    assert len(watch._x) == len(watch._decisions) == 1000
    assert len(watch._waiting) == 0
