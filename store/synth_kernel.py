"""The synthetic market's event loop: a jitted function of (seed, symbol, ordinal), in blocks.

Every random number is `draw(key, ordinal, k)`: a splitmix64 hash of a key made from seed and
symbol, the number of the step and the number of the draw within it. Nothing is shared between
instruments, and a longer run repeats the shorter one row by row.

A step takes the time to the next event from the sum of all rates (a Markov jump process), then one
event: a size update, a trade inside the touch, a move of the mid, or a change of a latent state.
Latent are the pressure `u` in {-1, 0, 1} (seconds), the burst `w` in {0, 1} (seconds), and, drawn
once a minute, the regime `d` in {-1, 0, 1} and the logarithm of the volatility `h` (AR(1)).
"""

import math

import numpy as np
from numba import njit

NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_US = 1_000

# Rates a second; those of sizes, trades and moves are scaled by activity, volatility and burst.
MOVE_RATE = 0.35
PRESSURE_ON, PRESSURE_OFF = 0.08, 0.13  # 0 -> each side; each side -> 0
BURST_ON, BURST_OFF = 0.05, 0.2
BURST_FACTOR = np.array([0.625, 2.5])  # averages to 1 over the stationary burst state
WIDEN_1, NARROW_2, WIDEN_2, NARROW_3 = 0.03, 0.6, 0.1, 1.0
# Per minute.
REGIME_ON, REGIME_OFF = 1.0 / 40.0, 1.0 / 30.0
VOL_PHI, VOL_SD = 0.97, 0.6
# Share of a predictable move that follows the pressure and the regime.
PRESSURE_WEIGHT, REGIME_WEIGHT = 0.75, 0.25
FLOW_PRESSURE, FLOW_REGIME = 0.35, 0.3  # bias of trade sides
BOOK_PRESSURE, SIZE_SIGMA, TRADE_SIGMA = 0.45, 0.6, 1.1
MOVE_WITH_TRADE = 0.6
MIN_MOVE, HEAVY_SHARE, HEAVY_FACTOR = 3, 0.03, 3.0
MIN_LATENCY_US, LATENCY_MEDIAN_US, LATENCY_SIGMA = 3_000.0, 2_500.0, 0.7
PRICE_FLOOR_TICK = 100

