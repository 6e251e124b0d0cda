"""Small trained models, made once, and a fresh artifacts folder for each test."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from features.spec import FeatureSpec
from ml import registry
from ml.training import signal_classifier, tick_mlp
from ml.training.rows import Source

NAMES = ("returns_1", "rsi_14", "stoch_k", "momentum_10")
TOY = Source("toy", "ab" * 32, "Made of random numbers.")
MINUTE = 60_000_000_000


def toy_spec() -> FeatureSpec:
    """Return a spec of four features."""
    return FeatureSpec(features=tuple((name, {}) for name in NAMES))


def toy_rows(n: int = 1500, seed: int = 7) -> SimpleNamespace:
    """Return rows of one instrument whose first feature says something about the next bars."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    move = 1e-3 * (rng.normal(size=n) + 0.7 * np.r_[0.0, x[:-1, 0]])
    close = 100 * np.exp(np.cumsum(move))
    return SimpleNamespace(
        ts=np.arange(n) * MINUTE + 1_736_121_600_000_000_000,
        instrument=np.zeros(n, np.uint16),
        x=x,
        valid=np.arange(n) >= 30,
        bid=close,
        ask=close * 1.0001,
        bar_open=close,
        bar_high=close * 1.0005,
        bar_low=close * 0.9995,
        bar_close=close,
        bar_volume=np.ones(n),
    )


TREES = signal_classifier.Settings(
    horizon=3, take_profit_atr=1.0, stop_loss_atr=1.0, trees=12, max_depth=3
)
NETWORK = tick_mlp.Settings(cadence_ms=60_000, horizon_ms=60_000, epochs=2, hidden=(8,))


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory) -> Path:
    """Artifacts with SignalClassifier:1 in production and TickMLP:1 as a candidate."""
    root = tmp_path_factory.mktemp("trained") / "artifacts"
    spec = toy_spec()
    signal_classifier.train(toy_rows(), spec, TOY, out_dir=root, settings=TREES)
    tick_mlp.train(toy_rows(), spec, TOY, out_dir=root, settings=NETWORK)
    registry.promote(root, "SignalClassifier", "1", why="for the tests", by="tests")
    return root


@pytest.fixture
def root(trained_root, tmp_path) -> Path:
    """Return a copy of the trained artifacts that a test may break."""
    copy = tmp_path / "artifacts"
    shutil.copytree(trained_root, copy)
    return copy
