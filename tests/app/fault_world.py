"""Sessions over the sample market whose models go wrong, and what their audits say of it."""

from pathlib import Path

import msgspec
import numpy as np

from config.settings import ModelSettings, WatchSettings
from engine.audit_layout import AUDIT, Record
from engine.events import HoldReason, Purpose
from engine.run_files import AUDIT_RECORDS, EVENTS
from features.spec import FeatureSpec, parse_spec
from ml import registry
from tests.app.reload_world import World
from tests.app.versions import copy_artifacts, tick_spec
from tests.ml.faulty_models import FAR, blank, breaching, far_rows, greedy, throwing
from tests.ml.heavy_models import register

RULES = WatchSettings()
STRUCK_OUT = HoldReason.MODEL_STRUCK_OUT
FAULTY = {"Blank": blank, "Breaches": breaching, "Throws": throwing, "Greedy": greedy}
BARS = ModelSettings(name="Bars", model_id="SignalClassifier", cadence="bar:1m")
APART = {Record.DECISION: Record.SHADOW, Record.MODEL: Record.SHADOWED}
TICKS = ModelSettings(name="Ticks", model_id="TickMLP", cadence="every:250ms")


def bars_spec() -> FeatureSpec:
    """Return the features of the demonstration model SignalClassifier."""
    path = Path("artifacts") / "SignalClassifier" / "1" / "feature_spec.json"
    return parse_spec(path.read_bytes(), str(path))


def faulty_artifacts(folder: Path) -> Path:
    """Return the demonstration models, and beside them those of FAULTY, all in production."""
    root, spec = copy_artifacts(folder), tick_spec()
    column = spec.names.index("mid_price_velocity_1s")
    for model_id, make in FAULTY.items():
        register(root, model_id, make(len(spec), column), spec, placement="inline")
    bars, width = bars_spec(), len(bars_spec())
    data = blank(width, bars.names.index("returns_1"), FAR)
    register(root, "BlankBars", data, bars, placement="inline", rows=far_rows(width))
    for model_id in (*FAULTY, "BlankBars"):
        registry.promote(root, model_id, "1", why="for the tests", by="tests")
    return root


def faulty(mode: str = "production") -> tuple[ModelSettings, ...]:
    """Return lines for the models of FAULTY."""
    return tuple(
        ModelSettings(name=name, model_id=name, cadence="every:250ms", mode=mode) for name in FAULTY
    )


class Told:
    """What the audit of a session says, by the name of a model."""

    def __init__(self, world: World) -> None:
        self.names = [one.settings.name for one in world.parts.models]
        self.records = np.fromfile(world.run_dir / AUDIT_RECORDS, AUDIT)
        self.events = [
            msgspec.json.decode(line) for line in (world.run_dir / EVENTS).read_text().splitlines()
        ]

    def of(self, name: str, kind: Record) -> np.ndarray:
        """Return the records of a kind that name a model; those of a shadow stand apart."""
        mine = self.records["model"] == self.names.index(name)
        return self.records[mine & np.isin(self.records["kind"], (kind, APART.get(kind, kind)))]

    def reasons(self, name: str, after: int = -1) -> np.ndarray:
        """Return why each decision of a model behind a record was a HOLD."""
        decisions = self.of(name, Record.DECISION)
        found: np.ndarray = decisions["aux"][decisions["seq"] > after] & 0xFF
        return found

    def entries(self, name: str) -> np.ndarray:
        """Return the intents of a model to open something."""
        intents = self.of(name, Record.INTENT)
        return intents[intents["code"] == Purpose.ENTRY]

    def said(self, code: str) -> list[str]:
        """Return the texts of the events of a code."""
        return [line["text"] for line in self.events if line["name"] == code]


def session(folder: Path, root: Path, models: tuple[ModelSettings, ...], cache: Path) -> World:
    """Return a session with some models; its reloads do not run."""
    folder.mkdir(parents=True, exist_ok=True)
    return World(folder, root, cache=cache, models=models)
