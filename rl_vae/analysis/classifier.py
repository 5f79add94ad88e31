"""Classifier: a small network on the code, its encoder frozen or fine-tuned.

Shape letters: N frames, H W C frame, Z latents, K classes.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.vae import VAE

MOST_CLASSES = 20
"""A factor with more values than this is cut into BINS equally full ones."""

BINS = 5
HIDDEN = 128
"""Units between the code and the classes."""


class Labels(NamedTuple):
    """What a classifier is to tell of each frame of a dataset."""

    classes: NDArray[np.int64]
    """(N,) from 0 to K - 1."""
    names: tuple[str, ...]
    """(K,) what each class stands for."""


class Classifier(nn.Module):
    """Frames (N, H, W, C) uint8 -> (N, K) logits, by way of the standardised mean code."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.vae = copy.deepcopy(encoder.vae)
        statistics, latents = encoder.statistics, encoder.latent_dim
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(statistics.latent_mean))
        self.register_buffer("std", torch.tensor(statistics.latent_std).clamp_min(1e-3))
        self.head = nn.Sequential(nn.Linear(latents, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))

    def forward(self, frames: Tensor) -> Tensor:
        """(N, H, W, C) uint8 -> (N, K)."""
        return self.classify(self.vae.encode(VAE.to_input(frames)).mu)

    def classify(self, mu: Tensor) -> Tensor:
        """(N, Z) -> (N, K)."""
        out: Tensor = self.head((mu - self.mean) / self.std)
        return out

    @torch.no_grad()
    def predict(self, frames: UInt8Array) -> NDArray[np.int64]:
        """(N, H, W, C) uint8 -> (N,) classes."""
        parts = [
            self(torch.from_numpy(np.array(frames[i : i + 256]))).argmax(1)
            for i in range(0, len(frames), 256)
        ]
        out: NDArray[np.int64] = torch.cat(parts).numpy()
        return out


class Classified(NamedTuple):
    """What `train_classifier` made."""

    classifier: Classifier
    accuracy: float
    """Share of right answers on held-out episodes."""
    majority: float
    """What always answering the commonest class would get there."""
    confusion: NDArray[np.int64]
    """(K, K) held-out frames: row the right class, column the answer."""


def labels_of(dataset: FrameDataset, name: str) -> Labels:
    """The classes of a dataset's frames: "action" where actions are numbers, or a factor.

    Raises:
        ConfigError: where there is no such label, or only one class.
    """
    if name == "action":
        values = dataset.steps()["action"]
    elif name in dataset.header.factor_names:
        values = dataset.factors[name]
    else:
        values = np.empty(0)
    possible = values.ndim == 1 and (name != "action" or values.dtype.kind in "iu")
    if possible and len(np.unique(values)) > MOST_CLASSES:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        edges = np.append(edges[edges > values.min()], np.inf)  # no class is empty
        classes = np.digitize(values, edges)
        named = [f"below {edges[0]:.3g}", *(f"from {edge:.3g}" for edge in edges[:-1])]
    else:
        found, classes = np.unique(values, return_inverse=True)
        named = [f"{value:g}" for value in found]
    if not possible or len(named) < 2:
        some = ", ".join(dataset.header.factor_names[:8])
        raise ConfigError(
            "Frames cannot be classified by this.",
            expected=f"action (where actions are numbers) or a factor such as {some or '(none)'}",
            got=repr(name),
            remedy="choose another label",
        )
    return Labels(classes.astype(np.int64), tuple(named))


def train_classifier(
    encoder: Encoder,
    dataset: FrameDataset,
    labels: Labels,
    *,
    fine_tune: bool = False,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    held_out: float = 0.2,
    seed: int = 0,
) -> Classified:
    """Train a classifier on an encoder's code; the model's folder stays as it is.

    Args:
        encoder: Whose code it reads.
        dataset: Frames that fit the encoder.
        labels: One for each frame.
        fine_tune: Whether a copy of the encoder is trained along, at a tenth of the rate.
        epochs: Passes over the frames.
        batch_size: Frames of one update.
        learning_rate: Adam's.
        held_out: Share of frames, in whole episodes, on which it is measured.
        seed: Of weights, order and split.

    Raises:
        ObservationError: where the frames do not fit the encoder.
        DatasetError: where they cannot be split.
    """
    split = dataset.split(held_out, seed)
    encoder.check_frames(dataset.frames(split.train[:1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(encoder, len(labels.names))
    groups = [{"params": list(classifier.head.parameters()), "lr": learning_rate}]
    if fine_tune:
        tuned = list(classifier.vae.encoder.requires_grad_(True).parameters())
        groups.append({"params": tuned, "lr": learning_rate / 10})
    optimizer = torch.optim.Adam(groups)
    codes = None
    if not fine_tune:
        parts = [encoder.encode(few) for few in dataset.in_batches(split.train)]
        codes = torch.from_numpy(np.concatenate(parts))
    targets = torch.from_numpy(labels.classes)
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        places = order.permutation(len(split.train))
        for start in range(0, len(places), batch_size):
            here = np.sort(places[start : start + batch_size])
            rows = split.train[here]
            if codes is None:
                logits = classifier(torch.from_numpy(dataset.frames(rows)))
            else:
                logits = classifier.classify(codes[torch.from_numpy(here)])
            loss = functional.cross_entropy(logits, targets[torch.from_numpy(rows)])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    classifier.requires_grad_(False)
    right = labels.classes[split.held_out]
    said = np.concatenate([classifier.predict(few) for few in dataset.in_batches(split.held_out)])
    confusion = np.zeros((len(labels.names),) * 2, np.int64)
    np.add.at(confusion, (right, said), 1)
    majority = float(confusion.sum(1).max() / len(right))
    return Classified(classifier, float((said == right).mean()), majority, confusion)
