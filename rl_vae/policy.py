"""Recipe and train_agent: a Stable-Baselines3 agent on the latents of an environment.

An agent's folder holds config.json (environment, recipe, seed, digests), policy.safetensors (the
weights, loaded by `Agent.load`), encoder/ (the artifact it was trained with), agent.zip (the same
agent for SB3's own `load`, which unpickles: only for zips of your own), progress.jsonl and
TensorBoard's files. While it trains, FOLDER.partial holds them and the last checkpoint.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from tqdm.auto import tqdm

from rl_vae import artifact, files
from rl_vae.encoder import Encoder
from rl_vae.engines import EngineName, make_engine
from rl_vae.envs import evaluation_seeds
from rl_vae.errors import ArtifactError, ConfigError
from rl_vae.exploration import Actor, Scene
from rl_vae.frames import UInt8Array
from rl_vae.history import History
from rl_vae.sb3 import ActionMap, MapActions, PixelVecEnv, Played, ScaleRewards, VecLatent, play

FORMAT = 1
Algorithm = Literal["PPO", "SAC", "DQN"]
_ALGORITHMS: dict[str, type[PPO | SAC | DQN]] = {"PPO": PPO, "SAC": SAC, "DQN": DQN}
_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}


@dataclass(frozen=True)
class Recipe:
    """How an agent is trained on latents. A recipe file holds one, named RECIPE.

    Steps are decisions, summed over all environments; the environment takes frame_skip steps for
    each.

    Raises:
        ConfigError: where a value is out of its range.
    """

    algorithm: Algorithm
    """"PPO" (any actions), "SAC" (a Box of actions) or "DQN" (discrete actions)."""
    total_steps: int
    """Decisions to train for, from 1 up."""
    n_envs: int = 8
    """Environments that run at once."""
    frame_skip: int = 1
    """Environment steps that each decision is held."""
    stack: int = 4
    """Latents in an observation, the current one included."""
    actions: int = 0
    """Past actions in an observation."""
    reward_scale: float = 1.0
    """What rewards are multiplied by before the algorithm sees them."""
    learning_rate: float = 3e-4
    """At the start."""
    final_learning_rate: float | None = None
    """At the end, falling linearly; None: it stays."""
    final_log_std: float | None = None
    """PPO on a Box: the logarithm of the noise's standard deviation goes linearly from
    policy_kwargs["log_std_init"] to this instead of being learned, so that the mean action ends
    up doing what the sampled ones do; None: it is learned."""
    action_map: ActionMap | None = None
    """From the agent's actions to the environment's; None: they are the same."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """The algorithm's other arguments, in plain JSON values; policy_kwargs["activation_fn"] is
    "tanh", "relu" or "elu"."""

    def __post_init__(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            raise ConfigError(
                "Unknown algorithm.", expected=", ".join(_ALGORITHMS), got=repr(self.algorithm)
            )
        least = {"total_steps": 1, "n_envs": 1, "frame_skip": 1, "stack": 1, "actions": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigError(
                    f"Recipe.{name} is out of range.",
                    expected=f"a whole number from {low} up",
                    got=repr(value),
                )
        for name in ("learning_rate", "reward_scale"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"Recipe.{name} is out of range.",
                    expected="a number above 0",
                    got=repr(getattr(self, name)),
                )
        if self.final_log_std is not None and self.algorithm != "PPO":
            raise ConfigError("Only PPO has a final_log_std.", got=self.algorithm)
        try:
            files.canonical_json(dict(self.hyperparameters))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                "Recipe.hyperparameters cannot be written down.",
                expected="plain JSON values",
                got=error,
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        plain: dict[str, Any] = json.loads(files.canonical_json(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote."""
        mapped = values.get("action_map")
        if mapped is not None:
            rows = tuple(tuple(row) for row in mapped["matrix"])
            mapped = ActionMap(rows, tuple(mapped["offset"]))
        return cls(**{**values, "action_map": mapped})


