"""Diagnostics: how a VAE does on held-out frames, and alarms with a cure.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rl_vae.data.dataset import FrameDataset
from rl_vae.models.vae import VAE
from rl_vae.objectives.base import LossInputs, Objective
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.objectives.likelihoods import (
    bits_per_dimension,
    log_normaliser,
    moving_weights,
)

ACTIVE_UNIT = 0.01
"""A latent is active where the variance of its mean over frames is above this (Burda et al. 2016,
section 3.4)."""

USUAL_BETA_NORM = (1e-6, 1.0)
"""Published settings lie well within this; 1 weighs a latent like a pixel."""

MOST_BETA = 1000.0
"""Four times the largest beta of Higgins et al. 2017 (250, table 1)."""

SETTLED = 0.25, 100
"""Share of the updates, and updates, after which an empty code is alarming."""

AT_ONCE = 2**23
"""Values of frames that are measured at once on a GPU, 32 MiB in float32."""


class HeldOut(NamedTuple):
    """How a VAE does on frames that it never trained on. All in nats a frame."""

    loss: float
    """What is minimised, at its full weight."""
    distortion: float
    """-log p(x | z) summed over pixels, each counting the same."""
    rate: float
    """KL summed over latents; where the objective draws no z, |mu|^2 / 2."""
    elbo: float | None
    """-(distortion + rate), Bernoulli's cross-entropy normalised, so that likelihoods compare;
    None where the objective draws no z."""
    bits_per_dimension: float | None
    """The same as bits for each 8-bit value of a frame."""
    mse: float
    """Mean squared error of the reconstruction from mu, per value, in units of 255."""
    active_units: int
    kl_per_dimension: tuple[float, ...]
    terms: Mapping[str, float]
    """What else the loss is made of, by name."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> HeldOut:
        """The measures in a record that went through JSON."""
        values = {name: record[name] for name in cls._fields}
        return cls(**{**values, "kl_per_dimension": tuple(record["kl_per_dimension"])})


def evaluate_vae(
    vae: VAE,
    dataset: FrameDataset,
    indices: NDArray[np.int64],
    objective: Objective,
    batch_size: int,
    discriminator: nn.Module | None = None,
    usual: Tensor | None = None,
    moving_weight: float = 1.0,
    resident: Tensor | None = None,
) -> HeldOut:
    """Measure a VAE on some frames of a dataset, with fixed noise, so that runs compare.

    Args:
        vae: What is measured.
        dataset: Where the frames are.
        indices: Which of them.
        objective: Whose loss.
        batch_size: Frames at once.
        discriminator: The objective's discriminator, if it has one.
        usual: (C, H, W) median frame, where the loss weighs moving pixels.
        moving_weight: How much it does.
        resident: (N, H, W, C) uint8, all of the dataset's frames, where they are on the VAE's
            device already.
    """
    noise, n, device = torch.Generator().manual_seed(0), len(indices), vae.device
    sums: dict[str, Tensor] = {}  # on the device, as all until the end: nothing waits for it
    kl = torch.zeros(vae.config.latent_dim, dtype=torch.float64, device=device)
    codes, at_once = [], _at_once(vae, batch_size)
    with torch.no_grad():
        for start in range(0, n, at_once):
            chosen = indices[start : start + at_once]
            if resident is None:
                frames = torch.from_numpy(dataset.frames(chosen)).to(device)
            else:
                frames = resident.index_select(0, torch.from_numpy(chosen).to(device))
            x = VAE.to_input(frames)
            mu, logvar = posterior = vae.encode(x)
            z = mu
            if not objective.deterministic:
                drawn = torch.randn(mu.shape, generator=noise).to(device)  # the same everywhere
                z = vae.reparameterise(posterior, drawn)
            logits = vae.decode_logits(z)
            plain = weighed = vae.distortion(logits, x)
            if usual is not None:
                weighed = vae.distortion(logits, x, moving_weights(x, usual, moving_weight))
            each_kl = kl_per_dimension(mu, logvar)
            missing = log_normaliser(logits) if vae.config.likelihood == "bernoulli" else 0 * plain
            errors = (torch.sigmoid(vae.decode_logits(mu)) - x).square()
            each = (plain, missing, errors, weighed, each_kl, mu, logvar, z)
            for batch in zip(*(part.split(batch_size) for part in each), strict=True):
                lost, lack, error, *passed = batch
                out = LossInputs._make([*passed, n])
                terms = objective.terms(out, objective.schedule(1.0), discriminator)
                parts = {
                    "loss": terms.loss,
                    "distortion": lost.mean(),
                    "normaliser": lack.mean(),
                    "mse": error.mean() * 255.0**2,
                    **terms.parts,
                }
                for name, value in parts.items():
                    added = len(lost) * value.double()
                    sums[name] = sums[name] + added if name in sums else added
            kl += each_kl.double().sum(0)
            codes.append(mu)
    means = {name: float(value) / n for name, value in sums.items()}
    kl_mean = (kl / n).tolist()
    rate = sum(kl_mean)
    elbo = None
    if not objective.deterministic:
        elbo = means["normaliser"] - means["distortion"] - rate
    return HeldOut(
        loss=means.pop("loss"),
        distortion=means.pop("distortion"),
        rate=rate,
        elbo=elbo,
        bits_per_dimension=None if elbo is None else bits_per_dimension(elbo, math.prod(vae.shape)),
        mse=means.pop("mse"),
        active_units=int((torch.cat(codes).double().var(dim=0) > ACTIVE_UNIT).sum()),
        kl_per_dimension=tuple(kl_mean),
        terms={name: value for name, value in means.items() if name != "normaliser"},
    )


