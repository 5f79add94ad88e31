"""Selection: which policy of a training, and which of several trainings, becomes the agent.

Checks decide: evaluations during a training, without noise, all on the same episodes. Their seeds
are used neither in a training nor by `evaluate_agent` (`rl_vae.envs.seeds.check_seeds`). The return
of the chosen policy in its check is the highest of several, so it is too high on average: a fair
estimate is that of `evaluate_agent`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from rl_vae.envs.seeds import FIRST_EVALUATION_SEED, check_seeds
from rl_vae.errors import ConfigError

Keep = Literal["last", "best"]


@dataclass(frozen=True)
class Selection:
    """What becomes the agent.

    Raises:
        ConfigError: if a seed is out of range.
    """

    keep: Keep
    """"last": the policy at the end of a training; "best": the best one of its checks."""
    seeds: tuple[int, ...]
    """Seeds of the trainings; the best one of several by their checks."""
    evaluations: int
    """Number of checks during a training, before the one at its end."""
    episodes: int
    """Number of episodes of a check."""

    def __post_init__(self) -> None:
        if self.seeds[-1] >= FIRST_EVALUATION_SEED:
            raise ConfigError(
                "The seeds of these trainings are out of range.",
                expected=f"seeds below {FIRST_EVALUATION_SEED}",
                got=f"{self.seeds[0]} to {self.seeds[-1]}",
                remedy="choose a smaller seed, or fewer seeds",
            )

    @property
    def by_checks(self) -> bool:
        """Whether checks decide. Then the policy at the end of a training is checked, too."""
        return self.keep == "best" or len(self.seeds) > 1

    def to_dict(self) -> dict[str, Any]:
        """Fields of an agent's description: empty if checks decide nothing."""
        return {"selection": asdict(self)} if self.by_checks else {}


class Kept(NamedTuple):
    """The policy that became the agent, by its checks."""

    seed: int
    """Seed of its training."""
    step: int
    """Number of decisions before it."""
    check_return: float
    """Mean return in its check. It is the highest of several: expect less from `evaluate_agent`."""
    check_episodes: int
    """Number of episodes of a check."""
    first_check_seed: int
    """Environment seed of the first episode of a check; the others follow."""
    trainings: tuple[dict[str, Any], ...]
    """Each training: seed, step and check_return of its policy, steps and seconds it took."""


def describe_kept(
    selection: Selection, seed: int, step: int, check_return: float, **cost: float
) -> dict[str, Any]:
    """Fields of an agent's description for the policy of one training that was kept.

    Args:
        selection: The selection.
        seed: Seed of the training.
        step: Number of decisions before the policy.
        check_return: Mean return in its check.
        cost: Steps and seconds of the training.
    """
    kept = {"seed": seed, "step": step, "check_return": check_return}
    episodes = selection.episodes
    check = {"check_episodes": episodes, "first_check_seed": check_seeds(episodes)[0]}
    return {"kept": {**kept, **check, "trainings": [{**kept, **cost}]}}
