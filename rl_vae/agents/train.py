"""train_agent: a Stable-Baselines3 agent on the latents of an environment, resumable.

While it trains, FOLDER.partial holds progress.jsonl, TensorBoard's files and the last checkpoint;
at the end the agent's files are written beside them and the folder takes its own name.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from tqdm.auto import tqdm

from rl_vae.agents.agent import (
    ALGORITHMS,
    FORMAT,
    Agent,
    algorithm_arguments,
    make_latent_envs,
    open_pixels,
    read_agent_config,
    save_agent,
    space_to_dict,
)
from rl_vae.agents.recipe import Recipe
from rl_vae.envs.registry import EngineName, explain_engine, resolve_engine
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED, evaluation_seeds, training_seeds
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.encoder import Encoder
from rl_vae.models.state_dict import pack_state, unpack_state
from rl_vae.sb3.play import Played, play
from rl_vae.system import files
from rl_vae.system.provenance import package_versions


class TrainedAgent(NamedTuple):
    """What `train_agent` made."""

    path: Path
    """Give it to `evaluate_agent` or to `Agent.load`."""
    steps: int
    """Decisions."""
    frames: int
    """Environment steps."""
    seconds: float
    """Of training, over all sittings, evaluations included."""
    engine: str
    """"envpool" or "gymnasium"."""


def train_agent(
    env_id: str,
    encoder: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    engine: EngineName = "auto",
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    evaluations: int = 4,
    evaluation_episodes: int = 5,
    start: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> TrainedAgent:
    """Train an agent on latents and write its folder, or go on with an interrupted run.

    Args:
        env_id: A Gymnasium id, as in `collect_frames`.
        encoder: Folder of the artifact.
        out: The agent's folder. A finished agent of the same settings is returned as it is; an
            interrupted run (FOLDER.partial) goes on from its last checkpoint.
        recipe: How.
        seed: Of the policy's weights, its noise and the environments.
        engine: As in `make_engine`.
        image_key: Which entry of a Dict observation is the image.
        env_kwargs: Handed to the environment.
        evaluations: How often, during training, the agent plays without noise.
        evaluation_episodes: How many episodes each time; from seeds that are never trained on,
            nor used by `evaluate_agent` unless it is told to (evaluation set 999).
        start: Folder of an agent to go on from, instead of fresh weights: of the same algorithm,
            networks and observations; its encoder may have been another one. Noise that the
            recipe shrinks goes on from where it was.
        workers: Processes or threads of the environments; None: the number of cores. The agent
            does not depend on it.
        progress: Whether to say which engine is used, and show a progress bar where there is a
            terminal.

    Raises:
        ConfigError: where an argument is out of range, or the recipe does not fit the
            environment's actions or its own algorithm.
        ArtifactError: where the encoder is damaged, or the folder holds something else.
        EnvironmentFault, ObservationError: where the environment cannot be opened or does not fit.
    """
    # Environment seeds from FIRST_EVALUATION_SEED up belong to evaluation.
    _check_range("seed", seed, 0, FIRST_EVALUATION_SEED - 1)
    _check_range("evaluations", evaluations, 0, 1_000_000)
    _check_range("evaluation_episodes", evaluation_episodes, 1, 1_000_000)
    out = Path(out)
    loaded = Encoder.load(encoder)
    started = None if start is None else Agent.load(start)
    run = {
        "env_id": env_id,
        "env_kwargs": dict(env_kwargs or {}),
        "image_key": image_key,
        "engine": resolve_engine(env_id, engine, env_kwargs or image_key),
        "encoder": loaded.digest,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "start": None if started is None else started.digest,
    }
    try:
        files.canonical_json(run)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "env_kwargs cannot be written down beside the agent.",
            expected="plain JSON values",
            got=error,
            remedy="give plain values",
        ) from error
    if out.exists():
        return _finished(out, run)
    partial = out.with_name(out.name + ".partial")
    files.check_run(partial, run, FolderError)

    def open_venv(n_envs: int, seed: int = 0, reward_scale: float = 1.0) -> VecEnv:
        pixels = open_pixels(
            env_id,
            n_envs,
            loaded,
            recipe,
            seed=seed,
            engine=engine,
            image_key=image_key,
            env_kwargs=env_kwargs,
            workers=workers,
        )
        return make_latent_envs(pixels, loaded, recipe, reward_scale=reward_scale)

    venv = open_venv(recipe.n_envs, seed, recipe.reward_scale)
    try:
        action_space = space_to_dict(venv.action_space)
        model = make_model(recipe, venv, seed)  # may refuse the recipe: nothing is written yet
        if started is not None:
            _go_on(model, started)
        partial.mkdir(parents=True, exist_ok=True)
        with files.locked(partial, FolderError):
            files.write_json(partial / "run.json", run)
            if progress:  # said once all is well, so that a mistake stays one line
                why = explain_engine(env_id, engine, env_kwargs or image_key)
                print(f"{env_id}: {why}")
            seconds = learn(
                model,
                recipe,
                partial,
                open_venv,
                seed=seed,
                evaluations=evaluations,
                evaluation_episodes=evaluation_episodes,
                progress=progress,
            )
            config = {
                **run,
                "format": FORMAT,
                "kind": "rl_vae agent",
                "action_space": action_space,
                "steps": model.num_timesteps,
                "seconds": seconds,
                "versions": package_versions(),
            }
            save_agent(partial, model, loaded, config)
            # Renamed before it is tidied up: a kill in between loses nothing.
            files.rename_folder(partial, out)
    finally:
        venv.close()
    return _finished(out, run)


def learn(
    model: BaseAlgorithm,
    recipe: Recipe,
    partial: Path,
    open_venv: Callable[[int], VecEnv],
    *,
    seed: int,
    evaluations: int,
    evaluation_episodes: int,
    progress: bool,
) -> float:
    """Train a model as a recipe says, or go on from the checkpoint that a folder holds.

    Args:
        model: Fresh, from `make_model`.
        recipe: How.
        partial: For progress.jsonl, TensorBoard's files and checkpoints.
        open_venv: Opens so many environments to evaluate in.
        seed: As in `train_agent`, as are the next ones.
        evaluations: How often.
        evaluation_episodes: How many each time.
        progress: Whether to show a bar.

    Returns:
        Seconds over all sittings.

    Raises:
        ArtifactError: where the checkpoint is damaged.
    """
    model.set_logger(configure(str(partial / "tensorboard"), ["tensorboard"]))
    watch = _Watch(
        partial,
        recipe,
        evaluations=evaluations,
        episodes=evaluation_episodes,
        open_venv=open_venv,
        progress=progress,
    )
    watch.resume(model)
    if model.num_timesteps > 0:  # not the noise and the episodes of the beginning again
        model.set_random_seed(training_seeds(1, seed, model.num_timesteps)[0])
    left = recipe.total_steps - model.num_timesteps
    try:
        if left > 0:
            with _one_thread():
                model.learn(left, callback=watch, reset_num_timesteps=False)
    finally:
        watch.close()
        model.logger.close()
    return watch.seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: its threads spin while they wait.

    An MLP of this size gains a third from a second core that is idle, and runs 5 to 20 times
    slower beside one that environments are using.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Watch(BaseCallback):
    """Progress bar, progress.jsonl, noise that shrinks, evaluations, checkpoints."""

    def __init__(
        self,
        partial: Path,
        recipe: Recipe,
        *,
        evaluations: int,
        episodes: int,
        open_venv: Callable[[int], VecEnv],
        progress: bool,
    ) -> None:
        super().__init__()
        self._partial, self._recipe = partial, recipe
        self._episodes, self._open_venv = episodes, open_venv
        total = recipe.total_steps
        self._evaluate_at = [total * (i + 1) // (evaluations + 1) for i in range(evaluations)]
        self._record_every = max(1, total // 50)
        self._checkpoint_every = max(1, total // 10)
        self._recorded = self._checkpointed = 0
        self._recent: list[float] = []
        self._progress = progress
        self._bar: Any = None
        self.seconds = 0.0

    def resume(self, model: BaseAlgorithm) -> None:
        """Take up the last checkpoint, if there is one; what was recorded after it is cut off."""
        folders = [self._partial / name for name in ("checkpoint", "checkpoint.old")]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            self._cut_progress(0)
            return
        try:
            state = read_checkpoint(folder)
            parts = unpack_state((folder / "model.bin").read_bytes())
            model.set_parameters(parts["parameters"], device="cpu")
            if isinstance(model, SAC) and model.log_ent_coef is not None:
                # SB3 keeps it beside the parameters, and set_parameters leaves it out.
                model.log_ent_coef.data.copy_(parts["log_ent_coef"])
            if isinstance(model, OffPolicyAlgorithm):
                _load_buffer(model, folder / "buffer.safetensors", state)
            model.num_timesteps, model._episode_num = state["steps"], state["episodes"]
        except Exception as error:  # every part fails in its own way
            raise FolderError(
                f"The checkpoint {folder} is damaged.",
                expected="what an interrupted training left",
                got=error,
                remedy=f"delete {self._partial}, then train from the beginning",
            ) from error
        self._cut_progress(state["steps"])
        self.seconds = state["seconds"]
        self._recorded = self._checkpointed = state["steps"]
        self._evaluate_at = [at for at in self._evaluate_at if at > state["steps"]]

    def _cut_progress(self, steps: int) -> None:
        path = self._partial / "progress.jsonl"
        records = [record for record in files.read_lines(path) if record["steps"] <= steps]
        lines = [files.canonical_json(record) + b"\n" for record in records]
        files.write_whole(path, b"".join(lines))

    def _on_training_start(self) -> None:
        self._began = time.perf_counter() - self.seconds
        self._bar = tqdm(
            total=self._recipe.total_steps,
            initial=self.model.num_timesteps,
            unit="steps",
            desc=f"training {self._recipe.algorithm}",
            disable=None if self._progress else True,
        )

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        for info in self.locals["infos"]:
            if "episode" in info:
                self._recent = [*self._recent[-99:], float(info["episode"]["r"])]
        return True

    def _on_rollout_start(self) -> None:
        """Between two rollouts everything is consistent: the time to look and to save."""
        steps = self.num_timesteps
        if self._recipe.final_log_std is not None:
            self._shrink_noise(steps / self._recipe.total_steps)
        if self._evaluate_at and steps >= self._evaluate_at[0]:
            self._evaluate_at = [at for at in self._evaluate_at if at > steps]
            self._evaluate()
        if steps - self._recorded >= self._record_every:
            self._record(training_return=self._mean_recent())
            self._recorded = steps
        if steps - self._checkpointed >= self._checkpoint_every:
            self._checkpoint()
            self._checkpointed = steps

    def _on_training_end(self) -> None:
        if self._recipe.final_log_std is not None:
            self._shrink_noise(1.0)
        self._record(training_return=self._mean_recent())

    def close(self) -> None:
        """End the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def _mean_recent(self) -> float | None:
        return float(np.mean(self._recent)) if self._recent else None

    def _record(self, **values: Any) -> None:
        self.seconds = time.perf_counter() - self._began
        steps = self.num_timesteps
        record = {"steps": steps, "frames": steps * self._recipe.frame_skip}
        line = {**record, "seconds": round(self.seconds, 3), **values}
        files.append_line(self._partial / "progress.jsonl", line)
        if "training_return" in values and values["training_return"] is not None:
            self._bar.set_postfix(training_return=f"{values['training_return']:.1f}")

    def _shrink_noise(self, share: float) -> None:
        policy: Any = self.model.policy
        first, last = policy.log_std_init, self._recipe.final_log_std
        assert last is not None
        policy.log_std.requires_grad_(False).fill_(first + (last - first) * min(1.0, share))

    def _evaluate(self) -> None:
        venv = self._open_venv(min(self._episodes, 8))
        try:
            played: Played = play(
                venv,
                lambda seen: self.model.predict(seen, deterministic=True)[0],
                self._episodes,
                evaluation_seeds(1, 999)[0],
            )
        finally:
            venv.close()
        mean = float(played.returns.mean())
        self.model.logger.record("evaluation/mean_return", mean)
        self._record(evaluation_return=mean, evaluation_episodes=self._episodes)

    def _checkpoint(self) -> None:
        """Write a new one; the one before stays as checkpoint.old until it has its place."""
        self.seconds = time.perf_counter() - self._began
        new, current, old = (self._partial / f"checkpoint{end}" for end in (".new", "", ".old"))
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        parts: dict[str, Any] = {"parameters": self.model.get_parameters()}
        state: dict[str, Any] = {
            "steps": self.num_timesteps,
            "seconds": self.seconds,
            "episodes": self.model._episode_num,
        }
        if isinstance(self.model, SAC) and self.model.log_ent_coef is not None:
            parts["log_ent_coef"] = self.model.log_ent_coef.detach()
        files.write_whole(new / "model.bin", pack_state(parts))
        if isinstance(self.model, OffPolicyAlgorithm):
            state |= _save_buffer(self.model, new / "buffer.safetensors")
        state["files"] = {path.name: files.file_digest(path) for path in new.iterdir()}
        files.write_json(new / "state.json", {**state, "digest": files.digest(state)})
        if current.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            current.rename(old)
        files.rename_folder(new, current)
        shutil.rmtree(old, ignore_errors=True)


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def _save_buffer(model: OffPolicyAlgorithm, path: Path) -> dict[str, Any]:
    """Write the replay buffer's arrays; returns where it stands."""
    buffer: Any = model.replay_buffer
    arrays = {name: getattr(buffer, name)[: buffer.size()] for name in _BUFFER}
    with files.whole_file(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary)
    return {"pos": int(buffer.pos), "full": bool(buffer.full)}


