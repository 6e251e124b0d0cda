"""The fault list's M10, M11 and M23 on threads: what is late or throws is demoted, then cut.

A session over the sample market with real threads; the market waits until they have answered, so
that everything goes by count.
"""

from pathlib import Path

import msgspec
import pytest

from config.settings import ModelSettings
from engine.audit_layout import ModelStatus, Record
from engine.events import HoldReason
from ml import registry
from tests.app.fault_world import BARS, RULES, STRUCK_OUT, TICKS, Told
from tests.app.reload_world import ThreadWorld, repeated
from tests.app.versions import copy_artifacts, tick_spec
from tests.ml.faulty_models import throwing
from tests.ml.heavy_models import register, stalling

MISSES = 3
EVERY = "every:5s"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    root, spec = copy_artifacts(tmp_path_factory.mktemp("threads")), tick_spec()
    column = spec.names.index("mid_price_velocity_1s")
    for name, data in (
        ("Stalls", stalling(len(spec), column)),
        ("Throws", throwing(len(spec), column)),
    ):
        register(root, name, data, spec, placement="thread")
        registry.promote(root, name, "1", why="for the tests", by="tests")
    return root


def line(name: str, model_id: str, mode: str = "production") -> ModelSettings:
    return ModelSettings(name=name, model_id=model_id, cadence=EVERY, deadline_ms=20, mode=mode)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_fault_M10_M11_M23_on_threads_what_is_late_is_a_shadow_then_cut(
    artifacts, tmp_path, tmp_path_factory
):
    cache = tmp_path_factory.getbasetemp() / "tapes"
    models = (
        BARS, TICKS, line("Stalls", "Stalls"), line("Throws", "Throws"),
        line("Apart", "Stalls", "shadow"),
    )  # fmt: skip
    rules = msgspec.structs.replace(RULES, deadline_misses=MISSES)
    (tmp_path / "w").mkdir()
    world = ThreadWorld(tmp_path / "w", artifacts, cache=cache, models=models, watch=rules)
    world.inference.start()
    faulty = world.parts.models[2:]
    try:
        for _ in range(150):
            await world.go_on(200)
            if all(one.struck_out for one in faulty):
                break
        await world.go_on(2_000)
    finally:
        world.inference.close()
        world.inference.write()
        world.drain()
    done = world.close()
    told = Told(world)
    became = {"Stalls": "a shadow now", "Apart": "not asked any more"}
    for name, first in became.items():
        said = [text for text in told.said("model_demoted") if text.startswith(f"{name} ")]
        assert said[0] == f"{name} Stalls:1 is {first}: latency {MISSES}"
        assert said[-1].endswith(f"is not asked any more: latency {MISSES}")
        assert len(said) == (2 if name == "Stalls" else 1)
        assert (told.reasons(name) == HoldReason.MODEL_TIMED_OUT).sum() >= MISSES * len(said)
    (said,) = [text for text in told.said("model_demoted") if text.startswith("Throws ")]
    assert said == "Throws Throws:1 is not asked any more: strikes 3"
    assert (told.reasons("Throws") == HoldReason.MODEL_FAILED).sum() >= RULES.strikes
    for name in ("Stalls", "Throws", "Apart"):
        standing = told.of(name, Record.MODEL)
        assert standing["code"][-1] == ModelStatus.DEMOTED
        after = told.reasons(name, int(standing["seq"][-1]))
        assert len(after) > 0 and set(after) == {STRUCK_OUT}
    assert len(told.entries("Apart")) == 0
    again = repeated(world)
    assert again.decision_digest == done.decision_digest
    assert again.models == done.models
