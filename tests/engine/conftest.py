"""Coroutine tests of this folder run on the loop that trades: uvloop."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give the loop by its name in the tests' ids."""
    return {"uvloop": uvloop.new_event_loop}