def _at_once(vae: VAE, batch_size: int) -> int:
    """Frames that go through the networks at once: on a GPU more than a batch, which is too few."""
    if vae.device.type == "cpu":
        return batch_size
    return batch_size * max(1, AT_ONCE // (batch_size * math.prod(vae.shape)))


class Alarm(NamedTuple):
    """Something that is wrong with a training that goes on, and what to do about it."""

    name: str
    """"beta_norm", "collapse" or "not_finite"."""
    what: str
    cure: str

    def __str__(self) -> str:
        return f"ALARM {self.name}: {self.what} Cure: {self.cure}."


def beta_norm(objective: Objective, vae: VAE) -> float:
    """Beta Z / (C H W) (Higgins et al. 2017, section 4.2), of the largest weight on the rate."""
    return objective.max_kl_weight() * vae.config.latent_dim / math.prod(vae.shape)


def check_beta(objective: Objective, vae: VAE) -> list[Alarm]:
    """An alarm where beta is far from what anyone uses."""
    beta, norm = objective.max_kl_weight(), beta_norm(objective, vae)
    low, high = USUAL_BETA_NORM
    if beta == 0 or (low <= norm <= high and beta <= MOST_BETA):
        return []
    return [
        Alarm(
            "beta_norm",
            f"beta {beta:g} is a beta_norm of {norm:.2g}, usual are {low:g} to {high:g} and a beta "
            f"of at most {MOST_BETA:g}: "
            + ("the code will be empty." if norm > low else "the code is hardly pressed at all."),
            "losses here are sums over pixels and latents, so beta 1 is the plain VAE and 4 is "
            "strong; a beta that was meant for means over pixels is to be multiplied by "
            f"{math.prod(vae.shape):,} values a frame",
        )
    ]


def check_collapse(held_out: HeldOut, step: int, total: int) -> list[Alarm]:
    """An alarm where no latent tells frames apart, a quarter of the updates done."""
    share, updates = SETTLED
    if held_out.active_units or step < updates or step < share * total:
        return []
    return [
        Alarm(
            "collapse",
            f"none of {len(held_out.kl_per_dimension)} latents is active (KL {held_out.rate:.2g} "
            "nats): every frame has the same code.",
            "lower beta, give each latent free_bits (0.1), warm up longer, or take "
            "likelihood='gaussian' with a smaller sigma, so that small differences count",
        )
    ]


def check_skipped(skipped: int) -> list[Alarm]:
    """An alarm where updates of the last epoch were left out."""
    if not skipped:
        return []
    return [
        Alarm(
            "not_finite",
            f"{skipped} updates of this epoch had a loss or gradient that is no finite number and "
            "were skipped.",
            "lower the learning_rate",
        )
    ]
