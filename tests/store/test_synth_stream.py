"""The endless generator gives the rows of the finite one, wherever it stops and goes on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from store.synth import SynthSettings, generate
from store.synth_stream import SynthStream

MINUTE_NS = 60_000_000_000
MARKET = SynthSettings(symbols=2, hours=0.5, seed=3, predictability=0.4)


def joined(blocks, name: str) -> list:
    return np.concatenate([getattr(block, name) for block in blocks]).tolist()


@settings(max_examples=25)
@given(stops=st.sets(st.integers(1, 29)), rows=st.integers(2, 300), index=st.integers(0, 1))
def test_stops_change_no_row(stops: set[int], rows: int, index: int) -> None:
    whole = list(generate(MARKET, index))
    stream = SynthStream(MARKET, index)
    parts = []
    for minute in [*sorted(stops), 30]:
        end = MARKET.start_ns + minute * MINUTE_NS
        parts += stream.until(end, rows)
        assert all(block.quotes["ts_event"].max(initial=0) < end for block in parts)
    for name in ("quotes", "trades", "seconds", "minutes"):
        assert joined(parts, name) == joined(whole, name)


def test_rate_changes_from_where_it_stands() -> None:
    stream = SynthStream(MARKET, 0)
    slow = list(stream.until(MARKET.start_ns + 5 * MINUTE_NS))
    stream.set_rate(100.0)
    fast = list(stream.until(MARKET.start_ns + 10 * MINUTE_NS))
    assert len(joined(fast, "quotes")) > 5 * len(joined(slow, "quotes"))
    other = list(SynthStream(MARKET, 0).until(MARKET.start_ns + 5 * MINUTE_NS))
    assert joined(slow, "quotes") == joined(other, "quotes")
