"""What settings must be beside each other: fine alone, they may still contradict each other."""

from collections.abc import Iterable

from config import shape
from config.settings import ModelSettings, Settings


def cross_check(settings: Settings) -> None:
    """Refuse settings that are fine alone and contradict each other.

    Raises:
        Misfit: the first that does.
    """
    risk = settings.risk
    if risk.max_order_notional > risk.max_position_notional:
        raise shape.Misfit(
            ("risk", "max_order_notional"),
            f"{risk.max_order_notional:g} is more than risk.max_position_notional "
            f"({risk.max_position_notional:g}); one order may not be larger than a position",
        )
    if settings.paper.decision_latency_ms >= risk.max_signal_age_ms:
        raise shape.Misfit(
            ("risk", "max_signal_age_ms"),
            f"{risk.max_signal_age_ms:g} is not more than paper.decision_latency_ms "
            f"({settings.paper.decision_latency_ms:g}); every signal would be too old",
        )
    models = [model.name for model in settings.models]
    _refuse_twins("models", models)
    _refuse_twins("strategies", [strategy.name for strategy in settings.strategies])
    _check_models(settings)
    for index, strategy in enumerate(settings.strategies):
        for place, name in enumerate(strategy.models):
            _refuse_stranger(("strategies", index, "models", place), name, models)


def _check_models(settings: Settings) -> None:
    """Check each model by itself, then fused ones and splits against what they name."""
    by_name = {model.name: model for model in settings.models}
    for index, model in enumerate(settings.models):
        _check_origin(index, model)
        _check_told(index, model, by_name)
        if model.fusion is not None:
            _check_members(index, model, by_name)
        if (model.mode == "ab") != bool(model.split):
            text = "goes with mode: ab" if model.split else "is missing; mode ab needs one"
            raise shape.Misfit(("models", index, "split"), text)
        if model.split and model.split not in settings.splits:
            known = ", ".join(settings.splits) or "none"
            text = f"{shape.shown(model.split)} is not in splits; there are {known}"
            raise shape.Misfit(("models", index, "split"), text)
    for name in settings.splits:
        arms = [model.name for model in settings.models if model.split == name]
        if len(arms) < 2:
            raise shape.Misfit(("splits", name), f"has {len(arms)} models of mode ab; 2 at least")


def _check_origin(index: int, model: ModelSettings) -> None:
    """Check that it comes from the registry, a folder or other models: exactly one of them."""
    named = [key for key in ("model_id", "path", "fusion") if getattr(model, key)]
    if len(named) != 1:
        text = f"give one of model_id, path and fusion, not {' and '.join(named) or 'none'}"
        raise shape.Misfit(("models", index), text)
    if model.path and model.version != "production":
        raise shape.Misfit(("models", index, "version"), "the path says the version")
    if (model.cadence == "members") != (model.fusion is not None):
        text = (
            "a fused model is asked when a member has advised; leave it out"
            if model.fusion is not None
            else "is missing; give quote, trade, bar:1m, every:250ms or every_n:50"
        )
        raise shape.Misfit(("models", index, "cadence"), text)


def _check_told(index: int, model: ModelSettings, by_name: dict[str, ModelSettings]) -> None:
    """Check whose signals and whose book a model is told of: models of this file, not shadows."""
    for key in ("signal_from", "classifier_from", "book_from"):
        name, here = getattr(model, key), ("models", index, key)
        _refuse_stranger(here, name, list(by_name))
        if name is None:
            continue
        if key != "book_from" and name == model.name:
            raise shape.Misfit(here, "a model is not told its own signal; name another one")
        if key != "book_from" and by_name[name].mode == "shadow" != model.mode:
            raise shape.Misfit(here, f"{name} is a shadow: it may tell shadows only")
        if key == "book_from" and by_name[name].fusion is not None:
            raise shape.Misfit(here, f"{name} is fused: its members hold what it advises")


def _check_members(index: int, model: ModelSettings, by_name: dict[str, ModelSettings]) -> None:
    """Check a fused model's members: known, single, several, of its own mode's weight."""
    fusion, here = model.fusion, ("models", index, "fusion")
    assert fusion is not None
    if len(fusion.members) < 2 or len(set(fusion.members)) < len(fusion.members):
        raise shape.Misfit((*here, "members"), "must be two different models at least")
    for place, name in enumerate(fusion.members):
        at = (*here, "members", place)
        _refuse_stranger(at, name, list(by_name))
        member = by_name[name]
        if member.fusion is not None or member.mode == "ab":
            kind = "fused itself" if member.fusion is not None else "half of an A/B split"
            raise shape.Misfit(at, f"{name} is {kind}; members are single models")
        if member.mode == "shadow" and model.mode != "shadow":
            raise shape.Misfit(at, f"{name} is a shadow: it may advise shadows only")
    if (fusion.min_members or 0) > len(fusion.members):
        text = f"{fusion.min_members} is more than the {len(fusion.members)} members"
        raise shape.Misfit((*here, "min_members"), text)
    stacks = fusion.rule == "stacking"
    for key in ("stacker", "stacker_sha256"):
        if stacks != bool(getattr(fusion, key)):
            text = "is missing; rule stacking needs it" if stacks else "goes with rule: stacking"
            raise shape.Misfit((*here, key), text)


def _refuse_stranger(path: shape.Path, name: str | None, models: list[str]) -> None:
    """Refuse the name of a model that the file does not list."""
    if name is not None and name not in models:
        close = shape.nearest(name, models)
        known = f"did you mean {close}?" if close else f"known are {', '.join(models)}"
        raise shape.Misfit(
            path, f"{shape.shown(name)} is no model of this file; {known or 'none is listed'}"
        )


def _refuse_twins(group: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise shape.Misfit((group, index, "name"), f"{shape.shown(name)} stands twice")
        seen.add(name)
