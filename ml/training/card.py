"""The model card: what a model is, what it was trained on, and what it is worth, in plain words."""

from collections.abc import Mapping, Sequence

from ml.training.rows import Source

_FIGURES = (
    ("log_loss", "log loss", "lower"),
    ("brier", "Brier score", "lower"),
    ("accuracy", "accuracy", "higher"),
    ("balanced_accuracy", "balanced accuracy", "higher"),
    ("auc", "AUC", "higher"),
    ("calibration_error", "calibration error", "lower"),
)


def _table(test: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = list(test)
    lines = ["| on the test part | " + " | ".join(n.replace("_", " ") for n in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for key, label, better in _FIGURES:
        cells = [f"{test[n][key]:.4f}" if key in test[n] else "-" for n in names]
        lines.append(f"| {label} ({better} is better) | " + " | ".join(cells) + " |")
    return lines


def verdict(test: Mapping[str, Mapping[str, float]]) -> str:
    """Say in one sentence whether the model beats its baselines on log loss.

    Args:
        test: name -> figures; the first name is the model, the others are baselines.
    Example:
        >>> verdict({"model": {"log_loss": 0.9}, "class_prior": {"log_loss": 1.0}})
        'It beats class prior, the best baseline, by 10.0 % of its log loss on the test part.'
    """
    (_, figures), *others = test.items()
    name, best = min(others, key=lambda item: item[1]["log_loss"])
    gain = 100 * (1 - figures["log_loss"] / best["log_loss"])
    shown = name.replace("_", " ")
    if gain <= 0:
        prior = dict(others).get("class_prior", best)["log_loss"]
        more = "." if figures["log_loss"] < prior else ": it shows no skill there."
        return f"It does NOT beat {shown}, the best baseline, on the test part{more}"
    text = f"It beats {shown}, the best baseline, by {gain:.1f} % of its log loss on the test part."
    return text if gain >= 1 else f"{text} That is next to nothing."


def card(
    title: str,
    *,
    purpose: str,
    source: Source,
    facts: Sequence[tuple[str, str]],
    test: Mapping[str, Mapping[str, float]],
    economics: Mapping[str, float],
    importance: Mapping[str, float],
) -> bytes:
    """Write model_card.md.

    Args:
        title: `ID:VERSION`.
        purpose: one sentence.
        source: the training data; its note stands at the top.
        facts: (label, value) of data, labels and settings.
        test: name -> figures, the model first, then the baselines.
        economics: figures of ml.training.metrics.economics.
        importance: feature -> share of the total gain.
    """
    lines = [f"# {title}", "", purpose, ""]
    if source.note:
        lines += [f"**{source.note}**", ""]
    lines += ["## Facts", "", "| | |", "|---|---|"]
    lines += [f"| {label} | {value} |" for label, value in facts]
    lines += ["", "## Skill", "", verdict(test), "", *_table(test), ""]
    lines += [f"{_economics(economics)}", "", "## What it looks at", ""]
    top = sorted(importance.items(), key=lambda item: (-item[1], item[0]))[:10]
    lines += [f"- {name}: {100 * share:.1f} %" for name, share in top]
    lines += [
        "",
        "## Limits",
        "",
        "- It is advice. The risk engine decides, and this model cannot reach a venue.",
        "- Test rows come right after the training rows in the same data; another market, another",
        "  venue or another year may look different. Nothing here promises a profit.",
        "- Early stopping and the temperature were fitted on the same validation part.",
        "- Figures of neighbouring rows overlap in time, so they vary more than their count says.",
        "",
    ]
    return "\n".join(lines).encode()


def _economics(found: Mapping[str, float]) -> str:
    threshold = f"a confidence of {found['threshold']:g} or more"
    if not found["advised"]:
        return f"On the test part it never advised with {threshold}."
    return (
        f"With {threshold} it advised on {found['advised']:.0f} test rows "
        f"({100 * found['advised_share']:.1f} %): {100 * found['hit_rate']:.1f} % of them were "
        f"right as labelled, {100 * found['net_positive_rate']:.1f} % ended above zero after "
        f"{found['cost_bps']:g} bps of costs; mean {found['mean_gross_bps']:.2f} bps before and "
        f"{found['mean_net_bps']:.2f} bps after costs, each row on its own."
    )
