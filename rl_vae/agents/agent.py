"""Agent: a trained policy with its encoder and recipe, as a folder that describes itself.

    config.json          environment, recipe, action space, seed, steps, digests, versions
    policy.safetensors   the policy's weights
    encoder/             the artifact that it was trained with
    agent.zip            the same agent for SB3's own `load`, which unpickles: never read here

Nothing that is read here is code.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from rl_vae.agents.recipe import Recipe, check_actions
from rl_vae.data.policies import ActFunction, PolicyContext
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.errors import ConfigError, TrainingError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import match_weights
from rl_vae.sb3.action_map import MapActions
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.rewards import ScaleRewards
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.system import files
from rl_vae.wrappers.history import History

FORMAT = 1
_RUN = ("env_id", "env_kwargs", "image_key", "engine", "encoder", "recipe", "seed", "start")
_MADE = ("format", "kind", "action_space", "steps", "seconds", "versions", "files", "digest")
_FIELDS = frozenset(_RUN + _MADE)
ALGORITHMS: dict[str, type[PPO | SAC | DQN]] = {"PPO": PPO, "SAC": SAC, "DQN": DQN}
MOST_POLICY = 2**30
"""Bytes that a policy's weights have at most."""
_MOST_HISTORY, _MOST_LAYERS, _MOST_UNITS = 1024, 64, 2**16
_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}


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
        self.action_space = _space_from_dict(config["action_space"])
        self.digest: str = config["files"]["policy.safetensors"]
        self._model = model

    @classmethod
    def load(cls, path: str | Path, *, encoder: str | Path | None = None) -> Agent:
        """Read an agent's folder; nothing in it is run, agent.zip is not opened.

        Args:
            path: The folder that `train_agent` wrote.
            encoder: Folder of a model to see through instead of the agent's own, of the same
                frames and as many latents: one that `train_vae` went on to from the agent's.

        Raises:
            ArtifactError: where it is missing, damaged or of another kind.
            ConfigError: where that model shows other frames, or has more or fewer latents.
        """
        path = Path(path)
        config = read_agent_config(path)
        try:
            files.check_inside(path, path / "encoder")
            recipe = Recipe.from_dict(config["recipe"])
            space = _space_from_dict(config["action_space"])
            promised = config["files"]["policy.safetensors"]
            _check_settings(config, recipe)
        except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise files.damaged(path / "config.json", "settings in their range", error) from error
        content = files.read_checked(path / "policy.safetensors", promised, MOST_POLICY)
        own = Encoder.load(path / "encoder")
        if own.digest != config["encoder"]:
            raise files.damaged(path / "encoder", f"the encoder {config['encoder']}", own.digest)
        seeing = own if encoder is None else _instead_of(own, Encoder.load(encoder))
        history = History(1, seeing.latent_dim, recipe.stack, recipe.actions, space)
        model = _read_model(path, content, recipe, history.observation_space, space)
        return cls(path, config, recipe, seeing, model)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (str(self.path), str(self.encoder.path)))

    @property
    def policy(self) -> torch.nn.Module:
        """SB3's policy, in evaluation mode."""
        policy: torch.nn.Module = self._model.policy
        return policy

    def predict(self, observations: NDArray[Any], *, deterministic: bool = True) -> NDArray[Any]:
        """Choose actions for observations as VecLatent makes them, (N, D)."""
        actions: NDArray[Any] = self._model.predict(observations, deterministic=deterministic)[0]
        return actions

    def weights(self) -> dict[str, torch.Tensor]:
        """The policy's, by name."""
        weights: dict[str, torch.Tensor] = self._model.policy.state_dict()
        return weights

    def make_venv(
        self, n_envs: int, *, engine: EngineName | None = None, workers: int | None = None
    ) -> VecEnv:
        """Environments as it saw them in training, rewards not scaled."""
        pixels = open_pixels(
            self.env_id,
            n_envs,
            self.encoder,
            self.recipe,
            engine=engine or self.engine,
            image_key=self.image_key,
            env_kwargs=self.env_kwargs,
            workers=workers,
        )
        return make_latent_envs(pixels, self.encoder, self.recipe)

    def describe(self) -> dict[str, Any]:
        """What it is, for the header of a dataset."""
        return {"kind": "agent", "policy": self.digest, "encoder": self.encoder.digest}

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a function that samples the agent's actions while frames are collected.

        Raises:
            ConfigError: if the frames, the frame skip or the action space differ from training.
        """
        wanted = (self.encoder.spec, self.recipe.frame_skip)
        if (context.spec, context.frame_skip) != wanted:
            raise ConfigError(
                f"The agent {self.path} cannot act on these frames.",
                expected=f"{wanted[0]}, frame_skip={wanted[1]}",
                got=f"{context.spec}, frame_skip={context.frame_skip}",
                remedy="collect with the spec and the frame_skip that it was trained with",
            )
        if self.recipe.action_map is not None:
            self.recipe.action_map.check_space(context.action_space)
        elif space_to_dict(context.action_space) != space_to_dict(self.action_space):
            raise ConfigError(
                f"The agent {self.path} has other actions.",
                expected=context.action_space,
                got=self.action_space,
                remedy=f"collect from the environment that it was trained in, {self.env_id}",
            )
        return _CollectingAgent(self, context)


def _reload(path: str, encoder: str) -> Agent:
    return Agent.load(path, encoder=encoder)


def _instead_of(own: Encoder, other: Encoder) -> Encoder:
    kinds = [
        (encoder.spec, encoder.observation_shape, encoder.latent_dim) for encoder in (own, other)
    ]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"The agent cannot see through {other.path}.",
            expected="{}, made of observations {}, {} latents".format(*kinds[0]),
            got="{}, made of observations {}, {} latents".format(*kinds[1]),
            remedy="give a model that went on from the agent's own: rl-vae train-vae --from",
        )
    return other


class _CollectingAgent:
    """Actions of an agent, sampled from the images that are collected."""

    def __init__(self, agent: Agent, context: PolicyContext) -> None:
        self._agent, self._context = agent, context
        recipe, space = agent.recipe, context.action_space
        own_space = recipe.action_map.agent_space if recipe.action_map else space
        self._history = History(
            context.n_envs, agent.encoder.latent_dim, recipe.stack, recipe.actions, own_space
        )
        self._last: NDArray[Any] | None = None
        self._seeds = np.random.default_rng(context.seed)

    def __call__(self, images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
        mu = self._agent.encoder.encode(images)
        if self._last is not None:
            self._history.push(mu, self._last)
        envs = np.flatnonzero(is_first)
        self._history.restart(envs, mu[envs])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._seeds.integers(2**31)))
            self._last = self._agent.predict(self._history.observation(), deterministic=False)
        mapped, space = self._agent.recipe.action_map, self._context.action_space
        if mapped is None:
            return self._last
        assert isinstance(space, gym.spaces.Box)
        return mapped.apply(self._last, space)


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
    workers: int | None = None,
) -> PixelVecEnv:
    """Environments that show the encoder's frames, in step with a recipe.

    Raises:
        EnvironmentFault, ObservationError: where they cannot be opened or do not fit.
    """
    lanes = make_engine(
        env_id,
        n_envs,
        engine=engine,
        workers=workers,
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


def make_latent_envs(
    pixels: PixelVecEnv, encoder: Encoder, recipe: Recipe, *, reward_scale: float = 1.0
) -> VecLatent:
    """Put a recipe's wrappers around environments: actions, episode statistics, rewards, latents.

    Raises:
        ConfigError: where the recipe does not fit the environment's actions.
    """
    try:
        venv = act_by(pixels, recipe, reward_scale=reward_scale)
        return VecLatent(venv, encoder, stack=recipe.stack, actions=recipe.actions)
    except BaseException:
        pixels.close()
        raise


def act_by(venv: VecEnv, recipe: Recipe, *, reward_scale: float = 1.0) -> VecEnv:
    """The same wrappers without latents: whatever is observed stays.

    Raises:
        ConfigError: where the recipe does not fit the environment's actions.
    """
    if recipe.action_map is not None:
        venv = MapActions(venv, recipe.action_map)
    venv = VecMonitor(venv)
    if reward_scale != 1.0:
        venv = ScaleRewards(venv, reward_scale)
    check_actions(recipe, venv.action_space)
    return venv


class Linear:
    """A schedule: from `first` at the beginning to `last` at the end of training."""

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, last

    def __call__(self, remaining: float) -> float:
        """The value when a share `remaining`, from 1 to 0, of the training is left."""
        # The last rollout may pass the end: SB3 then counts less than nothing as remaining.
        return self.last + (self.first - self.last) * max(0.0, remaining)


def algorithm_arguments(recipe: Recipe) -> dict[str, Any]:
    """A recipe as arguments of its SB3 algorithm.

    Raises:
        ConfigError: where the activation function is unknown.
    """
    arguments = json.loads(files.canonical_json(dict(recipe.hyperparameters)))
    policy = arguments.get("policy_kwargs", {})
    if "activation_fn" in policy:
        name = policy["activation_fn"]
        if name not in _ACTIVATIONS:
            raise ConfigError(
                "Unknown activation_fn.",
                expected=f"one of {', '.join(_ACTIVATIONS)}",
                got=repr(name),
                remedy="leave it out: SB3 has one for each algorithm",
            )
        policy["activation_fn"] = _ACTIVATIONS[name]
    rate: Any = recipe.learning_rate
    if recipe.final_learning_rate is not None:
        rate = Linear(recipe.learning_rate, recipe.final_learning_rate)
    return {**arguments, "learning_rate": rate}


def save_agent(
    folder: Path, model: BaseAlgorithm, encoder: Encoder, config: dict[str, Any]
) -> None:
    """Write the files of an agent into a folder that the caller renames when all is there.

    Raises:
        TrainingError: where a weight is not a finite number.
    """
    weights = {name: value.contiguous() for name, value in model.policy.state_dict().items()}
    bad = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise TrainingError(
            "The agent was not saved.",
            expected="finite weights",
            got=bad,
            remedy="train with a lower learning_rate",
        )
    # Cloned, for safetensors refuses tensors that share memory (an actor's and a critic's).
    packed = safetensors.torch.save({name: value.clone() for name, value in weights.items()})
    files.write_whole(folder / "policy.safetensors", packed)
    with files.whole_file(folder / "agent.zip") as temporary:
        model.save(temporary)
    shutil.rmtree(folder / "encoder", ignore_errors=True)
    (folder / "encoder").mkdir()
    for name in encoder.file_names:
        files.write_whole(folder / "encoder" / name, (encoder.path / name).read_bytes())
    made = ("policy.safetensors", "agent.zip")
    digests = {name: files.file_digest(folder / name) for name in made}
    body = {**config, "files": digests}
    files.write_json(folder / "config.json", {**body, "digest": files.digest(body)})


def read_agent_config(path: Path) -> dict[str, Any]:
    """Read and check an agent's config.json.

    Raises:
        ArtifactError: where there is none, or it is not one.
    """
    return files.read_described(path, "rl_vae agent", FORMAT, "train-agent", _FIELDS)


def _check_settings(config: Mapping[str, Any], recipe: Recipe) -> None:
    """Raise ValueError where a value of an agent's config.json is none that `train_agent` writes.

    The recipe may be a stranger's: what it asks for must not cost more than a policy's weights do.
    """
    kinds = {"env_id": str, "engine": str, "env_kwargs": dict, "seed": int, "steps": int}
    for name, kind in {**kinds, "files": dict, "encoder": str}.items():
        if type(config[name]) is not kind:
            raise ValueError(f"{name} {config[name]!r}")
    if not isinstance(config["image_key"], str | None):
        raise ValueError(f"image_key {config['image_key']!r}")
    if max(recipe.stack, recipe.actions) > _MOST_HISTORY:
        raise ValueError(f"a history longer than {_MOST_HISTORY}")
    policy = recipe.hyperparameters.get("policy_kwargs", {})
    if type(policy.get("n_critics", 2)) is not int or not 1 <= policy.get("n_critics", 2) <= 16:
        raise ValueError(f"n_critics {policy['n_critics']!r}")
    waiting: list[Any] = [policy]
    while waiting:
        value = waiting.pop()
        inside = list(value.values()) if isinstance(value, dict) else value
        if isinstance(inside, list):
            if len(inside) > _MOST_LAYERS:
                raise ValueError(f"policy_kwargs with more than {_MOST_LAYERS} parts")
            waiting += inside
        elif isinstance(value, int | float) and abs(value) > _MOST_UNITS:
            raise ValueError(f"policy_kwargs with a number beyond {_MOST_UNITS:,}")


def _read_model(
    path: Path, content: bytes, recipe: Recipe, seen: gym.Space[Any], acts: gym.Space[Any]
) -> Any:
    """The model that the recipe makes, with the weights of a policy.safetensors."""
    where = path / "policy.safetensors"
    try:
        weights: dict[str, torch.Tensor] = safetensors.torch.load(content)
    except Exception as error:  # its own exception type has no public base
        raise files.damaged(where, "a safetensors file", error) from error
    try:
        _check_layers(recipe, weights, int(np.prod(seen.shape or ())))
        model = _bare_model(recipe, seen, acts)
    except Exception as error:  # SB3 and torch refuse strange arguments in their own ways
        raise files.damaged(path / "config.json", "a recipe that makes a policy", error) from error
    match_weights(where, weights, model.policy.state_dict())
    model.policy.load_state_dict(weights)
    model.policy.set_training_mode(False)
    return model


def _check_layers(recipe: Recipe, weights: Mapping[str, torch.Tensor], inputs: int) -> None:
    """Raise ValueError where a recipe's layers have more weights than are there: building costs."""
    there = sum(value.numel() for value in weights.values())
    waiting: list[Any] = [recipe.hyperparameters.get("policy_kwargs", {}).get("net_arch", [])]
    while waiting:
        layers = waiting.pop()
        if isinstance(layers, dict):
            waiting += layers.values()
        elif isinstance(layers, list):
            widths = [inputs, *(width for width in layers if type(width) is int)]
            if sum(one * next_ for one, next_ in itertools.pairwise(widths)) > there:
                raise ValueError("layers with more weights than policy.safetensors holds")
            waiting += [part for part in layers if isinstance(part, list | dict)]


