"""Commands on agents: train-agent, evaluate, export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from rl_vae.agents.agent import Agent
from rl_vae.agents.evaluate import Evaluation, evaluate_agent, evaluate_random
from rl_vae.agents.evolve import evolve_agent
from rl_vae.agents.film import film_agent
from rl_vae.agents.recipe import Recipe, load_recipe
from rl_vae.agents.train import train_agent
from rl_vae.agents.trained import TrainedAgent
from rl_vae.cli.command import AgentFolder, Command, CommandWithFigures, EnvId, json_object
from rl_vae.cli.curves import draw_agent_curve
from rl_vae.cli.flags import call, flags
from rl_vae.constraints import Range
from rl_vae.errors import ConfigError
from rl_vae.models import pictures
from rl_vae.system import files
from rl_vae.system.estimate import t_interval
from rl_vae.training.refresh import Refresh


@dataclass(kw_only=True)
class TrainAgent(Command):
    """The same command goes on with an interrupted training."""

    env_id: EnvId
    """Gymnasium id of the environment."""
    encoder: Path
    """Folder of the model."""
    out: Path
    """Folder of the agent."""
    agent: str | None = None
    """Recipe: a name such as ppo, or a Python file with a RECIPE, which is run. None: ppo, or the
    recipe of the agent to go on from."""
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of an agent to go on from; its encoder may have been another one."""
    steps: Annotated[int, Range(low=1)] | None = None
    """Decisions in total. None: the recipe's."""
    n_envs: Annotated[int, Range(low=1)] | None = None
    """Environments that run at once. None: the recipe's."""
    frame_skip: Annotated[int, Range(low=1)] | None = None
    """Environment steps for which each decision is held. None: the recipe's."""
    pixels: Literal["auto", "observation", "render"] | None = None
    """Source of the pixels. None: the recipe's; auto: the source of the model's frames."""
    image_key: str | None = None
    """Entry of a Dict or Tuple observation that is the image. None: the recipe's."""
    training: Annotated[
        Any,
        flags(
            train_agent,
            only=(
                *("seed", "seeds", "keep", "engine"),
                *("evaluations", "evaluation_episodes", "max_episode_steps", "track"),
            ),
        ),
    ]
    refresh: Annotated[
        Any,
        flags(
            Refresh,
            names={name: f"refresh-{name}" for name in ("every", "steps", "frames", "keep")},
            types={"every": Annotated[int, Range(low=1)] | None, "keep": tuple[Path, ...]},
            every=None,
        ),
    ]
    env_kwargs: str = "{}"
    """JSON object of keyword arguments for the environment."""

    def run(self) -> None:
        """Train, and print what the training took."""
        recipe = self._recipe()
        trained = call(
            train_agent,
            self.training,
            env=self.env_id,
            encoder=self.encoder,
            out=self.out,
            recipe=recipe,
            env_kwargs=json_object(self.env_kwargs),
            start=self.start,
            refresh=self._refresh(),
        )
        print(
            f"{trained.path}: {recipe.algorithm}, {trained.steps:,} decisions, {trained.frames:,} "
            f"environment steps in {trained.seconds:.0f} s by the engine {trained.engine}"
        )
        print_kept(trained)
        if trained.refreshes:
            points = ", ".join(f"{steps:,}" for steps in trained.refreshes)
            print(f"encoder: trained on after {points} decisions")
        print(_describe_drift(trained.drift))
        if trained.evaluation is not None:
            print(f"return: {describe(trained.evaluation.returns).strip()}")
        print(f"curve: {draw_agent_curve(trained.path)}")

    def _recipe(self) -> Recipe:
        """The recipe with the changes that flags ask for."""
        if self.agent is None and self.start is not None:
            recipe = Agent.load(self.start).recipe
        else:
            recipe = load_recipe(self.agent or "ppo")
        changes: dict[str, Any] = {
            "total_steps": self.steps,
            "n_envs": self.n_envs,
            "frame_skip": self.frame_skip,
            "pixels": self.pixels,
            "image_key": self.image_key,
        }
        return replace(recipe, **{k: v for k, v in changes.items() if v is not None})

    def _refresh(self) -> Refresh | None:
        """What the flags say of the refresh of the encoder.

        Raises:
            ConfigError: if there is none, but flags say how.
        """
        if self.refresh.every is not None:
            return call(Refresh, self.refresh)
        if self.refresh != type(self.refresh)():
            raise ConfigError(
                "The flags do not say when the encoder is refreshed.",
                expected="--refresh-every beside --refresh-steps, --refresh-frames, --refresh-keep",
                got="no --refresh-every",
                remedy="for example --refresh-every 50000",
            )
        return None