def load_recipe(name: str | Path) -> Recipe:
    """Run a recipe file and return its RECIPE. It is Python: only run files that you trust.

    Args:
        name: A file, or the name of one of the recipes that come with rl_vae, such as "ppo".

    Raises:
        ConfigError: where there is no such file, or no RECIPE in it.
    """
    package = Path(__file__).parent
    bundled = [folder for folder in (package / "agents", package.parent / "agents")]
    path = Path(name)
    if not path.is_file():
        stem = path.stem if path.suffix == ".py" else path.name
        found = [folder / f"{stem}.py" for folder in bundled if (folder / f"{stem}.py").is_file()]
        if not found or path.parent.name not in ("", "agents"):
            known = sorted({file.stem for folder in bundled for file in folder.glob("*.py")})
            raise ConfigError(
                f"There is no recipe {str(name)!r}.",
                expected=f"a file with a RECIPE in it, or one of {', '.join(known)}",
                got=repr(str(name)),
            )
        path = found[0]
    spec = importlib.util.spec_from_file_location("rl_vae_recipe", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file.", expected="a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"The recipe {path} failed: {error!r}") from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ConfigError(
            f"{path} is not a recipe.",
            expected="a constant RECIPE = rl_vae.Recipe(...)",
            got=repr(recipe),
        )
    return recipe


class Agent:
    """A trained agent: the policy, the encoder and the recipe. Make one with `Agent.load`.

    It is an exploration, too: `collect_frames(..., policy=agent)` collects what it sees.
    """

    def __init__(
        self, path: Path, config: dict[str, Any], recipe: Recipe, encoder: Encoder, model: Any
    ) -> None:
        self.path, self.recipe, self.encoder = path, recipe, encoder
        self.env_id: str = config["env_id"]
        self.engine: EngineName = config["engine"]
        self.image_key: str | None = config["image_key"]
        self.env_kwargs: dict[str, Any] = config["env_kwargs"]
        self.seed: int = config["seed"]
        self.digest: str = config["files"]["policy.safetensors"]
        self._model = model

    @classmethod
    def load(cls, path: str | Path) -> Agent:
        """Read an agent's folder; nothing in it is run, agent.zip is not opened.

        Raises:
            ArtifactError: where it is missing, damaged or of another kind.
        """
        path = Path(path)
        config = _read_agent_config(path)
        content = (path / "policy.safetensors").read_bytes()
        if files.digest(content) != config["files"]["policy.safetensors"]:
            raise ArtifactError(
                f"{path / 'policy.safetensors'} is damaged.",
                expected="the SHA-256 in config.json",
                remedy="train the agent again",
            )
        try:
            recipe = Recipe.from_dict(config["recipe"])
            space = _space_from_dict(config["action_space"])
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path / 'config.json'} is damaged: {error}") from error
        encoder = Encoder.load(path / "encoder")
        history = History(1, encoder.latent_dim, recipe.stack, recipe.actions, space)
        model = _bare_model(recipe, history.observation_space, space)
        try:
            model.policy.load_state_dict(safetensors.torch.load(content))
        except Exception as error:
            raise ArtifactError(f"{path / 'policy.safetensors'} does not fit: {error}") from error
        model.policy.set_training_mode(False)
        return cls(path, config, recipe, encoder, model)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Agent.load, (str(self.path),))

    def predict(self, observations: NDArray[Any], *, deterministic: bool = True) -> NDArray[Any]:
        """Choose actions for observations as VecLatent makes them, (N, D)."""
        actions: NDArray[Any] = self._model.predict(observations, deterministic=deterministic)[0]
        return actions

    def make_venv(self, n_envs: int, *, engine: EngineName | None = None) -> VecEnv:
        """Environments as it saw them in training, rewards not scaled."""
        pixels = open_pixels(
            self.env_id,
            n_envs,
            self.encoder,
            self.recipe,
            engine=engine or self.engine,
            image_key=self.image_key,
            env_kwargs=self.env_kwargs,
        )
        return watch_latents(pixels, self.encoder, self.recipe)

    def describe(self) -> dict[str, Any]:
        """What it is, for the header of a dataset."""
        return {"kind": "agent", "policy": self.digest, "encoder": self.encoder.digest}

    def start(self, scene: Scene) -> Actor:
        """Its part that collects: actions are sampled, as in training.

        Raises:
            ConfigError: where frames or skip are not those that it was trained with.
        """
        wanted = (self.encoder.spec, self.recipe.frame_skip)
        if (scene.spec, scene.frame_skip) != wanted:
            raise ConfigError(
                f"The agent {self.path} cannot act on these frames.",
                expected=f"{wanted[0]}, frame_skip={wanted[1]}",
                got=f"{scene.spec}, frame_skip={scene.frame_skip}",
                remedy="collect with the spec and the frame_skip that it was trained with",
            )
        return _AgentActor(self, scene)


