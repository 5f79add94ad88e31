"""Scorecard: is this encoder good for control, before any reinforcement learning.

It says what a model's code costs (rate, distortion), what can be read from it (probes), and the
same for codes that have learned nothing about the environment, so that a number means something.

Shape letters: N frames, Z latents, S stack.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from rl_vae.analysis.bootstrap import BootstrapEstimate
from rl_vae.analysis.encodings import Moving, encode_all, encodings
from rl_vae.analysis.probes import (
    PROBES,
    Halves,
    Target,
    as_target,
    followed,
    halve,
    probe,
    stacked,
    with_next,
)
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.objectives.beta import Beta
from rl_vae.training.evaluate import HeldOut, evaluate_vae

HELD_OUT = 0.3
"""Share of the frames, in whole episodes, on which everything is measured."""
MOST_FRAMES = 20_000
"""Of a larger dataset, whole episodes of about so many frames are taken."""
RECOVERED = 0.5
"""A velocity is recoverable where a probe's R^2 is surely above this."""
BASELINES = ("random", "pca", "pixels")
ONE = "one frame"
"""The column of the model's code without a stack."""


@dataclass(frozen=True)
class Scorecard:
    """What `score_encoder` found. `str` of it is the table, `figures()` the JSON."""

    held_out: HeldOut
    """Rate, distortion, ELBO, active units on the held-out frames, in nats a frame."""
    latents: int
    stack: int
    train: tuple[int, int]
    """Frames and episodes on which probes, PCA and linear decoders were fitted."""
    test: tuple[int, int]
    """Frames and episodes on which everything was measured."""
    targets: tuple[Target, ...]
    """State, reward, done, then the action."""
    probes: Mapping[tuple[str, str, str], BootstrapEstimate]
    """By probe ("linear", "mlp"), code ("vae", "one frame", "random", "pca", "pixels"), target."""
    moving: Mapping[str, BootstrapEstimate]
    """Root mean square error where pixels move, of 255, by code; "still" is the usual frame."""
    moving_share: float
    """Of all pixels."""
    dropped: Mapping[str, str]
    """Targets that could not be probed, and why."""
    notes: tuple[str, ...]

    def figures(self) -> dict[str, float]:
        """Every number under a flat name, as PROBE_CODE_TARGET; intervals as _low and _high."""
        held = self.held_out
        flat: dict[str, float | None] = {
            **{name: getattr(held, name) for name in ("rate", "distortion", "elbo", "mse")},
            "active_units": held.active_units,
            "latents": self.latents,
            "stack": self.stack,
            "train_frames": self.train[0],
            "test_frames": self.test[0],
            "test_episodes": self.test[1],
            "moving_share": self.moving_share,
        }
        named = {f"moving_error_{code}": found for code, found in self.moving.items()}
        named |= {"_".join(key).replace(" ", "_"): found for key, found in self.probes.items()}
        for name, found in named.items():
            flat |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        return {name: float("nan") if value is None else value for name, value in flat.items()}

    @property
    def beside(self) -> tuple[str, ...]:
        """The other codes that were measured."""
        return tuple(code for code in BASELINES if code in self.moving)

    def velocities(self) -> dict[str, tuple[float, float, bool]]:
        """Each velocity by name: best R^2 from one frame, from the stack, and whether recoverable.

        Velocities are the factors named so ("velocity", "speed", "qvel"). One is recoverable where
        the lower end of the better probe's interval from the stack is above RECOVERED.
        """
        names = [
            target.name
            for target in self.targets
            if any(word in target.name for word in ("velocity", "speed", "qvel"))
        ]
        return {
            name: (
                self.best(ONE, name).value,
                self.best("vae", name).value,
                self.best("vae", name).low > RECOVERED,
            )
            for name in names
        }

    def best(self, code: str, target: str) -> BootstrapEstimate:
        """The better probe of a code."""
        return max((self.probes[kind, code, target] for kind in PROBES), key=lambda p: p.value)

    def verdicts(self) -> list[str]:
        """Where the model beats another code and where it does not, one sentence a comparison.

        The better probe of each, over the same resampled held-out episodes: better or worse where
        95 % of them say so. A target is read by neither where no interval lies above chance.
        """
        sentences = []
        for code in self.beside:
            said: dict[str, list[str]] = {}
            for target in self.targets:
                mine, other = self.best("vae", target.name), self.best(code, target.name)
                read = max(mine.low, other.low) > target.chance
                word = mine.compare(other) if read else "read by neither"
                said.setdefault(word, []).append(target.name)
            error = self.moving[code].compare(self.moving["vae"])  # less error is better
            said.setdefault(error, []).append("moving pixels")
            told = "; ".join(
                f"{word}: {', '.join(said[word])}"
                for word in ("better", "worse", "no clear difference", "read by neither")
                if word in said
            )
            sentences.append(f"vae against {code}: {told}")
        return sentences

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def score_encoder(
    encoder: Encoder,
    dataset: FrameDataset,
    *,
    stack: int = 4,
    seed: int = 0,
    beside: Sequence[str] = BASELINES,
    progress: bool = True,
) -> Scorecard:
    """Say what an encoder's code holds, beside a random encoder, PCA and small gray pixels.

    Probes read, on held-out episodes: the simulator's state, reward and done (the episode ends by
    its own rules) from the last `stack` codes; the action from these and the code of the next
    frame. R^2 for numbers, balanced accuracy for classes. Inputs are standardised, so a latent
    counts however small it is.

    What it misses: how well an agent will learn; an action that shows only two frames later, as
    CartPole's does; state that no picture shows, such as a car's place in the world. An episode's
    first frames count too, though no stack knows their velocity.

    Args:
        encoder: The model.
        dataset: Frames of the same FrameSpec, best not those that it was trained on.
        stack: S, how many codes a probe sees, from 1 up.
        seed: Of the split, the random encoder, the probes and the intervals.
        beside: Which of the other codes to measure, too.
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        ObservationError: where the frames are of another FrameSpec.
        ConfigError: where stack is out of range.
        DatasetError: where there are fewer than two episodes.
    """
    encoder.check_spec(dataset.spec)
    if type(stack) is not int or stack < 1:
        raise ConfigError(
            "stack is out of range.",
            expected="a whole number from 1 up",
            got=repr(stack),
            remedy="stack=4",
        )
    split = dataset.split(HELD_OUT, seed)
    train = _whole(dataset, split.train, (1 - HELD_OUT) * MOST_FRAMES)
    test = _whole(dataset, split.held_out, HELD_OUT * MOST_FRAMES)
    indices = np.union1d(train, test)  # sorted: (N,)
    episode = dataset.episode_of(indices)
    halves = halve(np.searchsorted(indices, train), np.searchsorted(indices, test), episode, seed)
    states, actions, dropped = _targets(dataset, indices, halves)
    moving = Moving(dataset, indices, np.searchsorted(indices, train), halves.test, episode, seed)
    errors = {"still": moving.still(), "vae": moving.decoded(encoder)}
    probes: dict[tuple[str, str, str], BootstrapEstimate] = {}
    after = halves.of(followed(episode))
    # The model's code comes twice: as an agent would see it, and from one frame alone.
    columns = (("vae", "vae", stack), ("vae", ONE, 1), *((c, c, stack) for c in beside))
    bar = tqdm(total=len(columns) * len(PROBES), desc="probes", disable=None if progress else True)
    made = encodings(encoder, dataset, train, seed) if beside else {"vae": encoder.encode}
    for name, column, depth in columns:
        if column == ONE and stack == 1:  # the same once more
            probes |= {(k, ONE, t): v for (k, c, t), v in probes.items() if c == "vae"}
            bar.update(len(PROBES))
            continue
        codes = encode_all(made[name], dataset, indices)
        if column in beside:
            errors[column] = moving.linear(codes)
        seen = stacked(codes, episode, depth)
        for kind in PROBES:
            bar.set_postfix_str(f"{kind}, {column}")
            found = probe(kind, seen, states, halves, seed)
            found |= probe(kind, with_next(codes, seen), actions, after, seed)
            probes |= {(kind, column, target): value for target, value in found.items()}
            bar.update()
    bar.close()
    return Scorecard(
        held_out=_measure(encoder, dataset, test),
        latents=encoder.latent_dim,
        stack=stack,
        train=(len(train), len(np.unique(episode[np.searchsorted(indices, train)]))),
        test=(len(test), len(np.unique(episode[halves.test]))),
        targets=(*states, *actions),
        probes=probes,
        moving=errors,
        moving_share=moving.share,
        dropped=dropped,
        notes=tuple(_notes(encoder, dataset)),
    )


