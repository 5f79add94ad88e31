"""EnvSource: an environment as a user gives it; how it is opened, sent to workers and stored."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rl_vae.constraints import Range, check_value
from rl_vae.envs.opening_errors import PREFIXES, opening_error
from rl_vae.envs.registrations import pickle_registrations, register_again
from rl_vae.envs.vector_interfaces import is_vector_env
from rl_vae.errors import ConfigError
from rl_vae.system.exits import exits_are_faults
from rl_vae.system.process_settings import prepare_display

Wrapper = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
"""A function, or a class of wrappers, that takes an environment and returns another one."""


@dataclass(frozen=True)
class EnvSource:
    """An environment that can be opened. Make one with `EnvSource.of`.

    A worker process gets a copy: functions and classes by value if they are defined in the main
    module, and all environments that are registered in this process.
    """

    env: Any
    """A registered id, an EnvSpec, a function that makes an environment, an environment, or a
    vector environment of Gymnasium or Stable-Baselines3."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments for `gymnasium.make`, or for the function."""
    wrappers: tuple[Wrapper, ...] = ()
    """Wrappers around each environment, the innermost first."""
    max_episode_steps: int | None = None
    """Number of steps after which an episode is truncated; None: as the environment has it."""

    @classmethod
    def of(
        cls,
        env: Any,
        env_kwargs: Mapping[str, Any] | None = None,
        wrappers: Sequence[Wrapper] = (),
        max_episode_steps: int | None = None,
    ) -> Self:
        """Return the source of an environment.

        Args:
            env: A registered id ("module:Id" imports the module first), an EnvSpec, a function that
                makes an environment, an environment, a vector environment, or an EnvSource, which
                is returned unchanged.
            env_kwargs: Keyword arguments for the environment.
            wrappers: Functions that wrap the environment, the innermost first.
            max_episode_steps: Number of steps after which an episode is truncated.

        Raises:
            ConfigError: if this is no environment, or an argument has another type.
        """
        if isinstance(env, cls):
            return env
        hint = Annotated[int, Range(low=1)] | None
        check_value("max_episode_steps", max_episode_steps, hint)
        _check_env(env)
        for wrapper in wrappers:
            if not callable(wrapper):
                raise ConfigError(
                    "A wrapper cannot be called.",
                    expected="functions that take an environment and return one",
                    got=repr(wrapper),
                    remedy="give classes or functions: wrappers=[gym.wrappers.FlattenObservation]",
                )
        source = cls(env, dict(env_kwargs or {}), tuple(wrappers), max_episode_steps)
        _check_given(source)
        return source

    @property
    def kind(self) -> Literal["id", "spec", "function", "instance", "vector"]:
        """What the user gave."""
        if is_vector_env(self.env):
            return "vector"
        if isinstance(self.env, str):
            return "id"
        if isinstance(self.env, EnvSpec):
            return "id" if gym.registry.get(self.env.id) == self.env else "spec"
        return "instance" if isinstance(self.env, gym.Env) else "function"

    @property
    def name(self) -> str:
        """Id or name of the environment, for messages and descriptions."""
        if isinstance(self.env, str):
            return self.env
        if isinstance(self.env, EnvSpec):
            return self.env.id
        if self.kind in ("instance", "vector"):
            spec = getattr(self.env, "spec", None)
            return str(spec.id) if spec else type(self.env.unwrapped).__name__
        return _name_of(self.env)

    @property
    def num_envs(self) -> int | None:
        """Number of environments that exist, in this process; None: any number can be made."""
        if self.kind == "vector":
            return int(self.env.num_envs)
        return 1 if self.kind == "instance" else None

    def require_closed(self, problem: str, otherwise: str = "") -> None:
        """Raise ConfigError if environments exist, so that others cannot be made.

        Args:
            problem: The problem, as one sentence.
            otherwise: What the user may do instead of giving the function, as ", or ...".
        """
        if self.num_envs is not None:
            raise ConfigError(
                problem,
                expected="an id, an EnvSpec, or a function that makes an environment",
                got=f"an environment that is open, {self.name}",
                remedy=f"give the function that makes the environment{otherwise}",
            )

    @property
    def is_plain_id(self) -> bool:
        """Whether the id and the keyword arguments are all that is needed to open it."""
        return self.kind == "id" and not self.wrappers

    def describe(self) -> dict[str, Any] | None:
        """What the id does not say, as JSON values for a folder; None if it says everything."""
        if self.is_plain_id:
            return None
        return {"kind": self.kind, "wrappers": [_name_of(wrapper) for wrapper in self.wrappers]}

    def open(self, **kwargs: Any) -> gym.Env[Any, Any]:
        """Open the environment with its own observations.

        If the source is an environment, it is returned in a wrapper that does not close it.

        Args:
            kwargs: Further keyword arguments.

        Raises:
            ConfigError: if the source is a vector environment.
            EnvironmentFault: if it cannot be opened.
        """
        if self.kind == "vector":
            raise ConfigError(
                f"{self.name} holds {self.num_envs} environments.",
                expected="an id, an EnvSpec, a function that makes one environment, or one",
                got=f"{type(self.env).__module__}.{type(self.env).__qualname__}",
                remedy="give the function that makes one of them; VectorLatentObservation and "
                "rl_vae.sb3.VecLatent wrap a vector environment",
            )
        prepare_display()
        try:
            with exits_are_faults():
                env = self._open({**self.kwargs, **kwargs})
                for wrapper in self.wrappers:
                    env = wrapper(env)
        except (Exception, SystemExit) as error:  # a constructor may raise any exception
            raise opening_error(self.name, self.kind, error) from error
        return env

    def _open(self, kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
        limit = self.max_episode_steps
        if self.kind in ("id", "spec"):
            if isinstance(self.env, str):
                _import_plugin(self.env)
                _find_module(self.env)
            if limit is not None:
                kwargs["max_episode_steps"] = limit
            return gym.make(self.env, **kwargs)
        env = KeepOpen(self.env) if isinstance(self.env, gym.Env) else self.env(**kwargs)
        if not isinstance(env, gym.Env):
            raise TypeError(f"{self.name} returned {type(env)}, not a gymnasium.Env")
        return env if limit is None else gym.wrappers.TimeLimit(env, limit)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.env, self.kwargs, self.wrappers, self.max_episode_steps)
        return _restore, (pickle_registrations(), *fields)


