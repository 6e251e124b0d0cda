"""The bus: order and types inside; bounds, policies and counters outside."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bus import Bus, Outlet, Policy, Topic


def test_subscribers_are_called_in_order_and_only_for_their_type():
    bus, seen = Bus(), []
    bus.topic(int).subscribe(lambda n: seen.append(("first", n)))
    bus.topic(int).subscribe(lambda n: seen.append(("second", n)))
    bus.topic(str).subscribe(seen.append)
    bus.publish(1)
    bus.publish("a")
    bus.publish(2.0)
    bus.publish(True)  # a bool is an int to isinstance, not to the bus
    assert seen == [("first", 1), ("second", 1), "a"]


def test_unsubscribing_while_events_are_handed_out():
    topic, seen = Topic[int](), []

    def once(n: int) -> None:
        seen.append(n)
        topic.unsubscribe(once)

    topic.subscribe(once)
    topic.subscribe(seen.append)
    topic.publish(1)
    topic.publish(2)
    assert seen == [1, 1, 2]
    with pytest.raises(AssertionError):
        topic.unsubscribe(once)


def test_a_raising_handler_stops_the_run():
    topic = Topic[int]()
    topic.subscribe(lambda n: 1 // n)
    with pytest.raises(ZeroDivisionError):
        topic.publish(0)


@given(
    st.lists(st.integers(0, 5) | st.none(), max_size=60),
    st.integers(1, 4),
    st.sampled_from(Policy),
)
def test_no_outlet_grows_and_every_event_is_accounted_for(steps, size, policy):
    key = (lambda n: n) if policy is Policy.CONFLATE else None
    outlet = Outlet[int](size, policy, key=key)
    refused, out = 0, []
    for step in steps:
        if step is None:
            out += outlet.take(1)
        else:
            refused += not outlet.put(step)
        assert len(outlet) <= size
    assert outlet.taken + refused == sum(step is not None for step in steps)
    assert outlet.taken == outlet.delivered + outlet.dropped + outlet.conflated + len(outlet)
    assert outlet.delivered == len(out)
    assert (refused == 0) or policy is Policy.BLOCK
    assert (outlet.dropped == 0) or policy is not Policy.BLOCK


def test_drop_oldest_keeps_the_newest_in_order():
    outlet = Outlet[int](3, Policy.DROP_OLDEST)
    for n in range(10):
        outlet.put(n)
    assert (outlet.take(), outlet.dropped) == ([7, 8, 9], 7)


def test_conflate_keeps_the_newest_of_each_key():
    outlet = Outlet[tuple[str, int]](2, Policy.CONFLATE, key=lambda event: event[0])
    for event in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        outlet.put(event)
    assert outlet.take() == [("b", 1), ("c", 1)]
    assert (outlet.conflated, outlet.dropped) == (1, 1)


@pytest.mark.asyncio
async def test_a_blocking_outlet_loses_nothing_when_the_producer_waits():
    outlet = Outlet[int](2, Policy.BLOCK)

    async def produce() -> None:
        for n in range(50):
            await outlet.room()
            assert outlet.put(n)
        outlet.close()

    task = asyncio.create_task(produce())
    seen = []
    async for n in outlet:
        seen.append(n)
        await asyncio.sleep(0)
    await task
    assert seen == list(range(50))
    assert outlet.most <= 2


@pytest.mark.asyncio
async def test_a_closed_outlet_ends_its_reader_and_counts_what_comes_late():
    outlet = Outlet[int](2, Policy.DROP_OLDEST)
    outlet.put(1)
    outlet.close()
    assert not outlet.put(2)
    assert [n async for n in outlet] == [1]
    assert outlet.dropped == 1
    await asyncio.wait_for(outlet.room(), 1)
