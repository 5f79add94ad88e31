"""ObservationFields: the places of latents, past actions and extras in an observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ObservationFields:
    """Layout of the vector that an agent observes. `LatentPipeline.fields` is one.

    The vector is [code of S - 1 steps ago, ..., current code, action of K steps ago, ..., last
    action, extras in the order of the Dict's keys]. With extras="dict" or "goals" it is the entry
    "latent" of the observation and holds no extras.

    Shape letters: S stack, D width of a code, K past actions, A width of an action.
    """

    stack: int
    """S, number of codes."""
    code_width: int
    """D, numbers of one code."""
    actions: int
    """K, number of past actions."""
    action_width: int
    """A, numbers of one past action; 0 if K is 0."""
    extras: Mapping[str, int]
    """Numbers of each flattened extra, by its key, in their order."""
    code_mean: NDArray[np.float32]
    """(D,) what is subtracted from a code: 0 if it is not standardised."""
    code_std: NDArray[np.float32]
    """(D,) what a code is then divided by: 1 if it is not standardised."""

    @property
    def latents(self) -> slice:
        """Slice of the S D numbers of the codes."""
        return slice(0, self.stack * self.code_width)

    @property
    def past_actions(self) -> slice:
        """Slice of the K A numbers of the past actions."""
        return slice(self.latents.stop, self.latents.stop + self.actions * self.action_width)

    @property
    def extra_slices(self) -> dict[str, slice]:
        """Slice of each flattened extra, by its key."""
        ends = accumulate(self.extras.values(), initial=self.past_actions.stop)
        return {key: slice(*ends) for key, ends in zip(self.extras, pairwise(ends), strict=True)}

    @property
    def width(self) -> int:
        """Numbers of the vector."""
        return (
            self.stack * self.code_width
            + self.actions * self.action_width
            + sum(self.extras.values())
        )
