"""Client order ids: a run tag of eight characters and the order's ordinal, unique for ever.

`[a-z0-9]{9,18}` is what every venue accepts. The tag is made of the second at which the run began
and two characters of chance, and it is reserved in the account's journal before the first order, so
no later run can take it again. Only the ordinal reaches decisions and their digest.
"""

from engine.errors import UsageError

TAG_CHARACTERS = 8
MAX_CHARACTERS = 18
MAX_ORDINAL = 36 ** (MAX_CHARACTERS - TAG_CHARACTERS) - 1
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_EPOCH_S = 1_577_836_800  # 2020-01-01: six digits of base 36 last until 2088


def base36(number: int) -> str:
    """Return a whole number >= 0 in base 36.

    >>> base36(0), base36(35), base36(36)
    ('0', 'z', '10')
    """
    assert number >= 0
    text = DIGITS[number % 36]
    while number := number // 36:
        text = DIGITS[number % 36] + text
    return text


def run_tag(started_s: int, chance: int) -> str:
    """Make the tag of a run.

    Args:
        started_s: seconds since the epoch, UTC.
        chance: a random number; two characters of it are used.
    Example:
        >>> run_tag(1_790_000_000, 7)
        '3ibe6807'
    """
    second = max(started_s - _EPOCH_S, 0) % 36**6
    return base36(second).rjust(6, "0") + base36(chance % 36**2).rjust(2, "0")


def client_id(tag: str, ordinal: int) -> str:
    """Return the client order id of an order.

    >>> client_id("3ibe6807", 41)
    '3ibe680715'
    """
    assert len(tag) == TAG_CHARACTERS
    assert set(tag) <= set(DIGITS)
    assert 0 <= ordinal <= MAX_ORDINAL
    return tag + base36(ordinal)


def parse_client_id(text: str) -> tuple[str, int]:
    """Split a client order id of ours into run tag and ordinal.

    Raises:
        UsageError: it was not made by `client_id`.
    Example:
        >>> parse_client_id("3ibe680715")
        ('3ibe6807', 41)
    """
    tag, rest = text[:TAG_CHARACTERS], text[TAG_CHARACTERS:]
    whole = TAG_CHARACTERS < len(text) <= MAX_CHARACTERS and set(text) <= set(DIGITS)
    if not whole or (rest[0] == "0" and rest != "0"):
        raise UsageError("a client order id is not one of ours")
    return tag, int(rest, 36)


def is_ours(text: str) -> bool:
    """Return True for a text that has the form of our client order ids."""
    try:
        parse_client_id(text)
    except UsageError:
        return False
    return True
