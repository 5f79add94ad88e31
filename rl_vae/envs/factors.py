"""Factors: the hidden state of a simulator as named numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import EnvironmentFault


def read_factors(env: gym.Env[Any, Any]) -> dict[str, float]:
    """Read the simulator's state as named numbers.

    Supported environments: classic control, Box2D, MuJoCo, Atari (RAM), MiniGrid, and every
    environment whose unwrapped class has a method `factors()` that returns such a mapping.

    Args:
        env: An environment that has been reset.

    Returns:
        Value of each factor by its name; empty if the environment is not supported.

    Raises:
        EnvironmentFault: if the environment's own method fails, or gives something else.
    """
    bare = env.unwrapped
    reader: Callable[[Any], Mapping[str, float]] | None = None
    if callable(getattr(bare, "factors", None)):
        reader = _own_factors
    else:
        names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(bare).__mro__)
        reader = next((_READERS[name] for name in names if name in _READERS), None)
    if reader is None:
        return {}
    try:
        return {str(name): float(value) for name, value in reader(bare).items()}
    except Exception as error:  # code of the environment, or a subclass without its base's state
        raise EnvironmentFault(
            f"The factors of {type(bare).__qualname__} cannot be read.",
            expected="a mapping from names to numbers",
            got=f"{type(error).__name__}: {error}",
            remedy="give the class a method factors() that returns one; {} means no factors",
        ) from error


def _own_factors(env: Any) -> Mapping[str, float]:
    values: Mapping[str, float] = env.factors()
    return values


def _vector(prefix: str, values: Any) -> dict[str, float]:
    return {f"{prefix}_{i}": float(value) for i, value in enumerate(np.ravel(values))}


def _state(*names: str) -> Callable[[Any], dict[str, float]]:
    def read(env: Any) -> dict[str, float]:
        values = [0.0] * len(names) if env.state is None else env.state
        return {name: float(value) for name, value in zip(names, values, strict=False)}

    return read


def _turning(*names: str) -> Callable[[Any], dict[str, float]]:
    """Reader of a state that starts with one angle for each name, then has their velocities.

    The angle is given as its cosine and sine: a picture does not show the full turns that the
    simulator counts, and equal pictures must have equal factors.
    """
    read_state = _state(*names, *(f"{name}_velocity" for name in names))

    def read(env: Any) -> dict[str, float]:
        velocities, factors = read_state(env), {}
        for name in names:
            angle = velocities.pop(name)
            factors[f"{name}_cos"], factors[f"{name}_sin"] = (
                float(np.cos(angle)),
                float(np.sin(angle)),
            )
        return {**factors, **velocities}

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
    "gymnasium.envs.classic_control.cartpole.CartPoleEnv": _state(
        "cart_position", "cart_velocity", "pole_angle", "pole_velocity"
    ),
    "gymnasium.envs.classic_control.pendulum.PendulumEnv": _turning("angle"),
    "gymnasium.envs.classic_control.mountain_car.MountainCarEnv": _state("position", "velocity"),
    "gymnasium.envs.classic_control.continuous_mountain_car.Continuous_MountainCarEnv": _state(
        "position", "velocity"
    ),
    "gymnasium.envs.classic_control.acrobot.AcrobotEnv": _turning("angle_1", "angle_2"),
    "gymnasium.envs.box2d.car_racing.CarRacing": _car,
    "gymnasium.envs.box2d.lunar_lander.LunarLander": _lander,
    "gymnasium.envs.box2d.bipedal_walker.BipedalWalker": _walker,
    "gymnasium.envs.mujoco.mujoco_env.MujocoEnv": _mujoco,
    "ale_py.env.AtariEnv": _atari,
    "minigrid.minigrid_env.MiniGridEnv": _minigrid,
}
"""Function that reads the state, by the module and name of an environment's class or of a base.

A class of a user may have the same name, but not the same module."""
