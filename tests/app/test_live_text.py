"""Lines that fit: whatever the texts, nothing is wider or higher than it may be, and it ends."""

from hypothesis import given
from hypothesis import strategies as st

from app.live_text import Section, bar, columns, cut, flow, lay_out, line_width

TEXTS = st.text(st.sampled_from("ab 1,.日█"), max_size=20)
CELLS = st.lists(st.tuples(TEXTS, st.sampled_from(["", "bad"])), max_size=6)
WIDTHS = st.integers(-2, 90)


@given(CELLS, WIDTHS)
def test_a_cut_line_is_the_beginning_of_the_line(line, width):
    done = cut(line, width)
    assert line_width(done) <= max(0, width)
    whole, kept = ("".join(text for text, _ in cells) for cells in (line, done))
    assert kept == whole or whole.startswith(kept.removesuffix("…"))


@given(st.lists(CELLS.filter(bool), min_size=1, max_size=5), st.integers(1, 90))
def test_columns_and_flows_fit(rows, width):
    for line in [*columns(rows, width), *(line for row in rows for line in flow(row, width))]:
        assert line_width(line) <= width


@given(
    st.lists(
        st.builds(
            lambda label, lines, whole, total: Section(label, lines, whole=whole, total=total),
            st.sampled_from(["", "market"]),
            st.lists(CELLS, max_size=8),
            st.booleans(),
            st.integers(0, 20),
        ),
        max_size=5,
    ),
    WIDTHS,
    st.integers(1, 30),
)
def test_a_layout_keeps_to_its_size(sections, width, height):
    lines = lay_out(sections, width, height)
    assert len(lines) <= height
    assert all(line_width(line) <= max(0, width) for line in lines)


@given(st.floats(0, 2), st.floats(0, 2), st.integers(2, 40))
def test_a_bar_has_its_width_and_is_full_only_at_the_limit(used, reserved, width):
    drawn = bar(used, reserved, width)
    assert len(drawn) == width
    assert (drawn.count("░") == 0) == (used + reserved >= 1.0)
    assert (drawn.count("░") == width) == (used + reserved == 0.0)
