"""One account at one venue, at work: opens, reconciles, sends, follows, resolves, closes."""

import asyncio
from collections.abc import Coroutine, Sequence

import msgspec
import numpy as np

from engine.account import Account
from engine.account_marks import market_of
from engine.errors import JournalError, UsageError, VenueError
from engine.instruments import Instrument
from engine.journal_sync import GroupCommit
from engine.limits import MAX_MODELS
from engine.reconcile import Step
from engine.venue_events import Measure, Trouble
from engine.wire_order import count_of
from venues.ccxt_client import CcxtClient
from venues.order_brake import Brake
from venues.order_polling import PollingFollower
from venues.order_queries import OrderQueries, Traded
from venues.order_resolver import Resolver
from venues.orders_ccxt import CcxtOrders
from venues.outcome import Kind, judge
from venues.rate_budget import RateBudget
from venues.reconciliation import reconcile
from venues.user_stream import Dial, Keys, UserStream, dial

HOUSEKEEPING_S = 0.05
PLACE_CHECK_ROUNDS = 20
POLL_S = 1.0
POLL_BESIDE_STREAM_S = 10.0


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the order stream is followed; without it orders are followed by polling."""

    url: str  # of the venue's WebSocket API
    keys: Keys
    open_socket: Dial = dial


class OrderDesk:
    """What a runner holds of a venue.

    Args:
        client: an open exchange.
        account: the open journal; its listener gets every event.
        instruments: by the tape's index.
        stream: the order stream, None to poll.
        budget: requests that may leave.
        poll_s: rest between polls; 0.0: a second, ten beside a stream.
        models: by owner, the journal's numbers of the models as they serve now; None for none.
    """

    def __init__(
        self,
        client: CcxtClient,
        account: Account,
        instruments: Sequence[Instrument],
        *,
        stream: StreamSettings | None = None,
        budget: RateBudget | None = None,
        poll_s: float = 0.0,
        models: np.ndarray | None = None,
    ) -> None:
        clock = asyncio.get_running_loop().time
        self.client = client
        self.account = account
        self._instruments = tuple(instruments)
        self._stream = stream
        self._poll_s = poll_s or (POLL_BESIDE_STREAM_S if stream else POLL_S)
        self.brake = Brake(budget or RateBudget(), account.tell, clock)
        self.commit = GroupCommit(account.journal)
        self.queries = OrderQueries(client, account, {}, self.brake, clock)
        self._models = np.zeros(MAX_MODELS, np.int64) if models is None else models
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = clock
        self.orders: CcxtOrders
        self.stream: UserStream | None = None

    async def start(self, chance: int) -> list[Step]:
        """Reserve a run tag, reconcile, and follow; orders may leave when this returns.

        Returns:
            The steps of the reconciliation; those that ask for a halt have been told as Trouble.
        Raises:
            VenueError, UsageError, JournalError: no trading; nothing was sent. Close it then too.
        """
        await self.client.load()
        self.account.start_run(chance)
        traded = [self._traded(instrument) for instrument in self._instruments]
        self.queries.traded = {one.market.instrument.symbol: one for one in traded}
        self.orders = CcxtOrders(self.queries, self.commit, traded, self._models)
        try:
            steps = await reconcile(self.queries)
        except VenueError as error:
            raise VenueError(": ".join(filter(None, (str(error), self.brake.why)))) from None
        if self._stream is not None:
            self.stream = UserStream(
                self.queries,
                self._stream.url,
                self._stream.keys,
                self._reconciled,
                now_ms=self.client.now_ms,
                open_socket=self._stream.open_socket,
            )
            self._run(self.stream.run(), "order-stream")
            try:
                await asyncio.wait_for(self.stream.live.wait(), 15.0)
            except TimeoutError:
                raise VenueError(f"{self.client.name}: the order stream cannot be had") from None
        self._run(PollingFollower(self.queries, self._poll_s).run(), "order-polls")
        self._run(Resolver(self.queries, self._clock).run(), "order-resolver")
        self._run(self._housekeeping(), "order-housekeeping")
        return steps

    async def close(self) -> None:
        """Send nothing more, wait for answers, stop following, close the exchange and journal."""
        if hasattr(self, "orders"):
            await self.orders.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.commit.close()
        await self.client.close()
        self.account.journal.close()

    async def _reconciled(self) -> None:
        await reconcile(self.queries, with_balances=False)

    def _traded(self, instrument: Instrument) -> Traded:
        """Find an instrument at the exchange, and refuse a grid that is not the exchange's."""
        symbol = f"{instrument.base}/{instrument.quote}"
        market = self.client.market(symbol)
        precision = market.get("precision") or {}
        for name, ours in (("price", instrument.tick), ("amount", instrument.lot)):
            theirs = str(precision.get(name) or "")
            if not theirs or count_of(ours, theirs) is None:
                raise UsageError(
                    f"{instrument.name}: {name} step {ours} does not fit the venue's "
                    f"{theirs or 'unknown step'}"
                )
        return Traded(market_of(self.account, instrument), symbol, str(market["id"]))

    async def _housekeeping(self) -> None:
        """Hash, allocate, look after the journal's file, the clock and the holds."""
        journal, rounds = self.account.journal, 0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            rounds += 1
            journal.settle()
            self.brake.look()
            try:
                if journal.wants_ahead() and not journal.failed:
                    await loop.run_in_executor(None, journal.allocate_ahead)
                if rounds % PLACE_CHECK_ROUNDS == 0:
                    journal.check_place()
                self.brake.heal("journal.space")
            except JournalError as error:
                self.brake.hold("journal.space", str(error))
            if self.brake.may_resync():
                answer = await self.queries.call("load_time_difference")
                outcome = judge(self.client.rules, answer.attempt, answer.value is not None)
                if outcome.kind == Kind.ACCEPTED:
                    self.brake.resynced()

    def _run(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._died)
        self._tasks.append(task)

    def _died(self, task: asyncio.Task[None]) -> None:
        """Let no follower die unseen."""
        if task.cancelled():
            return
        error = task.exception()
        kind = type(error).__name__ if error else "returning"
        self.brake.hold("orders.task_failed", f"{task.get_name()} ended by {kind}")
        self.account.tell(
            Trouble(
                code="orders.task_failed",
                text=f"{task.get_name()} ended by {kind}",
                measure=Measure.HALT,
            )
        )
