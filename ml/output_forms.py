"""From a declared output schema to what the kernel and the strategies need to know of it."""

import numpy as np

from engine.kernel.output_layout import FORM, OutputKind
from engine.output_form import OutputForm
from ml.manifest import ACTIONS8, OutputSchema


def kernel_kind(schema: OutputSchema) -> OutputKind:
    """Return the kernel's number of a kind.

    >>> kernel_kind(OutputSchema(name="s", kind="size", classes=("SIZE",))).name
    'SIZE'
    """
    return OutputKind[schema.kind.upper()]


def kernel_form(schema: OutputSchema) -> np.ndarray:
    """Return FORM[1] of a checked schema; zeros where its kind needs nothing of it."""
    form = np.zeros(1, FORM)
    form["dead_band"], form["scale"] = schema.dead_band, schema.scale
    form["sizes"] = schema.sizes
    if schema.kind == "quantiles":
        count = len(schema.levels)
        form["n_levels"], form["first"] = count, count * schema.horizons.index(acts_on(schema))
        form["levels"][0, :count] = schema.levels
        form["median"] = schema.levels.index(0.5)
    if schema.kind == "discrete8":
        form["actions"] = [schema.classes.index(name) for name in ACTIONS8]
    return form


def acts_on(schema: OutputSchema) -> str:
    """Return the horizon of quantiles that decides, empty for other kinds."""
    return schema.act_on or (schema.horizons[0] if schema.horizons else "")


def seen_form(schema: OutputSchema) -> OutputForm:
    """Return what a strategy sees of a schema."""
    return OutputForm(schema.kind, schema.classes, schema.horizons, schema.levels, acts_on(schema))
