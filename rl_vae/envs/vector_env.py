"""PixelVectorEnv: the interface of environments that step together and return pixels.

An environment whose episode ends is reset in the same step. The step returns the first image of
the new episode, and the last image of the old episode beside it (SAME_STEP autoreset in Gymnasium).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_fields
from rl_vae.envs.extras import Extras
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.raw_observations import RawObservation
from rl_vae.envs.source import EnvSource
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.system.processes import TIMEOUT


class VectorStep(NamedTuple):
    """Result of one step of N environments, of which E ended an episode."""

    images: UInt8Array
    """(N, h, w, c): image after the step; the first image of the new episode if one ended."""
    rewards: NDArray[np.float32]
    """(N,): reward, summed over skipped frames."""
    terminated: NDArray[np.bool_]
    """(N,): whether the episode ended by the rules of the environment."""
    truncated: NDArray[np.bool_]
    """(N,): whether the episode was cut, for example by a time limit, and did not terminate."""
    final_images: UInt8Array
    """(E, h, w, c): last images of the ended episodes, in the order of the environments."""
    extras: Extras | None = None
    """Batch of N extras that belong to `images`; None if the environment has no extras."""
    final_extras: Extras | None = None
    """Batch of E extras that belong to `final_images`; None if `extras` is None."""

    @property
    def ended(self) -> NDArray[np.bool_]:
        """(N,): whether the episode terminated or was truncated."""
        return self.terminated | self.truncated


class PixelVectorEnv(Protocol):
    """N copies of one environment behind one `step`."""

    name: str
    """Name of the engine."""
    env_id: str
    """Id or name of the environment."""
    num_envs: int
    frame_skip: int
    max_episode_steps: int | None
    """Number of steps after which an episode is truncated, if the user has set one."""
    action_space: gym.Space[Any]
    """Action space of one environment."""
    raw_space: gym.spaces.Box
    """Space of one raw image, after the source's conversion."""
    source: PixelSource
    """Where the pixels come from, and their conversion to raw images."""
    spec: FrameSpec | None
    """Applied to every raw image before it is returned; None: images stay raw."""
    factor_names: tuple[str, ...]
    """Names of the simulator's state; empty if the state cannot be read."""
    extras_space: gym.spaces.Dict | None
    """Space of one environment's extras; None if there are none or they were not requested."""
    reset_extras: Extras | None
    """Batch of N extras that belong to the images of the last `reset`; None without extras."""

    def reset(self, seeds: Sequence[int]) -> UInt8Array:
        """Start a new episode in every environment, environment i from seeds[i].

        Returns:
            (N, h, w, c): the first image of each environment.
        """

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Take one step in every environment.

        Args:
            actions: (N, ...) one action of the action space for each environment.
        """

    def factors(self) -> NDArray[np.float64]:
        """(N, number of factors): simulator state that belongs to the images returned last."""

    def raw_observations(self) -> list[RawObservation]:
        """N raw observations and infos that belong to the images returned last.

        Raises:
            ConfigError: if the engine does not have them.
        """

    def close(self) -> None:
        """Close all environments and end all worker processes. May be called twice."""


@dataclass(frozen=True, kw_only=True)
class VectorEnvConfig:
    """Arguments of `make_engine`, which documents them."""

    env: EnvSource
    num_envs: Annotated[int, Range(low=1, remedy="choose num_envs=1")]
    workers: Annotated[int, Range(low=1)] | None = None
    spec: FrameSpec | None = None
    frame_skip: Annotated[int, Range(low=1)] = 1
    pixels: PixelOptions | PixelSource = field(default_factory=PixelOptions)
    timeout: Annotated[float, Range(above=0)] = TIMEOUT
    extras: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Engine:
    """A way to run many environments; `rl_vae.envs.registry` lists all of them."""

    name: str
    summary: str
    """What the engine is and why "auto" prefers it, for messages."""
    open: Callable[[VectorEnvConfig], PixelVectorEnv]
    """Opens the environments."""
    find_obstacle: Callable[[EnvSource], str | None]
    """Returns why the engine cannot open an environment; None if it can."""
    gymnasium_arguments: bool
    """Whether `env_kwargs` are keyword arguments of `gymnasium.make`, and pixels have options."""
