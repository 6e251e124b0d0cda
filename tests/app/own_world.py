"""A run of the sample market in which a model trades and another one is told of it: a sizer.

Both are untrained: random weights over a few features, which trade as well as any for a test.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

import app.replay
from app.parts import Parts
from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import ModelSettings, Settings, StrategySettings
from engine.events import Intent
from engine.run_files import Summary
from engine.tape import Tape
from engine.view import View
from features.spec import FeatureSpec, parse_spec
from ml.importing import Foreign, import_onnx
from strategies.registry import strategy
from tests.app.replay_cli import ROOT, SAMPLE

SIZER = parse_spec((ROOT / "config" / "features" / "position_sizer_15.json").read_bytes())
MORE = FeatureSpec((*SIZER.features, ("unrealised_pnl_pct", {})))  # every feature of own state
ADVISER = FeatureSpec((("pair_correlation_60", {}), ("ema_alignment", {})))
PAIRS = {"BTCUSDT": "ETHUSDT", "ETHUSDT": "BTCUSDT"}
NAMED = ("Adviser:1", "Sizer:1")  # candidates that may trade
ROWS: dict[int, bytes] = {}  # signal -> the feature row it was made from


@strategy("own_reader")
class OwnReader:
    """Writes down the feature row behind every piece of advice; trades nothing."""

    PARAMS: dict[str, float] = {}
    threshold = 0.0

    def __init__(self, **_: float) -> None:
        self.index = 0

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Keep the row."""
        ROWS[view.signal.signal_id] = view.features.tobytes()
        return ()


def network(spec: FeatureSpec, seed: int, scale: float) -> bytes:
    """Return a linear classifier with random weights that never says HOLD."""
    helper, rng, width = onnx.helper, np.random.default_rng(seed), len(spec)
    weight = (scale * rng.standard_normal((width, 3))).astype(np.float32)
    weight[:, 0], weight[:, 1] = -weight[:, 2], 0.0
    bias = np.array([0.0, -9.0, 0.0], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Clip", ["h", "low", "high"], ["c"]),
            helper.make_node("Add", ["c", "b"], ["z"]),
            helper.make_node("Softmax", ["z"], ["y"]),
        ],
        "untrained",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(bias, "b"),
            numpy_helper.from_array(np.array(-3.0, np.float32), "low"),
            numpy_helper.from_array(np.array(3.0, np.float32), "high"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def make_artifacts(folder: Path) -> Path:
    """Register both models; nothing of them is compiled: a peer has no golden tape slice."""
    folder.mkdir()
    for model_id, spec, seed in (("Adviser", ADVISER, 5), ("Sizer", MORE, 6)):
        foreign = Foreign(model_id=model_id, spec=spec, placement="inline")
        import_onnx(folder, network(spec, seed, 3.0), foreign)
    return folder


def sizing(root: Path, runs: Path, **sizer: Any) -> Settings:
    """Return settings: an adviser that trades at each event, a sizer that is told of it."""
    settings = load_settings(None, {"runs_dir": str(runs), "artifacts_dir": str(root)})
    told = {"signal_from": "adviser", "book_from": "adviser", "cadence": "every:2s", **sizer}
    trades = {"threshold": 0.0, "size_quote": 90.0, "cooldown_s": 60.0, "allow_short": True}
    near = {"stop_loss_pct": 0.15, "take_profit_pct": 0.3}
    return msgspec.structs.replace(
        settings,
        engine=msgspec.structs.replace(settings.engine, pairs=PAIRS),
        risk=msgspec.structs.replace(settings.risk, allow_short=True),
        models=(
            ModelSettings(name="adviser", model_id="Adviser", version="1", cadence="every_n:1"),
            ModelSettings(name="sizer", model_id="Sizer", version="1", **told),
        ),
        strategies=(
            StrategySettings(name="ml_signal", models=("adviser",), params={**trades, **near}),
            StrategySettings(name="own_reader", models=("sizer",)),
        ),
    )


def sample_tape(cache: Path, settings: Settings) -> Tape:
    """Return the sample market's tape."""
    return Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=cache))


class Run:
    """One replay: its summary, its parts, the rows behind the sizer's signals."""

    def __init__(self, tape: Tape, settings: Settings, monkeypatch: Any) -> None:
        made: list[Parts] = []
        build = app.replay.build

        def watched(parts: Parts, *rest: Any, **named: Any) -> Parts:
            made.append(build(parts, *rest, **named))
            return made[0]

        ROWS.clear()
        with monkeypatch.context() as patch:
            patch.setattr(app.replay, "build", watched)
            self.summary: Summary = replay(
                Replay(tape=tape, settings=settings, named=NAMED, report=False)
            )
        self.parts = made[0]
        self.rows = {
            signal: np.frombuffer(row, np.float32)
            for signal, row in ROWS.items()
            if len(row) == 4 * len(MORE)
        }
