"""Measures: what a report says of a model in numbers, all models on the same frames of a dataset.

Shape letters: N frames, Z latents, K factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis.bootstrap import Array, bootstrap_episodes
from rl_vae.analysis.disentanglement import score_disentanglement
from rl_vae.analysis.encodings import encode_all
from rl_vae.data.dataset import FrameDataset
from rl_vae.models.encoder import Encoder
from rl_vae.models.statistics import Scores, score_frames
from rl_vae.training.baselines import evenly_spaced
from rl_vae.training.evaluate import ACTIVE_UNIT

HELD_OUT = 0.3
"""Share of episodes to measure on, where the models were not trained on this dataset."""
MOST_FITTED, MOST_TESTED = 2000, 2000
"""So many frames metrics are fitted on, and so many are they measured on, at most."""

DISENTANGLEMENT = {
    "total_correlation": (
        "total correlation",
        "Gaussian, of mu, in nats; lower is less correlated",
    ),
    "mig": ("MIG", "mutual information gap, 0 to 1: higher"),
    "mig_pruned": ("MIG, pruned", "MIG of the latents that vary, 0 to 1: higher"),
    "dci_disentanglement": ("DCI disentanglement", "0 to 1: higher"),
    "dci_completeness": ("DCI completeness", "0 to 1: higher"),
    "dci_informativeness": (
        "DCI informativeness",
        "accuracy on frames that the trees have not seen: higher",
    ),
    "sap": ("SAP", "separated attribute predictability, 0 to 1: higher"),
    "explicitness": ("explicitness", "area under the ROC curve: higher"),
    "modularity": ("modularity", "0 to 1; high for noise, too"),
    "irs": ("IRS", "interventional robustness, 0 to 1: higher"),
}
"""Label and explanation of each score of `score_disentanglement`, in the order of the table."""


class Measure(NamedTuple):
    """One number with its 95 % interval; NaN where there is none."""

    name: str
    score: float
    low: float
    high: float
    said: str
    """What it is, and which way is better."""


class Measured(NamedTuple):
    """What was found for one model."""

    measures: tuple[Measure, ...]
    factors: tuple[str, ...]
    """Those that vary."""
    information: Array
    """(Z, K): mutual information in nats."""
    importance: Array
    """(Z, K): of each latent for each factor, as DCI's trees see it; a column sums to 1."""

    def of(self, name: str) -> Measure:
        """The measure of that name."""
        return next(measure for measure in self.measures if measure.name == name)


class Halves(NamedTuple):
    """Frames of whole episodes."""

    fit: NDArray[np.int64]
    test: NDArray[np.int64]
    said: str
    """Where they come from."""


def halve(encoders: Sequence[Encoder], dataset: FrameDataset, seed: int) -> Halves:
    """The episodes that no model was trained on, where all held out the same; else some of all."""
    trained = [
        encoder.provenance["train"]
        for encoder in encoders
        if encoder.provenance["dataset"] == dataset.digest
    ]
    splits = {(train.get("held_out"), train.get("seed")) for train in trained}
    if len(dataset.episodes) < 2:
        every = np.arange(len(dataset))
        return Halves(
            evenly_spaced(every, MOST_FITTED), evenly_spaced(every, MOST_TESTED), "its one episode"
        )
    if len(trained) == len(encoders) and len(splits) == 1 and None not in min(splits):
        split = dataset.split(*splits.pop())
        said = "episodes that training held out"
    else:
        split = dataset.split(HELD_OUT, seed)
        said = "some of its episodes"
        if trained:
            said += "; models trained on this dataset have seen most of them, which flatters"
    return Halves(
        evenly_spaced(split.train, MOST_FITTED), evenly_spaced(split.held_out, MOST_TESTED), said
    )


def measure(encoder: Encoder, dataset: FrameDataset, halves: Halves, seed: int) -> Measured:
    """Measure one model: what its code costs, and how it takes the factors apart."""
    episode = dataset.episode_of(halves.test)
    scored = [score_frames(encoder.vae, frames) for frames in dataset.in_batches(halves.test)]
    scores = Scores(*(np.concatenate(parts) for parts in zip(*scored, strict=True)))
    fit, test = (encode_all(encoder.encode, dataset, rows) for rows in halves[:2])
    found = [
        _mean("rate", scores.rate, episode, seed, "nats a frame that the code costs"),
        _mean("distortion", scores.distortion, episode, seed, "nats a frame, from mu; lower fits"),
        _root("error", scores.error, episode, seed, "root mean square, of 255; lower is better"),
        _plain(
            "active latents",
            int((test.var(0) > ACTIVE_UNIT).sum()),
            f"of {encoder.latent_dim}: mu varies by more than {ACTIVE_UNIT} (variance)",
        ),
    ]
    rows = np.concatenate([halves.fit, halves.test])
    factors = dataset.steps(rows)["factors"].reshape(len(rows), -1)
    result = score_disentanglement(
        np.concatenate([fit, test]), factors, dataset.episode_of(rows), seed
    )
    found += [
        Measure(label, *result.scores[name], text)
        for name, (label, text) in DISENTANGLEMENT.items()
        if name in result.scores
    ]
    varying = list(result.varying)
    return Measured(
        tuple(found),
        tuple(dataset.header.factor_names[k] for k in varying),
        result.information[:, varying],
        result.importance[:, varying],
    )


def _mean(name: str, values: Array, episode: NDArray[np.int64], seed: int, said: str) -> Measure:
    parts = np.stack([np.ones_like(values), values], axis=1)
    found = bootstrap_episodes(parts, episode, lambda sums: sums[..., 1] / sums[..., 0], seed)
    return Measure(name, *found[:3], said)


def _root(name: str, values: Array, episode: NDArray[np.int64], seed: int, said: str) -> Measure:
    found = _mean(name, values, episode, seed, said)
    score, low, high = (math.sqrt(value) for value in found[1:4])
    return Measure(name, score, low, high, said)


def _plain(name: str, value: float, said: str) -> Measure:
    return Measure(name, float(value), math.nan, math.nan, said)
