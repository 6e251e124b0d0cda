"""The shared parameters: every strategy that has them refuses what is out of range, in one line."""

import pytest

from engine.errors import ConfigError
from strategies.params import SHARED
from strategies.registry import build_strategy

READERS = ("ensemble", "hybrid_ppo", "ml_signal", "tfa", "transformer")


@pytest.mark.parametrize("name", READERS)
def test_what_is_out_of_range_is_refused_in_one_line(name):
    allowed = build_strategy(name, {}).PARAMS
    for key in SHARED.keys() & allowed.keys():
        for wrong in (-1.0, 1e13, float("nan")):
            with pytest.raises(ConfigError) as error:
                build_strategy(name, {key: wrong})
            assert str(error.value).startswith(f"strategies.{name}.params.{key}: {wrong} must be ")
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", READERS)
def test_the_shared_parameters_are_read(name):
    given = {"stop_loss_pct": 2.0, "take_profit_pct": 5.0, "cooldown_s": 1.5, "allow_short": True}
    built = build_strategy(name, given)
    trading = built.trading
    assert (trading.protect, trading.cooldown_ns) == ((0.02, 0.05), 1_500_000_000)
    assert trading.allow_short
    assert trading.size_quote == built.PARAMS.get("size_quote", 0.0)
    assert getattr(built, "threshold", None) == built.PARAMS.get("threshold")
