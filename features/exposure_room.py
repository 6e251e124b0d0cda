"""Share of the exposure limit that is still free: 1 - used / limit.

Used is what the risk gate counts against the limit of the owner (`models[].book_from`): filled,
resting, in flight and unknown, at cost. Below 0 where fills cost more than was reserved. An order
that opens more than this is blocked or made smaller, whatever a sizer wishes.
"""

from features.own_record import OWN_STATE
from features.registry import feature, quotes
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the free share."""
    return 1.0 - o["used"] / o["limit"] if o["limit"] > 0.0 else NAN


feature(
    "exposure_room",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="share",
    range="up to 1",
    source="own definition",
    inputs=OWN_STATE,
)
