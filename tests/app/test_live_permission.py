"""Live orders are refused unless everything is there, and to every real host in any case."""

import pytest

from app.live_permission import KEY_ENV, SECRET_ENV, TESTNETS, LiveWish, permit_live
from engine.errors import UsageError

KEYS = {KEY_ENV: "key-canary", SECRET_ENV: "secret-canary"}
LOCAL = LiveWish(
    venue="embedded",
    urls=("http://127.0.0.1:9000", "ws://127.0.0.1:9000/ws-api/v3"),
    limits_given=True,
    confirmed="main",
    account="main",
)


def test_this_machine_and_testnets_are_allowed_when_all_is_given():
    assert permit_live(LOCAL, KEYS) == ("key-canary", "secret-canary")
    assert permit_live(LOCAL._replace(urls=("http://[::1]:9/",)), KEYS)
    for host in TESTNETS:
        assert permit_live(LOCAL._replace(urls=(f"https://{host}/api",)), KEYS)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.binance.com",
        "https://testnet.binance.vision.evil.example",
        "https://127.0.0.1.evil.example",
        "https://user@api.binance.com:443/127.0.0.1",
        "https://10.0.0.1",
        "https://0.0.0.0",
        "https://API.BINANCE.COM.",
        "https:///path",
        "",
    ],
)
def test_every_other_host_is_refused_whatever_is_confirmed(url):
    with pytest.raises(UsageError, match="refused: for now"):
        permit_live(LOCAL._replace(urls=(*LOCAL.urls, url)), KEYS)


@pytest.mark.parametrize(
    ("wish", "environment", "words"),
    [
        (LOCAL._replace(limits_given=False), KEYS, "no risk limits"),
        (LOCAL, {}, KEY_ENV),
        (LOCAL, {KEY_ENV: "k"}, SECRET_ENV),
        (LOCAL, {KEY_ENV: "k", SECRET_ENV: " changeme "}, SECRET_ENV),
        (LOCAL._replace(confirmed=""), KEYS, "--confirm-live main"),
        (LOCAL._replace(confirmed="other"), KEYS, "--confirm-live main"),
        (LOCAL._replace(urls=()), KEYS, "has no address"),
        (LOCAL._replace(urls=("http://testnet.binance.vision",)), KEYS, "by https"),
    ],
)
def test_what_is_missing_is_named_in_one_line_without_a_key(wish, environment, words):
    with pytest.raises(UsageError, match=words) as refusal:
        permit_live(wish, environment)
    assert "canary" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
