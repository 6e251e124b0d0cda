"""Trains a PPO and a SAC agent for a moment and exports their actors, with their own answers.

Run by tests/ml/families/make.py. What stands around the net goes into the graph: the statistics of
the observations, the softmax of PPO's eight actions, SAC's tanh brought to its range.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn

from tests.ml.families.make_networks import exported
from tests.ml.families.networks import MEAN, STD

FEATURES, GOLDEN, EPISODE = 4, 40, 64
SHARES = (0.0, 0.25, 0.5, 1.0, -0.25, -0.5, -1.0, 0.0)  # positions that the eight actions want


class Market(gymnasium.Env[np.ndarray, Any]):
    """Drawn features, the first of which says something of the next return."""

    def __init__(self, discrete: bool) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (FEATURES,), np.float32)
        self.action_space = (
            gymnasium.spaces.Discrete(len(SHARES))
            if discrete
            else gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        )
        self.discrete = discrete
        self.at = 0
        self.z = np.zeros(FEATURES)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self._next(), {}

    def step(self, action):
        wanted = SHARES[int(action)] if self.discrete else float(action[0])
        reward = wanted * (float(self.z[0]) + 0.3 * float(self.np_random.normal()))
        self.at += 1
        return self._next(), reward, False, self.at >= EPISODE, {}

    def _next(self) -> np.ndarray:
        self.z = self.np_random.normal(size=FEATURES)
        return (self.z * np.array(STD) + np.array(MEAN)).astype(np.float32)


class Actor(nn.Module):
    """A policy with all that happens before and behind it."""

    mean: Tensor
    scale: Tensor

    def __init__(self, policy: Any, seen: VecNormalize, discrete: bool) -> None:
        super().__init__()
        kept: Any = seen.obs_rms
        scale = 1.0 / np.sqrt(kept.var + seen.epsilon)
        self.register_buffer("mean", torch.tensor(kept.mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.clip = float(seen.clip_obs)
        self.policy, self.discrete = policy, discrete

    def forward(self, x: Tensor) -> Tensor:
        z = torch.clamp((x - self.mean) * self.scale, -self.clip, self.clip)
        if self.discrete:
            latent = self.policy.mlp_extractor.forward_actor(z)
            return torch.softmax(self.policy.action_net(latent), -1)
        actor = self.policy.actor
        return torch.tanh(actor.mu(actor.latent_pi(z)))  # its range is -1..1 already


def trained(name: str) -> tuple[PPO | SAC, VecNormalize]:
    """Train an agent of stable-baselines3 for a few hundred steps."""
    torch.set_num_threads(1)
    discrete = name == "ppo"
    seen = VecNormalize(DummyVecEnv([lambda: Market(discrete)]), norm_reward=False)
    words: dict[str, Any] = {"policy_kwargs": {"net_arch": [12, 12]}, "seed": 1, "device": "cpu"}
    if discrete:
        agent: PPO | SAC = PPO("MlpPolicy", seen, n_steps=256, learning_rate=3e-3, **words)
        return agent.learn(2_048), seen
    agent = SAC("MlpPolicy", seen, learning_starts=100, learning_rate=3e-3, **words)
    return agent.learn(400), seen


def answers(agent: PPO | SAC, seen: VecNormalize, x: np.ndarray) -> np.ndarray:
    """Ask the agent itself: probabilities of PPO's actions, SAC's action."""
    rows: Any = seen.normalize_obs(x)
    if isinstance(agent, PPO):
        with torch.inference_mode():
            found: Any = agent.policy.get_distribution(torch.from_numpy(rows)).distribution
            return np.asarray(found.probs.numpy(), np.float32)
    return np.asarray(agent.predict(rows, deterministic=True)[0], np.float32)


def make(folder: Path) -> None:
    """Write the files of both agents."""
    rng = np.random.default_rng(11)
    x = (rng.normal(size=(GOLDEN, FEATURES)) * STD + np.array(MEAN)).astype(np.float32)
    for name in ("ppo", "sac"):
        agent, seen = trained(name)
        actor = Actor(agent.policy, seen, discrete=name == "ppo").eval()
        np.savez_compressed(folder / f"{name}.npz", x=x, y=answers(agent, seen, x))
        (folder / f"{name}.onnx").write_bytes(exported(actor, x))
