"""The demo: a car that learns to drive from 32 numbers per frame, and a page that shows it.

With --beta it is a comparison of betas instead (`rl_vae.cli.demo_beta`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from rl_vae.agents.agent import Agent
from rl_vae.agents.evaluate import Evaluation, evaluate_agent, evaluate_random
from rl_vae.agents.film import film_agent
from rl_vae.agents.recipe import Recipe, load_recipe
from rl_vae.agents.train import train_agent
from rl_vae.agents.trained import TrainedAgent
from rl_vae.cli.agents import describe, figures_of
from rl_vae.cli.command import CommandWithFigures
from rl_vae.cli.demo_beta import run_beta_demo
from rl_vae.cli.demo_folder import Stopwatch, demo_folder
from rl_vae.cli.demo_page import open_page, save_learning_curve, write_page
from rl_vae.cli.flags import call, flags
from rl_vae.data.collect import collect_frames
from rl_vae.data.coverage import coverage
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.policies import Correlated
from rl_vae.envs.registry import EngineName, resolve_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.frames import FrameSpec
from rl_vae.models import pictures
from rl_vae.models.config import VAEConfig
from rl_vae.system.provenance import write_figures
from rl_vae.training.config import TrainConfig
from rl_vae.training.result import Trained
from rl_vae.training.train import train_vae

ENV_ID = "CarRacing-v3"
N_FRAMES = 10_000
VAE_STEPS = 2000
BATCH = 48
EPISODES = 20


class Demo(NamedTuple):
    """Result of the demo."""

    page: Path
    """The HTML page."""
    evaluation: Evaluation
    """Episodes of the agent."""
    random: Evaluation
    """The same episodes, by a policy with uniformly random actions."""
    figures: dict[str, float]
    """The content of result.json."""


def run_demo(out: str | Path, *, seed: int = 0, engine: EngineName = "auto") -> Demo:
    """Collect, train a VAE, train an agent, evaluate, write a page; prints each step.

    Args:
        out: Folder that is new or empty, or holds an interrupted demo. It gets data/, vae/,
            agent/, index.html, result.json, drive.mp4 and drive.gif.
        seed: Seed of everything, from 0 to 999.
        engine: Engine of the environments: envpool, gymnasium (about ten times slower), or auto.

    Raises:
        ConfigError: if the folder is not free or in use, or the seed is out of range.
        RlVaeError: as the steps do.
    """
    evaluation_seeds(EPISODES, seed)  # refuses a wrong seed before the work
    run = {"seed": seed, "engine": resolve_engine(ENV_ID, engine)}
    with demo_folder(out, run) as folder:
        return _run_steps(folder, seed, engine)


def _run_steps(out: Path, seed: int, engine: EngineName) -> Demo:
    """The four steps, and then the page."""
    # Collect, train the VAE, train the agent, evaluate, film
    recipe = load_recipe("ppo_car_racing")
    watch = Stopwatch(out / "seconds.jsonl")
    dataset = _collect(out, seed, engine)
    seconds = {"seconds_collect": watch.lap("collect")}
    model = _train_vae(dataset, out, seed)
    seconds["seconds_vae"] = watch.lap("vae")
    trained = _train_agent(model, out, recipe, seed, engine)
    seconds["seconds_agent"] = watch.lap("agent")
    agent = Agent.load(trained.path)
    evaluation, random = _evaluate(agent, recipe, seed, engine)
    film_return = _film(agent, evaluation, out, seed)

    # The figures, and the page that shows them.
    levels = {"after training, deterministic": evaluation.mean, "random": random.mean}
    save_learning_curve(out / "curve.svg", trained.path, levels)
    figures = {**figures_of(evaluation, random), **seconds, "seconds_total": watch.total}
    write_figures(out / "result.json", figures, [seed])
    page = out / "index.html"
    costs = {
        f"Collect {len(dataset):,} frames": seconds["seconds_collect"],
        f"Train the VAE, {model.steps:,} updates": seconds["seconds_vae"],
        f"Train PPO, {trained.frames:,} environment steps": seconds["seconds_agent"],
        "Total, with evaluation and this page": figures["seconds_total"],
    }
    write_page(
        page,
        env_id=ENV_ID,
        episodes=EPISODES,
        film_return=film_return,
        figures=figures,
        costs=list(costs.items()),
        latent_dim=agent.encoder.latent_dim,
        command=f"rl-vae demo --seed {seed} --engine {engine} --out {shlex.quote(str(out))}",
    )
    print(f"     {figures['seconds_total']:.0f} s in total. Open {page}")
    return Demo(page, evaluation, random, figures)


def _collect(out: Path, seed: int, engine: EngineName) -> FrameDataset:
    print(f"1/4  Collect {N_FRAMES:,} frames of {ENV_ID}: noisy driving, mostly on the gas.")
    dataset = collect_frames(
        ENV_ID,
        out / "data",
        n_frames=N_FRAMES,
        spec=FrameSpec(height=64, width=64, crop=(0, 12, 0, 0)),
        policy=Correlated(correlation=0.9, scale=0.5, bias=(0.0, -0.3, -1.2)),
        seed=seed,
        engine=engine,
    )
    content = coverage(dataset)
    print(
        f"     Engine {dataset.header.engine}; {content.episodes} episodes, "
        f"{content.near_duplicates:.0%} near-duplicate frames."
    )
    return dataset


def _train_vae(dataset: FrameDataset, out: Path, seed: int) -> Trained:
    print("2/4  Train a VAE: 64 x 64 x 3 pixels to 32 numbers and back.")
    # In float32: the recipe of the agent was tuned with it.
    config = TrainConfig(
        steps=VAE_STEPS, batch_size=BATCH, learning_rate=1.5e-3, seed=seed, compute="reference"
    )
    model = train_vae(dataset, out / "vae", VAEConfig(latent_dim=32), config)
    print(
        f"     {model.seconds:.0f} s. Held-out frames: root mean square error "
        f"{model.held_out.mse**0.5:.1f} of 255, KL {model.held_out.rate:.1f} nats, "
        f"{model.held_out.active_units} active latents."
    )
    return model


def _train_agent(
    model: Trained, out: Path, recipe: Recipe, seed: int, engine: EngineName
) -> TrainedAgent:
    print(
        f"3/4  Train PPO on {recipe.stack} stacked latents and the last action, "
        f"{recipe.total_steps:,} decisions of {recipe.frame_skip} steps."
    )
    trained = train_agent(
        ENV_ID, model.path, out / "agent", recipe, seed=seed, engine=engine, evaluations=0
    )
    print(f"     {trained.seconds:.0f} s, {trained.frames:,} environment steps.")
    return trained


def _evaluate(
    agent: Agent, recipe: Recipe, seed: int, engine: EngineName
) -> tuple[Evaluation, Evaluation]:
    """The agent's episodes and those of a random policy."""
    print(f"4/4  Evaluate on {EPISODES} tracks that were never trained on, deterministic actions.")
    evaluation = evaluate_agent(agent, episodes=EPISODES, seed=seed)
    random = evaluate_random(
        ENV_ID, episodes=EPISODES, seed=seed, frame_skip=recipe.frame_skip, engine=engine
    )
    for name, result in (("agent ", evaluation), ("random", random)):
        print(f"     {name} {describe(result.returns)}")
    return evaluation, random


