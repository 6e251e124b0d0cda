"""The network's gradient, and that the same rows and seed give the same weights."""

import numpy as np

from ml.training import network as nw


def data(n: int = 400):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    return x, np.digitize(x[:, 0] + x[:, 1] * x[:, 2], [-0.5, 0.5])


def test_the_gradient_is_that_of_the_loss():
    x, label = data(20)
    sizes = np.array([4, 5, 3, 3])
    rng = np.random.default_rng(1)
    count = sum(a * b + b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    theta = rng.normal(size=count) * 0.5

    def loss(values):
        return nw.mean_log_loss(nw._unpack(values, sizes).scores(x), label)

    units, errors = np.zeros((4, 5)), np.zeros((4, 5))
    grad = np.zeros(count)
    for row, wanted in zip(x, label, strict=True):
        nw._forward(theta, sizes, row, units)
        nw._softmax_loss(units[3], 3, wanted, errors[3])
        nw._backward(theta, sizes, units, errors, grad)
    for k in range(0, count, 5):
        step = np.zeros(count)
        step[k] = 1e-6
        slope = (loss(theta + step) - loss(theta - step)) / 2e-6
        assert abs(slope - grad[k] / len(x)) < 1e-6


def test_training_lowers_the_loss_and_repeats_itself():
    x, label = data()
    parts = (x[:300], label[:300]), (x[300:], label[300:])
    fit = nw.Fit(hidden=(8,), epochs=12, batch=32, rate=5e-3)
    first, losses = nw.fit_network(*parts, fit)
    second, again = nw.fit_network(*parts, fit)
    assert min(losses) < 0.9 * losses[0]
    assert losses == again
    for a, b in zip(first.weights + first.biases, second.weights + second.biases, strict=True):
        assert a.tobytes() == b.tobytes()
    other, _ = nw.fit_network(*parts, nw.Fit(hidden=(8,), epochs=12, seed=43))
    assert other.weights[0].tobytes() != first.weights[0].tobytes()


def test_the_kept_weights_are_those_of_the_best_epoch():
    x, label = data(120)
    held = data(400)[0][120:], data(400)[1][120:]
    network, losses = nw.fit_network((x, label), held, nw.Fit(hidden=(64,), epochs=90, rate=3e-2))
    assert len(losses) < 90
    assert abs(nw.mean_log_loss(network.scores(held[0]), held[1]) - min(losses)) < 1e-12
