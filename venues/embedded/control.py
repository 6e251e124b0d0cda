"""The control port: faults, speed, disturbances and the true ledger, as JSON with a token.

It listens on loopback only. Every request carries `Authorization: Bearer TOKEN`; the token came by
an environment variable and is in no answer.
"""

import asyncio
import hmac
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from engine import money
from engine.errors import UsageError
from venues.embedded import control_bodies as bodies
from venues.embedded import disturb, order_messages
from venues.embedded.amounts import text
from venues.embedded.exchange import Exchange
from venues.embedded.faults import Fault
from venues.embedded.flood import MAX_RATE, MAX_SECONDS
from venues.embedded.ledger import Account
from venues.embedded.server import ExchangeServer
from venues.embedded.symbols import Symbol

Answer = Callable[[bytes], Any]


class Control:
    """Answers the control port."""

    def __init__(self, server: ExchangeServer, token: str) -> None:
        assert len(token) >= 16
        self.server = server
        self.exchange: Exchange = server.exchange
        self._token = token
        self._answers: dict[tuple[str, str], Answer] = {
            ("GET", "/state"): lambda _: server.state(),
            ("GET", "/ledger"): lambda _: ledger(server.exchange),
            ("GET", "/faults"): lambda _: server.faults.described(),
            ("POST", "/faults"): self._add_fault,
            ("DELETE", "/faults"): self._clear_faults,
            ("POST", "/engine"): self._engine,
            ("POST", "/symbol"): self._symbol,
            ("POST", "/send"): self._send,
            ("POST", "/bytes"): self._bytes,
            ("POST", "/flood"): self._flood,
            ("GET", "/flood"): lambda _: server.flood.report,
            ("POST", "/speed"): self._speed,
            ("POST", "/clock"): self._clock,
            ("POST", "/connections"): self._connections,
            ("POST", "/trade"): self._trade,
            ("POST", "/deposit"): self._deposit,
            ("POST", "/shutdown"): lambda _: server.stop(),
        }

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        """Check the token and answer."""
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            await asyncio.sleep(0.1)  # guessing is slow
            return _json({"error": "the control token is missing or wrong"}, 401)
        path, _, number = request.path.rpartition("/faults/")
        try:
            if request.method == "DELETE" and not path and number.isascii() and number.isdigit():
                return _json({"removed": self.server.faults.remove(int(number))})
            if (request.method, request.path) == ("POST", "/listen"):
                return _json(await self._listen(await request.read()))
            answer = self._answers.get((request.method, request.path))
            if answer is None:
                known = sorted(f"{verb} {name}" for verb, name in self._answers)
                return _json({"error": "no such request", "known": known}, 404)
            return _json(answer(await request.read()))
        except (UsageError, msgspec.MsgspecError) as error:
            return _json({"error": str(error)}, 400)

    def _add_fault(self, body: bytes) -> Any:
        """Set a fault."""
        fault = msgspec.json.decode(body, type=Fault)
        number = self.server.faults.add(fault)
        if fault.action == "stale":
            self.server.rest.freeze()
        return {"id": number}

    def _clear_faults(self, _: bytes) -> Any:
        """Remove every fault, also those of the engine, and let stalled connections flow."""
        self.server.faults.clear()
        mischief = self.exchange.mischief
        mischief.fragments = mischief.hide_ns = mischief.late_fill_count = 0
        for connection in self.server.connections():
            connection.stalled = connection.mute = False
        return {}

    def _engine(self, body: bytes) -> Any:
        """Set the faults of the matching engine."""
        asked = msgspec.json.decode(body, type=bodies.Engine)
        mischief = self.exchange.mischief
        mischief.fragments = asked.fragments
        mischief.hide_ns = round(asked.hide_ms * 1e6)
        mischief.late_fill_lots = asked.late_fill_lots
        mischief.late_fill_count = asked.late_fill_count if asked.late_fill_lots > 0 else 0
        return msgspec.to_builtins(asked)

    def _symbol(self, body: bytes) -> Any:
        """Disturb one symbol."""
        asked = msgspec.json.decode(body, type=bodies.SymbolChange)
        symbol = self._find(asked.symbol)
        done: dict[str, Any] = {"symbol": symbol.name}
        if asked.status:
            disturb.set_status(symbol, asked.status)
            done["status"] = symbol.status
        if asked.jump_bps:
            done["jump_ticks"] = disturb.jump(self.exchange, symbol, asked.jump_bps)
        if asked.restock:
            disturb.restock(self.exchange, symbol)
        if asked.reset_ids:
            self.server.streams.reset_ids(symbol)
        if asked.cross_ms > 0:
            disturb.cross(self.exchange, symbol)
            later = asyncio.get_running_loop().call_later
            later(asked.cross_ms / 1000.0, disturb.uncross, self.exchange, symbol)
        return done | {"update_id": symbol.book.update_id}

    def _send(self, body: bytes) -> Any:
        """Send a message of one's own."""
        asked = msgspec.json.decode(body, type=bodies.Send)
        sent = disturb.send_text(self.server.streams, asked.stream, asked.payload, asked.changes)
        return {"sent": sent}

    def _bytes(self, body: bytes) -> Any:
        """Break the protocol."""
        asked = msgspec.json.decode(body, type=bodies.Bytes)
        return {"connections": disturb.send_bytes(self.server.streams, asked.kind, asked.size)}

    def _flood(self, body: bytes) -> Any:
        """Begin a flood."""
        asked = msgspec.json.decode(body, type=bodies.FloodOrder)
        flood = self.server.flood
        if flood.task is not None and not flood.task.done():
            raise UsageError("flood: one is running")
        if not (0 < asked.rate <= MAX_RATE and 0 < asked.seconds <= MAX_SECONDS):
            raise UsageError(f"flood: rate up to {MAX_RATE:g}, seconds up to {MAX_SECONDS:g}")
        flood.start(self._find(asked.symbol), asked.rate, asked.seconds)
        return flood.report

    def _speed(self, body: bytes) -> Any:
        """Set how fast market time runs; 0 stops the market."""
        speed = msgspec.json.decode(body, type=bodies.Speed).speed
        if not 0.0 <= speed <= 1000.0:
            raise UsageError("speed: 0 to 1000")
        self.server.set_speed(speed)
        return {"speed": speed}

    def _clock(self, body: bytes) -> Any:
        """Set the exchange's clock off (V22)."""
        self.server.offset_ns = msgspec.json.decode(body, type=bodies.Clock).offset_ms * 1_000_000
        return {"serverTime": self.exchange.now_ms}

    def _connections(self, body: bytes) -> Any:
        """Tell connections of a shutdown, close them, or reset them (F01)."""
        asked = msgspec.json.decode(body, type=bodies.Connections)
        return {"connections": self.server.end_connections(asked.target, asked.how)}

    async def _listen(self, body: bytes) -> Any:
        """Refuse new connections to the exchange's port, or take them again (V04, F22)."""
        wanted = msgspec.json.decode(body, type=bodies.Listen).open
        await self.server.listen(wanted)
        return {"open": wanted}

    def _trade(self, body: bytes) -> Any:
        """Let the house trade once: what fills a resting order at a moment of the test's choice."""
        asked = msgspec.json.decode(body, type=bodies.HouseTrade)
        symbol = self._find(asked.symbol)
        price = money.minor(asked.price)
        tick, rest = divmod(price, symbol.tick_minor)
        if rest or tick < 1 or asked.lots < 1:
            raise UsageError(f"trade: price {asked.price} or lots {asked.lots} is off the grid")
        self.exchange.house_trade(symbol, 1 if asked.side == "BUY" else -1, tick, asked.lots)
        return {"update_id": symbol.book.update_id}

    def _deposit(self, body: bytes) -> Any:
        """Change a balance from outside (V18); the user stream is told."""
        asked = msgspec.json.decode(body, type=bodies.Deposit)
        found = [a for a in self.exchange.ledger.accounts if a.spec.name == asked.account]
        amount = money.minor(asked.amount)
        if not found or found[0].free.get(asked.asset, 0) + amount < 0:
            raise UsageError(f"deposit: no account {asked.account!r}, or not so much to take")
        self.exchange.ledger.deposit(found[0], asked.asset, amount)
        event = order_messages.balance_update(asked.asset, amount, self.exchange.now_ms)
        self.server.users.publish(found[0], "balanceUpdate", event)
        return {"free": text(found[0].free[asked.asset])}

    def _find(self, name: str) -> Symbol:
        symbol = self.exchange.symbols.get(name)
        if symbol is None:
            raise UsageError(f"no symbol {name!r}; there are {', '.join(self.exchange.symbols)}")
        return symbol


