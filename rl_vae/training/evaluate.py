"""evaluate_vae: measures of a VAE on held-out frames.

Shape letters: B batch, C H W frame, N frames, Z latents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rl_vae.data.dataset import FrameDataset
from rl_vae.models.frame_model import FrameModel
from rl_vae.objectives.base import LossInputs, Objective
from rl_vae.objectives.likelihoods import bits_per_dimension, log_normaliser
from rl_vae.training.head_measures import HEAD_TERMS, HeadEvaluation
from rl_vae.training.moving_errors import NOT_MEASURED, MovingErrors
from rl_vae.training.step import PassOutput, StepInputs, run_pass

ACTIVE_UNIT = 0.01
"""Smallest variance over frames of the mean of an active latent (Burda et al. 2016, section
3.4)."""

_OPTIONAL = ("elbo", "bits_per_dimension", "moving_mse", "median_frame_mse", "lost_share")
"""Measures that can be None."""

GPU_VALUES = 2**23
"""Number of pixel values that are measured at once on a GPU, 32 MiB in float32."""


class HeldOut(NamedTuple):
    """Measures of a VAE on held-out frames. Losses are in nats per frame."""

    loss: float
    """Loss that is minimised, with the full weights of its schedule."""
    distortion: float
    """-log p(x | z), summed over pixels, all with the same weight."""
    rate: float
    """KL, summed over latents. If the objective decodes mu: |mu|^2 / 2."""
    elbo: float | None
    """-(distortion + rate); for Bernoulli the distortion of the normalised density, so that
    likelihoods compare. None if the objective decodes mu."""
    bits_per_dimension: float | None
    """The same in bits per 8-bit value of a frame."""
    mse: float
    """Mean squared error of the reconstruction from mu, per value, for values from 0 to 255."""
    active_units: int
    """Number of latents whose mean has a variance above 0.01 over the frames."""
    kl_per_dimension: tuple[float, ...]
    """KL of each latent."""
    moving_mse: float | None
    """`mse` on the pixels that move: those that differ from the median frame. None if no pixel
    moves, or no median frame was given."""
    median_frame_mse: float | None
    """The same of the median frame as the reconstruction of every frame."""
    lost_share: float | None
    """Share of the positions of moving pixels at which the model's error is at least 0.8 times that
    of the median frame, 0 to 1."""
    terms: Mapping[str, float]
    """Further terms of the loss, by name, and measures of the heads (`HeadEvaluation.measure`)."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> HeldOut:
        """The measures in a record that was read from JSON.

        Raises:
            KeyError, TypeError, ValueError: if one is missing or no number.
        """
        values = {name: record[name] for name in cls._fields}
        kl, terms = record["kl_per_dimension"], dict(record["terms"])
        optional = [values[name] for name in _OPTIONAL if values[name] is not None]
        numbers = [values[name] for name in ("loss", "distortion", "rate", "mse", "active_units")]
        if not all(map(_is_number, (*numbers, *optional, *kl, *terms.values()))):
            raise TypeError("a measure that is no number")
        return cls(**{**values, "kl_per_dimension": tuple(kl), "terms": terms})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def evaluate_vae(
    vae: FrameModel,
    dataset: FrameDataset,
    indices: NDArray[np.int64],
    objective: Objective,
    batch_size: int,
    discriminator: nn.Module | None = None,
    median_frame: Tensor | None = None,
    moving_weight: float = 1.0,
    device_frames: Tensor | None = None,
    heads: HeadEvaluation | None = None,
) -> HeldOut:
    """Measure a VAE on frames of a dataset, with the same noise in every call.

    Args:
        vae: The model.
        dataset: The frames.
        indices: (N,) indices of the frames that are measured.
        objective: The loss.
        batch_size: B, the number of frames that a loss is computed of.
        discriminator: Discriminator of the objective, if the objective has one.
        median_frame: (C, H, W) median of the training frames in [0, 1], from which moving pixels
            differ. None: errors on moving pixels are not measured.
        moving_weight: Weight of moving pixels in the loss.
        device_frames: (all frames, H, W, C) uint8 of the dataset on the VAE's device. None: frames
            are read from the dataset.
        heads: The heads, if there are any. Their terms are part of the loss.
    """
    noise, n, device = torch.Generator().manual_seed(0), len(indices), vae.device
    sums: dict[str, Tensor] = {}  # on the device until the end, so that nothing waits for a GPU
    kl = torch.zeros(vae.config.latent_dim, dtype=torch.float64, device=device)
    means, step = [], frames_at_once(vae, batch_size)
    weighted = median_frame is not None and moving_weight > 1
    moving = None if median_frame is None else MovingErrors(median_frame)
    with torch.no_grad(), vae.evaluation_mode():
        for start in range(0, n, step):
            # Encode and decode
            chosen = indices[start : start + step]
            frames = _read_frames(dataset, chosen, device_frames, device)
            x, drawn = vae.to_input(frames), None
            if not objective.deterministic:
                # Drawn on the CPU: the same numbers for every device
                drawn = torch.randn(len(x), vae.config.latent_dim, generator=noise).to(device)
            inputs = StepInputs(x, x, drawn)
            output = run_pass(
                vae, inputs, n, median_frame=median_frame, moving_weight=moving_weight
            )

            # Measure each frame, and each batch's loss
            measures = _measure_frames(vae, x, output, weighted=weighted)
            if moving is not None:
                moving.add(x, measures.errors)
            parts = zip(
                _batches(output.loss_inputs, batch_size),
                _batches(measures, batch_size),
                strict=True,
            )
            for loss_inputs, batch in parts:
                terms = objective.terms(loss_inputs, objective.schedule(1.0), discriminator)
                values = {"loss": terms.loss, **batch.means(), **terms.parts}
                for name, value in values.items():
                    added = len(batch.distortion) * value.double()
                    sums[name] = sums[name] + added if name in sums else added
            kl += output.loss_inputs.kl.double().sum(0)
            means.append(output.loss_inputs.mu)
    mu = torch.cat(means)
    return _summarise(
        {name: float(value) / n for name, value in sums.items()},
        {} if heads is None else heads.measure(mu, indices),
        (kl / n).tolist(),
        int((mu.double().var(dim=0) > ACTIVE_UNIT).sum()),
        math.prod(vae.shape),
        NOT_MEASURED if moving is None else moving.measures(),
        deterministic=objective.deterministic,
    )


