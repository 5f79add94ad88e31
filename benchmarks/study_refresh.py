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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack
from study_arms import Results, finish, parse_options, run_arms  # type: ignore[import-not-found]

from rl_vae import (
    ActionMap,
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
from rl_vae.agents.environments import open_pixels, wrap_actions
from rl_vae.agents.learn import learn
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

N_ENVS, STACK, WEIGHT, RATE = 16, 3, 1e-4, 1e-4
EPISODES, EVERY = 8, 8
"""Number of episodes of an evaluation, and of decisions for each frame whose error is measured."""


@dataclass(frozen=True)
class Task:
    """An environment, the VAE of its frames, and the training of its agents."""

    env_id: str
    spec: FrameSpec
    train: TrainConfig
    policy: Any = None
    frame_skip: int = 1
    reward_scale: float = 1.0
    action_map: ActionMap | None = None
    frames: int = 2048
    max_episode_steps: int | None = None

    def recipe(self, steps: int) -> Recipe:
        """The recipe of all arms."""
        return Recipe(
            "PPO",
            steps,
            n_envs=N_ENVS,
            frame_skip=self.frame_skip,
            stack=STACK,
            reward_scale=self.reward_scale,
            action_map=self.action_map,
            hyperparameters={
                "n_steps": 64,
                "batch_size": 256,
                "n_epochs": 4,
                "policy_kwargs": {"net_arch": [64, 64]},
            },
        )


TASKS = {
    "CarRacing-v3": Task(
        "CarRacing-v3",
        FrameSpec(32, 32, crop=(0, 12, 0, 0)),
        TrainConfig(steps=500),
        Correlated(correlation=0.9, scale=0.5, bias=(0.0, -0.3, -1.2)),
        frame_skip=4,
        reward_scale=0.1,
        action_map=ActionMap(((1.0, 0.0), (0.0, 1.0), (0.0, -1.0)), (0.0, 0.0, 0.0)),
    ),
    "Pong": Task(
        "ALE/Pong-v5",
        FrameSpec(40, 40, channels=1, crop=(34, 16, 0, 0)),
        TrainConfig(steps=500, moving_weight=20.0),
        max_episode_steps=6000,
    ),
}


def main() -> None:
    options = parse_options(__doc__, "refresh", steps=6_144, seeds=3)
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
            frame_skip=task.frame_skip,
            workers=1,
            progress=False,
        )
        model = train_vae(data, out / "model", VAEConfig(16, "small"), task.train, progress=False)
        runs = {"frozen": run_latent, "refresh": partial(run_latent, refresh=True)}
        arms = {
            f"{name}, {arm}": partial(measure, out, arm, run, task, model.path, options.steps)
            for arm, run in {**runs, "joint": run_joint}.items()
        }
        results = run_arms(arms, options.seeds)
        parts.append("\n".join(results.table))
        figures |= results.figures
    text = (
        f"PPO trains for {options.steps:,} decisions on {STACK} codes, from one VAE for each task, "
        f"then plays {EPISODES} episodes without noise; the interval is a 95 % t interval over "
        f"{options.seeds} training seeds. *refresh*: the VAE is trained on twice, for 200 updates "
        "each, with 1,024 frames of the agent and the first ones (`Refresh`). *joint*: "
        f"`LatentExtractor(fine_tune=True, reconstruction={WEIGHT:g}, learning_rate={RATE:g})`. "
        "*error* is the root mean square error, of 255, of the VAE that the agent has at the end "
        "on the frames that it sees. Frames are small (32 x 32, Pong 40 x 40 gray) and so is the "
        "budget, which two shared cores can bear: the recipes of both games have 73,728 and "
        "1,500,000 decisions, so that the returns of Pong say nothing on the three arms. No "
        "setting was chosen by these results."
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
    return measures


def run_latent(
    task: Task, model: Path, out: Path, steps: int, seed: int, *, refresh: bool = False
) -> dict[str, float]:
    """Train an agent on codes, with or without a refresh, and play it."""
    every, keep = steps // 3, (model.parent / "data",)
    plan = Refresh(every=every, steps=200, frames=1024, keep=keep) if refresh else None
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
    settings = {**recipe.hyperparameters, "policy_kwargs": policy}
    unfinished = partial_folder(out)
    make_folder(unfinished)

    def open_venv(n_envs: int, reward_scale: float = 1.0) -> VecEnv:
        source = EnvSource.of(task.env_id, max_episode_steps=task.max_episode_steps)
        pixels = open_pixels(source, n_envs, encoder, recipe, seed=seed, workers=1)
        venv = wrap_actions(pixels, recipe, reward_scale=reward_scale)
        return VecFrameStack(venv, STACK, channels_order="last")

    with closing(open_venv(N_ENVS, recipe.reward_scale)) as venv:
        algorithm = PPO(
            "CnnPolicy",
            venv,
            learning_rate=recipe.learning_rate,
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
