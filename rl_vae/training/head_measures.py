"""HeadEvaluation: measures of the heads on held-out frames.

Shape letters: N frames, Z latents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rl_vae.training.head_network import HeadNetwork, head_losses
from rl_vae.training.head_targets import HeadTargets
from rl_vae.training.heads import Heads

HEAD_TERMS = ("reward_loss", "done_loss")
"""Names of the measures that are part of the loss."""

HEAD_SCORES = ("reward_r2", "done_r2", "done_precision")
"""Names of the measures that do not depend on the weights."""


class HeadEvaluation(NamedTuple):
    """Heads that are measured beside a VAE."""

    network: HeadNetwork
    """The network."""
    targets: HeadTargets
    """Targets of all frames of the dataset."""
    heads: Heads
    """The weights."""

    def measure(self, mu: Tensor, indices: NDArray[np.int64]) -> dict[str, float]:
        """Measures of the heads that are on, by name.

        - reward_loss, done_loss: terms of the loss, in nats per frame
        - reward_r2: 1 - sum (f - r)^2 / sum (r - mean r)^2
        - done_r2: 1 - CE / H, where CE is the cross-entropy of the head and H that of the held-out
          share of ends (McFadden 1974)
        - done_precision: average precision, the mean over ends of the share of ends among the
          frames with at least the same logit

        A measure that these frames leave undefined is left out: all rewards equal, no end, or
        nothing but ends.

        Args:
            mu: (N, Z) means of the posterior.
            indices: (N,) indices of the frames in the dataset.
        """
        with torch.no_grad():
            targets = self.targets.select(torch.from_numpy(indices).to(mu.device))
            output = self.network(mu, targets.action)
            losses = head_losses(output, targets, self.heads).double().mean(0).tolist()
        reward, logit = output.double().cpu().unbind(1)
        measures: dict[str, float] = {}
        if self.heads.reward > 0:
            measures["reward_loss"] = losses[0]
            wanted = targets.reward.double().cpu()
            if wanted.min() < wanted.max():
                spread = (wanted - wanted.mean()).square().sum()
                measures["reward_r2"] = 1 - float((reward - wanted).square().sum() / spread)
        if self.heads.done > 0:
            measures["done_loss"] = losses[1]
            measures |= _measure_ends(logit, targets.done.double().cpu())
        return measures


def _measure_ends(logit: Tensor, done: Tensor) -> dict[str, float]:
    """done_r2 and done_precision of logits (N,) and ends (N,); empty if they are not defined."""
    share = done.mean()
    if not 0 < share < 1:
        return {}
    entropy = float(functional.binary_cross_entropy(share.expand_as(done), done))
    error = float(functional.binary_cross_entropy_with_logits(logit, done))
    return {
        "done_r2": 1 - error / entropy,
        "done_precision": average_precision(logit.numpy(), done.numpy()),
    }


def average_precision(scores: NDArray[np.float64], positive: NDArray[np.float64]) -> float:
    """Mean over positives of the precision among the frames with at least the same score.

    Args:
        scores: (N,) scores.
        positive: (N,) 1 for positives, one at least, else 0.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of equal scores
    precision, new = hits[last] / (last + 1), np.diff(hits[last], prepend=0)
    return float((precision * new).sum() / hits[-1])
