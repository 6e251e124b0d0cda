"""The synthetic market's own conditional probabilities: the ceiling of any model's skill on it.

Second by second: given pressure, burst, regime, volatility and activity now, the law of the mid's
displacement over the horizon is that of a Markov additive process. Its characteristic function is
a matrix exponential, taken over a lattice of frequencies and inverted (Asmussen, Applied
Probability and Queues, 2003, XI.2). Exact but for the lattice (an eighth of a mean move), the
interpolation in the rate, and a change of minute within the horizon.

Minute by minute: given regime and volatility of the minute that just ended, the displacement over
the horizon is a mixture of normals over the paths of regime and volatility; the mixture is taken
over a fixed set of hashed paths. The mean effect of the present pressure (seconds) is left out.
"""

import math

import msgspec
import numpy as np
from numba import njit

from store import synth_kernel as k

RATE_GRID = np.exp(np.linspace(math.log(0.01), math.log(30.0), 41))  # activity x volatility
LOG_VOL_GRID = np.linspace(-4.0 * k.VOL_SD, 4.0 * k.VOL_SD, 33)
ACTIVITY_GRID = np.linspace(0.4, 1.6, 9)
LATTICE = 512
MOVE_UNITS = 8  # lattice points to a mean move
PATHS = 4096
FLAT_TICKS = 1  # flat band of the scale of seconds: what a changing spread does to the mid
FLAT_MOVES = 3.0  # flat band of the scale of minutes, in mean moves


class MoveLaw(msgspec.Struct, frozen=True):
    """Moments and lattice law of the size of a mid move, relative to the move scale."""

    mean: float
    square: float
    lattice: np.ndarray  # float64[LATTICE // 2]: P(size is j lattice units), j >= 1


