"""The rules of promotion and trust: config/governance.yaml, read strictly."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from config import shape
from config.load import load_tree
from config.problem import ConfigProblem
from config.settings import NonNegative, Positive, Strict

DEFAULT = Path(__file__).with_name("governance.yaml")
Better = Annotated[str, Meta(pattern="^(lower|higher)$", description="lower or higher")]
Metric = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$", description="name of a metric")]


class Gates(Strict, frozen=True, kw_only=True):
    """What a version must show before it serves, beside the checks that always hold."""

    metric: Metric = "test_log_loss"
    metric_better: Better = "lower"
    max_metric_worse: NonNegative = 0.0
    max_calibration_error: NonNegative = 0.1
    max_latency_inline_us: Positive = 300.0
    max_latency_thread_us: Positive = 50_000.0
    min_shadow_days: NonNegative = 0.0
    min_shadow_decisions: Annotated[int, Meta(ge=0)] = 0
    max_shadow_strikes: Annotated[int, Meta(ge=0)] = 0
    no_look_ahead: bool = True


class Governance(Strict, frozen=True, kw_only=True):
    """The whole of config/governance.yaml."""

    allow_pickle: bool = False
    allow_custom: bool = False
    gates: Gates = Gates()


def load_governance(path: Path | None = None) -> Governance:
    """Read the rules.

    Args:
        path: the YAML file; None reads config/governance.yaml.
    Raises:
        ConfigProblem: it cannot be read, or a key is unknown, of the wrong type or out of range.
    Example:
        >>> load_governance().allow_pickle
        False
    """
    file = DEFAULT if path is None else path
    tree = load_tree(file)
    try:
        shape.check(tree, msgspec.inspect.type_info(Governance))
        return msgspec.convert(tree, Governance)
    except shape.Misfit as misfit:
        where = shape.dotted(misfit.path)
        raise ConfigProblem(f"{file}: {where}{': ' if where else ''}{misfit}") from None
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"{file}: {error}") from None
