"""Classifier: a small network on a code; the encoder is frozen or fine-tuned.

Shape letters: N frames, H W C frame, Z latents, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rl_vae.constraints import Range, check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.frame_model import FrameModel

MAX_CLASSES = 20
"""A factor with more values than this is cut into `BINS` classes of equal size."""
BINS = 5
"""Number of classes of a factor with many values."""
HIDDEN = 128
"""Units between the code and the classes."""
MIN_STD = 1e-3
"""Smallest standard deviation that a latent is divided by."""


class Labels(NamedTuple):
    """Class of each frame of a dataset."""

    classes: NDArray[np.int64]
    """(N,) class of each frame, from 0 to K - 1."""
    names: tuple[str, ...]
    """(K,) name of each class."""


class Classifier(nn.Module):
    """Network from frames (N, H, W, C) uint8 to logits (N, K), through the standardised code.

    Args:
        encoder: The model, which is copied.
        classes: Number of classes K.
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.vae: Any = encoder.vae.on_cpu()
        statistics, latents = encoder.statistics, encoder.latent_dim
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(statistics.latent_mean))
        self.register_buffer("std", torch.tensor(statistics.latent_std).clamp_min(MIN_STD))
        self.head = nn.Sequential(nn.Linear(latents, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))

    def forward(self, frames: Tensor) -> Tensor:
        """Classify frames (N, H, W, C) uint8: logits (N, K)."""
        return self.classify(self.vae.encode(FrameModel.to_input(frames)).mu)

    def classify(self, mu: Tensor) -> Tensor:
        """Classify mean codes (N, Z): logits (N, K)."""
        logits: Tensor = self.head((mu - self.mean) / self.std)
        return logits

    @torch.no_grad()
    def predict(self, frames: UInt8Array) -> NDArray[np.int64]:
        """Return the most likely class (N,) of frames (N, H, W, C) uint8."""
        batches = [
            self(torch.from_numpy(np.array(frames[i : i + 256]))).argmax(1)
            for i in range(0, len(frames), 256)
        ]
        classes: NDArray[np.int64] = torch.cat(batches).numpy()
        return classes


class TrainedClassifier(NamedTuple):
    """Result of `train_classifier`."""

    classifier: Classifier
    """The trained network."""
    accuracy: float
    """Accuracy on the held-out episodes, 0 to 1."""
    majority: float
    """Accuracy of the most frequent class on the held-out episodes, 0 to 1."""
    confusion: NDArray[np.int64]
    """(K, K) number of held-out frames by true class (row) and predicted class (column)."""


@check_arguments
def labels_of(dataset: FrameDataset, name: str) -> Labels:
    """Make classes of a dataset's actions or of one factor.

    A factor with more than 20 values is cut at quantiles into at most 5 classes.

    Args:
        dataset: The frames.
        name: "action", if an action is one whole number, or the name of a factor.

    Raises:
        ConfigError: if there is no such label, or it has only one class.
    """
    if name == "action":
        dataset.header.require_recorded("action", "The label 'action'")
        values = dataset.steps()["action"]
    elif name in dataset.header.factor_names:
        values = dataset.factors[name]
    else:
        values = np.empty(0)
    usable = values.ndim == 1 and (name != "action" or values.dtype.kind in "iu")
    if usable and len(np.unique(values)) > MAX_CLASSES:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        edges = np.append(edges[edges > values.min()], np.inf)  # no class is empty
        classes = np.digitize(values, edges)
        names = [f"below {edges[0]:.3g}", *(f"from {edge:.3g}" for edge in edges[:-1])]
    else:
        distinct, classes = np.unique(values, return_inverse=True)
        names = [f"{value:g}" for value in distinct]
    if not usable or len(names) < 2:
        factors = ", ".join(dataset.header.factor_names[:8]) or "(the dataset has no factors)"
        raise ConfigError(
            "This label has no classes.",
            expected=f"action (if it is one whole number) or a factor that varies, of: {factors}",
            got=repr(name),
            remedy="choose another label",
        )
    return Labels(classes.astype(np.int64), tuple(names))


@check_arguments
def train_classifier(
    encoder: Encoder,
    dataset: FrameDataset,
    labels: Labels,
    *,
    fine_tune: bool = False,
    epochs: Annotated[int, Range(low=1)] = 10,
    batch_size: Annotated[int, Range(low=1)] = 64,
    learning_rate: Annotated[float, Range(above=0)] = 1e-3,
    held_out: Annotated[float, Range(above=0, below=1)] = 0.2,
    seed: Annotated[int, Range(low=0)] = 0,
) -> TrainedClassifier:
    """Train a classifier on an encoder's code. The model folder does not change.

    Args:
        encoder: The model.
        dataset: Frames that fit the model.
        labels: Class of each frame.
        fine_tune: Whether to train a copy of the encoder too, at a tenth of the learning rate.
        epochs: Number of passes over the training frames, from 1 up.
        batch_size: Number of frames per update, from 1 up.
        learning_rate: Adam's learning rate, above 0.
        held_out: Share of the frames, in whole episodes, that the accuracy is measured on.
        seed: Seed of the weights, the order of the frames and the split.

    Raises:
        ConfigError: if a setting is out of range, or `fine_tune` is set and the network is a
            user's: a model folder holds no code.
        ObservationError: if the frames do not fit the model.
        DatasetError: if the dataset cannot be split.
    """
    if fine_tune:
        encoder.check_built_in()
    split = dataset.split(held_out, seed)
    encoder.check_frames(dataset.frames(split.train[:1]))
    # The network, and its optimizer.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(encoder, len(labels.names))
    groups = [{"params": list(classifier.head.parameters()), "lr": learning_rate}]
    if fine_tune:
        weights = list(classifier.vae.encoder.requires_grad_(True).parameters())
        groups.append({"params": weights, "lr": learning_rate / 10})
    optimizer = torch.optim.Adam(groups)
    # A frozen encoder encodes each frame once.
    codes = None
    if not fine_tune:
        batches = [encoder.encode(frames) for frames in dataset.in_batches(split.train)]
        codes = torch.from_numpy(np.concatenate(batches))
    # Training.
    targets = torch.from_numpy(labels.classes)
    for places in _batches(len(split.train), epochs, batch_size, seed):
        indices = split.train[places]
        if codes is None:
            logits = classifier(torch.from_numpy(dataset.frames(indices)))
        else:
            logits = classifier.classify(codes[torch.from_numpy(places)])
        loss = functional.cross_entropy(logits, targets[torch.from_numpy(indices)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    classifier.requires_grad_(False)
    return _measure(classifier, dataset, labels, split.held_out)


def _batches(n: int, epochs: int, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Sorted positions of the frames of each update."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(n)
        for start in range(0, n, batch_size):
            yield np.sort(order[start : start + batch_size])


def _measure(
    classifier: Classifier, dataset: FrameDataset, labels: Labels, held_out: NDArray[np.int64]
) -> TrainedClassifier:
    """Measure the accuracy on held-out frames."""
    truth = labels.classes[held_out]
    batches = [classifier.predict(frames) for frames in dataset.in_batches(held_out)]
    prediction = np.concatenate(batches)
    confusion = np.zeros((len(labels.names),) * 2, np.int64)
    np.add.at(confusion, (truth, prediction), 1)
    majority = float(confusion.sum(1).max() / len(truth))
    return TrainedClassifier(classifier, float((prediction == truth).mean()), majority, confusion)
