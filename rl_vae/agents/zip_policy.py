"""ZipPolicy: a model that Stable-Baselines3 saved as a collection policy."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_vae.data.policies import ActFunction, PolicyContext
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array

_ALGORITHMS = {
    "clip_range": "PPO",
    "exploration_fraction": "DQN",
    "target_entropy": "SAC",
    "policy_delay": "TD3",
    "gae_lambda": "A2C",
}
"""Algorithm by an attribute that only its zip files have; the first one that is found counts."""


@dataclass(frozen=True)
class ZipPolicy:
    """Actions of a user's own SB3 model, which gets raw observations.

    Actions are drawn with noise, as in training; those of DQN without.

    Raises:
        ConfigError: if `trust` is not True, or there is no zip file of SB3.
    """

    path: str | Path
    """File that `model.save(path)` wrote."""
    trust: bool = False
    """Whether to load the file. Loading unpickles it, which runs any code that the file holds."""

    observes_raw = True

    def __post_init__(self) -> None:
        if self.trust is not True:
            raise ConfigError(
                f"The file {str(self.path)!r} is not loaded: loading a model of Stable-Baselines3 "
                "unpickles it, which runs any code that the file holds.",
                expected="trust=True (--trust-zip)",
                got=f"trust={self.trust!r}",
                remedy="say so if you made the file yourself; do not load the file of a stranger",
            )
        self.describe()

    def describe(self) -> dict[str, Any]:
        """Return a description in plain JSON values."""
        algorithm = self._algorithm()
        digest = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        return {"kind": "sb3", "algorithm": algorithm, "sha256": digest}

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a new function that chooses actions.

        Raises:
            ConfigError: if the file cannot be loaded, or its actions are not those of the
                environment. The returned function raises it if the observations do not fit.
        """
        model, seeds = self._load(), np.random.default_rng(context.seed)
        if model.action_space != context.action_space:
            raise self._misfit("actions", model.action_space, context.action_space)
        deterministic = self._algorithm() == "DQN"

        def act(images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
            actions = []
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(seeds.integers(2**31)))
                for observation, _ in context.read_raw():
                    try:
                        action, _ = model.predict(observation, deterministic=deterministic)
                    except (ValueError, AssertionError, TypeError) as error:
                        raise self._misfit(
                            "observations", model.observation_space, error
                        ) from error
                    actions.append(action)
            return np.stack(actions)

        return act

    def _algorithm(self) -> str:
        """Name of the algorithm; reads the zip's JSON without unpickling anything."""
        try:
            with zipfile.ZipFile(self.path) as file:
                attributes = json.loads(file.read("data"))
            return next(name for key, name in _ALGORITHMS.items() if key in attributes)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile, StopIteration) as error:
            raise ConfigError(
                f"{str(self.path)!r} is no model of Stable-Baselines3.",
                expected=f"a zip file that {', '.join(_ALGORITHMS.values())} saved",
                got=f"{type(error).__name__}: {error}",
                remedy="check the path; wrap models of other libraries in a function "
                "policy(observation, info)",
            ) from error

    def _load(self) -> BaseAlgorithm:
        name = self._algorithm()
        try:
            model: BaseAlgorithm = getattr(stable_baselines3, name).load(self.path, device="cpu")
        except Exception as error:
            raise ConfigError(
                f"{str(self.path)!r} cannot be loaded as a model of {name}.",
                expected="a file that the installed version of Stable-Baselines3 can load",
                got=f"{type(error).__name__}: {error}",
                remedy="load it in a Python file of your own, and give a function "
                "policy(observation, info) that calls model.predict",
            ) from error
        return model

    def _misfit(self, what: str, expected: Any, got: Any) -> ConfigError:
        return ConfigError(
            f"The model {str(self.path)!r} has other {what} than the environment.",
            expected=expected,
            got=got,
            remedy="choose the environment that the model was trained in, or write a function "
            "policy(observation, info) that converts them and calls model.predict",
        )
