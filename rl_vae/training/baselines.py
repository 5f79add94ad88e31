"""Baselines of a trained VAE: an untrained network and PCA, alone or as model folders.

    random        the network before training, centred on the frames
    pca           the first Z principal components of the frames, as a network of one matrix
    standardised  a trained autoencoder with mean 0 and variance 1 in every latent; without a prior
                  their standard deviations differ (1 to 13 on the frames of CartPole)

In a model folder every latent has mean 0 and variance 1 over the training frames, so that an agent
gets numbers of the same size as from a VAE. Pictures that an untrained decoder draws mean nothing;
pictures of PCA are right to first order around the mean frame.

Shape letters: N frames, H W C frame, Z latents, D = H W C values of a frame.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import nn

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.episodes import Split
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import UInt8Array
from rl_vae.models.config import VAEConfig
from rl_vae.models.convolutional import ConvDecoder, ConvEncoder
from rl_vae.models.description import read_config
from rl_vae.models.folder import read_model
from rl_vae.models.networks import NETWORKS
from rl_vae.models.save import save_model
from rl_vae.models.scores import measure_statistics
from rl_vae.models.vae import VAE
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.system import files, locks
from rl_vae.system.outputs import output_path, partial_folder
from rl_vae.training.evaluate import evaluate_vae

BASELINE_MODELS = ("random", "pca")
"""Names of the baselines that need no training."""

MAX_FITTED = 2048
"""Largest number of frames that PCA and linear decoders are fitted on."""

MAX_VALUES = 2**25
"""Largest number of pixel values that are held as float32 at once (128 MiB)."""

MIN_STD = 1e-6
"""Smallest standard deviation that a latent is divided by."""


def untrained_vae(frames: UInt8Array, config: VAEConfig, seed: int) -> VAE:
    """Make a VAE with random weights, centred on frames.

    Args:
        frames: (N, H, W, C) frames that its mean frame is computed from.
        config: Its network.
        seed: Seed of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = VAE(config, frames.shape[1:]).eval()
    vae.centre(frames)
    return vae


def fit_pca(frames: UInt8Array, latent_dim: int, seed: int) -> PCA:
    """Fit the principal components of frames (N, H, W, C), with pixels in [0, 1].

    Args:
        frames: The frames, two or more.
        latent_dim: Number of components; at most N - 1 and D.
        seed: Seed of the randomised singular value decomposition.
    """
    pixels = flatten_frames(frames)
    components = min(latent_dim, len(pixels) - 1, pixels.shape[1])
    return PCA(components, svd_solver="randomized", random_state=seed).fit(pixels)


def write_baseline(
    name: str,
    dataset: FrameDataset,
    out: str | Path,
    vae_config: VAEConfig | None = None,
    *,
    held_out: float = 0.1,
    seed: int = 0,
) -> Path:
    """Write an untrained network or PCA as a model folder. A finished folder stays as it is.

    Args:
        name: "random" or "pca".
        dataset: The frames.
        out: The model folder.
        vae_config: The untrained network. PCA uses the number of latents and the likelihood.
        held_out: Share of the frames, in whole episodes, that is not used to fit.
        seed: Seed of the split, of the weights and of the decomposition.

    Returns:
        The model folder.

    Raises:
        FolderError: if the folder holds something else.
    """
    assert name in BASELINE_MODELS
    out, config = output_path(out), vae_config or VAEConfig()
    request = {
        "baseline": name,
        "dataset": dataset.digest,
        "asked": config.to_dict(),
        "seed": seed,
    }
    if out.exists():
        provenance = read_config(out)["provenance"]
        _check_same(out, {key: provenance.get(key) for key in request}, request)
        return out

    # Make the model
    start = time.perf_counter()
    split = dataset.split(held_out, seed)
    frames = dataset.frames(evenly_spaced(split.train, frames_to_fit(dataset)))
    vae = _random_model(frames, config, seed) if name == "random" else _pca(frames, config, seed)

    # Measure it and write it
    measures = evaluate_vae(vae, dataset, split.held_out, Autoencoder(), 64)
    provenance = {
        **request,
        "vae": vae.config.to_dict(),
        "train": {"objective": Autoencoder().to_dict()},
        "parent": None,
        "steps": 0,
        "seconds": time.perf_counter() - start,
        "held_out": measures._asdict(),
        "alarms": [],
    }
    return _save(vae, dataset, split, out, provenance)


def write_standardised(source: str | Path, dataset: FrameDataset, out: str | Path) -> Path:
    """Copy a model and standardise its latents to mean 0 and variance 1.

    Its reconstructions stay the same: the first layer of the decoder undoes the change. A finished
    folder stays as it is.

    Args:
        source: Folder of a model with a deterministic objective.
        dataset: The frames that the model was trained on.
        out: The new model folder.

    Returns:
        The new model folder.

    Raises:
        FolderError: if the source is damaged, or the folder holds something else.
    """
    out, model = output_path(out), read_model(source)
    if out.exists():
        _check_same(out, read_config(out)["provenance"].get("standardised"), model.digest)
        return out
    vae, statistics = model.build(), model.statistics
    assert statistics is not None  # a model with weights has them
    _standardise(vae, torch.tensor(statistics.latent_mean), torch.tensor(statistics.latent_std))
    split = dataset.split(model.provenance["train"]["held_out"], model.provenance["seed"])
    return _save(vae, dataset, split, out, {**model.provenance, "standardised": model.digest})


