"""EpisodeWorkers: whole episodes of an agent with other weights in its output layer, in processes.

Every member of a population plays its episodes in one process, side by side, so that its returns do
not depend on the number of processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rl_vae.agents.agent import Agent
from rl_vae.envs.registry import EngineName
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError
from rl_vae.sb3.play import Played, play, read_masks_of
from rl_vae.system.processes import Worker, close_workers
from rl_vae.system.worker_process import ParentLink


class EpisodeSet(NamedTuple):
    """Episodes to play."""

    weights: NDArray[np.float64]
    """(D,) weights of the output layer."""
    first_seed: int
    """Environment seed of the first episode; the others follow."""
    episodes: int
    """Number of episodes."""


def output_layer(agent: Agent) -> nn.Linear:
    """The layer that gives an agent's action, or the scores of its actions.

    Raises:
        ConfigError: if the agent's policy has no such layer.
    """
    layer = getattr(agent.policy, "action_net", None)
    if not isinstance(layer, nn.Linear):
        raise ConfigError(
            f"The policy of {agent.recipe.algorithm} has no linear output layer of its own.",
            expected="an agent of PPO, A2C, TRPO, RecurrentPPO or MaskablePPO",
            got=agent.recipe.algorithm,
            remedy="train such an agent",
        )
    return layer


def read_weights(layer: nn.Linear) -> NDArray[np.float64]:
    """Weights and biases of a layer as one vector (D,)."""
    vector: Any = nn.utils.parameters_to_vector(layer.parameters())
    weights: NDArray[np.float64] = vector.detach().double().numpy()
    return weights


def write_weights(layer: nn.Linear, weights: NDArray[np.float64]) -> None:
    """Set weights and biases of a layer from a vector (D,)."""
    with torch.no_grad():
        nn.utils.vector_to_parameters(torch.from_numpy(weights).float(), layer.parameters())


class EpisodePlayer:
    """The environments of one process, in which sets of episodes are played.

    Args:
        agent: The agent; its output layer is changed.
        source: The environment.
        n_envs: Number of environments, each of which plays one episode at a time.
        engine: Environment engine; None: the agent's.
    """

    def __init__(
        self, agent: Agent, source: EnvSource, n_envs: int, engine: EngineName | None
    ) -> None:
        self._layer = output_layer(agent)
        self._agent = agent
        self._venv = agent.make_venv(n_envs, env=source, engine=engine, workers=1)
        self._masks = read_masks_of(self._venv)

    def play(self, members: Sequence[EpisodeSet]) -> list[Played]:
        """Play each set of episodes with the deterministic policy."""
        played = []
        with torch.random.fork_rng(devices=[]):
            for member in members:
                write_weights(self._layer, member.weights)
                torch.manual_seed(0)
                choose = self._agent.chooser(self._masks, deterministic=True)
                played.append(play(self._venv, choose, member.episodes, member.first_seed))
        return played

    def close(self) -> None:
        """Close the environments."""
        self._venv.close()


class EpisodeWorkers:
    """Processes that play sets of episodes; one of them is this process.

    Args:
        agent: The agent; its output layer is changed in this process.
        source: The environment.
        n_envs: Number of environments in each process.
        engine: Environment engine; None: the agent's.
        workers: Number of processes, from 1 up.
    """

    def __init__(
        self,
        agent: Agent,
        source: EnvSource,
        n_envs: int,
        engine: EngineName | None,
        workers: int,
    ) -> None:
        self._others: list[Worker] = []
        self._own = EpisodePlayer(agent, source, n_envs, engine)
        try:
            arguments = (agent.path, agent.encoder.path, source, n_envs, engine)
            for _ in range(workers - 1):
                self._others.append(
                    Worker("the process of episodes", _serve, *arguments, threads=1)
                )
        except BaseException:
            self.close()
            raise

    def play(self, members: Sequence[EpisodeSet]) -> list[Played]:
        """Play each set of episodes; the results are in the order of the sets.

        Raises:
            EnvironmentFault: if an environment or a process fails.
        """
        n = len(self._others) + 1
        shares = [members[i::n] for i in range(n)]
        for worker, share in zip(self._others, shares[1:], strict=True):
            worker.send(share)
        parts = [self._own.play(shares[0])]
        parts += [worker.recv() for worker in self._others]
        return [parts[i % n][i // n] for i in range(len(members))]

    def close(self) -> None:
        """Close the environments and end the processes."""
        self._own.close()
        close_workers(self._others)


def _serve(
    parent: ParentLink,
    path: Path,
    encoder: Path,
    source: EnvSource,
    n_envs: int,
    engine: EngineName | None,
) -> None:
    """Play what the parent sends, until it closes this process."""
    torch.set_num_threads(1)
    player = EpisodePlayer(Agent.load(path, encoder=encoder), source, n_envs, engine)
    with contextlib.closing(player), contextlib.suppress(EOFError):
        while True:
            parent.send(player.play(parent.recv()))
