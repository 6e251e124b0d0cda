"""The part of a fused kernel that knows several bars: which features see which of them.

Each bar beside the base bars is kept in the FEATURES record as it closed, and shown in the market
record while features on it are read.
"""

from collections.abc import Mapping, Sequence

BAR = ("on_bar", "on_peer_bar")  # events of a bar
_KEEP = "from engine.kernel.kept_bar import keep_bar, show_kept"


def field_of(bar: str) -> str:
    """Return the name of the FEATURES field that keeps a bar; "" is the base bar."""
    return f"bar {bar}" if bar else "base bar"


def kept_fields(bars: Sequence[str]) -> list[str]:
    """Return the names of the fields that keep bars; none where there are only base bars."""
    return [field_of(bar) for bar in ("", *bars)] if bars else []


def first_lines(bars: Sequence[str]) -> list[str]:
    """Write what `init` does with kept bars: one that never closed has no prices."""
    lines = []
    for bar in bars:
        lines += [f"    if fs['{field_of(bar)}']['bar_count'] == 0:"]
        for name in ("bar_open", "bar_high", "bar_low", "bar_close"):
            lines += [f"        fs['{field_of(bar)}']['{name}'] = np.nan"]
    return lines


def show_lines(before: str, bar: str) -> list[str]:
    """Write how a read goes over from showing one bar to showing another."""
    keep = ["    keep_bar(fs['base bar'], m)"] if not before else []
    return [*keep, f"    show_kept(fs['{field_of(bar)}'], m)"]


def series_source(
    jit: str, bars: Sequence[str], steps: Mapping[tuple[str, str], list[str]]
) -> list[str]:
    """Write `on_series` and `on_series_peer`.

    Args:
        jit: the decorator.
        bars: names, in order.
        steps: (bar, event) -> the calls of its features.
    """
    out = ["", "", _KEEP] if bars else []
    out += ["", "", jit, "def on_series(k, seen, fs, m):"]
    out += ['    """Keep a closed bar, and advance the features on it when it is `seen`."""']
    for k, bar in enumerate(bars):
        out += [f"    if k == {k}:", f"        keep_bar(fs['{field_of(bar)}'], m)"]
        out += _inner("        if seen == 1:", steps[bar, "on_bar"])
    out += ["    return 0", "", "", jit, "def on_series_peer(k, fs, m):"]
    out += ['    """Advance the features that listen to a bar of the paired instrument."""']
    for k, bar in enumerate(bars):
        out += _inner(f"    if k == {k}:", steps[bar, "on_peer_bar"])
    return [*out, "    return 0"]


def _inner(head: str, lines: Sequence[str]) -> list[str]:
    """Put calls under a condition; nothing where there are none."""
    deeper = " " * (len(head) - len(head.lstrip()))
    return [head, *(deeper + line for line in lines)] if lines else []


def without_series(source: str, bars: Sequence[str]) -> str:
    """Say in a kernel's text that there are no further bars, where there are none.

    The code for them is then neither compiled nor run.
    """
    plain = "WITH_SERIES = True"
    assert source.count(plain) == 1, "the flag stands in engine/kernel/series.py, which is embedded"
    return source if bars else source.replace(plain, "WITH_SERIES = False")