class _AgentActor:
    def __init__(self, agent: Agent, scene: Scene) -> None:
        self._agent, self._scene = agent, scene
        recipe, space = agent.recipe, scene.action_space
        own_space = recipe.action_map.agent_space if recipe.action_map else space
        self._history = History(
            scene.lanes, agent.encoder.latent_dim, recipe.stack, recipe.actions, own_space
        )
        self._last: NDArray[Any] | None = None
        self._seeds = np.random.default_rng(scene.seed)

    def act(self, images: UInt8Array, fresh: NDArray[np.bool_]) -> NDArray[Any]:
        mu = self._agent.encoder.encode(images)
        if self._last is not None:
            self._history.push(mu, self._last)
        lanes = np.flatnonzero(fresh)
        self._history.restart(lanes, mu[lanes])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._seeds.integers(2**31)))
            self._last = self._agent.predict(self._history.observation(), deterministic=False)
        mapped, space = self._agent.recipe.action_map, self._scene.action_space
        if mapped is None:
            return self._last
        assert isinstance(space, gym.spaces.Box)
        return mapped.apply(self._last, space)


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


def open_pixels(
    env_id: str,
    n_envs: int,
    encoder: Encoder,
    recipe: Recipe,
    *,
    seed: int = 0,
    engine: EngineName = "auto",
    image_key: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> PixelVecEnv:
    """Environments that show the encoder's frames, in step with a recipe.

    Raises:
        EnvironmentFault, ObservationError: where they cannot be opened or do not fit.
    """
    lanes = make_engine(
        env_id,
        n_envs,
        engine=engine,
        spec=encoder.spec,
        frame_skip=recipe.frame_skip,
        image_key=image_key,
        env_kwargs=env_kwargs,
    )
    try:
        encoder.check_space(lanes.raw_space)
    except BaseException:
        lanes.close()
        raise
    return PixelVecEnv(lanes, seed)


def watch_latents(
    pixels: PixelVecEnv, encoder: Encoder, recipe: Recipe, *, reward_scale: float = 1.0
) -> VecLatent:
    """Put a recipe's wrappers around environments: actions, episode statistics, rewards, latents.

    Raises:
        ConfigError: where the recipe does not fit the environment's actions.
    """
    venv: VecEnv = pixels
    try:
        if recipe.action_map is not None:
            venv = MapActions(venv, recipe.action_map)
        venv = VecMonitor(venv)
        if reward_scale != 1.0:
            venv = ScaleRewards(venv, reward_scale)
        _check_algorithm(recipe, venv.action_space)
        return VecLatent(venv, encoder, stack=recipe.stack, actions=recipe.actions)
    except BaseException:
        pixels.close()
        raise


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
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        ConfigError: where the recipe does not fit the environment's actions.
        ArtifactError: where the encoder is damaged, or the folder holds something else.
        EnvironmentFault, ObservationError: where the environment cannot be opened or does not fit.
    """
    out = Path(out)
    loaded = Encoder.load(encoder)
    run = {
        "env_id": env_id,
        "env_kwargs": dict(env_kwargs or {}),
        "image_key": image_key,
        "encoder": loaded.digest,
        "recipe": recipe.to_dict(),
        "seed": seed,
    }
    if out.exists():
        return _finished(out, run)
    partial = out.with_name(out.name + ".partial")
    files.check_run(partial, run, ArtifactError)
    pixels = open_pixels(
        env_id,
        recipe.n_envs,
        loaded,
        recipe,
        seed=seed,
        engine=engine,
        image_key=image_key,
        env_kwargs=env_kwargs,
    )
    run_engine = pixels.engine.name
    venv = watch_latents(pixels, loaded, recipe, reward_scale=recipe.reward_scale)
    try:
        action_space = _space_to_dict(venv.action_space)
        partial.mkdir(parents=True, exist_ok=True)
        with files.locked(partial, ArtifactError):
            files.write_json(partial / "run.json", run)
            model = _model(recipe, venv, seed)
            model.set_logger(configure(str(partial / "tensorboard"), ["tensorboard"]))
            watch = _Watch(
                partial,
                recipe,
                evaluations=evaluations,
                episodes=evaluation_episodes,
                open_venv=lambda n: watch_latents(
                    open_pixels(
                        env_id,
                        n,
                        loaded,
                        recipe,
                        engine=engine,
                        image_key=image_key,
                        env_kwargs=env_kwargs,
                    ),
                    loaded,
                    recipe,
                ),
                progress=progress,
            )
            watch.resume(model)
            left = recipe.total_steps - model.num_timesteps
            if left > 0:
                model.learn(left, callback=watch, reset_num_timesteps=False)
            config = {
                **run,
                "format": FORMAT,
                "kind": "rl_vae agent",
                "engine": run_engine,
                "action_space": action_space,
                "steps": model.num_timesteps,
                "seconds": watch.seconds,
                "versions": artifact.versions(),
            }
            _save_agent(partial, model, loaded, config)
            shutil.rmtree(partial / "checkpoint", ignore_errors=True)
            (partial / "run.json").unlink()
            files.rename_folder(partial, out)
        (out / ".lock").unlink(missing_ok=True)
    finally:
        venv.close()
    steps = model.num_timesteps
    return TrainedAgent(out, steps, steps * recipe.frame_skip, watch.seconds, run_engine)


class _Linear:
    """From `first` at the beginning to `last` at the end of training."""

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, last

    def __call__(self, remaining: float) -> float:
        return self.last + (self.first - self.last) * remaining


class _Watch(BaseCallback):
    """Progress bar, progress.jsonl, noise that shrinks, evaluations, checkpoints."""

    def __init__(
        self,
        partial: Path,
        recipe: Recipe,
        *,
        evaluations: int,
        episodes: int,
        open_venv: Any,
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
        self.seconds = 0.0

    def resume(self, model: BaseAlgorithm) -> None:
        """Take up the last checkpoint, if there is one."""
        folder = self._partial / "checkpoint"
        if not (folder / "state.json").is_file():
            return
        state = json.loads((folder / "state.json").read_bytes())
        model.set_parameters(str(folder / "model.zip"), device="cpu")
        model.num_timesteps = state["steps"]
        model._episode_num = state["episodes"]
        if isinstance(model, OffPolicyAlgorithm):
            _load_buffer(model, folder / "buffer.npz")
        self.seconds = state["seconds"]
        self._recorded = self._checkpointed = state["steps"]
        self._evaluate_at = [at for at in self._evaluate_at if at > state["steps"]]

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
        self._record(training_return=self._mean_recent())
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
        """Written whole: a new folder takes the old one's place."""
        self.seconds = time.perf_counter() - self._began
        new, old = self._partial / "checkpoint.new", self._partial / "checkpoint"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        self.model.save(new / "model.zip")
        if isinstance(self.model, OffPolicyAlgorithm):
            _save_buffer(self.model, new / "buffer.npz")
        state = {"steps": self.num_timesteps, "seconds": self.seconds}
        files.write_json(new / "state.json", {**state, "episodes": self.model._episode_num})
        shutil.rmtree(old, ignore_errors=True)
        files.rename_folder(new, old)


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def _save_buffer(model: OffPolicyAlgorithm, path: Path) -> None:
    buffer: Any = model.replay_buffer
    size = buffer.size()
    arrays = {name: getattr(buffer, name)[:size] for name in _BUFFER}
    np.savez(path, pos=buffer.pos, full=buffer.full, **arrays)


def _load_buffer(model: OffPolicyAlgorithm, path: Path) -> None:
    buffer: Any = model.replay_buffer
    with np.load(path, allow_pickle=False) as saved:
        buffer.pos, buffer.full = int(saved["pos"]), bool(saved["full"])
        for name in _BUFFER:
            getattr(buffer, name)[: len(saved[name])] = saved[name]


def _model(recipe: Recipe, venv: VecEnv, seed: int) -> BaseAlgorithm:
    try:
        return _ALGORITHMS[recipe.algorithm](
            policy="MlpPolicy", env=venv, seed=seed, device="cpu", **_arguments(recipe)
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{recipe.algorithm} refuses the recipe's hyperparameters: {error}"
        ) from error


def _bare_model(recipe: Recipe, seen: gym.Space[Any], acts: gym.Space[Any]) -> Any:
    """A model without environments, for its policy alone; made as SB3's own `load` makes it."""
    arguments = _arguments(recipe)
    if recipe.algorithm != "PPO":
        arguments["buffer_size"] = 1
    kind: Any = _ALGORITHMS[recipe.algorithm]  # its annotation forbids env=None, its code does not
    model = kind(policy="MlpPolicy", env=None, device="cpu", _init_setup_model=False, **arguments)
    model.observation_space, model.action_space, model.n_envs = seen, acts, 1
    with torch.random.fork_rng(devices=[]):
        model._setup_model()
    return model


def _arguments(recipe: Recipe) -> dict[str, Any]:
    """The recipe as arguments of the algorithm."""
    arguments = json.loads(files.canonical_json(dict(recipe.hyperparameters)))
    policy = arguments.get("policy_kwargs", {})
    if "activation_fn" in policy:
        name = policy["activation_fn"]
        if name not in _ACTIVATIONS:
            raise ConfigError("Unknown activation_fn.", expected=list(_ACTIVATIONS), got=name)
        policy["activation_fn"] = _ACTIVATIONS[name]
    rate: Any = recipe.learning_rate
    if recipe.final_learning_rate is not None:
        rate = _Linear(recipe.learning_rate, recipe.final_learning_rate)
    return {**arguments, "learning_rate": rate}


def _check_algorithm(recipe: Recipe, space: gym.Space[Any]) -> None:
    wanted = {"SAC": gym.spaces.Box, "DQN": gym.spaces.Discrete}.get(recipe.algorithm)
    if wanted is not None and not isinstance(space, wanted):
        raise ConfigError(
            f"{recipe.algorithm} cannot act here.",
            expected=f"{wanted.__name__} actions",
            got=space,
            remedy="choose another recipe: PPO acts in both",
        )
    if recipe.final_log_std is not None and not isinstance(space, gym.spaces.Box):
        raise ConfigError(
            "The recipe's final_log_std has no meaning here.",
            expected="a Box of actions",
            got=space,
            remedy="choose another recipe, such as ppo",
        )


def _save_agent(
    folder: Path, model: BaseAlgorithm, encoder: Encoder, config: dict[str, Any]
) -> None:
    weights = {name: value.contiguous() for name, value in model.policy.state_dict().items()}
    # Cloned, for safetensors refuses tensors that share memory (an actor's and a critic's).
    safetensors.torch.save_file(
        {name: value.clone() for name, value in weights.items()}, folder / "policy.safetensors"
    )
    model.save(folder / "agent.zip")
    shutil.rmtree(folder / "encoder", ignore_errors=True)
    (folder / "encoder").mkdir()
    for name in ("config.json", *artifact.FILES):
        shutil.copyfile(encoder.path / name, folder / "encoder" / name)
    digests = {"policy.safetensors": files.file_digest(folder / "policy.safetensors")}
    files.write_json(folder / "config.json", {**config, "files": digests})


def _read_agent_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        interrupted = path.with_name(path.name + ".partial").is_dir()
        raise ArtifactError(
            f"There is no agent at {path}.",
            expected="a folder that rl-vae train-agent wrote, with config.json in it",
            got="the rest of an interrupted training" if interrupted else "none",
            remedy="run the same rl-vae train-agent command again"
            if interrupted
            else "train one: rl-vae train-agent ENV_ID --encoder MODEL --out FOLDER",
        )
    try:
        config: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"{file} is damaged.", expected="JSON", got=error) from error
    if not isinstance(config, dict) or config.get("kind") != "rl_vae agent":
        raise ArtifactError(
            f"{path} does not hold an agent.",
            expected="a folder that rl-vae train-agent wrote",
            got=config.get("kind") if isinstance(config, dict) else "something else",
        )
    if config.get("format") != FORMAT:
        raise ArtifactError(f"{file} has another format.", expected=FORMAT, got=config["format"])
    return config


