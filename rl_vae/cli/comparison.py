"""Commands that put models side by side: compare, report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from rl_vae.agents.recipe import load_recipe
from rl_vae.analysis.comparison.compare import compare
from rl_vae.analysis.comparison.config import ComparisonConfig
from rl_vae.analysis.comparison.tables import tables
from rl_vae.analysis.report import write_report
from rl_vae.cli.command import CommandWithFigures, CommandWithJobs, EnvId, json_object
from rl_vae.cli.flags import call, flags
from rl_vae.constraints import Range
from rl_vae.envs.pixel_options import PIXEL_OPTIONS
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.training.config import TrainConfig


@dataclass(kw_only=True)
class Compare(CommandWithJobs, CommandWithFigures):
    """The same command goes on with an interrupted comparison."""

    env_id: EnvId
    """Gymnasium id of the environment."""
    out: Path
    """Folder of the comparison; table.md in it is what is printed."""
    comparison: Annotated[
        Any,
        flags(
            ComparisonConfig,
            only=(
                "betas",
                "baselines",
                "frames",
                "episodes",
                "evaluations",
                "engine",
                *PIXEL_OPTIONS,
                "max_episode_steps",
            ),
            names={"betas": "beta"},
        ),
    ]
    seeds: Annotated[int, Range(low=1)] = 5
    """Number of seeds; each trains every code and its agent anew."""
    seed: Annotated[int, Range(low=0)] = 0
    """First seed of the systems; the others follow. Also the seed of the frames."""
    spec: Annotated[Any, flags(FrameSpec)]
    vae: Annotated[Any, flags(VAEConfig, types={"network": str})]
    training: Annotated[Any, flags(TrainConfig, only=("learning_rate",))]
    vae_steps: Annotated[int, Range(low=1)] | None = None
    """Updates of each code. None: 10 passes over the frames."""
    agent: str = "ppo"
    """Recipe of all agents: a name such as ppo, or a Python file with a RECIPE, which is run."""
    steps: Annotated[int, Range(low=1)] | None = None
    """Decisions of each agent. None: the recipe's."""
    env_kwargs: str = "{}"
    """JSON object of keyword arguments for the environment."""
    running: Annotated[Any, flags(compare, only=("workers",))]

    def run(self) -> None:
        """Compare, and print the tables."""
        recipe = load_recipe(self.agent)
        if self.steps is not None:
            recipe = replace(recipe, total_steps=self.steps)
        config = call(
            ComparisonConfig,
            self.comparison,
            env_id=self.env_id,
            recipe=recipe,
            seeds=tuple(range(self.seed, self.seed + self.seeds)),
            spec=call(FrameSpec, self.spec),
            vae=call(VAEConfig, self.vae),
            train=call(TrainConfig, self.training, steps=self.vae_steps),
            env_kwargs=json_object(self.env_kwargs),
            seed=self.seed,
        )
        with self.opened_executor() as executor:
            result = call(compare, self.running, config=config, out=self.out, executor=executor)
        print(tables(result.summary))
        self.write(result.summary.figures(), config.seeds)


@dataclass(kw_only=True)
class Report(CommandWithFigures):
    """The page decodes live and needs no network."""

    models: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL ...]")
    ] = ()
    """Folders that rl-vae train-vae wrote. None: the agent's, or the comparison's."""
    out: Path
    """Page, NAME.html; an earlier report there is replaced."""
    dataset: Path | None = None
    """Frames of the same size and crop to measure and show. None: the comparison's."""
    agent: Path | None = None
    """Agent that uses one of the models; its actions are drawn."""
    comparison: Path | None = None
    """Folder that rl-vae compare wrote; its returns and scores are drawn."""
    seed: int = 0
    """Seed of the intervals and of the fits."""

    def run(self) -> None:
        """Write the page, and print its size."""
        report = write_report(
            self.out,
            self.models,
            self.dataset,
            agent=self.agent,
            comparison=self.comparison,
            seed=self.seed,
        )
        live = ", ".join(report.explored) or "none"
        print(
            f"{report.path}: {report.size / 1e6:.1f} MB. Decoders in the page: {live}; largest "
            f"error of their pictures {report.error:.2f} of 255"
        )
        self.write(report.figures, [self.seed])