def _targets(
    dataset: FrameDataset, indices: NDArray[np.int64], halves: Halves
) -> tuple[list[Target], list[Target], dict[str, str]]:
    """State, reward and done; the action's numbers; and what is left out, with the reason."""
    steps = dataset.steps(indices)
    columns = {name: steps["factors"][:, k] for k, name in enumerate(dataset.header.factor_names)}
    columns |= {"reward": steps["reward"], "done": steps["terminated"].astype(np.int64)}
    taken = steps["action"].reshape(len(steps), -1)
    acted = {f"action_{k}" if taken.shape[1] > 1 else "action": c for k, c in enumerate(taken.T)}
    after = halves.of(followed(halves.episode))
    made = {name: as_target(name, values, halves) for name, values in columns.items()}
    made_actions = {name: as_target(name, values, after) for name, values in acted.items()}
    return (
        [target for target in made.values() if isinstance(target, Target)],
        [target for target in made_actions.values() if isinstance(target, Target)],
        {name: why for name, why in {**made, **made_actions}.items() if isinstance(why, str)},
    )


def _whole(dataset: FrameDataset, indices: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """Frames of whole episodes among some indices: all, or evenly chosen until about `most`."""
    inside = set(indices.tolist())
    episodes = [episode for episode in dataset.episodes if episode.start in inside]
    keep = min(1.0, most / len(indices))
    picked = np.linspace(0, len(episodes) - 1, max(1, round(keep * len(episodes)))).astype(int)
    return np.concatenate(
        [np.arange(e.start, e.start + e.length) for e in (episodes[i] for i in picked)]
    )


def _measure(encoder: Encoder, dataset: FrameDataset, test: NDArray[np.int64]) -> HeldOut:
    """Rate, distortion and the like; the objective only says whether z is drawn."""
    objective = encoder.objective
    plain = Autoencoder() if objective.deterministic else Beta()
    return evaluate_vae(copy.deepcopy(encoder.vae).cpu(), dataset, test, plain, 64)


def _notes(encoder: Encoder, dataset: FrameDataset) -> Iterator[str]:
    if not dataset.header.factor_names:
        yield (
            f"No state: the engine {dataset.header.engine} gave no factors of "
            f"{dataset.header.env_id}. Collect with --engine gymnasium where it has some"
        )
    if encoder.provenance.get("dataset") == dataset.digest:
        yield "The model was trained on frames of this dataset: its figures may flatter it"


def _lines(card: Scorecard) -> Iterator[str]:
    held, columns = card.held_out, ("vae", ONE, *card.beside)
    elbo = "none" if held.elbo is None else f"{held.elbo:.1f}"
    yield (
        f"{card.test[0]:,} frames of {card.test[1]} held-out episodes; probes fitted on "
        f"{card.train[0]:,} frames of {card.train[1]} others. Brackets: 95 % over held-out episodes"
    )
    yield (
        f"Nats a frame: rate {held.rate:.2f}, distortion {held.distortion:.1f}, ELBO {elbo}; "
        f"{held.active_units} of {card.latents} latents active"
    )
    yield ""
    width = max(24, *(len(target.name) + 16 for target in card.targets))
    others = ("pixels 8x8" if code == "pixels" else code for code in card.beside)
    heads = (f"vae, stack {card.stack}", f"vae, {ONE}", *others)
    for kind in PROBES:
        yield f"{f'{kind} probe':{width}}" + "".join(f"{head:>20}" for head in heads)
        for target in card.targets:
            what = f"balanced, {target.classes}" if target.classes else "R2"
            cells = [_cell(card.probes[kind, column, target.name]) for column in columns]
            yield f"{f'{target.name} ({what})':{width}}" + "".join(f"{c:>20}" for c in cells)
        yield ""
    errors = [card.moving.get(c) for c in columns]
    shown = ["-" if found is None else _cell(found, ".1f") for found in errors]
    yield f"{'error on moving pixels':{width}}" + "".join(f"{cell:>20}" for cell in shown)
    yield (
        f"of 255; {card.moving_share:.1%} of pixels move; always the usual frame: "
        f"{card.moving['still'].value:.1f}; random, pca and pixels by their best linear decoder"
    )
    yield ""
    for name, (one, many, surely) in card.velocities().items():
        word = "recoverable" if surely else "not surely recoverable"
        yield f"{name}: R2 {one:.2f} from one frame, {many:.2f} from {card.stack}: {word}"
    yield from card.verdicts()
    for name, why in card.dropped.items():
        yield f"Left out: {name} ({why})"
    yield from card.notes


def _cell(found: BootstrapEstimate, form: str = ".2f") -> str:
    """Such as ".93 (.91 .95)"; what is far below 0 is all the same."""
    numbers = [f"{max(value, -9.9):{form}}" for value in found[:3]]
    score, low, high = (
        number.replace("0.", ".") if number.lstrip("-").startswith("0.") else number
        for number in numbers
    )
    return f"{score} ({low} {high})"
