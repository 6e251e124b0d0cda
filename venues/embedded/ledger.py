"""Accounts and their money: balances, locks and fees as whole minor units; pure.

Nothing is made or lost: for each asset the free and locked balances of all accounts, the house
(the other side of every trade with the market) and the fees add up to what was deposited.
"""

from typing import NamedTuple

import msgspec

from engine import money
from venues.embedded.amounts import UNIT
from venues.embedded.refusals import insufficient


class AccountSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account as the settings give it."""

    name: str
    api_key: str
    api_secret: str
    balances: dict[str, str]  # asset -> decimal text
    maker_bps: float = 10.0
    taker_bps: float = 10.0
    fee_asset: str = ""  # a third asset that pays the fees while there is enough of it
    fee_asset_price: str = "1"  # of one unit of it, in quote currency

    def __repr__(self) -> str:
        return f"AccountSpec({self.name})"  # never the key or the secret


class Account:
    """One account's balances and fee rates."""

    def __init__(self, index: int, spec: AccountSpec) -> None:
        self.index = index
        self.spec = spec
        self.free: dict[str, int] = {}
        self.locked: dict[str, int] = {}
        for asset, amount in spec.balances.items():
            self.free[asset] = money.minor(amount)
        self.maker_rate = money.fee_rate(spec.maker_bps)
        self.taker_rate = money.fee_rate(spec.taker_bps)
        self.fee_price = money.minor(spec.fee_asset_price)
        self.changed: dict[str, None] = {}  # assets to tell of in the next position event
        self.updated_ms = 0


class Fee(NamedTuple):
    """What was taken for a fill, minor units."""

    asset: str
    amount: int


class Ledger:
    """All accounts, the house and the fees."""

    def __init__(self, specs: tuple[AccountSpec, ...]) -> None:
        self.accounts = [Account(index, spec) for index, spec in enumerate(specs)]
        self.house: dict[str, int] = {}
        self.fees: dict[str, int] = {}

    def total(self, asset: str) -> int:
        """Return the sum over everyone: constant but for deposits."""
        accounts = sum(a.free.get(asset, 0) + a.locked.get(asset, 0) for a in self.accounts)
        return accounts + self.house.get(asset, 0) + self.fees.get(asset, 0)

    def lock(self, account: Account, asset: str, amount: int) -> None:
        """Set money aside for an order.

        Raises:
            Refused: -2010, there is not enough of it.
        """
        if account.free.get(asset, 0) < amount:
            raise insufficient()
        account.free[asset] = account.free.get(asset, 0) - amount
        account.locked[asset] = account.locked.get(asset, 0) + amount
        account.changed[asset] = None

    def unlock(self, account: Account, asset: str, amount: int) -> None:
        """Give back what an order no longer needs."""
        assert 0 <= amount <= account.locked.get(asset, 0)
        account.locked[asset] = account.locked.get(asset, 0) - amount
        account.free[asset] = account.free.get(asset, 0) + amount
        account.changed[asset] = None

    def deposit(self, account: Account, asset: str, amount: int) -> None:
        """Give money to an account from outside; negative takes free money away."""
        assert account.free.get(asset, 0) + amount >= 0
        account.free[asset] = account.free.get(asset, 0) + amount

    def pay(self, account: Account | None, asset: str, amount: int) -> None:
        """Take locked money from an account, or any money from the house (None)."""
        if account is None:
            self.house[asset] = self.house.get(asset, 0) - amount
            return
        assert 0 <= amount <= account.locked.get(asset, 0)
        account.locked[asset] -= amount
        account.changed[asset] = None

    def receive(self, account: Account | None, asset: str, amount: int) -> None:
        """Give money to an account, or to the house (None)."""
        if account is None:
            self.house[asset] = self.house.get(asset, 0) + amount
            return
        account.free[asset] = account.free.get(asset, 0) + amount
        account.changed[asset] = None

    def charge(self, account: Account, asset: str, amount: int, quote: int, *, maker: bool) -> Fee:
        """Take the fee of one fill.

        Args:
            account: who pays.
            asset: what the fill gave the account.
            amount: how much of it, minor units.
            quote: the fill's value in minor units of quote currency.
            maker: whether the order was resting.
        Returns:
            what was taken, from the asset received, or from the account's fee asset.
        """
        rate = account.maker_rate if maker else account.taker_rate
        third = account.spec.fee_asset
        if third:
            worth = money.fee(quote, rate)
            cost = (2 * worth * UNIT + account.fee_price) // (2 * account.fee_price)
            if account.free.get(third, 0) >= cost:
                return self._fee(account, third, cost)
        return self._fee(account, asset, money.fee(amount, rate))

    def _fee(self, account: Account, asset: str, amount: int) -> Fee:
        account.free[asset] = account.free.get(asset, 0) - amount
        self.fees[asset] = self.fees.get(asset, 0) + amount
        account.changed[asset] = None
        return Fee(asset, amount)
