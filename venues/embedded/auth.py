"""Who sends a request: keys, HMAC signatures and time stamps."""

import hashlib
import hmac
import re
from collections.abc import Mapping

from venues.embedded.ledger import Account, Ledger
from venues.embedded.refusals import Refused, illegal, missing

MAX_RECV_WINDOW_MS = 60_000
DEFAULT_RECV_WINDOW_MS = 5_000
MAX_AHEAD_MS = 1_000
_SIGNATURE = re.compile(r"(^|&)signature=[^&]*")
_MICROSECONDS_FROM = 100_000_000_000_000


def signature(secret: str, payload: str) -> str:
    """Return the HMAC-SHA256 of a payload, hexadecimal.

    >>> signature("s", "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
    ...           "&recvWindow=5000&timestamp=1499827319559")[:16]
    '2b83f22abbbe1b49'
    """
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def rest_payload(query: str, body: str) -> str:
    """Return what a REST request signs: query and body as sent, without the signature.

    >>> rest_payload("a=1&signature=ff", "b=2")
    'a=1b=2'
    """
    return _SIGNATURE.sub("", query) + _SIGNATURE.sub("", body)


def socket_payload(params: Mapping[str, str]) -> str:
    """Return what a WebSocket request signs: its parameters in alphabetical order.

    >>> socket_payload({"timestamp": "5", "apiKey": "k", "signature": "ff"})
    'apiKey=k&timestamp=5'
    """
    return "&".join(f"{k}={v}" for k, v in sorted(params.items()) if k != "signature")


class Gatekeeper:
    """Knows the keys of all accounts."""

    def __init__(self, ledger: Ledger) -> None:
        self._by_key = {account.spec.api_key: account for account in ledger.accounts}

    def by_key(self, api_key: str) -> Account:
        """Return the account of a key.

        Raises:
            Refused: -2014 no key, -2015 a key that no account has.
        """
        if not api_key:
            raise Refused(-2014, "API-key format invalid.", 401)
        account = self._by_key.get(api_key)
        if account is None:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return account

    def signed(self, api_key: str, params: Mapping[str, str], payload: str, now_ms: int) -> Account:
        """Return the account that signed a request.

        Args:
            api_key: as sent.
            params: the request's parameters, with timestamp and signature.
            payload: what must have been signed.
            now_ms: the exchange's time.
        Raises:
            Refused: -2014, -2015, -1102, -1022 or -1021.
        """
        account = self.by_key(api_key)
        for name in ("timestamp", "signature"):
            if not params.get(name):
                raise missing(name)
        expected = signature(account.spec.api_secret, payload)
        if not hmac.compare_digest(expected.encode(), params["signature"].encode()):
            raise Refused(-1022, "Signature for this request is not valid.")
        check_time(params, now_ms)
        return account


def check_time(params: Mapping[str, str], now_ms: int) -> None:
    """Refuse a request from too long ago or from the future.

    Raises:
        Refused: -1021, or -1131 for a window that is too wide.
    """
    stamp = params["timestamp"]
    window_text = params.get("recvWindow", str(DEFAULT_RECV_WINDOW_MS))
    if not re.fullmatch(r"[0-9]{1,20}", stamp, re.ASCII):
        raise illegal("timestamp", "^[0-9]{1,20}$")
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", window_text, re.ASCII):
        raise illegal("recvWindow", r"^([0-9]{1,6})(\.[0-9]{1,3})?$")
    sent_ms = int(stamp)
    if sent_ms >= _MICROSECONDS_FROM:
        sent_ms //= 1000
    window_ms = float(window_text)
    if window_ms > MAX_RECV_WINDOW_MS:
        raise Refused(-1131, f"recvWindow must be less than {MAX_RECV_WINDOW_MS}")
    if sent_ms >= now_ms + MAX_AHEAD_MS:
        text = f"Timestamp for this request was {MAX_AHEAD_MS}ms ahead of the server's time."
        raise Refused(-1021, text)
    if now_ms - sent_ms > window_ms:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")
