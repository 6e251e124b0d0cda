"""Turn columns of audit records into JSON values, a whole column at a time."""

from collections.abc import Sequence
from enum import IntEnum

import msgspec
import numpy as np

from engine.audit_layout import MINOR_DECIMALS, NO_INDEX
from engine.audit_reader import reason_name
from engine.hash_words import words_hash
from engine.instruments import decimals
from engine.run_files import Names

Fields = list[tuple[str, Sequence[str] | Sequence[int]]]
MINOR = 10.0**MINOR_DECIMALS
_SIDES = {1: '"buy"', -1: '"sell"'}


class Tables:
    """Names and increments of a run, by index."""

    def __init__(self, names: Names) -> None:
        """Take the tables of names.json."""
        self.instrument = {one.index: _text(one.name) for one in names.instruments}
        self.model = {one.index: _text(one.name) for one in names.models}
        self.tick = _fractions([one.tick for one in names.instruments])
        self.lot = _fractions([one.lot for one in names.instruments])


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()


def _fractions(increments: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Split increments into whole numbers and powers of ten, so that n * a / b rounds once."""
    powers = np.array([10.0 ** decimals(one) for one in increments] or [1.0])
    wholes = np.array([float(one) for one in increments] or [0.0]) * powers
    return np.round(wholes), powers


class Columns:
    """Some records of one kind; each method gives one column as JSON values."""

    def __init__(self, records: np.ndarray, tables: Tables) -> None:
        """Take AUDIT[n] records of one kind."""
        self._records = records
        self._tables = tables
        self._ints: dict[str, list[int]] = {}

    def ints(self, field: str) -> list[int]:
        """Return a field as int."""
        if field not in self._ints:
            self._ints[field] = self._records[field].tolist()
        return self._ints[field]

    def floats(self, field: str) -> list[str]:
        """Return a float64 field; what is not finite is null."""
        return _numbers(self._records[field])

    def money(self, field: str) -> list[str]:
        """Return minor units as units of the currency."""
        return _numbers(self._records[field] / MINOR)

    def prices(self, field: str) -> list[str]:
        """Return ticks as prices; 0 means no price and is null."""
        ticks = self._records[field]
        prices = self._scaled(ticks, *self._tables.tick)
        return _numbers(np.where(ticks == 0, np.nan, prices))

    def mids(self, field: str) -> list[str]:
        """Return a float64 field in ticks (half ticks are possible) as prices; 0 is null."""
        ticks = self._records[field]
        prices = self._scaled(ticks, *self._tables.tick)
        return _numbers(np.where(ticks == 0.0, np.nan, prices))

    def quantities(self, field: str) -> list[str]:
        """Return lots as base units."""
        return _numbers(self._scaled(self._records[field], *self._tables.lot))

    def sides(self, field: str) -> list[str]:
        """Return +1 as "buy", -1 as "sell"."""
        return [_SIDES.get(value, "null") for value in self.ints(field)]

    def names(self, field: str, enum: type[IntEnum]) -> list[str]:
        """Return the names of an enum's values."""
        known = {value: _text(reason_name(enum, value)) for value in set(self.ints(field))}
        return [known[value] for value in self.ints(field)]

    def sha256(self) -> list[str]:
        """Return slots 0..3 as a hex sha256."""
        words = zip(*(self.ints(f"i{k}") for k in range(4)))
        return [f'"{words_hash(four)}"' for four in words]

    def render(self, kind: str, fields: Fields) -> list[str]:
        """Return one line for each record: the header's fields, then `fields`."""
        named: Fields = [("seq", self.ints("seq")), ("ts", self.ints("ts"))]
        named += [("kind", [f'"{kind}"'] * len(self._records)), ("row", self.ints("row"))]
        head = ",".join(f'"{name}":%s' for name, _ in named)
        tail = ",".join(f'"{name}":%s' for name, _ in fields)
        template = "{" + head + "%s%s" + ("," + tail if tail else "") + "}\n"
        owners = [self._word("model", self._tables.model)]
        owners.append(self._word("instrument", self._tables.instrument))
        columns = [values for _, values in named] + owners + [values for _, values in fields]
        return list(map(template.__mod__, zip(*columns)))

    def _word(self, field: str, table: dict[int, str]) -> list[str]:
        """Name a record's model or instrument; nothing where it has none."""
        indices = self._records[field]
        if (indices == NO_INDEX).all():
            return [""] * len(indices)
        words = {at: f',"{field}":{table.get(at, "null")}' for at in np.unique(indices).tolist()}
        words[NO_INDEX] = ""
        return [words[at] for at in indices.tolist()]

    def _scaled(self, counts: np.ndarray, wholes: np.ndarray, powers: np.ndarray) -> np.ndarray:
        index = np.minimum(self._records["instrument"], len(wholes) - 1)
        scaled: np.ndarray = counts * wholes[index] / powers[index]
        return scaled


def _numbers(values: np.ndarray) -> list[str]:
    texts = list(map(repr, values.tolist()))
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[index] = "null"
    return texts
