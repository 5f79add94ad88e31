"""Measures of the models in a report, all on the same frames.

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
from rl_vae.models.scores import score_frames
from rl_vae.models.statistics import Scores
from rl_vae.system.estimate import Estimate
from rl_vae.training.baselines import evenly_spaced
from rl_vae.training.evaluate import ACTIVE_UNIT

HELD_OUT = 0.3
"""Share of the episodes that are measured if the models were not trained on this dataset."""
UNDEFINED = Estimate(math.nan)
MAX_FITTED, MAX_MEASURED = 2000, 2000
"""Largest numbers of frames in `MeasuredFrames.fit` and `MeasuredFrames.test`."""

DISENTANGLEMENT = {
    "total_correlation": (
        "total correlation",
        "Gaussian, of mu, in nats; lower is less correlated",
    ),
    "mig": ("MIG", "mutual information gap, 0 to 1; higher is better"),
    "mig_pruned": ("MIG, pruned", "MIG of the active latents, 0 to 1; higher is better"),
    "dci_disentanglement": (
        "DCI disentanglement",
        "0 to 1; higher is better; not defined if one factor varies",
    ),
    "dci_completeness": ("DCI completeness", "0 to 1; higher is better"),
    "dci_informativeness": (
        "DCI informativeness",
        "accuracy of boosted trees on other frames; higher is better",
    ),
    "sap": ("SAP", "separated attribute predictability, 0 to 1; higher is better"),
    "explicitness": ("explicitness", "area under the ROC curve; higher is better"),
    "modularity": (
        "modularity",
        "0 to 1; also high for noise; not defined if one factor varies",
    ),
    "irs": ("IRS", "interventional robustness, 0 to 1; higher is better"),
}
"""Label and explanation of each score of `score_disentanglement`, in the order of the table."""


class Measure(NamedTuple):
    """A number with its 95 % interval; NaN bounds if there is no interval."""

    name: str
    score: float
    low: float
    high: float
    explanation: str
    """What the number is, and which direction is better."""


class Measured(NamedTuple):
    """Measures of one model."""

    measures: tuple[Measure, ...]
    factors: tuple[str, ...]
    """Names of the factors that vary."""
    information: Array
    """(Z, K) mutual information in nats."""
    importance: Array
    """(Z, K) importance of each latent for each factor in DCI's trees; a column sums to 1."""
    kl: Array
    """(Z,) mean KL of each latent in nats, on the measured frames."""

    def of(self, name: str) -> Measure:
        """The measure with a name."""
        return next(measure for measure in self.measures if measure.name == name)


class MeasuredFrames(NamedTuple):
    """Frames of whole episodes, on which all models are measured."""

    fit: NDArray[np.int64]
    """Indices of other frames, on which only the disentanglement is measured as well."""
    test: NDArray[np.int64]
    """Indices of the frames on which everything is measured."""
    source: str
    """Where the measured frames come from, in words."""


def choose_frames(encoders: Sequence[Encoder], dataset: FrameDataset, seed: int) -> MeasuredFrames:
    """Choose the frames to measure.

    If all models held out the same episodes of this dataset, these are measured. Otherwise some
    episodes are drawn by the seed.
    """
    trainings = [
        encoder.provenance["train"]
        for encoder in encoders
        if encoder.provenance["dataset"] == dataset.digest
    ]
    splits = {(train.get("held_out"), train.get("seed")) for train in trainings}
    if len(dataset.episodes) < 2:
        fit = test = np.arange(len(dataset))
        source = "of the only episode"
    elif len(trainings) == len(encoders) and len(splits) == 1 and None not in min(splits):
        split = dataset.split(*splits.pop())
        fit, test, source = split.train, split.held_out, "of episodes that training held out"
    else:
        split = dataset.split(HELD_OUT, seed)
        fit, test, source = split.train, split.held_out, "of episodes drawn from the dataset"
        if trainings:
            source += "; models trained on this dataset know most of them, so they score too well"
    return MeasuredFrames(evenly_spaced(fit, MAX_FITTED), evenly_spaced(test, MAX_MEASURED), source)


def measure(encoder: Encoder, dataset: FrameDataset, chosen: MeasuredFrames, seed: int) -> Measured:
    """Measure the rate, the distortion and the disentanglement of one model."""
    # Rate, distortion and error, with intervals over episodes.
    fit, test = (encode_all(encoder.encode, dataset, rows) for rows in chosen[:2])
    measures = [
        *_decoded(encoder, dataset, chosen.test, seed),
        Measure(
            "active latents",
            float((test.var(0) > ACTIVE_UNIT).sum()),
            math.nan,
            math.nan,
            f"of {encoder.latent_dim}; the variance of mu is above {ACTIVE_UNIT}",
        ),
    ]

    # Disentanglement.
    rows = np.concatenate([chosen.fit, chosen.test])
    factors = dataset.steps(rows)["factors"].reshape(len(rows), -1)
    result = score_disentanglement(
        np.concatenate([fit, test]), factors, dataset.episode_of(rows), seed
    )
    shown = DISENTANGLEMENT if factors.size else {"total_correlation"}
    measures += [
        Measure(label, *result.scores.get(name, UNDEFINED), explanation)
        for name, (label, explanation) in DISENTANGLEMENT.items()
        if name in shown
    ]
    varying = list(result.varying)
    return Measured(
        tuple(measures),
        tuple(dataset.header.factor_names[k] for k in varying),
        result.information[:, varying],
        result.importance[:, varying],
        _kl(encoder, dataset, chosen.test),
    )


def _kl(encoder: Encoder, dataset: FrameDataset, rows: NDArray[np.int64]) -> Array:
    """(Z,) mean KL of each latent."""
    parts = [encoder.encode_posterior(frames) for frames in dataset.in_batches(rows)]
    mu, logvar = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    kl: Array = (0.5 * (mu**2 + np.exp(logvar) - logvar - 1)).mean(axis=0)
    return kl


def _decoded(
    encoder: Encoder, dataset: FrameDataset, rows: NDArray[np.int64], seed: int
) -> list[Measure]:
    """Measures that need a decoder; NaN if the model has none."""
    error = rate = distortion = Estimate(math.nan, math.nan, math.nan)
    if encoder.has_decoder:
        episode = dataset.episode_of(rows)
        parts = [score_frames(encoder.vae, frames) for frames in dataset.in_batches(rows)]
        scores = Scores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        rate, distortion, squared = (
            _mean(values, episode, seed)
            for values in (scores.rate, scores.distortion, scores.error)
        )
        error = Estimate(*map(math.sqrt, squared))
    return [
        Measure("rate", *rate, "information in a code, nats per frame"),
        Measure("distortion", *distortion, "nats per frame, decoded from mu; lower is better"),
        Measure("error", *error, "root mean square, of 255; lower is better"),
    ]


def _mean(values: Array, episode: NDArray[np.int64], seed: int) -> Estimate:
    """Mean over frames (N,), with an interval over episodes."""
    parts = np.stack([np.ones_like(values), values], axis=1)
    result = bootstrap_episodes(parts, episode, lambda sums: sums[..., 1] / sums[..., 0], seed)
    return Estimate(*result[:3])
