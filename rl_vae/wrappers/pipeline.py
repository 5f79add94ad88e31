"""LatentPipeline: raw observations of N environments -> what an agent observes.

Shape letters: N environments, E environments whose episode ended, H W C frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import EnvironmentFault
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.codes import Codes
from rl_vae.wrappers.config import ObservationConfig
from rl_vae.wrappers.fields import ObservationFields
from rl_vae.wrappers.history import History
from rl_vae.wrappers.layout import ObservationLayout, SplitObservation

FRAME = "frame"
"""Key in info of the encoded frame, (H, W, C) uint8, if a wrapper has keep_frame=True."""

FINAL_FRAME = "final_frame"
"""Key in info of the last frame of an ended episode, if the observation is of the next episode."""


class Observed(NamedTuple):
    """Result of a reset or a step."""

    now: Any
    """N observations: an array, a Dict of arrays, or a list of single observations."""
    frames: UInt8Array
    """(N, H, W, C) frames of the newest latents; after a partial reset, those of the environments
    that were reset."""
    final_obs: Any
    """E last observations of ended episodes."""
    final_frames: UInt8Array
    """(E, H, W, C) last frames of ended episodes."""


class LatentPipeline:
    """Encodes the raw observations of N environments and keeps the history of each.

    Only this class knows the layout of an observation. `fields` describes it to others.

    Args:
        encoder: Encoder of the frames.
        observation_space: Raw observation space of one environment.
        action_space: Action space of one environment, as the agent acts in it.
        n_envs: N, the number of environments.
        config: What the agent observes.
        applied: FrameSpec that the environments have already applied, or None.
        seed: Seed of the noise if config.code is "sample".

    Raises:
        ObservationError: if the encoder was made for other observations.
        ConfigError: if the configuration does not fit these environments.
    """

    def __init__(
        self,
        encoder: Encoder,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        n_envs: int,
        config: ObservationConfig,
        *,
        applied: FrameSpec | None = None,
        seed: int | None = None,
    ) -> None:
        self.encoder, self.config = encoder, config
        self._layout = ObservationLayout(encoder, observation_space, config, applied=applied)
        self._codes = Codes(encoder, n_envs, config, seed=seed)
        self._history, self._preview = (
            History(n, self._codes.width, config.stack, config.actions, action_space)
            for n in (n_envs, 1)
        )
        self._all = np.arange(n_envs)
        self.observation_space = self._layout.space(self._history.observation_space)
        self.fields = ObservationFields(
            stack=config.stack,
            code_width=self._codes.width,
            actions=config.actions,
            action_width=self._history.action_width,
            extras=self._layout.flattened,
            code_mean=self._codes.mean,
            code_std=self._codes.std,
        )

    def reset(
        self, raw: Any, seeds: Sequence[Any], is_first: NDArray[np.bool_] | None = None
    ) -> Observed:
        """Begin episodes.

        Args:
            raw: Raw observations of all N environments: an array, a Dict of arrays, or a list of
                single observations. Images of only the reset environments will do, without extras.
            seeds: Seed of each of the N environments, or None if it was not seeded.
            is_first: (N,) whether an environment was reset; None: all were. The history of the
                other environments does not change.

        Raises:
            EnvironmentFault: if extras of some environments are missing.
        """
        parts, n = self._layout.split(raw), len(self._all)
        envs = self._all if is_first is None else np.flatnonzero(is_first)
        self._codes.reseed(envs, seeds)
        images = parts.images
        if len(images) == n:
            images = images[envs]
        elif parts.extras is not None:  # EnvPool returns the environments that were reset only
            raise EnvironmentFault(
                "The environments returned observations of some environments only.",
                expected=f"Dict observations of all {n} environments",
                got=f"observations of {len(images)} environments after a partial reset",
                remedy="reset all environments, or choose another autoreset mode",
            )
        frames = self._layout.frames(images)
        self._history.restart(envs, self._encode(frames, envs, parts))
        return Observed(self._join(parts), frames, [], frames[:0])

    def step(
        self,
        raw: Any,
        actions: Any,
        *,
        ended: NDArray[np.bool_] | None = None,
        final_obs: Sequence[Any] = (),
        is_first: NDArray[np.bool_] | None = None,
    ) -> Observed:
        """Take a step in every environment, with one call of the encoder.

        Args:
            raw: Raw observations of all N environments after the step, as in `reset`.
            actions: (N, ...) actions of the agent that led to them.
            ended: (N,) whether `raw` already shows the first observation of a new episode, while
                `final_obs` shows the last one of the old episode; None: nowhere.
            final_obs: E raw single observations, one for each environment in `ended`.
            is_first: (N,) whether an environment was reset and ignored its action; None: none was.
        """
        parts, n = self._layout.split(raw), len(self._all)
        images = np.asarray(parts.images)
        ends = self._all[:0] if ended is None else np.flatnonzero(ended)

        # Encode the N last images of the old episodes and then the E first ones of the new.
        last_parts = self._layout.split(list(final_obs)) if len(ends) else None
        if last_parts is not None:
            last = images.copy()
            last[ends] = last_parts.images
            images = np.concatenate([last, images[ends]])
        frames = self._layout.frames(images)
        codes = self._encode(frames, np.concatenate([self._all, ends]), parts, last_parts)

        # Extend every history, then restart those of the new episodes.
        self._history.push(codes[:n], np.asarray(actions))
        if is_first is not None:
            self._history.restart(np.flatnonzero(is_first), codes[:n][is_first])
        final: Any = []
        if last_parts is not None:
            final = self._layout.join(self._history.observation()[ends], last_parts.extras)
            self._history.restart(ends, codes[n:])

        now = frames[:n].copy() if len(ends) else frames
        now[ends] = frames[n:]
        return Observed(self._join(parts), now, final, frames[ends])

    def first(self, raw: Any) -> Any:
        """First observation of an episode that begins with `raw`, for a list of one observation.

        The histories do not change.
        """
        parts = self._layout.split(raw)
        codes = self._encode(self._layout.frames(parts.images), self._all[:1], parts)
        self._preview.restart(self._all[:1], codes)
        return self._layout.join(self._preview.observation(), parts.extras)

    @property
    def goal_sources(self) -> dict[str, PixelSource]:
        """Where the goals are that are encoded beside the image, by their keys."""
        goals = self._layout.goals
        return {} if goals is None else goals.sources

    def _encode(
        self, frames: UInt8Array, envs: NDArray[np.int64], *parts: SplitObservation | None
    ) -> NDArray[np.float32]:
        """Codes of frames (n, H, W, C); the same call encodes the goals of `parts` in place."""
        goals, n = self._layout.goals, len(frames)
        if goals is None:
            return self._codes.encode(frames, envs)
        extras = [part.extras for part in parts if part is not None]
        pictures = [goals.frames(each) for each in extras]
        # The environments decide about noise alone, which goals do not have.
        codes = self._codes.encode(np.concatenate([frames, *pictures]), envs)
        for each, its_frames in zip(extras, pictures, strict=True):
            goals.put(each, codes[n : n + len(its_frames)])
            n += len(its_frames)
        return codes[: len(frames)]

    def _join(self, parts: SplitObservation) -> Any:
        return self._layout.join(self._history.observation(), parts.extras)
