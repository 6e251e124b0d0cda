"""Lines of styled cells that fit a width: columns, flowing lists, bars, and the cut to a height."""

from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "
LABEL = 9  # columns of a section's name
Cell = tuple[str, str]  # text, style: "", good, warn, bad, dim or bold
Line = list[Cell]


def cell_width(text: str) -> int:
    """Return how many columns a text takes.

    >>> cell_width("abc"), cell_width("日本")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def clean(text: str) -> str:
    """Replace what could move a terminal's cursor or change its colours.

    >>> clean("a\\x1b[31mb")
    'a?[31mb'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def line_width(line: Line) -> int:
    """Return the columns of a line."""
    return sum(cell_width(text) for text, _ in line)


def cut(line: Line, width: int) -> Line:
    """Cut a line to a width; what is cut ends in an ellipsis.

    >>> cut([("abc", ""), ("def", "bad")], 5)
    [('abc', ''), ('d…', 'bad')]
    """
    if line_width(line) <= width:
        return line
    if width <= 0:
        return []
    kept: Line = []
    left = width - 1
    for text, style in line:
        if cell_width(text) > left:
            while cell_width(text) > left:
                text = text[:-1]
            return [*kept, (text + "…", style)]
        kept.append((text, style))
        left -= cell_width(text)
    return kept


def columns(rows: Sequence[Sequence[Cell]], width: int, right: Sequence[int] = ()) -> list[Line]:
    """Lay rows out in columns; columns that do not fit are left out, the last ones first.

    Args:
        rows: cells by row; an empty text is an empty place.
        width: of the whole.
        right: numbers of the columns that are aligned right.
    Example:
        >>> columns([[("a", ""), ("1", "")], [("bc", ""), ("23", "")]], 80, right=[1])
        [[('a ', ''), ('  ', ''), (' 1', '')], [('bc', ''), ('  ', ''), ('23', '')]]
    """
    widths = [max(cell_width(text) for text, _ in column) for column in _turned(rows)]
    shown, taken = 0, 0
    for at, wide in enumerate(widths):
        taken += wide + (len(GAP) if at else 0)
        if taken > width and at:
            break
        shown = at + 1
    lines = []
    for row in rows:
        line: Line = []
        for at, (text, style) in enumerate(row[:shown]):
            if at:
                line.append((GAP, ""))
            pad = " " * (widths[at] - cell_width(text))
            line.append((pad + text if at in right else text + pad, style))
        lines.append(cut(line, width))
    return lines


def _turned(rows: Sequence[Sequence[Cell]]) -> list[tuple[Cell, ...]]:
    return list(zip_longest(*rows, fillvalue=("", "")))


def flow(cells: Sequence[Cell], width: int, gap: str = GAP) -> list[Line]:
    """Set cells one after the other; one that does not fit begins a new line.

    >>> flow([("aaa", ""), ("bbb", ""), ("c", "")], 8)
    [[('aaa', ''), ('  ', ''), ('bbb', '')], [('c', '')]]
    """
    lines: list[Line] = []
    for cell in cells:
        if lines and line_width(lines[-1]) + len(gap) + cell_width(cell[0]) <= width:
            lines[-1] += [(gap, ""), cell]
        else:
            lines.append(cut([cell], width))
    return lines


def bar(used: float, reserved: float, width: int, ascii_only: bool = False) -> str:
    """Draw a share of a limit: what is used up for good, what is reserved, what is free.

    Anything above nothing shows, and a bar is full only when the limit is reached.

    >>> bar(0.5, 0.25, 8), bar(0.0001, 0.0, 4), bar(0.999, 0.0, 4), bar(2.0, 0.0, 4)
    ('████▒▒░░', '█░░░', '███░', '████')
    >>> bar(0.5, 0.25, 8, ascii_only=True)
    '####++..'
    """
    full, part, free = "#+." if ascii_only else "█▒░"
    whole = _marks(used + reserved, width)
    solid = min(whole, _marks(used, width))
    return full * solid + part * (whole - solid) + free * (width - whole)


def _marks(share: float, width: int) -> int:
    if not share > 0.0:  # NaN too
        return 0
    if share >= 1.0:
        return width
    return min(max(1, round(share * width)), width - 1)


class Section:
    """Lines under one name.

    Args:
        label: its name; without one its lines have the whole width.
        lines: what there is to say; at least one line where the section is shown at all.
        whole: True when no line may be left out for want of height.
        least: lines it is given before any other gets more.
        total: how many lines there would be, where only some were made.
    """

    def __init__(
        self,
        label: str,
        lines: list[Line],
        *,
        whole: bool = False,
        least: int = 1,
        total: int = 0,
    ) -> None:
        self.label = label
        self.lines = lines
        self.whole = whole
        self.least = least
        self.total = max(total, len(lines))

    def shown(self, count: int, width: int) -> list[Line]:
        """Return `count` lines, or fewer, that say how many are left out."""
        if count <= 0:
            return []
        lines = self.lines
        if self.total > count:
            kept = lines[: count - 1] if count > 1 else []
            left = self.total - len(kept)
            more: Line = [(f"and {left} more" if kept else f"{left} lines; no room", "dim")]
            lines = [*kept, more]
        labels = [self.label] + [""] * (len(lines) - 1)
        if not self.label:
            return [cut(line, width) for line in lines]
        wide = max(0, width - LABEL)
        return [
            cut([(label.ljust(LABEL), "bold"), *cut(line, wide)], width)
            for label, line in zip(labels, lines, strict=True)
        ]


def share_height(sections: Sequence[Section], height: int) -> list[int]:
    """Return how many lines each section gets: whole ones all, the others in turns.

    >>> a, b = Section("a", [[]] * 9), Section("b", [[]] * 2, whole=True)
    >>> share_height([a, b, a], 9)
    [4, 2, 3]
    """
    given = [len(one.lines) if one.whole else min(one.least, len(one.lines)) for one in sections]
    left = height - sum(given)
    growing = True
    while left > 0 and growing:
        growing = False
        for at, one in enumerate(sections):
            if left > 0 and given[at] < one.total and not one.whole:
                given[at] += 1
                left -= 1
                growing = True
    return given


def lay_out(sections: Sequence[Section], width: int, height: int) -> list[Line]:
    """Return the lines of all sections, `height` at most, none wider than `width`."""
    given = share_height(sections, height)
    lines: list[Line] = []
    for section, count in zip(sections, given, strict=True):
        lines += section.shown(count, width)
    return lines[:height]
