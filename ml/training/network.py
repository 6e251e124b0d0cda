"""A small Relu network trained by Adam in plain loops: the same numbers on every machine.

No BLAS is called and every sum has one order, so that the same rows and seed give the same weights
whatever the processor's vector width is. Adam: Kingma and Ba (2015); He initialisation (2015).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Network:
    """Weights float64[in, out] and biases float64[out] of each layer; Relu between layers."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return scores before the softmax, float64[n, F] to float64[n, C]."""
        sizes = np.array([self.weights[0].shape[0], *(len(b) for b in self.biases)])
        theta = _pack(self)
        return _forward_all(theta, sizes, np.ascontiguousarray(x, np.float64))


def _pack(network: Network) -> np.ndarray:
    parts = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        parts += [weight.ravel(), bias]
    return np.concatenate(parts)


def _unpack(theta: np.ndarray, sizes: np.ndarray) -> Network:
    weights, biases, at = [], [], 0
    for rows, columns in zip(sizes[:-1], sizes[1:], strict=True):
        weights.append(theta[at : at + rows * columns].reshape(rows, columns).copy())
        at += rows * columns
        biases.append(theta[at : at + columns].copy())
        at += columns
    return Network(tuple(weights), tuple(biases))


@numba.njit(cache=True)
def _forward(theta: np.ndarray, sizes: np.ndarray, row: np.ndarray, units: np.ndarray) -> None:
    """Write the values of all layers of one row into `units`, one layer a line."""
    for j in range(sizes[0]):
        units[0, j] = row[j]
    at = 0
    for layer in range(len(sizes) - 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        bias = at + n_in * n_out
        for j in range(n_out):
            units[layer + 1, j] = theta[bias + j]
        for i in range(n_in):
            value = units[layer, i]
            for j in range(n_out):
                units[layer + 1, j] += value * theta[at + i * n_out + j]
        if layer < len(sizes) - 2:
            for j in range(n_out):
                units[layer + 1, j] = max(0.0, units[layer + 1, j])
        at = bias + n_out


@numba.njit(cache=True)
def _forward_all(theta: np.ndarray, sizes: np.ndarray, x: np.ndarray) -> np.ndarray:
    units = np.zeros((len(sizes), sizes.max()))
    out = np.empty((len(x), sizes[-1]))
    for k in range(len(x)):
        _forward(theta, sizes, x[k], units)
        out[k] = units[len(sizes) - 1, : sizes[-1]]
    return out


@numba.njit(cache=True)
def _softmax_loss(units: np.ndarray, n: int, label: int, error: np.ndarray) -> float:
    """Turn scores into the gradient of the log loss in `error`; return the loss."""
    top = units[0]
    for j in range(1, n):
        top = max(top, units[j])
    total = 0.0
    for j in range(n):
        error[j] = np.exp(units[j] - top)
        total += error[j]
    loss = np.log(total) - (units[label] - top)
    for j in range(n):
        error[j] /= total
    error[label] -= 1.0
    return loss


@numba.njit(cache=True)
def _backward(
    theta: np.ndarray, sizes: np.ndarray, units: np.ndarray, errors: np.ndarray, grad: np.ndarray
) -> None:
    """Add one row's gradient to `grad`; errors of the last layer are given."""
    end = len(theta)
    for layer in range(len(sizes) - 2, -1, -1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        bias = end - n_out
        at = bias - n_in * n_out
        for j in range(n_out):
            grad[bias + j] += errors[layer + 1, j]
        for i in range(n_in):
            value = units[layer, i]
            back = 0.0
            for j in range(n_out):
                grad[at + i * n_out + j] += value * errors[layer + 1, j]
                back += theta[at + i * n_out + j] * errors[layer + 1, j]
            errors[layer, i] = back if (value > 0.0 or layer == 0) else 0.0
        end = at


@numba.njit(cache=True)
def _epoch(
    theta: np.ndarray,
    moments: np.ndarray,
    sizes: np.ndarray,
    x: np.ndarray,
    label: np.ndarray,
    order: np.ndarray,
    numbers: tuple[int, int, float, float],
) -> tuple[int, float]:
    """Go once over all rows in `order`; return Adam's step count and the mean loss."""
    step, batch, rate, decay = numbers
    units = np.zeros((len(sizes), sizes.max()))
    errors = np.zeros((len(sizes), sizes.max()))
    grad = np.zeros(len(theta))
    total = 0.0
    for start in range(0, len(order), batch):
        stop = min(start + batch, len(order))
        grad[:] = 0.0
        for k in range(start, stop):
            row = order[k]
            _forward(theta, sizes, x[row], units)
            last = len(sizes) - 1
            total += _softmax_loss(units[last], sizes[last], label[row], errors[last])
            _backward(theta, sizes, units, errors, grad)
        step += 1
        correct_1 = 1.0 - BETA_1**step
        correct_2 = 1.0 - BETA_2**step
        for p in range(len(theta)):
            g = grad[p] / (stop - start) + decay * theta[p]
            moments[0, p] = BETA_1 * moments[0, p] + (1.0 - BETA_1) * g
            moments[1, p] = BETA_2 * moments[1, p] + (1.0 - BETA_2) * g * g
            change = (moments[0, p] / correct_1) / (np.sqrt(moments[1, p] / correct_2) + EPSILON)
            theta[p] -= rate * change
    return step, total / len(order)


def mean_log_loss(scores: np.ndarray, label: np.ndarray) -> float:
    """Return the mean log loss of float64[n, C] scores before the softmax.

    >>> round(mean_log_loss(np.zeros((2, 2)), np.array([0, 1])), 6)
    0.693147
    """
    top = scores.max(axis=1, keepdims=True)
    normal = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
    return float((normal - scores[np.arange(len(label)), label]).mean())


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How to train: layer sizes between input and output, Adam's numbers, when to stop."""

    hidden: tuple[int, ...] = (32, 16)
    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    decay: float = 1e-5
    patience: int = 5
    seed: int = 42


def fit_network(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    fit: Fit,
    *,
    classes: int = 3,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> tuple[Network, list[float]]:
    """Train a network and keep the weights with the least validation loss.

    Args:
        train: normalised float64[n, F] rows and int64[n] labels.
        validation: the same, for early stopping.
        fit: sizes and numbers.
        classes: columns of the output.
        progress: called with a stage and its share.
    Returns:
        The network and the validation loss of every epoch.
    """
    rng = np.random.default_rng(fit.seed)
    x = np.ascontiguousarray(train[0], np.float64)
    label = np.ascontiguousarray(train[1], np.int64)
    sizes = np.array([x.shape[1], *fit.hidden, classes], np.int64)
    weights = [
        rng.standard_normal((a, b)) * np.sqrt(2.0 / a)
        for a, b in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    theta = _pack(Network(tuple(weights), tuple(np.zeros(int(b)) for b in sizes[1:])))
    moments = np.zeros((2, len(theta)))
    best, losses, step = theta.copy(), [], 0
    for epoch in range(fit.epochs):
        order = rng.permutation(len(x))
        numbers = (step, fit.batch, fit.rate, fit.decay)
        step, _ = _epoch(theta, moments, sizes, x, label, order, numbers)
        losses.append(mean_log_loss(_unpack(theta, sizes).scores(validation[0]), validation[1]))
        if losses[-1] == min(losses):
            best = theta.copy()
        elif len(losses) - 1 - int(np.argmin(losses)) >= fit.patience:
            break
        progress("training", (epoch + 1) / fit.epochs)
    return _unpack(best, sizes), losses
