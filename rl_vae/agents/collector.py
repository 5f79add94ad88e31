"""An agent as a collection policy: it acts in the environments whose frames are collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.data.policies import PolicyContext
from rl_vae.frames import UInt8Array
from rl_vae.sb3.actions import ActionConverter
from rl_vae.wrappers.pipeline import LatentPipeline


class Predictor(Protocol):
    """A function from observations (N, ...) to actions (N, ...)."""

    def __call__(self, observations: Any, *, deterministic: bool) -> NDArray[Any]:
        """Choose actions."""


class CollectingAgent:
    """Function that chooses an agent's actions for frames, with noise as in training.

    Args:
        predict: The agent's policy.
        pipeline: From frames to the agent's observations.
        converter: From the agent's actions to the environment's.
        context: Where the agent acts.
        join: Joins images and extras to raw observations of the pipeline.
    """

    def __init__(
        self,
        predict: Predictor,
        pipeline: LatentPipeline,
        converter: ActionConverter,
        context: PolicyContext,
        join: Callable[[UInt8Array, Any], Any],
    ) -> None:
        self._read_extras, self._join = context.read_extras, join
        self._predict, self._pipeline, self._converter = predict, pipeline, converter
        self._actions: NDArray[Any] | None = None
        self._seeds = np.random.default_rng(context.seed)

    def __call__(self, images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
        """Choose the environments' actions (N, ...) for frames (N, H, W, C).

        Args:
            images: (N, H, W, C) uint8 frames.
            is_first: (N,) whether a frame is the first one of an episode.
        """
        raw = self._join(images, self._read_extras())
        if self._actions is None:
            observed = self._pipeline.reset(raw, [None] * len(images))
        else:
            observed = self._pipeline.step(raw, self._actions, is_first=is_first)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._seeds.integers(2**31)))
            self._actions = self._predict(observed.now, deterministic=False)
        return self._converter.to_environment(self._actions)