def _film(agent: Agent, evaluation: Evaluation, out: Path, seed: int) -> float:
    """Film the track with the median return, and return its return."""
    order = evaluation.returns.argsort()
    median = int(order[len(order) // 2])
    film = film_agent(agent, seed=evaluation_seeds(EPISODES, seed)[median])
    pictures.save_picture(out / "poster.png", film.images[len(film.images) // 2])
    pictures.save_video(out / "drive.mp4", film.images, fps=12.5)
    pictures.save_video(out / "drive.gif", film.images[:120], fps=12.5)
    return film.total


@dataclass(kw_only=True)
class DemoCommand(CommandWithFigures):
    """CarRacing: collects frames, trains a VAE and PPO, evaluates, writes a page; some minutes.

    The same command goes on with an interrupted demo. If there is a display, the page is opened.
    """

    beta: bool = False
    """Compare betas on small sprites instead of driving, and write the report; about 5 minutes."""
    out: Path | None = None
    """New or empty folder, or that of an interrupted demo. None: runs/demo, or runs/demo_beta."""
    demo: Annotated[Any, flags(run_demo, only=("seed", "engine"))]

    def run(self) -> None:
        """Run the demo, which prints its steps, and open its page."""
        if self.beta:
            beta_demo = run_beta_demo(self.out or "runs/demo_beta", seed=self.demo.seed)
            page, figures, seeds = beta_demo.page, beta_demo.figures, list(beta_demo.seeds)
        else:
            demo = call(run_demo, self.demo, out=self.out or "runs/demo")
            page, figures, seeds = demo.page, demo.figures, [self.demo.seed]
        self.write(figures, seeds)
        open_page(page)
