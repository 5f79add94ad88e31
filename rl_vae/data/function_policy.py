"""FunctionPolicy: a user's own function as a collection policy."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.data.policies import ActFunction, CollectionPolicy, Correlated, PolicyContext
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array

PolicyFunction = Callable[[Any, dict[str, Any]], Any]
"""A function `policy(observation, info) -> action` for one environment."""


@dataclass(frozen=True)
class FunctionPolicy:
    """Actions of a function that gets the raw observation and info of one environment.

    The function is called for one environment after the other. Worker processes get a copy of it,
    by value. If it draws random numbers, or reads anything beside its arguments, the dataset does
    not depend on its seed alone. The dataset's header has the function's name and a digest of its
    code, not of the values that the code refers to.
    """

    function: PolicyFunction
    """Returns the action for an observation and the info beside it. Both are copies of what the
    environment returned, not the frame that is stored."""

    observes_raw = True

    def describe(self) -> dict[str, Any]:
        """Return a description in plain JSON values."""
        name, digest = name_of(self.function), code_digest(self.function)
        return {"kind": "function", "name": name, "sha256": digest}

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a new function that chooses actions.

        Raises:
            ConfigError: if the function fails, or returns something that is no action. The returned
                function raises it.
        """
        name, space = name_of(self.function), context.action_space

        def act(images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
            actions = []
            for observation, info in context.read_raw():
                try:
                    action = self.function(observation, info)
                except Exception as error:
                    raise ConfigError(
                        f"The collection policy {name} failed.",
                        expected="an action for an observation and its info",
                        got=f"{type(error).__name__}: {error}",
                        remedy="correct the function",
                    ) from error
                actions.append(_checked(action, space, name))
            return np.stack(actions)

        return act

    def __getstate__(self) -> dict[str, Any]:
        # By value: a worker process may not be able to import the function's module.
        return {"function": _dumps_by_value(self.function)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "function", cloudpickle.loads(state["function"]))


def as_policy(policy: CollectionPolicy | PolicyFunction | None) -> CollectionPolicy:
    """Return what a user gave as a policy; None: time-correlated noise.

    Raises:
        ConfigError: if it is neither a policy nor a function.
    """
    if policy is None:
        return Correlated()
    if isinstance(policy, CollectionPolicy) and not isinstance(policy, type):
        return policy
    if callable(policy) and not isinstance(policy, type):
        return FunctionPolicy(policy)
    raise ConfigError(
        "This is no collection policy.",
        expected="a CollectionPolicy, or a function policy(observation, info) -> action",
        got=repr(policy),
        remedy="give a function, or an object such as rl_vae.Correlated()",
    )


def start_policy(policy: CollectionPolicy, context: PolicyContext) -> ActFunction:
    """Start a policy, which may be of a user's own class.

    Raises:
        ConfigError: if it starts without a function, or cannot act in this action space.
    """
    act = policy.start(context)
    if not callable(act):
        raise ConfigError(
            f"start() of {name_of(policy)} returns no function.",
            expected="a function act(images, is_first) -> actions",
            got=repr(act),
            remedy="return such a function, or give collect_frames a function "
            "policy(observation, info) -> action",
        )
    return act


def name_of(function: Callable[..., Any]) -> str:
    """Name of a function, of the function in a partial, or of the class of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def code_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the source of a function, or of its byte code if there is no source.

    Of an object with `__call__`, the source is that of its class.
    """
    while isinstance(function, functools.partial):
        function = function.func
    is_named = inspect.isroutine(function) or inspect.isclass(function)
    code: Any = function if is_named else type(function)
    try:
        content = inspect.getsource(code)
    except (OSError, TypeError):  # typed in, or built in
        called = code if inspect.isroutine(code) else vars(code).get("__call__")
        content = repr(_plain_code(getattr(called, "__code__", None)) or name_of(function))
    return hashlib.sha256(content.encode()).hexdigest()


def _plain_code(code: CodeType | None) -> Any:
    """Byte code, names and constants of a function, without addresses and places."""
    if code is None:
        return None
    constants = [_plain_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, code.co_names, constants


def _dumps_by_value(function: Callable[..., Any]) -> bytes:
    module = sys.modules.get(getattr(function, "__module__", None) or type(function).__module__)
    if module is None or module.__name__ in ("__main__", "builtins"):
        content: bytes = cloudpickle.dumps(function)
        return content
    cloudpickle.register_pickle_by_value(module)
    try:
        content = cloudpickle.dumps(function)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return content


def _checked(action: Any, space: gym.Space[Any], name: str) -> NDArray[Any]:
    """An action as an array of the space.

    Raises:
        ConfigError: if the space does not contain it.
    """
    array = np.asarray(action)
    numeric = array.dtype.kind in "biuf" and array.shape == (space.shape or ())
    converted = array.astype(space.dtype) if numeric else array
    changed = isinstance(space, gym.spaces.Box) or np.array_equal(converted, array)
    if not (numeric and changed and space.contains(converted if space.shape else converted[()])):
        raise ConfigError(
            f"The collection policy {name} returned no action of the environment.",
            expected=space,
            got=repr(action),
            remedy="return an element of that space, such as int(number) for Discrete or "
            "np.clip(values, space.low, space.high) for a Box",
        )
    return converted
