"""Gymnasium: environments in this process, or in several worker processes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.envs.extras import Extras, join_extras
from rl_vae.envs.in_process import InProcessVectorEnv
from rl_vae.envs.raw_observations import RawObservation
from rl_vae.envs.vector_env import Engine, PixelVectorEnv, VectorEnvConfig, VectorStep
from rl_vae.frames import UInt8Array
from rl_vae.system.process_settings import configure_process
from rl_vae.system.processes import Worker, close_workers
from rl_vae.system.worker_process import ParentLink


class MultiProcessVectorEnv:
    """Environments divided among worker processes.

    Args:
        config: Settings.
        workers: Number of processes, from 1 to the number of environments.
    """

    name = "gymnasium"

    def __init__(self, config: VectorEnvConfig, workers: int) -> None:
        self.env_id, self.num_envs = config.env.name, config.num_envs
        self.max_episode_steps = config.env.max_episode_steps
        self.frame_skip, self.spec = config.frame_skip, config.spec
        self.reset_extras: Extras | None = None
        self._timeout = config.timeout
        self._indices = np.array_split(np.arange(self.num_envs), workers)
        self._workers = [
            Worker(
                f"worker {i} of {config.env.name}",
                _serve,
                dataclasses.replace(config, num_envs=len(indices)),
                int(indices[0]),
            )
            for i, indices in enumerate(self._indices)
        ]
        try:
            properties = [worker.recv(self._timeout) for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.raw_space, self.action_space, self.factor_names = properties[0][:3]
        self.extras_space, self.source, self.has_action_masks = properties[0][3:]

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a new episode in every environment."""
        assert len(seeds) == self.num_envs
        parts = self._request("reset", [[seeds[i] for i in part] for part in self._indices])
        images, extras = zip(*parts, strict=True)
        self.reset_extras = join_extras(self.extras_space, extras, list(map(len, images)))
        return np.concatenate(images)

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Take one step in every environment, and reset those whose episode ended."""
        actions = np.asarray(actions)
        parts = [
            VectorStep(*part)
            for part in self._request("step", [actions[part] for part in self._indices])
        ]
        columns = list(zip(*parts, strict=True))
        images, rewards, terminated, truncated, final_images = map(np.concatenate, columns[:5])
        return VectorStep(
            images,
            rewards,
            terminated,
            truncated,
            final_images,
            join_extras(self.extras_space, columns[5], [len(part.images) for part in parts]),
            join_extras(self.extras_space, columns[6], [len(part.final_images) for part in parts]),
        )

    def factors(self) -> NDArray[np.float64]:
        """(N, number of factors): state of each simulator."""
        return np.concatenate(self._request("factors", [()] * len(self._workers)))

    def action_masks(self) -> NDArray[np.bool_]:
        """(N, A): which actions are allowed now."""
        return np.concatenate(self._request("action_masks", [()] * len(self._workers)))

    def raw_observations(self) -> list[RawObservation]:
        """N raw observations and infos that belong to the images returned last."""
        parts = self._request("raw_observations", [()] * len(self._workers))
        return [raw for part in parts for raw in part]

    def close(self) -> None:
        """End the worker processes."""
        close_workers(self._workers)

    def _request(self, method: str, arguments: Sequence[Any]) -> list[Any]:
        """Send one request to every worker, then wait for all answers."""
        try:
            for worker, argument in zip(self._workers, arguments, strict=True):
                worker.send((method, argument))
            return [worker.recv(self._timeout) for worker in self._workers]
        except BaseException:
            self.close()
            raise


def open_gymnasium(config: VectorEnvConfig) -> PixelVectorEnv:
    """Open environments in this process for one worker, else in worker processes."""
    workers = min(config.workers or os.cpu_count() or 1, config.num_envs)
    if workers == 1:
        return InProcessVectorEnv(config)
    return MultiProcessVectorEnv(config, workers)


ENGINE = Engine(
    "gymnasium",
    "Gymnasium environments in processes",
    open=open_gymnasium,
    find_obstacle=lambda env: "it opens environments one by one" if env.kind == "vector" else None,
    gymnasium_arguments=True,
)


def _serve(parent: ParentLink, config: VectorEnvConfig, first_index: int) -> None:
    """Serve the requests of a MultiProcessVectorEnv in a worker process."""
    configure_process()
    with contextlib.closing(InProcessVectorEnv(config, first_index)) as envs:
        spaces = (envs.raw_space, envs.action_space, envs.factor_names, envs.extras_space)
        parent.send((*spaces, envs.source, envs.has_action_masks))
        while True:
            parent.send(_answer(envs, *parent.recv()))


def _answer(envs: InProcessVectorEnv, method: str, argument: Any) -> Any:
    """Answer to a request."""
    if method == "step":
        return tuple(envs.step(argument))
    if method == "reset":
        return envs.reset(argument), envs.reset_extras
    readers = {"factors": envs.factors, "raw_observations": envs.raw_observations}
    return {**readers, "action_masks": envs.action_masks}[method]()
