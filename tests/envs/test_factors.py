"""Factors: the state of known simulators by name."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, DRAWN, refused
from gymnasium.envs.classic_control.cartpole import CartPoleEnv as CartPoleBase

from rl_vae.envs.factors import read_factors
from rl_vae.envs.make import make_env
from rl_vae.errors import EnvironmentFault
from rl_vae.system.process_settings import configure_process

configure_process()


def close_to(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_factors_of_cart_pole() -> None:
    """CartPole's factors are its observation: cart and pole, position and velocity."""
    env = make_env("CartPole-v1")
    env.reset(seed=3)
    env.step(1)
    names = ("cart_position", "cart_velocity", "pole_angle", "pole_velocity")
    state = gym.make("CartPole-v1")
    state.reset(seed=3)
    expected = dict(zip(names, map(float, state.step(1)[0]), strict=True))
    assert read_factors(env) == close_to(expected)


@pytest.mark.parametrize(
    ("env_id", "action", "names"),
    [
        ("Pendulum-v1", np.array([2.0], np.float32), ["angle_cos", "angle_sin", "angle_velocity"]),
        (
            "Acrobot-v1",
            1,
            [
                *("angle_1_cos", "angle_1_sin", "angle_2_cos", "angle_2_sin"),
                *("angle_1_velocity", "angle_2_velocity"),
            ],
        ),
    ],
)
def test_factors_of_angles_that_turn_around(env_id: str, action: Any, names: list[str]) -> None:
    """They are what the environment observes: no factor counts the turns, which no image shows."""
    env, state = make_env(env_id), gym.make(env_id)
    env.reset(seed=3)
    state.reset(seed=3)
    for _ in range(60):
        env.step(action)
        observed = state.step(action)[0]
    factors = read_factors(env)
    assert list(factors) == names
    assert list(factors.values()) == close_to(tuple(map(float, observed)))


def test_factors_of_car_racing() -> None:
    """CarRacing's factors are the hull's place and motion, its speed, steering and wheels."""
    pytest.importorskip("Box2D")
    env = make_env("CarRacing-v3", frame_skip=4)
    env.reset(seed=1)
    still = read_factors(env)
    assert still["speed"] == 0
    for _ in range(8):
        env.step(np.array([0.2, 1.0, 0.0], np.float32))
    factors, hull = read_factors(env), env.unwrapped.car.hull
    assert list(factors) == list(still) and len(factors) == 12
    place = (factors["position_x"], factors["position_y"])
    assert (
        place
        == close_to((hull.position.x, hull.position.y))
        != close_to((still["position_x"], still["position_y"]))
    )
    assert factors["speed"] == close_to(np.hypot(factors["velocity_x"], factors["velocity_y"]))
    assert factors["speed"] > 1 and factors["steering"] != 0 and factors["wheel_speed_3"] > 0


def test_factors_of_pong_are_its_ram() -> None:
    """An Atari game's factors are the 128 bytes of its RAM, as its RAM observations show them."""
    pytest.importorskip("ale_py")
    env = make_env("ALE/Pong-v5")
    ram = gym.make("ALE/Pong-v5", obs_type="ram")
    env.reset(seed=2)
    ram.reset(seed=2)
    for _ in range(20):
        env.step(2)
        expected = ram.step(2)[0]
    factors = read_factors(env)
    assert list(factors) == [f"ram_{i}" for i in range(128)]
    assert np.array_equal(list(factors.values()), expected)


def test_factors_of_minigrid() -> None:
    """MiniGrid's factors are the cell and the direction of its agent."""
    pytest.importorskip("minigrid")
    env = make_env("MiniGrid-Empty-8x8-v0")
    env.reset(seed=0)
    assert read_factors(env) == {"agent_x": 1, "agent_y": 1, "agent_direction": 0}
    env.step(2)
    env.step(1)
    assert read_factors(env) == {"agent_x": 2, "agent_y": 1, "agent_direction": 1}


def test_an_environment_may_name_its_own_factors() -> None:
    """A method `factors()` of an environment is believed; without any there are none."""
    env = make_env(COUNTING)
    env.reset(seed=4)
    env.step(0)
    assert read_factors(env) == {"seed": 4, "episode": 0, "step": 1}
    assert read_factors(make_env(DRAWN)) == {}


class CartPoleEnv(gym.Env[Any, Any]):
    """A user's class with the name of one of Gymnasium's."""

    state = ("x", "y", "z", "w")


class Changed(CartPoleBase):
    """A user's subclass without the state of its base."""

    @property
    def state(self) -> Any:
        raise AttributeError("state")

    @state.setter
    def state(self, value: Any) -> None:
        pass


class Wrong(gym.Env[Any, Any]):
    """A class whose factors() returns no mapping."""

    def factors(self) -> list[float]:
        return [1.0]


def test_a_class_is_known_by_its_module_and_name() -> None:
    """A user's class that is only named like a known simulator has no factors."""
    assert read_factors(CartPoleEnv()) == {}


@pytest.mark.parametrize("kind", [Changed, Wrong])
def test_factors_that_cannot_be_read_are_a_fault(kind: Any) -> None:
    """A subclass without its base's state, or a factors() of another kind, is named with a
    remedy."""
    with refused(EnvironmentFault, kind.__name__, "a mapping from names to numbers"):
        read_factors(kind())
