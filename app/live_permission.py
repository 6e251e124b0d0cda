"""Whether live orders may be sent at all. A pure look at what was given; nothing is connected."""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from engine.errors import UsageError

KEY_ENV, SECRET_ENV = "TICKGATE_API_KEY", "TICKGATE_API_SECRET"
CONFIRMATION = "--confirm-live"
TESTNETS = frozenset(
    {
        "testnet.binance.vision",
        "stream.testnet.binance.vision",
        "ws-api.testnet.binance.vision",
        "demo-api.binance.com",
        "demo-stream.binance.com",
        "demo-ws-api.binance.com",
        "api-testnet.bybit.com",
        "stream-testnet.bybit.com",
        "api-demo.bybit.com",
        "stream-demo.bybit.com",
    }
)
_NO_KEYS = frozenset({"", "changeme", "your-key", "your-secret", "xxx", "none"})


class LiveWish(NamedTuple):
    """What a live run was asked for."""

    venue: str
    urls: tuple[str, ...]  # every address that it would speak to
    limits_given: bool  # the settings name every risk limit
    confirmed: str  # the account's name, as typed behind the confirmation
    account: str


def permit_live(wish: LiveWish, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return key and secret, or refuse.

    Live orders go to this machine or to a venue's testnet; every other address is refused whatever
    is confirmed, until risk and venues have been deepened.

    Args:
        wish: what was asked for.
        environment: where the keys are; nowhere else are they looked for.
    Raises:
        UsageError: one line that says what is missing or not allowed.
    """
    if not wish.urls:
        raise UsageError(f"--live: venue {wish.venue} has no address")
    for url in wish.urls:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
        if not _allowed(host):
            raise UsageError(
                f"--live: {host or 'an address without a host'} is refused: for now live orders go "
                "only to this machine (127.0.0.1) or to a venue's testnet, whatever is confirmed"
            )
        if urlsplit(url).scheme not in ("https", "wss") and not _is_loopback(host):
            raise UsageError(f"--live: {host} must be spoken to by https or wss")
    if not wish.limits_given:
        raise UsageError("--live: the settings name no risk limits; see docs/risk.md")
    found = []
    for name in (KEY_ENV, SECRET_ENV):
        value = environment.get(name, "")
        if value.strip().lower() in _NO_KEYS:
            raise UsageError(f"--live: the environment variable {name} holds no key")
        found.append(value)
    if wish.confirmed != wish.account:
        raise UsageError(
            f"--live: confirm with {CONFIRMATION} {wish.account} that real orders are meant"
        )
    return found[0], found[1]


def _allowed(host: str) -> bool:
    return _is_loopback(host) or host in TESTNETS


def _is_loopback(host: str) -> bool:
    """Return True for an address of this machine; names prove nothing but for localhost."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
