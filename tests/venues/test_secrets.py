"""I13: planted keys are in no log, event, exception, file or process list, whatever goes wrong."""

import asyncio
import copy
import logging
import pickle
import subprocess
import traceback

import pytest

from engine.errors import TickgateError
from tests.venues.desk_world import desk_world
from tests.venues.scripted_exchange import KEY, SECRET, ScriptedExchange
from venues.ccxt_client import ClientSettings, Secret

CANARIES = (KEY, SECRET, "signature=", "X-MBX-APIKEY")


def clean(text: str) -> None:
    for canary in CANARIES:
        assert canary not in text


@pytest.mark.asyncio
async def test_no_secret_is_left_anywhere(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    async with ScriptedExchange() as exchange:
        async with desk_world(tmp_path / "a", exchange, stream=True, timeout_s=0.4) as world:
            for word in ("hang", "reset", "truncate", "html", "504", "redirect", "500 before",
                         "error -1022 Signature for this request is not valid.",
                         f"error -2015 Invalid API-key {KEY} or {SECRET}"):  # fmt: skip
                exchange.script = [word]
                world.submit()
                await world.until(lambda: not world.desk.orders._sends)
                world.desk.brake.holds.clear()
                world.desk.brake.budget._paused[:] = [0.0, 0.0, 0.0]
            await exchange._runner.cleanup()
            world.submit()
            await world.until(lambda: not world.desk.orders._sends)
            clean(repr(world.events))
            clean(repr(world.desk.client) + repr(vars(world.desk)))
            listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True)
            clean(listed.stdout)
    clean(caplog.text)
    clean("".join(capfd.readouterr()))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(canary.encode() in data for canary in CANARIES)


@pytest.mark.asyncio
async def test_an_exchange_that_refuses_the_key_is_one_clean_line(tmp_path):
    async with ScriptedExchange() as exchange:
        exchange.offset_ms = -600_000
        exchange.url += "/nowhere"
        with pytest.raises(TickgateError) as failure:
            async with asyncio.timeout(5):
                async with desk_world(tmp_path / "a", exchange):
                    pass
        clean("".join(traceback.format_exception(failure.value)))
        assert "\n" not in str(failure.value)


def test_a_secret_prints_as_stars_and_is_not_written():
    secret = Secret(SECRET)
    settings = ClientSettings(exchange="binance", key=secret, secret=secret)
    for text in (repr(secret), str(secret), f"{secret}", repr(settings), repr([settings])):
        clean(text)
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not written"):
            write(secret)
