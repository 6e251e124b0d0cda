"""Own state a second time, from an audit's records alone: no code of the engine's but its layout.

Records are taken in their order. Prices come from the decisions of a model that decides at every
event, positions and results from fills, exposure from the exposure records, stops from intents.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

DECISION, INTENT, VERDICT, ORDER, FILL, EXPOSURE = 3, 4, 5, 6, 7, 8
SELL, BUY = 0, 2
STOP_LOSS, TAKE_PROFIT = 2, 3
CANCELED, REJECTED, RUN_ENDED = 6, 7, 10
BLOCKED = 2
MINOR = 1e8
MINUTE = 60_000_000_000
TAKER = 2e-4  # of config/default.yaml
HASH_START, HASH_STEP, WORD = 0x2545F491, 0x9E3779B97F4A7C15, (1 << 64) - 1


def row_hash(row: np.ndarray) -> int:
    """Hash a float32 row as docs/audit.md says."""
    h = HASH_START
    pairs = row[: len(row) // 2 * 2].view("<u8").tolist()
    for word in [*pairs, *(row[-1:].view("<u4").tolist() if len(row) % 2 else [])]:
        h = (h ^ word) * HASH_STEP & WORD
        h ^= h >> 32
    return h >> 1


@dataclass
class Leg:
    """Lots of one entry under a stop or target."""

    order: int
    side: int
    lots: int
    stop: int
    signal: int


class Reference:
    """Follows the records of a run; `told` holds what each decision of the sizer's was told.

    Args:
        names: of names.json.
        start: equity at the start, in units of money.
        limit: the adviser's exposure limit.
        teller, sizer: indices of the model that is listened to, and of the one that listens.
    """

    def __init__(self, names: dict[str, Any], start: float, limit: float) -> None:
        self.grids = [
            (float(i["tick"]), float(i["lot"]), float(i["unit_minor"]))
            for i in names["instruments"]
        ]
        self.teller, self.sizer = 0, 1
        self.start = self.peak = start * MINOR
        self.result = 0.0
        self.mid = [math.nan] * len(self.grids)
        self.next_minute = 0
        self.lots: dict[tuple[int, int], int] = defaultdict(int)
        self.cost: dict[tuple[int, int], float] = defaultdict(float)
        self.trip: dict[tuple[int, int], float] = defaultdict(float)
        self.losses: dict[int, int] = defaultdict(int)
        self.used: dict[int, tuple[int, int]] = defaultdict(lambda: (0, int(limit * MINOR)))
        self.said: dict[int, np.void] = {}
        self.intents: dict[int, np.void] = {}
        self.intent_of: dict[int, int] = {}
        self.legs: dict[tuple[int, int], list[Leg]] = defaultdict(list)
        self.exits: dict[int, Leg] = {}
        self.told: dict[int, dict[str, float]] = {}

    def take(self, records: np.ndarray) -> None:
        """Take records in their order."""
        actions = {
            DECISION: self._decision, INTENT: self._intent, VERDICT: self._verdict,
            ORDER: self._order, FILL: self._fill, EXPOSURE: self._exposure,
        }  # fmt: skip
        for record in records:
            if record["kind"] in actions:
                actions[record["kind"]](record)

    def worth(self, at: int, lots: float) -> float:
        """Return what lots are worth at mid."""
        return lots * self.grids[at][1] * self.mid[at] * MINOR if lots else 0.0

    def held(self, at: int) -> int:
        """Return the account's lots."""
        return sum(lots for (_, each), lots in self.lots.items() if each == at)

    def equity(self) -> float:
        """Return the equity at the mids of now."""
        open_results = sum(
            self.worth(at, lots) - self.cost[(model, at)] for (model, at), lots in self.lots.items()
        )
        return self.start + self.result + open_results

    def _mark(self) -> None:
        self.peak = max(self.peak, self.equity())

    def _decision(self, r: np.void) -> None:
        at = int(r["instrument"])
        if r["model"] == self.teller:
            self.mid[at] = (r["f4"] + r["f5"]) / 2
            self.said[at] = r
            self.next_minute = self.next_minute or (r["ts"] // MINUTE + 1) * MINUTE
            if r["ts"] >= self.next_minute:
                self._mark()
                self.next_minute = (r["ts"] // MINUTE + 1) * MINUTE
        elif r["model"] == self.sizer and at in self.said:
            self.told[int(r["id"])] = self._tell(r, at)

    def _tell(self, r: np.void, at: int) -> dict[str, float]:
        said, peer, equity = self.said[at], 1 - at, self.equity()
        owner = (self.teller, at)
        used, limit = self.used[self.teller]
        sell, hold, buy = said["f0"], said["f1"], said["f2"]
        peak = max(self.peak, equity)
        return {
            "signal_confidence": {SELL: sell, BUY: buy}.get(int(said["code"]), hold),
            "signal_classifier_prob": buy,
            "current_drawdown_pct": 100 * (peak - equity) / peak,
            "consecutive_losses": self.losses[self.teller],
            "portfolio_heat": 100 * self._heat() / equity,
            "position_pct": 100 * self.worth(at, self.lots[owner]) / equity,
            "unrealised_pnl_pct": 100
            * (self.worth(at, self.lots[owner]) - self.cost[owner])
            / equity,
            "exposure_room": 1 - used / limit,
            "held": 100 * self.worth(at, self.held(at)) / equity,
            "peer_held": 100 * self.worth(peer, self.held(peer)) / equity,
            "edge": abs(buy - sell),
            "costs": 1e4 * (2 * TAKER + (r["f5"] - r["f4"]) / self.mid[at]),
        }

    def _heat(self) -> float:
        lost = 0.0
        for at, (tick, lot, _) in enumerate(self.grids):
            bare = sum(abs(lots) for (_, each), lots in self.lots.items() if each == at)
            for (_, each), legs in self.legs.items():
                for leg in legs if each == at else ():
                    if leg.stop:
                        way = max(0.0, leg.side * (self.mid[at] - leg.stop * tick))
                        lost += leg.lots * lot * way * MINOR
                        bare -= leg.lots
            lost += self.worth(at, bare)
        return lost

    def _intent(self, r: np.void) -> None:
        self.intents[int(r["id"])] = r
        if r["code"] not in (STOP_LOSS, TAKE_PROFIT):
            return
        legs = self.legs[(int(r["model"]), int(r["instrument"]))]
        leg = next(one for one in legs if one.signal == r["i0"] and one.side == -r["i1"])
        legs.remove(leg)
        if leg.lots > r["i2"]:
            legs.append(replace(leg, lots=leg.lots - int(r["i2"]), order=-1))
        self.exits[int(r["id"])] = replace(leg, lots=int(r["i2"]), order=-1)

    def _verdict(self, r: np.void) -> None:
        at = int(r["instrument"])
        if r["f6"] > 0.0:  # an exit's check comes before the decisions at the same event
            self.mid[at] = r["f6"] * self.grids[at][0]
            self._mark()
        intent = int(r["id"])
        if r["code"] != BLOCKED:
            self.intent_of[int(r["i5"])] = intent
        elif intent in self.exits:
            self._again(intent, self.exits[intent].lots)

    def _again(self, intent: int, lots: int) -> None:
        wish, leg = self.intents[intent], self.exits.pop(intent)
        self.legs[(int(wish["model"]), int(wish["instrument"]))].append(replace(leg, lots=lots))

    def _order(self, r: np.void) -> None:
        intent = int(r["i0"])
        if r["code"] in (CANCELED, REJECTED) and intent in self.exits and r["i5"] != RUN_ENDED:
            self._again(intent, int(r["i2"] - r["i4"]))

    def _fill(self, r: np.void) -> None:
        key = (int(r["model"]), int(r["instrument"]))
        order, side, qty, price, paid, gain = (int(r[f"i{k}"]) for k in range(6))
        before = self.lots[key]
        after = self.lots[key] = before + side * qty
        closed = min(qty, abs(before)) if before * side < 0 else 0
        self.cost[key] += side * price * qty * self.grids[key[1]][2] + gain
        self.result += gain - paid
        self.trip[key] += gain - paid
        if closed and (after == 0 or after * before < 0):
            if self.trip[key]:
                self.losses[key[0]] = self.losses[key[0]] + 1 if self.trip[key] < 0 else 0
            self.trip[key] = 0.0
        wish = self.intents[self.intent_of[order]]
        legs = self.legs[key]
        if qty > closed and (wish["i5"] or wish["i6"]):
            lots = min(qty, abs(after))
            mine = [leg for leg in legs if leg.order == order]
            if mine:
                mine[0].lots += lots
            else:
                legs.append(Leg(order, side, lots, int(wish["i5"]), int(wish["i0"])))
        if closed:
            self._trim(key, after)

    def _trim(self, key: tuple[int, int], position: int) -> None:
        excess = sum(leg.lots for leg in self.legs[key] if leg.side * position > 0) - abs(position)
        for leg in list(self.legs[key]):
            cut = leg.lots
            if leg.side * position > 0:
                cut = min(max(0, excess), leg.lots)
                excess -= cut
            leg.lots -= cut
            if leg.lots == 0:
                self.legs[key].remove(leg)

    def _exposure(self, r: np.void) -> None:
        self.used[int(r["model"])] = (int(r["i4"]), int(r["i5"]))