class KeepOpen(gym.Wrapper[Any, Any, Any, Any]):
    """Does not close the environment: who made it closes it."""

    def close(self) -> None:
        """Do nothing."""


def stored_source(
    env_id: str,
    env_kwargs: Mapping[str, Any],
    max_episode_steps: int | None,
    description: Mapping[str, Any] | None,
    call: str,
) -> EnvSource:
    """Source of an environment that a folder describes.

    Args:
        env_id: Its id or name.
        env_kwargs: Its keyword arguments.
        max_episode_steps: As in `EnvSource`.
        description: Result of `EnvSource.describe`.
        call: A call that takes the environment itself, for the error.

    Raises:
        ConfigError: if the id is not enough to open it.
    """
    if description is not None:
        wrappers = ", ".join(description.get("wrappers", ())) or "none"
        raise ConfigError(
            f"The environment {env_id} cannot be opened again from what is stored.",
            expected="the same environment, given again",
            got=f"its name: {env_id}, {description.get('kind')}, wrappers: {wrappers}",
            remedy=f"give it again: {call}",
        )
    return EnvSource.of(env_id, env_kwargs, (), max_episode_steps)


def _check_env(env: Any) -> None:
    """Raise ConfigError if this is no environment that can be opened."""
    if any(base.__module__.partition(".")[0] == "envpool" for base in type(env).__mro__):
        raise ConfigError(
            "An EnvPool environment that is open keeps the seeds that it was made with.",
            expected="an environment that reset(seed=...) seeds, so that it can be evaluated on "
            "seeds which it was not trained on",
            got=f"{type(env).__module__}.{type(env).__qualname__}",
            remedy="give its id, and its arguments as env_kwargs, with engine='envpool'",
        )
    if isinstance(env, str | EnvSpec | gym.Env) or is_vector_env(env) or callable(env):
        return
    raise ConfigError(
        "This is no environment.",
        expected="an id, an EnvSpec, a function that makes an environment, an environment, or a "
        "vector environment",
        got=f"{type(env).__module__}.{type(env).__qualname__} {str(env)[:80]!r}",
        remedy="write a function without arguments that returns the environment, and give that",
    )


def _check_given(source: EnvSource) -> None:
    """Raise ConfigError if an environment that exists is to be made in another way."""
    if source.kind in ("instance", "vector") and source.kwargs:
        raise ConfigError(
            "An environment that is open takes no env_kwargs.",
            expected="no env_kwargs",
            got=dict(source.kwargs),
            remedy="make the environment with these arguments",
        )
    if source.kind == "vector" and (source.wrappers or source.max_episode_steps is not None):
        raise ConfigError(
            "A vector environment that is open takes neither wrappers nor max_episode_steps.",
            expected="its environments as they are",
            got=f"{len(source.wrappers)} wrappers, max_episode_steps={source.max_episode_steps}",
            remedy="wrap each of its environments before it is made, or give the function that "
            "makes one of them",
        )


def _name_of(function: Any) -> str:
    inner = getattr(function, "func", function)  # of functools.partial
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return str(name).replace("<locals>.", "").replace("<", "").replace(">", "")


def _import_plugin(env_id: str) -> None:
    """Import the package that registers the environments of a prefix."""
    for prefix, module in PREFIXES.items():
        if env_id.startswith(prefix):
            importlib.import_module(module)


def _find_module(env_id: str) -> None:
    """Put the current folder on the import path if the module of "module:Id" is there."""
    module, colon, _ = env_id.partition(":")
    if not colon or os.getcwd() in sys.path or "" in sys.path:
        return
    with contextlib.suppress(ImportError, ValueError):
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            sys.path.append(os.getcwd())


def _restore(registrations: list[bytes], *fields: Any) -> EnvSource:
    register_again(registrations)
    return EnvSource(*fields)
