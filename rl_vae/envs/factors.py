"""Factors: the hidden state of a simulator as named numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np


def read_factors(env: gym.Env[Any, Any]) -> dict[str, float]:
    """Read the simulator's state as named numbers.

    Supported environments: classic control, Box2D, MuJoCo, Atari (RAM), MiniGrid, and every
    environment whose unwrapped class has a method `factors()` that returns such a mapping.

    Args:
        env: An environment that has been reset.

    Returns:
        Value of each factor by its name; empty if the environment is not supported.
    """
    bare = env.unwrapped
    method = getattr(bare, "factors", None)
    if callable(method):
        return {str(name): float(value) for name, value in method().items()}
    for kind in type(bare).__mro__:
        reader = _READERS.get(kind.__name__)
        if reader is not None:
            return reader(bare)
    return {}


def _vector(prefix: str, values: Any) -> dict[str, float]:
    return {f"{prefix}_{i}": float(value) for i, value in enumerate(np.ravel(values))}


def _state(*names: str) -> Callable[[Any], dict[str, float]]:
    def read(env: Any) -> dict[str, float]:
        values = [0.0] * len(names) if env.state is None else env.state
        return {name: float(value) for name, value in zip(names, values, strict=False)}

    return read


def _body(body: Any) -> dict[str, float]:
    return {
        "position_x": float(body.position.x),
        "position_y": float(body.position.y),
        "velocity_x": float(body.linearVelocity.x),
        "velocity_y": float(body.linearVelocity.y),
        "angle": float(body.angle),
        "angular_velocity": float(body.angularVelocity),
    }


def _car(env: Any) -> dict[str, float]:
    body = _body(env.car.hull)
    speed = float(np.hypot(body["velocity_x"], body["velocity_y"]))
    steering = float(env.car.wheels[0].joint.angle)
    wheels = {f"wheel_speed_{i}": float(wheel.omega) for i, wheel in enumerate(env.car.wheels)}
    return {**body, "speed": speed, "steering": steering, **wheels}


def _lander(env: Any) -> dict[str, float]:
    legs = {f"leg_contact_{i}": float(leg.ground_contact) for i, leg in enumerate(env.legs)}
    return {**_body(env.lander), **legs}


def _walker(env: Any) -> dict[str, float]:
    joints = {f"joint_angle_{i}": float(joint.angle) for i, joint in enumerate(env.joints)}
    return {**_body(env.hull), **joints}


def _mujoco(env: Any) -> dict[str, float]:
    return {**_vector("qpos", env.data.qpos), **_vector("qvel", env.data.qvel)}


def _atari(env: Any) -> dict[str, float]:
    return _vector("ram", env.ale.getRAM())


def _minigrid(env: Any) -> dict[str, float]:
    x, y = env.agent_pos
    return {"agent_x": float(x), "agent_y": float(y), "agent_direction": float(env.agent_dir)}


_READERS: dict[str, Callable[[Any], dict[str, float]]] = {
    "CartPoleEnv": _state("cart_position", "cart_velocity", "pole_angle", "pole_velocity"),
    "PendulumEnv": _state("angle", "angular_velocity"),
    "MountainCarEnv": _state("position", "velocity"),
    "Continuous_MountainCarEnv": _state("position", "velocity"),
    "AcrobotEnv": _state("angle_1", "angle_2", "angular_velocity_1", "angular_velocity_2"),
    "CarRacing": _car,
    "LunarLander": _lander,
    "BipedalWalker": _walker,
    "MujocoEnv": _mujoco,
    "AtariEnv": _atari,
    "MiniGridEnv": _minigrid,
}
"""Function that reads the state, by the class name of an environment or of one of its bases."""
