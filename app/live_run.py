"""A run with real orders: the account, the venue and what earlier runs left, then the session.

What the session sends its orders to is in app/live_orders.py.
"""

import asyncio
import contextlib
import os
import secrets
from pathlib import Path

import msgspec
import numpy as np

from app.inference import cores_of
from app.live import TELL_WITHIN_S, Session
from app.live_books import balances_of
from app.live_inbox import Inbox
from app.live_job import Job
from app.live_orders import LiveOrders, cancel_known
from app.live_record import account_folder
from app.live_urls import Urls
from app.log import logger
from app.market_feed import open_market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.serving import Serving
from app.warm import warm
from app.wire import plan
from config.settings import Settings
from engine.account import Account
from engine.account_marks import clear
from engine.clock import SystemClock
from engine.errors import RunError
from engine.journal_layout import Latch, Name
from engine.limits import MAX_MODELS
from engine.rows import NS_PER_S
from engine.run_files import Summary
from venues.ccxt_client import ClientSettings, Secret, import_ccxt, open_client
from venues.order_desk import OrderDesk, StreamSettings
from venues.user_stream import Keys

LEFTOVER_S = 60.0  # how long the fate of earlier orders is awaited at the start
CCXT = {"embedded": "binance"}  # the exchange that ccxt takes it for
LAG_S = {"embedded": 2.0}  # our own exchange's queries miss no order for longer


class LiveJob(Job, kw_only=True):
    """What a live session is asked to do.

    Attributes:
        urls: every address that it speaks to.
        account: whose journal it is.
        clear: an operator's word that ends the latches, "" for none.
    """

    urls: Urls
    account: str = "main"
    clear: str = ""


def live(job: LiveJob, keys: tuple[str, str]) -> Summary:
    """Run a session with real orders until it is over.

    Args:
        job: what was asked; permitted already (app/live_permission.py).
        keys: key and secret.
    Raises:
        UsageError: settings, account and venue do not go together.
        RunError: the venue cannot be used, or earlier orders have no proven fate; nothing traded.
    """
    import uvloop

    cores_of(job.settings.engine.inference_cores)
    secret = Keys(Secret(keys[0]), Secret(keys[1]))
    notifier = Notifier(job.settings.notify, os.environ)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_session(job, secret, notifier))
    finally:
        notifier.close(TELL_WITHIN_S)


async def _session(job: LiveJob, keys: Keys, notifier: Notifier) -> Summary:
    clock = SystemClock()
    folder = account_folder(Path(job.settings.runs_dir), f"{job.venue}-{job.account}")
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        market = await open_market(
            job.venue,
            job.symbols,
            bar_interval_ns=job.settings.engine.bar_interval_s * NS_PER_S,
            clock=clock,
            stack=stack,
            base_url=job.urls.rest,
        )
        await asyncio.gather(
            asyncio.to_thread(warm, job.settings, (), job.say), asyncio.to_thread(import_ccxt)
        )
        inbox = Inbox(clock.now_ns)
        account = Account(folder, inbox.tell, clock.now_ns, boot=_boot())
        models = ModelNames(account)
        client = await open_client(
            ClientSettings(
                exchange=CCXT[job.venue], key=keys.key, secret=keys.secret, base_url=job.urls.rest
            )
        )
        if job.venue in LAG_S:
            client.rules = client.rules._replace(lag_bound_s=LAG_S[job.venue])
        desk = OrderDesk(
            client,
            account,
            market.instruments,
            stream=StreamSettings(url=job.urls.orders, keys=keys),
            models=models.numbers,
        )
        stack.push_async_callback(desk.close)
        await desk.start(secrets.randbelow(36**2))
        await _end_leftovers(desk)
        if job.clear:
            for which in list(account.state.latches):
                await clear(account, desk.commit, Latch(which), job.clear)
        settings = with_balances(job.settings, balances_of(account))
        parts = plan(settings, market.instruments, ())
        for serving in parts.models:
            models.serves(serving)
        parts.swaps.heard.append(models.serves)
        run_id, run_dir = new_run_dir(Path(settings.runs_dir))
        orders = LiveOrders(desk, inbox, folder, clock)
        job.settings = settings
        run = (run_id, run_dir)
        session = Session(job, market, parts, run, clock=clock, notifier=notifier, venue=orders)
        return await session.run()


def with_balances(settings: Settings, balances: dict[str, str]) -> Settings:
    """Let the account's balances stand in the settings, which are kept with the run."""
    portfolio = msgspec.structs.replace(settings.portfolio, balances=balances)
    return msgspec.structs.replace(settings, portfolio=portfolio)


async def _end_leftovers(desk: OrderDesk) -> None:
    """Cancel what earlier runs left open, and wait for the fate of every order.

    Raises:
        RunError: an order has none yet.
    """
    state = desk.account.state
    if not state.live:
        return
    logger("orders").info("orders.leftovers", orders=len(state.live), remedy="cancelled")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEFTOVER_S):
            while state.live:
                cancel_known(desk)
                await asyncio.sleep(0.1)
    if state.live:
        raise RunError(
            f"{len(state.live)} orders of earlier runs have no proven fate yet: nothing is traded "
            "before; start again later, or see `lab.py account show`"
        )


class ModelNames:
    """The journal's numbers of the models behind orders.

    Args:
        account: whose journal.

    Attributes:
        numbers: int64[MAX_MODELS], by owner, as they serve now.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self.numbers = np.zeros(MAX_MODELS, np.int64)

    def serves(self, serving: Serving) -> None:
        """Journal the version that serves from here on."""
        words = [serving.model_id, serving.version, serving.sha256]
        number = self._account.name(Name.MODEL, msgspec.json.encode(words).decode())
        self.numbers[serving.index] = number


def _boot() -> str:
    """Return a text that changes when the machine starts anew, "" where none can be had."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""