def ledger(exchange: Exchange) -> dict[str, Any]:
    """Return the truth: every account's balances, orders and fills, the house and the fees."""
    book = exchange.ledger
    assets = sorted(
        {*book.house, *book.fees, *(asset for one in book.accounts for asset in one.free)}
    )
    return {
        "accounts": {one.spec.name: _account(exchange, one) for one in book.accounts},
        "house": {asset: text(amount) for asset, amount in sorted(book.house.items())},
        "fees": {asset: text(amount) for asset, amount in sorted(book.fees.items())},
        "totals": {asset: text(book.total(asset)) for asset in assets},
    }


def _account(exchange: Exchange, account: Account) -> dict[str, Any]:
    """Return one account's part of the ledger."""
    orders = [one for one in exchange.orders.values() if one.account == account.index]
    return {
        "balances": {
            asset: {"free": text(free), "locked": text(account.locked.get(asset, 0))}
            for asset, free in sorted(account.free.items())
        },
        "orders": [
            order_messages.order_status(exchange.symbols[one.symbol], one) for one in orders
        ],
        "fills": [
            order_messages.my_trade(exchange.symbols[one.order.symbol], one)
            for one in exchange.fills.get(account.index, ())
        ],
    }


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode({} if value is None else value)
    return web.Response(body=body, status=status, content_type="application/json")