def _load_buffer(model: OffPolicyAlgorithm, path: Path, state: Mapping[str, Any]) -> None:
    buffer: Any = model.replay_buffer
    saved = safetensors.numpy.load_file(path)
    for name in _BUFFER:
        into, rows = getattr(buffer, name), saved[name]
        if rows.shape[1:] != into.shape[1:] or rows.dtype != into.dtype or len(rows) > len(into):
            raise ValueError(f"{name} of shape {rows.shape}, {rows.dtype}")
        into[: len(rows)] = rows
    buffer.pos, buffer.full = state["pos"], state["full"]
    if not 0 <= buffer.pos < buffer.buffer_size:
        raise ValueError(f"pos {buffer.pos}")


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """What an agent's checkpoint says of itself, its files checked byte by byte.

    Raises:
        OSError, KeyError, TypeError, ValueError: where it is damaged.
    """
    state = files.parse_json(files.read_bounded(folder / "state.json", files.MOST_JSON))
    body = {name: value for name, value in state.items() if name != "digest"}
    if files.digest(body) != state["digest"]:
        raise ValueError(f"{folder / 'state.json'} is damaged")
    if not {"model.bin"} <= set(state["files"]) <= {"model.bin", "buffer.safetensors"}:
        raise ValueError(f"{folder / 'state.json'} lists {sorted(state['files'])}")
    for name, sha256 in state["files"].items():
        if not (folder / name).is_file() or files.file_digest(folder / name) != sha256:
            raise ValueError(f"{folder / name} is missing or damaged")
    return dict(state)


