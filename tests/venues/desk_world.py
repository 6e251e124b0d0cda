"""An order desk on a scripted exchange, through unmodified ccxt, with approvals made for tests."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from engine.account import Account
from engine.events import OrderState
from engine.instruments import Instrument
from engine.orders import _GATE_KEY, Approved, Order
from engine.venue_events import Filled, Healed, Trouble
from tests.venues.scripted_exchange import KEY, SECRET, ScriptedExchange
from venues.ccxt_client import ClientSettings, Secret, open_client
from venues.order_desk import OrderDesk, StreamSettings
from venues.outcome import VenueRules
from venues.user_stream import Keys

BTC = Instrument(
    venue="embedded", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001"
)


def approved(
    order_id: int, side: int = 1, qty: int = 100, tick: int = 6_000_000, kind: int = 1
) -> Approved:
    """Make what the gate would make."""
    order = Order(order_id, order_id, 0, side)
    order.qty_lot, order.price_tick, order.order_type, order.purpose = qty, tick, kind, 0
    if kind == 0:
        order.price_tick = 0
    return Approved(order, (tick - 5, tick + 5), _GATE_KEY)


class DeskWorld:
    """A desk, its exchange and what it told."""

    def __init__(self, desk: OrderDesk, exchange: ScriptedExchange, events: list) -> None:
        self.desk = desk
        self.exchange = exchange
        self.events = events
        self.ids = itertools.count()

    def submit(self, **order) -> str:
        given = approved(next(self.ids), **order)
        self.desk.orders.submit(given)
        return next(reversed(self.desk.account.state.orders))

    def order(self, client: str):
        return self.desk.account.state.orders[client]

    def state(self, client: str) -> OrderState:
        return OrderState(self.order(client).state)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def troubles(self) -> list[str]:
        return [event.code for event in self.of(Trouble)]

    def healed(self) -> list[str]:
        return [event.code for event in self.of(Healed)]

    def fills(self) -> list[tuple[str, int]]:
        return [(event.trade_id, event.qty_lot) for event in self.of(Filled)]

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        """Wait until something is true; the loop is never blocked."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def settled(self, client: str, state: OrderState, seconds: float = 5.0) -> None:
        await self.until(lambda: self.state(client) == state, seconds)


@asynccontextmanager
async def desk_world(
    folder: Path,
    exchange: ScriptedExchange,
    *,
    stream: bool = False,
    poll_s: float = 0.05,
    rules: VenueRules | None = None,
    timeout_s: float = 1.0,
    policy: str = "written",
    chance: int = 1,
) -> AsyncIterator[DeskWorld]:
    """Open a desk; its account's folder outlives it."""
    settings = ClientSettings(
        exchange="binance",
        key=Secret(KEY),
        secret=Secret(SECRET),
        base_url=exchange.url,
        timeout_s=timeout_s,
    )
    events: list = []
    account = Account(folder, events.append, lambda: exchange.now() * 1_000_000, policy=policy)
    client = await open_client(settings)
    client.rules = rules or client.rules
    streamed = None
    if stream:
        keys = Keys(Secret(KEY), Secret(SECRET))
        streamed = StreamSettings(url=exchange.stream_url, keys=keys)
    desk = OrderDesk(client, account, [BTC], stream=streamed, poll_s=poll_s)
    world = DeskWorld(desk, exchange, events)
    try:
        await desk.start(chance)
        yield world
    finally:
        await desk.close()
