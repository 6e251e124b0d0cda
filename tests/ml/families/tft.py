"""A small Temporal Fusion Transformer: quantiles of the return over two horizons.

After Lim, Arik, Loeff and Pfister 2021, "Temporal Fusion Transformers for interpretable
multi-horizon time series forecasting": variable selection, LSTM encoder and decoder, attention with
a causal mask, gated residuals. Encoder length and horizons are constant; quantiles cannot cross.
"""

import torch
from torch import Tensor, nn

FEATURES, STEPS, WIDTH = 4, 8, 8
HORIZONS, LEVELS = ("1m", "5m"), (0.1, 0.5, 0.9)
MEAN = (0.0, 50.0, 50.0, 0.0)  # returns_1, rsi_14, stoch_k, momentum_10
STD = (1e-3, 15.0, 30.0, 0.5)
UNIT = 1e-3  # the head speaks in tenths of a percent
NEVER = -1e9  # a masked place; minus infinity would make NaN of a row that is masked as a whole


class Gate(nn.Module):
    """A gated linear unit beside what it may replace, normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.both = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        value, gate = self.both(x).chunk(2, -1)
        return self.norm(skip + value * torch.sigmoid(gate))


class Residual(nn.Module):
    """A gated residual network."""

    def __init__(self, into: int, width: int) -> None:
        super().__init__()
        self.skip = nn.Linear(into, width)
        self.hidden, self.second = nn.Linear(into, width), nn.Linear(width, width)
        self.gate = Gate(width)

    def forward(self, x: Tensor) -> Tensor:
        z = self.second(nn.functional.elu(self.hidden(x)))
        return self.gate(z, self.skip(x))


class Tft(nn.Module):
    """Read float32[n, STEPS, FEATURES]; answer float32[n, horizons x levels]."""

    mean: Tensor
    scale: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        horizons = len(HORIZONS)
        self.register_buffer("mean", torch.tensor(MEAN))
        self.register_buffer("scale", 1.0 / torch.tensor(STD))
        ahead = torch.triu(torch.ones(STEPS + horizons, STEPS + horizons), 1)[STEPS:]
        self.register_buffer("mask", ahead * NEVER)
        self.embed = nn.Parameter(torch.randn(FEATURES, WIDTH) * 0.3)
        self.shift = nn.Parameter(torch.zeros(FEATURES, WIDTH))
        self.choose = Residual(FEATURES, FEATURES)
        self.known = nn.Parameter(torch.randn(horizons, WIDTH) * 0.3)
        self.encoder = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.decoder = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.after_lstm, self.after_attention = Gate(WIDTH), Gate(WIDTH)
        self.q, self.k = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.v = nn.Linear(WIDTH, WIDTH)
        self.last = Residual(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, len(LEVELS))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) * self.scale
        weights = torch.softmax(self.choose(x), -1)  # which variables count at a step
        each = x.unsqueeze(-1) * self.embed + self.shift
        past = (weights.unsqueeze(-1) * each).sum(2)
        coming = self.known.expand(x.shape[0], -1, -1)
        encoded, state = self.encoder(past)
        decoded, _ = self.decoder(coming, state)
        z = self.after_lstm(torch.cat((encoded, decoded), 1), torch.cat((past, coming), 1))
        asking = z[:, STEPS:]
        scores = self.q(asking) @ self.k(z).transpose(1, 2) / WIDTH**0.5 + self.mask
        z = self.after_attention(torch.softmax(scores, -1) @ self.v(z), asking)
        low, middle, high = self.head(self.last(z)).unbind(-1)
        below, above = nn.functional.softplus(low), nn.functional.softplus(high)
        points = torch.stack((middle - below, middle, middle + above), -1)
        return points.flatten(1) * UNIT
