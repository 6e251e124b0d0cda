"""What a live run starts from: the account's balances, and what it has lost before."""

from decimal import Decimal

from engine.account import Account
from engine.account_marks import count, counted
from engine.account_state import LOSSES, WHOSE
from engine.errors import RunError
from engine.money import MINOR_PER_UNIT

NS_PER_DAY = 86_400_000_000_000


def balances_of(account: Account) -> dict[str, str]:
    """Return what the account holds of each asset that it counts, as decimal texts.

    Raises:
        RunError: less than nothing.
    """
    found = {}
    for asset in sorted(account.state.baseline):
        amount = account.state.expected(asset)
        assert amount is not None
        if amount < 0:
            raise RunError(
                f"the journal adds up to {amount:f} {asset}: look at the exchange, then "
                f"`lab.py account declare {asset} AMOUNT --why TEXT`"
            )
        found[asset] = f"{amount.quantize(Decimal(1) / MINOR_PER_UNIT):f}"
    return found


class Losses:
    """Keeps an account's losses in its journal, across runs, as distances from equity at cost.

    Equity at cost moves only with fills and is always known; what prices have made of the positions
    is counted when the next run has seen prices, whatever they did in between.

    Args:
        account: whose.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept = counted(account, LOSSES, WHOSE) or (0,) * 9

    @property
    def before(self) -> tuple[int, int, int]:
        """Return what is kept: the day since the epoch, its first equity, the peak."""
        day, began, peak = self._kept[:3]
        return day, began, peak

    def keep(self, day: int, began: int, peak: int) -> None:
        """Store the distances of now, if they are others."""
        numbers = (day, began, peak)
        if numbers != self._kept[:3] and day > 0:
            count(self._account, LOSSES, WHOSE, numbers)
            self._kept = (*numbers, *(0,) * 6)
