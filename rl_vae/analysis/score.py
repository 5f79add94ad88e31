"""Score a code before any reinforcement learning: what it costs, and what can be read from it.

The same scores of three other codes give the numbers a scale.

Shape letters: N frames, Z latents, S stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis.bootstrap import BootstrapEstimate
from rl_vae.analysis.encodings import BASELINES, Encoding, encode_all, make_encodings
from rl_vae.analysis.moving_pixels import MovingPixelError
from rl_vae.analysis.probe_data import (
    ProbeSplit,
    Target,
    append_next_code,
    has_next,
    make_target,
    split_rows,
    stack_codes,
)
from rl_vae.analysis.probes import PROBES, probe
from rl_vae.analysis.scorecard import MEDIAN_FRAME, ONE_FRAME, Scorecard
from rl_vae.constraints import Range, check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.header import IMPORT
from rl_vae.models.encoder import Encoder
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.objectives.beta import Beta
from rl_vae.system.progress import progress_bar
from rl_vae.training.evaluate import ACTIVE_UNIT, HeldOut, evaluate_vae
from rl_vae.training.head_measures import HEAD_SCORES

TEST_SHARE = 0.3
"""Share of the frames, in whole episodes, that everything is measured on."""
MAX_FRAMES = 20_000
"""Approximate number of frames, in whole episodes, that are used of a larger dataset."""

Scores = dict[tuple[str, str, str], BootstrapEstimate]
"""Scores by probe, code and target."""


class _Rows(NamedTuple):
    """The frames that are used, and their division."""

    indices: NDArray[np.int64]  # (N,) of the dataset, sorted
    train: NDArray[np.int64]  # positions in `indices`
    split: ProbeSplit  # positions in `indices`


class _Targets(NamedTuple):
    """Targets of the probes."""

    states: list[Target]  # state, reward and done: read from the stack
    actions: list[Target]  # read from the stack and the next code
    dropped: dict[str, str]


@check_arguments
def score_encoder(
    encoder: Encoder,
    dataset: FrameDataset,
    *,
    stack: Annotated[int, Range(low=1)] = 4,
    seed: Annotated[int, Range(low=0)] = 0,
    baselines: Sequence[str] = BASELINES,
    progress: bool = True,
) -> Scorecard:
    """Measure what an encoder's code contains, and compare it with three other codes.

    The other codes are those of an untrained network, of PCA and of small gray pictures. On test
    episodes, probes predict the simulator's state, the reward and done (termination) from the last
    `stack` codes, and the action from these and the code of the next frame. The score is R^2 for
    numbers, balanced accuracy for classes. The inputs are standardised, so the scale of a latent
    does not matter.

    Limits: The scores do not predict how well an agent will learn. Three things have low scores for
    any code: an action that is visible only two frames later, as in CartPole; state that no frame
    shows, such as a car's position in the world; velocities in the first frames of an episode.

    Args:
        encoder: The model.
        dataset: Frames with the same FrameSpec, preferably not those of the training.
        stack: Number S of codes that a probe receives, from 1 up.
        seed: Seed of the split, the untrained network, the probes and the intervals.
        baselines: The other codes: a selection of "random", "pca" and "pixels".
        progress: Whether to show a progress bar on a terminal.

    Raises:
        ObservationError: if the frames have another FrameSpec.
        ConfigError: if `stack` is out of range.
        DatasetError: if the dataset has fewer than two episodes.
    """
    encoder.check_spec(dataset.spec)
    # Frames, targets and encodings.
    rows = _choose_rows(dataset, seed)
    split, targets = rows.split, _make_targets(dataset, rows)
    train = rows.indices[rows.train]
    encodings: dict[str, Encoding] = {"vae": encoder.encode}
    if baselines:
        encodings = make_encodings(encoder, dataset, train, seed)
    # Errors on moving pixels of the model's decoder and of the median frame.
    moving = MovingPixelError(dataset, rows.indices, rows.train, split.test, split.episode, seed)
    errors = {MEDIAN_FRAME: moving.of_median_frame()}
    if encoder.has_decoder:
        errors["vae"] = moving.of_decoder(encoder)
    # Probes of each code. The model's code is also probed without a stack.
    scores: Scores = {}
    columns = [("vae", "vae", stack), ("vae", ONE_FRAME, 1), *((b, b, stack) for b in baselines)]
    bar = progress_bar(columns, desc="probes", progress=progress)
    for name, column, depth in bar:
        if column == ONE_FRAME and stack == 1:
            scores |= {(p, ONE_FRAME, t): v for (p, c, t), v in scores.items() if c == "vae"}
            continue
        codes = encode_all(encodings[name], dataset, rows.indices)
        if column in baselines or column not in (ONE_FRAME, *errors):
            errors[column] = moving.of_linear_decoder(codes)
        bar.set_postfix_str(column)
        for (kind, target), score in _probe_all(codes, depth, targets, split, seed).items():
            scores[kind, column, target] = score
    return Scorecard(
        held_out=_evaluate(encoder, dataset, rows.indices[split.test]),
        latents=encoder.latent_dim,
        stack=stack,
        train=(len(rows.train), len(np.unique(split.episode[rows.train]))),
        test=(len(split.test), len(np.unique(split.episode[split.test]))),
        targets=(*targets.states, *targets.actions),
        probes=scores,
        moving_errors=errors,
        moving_share=moving.share,
        dropped=targets.dropped,
        notes=tuple(_notes(encoder, dataset)),
        heads=_head_scores(encoder),
    )


def _choose_rows(dataset: FrameDataset, seed: int) -> _Rows:
    """Choose training and test frames, in whole episodes."""
    split = dataset.split(TEST_SHARE, seed)
    train = _whole_episodes(dataset, split.train, (1 - TEST_SHARE) * MAX_FRAMES)
    test = _whole_episodes(dataset, split.held_out, TEST_SHARE * MAX_FRAMES)
    indices = np.union1d(train, test)
    train, test = np.searchsorted(indices, train), np.searchsorted(indices, test)
    return _Rows(indices, train, split_rows(train, test, dataset.episode_of(indices), seed))


def _whole_episodes(
    dataset: FrameDataset, indices: NDArray[np.int64], max_frames: float
) -> NDArray[np.int64]:
    """Frames of evenly chosen episodes among some indices, about `max_frames` of them."""
    available = set(indices.tolist())
    episodes = [episode for episode in dataset.episodes if episode.start in available]
    share = min(1.0, max_frames / len(indices))
    chosen = np.linspace(0, len(episodes) - 1, max(1, round(share * len(episodes)))).astype(int)
    return np.concatenate(
        [np.arange(e.start, e.start + e.length) for e in (episodes[i] for i in chosen)]
    )


def _make_targets(dataset: FrameDataset, rows: _Rows) -> _Targets:
    """State, reward and done; the numbers of the action; and the dropped targets."""
    steps = dataset.steps(rows.indices)
    columns = {name: steps["factors"][:, k] for k, name in enumerate(dataset.header.factor_names)}
    missing = dataset.header.missing
    if "reward" not in missing:
        columns["reward"] = steps["reward"]
    columns["done"] = steps["terminated"].astype(np.int64)
    action = np.empty((len(steps), 0))
    if "action" not in missing:
        action = steps["action"].reshape(len(steps), -1)
    names = [f"action_{k}" for k in range(action.shape[1])] if action.shape[1] != 1 else ["action"]
    before_next = rows.split.where(has_next(rows.split.episode))
    states = {name: make_target(name, values, rows.split) for name, values in columns.items()}
    actions = {
        name: make_target(name, values, before_next)
        for name, values in zip(names, action.T, strict=True)
    }
    return _Targets(
        [target for target in states.values() if isinstance(target, Target)],
        [target for target in actions.values() if isinstance(target, Target)],
        {name: why for name, why in {**states, **actions}.items() if isinstance(why, str)}
        | dict.fromkeys(missing, "not recorded"),
    )


def _probe_all(
    codes: NDArray[np.float32], stack: int, targets: _Targets, split: ProbeSplit, seed: int
) -> dict[tuple[str, str], BootstrapEstimate]:
    """Scores of all targets by probe and target, from the codes (N, Z) of all frames."""
    inputs = stack_codes(codes, split.episode, stack)
    with_next, before_next = append_next_code(inputs, codes), split.where(has_next(split.episode))
    scores: dict[tuple[str, str], BootstrapEstimate] = {}
    for kind in PROBES:
        read = probe(kind, inputs, targets.states, split, seed)
        read |= probe(kind, with_next, targets.actions, before_next, seed)
        scores |= {(kind, target): score for target, score in read.items()}
    return scores


def _evaluate(encoder: Encoder, dataset: FrameDataset, test: NDArray[np.int64]) -> HeldOut:
    """Rate, distortion and ELBO on the test frames; without a draw of z for an autoencoder."""
    objective = Autoencoder() if encoder.objective.deterministic else Beta()
    if not encoder.has_decoder:
        codes = encode_all(encoder.encode, dataset, test)
        active = int((codes.var(0) > ACTIVE_UNIT).sum())
        return HeldOut(
            loss=math.nan,
            distortion=math.nan,
            rate=math.nan,
            elbo=None,
            bits_per_dimension=None,
            mse=math.nan,
            active_units=active,
            kl_per_dimension=(),
            moving_mse=None,
            median_frame_mse=None,
            lost_share=None,
            terms={},
        )
    return evaluate_vae(encoder.vae.on_cpu(), dataset, test, objective, 64)


def _head_scores(encoder: Encoder) -> dict[str, float]:
    """Scores of the heads that were trained with a model, from its description."""
    try:
        terms = HeldOut.of(encoder.provenance["held_out"]).terms
    except (KeyError, TypeError, ValueError):  # a baseline, or a model of someone else's trainer
        return {}
    return {name: terms[name] for name in HEAD_SCORES if name in terms}


def _notes(encoder: Encoder, dataset: FrameDataset) -> Iterator[str]:
    """Remarks on missing states and on frames that the model was trained on."""
    header = dataset.header
    if not header.factor_names:
        yield (
            f"No state: the dataset has no factors (engine {header.engine}, {header.env_id}). "
            + (
                "Import the frames again, with factors"
                if header.engine == IMPORT
                else "Collect frames with --engine gymnasium, which gives the state of many "
                "environments"
            )
        )
    for field in header.missing:
        yield f"No {field}s: they were not imported. Import the frames again, with {field}s"
    if not encoder.has_decoder:
        yield (
            "The model has no decoder, so it has no distortion; its error on moving pixels is that "
            "of its best linear decoder"
        )
    if "source" not in encoder.provenance and encoder.provenance.get("dataset") == dataset.digest:
        yield "The model was trained on frames of this dataset, so its scores are optimistic"
