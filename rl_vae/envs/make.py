"""One environment, opened so that its observations are pixels, and its hidden state by name."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError, RlVaeError
from rl_vae.frames import MIN_SIZE

_PLUGINS = {
    "ALE/": ("ale_py", "atari"),
    "MiniGrid-": ("minigrid", "minigrid"),
    "BabyAI-": ("minigrid", "minigrid"),
}
"""Environments that register only when a package is imported: prefix -> (package, our extra)."""

TRAINING_SEEDS = 2**30
"""Environment seeds below this are for collecting and training, from here up for evaluation."""


def lane_seeds(n: int, *key: int) -> list[int]:
    """Draw `n` environment seeds for training from a key of whole numbers; all below 2**30."""
    return [int(s) % TRAINING_SEEDS for s in np.random.SeedSequence(key).generate_state(n)]


def seeds_of_reset(n: int, seed: int, resets: int) -> list[int]:
    """Seeds of `n` lanes at a reset, after so many others since they were seeded.

    Below 2**30 they are drawn from the seed; an evaluation seed is that of the first lane's first
    episode, and the others follow one by one.
    """
    if seed >= TRAINING_SEEDS:
        first = seed + resets * n
        return list(range(first, first + n))
    return lane_seeds(n, seed, resets)


def evaluation_seeds(n: int, seed: int = 0) -> list[int]:
    """The first `n` environment seeds of evaluation set `seed`; all from 2**30 up.

    No environment that collects or trains is ever started from one of them.
    """
    if n < 1 or not 0 <= seed < 1000 or n > 1_000_000:
        raise ConfigError(
            "There is no such evaluation set.",
            expected="1 to 1,000,000 episodes and a seed from 0 to 999",
            got=f"{n} episodes, seed {seed}",
            remedy="choose fewer episodes, or a smaller seed",
        )
    return [TRAINING_SEEDS + 1_000_000 * seed + i for i in range(n)]


def is_image(space: gym.Space[Any]) -> bool:
    """Whether a space holds uint8 images of at least 28 x 28, channels last or without any."""
    return (
        isinstance(space, gym.spaces.Box)
        and space.dtype == np.uint8
        and (len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3)))
        and min(space.shape[:2]) >= MIN_SIZE
    )


def make_env(
    env_id: str,
    *,
    frame_skip: int = 1,
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> gym.Env[Any, Any]:
    """Open a Gymnasium environment so that it observes pixels, uint8 (h, w, c) or (h, w).

    Pixels come from the first of: the observation itself, the only image of a Dict observation
    (or the one that `image_key` names), `render()`.

    Args:
        env_id: A registered id, "module:id" included.
        frame_skip: How many steps each action is held, from 1 up; rewards are summed, and the
            last image is seen. Rendered environments draw only that one.
        image_key: Which entry of a Dict observation is the image.
        env_kwargs: Handed to `gymnasium.make`.

    Raises:
        EnvironmentFault: where it cannot be opened or gives no pixels.
        ObservationError: where its images are of a kind that cannot be taken without guessing.
        ConfigError: where `frame_skip` is below 1.
    """
    check_frame_skip(frame_skip)
    env = open_env(env_id, env_kwargs or {})
    space = env.observation_space
    try:
        if isinstance(space, gym.spaces.Dict):
            key = _image_key(env_id, space, image_key)
            if key is not None:
                return _ImageOfDict(_skip(env, frame_skip), key)
        elif image_key is not None:
            raise ConfigError(
                f"{env_id} has no image named {image_key!r}.",
                expected="a Dict observation where image_key is given",
                got=space,
                remedy="leave image_key out",
            )
        if is_image(space):
            return _skip(env, frame_skip)
        _refuse_other_images(env_id, space)
    except RlVaeError:
        env.close()
        raise
    return _rendered(env_id, env, frame_skip, env_kwargs or {})


def check_frame_skip(frame_skip: int) -> None:
    """Raise ConfigError unless `frame_skip` is a whole number from 1 up."""
    if not isinstance(frame_skip, int) or isinstance(frame_skip, bool) or frame_skip < 1:
        raise ConfigError(
            "frame_skip is out of range.",
            expected="a whole number from 1 (every step) up",
            got=repr(frame_skip),
            remedy="choose frame_skip=1",
        )


def read_factors(env: gym.Env[Any, Any]) -> dict[str, float]:
    """The simulator's state as named numbers, empty where there is none that we know.

    Known: classic control, Box2D, MuJoCo, Atari's RAM, MiniGrid, and any environment whose
    unwrapped class has a method `factors()` that returns such a mapping.
    """
    bare = env.unwrapped
    own = getattr(bare, "factors", None)
    if callable(own):
        return {str(name): float(value) for name, value in own().items()}
    for kind in type(bare).__mro__:
        reader = _READERS.get(kind.__name__)
        if reader is not None:
            return reader(bare)
    return {}


def configure_process() -> None:
    """Make this process a good neighbour; for processes of our own, before they import torch.

    SDL looks for no screen and no sound card, ALE prints no banner, and OpenMP's threads sleep
    while they wait instead of spinning: beside another busy process, spinning made training a VAE
    on two cores eight times slower (106 against 797 frames a second). What is already set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with contextlib.suppress(ImportError):
        import ale_py

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class FrameSkip(gym.Wrapper[Any, Any, Any, Any]):
    """Hold each action for several steps, sum the rewards, stop early where the episode ends."""

    def __init__(self, env: gym.Env[Any, Any], frame_skip: int) -> None:
        super().__init__(env)
        self.frame_skip = frame_skip

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act `frame_skip` times, or until the episode ends."""
        total = 0.0
        for _ in range(self.frame_skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info


class _ImageOfDict(gym.ObservationWrapper[Any, Any, Any]):
    """Only the image of a Dict observation."""

    def __init__(self, env: gym.Env[Any, Any], key: str) -> None:
        super().__init__(env)
        self._key = key
        assert isinstance(env.observation_space, gym.spaces.Dict)
        self.observation_space = env.observation_space[key]

    def observation(self, observation: Any) -> Any:
        return observation[self._key]


def _skip(env: gym.Env[Any, Any], frame_skip: int) -> gym.Env[Any, Any]:
    return FrameSkip(env, frame_skip) if frame_skip > 1 else env


def import_plugin(env_id: str) -> None:
    """Import the package that registers an environment, where we know of one.

    Raises:
        EnvironmentFault: where that package is not installed.
    """
    for prefix, (package, extra) in _PLUGINS.items():
        if env_id.startswith(prefix):
            try:
                importlib.import_module(package)
            except ImportError:
                raise EnvironmentFault(
                    f"{env_id} needs the package {package}.",
                    expected=f"{package} installed",
                    got="no such package",
                    remedy=f"pip install 'rl-vae[{extra}]'",
                ) from None


def open_env(env_id: str, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """`gymnasium.make`, which observes whatever the environment does.

    Raises:
        EnvironmentFault: where it cannot be opened.
    """
    import_plugin(env_id)
    try:
        return gym.make(env_id, **kwargs)
    except gym.error.DependencyNotInstalled as error:
        raise EnvironmentFault(
            f"{env_id} needs a package that is not installed: {error}",
            expected="every package that it imports",
            got=str(error),
            remedy="pip install 'rl-vae[box2d]' (or atari, minigrid), as the message says",
        ) from error
    except Exception as error:  # an environment's constructor may raise anything
        raise EnvironmentFault(
            f"The environment {env_id!r} cannot be opened: {type(error).__name__}: {error}",
            expected="an id that gymnasium.make knows, such as CarRacing-v3",
            got=repr(env_id),
            remedy="check the spelling, or import the package that registers it: 'package:Id-v0'",
        ) from error


def _image_key(env_id: str, space: gym.spaces.Dict, image_key: str | None) -> str | None:
    images = [str(key) for key, part in space.items() if is_image(part)]
    if image_key is not None:
        if image_key in images:
            return image_key
        got = f"{image_key!r}"
    elif len(images) == 1:
        return images[0]
    elif not images:
        return None
    else:
        got = "no image_key"
    raise ObservationError(
        f"It is not clear which observation of {env_id} is the image.",
        expected=f"image_key= one of {images}",
        got=got,
        remedy="name one of them",
    )


def _refuse_other_images(env_id: str, space: gym.Space[Any]) -> None:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) < 3:
        return
    if sum(side >= MIN_SIZE for side in space.shape) >= 2:
        raise ObservationError(
            f"The observations of {env_id} look like images, but of another kind.",
            expected="uint8, height x width x 3 (RGB) or 1 (grayscale)",
            got=f"{space.dtype}, shape {space.shape}",
            remedy="undo scaling, stacking or channel-first order in a wrapper before rl_vae",
        )


def _rendered(
    env_id: str, env: gym.Env[Any, Any], frame_skip: int, kwargs: Mapping[str, Any]
) -> gym.Env[Any, Any]:
    modes = env.metadata.get("render_modes", [])
    got = env.observation_space
    if env.render_mode != "rgb_array":
        env.close()
        if "rgb_array" not in modes:
            raise EnvironmentFault(
                f"{env_id} gives no pixels.",
                expected="image observations, or the render mode 'rgb_array'",
                got=f"observations {got}, render modes {modes}",
                remedy="add a render mode to the environment, or choose another environment",
            )
        env = open_env(env_id, {**kwargs, "render_mode": "rgb_array"})
    try:
        with warnings.catch_warnings():
            # AddRenderObservation draws once to learn the image's size.
            warnings.simplefilter("ignore")
            env = gym.wrappers.AddRenderObservation(_skip(env, frame_skip), render_only=True)
    except Exception as error:
        env.close()
        raise EnvironmentFault(
            f"{env_id} cannot be drawn: {type(error).__name__}: {error}",
            expected=f"uint8 images of at least {MIN_SIZE} x {MIN_SIZE} x 3 from render()",
            got=f"{type(error).__name__}",
            remedy="see that its render() gives an image with render_mode='rgb_array'",
        ) from error
    if not is_image(env.observation_space):
        env.close()
        raise EnvironmentFault(
            f"What {env_id} renders is not an image that can be used.",
            expected=f"uint8, at least {MIN_SIZE} x {MIN_SIZE} x 3",
            got=env.observation_space,
            remedy="have it draw larger images, in its env_kwargs where it knows such",
        )
    return env


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
"""Class name of an environment or of one of its bases -> how to read its state."""
