"""Observer: contract, codes and history of N environments in step; all adapters are made of it.

Shape letters: N lanes (environments in step), E lanes whose episodes ended, H W C frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import EnvironmentFault
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.codes import Code, Codes
from rl_vae.wrappers.history import History
from rl_vae.wrappers.layout import Extras, ObservationLayout, SplitObservation

Lanes = NDArray[np.int64]
NO_LANES: Lanes = np.empty(0, np.int64)

FRAME = "frame"
"""Where `keep_frame` puts the frame (H, W, C) uint8 that the newest latent is of, in info."""

FINAL_FRAME = "final_frame"
"""Where it puts an episode's last one, if the observation is a new episode's already."""


class Observed(NamedTuple):
    """What agents see after a reset or a step."""

    now: Any
    """N observations: one array, a Dict of arrays, or a list, as the raw ones came."""
    frames: UInt8Array
    """(N, H, W, C) that the newest latents are of; after a reset of some lanes, theirs only."""
    finals: Any
    """E single observations: how episodes ended."""
    final_frames: UInt8Array
    """(E, H, W, C)."""


class LatentPipeline:
    """Encodes what N environments show, once a step, and remembers it.

    Observations are float32: `stack` codes and `actions` past actions as `rl_vae.wrappers.history` lays
    them out, then the other entries of a Dict observation as `rl_vae.wrappers.layout` says.

    Args:
        encoder: Through which agents see.
        space: Raw observations of one environment.
        action_space: Of one environment.
        lanes: N.
        applied: The FrameSpec that the environments have already applied, if they have.
        stack, actions: As in `rl_vae.wrappers.history.History`.
        code, seed, standardise: As in `rl_vae.wrappers.codes.Codes`.
        others, image_key: As in `rl_vae.wrappers.layout.Contract`.

    Raises:
        ObservationError: where the observations are not the encoder's.
        ConfigError: where an option is out of its range.
    """

    def __init__(
        self,
        encoder: Encoder,
        space: gym.Space[Any],
        action_space: gym.Space[Any],
        lanes: int,
        *,
        applied: FrameSpec | None = None,
        stack: int = 1,
        actions: int = 0,
        code: Code = "mu",
        seed: int | None = None,
        standardise: bool = False,
        others: Extras = "flatten",
        image_key: str | None = None,
    ) -> None:
        self.encoder = encoder
        self.contract = ObservationLayout(
            encoder, space, image_key=image_key, others=others, applied=applied
        )
        self._codes = Codes(encoder, lanes, code=code, seed=seed, standardise=standardise)
        self._history = History(lanes, self._codes.width, stack, actions, action_space)
        self._blank = History(1, self._codes.width, stack, actions, action_space)
        self._all = np.arange(lanes)
        self.observation_space = self.contract.space(self._history.observation_space)

    def reset(
        self, raw: SplitObservation, seeds: Sequence[Any], lanes: Lanes | None = None
    ) -> Observed:
        """Begin episodes.

        Args:
            raw: What is shown, of all lanes.
            seeds: By which each of the lanes that begin was seeded; None where it was not.
            lanes: Those that begin; None: all. The others stay where they are.
        """
        lanes = self._all if lanes is None else lanes
        self._codes.reseed(lanes, seeds)
        images = raw.images
        if len(images) == len(self._all):
            images = images[lanes]
        elif raw.others is not None:  # EnvPool shows the lanes that begin, and no others
            raise EnvironmentFault(
                "The environments show some lanes only.",
                expected=f"observations of all {len(self._all)} lanes, where they are a Dict",
                got=f"{len(images)} after a reset of some",
                remedy="reset all environments, or choose another autoreset mode",
            )
        frames = self.contract.frames(images)
        self._history.restart(lanes, self._codes.of(frames, lanes))
        now = self.contract.join(self._history.observation(), raw.others)
        return Observed(now, frames, [], frames[:0])

    def first(self, raw: SplitObservation) -> Any:
        """The observations that begin an episode with some of lane 0; changes nothing."""
        codes = self._codes.of(self.contract.frames(raw.images), self._all[:1])
        self._blank.restart(self._all[:1], codes)
        return self.contract.join(self._blank.observation(), raw.others)

    def step(
        self,
        raw: SplitObservation,
        actions: Any,
        *,
        ended: Lanes = NO_LANES,
        finals: SplitObservation | None = None,
        fresh: Lanes = NO_LANES,
    ) -> Observed:
        """Take a step in every lane, with one call of the encoder.

        Args:
            raw: What is shown now, N.
            actions: (N, ...) that led there.
            ended: E lanes that show a new episode's first image already; `finals` is how their
                old ones ended.
            finals: E last observations.
            fresh: Lanes that were reset instead of obeying their action.
        """
        images, n = np.asarray(raw.images), len(self._all)
        if finals is not None and len(ended):
            last = images.copy()
            last[ended] = finals.images
            images = np.concatenate([last, images[ended]])
        frames = self.contract.frames(images)
        codes = self._codes.of(frames, np.concatenate([self._all, ended]))
        self._history.push(codes[:n], np.asarray(actions))
        self._history.restart(fresh, codes[fresh])
        at_end: Any = []
        if finals is not None and len(ended):
            at_end = self.contract.join(self._history.observation()[ended], finals.others)
            self._history.restart(ended, codes[n:])
        now = self.contract.join(self._history.observation(), raw.others)
        shown = frames[:n].copy() if len(ended) else frames
        shown[ended] = frames[n:]
        return Observed(now, shown, at_end, frames[ended])