def move_law(move_ticks: float) -> MoveLaw:
    """Tabulate the sizes that `jump_size` makes, in ticks, by its quantiles.

    Example:
        >>> law = move_law(45.0)
        >>> round(law.mean), round(float(law.lattice.sum()), 9)
        (52, 1.0)
    """
    points = (np.arange(200_000) + 0.5) / 200_000
    weights, sizes = [], []
    for share, factor in ((k.HEAVY_SHARE, 1.0 + k.HEAVY_FACTOR), (1.0 - k.HEAVY_SHARE, 1.0)):
        sizes.append(k.MIN_MOVE + np.floor(move_ticks * factor * -np.log(points)))
        weights.append(np.full(len(points), share / len(points)))
    size, weight = np.concatenate(sizes), np.concatenate(weights)
    mean = float(weight @ size)
    units = np.clip(np.rint(size * MOVE_UNITS / mean).astype(int), 1, LATTICE // 2 - 1)
    lattice = np.bincount(units, weights=weight, minlength=LATTICE // 2)
    return MoveLaw(mean, float(weight @ size**2), lattice)


def fast_generator() -> np.ndarray:
    """Return the rates float64[6, 6] of the fast states, index (u + 1) * 2 + w."""
    pressure = np.array(
        [
            [-k.PRESSURE_OFF, k.PRESSURE_OFF, 0.0],
            [k.PRESSURE_ON, -2.0 * k.PRESSURE_ON, k.PRESSURE_ON],
            [0.0, k.PRESSURE_OFF, -k.PRESSURE_OFF],
        ]
    )
    burst = np.array([[-k.BURST_ON, k.BURST_ON], [k.BURST_OFF, -k.BURST_OFF]])
    return np.kron(pressure, np.eye(2)) + np.kron(np.eye(3), burst)


def _up_share(predictability: float, d: int) -> np.ndarray:
    """Return P(a move is up) in each fast state."""
    u = np.repeat([-1.0, 0.0, 1.0], 2)
    lean = predictability * (k.PRESSURE_WEIGHT * u + k.REGIME_WEIGHT * d)
    return 0.5 * (1.0 + lean)


def _exponential(matrices: np.ndarray) -> np.ndarray:
    """Return exp of each matrix of a stack, by scaling and squaring of a Taylor series."""
    size = float(np.abs(matrices).sum(axis=-1).max())
    squarings = max(0, math.ceil(math.log2(max(size, 1e-12))) + 3)
    small = matrices / 2.0**squarings
    result = np.broadcast_to(np.eye(matrices.shape[-1], dtype=matrices.dtype), small.shape)
    for order in range(10, 0, -1):
        result = np.eye(matrices.shape[-1]) + small @ result / order
    for _ in range(squarings):
        result = result @ result
    return result


def second_table(
    predictability: float, law: MoveLaw, horizon_s: float, rates: np.ndarray = RATE_GRID
) -> np.ndarray:
    """Tabulate the probabilities of down, flat and up over `horizon_s` seconds.

    Flat means that no move came, or that the moves cancelled but for FLAT_TICKS.

    Returns:
        float64[len(rates), 3 regimes (d = -1, 0, 1), 6 fast states, 3].
    """
    theta = 2.0 * math.pi * np.arange(LATTICE // 2 + 1) / LATTICE
    sizes = np.exp(1j * np.outer(theta, np.arange(LATTICE // 2))) @ law.lattice
    generator = fast_generator()
    moves = k.MOVE_RATE * np.tile(k.BURST_FACTOR, 3)
    table = np.empty((len(rates), 3, 6, 3))
    for d in (0, 1):
        up = _up_share(predictability, d)
        sign = sizes[:, None] * up + sizes.conj()[:, None] * (1.0 - up)  # [theta, state]
        for index, rate in enumerate(rates):
            diagonal = rate * moves * (sign - 1.0)
            stack = generator + diagonal[:, :, None] * np.eye(6)
            law_of = _exponential(stack * horizon_s).sum(axis=2)  # [theta, state]
            mass = np.fft.irfft(law_of.conj(), n=LATTICE, axis=0)
            none = _exponential((generator - np.diag(rate * moves))[None] * horizon_s)[0].sum(1)
            rise = _rise(mass, none, law.mean)
            fall = _rise(np.roll(mass[::-1], 1, axis=0), none, law.mean)
            table[index, d + 1] = np.stack([fall, 1.0 - fall - rise, rise], axis=1)
    flipped = table[:, 2].reshape(len(rates), 3, 2, 3)[:, ::-1, :, ::-1]
    table[:, 0] = flipped.reshape(len(rates), 6, 3)
    return np.clip(table, 0.0, 1.0)


def _rise(mass: np.ndarray, none: np.ndarray, mean_ticks: float) -> np.ndarray:
    """Return P(displacement > FLAT_TICKS), float64[6], from the lattice law and P(no move).

    Opposite moves of nearly one size leave a displacement in the cells around 0; within a cell of
    `mean_ticks / MOVE_UNITS` ticks the flat band takes its share of the width.
    """
    cells = (2 * FLAT_TICKS + 1) * MOVE_UNITS / mean_ticks  # width of the flat band
    total = mass[1 : LATTICE // 2].sum(axis=0)
    if cells <= 1.0:
        return total + 0.5 * (1.0 - cells) * (mass[0] - none)
    return total - 0.5 * (cells - 1.0) * mass[1]


def second_probabilities(
    table: np.ndarray, scale: np.ndarray, d: np.ndarray, fast: np.ndarray
) -> np.ndarray:
    """Read p_down, p_flat, p_up float64[n, 3] from `second_table` for n latent states."""
    position = np.interp(np.log(scale), np.log(RATE_GRID), np.arange(len(RATE_GRID)))
    low = np.minimum(position.astype(np.int64), len(RATE_GRID) - 2)
    part = (position - low)[:, None]
    return table[low, d + 1, fast] * (1.0 - part) + table[low + 1, d + 1, fast] * part


def _diffusion(predictability: float, law: MoveLaw, d: int) -> tuple[float, float]:
    """Return (c1, c2): at rate x the displacement's long-run variance a second is c1 x + c2 x^2.

    c1 is that of the moves themselves, c2 comes from the fast states' changing drift: twice the
    integral of its autocovariance, from the deviation matrix of the generator.
    """
    generator = fast_generator()
    stationary = np.linalg.lstsq(
        np.vstack([generator.T, np.ones(6)]), np.r_[np.zeros(6), 1.0], rcond=None
    )[0]
    moves = k.MOVE_RATE * np.tile(k.BURST_FACTOR, 3)
    drift = moves * (2.0 * _up_share(predictability, d) - 1.0) * law.mean
    centred = drift - stationary @ drift
    solved = np.linalg.solve(np.outer(np.ones(6), stationary) - generator, centred)
    return k.MOVE_RATE * law.square, float(2.0 * (stationary * centred) @ solved)


def minute_table(predictability: float, law: MoveLaw, horizon_minutes: int) -> np.ndarray:
    """Tabulate the probabilities of down, flat and up over whole minutes.

    Flat is a displacement of at most FLAT_MOVES mean moves.

    Returns:
        float64[len(ACTIVITY_GRID), 3 regimes, len(LOG_VOL_GRID), 3].
    """
    key = k.make_key(0, 0)
    draws = np.array([[k.draw(key, p, j) for j in range(3)]
                      for p in range(PATHS // 2 * horizon_minutes)])  # fmt: skip
    draws = draws.reshape(PATHS // 2, horizon_minutes, 3)
    shocks = np.sqrt(-2.0 * np.log(draws[..., 0])) * np.cos(2.0 * math.pi * draws[..., 1])
    shocks = np.concatenate([shocks, -shocks])
    jumps = np.concatenate([draws[..., 2], 1.0 - draws[..., 2]])
    spread = [_diffusion(predictability, law, d) for d in (0, 1)]
    band = FLAT_MOVES * law.mean
    table = np.empty((len(ACTIVITY_GRID), 3, len(LOG_VOL_GRID), 3))
    step_drift = 60.0 * k.MOVE_RATE * law.mean * predictability * k.REGIME_WEIGHT
    for d0 in (0, 1):
        regime = _regime_paths(jumps, d0)
        for column, h0 in enumerate(LOG_VOL_GRID):
            volatility = _volatility_paths(shocks, float(h0))
            for index, active in enumerate(ACTIVITY_GRID):
                rate = active * volatility
                mean = step_drift * (rate * regime).sum(axis=1)
                c1, c2 = spread[0][0], np.where(regime == 0, spread[0][1], spread[1][1])
                sd = np.sqrt(60.0 * (c1 * rate + c2 * rate**2).sum(axis=1))
                rise = _mean_normal_cdf((mean - band) / sd)
                fall = _mean_normal_cdf((-mean - band) / sd)
                table[index, d0 + 1, column] = fall, 1.0 - rise - fall, rise
    table[:, 0] = table[:, 2, :, ::-1]
    return table


def minute_probabilities(
    table: np.ndarray, active: np.ndarray, d: np.ndarray, h: np.ndarray
) -> np.ndarray:
    """Read p_down, p_flat, p_up float64[n, 3] from `minute_table`, bilinear in activity and h."""
    row = np.interp(active, ACTIVITY_GRID, np.arange(len(ACTIVITY_GRID)))
    column = np.interp(h, LOG_VOL_GRID, np.arange(len(LOG_VOL_GRID)))
    i = np.minimum(row.astype(np.int64), len(ACTIVITY_GRID) - 2)
    j = np.minimum(column.astype(np.int64), len(LOG_VOL_GRID) - 2)
    x, y = (row - i)[:, None], (column - j)[:, None]
    low = table[i, d + 1, j] * (1.0 - y) + table[i, d + 1, j + 1] * y
    high = table[i + 1, d + 1, j] * (1.0 - y) + table[i + 1, d + 1, j + 1] * y
    return low * (1.0 - x) + high * x


def _regime_paths(jumps: np.ndarray, d0: int) -> np.ndarray:
    """Return the regimes of the coming minutes, int64[paths, minutes], see `new_minute`."""
    state = np.full(len(jumps), d0)
    path = np.empty(jumps.shape, dtype=np.int64)
    for j in range(jumps.shape[1]):
        x = jumps[:, j]
        start = np.where(x < k.REGIME_ON, -1, np.where(x < 2.0 * k.REGIME_ON, 1, 0))
        state = np.where(state == 0, start, np.where(x < k.REGIME_OFF, 0, state))
        path[:, j] = state
    return path


def _volatility_paths(shocks: np.ndarray, h0: float) -> np.ndarray:
    """Return the volatilities of the coming minutes, float64[paths, minutes]."""
    path = np.empty(shocks.shape)
    h = np.full(len(shocks), h0)
    for j in range(shocks.shape[1]):
        h = k.VOL_PHI * h + math.sqrt(1.0 - k.VOL_PHI**2) * k.VOL_SD * shocks[:, j]
        path[:, j] = np.exp(h - 0.5 * k.VOL_SD**2)
    return path


@njit(cache=True)
def _mean_normal_cdf(x: np.ndarray) -> float:
    """Return the mean of the standard normal distribution function over x, float64[n]."""
    total = 0.0
    for value in x:
        total += 0.5 * (1.0 + math.erf(value / math.sqrt(2.0)))
    return total / len(x)
