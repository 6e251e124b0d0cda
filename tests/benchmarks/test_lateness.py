"""The lateness session counts every message that was sent, and its models do their work."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
import uvloop

from benchmarks import lateness_models
from benchmarks.lateness_sender import TRADE_EACH, Tape
from benchmarks.lateness_session import KINDS, measure
from benchmarks.measure_lateness import figure
from ml.runtime.session import OrtModel


def test_the_transformer_reads_its_whole_window() -> None:
    steps, width = lateness_models.STEPS, lateness_models.TICK_FEATURES
    x, y = np.zeros((1, steps, width), np.float32), np.zeros((1, 3), np.float32)
    model = OrtModel(lateness_models.transformer(), x=x, y=y)
    x[:] = np.random.default_rng(1).standard_normal(x.shape)
    answers = set()
    for at in range(0, steps, 9):
        x[0, at] += 1.0
        model.run()
        assert abs(float(y.sum()) - 1.0) < 1e-5
        answers.add(y.tobytes())
    assert len(answers) == len(range(0, steps, 9))


def test_the_wide_model_is_of_ten_megabytes_and_its_versions_differ() -> None:
    one, two = lateness_models.wide(1), lateness_models.wide(2)
    assert 10e6 < len(one) < 12e6
    assert one != two


def test_a_stretch_goes_on_where_the_last_one_ended() -> None:
    tape = Tape("BTCUSDT")
    first, second = tape.frames(10, 0.0, 0.5), tape.frames(10, 5.0, 0.5)
    trades = [text for text in first + second if "@trade" in text]
    assert len(trades) == 20 // TRADE_EACH
    assert [f'"t":{k},' in text for k, text in enumerate(trades, 1)] == [True] * len(trades)


def test_a_figure_compares_the_best_turns() -> None:
    idle, busy = [[100.0, 400.0], [90.0, 300.0]], [[100.0, 450.0], [120.0, 900.0]]
    found = {
        "ours": {"idle": idle, "loading": busy},
        "sender": {"loading": [[1.0, 50.0], [1.0, 40.0]]},
    }
    line = figure(found, "loading", "7 loads")
    assert (line.ours, line.floor, line.ratio, line.passed) == (450.0, 300.0, 1.5, True)


@pytest.mark.slow
def test_every_message_is_counted_in_its_stretch(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(tmp_path, 1, 0.5))
    for who in ("ours", "sender"):
        assert {kind: len(found[who][kind]) for kind in KINDS} == dict.fromkeys(KINDS, 1)
    assert found["load_ms"]
    assert found["ours"]["pauses"] != found["ours"]["loading"]
    assert found["transformer"]["answers"]["RESULT"] > 0
    assert found["reloads"] > 0
    assert found["refused"] == 0
    left = [one.name for one in threading.enumerate() if one.name.startswith("model-")]
    assert left == [], "each version's thread has ended, the prepared ones too"
