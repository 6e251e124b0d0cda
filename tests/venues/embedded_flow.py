"""A trading process on the embedded exchange: orders of every kind, for soak and kill tests.

Run as `python -m tests.venues.embedded_flow FOLDER REST_URL WS_URL ORDERS SEED`; the keys come from
the environment. Prints the final picture as one JSON line, unless it is killed before.
"""

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

from engine.account import Account
from engine.events import OrderState
from engine.instruments import Instrument
from engine.venue_events import Filled, Trouble
from tests.venues.desk_world import approved
from venues.ccxt_client import ClientSettings, Secret, open_client
from venues.order_desk import OrderDesk, StreamSettings
from venues.outcome import BINANCE
from venues.rate_budget import RateBudget
from venues.user_stream import Keys


async def open_desk(folder: Path, rest: str, stream: str) -> tuple[OrderDesk, list]:
    """Open a desk on the exchange, with short bounds, as a test needs them."""
    key, secret = Secret(os.environ["FLOW_KEY"]), Secret(os.environ["FLOW_SECRET"])
    settings = ClientSettings(
        exchange="binance", key=key, secret=secret, base_url=rest, timeout_s=1.0
    )
    client = await open_client(settings)
    client.rules = BINANCE._replace(lag_bound_s=0.5, polls=3, request_life_s=6.0)
    events: list = []
    account = Account(folder, events.append, time.time_ns, boot="this-boot")
    await client.load()
    market = client.market("BTC/USDT")["precision"]
    btc = Instrument(
        venue="embedded", symbol="BTCUSDT", base="BTC", quote="USDT",
        tick=str(market["price"]), lot=str(market["amount"]),
    )  # fmt: skip
    desk = OrderDesk(
        client, account, [btc],
        stream=StreamSettings(url=stream, keys=Keys(key, secret)) if stream else None,
        budget=RateBudget(orders=(500, 10.0), cancels=(500, 10.0), queries=(500, 10.0)),
        poll_s=0.5,
    )  # fmt: skip
    return desk, events


async def trade(desk: OrderDesk, orders: int, seed: int) -> None:
    """Send orders that rest, cross, are refused and are cancelled."""
    chance = random.Random(seed)
    book = (await desk.queries.call("fetch_order_book", "BTC/USDT", 5)).value
    tick = float(desk.client.market("BTC/USDT")["precision"]["price"])
    for number in range(orders):
        if number % 10 == 0:
            book = (await desk.queries.call("fetch_order_book", "BTC/USDT", 5)).value or book
        mid = round((float(book["bids"][0][0]) + float(book["asks"][0][0])) / 2 / tick)
        side = chance.choice((1, -1))
        kind, away = chance.choice(
            ((1, -60), (1, -20), (1, 5), (2, 40), (0, 80), (3, 60), (3, -30))
        )
        qty = (
            chance.randrange(100, 4000)
            if chance.random() < 0.7
            else chance.randrange(50_000, 300_000)
        )
        price = mid + side * away
        desk.orders.submit(approved(number, side=side, qty=qty, tick=price, kind=kind))
        await asyncio.sleep(0.02 + 0.03 * chance.random())
        live = list(desk.account.state.live)
        if live and chance.random() < 0.25:
            desk.orders.cancel_client(chance.choice(live))


def picture(desk: OrderDesk, events: list) -> dict:
    """Return what the account adds up to."""
    state = desk.account.state
    states: dict[str, int] = {}
    for order in state.orders.values():
        name = OrderState(order.state).name
        states[name] = states.get(name, 0) + 1
    return {
        "states": states,
        "orders": {name: [o.state, o.filled_lot, o.reason] for name, o in state.orders.items()},
        "fills": len(state.fills),
        "late": sum(isinstance(e, Filled) and e.late for e in events),
        "money": {asset: str(state.expected(asset)) for asset in state.baseline},
        "troubles": sorted({e.code for e in events if isinstance(e, Trouble)}),
        "unknowns": sum(type(e).__name__ == "Unknown" for e in events),
        "rejects": sum(type(e).__name__ == "Rejected" for e in events),
        "partial": sum(0 < o.filled_lot < o.qty_lot for o in state.orders.values()),
    }


async def main() -> None:
    folder, rest, stream, orders, seed = sys.argv[1:6]
    desk, events = await open_desk(Path(folder), rest, stream)
    await desk.start(int(seed))
    print("started", flush=True)
    await trade(desk, int(orders), int(seed))
    await finish(desk)
    print(json.dumps(picture(desk, events)), flush=True)
    await desk.close()


async def finish(desk: OrderDesk, seconds: float = 25.0) -> None:
    """Cancel what is open and wait until every order is over."""
    async with asyncio.timeout(seconds):
        while desk.account.state.live:
            for client in list(desk.account.state.live):
                desk.orders.cancel_client(client)
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
