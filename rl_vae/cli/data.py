"""Commands that make datasets: collect."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from rl_vae.cli.command import CommandWithJobs, EnvId, json_object
from rl_vae.cli.flags import call, flags
from rl_vae.constraints import Range
from rl_vae.data.collect import collect_frames
from rl_vae.data.coverage import coverage
from rl_vae.data.function_policy import as_policy
from rl_vae.data.policies import CollectionPolicy, Correlated, Mixture, Uniform
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec
from rl_vae.system.user_code import load_name


@dataclass(kw_only=True)
class Collect(CommandWithJobs):
    """The same command goes on with an interrupted collection."""

    env_id: EnvId
    """Gymnasium id, such as CarRacing-v3."""
    out: Path
    """Folder of the dataset."""
    collecting: Annotated[
        Any,
        flags(
            collect_frames,
            only=(
                "n_frames",
                "seed",
                "engine",
                "workers",
                "max_episode_steps",
                "n_envs",
                "reuse_envs",
                "timeout",
                "restarts",
            ),
            names={"n_frames": "frames"},
            n_frames=10_000,
        ),
    ]
    pixels: Annotated[Any, flags(PixelOptions)]
    spec: Annotated[Any, flags(FrameSpec)]
    policy: str = "correlated"
    """Policy that acts: correlated, uniform, the folder of an agent, FILE.py:NAME for a function
    NAME(observation, info) of your own that returns an action (the file is run), or sb3:FILE.zip
    for a model that Stable-Baselines3 saved (see trust_zip)."""
    trust_zip: bool = False
    """Load the file of the policy sb3:FILE.zip. Loading unpickles it, which runs any code that the
    file holds: only for files that you made yourself, or from people you trust."""
    noise: Annotated[Any, flags(Correlated)]
    random_share: Annotated[float, Range(low=0, high=1)] = 0.0
    """Share of episodes with uniform actions instead."""
    frame_skip: Annotated[int, Range(low=1)] | None = None
    """Environment steps for which each action is held. None: 1, or the agent's."""
    env_kwargs: str = "{}"
    """JSON object of keyword arguments for the environment."""

    def run(self) -> None:
        """Collect, and print what the dataset holds."""
        spec, frame_skip = call(FrameSpec, self.spec), self.frame_skip
        # Make the policy; an agent also gives its FrameSpec and its frame skip
        policy: CollectionPolicy
        if self.policy == "uniform":
            policy = Uniform()
        elif self.policy == "correlated":
            policy = call(Correlated, self.noise)
        elif self.policy.startswith("sb3:"):
            policy = _load_zip(self.policy.removeprefix("sb3:"), self.trust_zip)
        elif ".py:" in self.policy:
            file, _, name = self.policy.rpartition(":")
            function = load_name(file, name, "a function policy(observation, info) -> action")
            policy = as_policy(function)
        else:
            agent = _load_agent(self.policy)
            policy = agent
            frame_skip = agent.recipe.frame_skip if frame_skip is None else frame_skip
            spec = agent.encoder.spec if spec == FrameSpec() else spec
        if self.random_share:
            policy = Mixture((policy, Uniform()), (1 - self.random_share, self.random_share))
        # Collect
        with self.opened_executor() as executor:
            dataset = call(
                collect_frames,
                self.collecting,
                env=self.env_id,
                out=self.out,
                spec=spec,
                policy=policy,
                frame_skip=frame_skip or 1,
                env_kwargs=json_object(self.env_kwargs),
                executor=executor,
                **asdict(call(PixelOptions, self.pixels)),
            )
        # Describe the frames
        content = coverage(dataset)
        print(
            f"{dataset.path}: {content.frames:,} frames by the engine {dataset.header.engine}, "
            f"{content.episodes:,} episodes of {content.mean_length:.0f} frames on average, "
            f"{content.near_duplicates:.1%} near-duplicates, "
            f"{len(dataset.header.factor_names)} factors. Digest {dataset.digest[:16]}"
        )


def _load_zip(file: str, trust: bool) -> CollectionPolicy:
    """The model in a zip; loads Stable-Baselines3 only if it is needed."""
    from rl_vae.agents.zip_policy import ZipPolicy

    return ZipPolicy(file, trust=trust)


def _load_agent(folder: str) -> Any:
    """The agent in a folder; loads Stable-Baselines3 only if it is needed."""
    if not any(Path(path).exists() for path in (folder, f"{folder}.partial")):
        raise ConfigError(
            "There is no such policy.",
            expected="correlated, uniform, the folder of an agent, FILE.py:NAME or sb3:FILE.zip",
            got=repr(folder),
            remedy="check the spelling",
        )
    from rl_vae.agents.agent import Agent

    return Agent.load(folder)
