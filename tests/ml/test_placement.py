"""Where a model is served is decided at registration, by its time and the budget of its cadence."""

import pytest

from ml import publish, registry
from ml.placement import BAR_BUDGET_US, TICK_BUDGET_US, placement_of
from tests.ml.conftest import toy_spec
from tests.ml.heavy_models import failing, register


@pytest.mark.parametrize("cadence", ["quote", "trade", "every:250ms", "every_n:50", ""])
def test_the_budget_of_ticks(cadence):
    assert placement_of(cadence, TICK_BUDGET_US) == "inline"
    assert placement_of(cadence, TICK_BUDGET_US + 0.1) == "thread"


def test_the_budget_of_bars_and_a_person_s_word():
    assert placement_of("bar:1m", BAR_BUDGET_US) == "inline"
    assert placement_of("bar:1m", BAR_BUDGET_US + 0.1) == "thread"
    assert placement_of("quote", 1e6, "inline") == "inline"
    assert placement_of("bar:1m", 1.0, "thread") == "thread"


def test_the_registry_keeps_what_was_measured_then(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "median_latency_us", lambda *_: 200.0)
    data = failing(4)
    ticks = register(tmp_path, "Ticks", data, toy_spec())
    bars = register(tmp_path, "Bars", data, toy_spec(), cadence="bar:1m")
    assert (ticks.placement, ticks.latency_us) == ("thread", 200.0)
    assert bars.placement == "inline"
    monkeypatch.undo()
    assert registry.View(tmp_path).find("Ticks", "1").placement == "thread"