def make_model(recipe: Recipe, venv: VecEnv, seed: int, policy: str = "MlpPolicy") -> BaseAlgorithm:
    """A fresh model of a recipe's algorithm.

    Raises:
        ConfigError: where the algorithm refuses the recipe.
    """
    try:
        return ALGORITHMS[recipe.algorithm](
            policy=policy, env=venv, seed=seed, device="cpu", **algorithm_arguments(recipe)
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{recipe.algorithm} refuses the recipe's hyperparameters.",
            expected=f"arguments of stable_baselines3.{recipe.algorithm}",
            got=error,
            remedy="correct the recipe",
        ) from error


def _go_on(model: Any, started: Agent) -> None:
    """Take an agent's weights into a fresh model."""
    try:
        model.policy.load_state_dict(started.weights())
    except RuntimeError as error:
        raise ConfigError(
            f"The agent {started.path} cannot go on here.",
            expected="the same algorithm, networks, stack, past actions and latents",
            got=error,
            remedy="leave the recipe out, or train a new agent",
        ) from error
    if started.recipe.final_log_std is not None:
        model.policy.log_std_init = started.recipe.final_log_std


def _finished(out: Path, run: Mapping[str, Any]) -> TrainedAgent:
    """The agent that is already there, where it is this one; what its training left goes."""
    config = read_agent_config(out)
    if any(config.get(name) != json.loads(files.canonical_json(run[name])) for name in run):
        raise FolderError(
            f"{out} holds another agent.",
            expected="a folder that is free, or the same environment, encoder, recipe and seed",
            got=f"{config.get('env_id')}, {config.get('recipe', {}).get('algorithm')}, seed "
            f"{config.get('seed')}, or another encoder or recipe",
            remedy="choose another folder, or delete that one",
        )
    for left in ("checkpoint", "checkpoint.old", "checkpoint.new"):
        shutil.rmtree(out / left, ignore_errors=True)
    for left in ("run.json", ".lock"):
        (out / left).unlink(missing_ok=True)
    steps = config["steps"]
    frames = steps * config["recipe"]["frame_skip"]
    return TrainedAgent(out, steps, frames, config["seconds"], config["engine"])


def _check_range(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(
            f"{name} is out of range.",
            expected=f"a whole number from {low} to {high}",
            got=repr(value),
            remedy=f"choose {name}={low}",
        )
