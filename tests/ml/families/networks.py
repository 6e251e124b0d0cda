"""Small networks over windows of features: convolutions, an LSTM with attention, a transformer.

Each is made without arguments and holds its normalisation; the state dicts beside this file are
theirs, so this is also the file that `factory="networks.py:LstmAttention"` names.
"""

import math

import torch
from torch import Tensor, nn

FEATURES, STEPS, CLASSES = 4, 8, 3
MEAN = (0.0, 50.0, 50.0, 0.0)  # returns_1, rsi_14, stoch_k, momentum_10
STD = (1e-3, 15.0, 30.0, 0.5)


class Normalise(nn.Module):
    """(x - mean) / std, with the numbers inside the file."""

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN))
        self.register_buffer("scale", 1.0 / torch.tensor(STD))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


class Cnn(nn.Module):
    """Two convolutions along time, the mean over time, probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.first = nn.Conv1d(FEATURES, 8, 3, padding=1)
        self.second = nn.Conv1d(8, 8, 3, padding=1)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = self.normalise(x).transpose(1, 2)
        z = torch.relu(self.second(torch.relu(self.first(z))))
        z = torch.cat((z.mean(2), z[:, :, -1]), 1)
        return torch.softmax(self.head(z), -1)


class LstmAttention(nn.Module):
    """A bidirectional LSTM whose steps are weighed by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.lstm = nn.LSTM(FEATURES, 8, batch_first=True, bidirectional=True)
        self.score = nn.Linear(16, 1)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(self.normalise(x))
        weights = torch.softmax(self.score(torch.tanh(states)), 1)
        return torch.softmax(self.head((weights * states).sum(1)), -1)


class Attention(nn.Module):
    """Attention of several heads, written out: it exports as plain products."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, steps, width = x.shape
        parts = self.qkv(x).reshape(n, steps, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(self.size), -1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, steps, width))


class Transformer(nn.Module):
    """One encoder layer over learned places; the last step decides."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.enter = nn.Linear(FEATURES, width)
        self.places = nn.Parameter(torch.randn(STEPS, width) * 0.1)
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mix = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enter(self.normalise(x)) + self.places
        z = z + self.attention(self.first_norm(z))
        z = z + self.mix(self.second_norm(z))
        return torch.softmax(self.head(z[:, -1]), -1)