def evenly_spaced(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Choose at most `most` of some indices, evenly spaced, in their order."""
    return indices[np.linspace(0, len(indices) - 1, min(len(indices), most)).astype(np.int64)]


def frames_to_fit(dataset: FrameDataset) -> int:
    """Largest number of frames of a dataset that PCA and linear decoders are fitted on."""
    return min(MAX_FITTED, MAX_VALUES // dataset[0].size + 1)


def flatten_frames(frames: UInt8Array) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 -> (N, D) float32 in [0, 1]."""
    return frames.reshape(len(frames), -1).astype(np.float32) / np.float32(255)


@torch.no_grad()
def _standardise(vae: VAE, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Change mu into (mu - mean) / std, (Z,) each, and let the decoder undo it."""
    encoder, decoder, latents = vae.encoder, vae.decoder, len(mean)
    if not (isinstance(encoder, ConvEncoder) and isinstance(decoder, ConvDecoder)):
        raise ConfigError(
            "The latents of this network cannot be standardised.",
            expected=f"one of the built-in networks {', '.join(NETWORKS)}",
            got=vae.config.network_name,
            remedy="choose a built-in network for baselines",
        )
    last, first = encoder.head[-1], decoder.tail[0]
    assert isinstance(last, nn.Linear) and isinstance(first, nn.Linear)
    mean, std = mean.float(), std.float().clamp(min=MIN_STD)
    last.bias[:latents] = (last.bias[:latents] - mean) / std
    last.weight[:latents] /= std[:, None]
    first.bias.add_(first.weight @ mean)
    first.weight *= std


def _random_model(frames: UInt8Array, config: VAEConfig, seed: int) -> VAE:
    """The untrained network with standardised latents and no noise."""
    vae = untrained_vae(frames, config, seed)
    vae.fix_variance()
    mu = vae.encode_frames(frames).mu  # (N, Z)
    _standardise(vae, mu.mean(0), mu.std(0))
    return vae


def _pca(frames: UInt8Array, config: VAEConfig, seed: int) -> VAE:
    """PCA as a linear VAE: mu = V (x - mean) / std with components V; unused latents stay 0."""
    _, height, width, channels = frames.shape
    pca = fit_pca(frames, config.latent_dim, seed)
    n = pca.n_components_

    # Components as rows over channels-first pixels, and their scales
    rows = pca.components_.reshape(n, height, width, channels).transpose(0, 3, 1, 2)
    rows = torch.from_numpy(rows.reshape(n, -1).astype(np.float32))  # (n, D)
    std = np.maximum(np.sqrt(pca.explained_variance_), MIN_STD)
    scale = torch.from_numpy(std.astype(np.float32))[:, None]  # (n, 1)

    # A linear VAE with these weights
    linear = VAEConfig(config.latent_dim, "linear", config.likelihood, config.sigma)
    vae = VAE(linear, (height, width, channels)).eval()
    vae.centre(frames)
    assert isinstance(vae.encoder, ConvEncoder) and isinstance(vae.decoder, ConvDecoder)
    encoder, decoder = vae.encoder.head[0], vae.decoder.tail[0]
    assert isinstance(encoder, nn.Linear) and isinstance(decoder, nn.Linear)
    with torch.no_grad():
        for parameter in (encoder.weight, encoder.bias, decoder.weight, decoder.bias):
            parameter.zero_()
        encoder.weight[:n] = rows / scale * vae.spread
        mean = vae.mean_frame.flatten().clamp(0.05, 0.95)
        # d logit = dx / (x (1 - x))
        decoder.weight[:, :n] = (rows * scale / (mean * (1 - mean))).T
    return vae


def _check_same(out: Path, got: object, expected: object) -> None:
    """Raise FolderError if the finished model in a folder is not the expected one."""
    if got != expected:
        raise FolderError(
            f"{out} holds another model.",
            expected=expected,
            got=got,
            remedy="choose another folder, or delete this one",
        )


def _save(
    vae: VAE, dataset: FrameDataset, split: Split, out: Path, provenance: dict[str, object]
) -> Path:
    """Write a model folder under a temporary name, then rename it."""
    partial = partial_folder(out)
    files.make_folder(partial)
    with locks.locked(partial, FolderError):
        save_model(
            partial,
            vae,
            dataset=dataset,
            statistics=measure_statistics(vae, dataset, split.train),
            provenance=provenance,
        )
        files.rename_folder(partial, out)
    files.remove_file(out / ".lock")
    return out
