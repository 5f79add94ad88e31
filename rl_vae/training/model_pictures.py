"""Pictures of a model: reconstructions, samples and traversals of held-out frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.vae import VAE
from rl_vae.system import files
from rl_vae.training.config import TrainConfig


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
    images = make_pictures(vae, dataset, held_out, kl_per_dimension)
    images["samples"] = pictures.samples(vae, codes)
    for name, image in images.items():
        pictures.save_picture(folder / f"{name}.png", image)


def make_pictures(
    vae: VAE,
    dataset: FrameDataset,
    held_out: NDArray[np.int64],
    kl_per_dimension: tuple[float, ...],
) -> dict[str, UInt8Array]:
    """Reconstructions and traversals of held-out frames, by name; arguments as `draw_pictures`."""
    chosen = held_out[np.linspace(0, len(held_out) - 1, 12).astype(np.int64)]
    frames = dataset.frames(chosen)
    latents = [int(latent) for latent in np.argsort(kl_per_dimension)[::-1][:8]]
    return {
        "reconstructions": pictures.reconstructions(vae, frames),
        "traversals": pictures.traversals(vae, frames[6], latents),
    }