def _bare_model(recipe: Recipe, seen: gym.Space[Any], acts: gym.Space[Any]) -> Any:
    """A model without environments, for its policy alone; made as SB3's own `load` makes it."""
    arguments = algorithm_arguments(recipe)
    # Only training uses these; a buffer would be made, and "auto" asks environments.
    if recipe.algorithm == "PPO":
        arguments |= {"n_steps": 2, "batch_size": 2}
    else:
        arguments["buffer_size"] = 1
    if recipe.algorithm == "SAC":
        arguments["target_entropy"] = 0.0
    kind: Any = ALGORITHMS[recipe.algorithm]  # its annotation forbids env=None, its code does not
    model = kind(policy="MlpPolicy", env=None, device="cpu", _init_setup_model=False, **arguments)
    model.observation_space, model.action_space, model.n_envs = seen, acts, 1
    with torch.random.fork_rng(devices=[]):
        model._setup_model()
    return model


def space_to_dict(space: gym.Space[Any]) -> dict[str, Any]:
    """An action space as plain JSON values.

    Raises:
        ConfigError: where it is neither Discrete nor a bounded Box.
    """
    if isinstance(space, gym.spaces.Discrete) and space.n <= _MOST_UNITS:
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gym.spaces.Box) and space.is_bounded():
        return {"kind": "Box", "low": space.low.tolist(), "high": space.high.tolist()}
    raise ConfigError(
        "Agents for this action space cannot be saved.",
        expected=f"Discrete, of at most {_MOST_UNITS:,} actions, or a bounded Box",
        got=space,
        remedy="bring the environment's actions into one of them with a wrapper",
    )


def _space_from_dict(values: Mapping[str, Any]) -> gym.Space[Any]:
    if values["kind"] == "Discrete":
        n, start = values["n"], values["start"]
        if type(n) is not int or type(start) is not int or not 1 <= n <= _MOST_UNITS:
            raise ValueError(f"Discrete({n!r}, start={start!r})")
        return gym.spaces.Discrete(n, start=start)
    if values["kind"] != "Box":
        raise ValueError(f"an action space of kind {values['kind']!r}")
    low, high = np.float32(values["low"]), np.float32(values["high"])
    if low.shape != high.shape or not np.all(low <= high) or low.size > _MOST_UNITS:
        raise ValueError("bounds of actions that are none")
    return gym.spaces.Box(low, high, dtype=np.float32)
