"""Stand-ins: what a VAE is compared with, as model folders like any other.

    random  the network before training, centred on the frames
    pca     the first Z principal components of the frames, as a network of one matrix
    scaled  a trained autoencoder, whose latents no prior keeps near 1 (on CartPole's frames their
            standard deviations were 1 to 13)

All latents have mean 0 and variance 1 over the frames, so that an agent sees numbers of the same
size as a VAE's. What an untrained decoder draws means nothing; PCA's pictures are right to
first order around the mean frame.

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import nn

from rl_vae.analysis.encodings import flat, most_fitted, spread
from rl_vae.data.dataset import FrameDataset, Split
from rl_vae.errors import FolderError
from rl_vae.models import folder as artifact
from rl_vae.models.statistics import measure_statistics
from rl_vae.models.vae import VAE, VAEConfig
from rl_vae.objectives.beta import Autoencoder
from rl_vae.system import files
from rl_vae.training.evaluate import evaluate_vae

STAND_INS = ("random", "pca")


def write_stand_in(
    name: str,
    dataset: FrameDataset,
    out: str | Path,
    vae_config: VAEConfig | None = None,
    *,
    held_out: float = 0.1,
    seed: int = 0,
) -> Path:
    """Write an untrained network, or PCA, as a model folder; a finished one is left as it is.

    Args:
        name: "random" or "pca".
        dataset: The frames.
        out: The model's folder.
        vae_config: The network that stays untrained; of PCA, how many latents.
        held_out: Share of the frames, in whole episodes, that is not fitted.
        seed: Of the split, the network's weights, and PCA's random projections.

    Raises:
        ArtifactError: where the folder holds something else.
    """
    assert name in STAND_INS
    out, config = Path(out), vae_config or VAEConfig()
    made = {"stand_in": name, "dataset": dataset.digest, "asked": config.to_dict(), "seed": seed}
    if out.exists():
        found = artifact.read_config(out)["provenance"]
        if {key: found.get(key) for key in made} != made:
            raise FolderError(
                f"{out} holds another model.",
                expected=f"the stand-in {name} of the same frames and settings",
                got="another",
                remedy="choose another folder, or delete that one",
            )
        return out
    began = time.perf_counter()
    split = dataset.split(held_out, seed)
    frames = dataset.frames(spread(split.train, most_fitted(dataset)))
    vae = _untrained(frames, config, seed) if name == "random" else _pca(frames, config, seed)
    measured = evaluate_vae(vae, dataset, split.held_out, Autoencoder(), 64)
    told = {
        **made,
        "vae": vae.config.to_dict(),
        "train": {"objective": Autoencoder().to_dict()},
        "parent": None,
        "steps": 0,
        "seconds": time.perf_counter() - began,
        "held_out": measured._asdict(),
        "alarms": [],
    }
    return _save(vae, dataset, split, out, told)


def write_scaled(source: str | Path, dataset: FrameDataset, out: str | Path) -> Path:
    """Write a model again, its latents shifted and scaled to mean 0 and variance 1.

    What it rebuilds stays the same: the decoder's first layer undoes it. A finished one is left as
    it is.

    Args:
        source: Folder of a model whose objective is deterministic.
        dataset: The frames that it was trained on.
        out: The new model's folder.

    Raises:
        ArtifactError: where the source is damaged, or the folder holds something else.
    """
    out, trained = Path(out), artifact.read_model(source)
    if out.exists():
        if artifact.read_config(out)["provenance"].get("scaled") != trained.digest:
            raise FolderError(
                f"{out} holds another model.",
                expected=f"{source} with scaled latents",
                got="another",
                remedy="choose another folder, or delete that one",
            )
        return out
    vae, told = trained.build(), trained.provenance
    mean, std = (
        torch.tensor(v) for v in (trained.statistics.latent_mean, trained.statistics.latent_std)
    )
    _scale(vae, mean, std)
    split = dataset.split(told["train"]["held_out"], told["seed"])
    return _save(vae, dataset, split, out, {**told, "scaled": trained.digest})


@torch.no_grad()
def _scale(vae: VAE, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Turn mu into (mu - mean) / std, (Z,) each, and let the decoder turn it back."""
    last, first, latents = vae.encoder.head[-1], vae.decoder.tail[0], len(mean)
    assert isinstance(last, nn.Linear) and isinstance(first, nn.Linear)
    mean, std = mean.float(), std.float().clamp(min=1e-6)
    last.bias[:latents] = (last.bias[:latents] - mean) / std
    last.weight[:latents] /= std[:, None]
    first.bias.add_(first.weight @ mean)
    first.weight *= std


def _untrained(frames: NDArray[np.uint8], config: VAEConfig, seed: int) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = VAE(config, frames.shape[1:]).eval()
    vae.centre(frames)
    vae.still()
    mu = vae.encode_frames(frames).mu  # (N, Z)
    _scale(vae, mu.mean(0), mu.std(0))
    return vae


def _pca(frames: NDArray[np.uint8], config: VAEConfig, seed: int) -> VAE:
    """PCA as a network: mu = V (x - mean) / std, V the components; others stay 0."""
    latents, (n, height, width, channels) = config.latent_dim, frames.shape
    pixels = flat(frames)
    few = min(latents, n - 1, pixels.shape[1])
    fitted = PCA(few, svd_solver="randomized", random_state=seed).fit(pixels)
    std = np.maximum(np.sqrt(fitted.explained_variance_), 1e-6)
    rows = fitted.components_.reshape(few, height, width, channels).transpose(0, 3, 1, 2)
    rows = torch.from_numpy(rows.reshape(few, -1).astype(np.float32))  # (few, C H W)
    scale = torch.from_numpy(std.astype(np.float32))[:, None]
    plain = VAEConfig(latents, "linear", config.likelihood, config.sigma)
    vae = VAE(plain, (height, width, channels)).eval()
    vae.centre(frames)
    into, back = vae.encoder.head[0], vae.decoder.tail[0]
    assert isinstance(into, nn.Linear) and isinstance(back, nn.Linear)
    with torch.no_grad():
        for part in (into.weight, into.bias, back.weight, back.bias):
            part.zero_()
        into.weight[:few] = rows / scale * vae.spread
        mean = vae.mean_frame.flatten().clamp(0.05, 0.95)
        back.weight[:, :few] = (rows * scale / (mean * (1 - mean))).T  # d logit = dx / (x (1 - x))
    return vae


def _save(
    vae: VAE, dataset: FrameDataset, split: Split, out: Path, provenance: dict[str, object]
) -> Path:
    partial = out.with_name(out.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    with files.locked(partial, FolderError):
        artifact.save_model(
            partial,
            vae,
            dataset=dataset,
            statistics=measure_statistics(vae, dataset, split.train),
            provenance=provenance,
        )
        files.rename_folder(partial, out)
    (out / ".lock").unlink(missing_ok=True)
    return out
