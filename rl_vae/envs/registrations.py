"""Environments that are registered in this process, as bytes for a worker process."""

from __future__ import annotations

import contextlib
import copy
import pickle
import sys
import warnings

import cloudpickle
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec


def pickle_registrations() -> list[bytes]:
    """Return what is registered here, each pickled alone; Gymnasium's own are left out."""
    content = []
    for env_id, spec in gym.registry.items():
        if str(spec.entry_point).startswith("gymnasium.envs."):
            continue
        with contextlib.suppress(Exception):  # one that cannot be sent, and may not be needed
            content.append(cloudpickle.dumps((env_id, _by_name(spec))))
    return content


def register_again(registrations: list[bytes]) -> None:
    """Register in a worker process what its parent has registered."""
    # A module that is imported later registers its environments once more.
    warnings.filterwarnings("ignore", ".*Overriding environment.*")
    for content in registrations:
        with contextlib.suppress(Exception):  # a module that cannot be imported here
            env_id, spec = pickle.loads(content)
            gym.registry.setdefault(env_id, spec)


def _by_name(spec: EnvSpec) -> EnvSpec:
    """Name a class of a module: the worker imports the module only if it opens the environment."""
    maker = spec.entry_point
    module, name = getattr(maker, "__module__", ""), getattr(maker, "__qualname__", "")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not maker:
        return spec  # a string, or a class that has to be sent by value
    named = copy.copy(spec)
    named.entry_point = f"{module}:{name}"
    return named
