"""Study of a VAE that goes on learning: a refresh during the training, and joint training.

CarRacing-v3 (EnvPool) and Pong. One VAE of frames of the first collection for each task; then, from
the same VAE and with the same PPO, for each seed:

    frozen    PPO on stacked codes of the VAE
    refresh   the same, and the VAE is trained on twice with what the agent sees (Refresh)
    joint     PPO with the VAE in its policy, whose loss is added to each update (LatentExtractor)

Every agent then plays the same episodes without noise. "error" is the root mean square error of the
frames of these episodes after encoding and decoding, of 255: how well the VAE that the agent has at
the end knows what the agent sees. A finished run is not repeated, and an interrupted one goes on.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack
from study_arms import Results, finish, parse_options, run_arms  # type: ignore[import-not-found]

from rl_vae import (
    Agent,
    Correlated,
    Encoder,
    FrameSpec,
    Recipe,
    Refresh,
    TrainConfig,
    VAEConfig,
    collect_frames,
    train_agent,
    train_vae,
)
from rl_vae.agents.algorithms import LinearSchedule
from rl_vae.agents.environments import open_pixels, wrap_actions
from rl_vae.agents.learn import learn
from rl_vae.agents.recipe import load_recipe
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.envs.source import EnvSource
from rl_vae.models.frame_model import FrameModel
from rl_vae.models.scores import score_frames
from rl_vae.sb3 import LatentExtractor, play
from rl_vae.sb3.play import choose_without_noise
from rl_vae.system.files import make_folder, remove_folder
from rl_vae.system.outputs import partial_folder
from rl_vae.system.strict_json import write_json
from rl_vae.trackers.base import TrackedRun

WEIGHT, RATE = 1e-4, 1e-4
"""Weight of the VAE's loss, and learning rate of the VAE, in joint training."""
EPISODES, EVERY = 8, 8
"""Number of episodes of an evaluation, and of decisions for each frame whose error is measured."""


