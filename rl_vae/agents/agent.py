"""Agent: a trained policy with its encoder and its recipe, loaded from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.adopt import adopt_model
from rl_vae.agents.agent_html import agent_html
from rl_vae.agents.collector import start_collecting
from rl_vae.agents.environments import observation_config, open_latent_envs
from rl_vae.agents.folder import HUB_FILES, check_settings, read_agent_config, read_policy
from rl_vae.agents.policy import AgentPolicy
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.replace_encoder import replace_encoder
from rl_vae.agents.spaces import space_from_dict
from rl_vae.constraints import check_arguments
from rl_vae.data.policies import ActFunction, PolicyContext
from rl_vae.envs.pixel_source import ConvertedImages, PixelSource
from rl_vae.envs.registry import EngineName
from rl_vae.envs.source import EnvSource, Wrapper, stored_source
from rl_vae.envs.vector_interfaces import is_vector_env
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.sb3.actions import ActionConverter
from rl_vae.system import reading
from rl_vae.system.hub import local_folder
from rl_vae.system.json_values import decode_values
from rl_vae.system.outputs import output_path
from rl_vae.wrappers.fields import ObservationFields
from rl_vae.wrappers.pipeline import LatentPipeline


class Agent(AgentPolicy):
    """A trained agent: policy, encoder and recipe. Load one with `Agent.load`.

    An agent is also a collection policy: `collect_frames(..., policy=agent)` collects the frames
    of its own episodes.

    Attributes:
        path: Folder of the agent.
        recipe: Recipe with which the agent was trained.
        encoder: Encoder through which the agent observes.
        env_id: Gymnasium id of the environment in which the agent was trained.
        env_kwargs: Keyword arguments of that environment.
        max_episode_steps: Number of its steps after which an episode is truncated; None: as the
            environment has it.
        engine: Environment engine, "envpool" or "gymnasium".
        seed: Seed of the training.
        action_space: Action space of the agent.
        environment_action_space: Action space of the environment.
        pixels: Where the pixels of the environment come from.
        extras_space: Space of the other entries of a Dict observation that the agent observes.
        digest: SHA-256 of the policy's weights.
    """

    def __init__(self, path: Path, config: dict[str, Any], encoder: Encoder) -> None:
        self.path, self.encoder = path, encoder
        self.recipe = Recipe.from_dict(config["recipe"])
        check_settings(config, self.recipe)
        self.env_id: str = config["env_id"]
        self.engine: EngineName = config["engine"]
        self.env_kwargs: dict[str, Any] = decode_values(config["env_kwargs"])
        self.max_episode_steps: int | None = config["max_episode_steps"]
        self._environment: dict[str, Any] | None = config["environment"]
        self.seed: int = config["seed"]
        self.action_space = space_from_dict(config["action_space"])
        self.environment_action_space = space_from_dict(config["environment_action_space"])
        self.pixels = PixelSource.from_dict(config["pixels"])
        self.extras_space: gym.spaces.Dict | None = None
        if config["extras_space"] is not None:
            extras = space_from_dict(config["extras_space"])
            if not isinstance(extras, gym.spaces.Dict) or self.pixels.key is None:
                raise ValueError("extras_space without entries of the observation")
            self.extras_space = extras
        self.digest: str = config["files"]["policy.safetensors"]
        self.converter = ActionConverter(self.recipe.action_map, self.environment_action_space)
        if self.converter.agent_space != self.action_space:
            raise ValueError(f"action_space {self.action_space}")
        self._model = None

    @classmethod
    @check_arguments
    def load(
        cls,
        path: str | Path,
        *,
        revision: str | None = None,
        encoder: str | Path | None = None,
    ) -> Agent:
        """Read an agent's folder. No code in it is run; agent.zip is not opened.

        Args:
            path: Folder that `train_agent` wrote, or the id "user/name" of an agent on the Hugging
                Face hub, as `Encoder.load` takes it.
            revision: Branch, tag or commit of an id; None: the branch "main".
            encoder: Folder of another model through which the agent shall observe, with the same
                frames and the same number of latents: a model that `train_vae` trained on from
                the agent's own.

        Raises:
            FolderError: if the folder is missing, damaged or of another kind, or the repository of
                an id cannot be read.
            ConfigError: if the other model has other frames, or more or fewer latents, or a folder
                has a revision.
            MissingPackageError: if the library of the agent's algorithm is not installed.
        """
        path = local_folder(path, revision, HUB_FILES)
        config = read_agent_config(path)
        try:
            reading.check_inside(path, path / "encoder")
            own = Encoder.load(path / "encoder")
            agent = cls(path, config, own)
            space = agent.make_pipeline(1).observation_space
        except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise FolderError.damaged(
                path / "config.json", "settings in their range", error
            ) from error
        if own.digest != config["encoder"]:
            raise FolderError.damaged(
                path / "encoder", f"the encoder {config['encoder']}", own.digest
            )
        agent._model = read_policy(path, agent.digest, agent.recipe, space, agent.action_space)
        if encoder is not None:
            agent.encoder = replace_encoder(own, Encoder.load(encoder))
        return agent

    @classmethod
    @check_arguments
    def from_sb3(
        cls,
        model: BaseAlgorithm,
        encoder: str | Path | Encoder,
        recipe: Recipe,
        *,
        out: str | Path,
        env: Any,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> Agent:
        """Make an agent of a model that SB3 trained on latents, and write the agent's folder.

        Args:
            model: The model, as trained, or as SB3's own `load` returns it.
            encoder: Model folder of the VAE through which it observed. The agent keeps a copy and
                its digest, which is checked whenever the agent is loaded.
            recipe: What the model observed, and its algorithm and policy_kwargs.
            out: Folder of the agent.
            env: The environment, as `train_agent` takes it.
            env_kwargs: Keyword arguments of the environment.

        Raises:
            ConfigError: if the model does not fit the recipe, the environment or the encoder.
            FolderError: if the encoder is damaged, or there is something at `out`.
        """
        encoder = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)
        path = output_path(out)
        adopt_model(model, encoder, recipe, EnvSource.of(env, env_kwargs), path)
        return cls.load(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (str(self.path), str(self.encoder.path)))

    def __repr__(self) -> str:
        return f"Agent({str(self.path)!r}, {self.recipe.algorithm} in {self.env_id})"

    def _repr_html_(self) -> str:
        return agent_html(self.path, self.recipe, self.env_id, self.seed, self.encoder)

    def env_source(
        self,
        env: Any = None,
        wrappers: Sequence[Wrapper] = (),
        max_episode_steps: int | None = None,
    ) -> EnvSource:
        """The environment in which the agent acts.

        Args:
            env: The environment, as `train_agent` takes it; None: the one of the training.
            wrappers: Wrappers around it.
            max_episode_steps: Number of environment steps after which an episode is truncated;
                None: as in training.

        Raises:
            ConfigError: if the training was given an environment that has no id, or wrappers, and
                none is given here.
        """
        given = isinstance(env, gym.Env) or is_vector_env(env)
        limit = self.max_episode_steps if max_episode_steps is None else max_episode_steps
        if env is None and not wrappers:
            call = "evaluate_agent(agent, env=...)"
            kwargs, environment = self.env_kwargs, self._environment
            return stored_source(self.env_id, kwargs, limit, environment, call)
        if is_vector_env(env):
            limit = max_episode_steps
        kwargs = {} if given else self.env_kwargs
        return EnvSource.of(self.env_id if env is None else env, kwargs, wrappers, limit)

    def make_venv(
        self,
        n_envs: int,
        *,
        env: EnvSource | None = None,
        engine: EngineName | None = None,
        workers: int | None = None,
    ) -> VecEnv:
        """Open the agent's environments as in training, without scaled rewards.

        Args:
            n_envs: Number of environments.
            env: The environment, from `env_source`; None: the one of the training.
            engine: Environment engine; None: the engine of the training.
            workers: Number of processes or threads; None: number of cores.
        """
        env = self.env_source() if env is None else env
        return open_latent_envs(
            env,
            self.encoder,
            self.recipe,
            n_envs,
            engine=engine or self.engine_for(env),
            workers=workers,
        )

    def engine_for(self, env: EnvSource) -> EngineName:
        """The engine of the training, for an environment that is opened by its id; else "auto"."""
        given = str(self.engine) == "vector"  # the training had environments that were open
        return self.engine if env.is_plain_id and not given else "auto"

    def make_pipeline(self, n_envs: int, *, raw: bool = False, seed: int = 0) -> LatentPipeline:
        """Create the pipeline from images to the agent's observations.

        Args:
            n_envs: Number of environments.
            raw: Whether the images are raw, instead of frames of the encoder's FrameSpec.
            seed: Seed of the sampled latents, if the recipe's code is "sample".
        """
        spec = self.encoder.spec
        shape = self.encoder.observation_shape if raw else spec.shape
        space: gym.Space[Any] = ConvertedImages(shape)
        if self.extras_space is not None:
            space = gym.spaces.Dict({str(self.pixels.key): space, **self.extras_space.spaces})
        return LatentPipeline(
            self.encoder,
            space,
            self.action_space,
            n_envs,
            observation_config(self.recipe, self.pixels.key, space),
            applied=None if raw else spec,
            seed=seed,
        )

    @property
    def fields(self) -> ObservationFields:
        """Layout of an observation."""
        return self.make_pipeline(1).fields

    @property
    def goal_sources(self) -> dict[str, PixelSource]:
        """Where the goals are that the agent observes beside its image, by their keys."""
        return self.make_pipeline(1, raw=True).goal_sources

    @property
    def observes_extras(self) -> bool:
        """Whether the agent observes other entries of a Dict observation than the image."""
        return self.extras_space is not None

    def raw_observations(self, images: UInt8Array, extras: dict[str, Any] | None) -> Any:
        """Join images (N, h, w, c) and extras to observations for `make_pipeline`.

        Extras that the agent does not observe are left out.
        """
        if self.extras_space is None or extras is None:
            return images
        return {**extras, str(self.pixels.key): images}

    def describe(self) -> dict[str, Any]:
        """Return the digests of policy and encoder, for the header of a dataset."""
        return {"kind": "agent", "policy": self.digest, "encoder": self.encoder.digest}

    def start(self, context: PolicyContext) -> ActFunction:
        """Return a function that samples the agent's actions while frames are collected.

        Raises:
            ConfigError: if frames, frame skip or actions differ from those of the training.
        """
        return start_collecting(self, context)


def _reload(path: str, encoder: str) -> Agent:
    return Agent.load(Path(path), encoder=Path(encoder))