def _finished(out: Path, run: Mapping[str, Any]) -> TrainedAgent:
    """The agent that is already there, where it is this one."""
    config = _read_agent_config(out)
    if any(config.get(name) != json.loads(files.canonical_json(run[name])) for name in run):
        raise ArtifactError(
            f"{out} holds another agent.",
            expected="a folder that is free, or the same environment, encoder, recipe and seed",
            remedy="choose another folder, or delete that one",
        )
    steps = config["steps"]
    frames = steps * config["recipe"]["frame_skip"]
    return TrainedAgent(out, steps, frames, config["seconds"], config["engine"])


def _space_to_dict(space: gym.Space[Any]) -> dict[str, Any]:
    if isinstance(space, gym.spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gym.spaces.Box) and space.is_bounded():
        return {"kind": "Box", "low": space.low.tolist(), "high": space.high.tolist()}
    raise ConfigError(
        "Agents for this action space cannot be saved.",
        expected="Discrete or a bounded Box",
        got=space,
    )


def _space_from_dict(values: Mapping[str, Any]) -> gym.Space[Any]:
    if values["kind"] == "Discrete":
        return gym.spaces.Discrete(values["n"], start=values["start"])
    low, high = np.float32(values["low"]), np.float32(values["high"])
    return gym.spaces.Box(low, high, dtype=np.float32)