def beta_norm(objective: Objective, vae: FrameModel) -> float:
    """Normalised beta of the largest weight of the KL: beta Z / (C H W).

    Higgins et al. 2017, section 4.2.
    """
    return objective.max_kl_weight() * vae.config.latent_dim / math.prod(vae.shape)


def frames_at_once(vae: FrameModel, batch_size: int) -> int:
    """Number of frames in one forward pass: a batch, on a GPU as many batches as fill it."""
    if vae.device.type == "cpu":
        return batch_size
    return batch_size * max(1, GPU_VALUES // (batch_size * math.prod(vae.shape)))


def _read_frames(
    dataset: FrameDataset,
    indices: NDArray[np.int64],
    device_frames: Tensor | None,
    device: torch.device,
) -> Tensor:
    """Frames (B, H, W, C) on a device, from the dataset unless they are there already."""
    if device_frames is None:
        return torch.from_numpy(dataset.frames(indices)).to(device)
    return device_frames.index_select(0, torch.from_numpy(indices).to(device))


class _FrameMeasures(NamedTuple):
    """Measures of each frame."""

    distortion: Tensor
    """(B,) without weights of pixels."""
    normaliser: Tensor
    """(B,) log-normaliser of Bernoulli's cross-entropy, else 0."""
    errors: Tensor
    """(B, C, H, W) squared errors of the reconstruction from mu, for values in [0, 1]."""

    def means(self) -> dict[str, Tensor]:
        return {
            "distortion": self.distortion.mean(),
            "normaliser": self.normaliser.mean(),
            "mse": self.errors.mean() * 255.0**2,
        }


Columns = TypeVar("Columns", LossInputs, _FrameMeasures)


def _measure_frames(
    vae: FrameModel, x: Tensor, output: PassOutput, *, weighted: bool
) -> _FrameMeasures:
    """Measure the frames x (B, C, H, W) beside what the objective gets."""
    logits, distortion = output.logits, output.loss_inputs.distortion
    if weighted:
        distortion = vae.distortion(logits, x)
    bernoulli = vae.config.likelihood == "bernoulli"
    normaliser = log_normaliser(logits) if bernoulli else 0 * distortion
    errors = (torch.sigmoid(vae.decode_logits(output.loss_inputs.mu)) - x).square()
    return _FrameMeasures(distortion, normaliser, errors)


def _batches(columns: Columns, batch_size: int) -> Iterator[Columns]:
    """Split the rows of all tensors into batches."""
    parts = [
        part.split(batch_size) if isinstance(part, Tensor) else repeat(part) for part in columns
    ]
    for batch in zip(*parts, strict=False):
        yield type(columns)(*batch)


def _summarise(
    means: dict[str, float],
    heads: dict[str, float],
    kl: list[float],
    active_units: int,
    values: int,
    moving: Mapping[str, float | None],
    *,
    deterministic: bool,
) -> HeldOut:
    """The measures, from means over frames; `values` is C H W."""
    rate = sum(kl)
    elbo = None if deterministic else means["normaliser"] - means["distortion"] - rate
    named = ("loss", "distortion", "normaliser", "mse")
    return HeldOut(
        loss=means["loss"] + sum(heads.get(name, 0.0) for name in HEAD_TERMS),
        distortion=means["distortion"],
        rate=rate,
        elbo=elbo,
        bits_per_dimension=None if elbo is None else bits_per_dimension(elbo, values),
        mse=means["mse"],
        active_units=active_units,
        kl_per_dimension=tuple(kl),
        **moving,
        terms={name: value for name, value in means.items() if name not in named} | heads,
    )
