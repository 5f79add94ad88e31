"""The command tune."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rl_vae.agents.recipe import load_recipe
from rl_vae.analysis.tuning.space import SearchSpace
from rl_vae.analysis.tuning.tune import tune
from rl_vae.cli.command import CommandWithFigures, CommandWithJobs, EnvId, json_object
from rl_vae.cli.flags import call, flags
from rl_vae.constraints import Range
from rl_vae.data.dataset import FrameDataset


@dataclass(kw_only=True)
class Tune(CommandWithJobs, CommandWithFigures):
    """The same command goes on with an interrupted search, also with more --trials.

    Flags of the search space take the values to choose from; --beta and --learning-rate take the
    lowest and the highest value.
    """

    env_id: EnvId
    """Gymnasium id of the environment."""
    out: Path
    """Folder of the study."""
    agent: str = "ppo"
    """Recipe of all agents: a name such as ppo, or a Python file with a RECIPE, which is run."""
    steps: Annotated[int, Range(low=1)] | None = None
    """Decisions of each agent. None: the recipe's."""
    dataset: Path | None = None
    """Frames for all models. None: frames are collected."""
    space: Annotated[Any, flags(SearchSpace)]
    search: Annotated[
        Any,
        flags(
            tune,
            only=(
                *("trials", "n_frames", "vae_steps", "evaluations", "evaluation_episodes", "seed"),
                "workers",
            ),
            names={"n_frames": "frames"},
        ),
    ]
    env_kwargs: str = "{}"
    """JSON object of keyword arguments for the environment."""

    def run(self) -> None:
        """Search, and print the best trial as a command."""
        recipe = load_recipe(self.agent)
        if self.steps is not None:
            recipe = replace(recipe, total_steps=self.steps)
        with self.opened_executor() as executor:
            study = call(
                tune,
                self.search,
                env_id=self.env_id,
                out=self.out,
                recipe=recipe,
                space=call(SearchSpace, self.space),
                dataset=None if self.dataset is None else FrameDataset.open(self.dataset),
                env_kwargs=json_object(self.env_kwargs),
                executor=executor,
            )
        print(
            f"{study.path}: {study.n_complete} trials with a return, {study.n_pruned} ended early; "
            f"the highest return is {study.best_return:.2f}. The best trial again:\n{study.command}"
        )
        figures = {"best_return": study.best_return, "complete": study.n_complete}
        self.write({**figures, "pruned": study.n_pruned}, [self.search.seed])
