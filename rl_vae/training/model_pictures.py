"""Pictures of a model: reconstructions, samples and traversals of held-out frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.frames import UInt8Array
from rl_vae.models.model_sheets import (
    latent_label,
    reconstruction_sheet,
    sample_sheet,
    signed,
    traversal_sheet,
)
from rl_vae.models.sheets import Sheet
from rl_vae.models.vae import VAE
from rl_vae.system import files
from rl_vae.training.config import TrainConfig

_REACH, _STEPS = 2.5, 9
"""A traversal goes from -reach to reach, in the unit of the latents, in this number of steps."""


def draw_pictures(
    folder: Path,
    vae: VAE,
    dataset: FrameDataset,
    held_out: NDArray[np.int64],
    kl_per_dimension: tuple[float, ...],
    config: TrainConfig,
) -> None:
    """Draw reconstructions, samples and traversals of held-out frames.

    Args:
        folder: Folder of the pictures; what it holds is deleted.
        vae: The model.
        dataset: The frames.
        held_out: (N,) indices of the held-out frames.
        kl_per_dimension: KL of each latent; the eight largest are traversed.
        config: Settings of the training.
    """
    files.remove_folder(folder)
    folder.mkdir()
    noise = torch.Generator().manual_seed(config.seed)
    codes = config.objective.sample_prior(32, vae.config.latent_dim, noise)
    sheets = _make_sheets(vae, dataset, held_out, kl_per_dimension)
    sheets["samples"] = sample_sheet(vae.decode_frames(codes), 8, "Decoded samples of the prior")
    for name, sheet in sheets.items():
        sheet.save(folder / f"{name}.png")


def make_pictures(
    vae: VAE,
    dataset: FrameDataset,
    held_out: NDArray[np.int64],
    kl_per_dimension: tuple[float, ...],
) -> dict[str, UInt8Array]:
    """Reconstructions and traversals of held-out frames, by name; arguments as `draw_pictures`."""
    sheets = _make_sheets(vae, dataset, held_out, kl_per_dimension)
    return {name: sheet.image() for name, sheet in sheets.items()}


def _make_sheets(
    vae: VAE,
    dataset: FrameDataset,
    held_out: NDArray[np.int64],
    kl_per_dimension: tuple[float, ...],
) -> dict[str, Sheet]:
    chosen = held_out[np.linspace(0, len(held_out) - 1, 12).astype(np.int64)]
    frames = dataset.frames(chosen)
    mu = vae.encode_frames(frames).mu  # (12, Z)
    latents = [int(latent) for latent in np.argsort(kl_per_dimension)[::-1][:8]]
    values = torch.linspace(-_REACH, _REACH, _STEPS)
    rows = {}
    for latent in latents:
        codes = mu[6:7].repeat(_STEPS, 1)
        codes[:, latent] = values
        rows[latent_label(latent, kl_per_dimension[latent])] = vae.decode_frames(codes)
    return {
        "reconstructions": reconstruction_sheet(
            frames,
            vae.decode_frames(mu),
            "Held-out frames and their reconstructions",
            numbers=chosen,
        ),
        "traversals": traversal_sheet(
            rows,
            [signed(float(value)) for value in values],
            f"Traversals of frame {chosen[6]}: the latents with the largest KL",
        ),
    }
