"""The exchange's refusals: Binance's numbered errors as one exception with its common cases."""

NO_SUCH_ORDER = -2013


class Refused(Exception):
    """A request is answered with `{"code": code, "msg": msg}` and an HTTP status."""

    def __init__(self, code: int, msg: str, status: int = 400, retry_after_s: int = 0) -> None:
        super().__init__(f"{code} {msg}")
        self.code = code
        self.msg = msg
        self.status = status
        self.retry_after_s = retry_after_s


def missing(name: str) -> Refused:
    """Return the refusal of a request that lacks a parameter.

    >>> missing("symbol").code
    -1102
    """
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    return Refused(-1102, text)


def illegal(name: str, legal: str) -> Refused:
    """Return the refusal of a parameter with illegal characters."""
    return Refused(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def filter_failure(name: str) -> Refused:
    """Return the refusal of an order that breaks a symbol's filter."""
    return Refused(-1013, f"Filter failure: {name}")


def insufficient() -> Refused:
    """Return the refusal of an order that the account cannot pay."""
    return Refused(-2010, "Account has insufficient balance for requested action.")


def bad_symbol() -> Refused:
    """Return the refusal of an unknown symbol."""
    return Refused(-1121, "Invalid symbol.")


def no_such_order() -> Refused:
    """Return the answer to a query for an order that is not there."""
    return Refused(NO_SUCH_ORDER, "Order does not exist.")


def unknown_order() -> Refused:
    """Return the answer to a cancel for an order that is not open."""
    return Refused(-2011, "Unknown order sent.")