@dataclass(frozen=True)
class Task:
    """An environment, the VAE of its frames, and the training of its agents."""

    env_id: str
    recipe_name: str
    spec: FrameSpec
    train: TrainConfig
    epochs: int
    """Epochs of each rollout: half of the recipe's, because joint training is slow."""
    policy: Any = None
    frames: int = 10_000
    max_episode_steps: int | None = None
    without: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipe that a policy of pixels does not have."""

    def recipe(self, steps: int) -> Recipe:
        """The recipe of all arms."""
        recipe = load_recipe(self.recipe_name)
        hyperparameters = {**recipe.hyperparameters, "n_epochs": self.epochs}
        return replace(recipe, total_steps=steps, hyperparameters=hyperparameters, **self.without)


TASKS = {
    "CarRacing-v3": Task(
        "CarRacing-v3",
        "ppo_car_racing",
        FrameSpec(64, 64, crop=(0, 12, 0, 0)),
        TrainConfig(steps=2000),
        epochs=5,
        policy=Correlated(correlation=0.9, scale=0.5, bias=(0.0, -0.3, -1.2)),
        without={"actions": 0},
    ),
    "Pong": Task(
        "ALE/Pong-v5",
        "ppo_pong",
        FrameSpec(64, 64, channels=1, crop=(34, 16, 0, 0)),
        TrainConfig(steps=2000, moving_weight=100.0),
        epochs=3,
        max_episode_steps=6000,
    ),
}


def main() -> None:
    options = parse_options(__doc__, "refresh", steps=24_576, seeds=3)
    parts: list[str] = []
    figures: dict[str, float] = {}
    for name, task in TASKS.items():
        out = options.out / name
        data = collect_frames(
            task.env_id,
            out / "data",
            n_frames=task.frames,
            spec=task.spec,
            policy=task.policy,
            frame_skip=task.recipe(1).frame_skip,
            workers=1,
            progress=False,
        )
        model = train_vae(data, out / "model", VAEConfig(32), task.train, progress=False)
        runs = {"frozen": run_latent, "refresh": partial(run_latent, refresh=True)}
        arms = {
            f"{name}, {arm}": partial(measure, out, arm, run, task, model.path, options.steps)
            for arm, run in {**runs, "joint": run_joint}.items()
        }
        results = run_arms(arms, options.seeds)
        parts.append("\n".join(results.table))
        figures |= results.figures
    text = (
        f"PPO trains for {options.steps:,} decisions with the recipes `ppo_car_racing` (without "
        "the past action) and `ppo_pong`, each with half of its epochs, from one VAE for each task "
        "(64 x 64, 10,000 frames, 2,000 updates), then plays "
        f"{EPISODES} episodes without noise; the interval is a 95 % t interval over "
        f"{options.seeds} training seeds. *refresh*: the VAE is trained on twice, for 400 updates "
        "each, with 2,048 frames of the agent and the first ones (`Refresh`). *joint*: "
        f"`LatentExtractor(fine_tune=True, reconstruction={WEIGHT:g}, learning_rate={RATE:g})`. "
        "*error* is the root mean square error, of 255, of the VAE that the agent has at the end "
        "on the frames that it sees. *minutes* are those of the agent's training on one thread. "
        "The budget is what two shared cores can bear: the recipes have many more decisions, so "
        "the returns of Pong say nothing on the three arms. No setting was chosen by these results."
    )
    finish(options, __file__, "Refresh study", [text, *parts], Results([], figures))


def measure(
    out: Path, arm: str, run: Any, task: Task, model: Path, steps: int, seed: int
) -> Mapping[str, float]:
    """Measures of a run, which is not repeated if its file exists."""
    file = out / f"{arm}-{steps}-{seed}.json"
    if not file.is_file():
        write_json(file, run(task, model, out / f"{arm}-{steps}-{seed}", steps, seed))
    measures: dict[str, float] = json.loads(file.read_text())
    return {name: measures[name] for name in ("mean return", "error", "minutes")}


def run_latent(
    task: Task, model: Path, out: Path, steps: int, seed: int, *, refresh: bool = False
) -> dict[str, float]:
    """Train an agent on codes, with or without a refresh, and play it."""
    every, keep = steps // 3, (model.parent / "data",)
    plan = Refresh(every=every, steps=400, frames=2048, keep=keep) if refresh else None
    trained = train_agent(
        task.env_id,
        model,
        out,
        task.recipe(steps),
        seed=seed,
        evaluations=0,
        workers=1,
        progress=False,
        track=(),
        refresh=plan,
    )
    agent = Agent.load(out)
    env = agent.env_source(max_episode_steps=task.max_episode_steps)
    venv: Any = agent.make_venv(8, env=env, workers=1)
    with closing(venv):
        shown = evaluate(agent.algorithm, venv, agent.encoder.vae, lambda _: venv.frames)
    return {**shown, "minutes": trained.seconds / 60}


def run_joint(task: Task, model: Path, out: Path, steps: int, seed: int) -> dict[str, float]:
    """Train an agent of pixels with the VAE in its policy, and play it."""
    recipe, encoder = task.recipe(steps), Encoder.load(model)
    own = {"fine_tune": True, "learning_rate": RATE, "reconstruction": WEIGHT}
    policy = {
        **recipe.hyperparameters["policy_kwargs"],
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"encoder": str(model), **own},
    }
    if policy.get("activation_fn") == "relu":
        policy["activation_fn"] = torch.nn.ReLU
    settings = {**recipe.hyperparameters, "policy_kwargs": policy}
    assert recipe.final_learning_rate is not None, "both recipes have a schedule"
    rate = LinearSchedule(recipe.learning_rate, recipe.final_learning_rate)
    unfinished = partial_folder(out)
    make_folder(unfinished)

    def open_venv(n_envs: int, reward_scale: float = 1.0) -> VecEnv:
        source = EnvSource.of(task.env_id, max_episode_steps=task.max_episode_steps)
        pixels = open_pixels(source, n_envs, encoder, recipe, seed=seed, workers=1)
        venv = wrap_actions(pixels, recipe, reward_scale=reward_scale)
        return VecFrameStack(venv, recipe.stack, channels_order="last")

    with closing(open_venv(recipe.n_envs, recipe.reward_scale)) as venv:
        algorithm = PPO(
            "CnnPolicy",
            venv,
            learning_rate=rate,
            seed=seed,
            device="cpu",
            **settings,
        )
        learned = learn(
            algorithm,
            recipe,
            TrackedRun(out.name, out.parent, unfinished, {}),
            open_venv,
            seed=seed,
            evaluations=0,
            evaluation_episodes=1,
            progress=False,
            track=(),
        )
    extractor: Any = algorithm.policy.features_extractor
    channels = task.spec.channels
    with closing(open_venv(8)) as venv:
        shown = evaluate(algorithm, venv, extractor.vae, lambda seen: seen[..., -channels:])
    remove_folder(unfinished)
    return {**shown, "minutes": learned.seconds / 60}


def evaluate(model: Any, venv: VecEnv, vae: FrameModel, read: Any) -> dict[str, float]:
    """Mean return of the same episodes for all, and the VAE's error on some of their frames."""
    frames: list[NDArray[np.uint8]] = []
    choose, calls = choose_without_noise(model, venv), 0

    def watched(seen: Any, starts: NDArray[np.bool_]) -> Any:
        nonlocal calls
        if calls % EVERY == 0:
            frames.append(np.array(read(seen)))
        calls += 1
        return choose(seen, starts)

    played = play(venv, watched, EPISODES, evaluation_seeds(1)[0])
    scores = score_frames(vae, np.concatenate(frames))
    error = float(np.sqrt(scores.error.mean()))
    return {"mean return": float(played.returns.mean()), "error": error}


if __name__ == "__main__":
    main()