def print_kept(trained: TrainedAgent) -> None:
    """Print which policy was kept, if checks decided."""
    if (kept := trained.kept) is not None:
        print(
            f"kept: seed {kept.seed}, the policy after {kept.step:,} decisions, mean return "
            f"{kept.check_return:.2f} in {kept.check_episodes} check episodes from seed "
            f"{kept.first_check_seed}, the highest of several checks"
        )


@dataclass(kw_only=True)
class EvolveAgent(Command):
    """The agent is one of PPO, A2C, TRPO, RecurrentPPO or MaskablePPO."""

    agent: AgentFolder
    """Folder that rl-vae train-agent wrote."""
    out: Path
    """Folder of the new agent."""
    evolution: Annotated[
        Any,
        flags(
            evolve_agent,
            omit=("agent", "out", "env", "wrappers", "progress"),
        ),
    ]

    def run(self) -> None:
        """Evolve, and print what it took."""
        trained = call(evolve_agent, self.evolution, agent=self.agent, out=self.out)
        print(
            f"{trained.path}: {trained.steps:,} decisions in {trained.seconds:.0f} s by the engine "
            f"{trained.engine}"
        )
        print_kept(trained)


@dataclass(kw_only=True)
class Evaluate(CommandWithFigures):
    """A policy with uniformly random actions plays the same episodes."""

    agent: AgentFolder
    """Folder that rl-vae train-agent wrote."""
    encoder: Path | None = None
    """Model to use instead of the agent's own, such as one that went on from it."""
    stochastic: bool = False
    """Sample actions instead of taking the mean or the likeliest one."""
    evaluation: Annotated[
        Any,
        flags(evaluate_agent, only=("episodes", "seed", "engine", "max_episode_steps", "n_envs")),
    ]
    video: Path | None = None
    """Film to write, NAME.gif or NAME.mp4: the real frame beside the decoded one."""

    def run(self) -> None:
        """Evaluate, print both policies' returns, write the film."""
        if self.video is not None and self.video.suffix not in (".gif", ".mp4"):
            raise ConfigError(
                "The format of the film is unknown.",
                expected="a name that ends in .gif or .mp4",
                got=repr(str(self.video)),
                remedy="rename it",
            )
        agent = Agent.load(self.agent, encoder=self.encoder)
        if self.video is not None:
            agent.encoder.check_decoder()
        # The agent, and a random policy on the same episodes
        result = call(
            evaluate_agent, self.evaluation, agent=agent, deterministic=not self.stochastic
        )
        env = agent.env_source(max_episode_steps=self.evaluation.max_episode_steps)
        random = call(
            evaluate_random,
            self.evaluation,
            env=env,
            frame_skip=agent.recipe.frame_skip,
            engine=self.evaluation.engine or agent.engine,
            pixels=agent.pixels,
        )
        # Print both, and draw the film
        for name, evaluation in (("agent ", result), ("random", random)):
            print(f"{name} {describe(evaluation.returns)}")
        if self.video is not None:
            film = film_agent(agent, seed=result.seeds[0], env=env)
            files.make_folder(self.video.parent)
            pictures.save_video(self.video, film.images, fps=50 / agent.recipe.frame_skip)
            print(f"{self.video}: {len(film.images)} decisions, return {film.total:.2f}")
        self.write(figures_of(result, random), [self.evaluation.seed])


def describe(returns: Sequence[float] | NDArray[np.float64]) -> str:
    """Mean of returns, with its interval if there are several."""
    mean, low, high = t_interval(returns)
    if len(returns) == 1:
        return f"{mean:9.2f} in one episode, which has no interval"
    return (
        f"{mean:9.2f} ± {np.std(returns, ddof=1):.2f} over {len(returns)} episodes; "
        f"95 % interval of the mean {low:.2f} to {high:.2f}"
    )


def _describe_drift(drift: float | None) -> str:
    if drift is None:
        return "drift: not measured, fewer than 256 frames were scored"
    return f"drift: {drift:.0%} of the last 256 scored frames are outliers for the encoder"


def figures_of(result: Evaluation, random: Evaluation) -> dict[str, float]:
    """The figures of an agent and of the random policy beside it."""
    return {
        "mean_return": result.mean,
        "std_return": result.std,
        "ci_low": result.ci_low,
        "ci_high": result.ci_high,
        "random_return": random.mean,
        "random_ci_low": random.ci_low,
        "random_ci_high": random.ci_high,
        "episodes": len(result.returns),
    }
