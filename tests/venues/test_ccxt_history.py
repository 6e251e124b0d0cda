"""Paging through the past of an exchange that knows no ids, only times."""

from typing import Any

import ccxt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import VenueError
from venues import ccxt_history
from venues.ccxt_history import HOUR_MS, CcxtHistory, Market

BTC = Market("BTC/USDT", "BTC", "USDT", "0.1", "0.001", "5")


class Plain:
    """An exchange that gives trades from a time on, a page at a time, without ids."""

    id = "plain"
    last_response_headers: dict[str, str] = {}

    def __init__(self, stamps: list[int], page: int, failures: list[Exception]) -> None:
        self.options = {"defaultType": "spot"}
        self.stamps, self.page, self.failures = sorted(stamps), page, failures

    def fetch_trades(self, symbol: str, since: int, limit: int) -> list[dict[str, Any]]:
        if self.failures:
            raise self.failures.pop()
        trade = {"id": None, "price": 1.5, "amount": 2.0, "side": "sell"}
        found = [one for one in self.stamps if since <= one <= since + HOUR_MS][: self.page]
        return [{"timestamp": stamp, **trade} for stamp in found]


def pages(stamps: list[int], page: int, *failures: Exception) -> tuple[list[int], list[float]]:
    """Return the times that were fetched of 0..10 h, and the pauses made."""
    waits: list[float] = []
    history = CcxtHistory(Plain(stamps, page, list(failures)), ccxt, waits.append)
    found: list[int] = []
    reached = 0
    for one in history.trades(BTC, 0, 10 * HOUR_MS):
        assert one.reached_ns >= reached
        assert (one.rows["ts_event"] >= reached).all()
        reached = one.reached_ns
        found += (one.rows["ts_event"] // 10**6).tolist()
        assert (one.rows["side"] == -1).all()
    assert reached == 10 * HOUR_MS * 10**6
    return found, waits


@given(
    gaps=st.lists(st.sampled_from([0, 0, 1, 2, 1000, HOUR_MS, 3 * HOUR_MS]), max_size=40),
    page=st.integers(1, 6),
)
def test_no_trade_is_lost_or_doubled(gaps: list[int], page: int) -> None:
    stamps = np.cumsum(np.array(gaps, np.int64)).tolist()
    most_at_once = max((stamps.count(one) for one in stamps), default=0)
    page += most_at_once
    assert pages(stamps, page)[0] == [one for one in stamps if one < 10 * HOUR_MS]


def test_more_trades_of_one_time_than_a_page_holds_are_refused() -> None:
    with pytest.raises(VenueError, match="do not go on after 60 trades of one time"):
        pages([1, *[7] * 70, 12], 60)


def test_what_fails_is_asked_again_with_growing_pauses_and_then_told() -> None:
    assert pages([5], 4, *[ccxt.RequestTimeout("secret") for _ in range(3)]) == (
        [5], [0.5, 1.0, 2.0],
    )  # fmt: skip
    with pytest.raises(VenueError) as caught:
        pages([5], 4, *[ccxt.RequestTimeout("http://secret") for _ in range(9)])
    assert str(caught.value) == "plain does not answer (RequestTimeout after 5 attempts)"
    with pytest.raises(VenueError, match=r"plain refuses fetch_trades \(ExchangeError\)"):
        pages([5], 4, ccxt.ExchangeError("secret"))


def test_names_of_venues() -> None:
    assert ccxt_history.open_history("binance_spot")._exchange.id == "binance"
    assert ccxt_history.open_history("kraken")._exchange.id == "kraken"