_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX_1 = np.uint64(0xBF58_476D_1CE4_E5B9)
_MIX_2 = np.uint64(0x94D0_49BB_1331_11EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_DRAWS = np.uint64(16)  # draws kept apart for each ordinal
_TO_UNIT = 1.0 / (1 << 53)
_MINUTE_ORDINAL = 1 << 58  # the ordinals of minutes begin here, far above those of events

SYNTH_STATE = np.dtype(
    [
        # fixed for a run
        ("key", "u8"),
        ("market_key", "u8"),  # shared by the instruments of a seed: common volatility
        ("start", "i8"),
        ("end", "i8"),
        ("predictability", "f8"),
        ("size_rate", "f8"),
        ("trade_rate", "f8"),
        ("move_ticks", "f8"),
        ("start_bid", "i8"),
        ("touch_lots", "f8"),
        ("trade_lots", "f8"),
        ("step_lots", "i8"),
        # moving
        ("t", "i8"),
        ("ordinal", "i8"),
        ("minute_end", "i8"),
        ("minute", "i8"),
        ("next_second", "i8"),
        ("recv", "i8"),
        ("bid", "i8"),
        ("spread", "i8"),
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("u", "i8"),
        ("w", "i8"),
        ("d", "i8"),
        ("h", "f8"),
        ("scale", "f8"),  # activity x volatility of this minute
        ("quotes", "i8"),  # rows written to the block
        ("trades", "i8"),
        ("seconds", "i8"),
        ("minutes", "i8"),
    ],
    align=True,
)
QUOTE_OUT = np.dtype(
    [("ts_event", "i8"), ("ts_recv", "i8"), ("bid", "i8"), ("ask", "i8"),
     ("bid_lots", "i8"), ("ask_lots", "i8")]
)  # fmt: skip
TRADE_OUT = np.dtype(
    [("ts_event", "i8"), ("ts_recv", "i8"), ("price", "i8"), ("lots", "i8"), ("side", "i8")]
)
SECOND_OUT = np.dtype([("ts", "i8"), ("fast", "i8"), ("d", "i8"), ("scale", "f8"), ("bid", "i8")])
MINUTE_OUT = np.dtype([("ts", "i8"), ("d", "i8"), ("h", "f8"), ("bid", "i8")])


@njit(cache=True, inline="always")
def mix(z: np.uint64) -> np.uint64:
    """Scramble 64 bits (splitmix64's finaliser, Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@njit(cache=True)
def make_key(seed: int, stream: int) -> np.uint64:
    """Return the key of one stream (0: the market; k + 1: instrument k) of a seed."""
    return mix(mix(np.uint64(seed) + _GOLDEN) + np.uint64(stream) * _GOLDEN)


@njit(cache=True, inline="always")
def draw(key: np.uint64, ordinal: int, k: int) -> float:
    """Return the uniform number in (0, 1) that belongs to (key, ordinal, k), k < 16."""
    z = mix(key + (np.uint64(ordinal) * _DRAWS + np.uint64(k) + np.uint64(1)) * _GOLDEN)
    return (np.float64(z >> _S11) + 0.5) * _TO_UNIT


@njit(cache=True)
def normal(key: np.uint64, ordinal: int, k: int) -> float:
    """Return the standard normal number of (key, ordinal, draws k and k + 1), by Box and Muller."""
    radius = math.sqrt(-2.0 * math.log(draw(key, ordinal, k)))
    return radius * math.cos(2.0 * math.pi * draw(key, ordinal, k + 1))


@njit(cache=True)
def activity(ts: int) -> float:
    """Return the intraday pattern at a UTC time in ns: mean 1 over a day, most at 14:30."""
    hour = (ts % (24 * 60 * NS_PER_MINUTE)) / (60.0 * NS_PER_MINUTE)
    phase = 2.0 * math.pi * (hour - 14.5) / 24.0
    return 1.0 + 0.35 * math.cos(phase) + 0.15 * math.cos(2.0 * phase)


@njit(cache=True)
def jump_size(x: float, heavy: float, scale: float) -> int:
    """Return the ticks of a mid move from two uniforms: exponential, now and then a heavy one."""
    size = -math.log(x)
    if heavy < HEAVY_SHARE:
        size *= 1.0 + HEAVY_FACTOR
    return MIN_MOVE + int(scale * size)


@njit(cache=True)
def new_minute(s):
    """Move regime and volatility to the minute that begins at `minute_end`."""
    minute = s["minute"]
    ordinal = _MINUTE_ORDINAL + minute
    own = normal(s["key"], ordinal, 0)
    common = normal(s["market_key"], ordinal, 0)
    shock = math.sqrt(0.5) * (own + common)
    x = draw(s["key"], ordinal, 2)
    if minute == 0:
        s["h"] = VOL_SD * shock
        s["d"] = 0 if x < 0.4 else (-1 if x < 0.7 else 1)
    else:
        s["h"] = VOL_PHI * s["h"] + math.sqrt(1.0 - VOL_PHI * VOL_PHI) * VOL_SD * shock
        if s["d"] == 0:
            if x < 2.0 * REGIME_ON:
                s["d"] = -1 if x < REGIME_ON else 1
        elif x < REGIME_OFF:
            s["d"] = 0
    volatility = math.exp(s["h"] - 0.5 * VOL_SD * VOL_SD)
    s["scale"] = volatility * activity(s["minute_end"])
    s["minute"] = minute + 1
    s["minute_end"] += NS_PER_MINUTE


@njit(cache=True)
def draw_lots(s, k, median, sigma, shift):
    """Return a log-normal size in lots, a positive multiple of the step."""
    lots = median * math.exp(sigma * normal(s["key"], s["ordinal"], k) + shift)
    step = s["step_lots"]
    return max(1, int(lots / step + 0.5)) * step


@njit(cache=True)
def draw_touch(s, bid_side, k):
    """Draw the size of one side of the touch anew; the pressure makes it larger or smaller."""
    lean = BOOK_PRESSURE * s["u"]
    if bid_side:
        s["bid_lots"] = draw_lots(s, k, s["touch_lots"], SIZE_SIGMA, lean)
    else:
        s["ask_lots"] = draw_lots(s, k, s["touch_lots"], SIZE_SIGMA, -lean)


@njit(cache=True)
def received(s):
    """Return the receive time of the row at `t`: never before the row before it."""
    late = MIN_LATENCY_US + LATENCY_MEDIAN_US * math.exp(
        LATENCY_SIGMA * normal(s["key"], s["ordinal"], 14)
    )
    recv = (s["t"] // NS_PER_US + int(late)) * NS_PER_US
    s["recv"] = max(recv, s["recv"] + NS_PER_US)
    return s["recv"]


@njit(cache=True)
def put_quote(s, quotes):
    """Write the touch as it stands."""
    row = quotes[s["quotes"]]
    row["ts_event"] = s["t"] // NS_PER_US * NS_PER_US
    row["ts_recv"] = received(s)
    row["bid"] = s["bid"]
    row["ask"] = s["bid"] + s["spread"]
    row["bid_lots"] = s["bid_lots"]
    row["ask_lots"] = s["ask_lots"]
    s["quotes"] += 1


@njit(cache=True)
def put_trade(s, trades, side, lots):
    """Write a trade at the touch that the aggressor hits."""
    row = trades[s["trades"]]
    row["ts_event"] = s["t"] // NS_PER_US * NS_PER_US
    row["ts_recv"] = received(s)
    row["price"] = s["bid"] + (s["spread"] if side > 0 else 0)
    row["lots"] = lots
    row["side"] = side
    s["trades"] += 1


@njit(cache=True)
def trade_step(s, trades):
    """Trade inside the touch: the side hit shrinks, or is filled up again when it was used up."""
    lean = FLOW_PRESSURE * s["u"] + FLOW_REGIME * s["d"]
    side = 1 if draw(s["key"], s["ordinal"], 2) < 0.5 * (1.0 + lean) else -1
    shown = s["ask_lots"] if side > 0 else s["bid_lots"]
    lots = min(draw_lots(s, 3, s["trade_lots"], TRADE_SIGMA, 0.0), shown)
    put_trade(s, trades, side, lots)
    if lots == shown:
        draw_touch(s, side < 0, 5)
    elif side > 0:
        s["ask_lots"] = shown - lots
    else:
        s["bid_lots"] = shown - lots


@njit(cache=True)
def move_step(s, trades):
    """Move the touch; a share of the moves takes its side from the latent state."""
    lean = s["predictability"] * (PRESSURE_WEIGHT * s["u"] + REGIME_WEIGHT * s["d"])
    side = 1 if draw(s["key"], s["ordinal"], 2) < 0.5 * (1.0 + lean) else -1
    scale = s["move_ticks"] * s["bid"] / s["start_bid"]
    ticks = jump_size(draw(s["key"], s["ordinal"], 3), draw(s["key"], s["ordinal"], 4), scale)
    if draw(s["key"], s["ordinal"], 5) < MOVE_WITH_TRADE:
        put_trade(s, trades, side, s["ask_lots"] if side > 0 else s["bid_lots"])
    s["bid"] += side * ticks
    if s["bid"] < PRICE_FLOOR_TICK:
        s["bid"] = PRICE_FLOOR_TICK
    draw_touch(s, True, 6)
    draw_touch(s, False, 8)


@njit(cache=True)
def spread_step(s, widen):
    """Widen or narrow the spread by one tick, on a side chosen by a fair coin."""
    bid_side = draw(s["key"], s["ordinal"], 2) < 0.5
    s["spread"] += 1 if widen else -1
    if bid_side:
        s["bid"] += -1 if widen else 1
    draw_touch(s, bid_side, 6)


@njit(cache=True)
def pressure_step(s):
    """Change the pressure, and show it in the sizes of the touch."""
    if s["u"] != 0:
        s["u"] = 0
    else:
        s["u"] = 1 if draw(s["key"], s["ordinal"], 2) < 0.5 else -1
    draw_touch(s, True, 6)
    draw_touch(s, False, 8)


@njit(cache=True)
def event_step(s, x, quotes, trades):
    """Carry out the event that lies at rate `x` below the sum of all rates."""
    factor = s["scale"] * BURST_FACTOR[s["w"]]
    x -= factor * s["size_rate"]
    if x < 0.0:
        draw_touch(s, draw(s["key"], s["ordinal"], 2) < 0.5, 6)
        put_quote(s, quotes)
        return
    x -= factor * s["trade_rate"]
    if x < 0.0:
        trade_step(s, trades)
        put_quote(s, quotes)
        return
    x -= factor * MOVE_RATE
    if x < 0.0:
        move_step(s, trades)
        put_quote(s, quotes)
        return
    x -= 2.0 * PRESSURE_ON if s["u"] == 0 else PRESSURE_OFF
    if x < 0.0:
        pressure_step(s)
        put_quote(s, quotes)
        return
    x -= BURST_ON if s["w"] == 0 else BURST_OFF
    if x < 0.0:
        s["w"] = 1 - s["w"]
        return
    if s["spread"] == 1:
        spread_step(s, True)
    elif s["spread"] == 2:
        spread_step(s, x >= NARROW_2)
    else:
        spread_step(s, False)
    put_quote(s, quotes)


@njit(cache=True)
def total_rate(s):
    """Return the sum of the rates of all events in this state, a second."""
    spread = s["spread"]
    slow = 2.0 * PRESSURE_ON if s["u"] == 0 else PRESSURE_OFF
    slow += BURST_ON if s["w"] == 0 else BURST_OFF
    slow += WIDEN_1 if spread == 1 else (NARROW_2 + WIDEN_2 if spread == 2 else NARROW_3)
    fast = s["size_rate"] + s["trade_rate"] + MOVE_RATE
    return slow + s["scale"] * BURST_FACTOR[s["w"]] * fast


@njit(cache=True)
def put_seconds(s, until, seconds):
    """Write the latent state at each whole second before `until`; 0 when the block is full."""
    while s["next_second"] < until:
        if s["seconds"] == len(seconds):
            return 0
        row = seconds[s["seconds"]]
        row["ts"] = s["next_second"]
        row["fast"] = (s["u"] + 1) * 2 + s["w"]
        row["d"] = s["d"]
        row["scale"] = s["scale"]
        row["bid"] = s["bid"]
        s["seconds"] += 1
        s["next_second"] += NS_PER_S
    return 1


@njit(cache=True)
def first_touch(s, quotes):
    """Open the market: stationary latent states and the first quote."""
    x = draw(s["key"], 0, 0)
    silent = PRESSURE_OFF / (PRESSURE_OFF + 2.0 * PRESSURE_ON)
    s["u"] = 0 if x < silent else (-1 if x < 0.5 * (1.0 + silent) else 1)
    s["w"] = 1 if draw(s["key"], 0, 1) < BURST_ON / (BURST_ON + BURST_OFF) else 0
    new_minute(s)
    draw_touch(s, True, 6)
    draw_touch(s, False, 8)
    put_quote(s, quotes)
    s["ordinal"] = 1


@njit(cache=True)
def fill_block(states, quotes, trades, seconds, minutes):
    """Generate events until a block is full or the end is reached.

    Args:
        states: SYNTH_STATE[1], moved on; its counters say how many rows of each block are filled.
        quotes, trades, seconds, minutes: blocks of the dtypes above, at least 2 rows each.
    Returns:
        1 when the end is reached, else 0 (write the blocks away and call again). With a later end
        it goes on from there as if it had not stopped.
    """
    s = states[0]
    s["quotes"] = s["trades"] = s["seconds"] = s["minutes"] = 0
    if s["ordinal"] == 0:
        first_touch(s, quotes)
    elif s["t"] == s["minute_end"]:  # it stopped at an end that was moved since
        new_minute(s)
    while True:
        if s["quotes"] + 1 > len(quotes) or s["trades"] + 1 > len(trades):
            return 0
        rate = total_rate(s)
        wait = -math.log(draw(s["key"], s["ordinal"], 0)) / rate
        t = s["t"] + 1 + int(wait * NS_PER_S)
        if not put_seconds(s, min(t, s["minute_end"]), seconds):
            return 0
        if t >= s["minute_end"]:
            if s["minutes"] == len(minutes):
                return 0
            s["t"] = s["minute_end"]
            s["ordinal"] += 1
            row = minutes[s["minutes"]]
            row["ts"] = s["t"]
            row["d"] = s["d"]
            row["h"] = s["h"]
            row["bid"] = s["bid"]
            s["minutes"] += 1
            if s["t"] >= s["end"]:
                return 1
            new_minute(s)
            continue
        s["t"] = t
        event_step(s, draw(s["key"], s["ordinal"], 1) * rate, quotes, trades)
        s["ordinal"] += 1
