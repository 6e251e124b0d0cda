"""What the outputs of a run's models mean to its slots, and to the strategies that hear them."""

from collections.abc import Sequence

from app.serving import Serving
from engine.errors import ConfigError
from engine.kernel.output_layout import OutputKind
from engine.output_form import NO_FORM, OutputForm
from engine.ports import Strategy
from ml.output_forms import kernel_kind, seen_form


def form_of(serving: Serving | None) -> OutputForm:
    """Return the form of the output that stands in a model's slots."""
    loaded = None if serving is None else serving.loaded
    return NO_FORM if loaded is None else seen_form(loaded.entry.output_schema)


def output_columns(serving: Serving) -> dict[str, int]:
    """Return the fields of a slot that say what the columns of its output are."""
    if serving.settings.fusion is not None:
        return {"output_kind": int(OutputKind.FUSED)}
    if serving.loaded is None:
        return {"sell_at": 0, "hold_at": 1, "buy_at": 2}
    kind = kernel_kind(serving.loaded.entry.output_schema)
    columns = {"output_kind": int(kind), "form": int(serving.form.ctypes.data)}
    for name, field in (("SELL", "sell_at"), ("HOLD", "hold_at"), ("BUY", "buy_at")):
        if name in serving.loaded.classes:
            columns[field] = serving.loaded.classes.index(name)
    return columns


def hears_holds(strategy: Strategy) -> bool:
    """Say whether a strategy wants to hear of a model's HOLDs too: it sets HEARS_HOLDS."""
    return bool(getattr(strategy, "HEARS_HOLDS", False))


def check_outputs(name: str, strategy: Strategy, heard: Sequence[Serving]) -> None:
    """Refuse models whose outputs a strategy cannot trade, or too few of them.

    `OUTPUTS` of a strategy holds groups of output kinds; of each it needs a model. Without it any
    model will do. What `check_form` of a strategy refuses is refused too. A model that could not
    be loaded may be of any kind.

    Raises:
        ConfigError: one line that names the model and what the strategy takes.
    """
    groups: tuple[tuple[str, ...], ...] = getattr(strategy, "OUTPUTS", ())
    takes = [kind for group in groups for kind in group]
    kinds = set()
    for serving in heard:
        form = form_of(serving)
        kinds.add(form.kind)
        if not form.kind or not groups:
            continue
        model = serving.settings.name
        if form.kind not in takes:
            text = f"{model} says {form.kind}, it takes {' or '.join(takes)}"
            raise ConfigError(f"strategies.{name}: {text}")
        if hasattr(strategy, "check_form"):
            strategy.check_form(model, form)
    for group in groups:
        if heard and "" not in kinds and not kinds & set(group):
            raise ConfigError(f"strategies.{name}: needs a model that says {' or '.join(group)}")
