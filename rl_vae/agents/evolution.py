"""Evolution strategy on a vector of weights, and its state on disk.

Source: Salimans et al. 2017, Evolution Strategies as a Scalable Alternative to Reinforcement
Learning, algorithm 1, with mirrored noise and ranks instead of returns (section 2.1).

Shape letters: P members of a population, D weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import FolderError, system_failure
from rl_vae.system import files, hashing, strict_json

STATE = "evolution.json"
"""Name of the file of the state."""
Vector = NDArray[np.float64]


@dataclass
class EvolutionState:
    """State of an evolution after a number of generations."""

    generation: int
    """Number of finished generations."""
    weights: list[float]
    """(D,) mean of the search distribution."""
    best: list[float]
    """(D,) weights with the highest mean return in a check; the first of equals."""
    best_return: float | None = None
    """Mean return in that check; None before the first check."""
    best_steps: int = 0
    """Number of decisions before that check."""
    steps: int = 0
    """Number of decisions of all episodes."""
    seconds: float = 0.0
    """Time over all sessions."""

    def save(self, folder: Path) -> None:
        """Write the state into a folder, completely or not at all."""
        body = asdict(self)
        strict_json.write_json(folder / STATE, {**body, "digest": hashing.digest(body)})


def read_state(folder: Path, size: int | None = None) -> EvolutionState | None:
    """Read the state in a folder; None if there is none.

    Args:
        folder: Folder of an unfinished evolution.
        size: D; None: any.

    Raises:
        FolderError: if the file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        body = strict_json.read_object(path)
        stored = body.pop("digest")
        if hashing.digest(body) != stored:
            raise ValueError("another digest than that of its content")
        state = EvolutionState(**body)
        size = len(state.weights) if size is None else size
        if len(state.weights) != size or len(state.best) != size:
            raise ValueError(f"{len(state.weights)} weights instead of {size}")
    except (KeyError, TypeError, ValueError, FolderError) as error:
        if system_failure(error) is not None:
            raise
        raise FolderError(
            f"The state {path} is damaged.",
            expected="the state of an interrupted evolution",
            got=error,
            remedy=f"delete {folder}, then evolve from the beginning",
        ) from error
    return state


def delete_state(folder: Path) -> None:
    """Delete the state in a folder."""
    files.remove_file(folder / STATE)


def draw_noise(population: int, size: int, *key: int) -> Vector:
    """Draw (P, D) mirrored standard normal noise: the second half is minus the first.

    Args:
        population: P, an even number.
        size: D.
        key: Integers that determine the noise, such as seed and generation.
    """
    half = np.random.default_rng([*key, 0xE501]).standard_normal((population // 2, size))
    return np.concatenate([half, -half])


def utilities(returns: Vector) -> Vector:
    """Ranks (P,) of returns (P,), with mean 0 and standard deviation 1; 0 if all are equal.

    Equal returns share the mean of their ranks.
    """
    _, group, counts = np.unique(returns, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]
    spread = ranks.std()
    utility: Vector = (ranks - ranks.mean()) / (spread if spread > 0 else 1.0)
    return utility


def update(
    weights: Vector, noise: Vector, returns: Vector, *, sigma: float, learning_rate: float
) -> Vector:
    """Move the mean of the search distribution.

    weights + learning_rate * sigma / P * sum_k utility_k noise_k

    Args:
        weights: (D,) mean.
        noise: (P, D) standard normal noise; member k was weights + sigma noise_k.
        returns: (P,) return of each member.
        sigma: Standard deviation of the search distribution.
        learning_rate: Step in units of sigma.
    """
    moved: Vector = weights + learning_rate * sigma * (utilities(returns) @ noise) / len(noise)
    return moved


def cut_log(path: Path, generation: int) -> None:
    """Delete the lines of progress.jsonl that came after a generation.

    Raises:
        FolderError: if the log is damaged.
    """
    try:
        lines = [line for line in strict_json.read_lines(path) if line["generation"] <= generation]
    except (KeyError, TypeError) as error:
        expected = "the number of a generation in each line"
        raise FolderError.damaged(path, expected, error) from error
    strict_json.write_lines(path, lines)


def describe_kept(state: EvolutionState, seed: int, episodes: int, first: int) -> dict[str, Any]:
    """Field `kept` of an agent's description, as `rl_vae.agents.selection.Kept` has it."""
    kept = {"seed": seed, "step": state.best_steps, "check_return": state.best_return}
    cost = {"steps": state.steps, "seconds": state.seconds}
    check = {"check_episodes": episodes, "first_check_seed": first}
    return {**kept, **check, "trainings": [{**kept, **cost}]}
