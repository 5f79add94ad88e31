"""train_agent: trains an SB3 agent on the latents of an environment; a training can be resumed.

During training, FOLDER.partial holds progress.jsonl, TensorBoard's files and the last checkpoint.
At the end the agent's files are added and the folder is renamed to FOLDER.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from rl_vae.agents.agent import Agent
from rl_vae.agents.code_watch import CodeWatch
from rl_vae.agents.environments import Environments, describe_spaces
from rl_vae.agents.folder import save_agent
from rl_vae.agents.learn import learn
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.refresh import EncoderRefresh, EncoderTrainer, check_refresh
from rl_vae.agents.selection import Keep, Selection, describe_kept
from rl_vae.agents.trained import TrainedAgent, read_trained
from rl_vae.agents.training_inputs import describe_run, print_choices, start_algorithm
from rl_vae.agents.training_seeds import train_seeds
from rl_vae.constraints import Range, check_arguments
from rl_vae.envs.registry import EngineName
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.envs.source import EnvSource, Wrapper
from rl_vae.errors import FolderError
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import read_model_files
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.outputs import output_path, partial_folder
from rl_vae.system.signals import close_at_sigterm
from rl_vae.trackers.base import TrackedRun
from rl_vae.trackers.registry import TrackerName, check_trackers


@check_arguments
def train_agent(
    env: Any,
    encoder: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    seed: Annotated[int, Range(low=0, high=FIRST_EVALUATION_SEED - 1)] = 0,
    seeds: Annotated[int, Range(low=1, high=1000)] = 1,
    keep: Keep = "last",
    engine: EngineName = "auto",
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[Wrapper] = (),
    max_episode_steps: int | None = None,
    evaluations: Annotated[int, Range(low=0, high=1_000_000)] = 4,
    evaluation_episodes: Annotated[int, Range(low=1, high=1_000_000)] = 5,
    start: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    callback: BaseCallback | list[BaseCallback] | None = None,
    track: tuple[TrackerName, ...] = ("tensorboard",),
    refresh: EncoderTrainer | None = None,
) -> TrainedAgent:
    """Train an agent on latents and write its folder, or resume an interrupted training.

    Args:
        env: The environment, as in `collect_frames`: an id, an EnvSpec, a function that makes an
            environment, or an environment or vector environment, which is not closed. Then the
            recipe's n_envs is the number of environments that are given.
        encoder: The model folder.
        out: The agent's folder. A finished agent with the same settings is returned unchanged; an
            interrupted training (FOLDER.partial) continues from its last checkpoint.
        recipe: The recipe. Its `pixels`, `image_key` and `extras` say which parts of an observation
            the agent observes.
        seed: Seed of the policy's weights, of its noise and of the environments. It is below
            2^30: larger seeds are for evaluations.
        seeds: Number of trainings with the seeds `seed`, `seed` + 1 and so on, one after the
            other. The agent is that of the training with the best check; steps and seconds are
            those of all trainings.
        keep: Policy that becomes the agent: "last", the one at the end of the training, or "best",
            the one with the highest mean return in a check. Checks are the evaluations; the
            agent's provenance says which policy was kept, and its check. That return is the
            highest of several: expect less from `evaluate_agent`.
        engine: Environment engine, as in `make_engine`.
        env_kwargs: Keyword arguments of the environment.
        wrappers: Wrappers around each environment, the innermost first.
        max_episode_steps: Number of environment steps after which an episode is truncated; None:
            as the environment has it.
        evaluations: Number of evaluations without noise, at equal distances, the last one at the
            end of the training. With 0 there is one at the end if checks decide. They have
            environments of their own, or those of the training if they were given, or if the
            recipe's n_envs is 1 and no second environment can be opened.
        evaluation_episodes: Number of episodes of such an evaluation, the same for all. Their
            seeds are used neither in training nor by `evaluate_agent` (`check_seeds`).
        start: Folder of an agent whose weights are trained further: with the same algorithm,
            networks and observations; its encoder may differ. Noise on a schedule continues from
            its last value.
        workers: Number of processes or threads of the environments; None: number of cores. The
            agent does not depend on it.
        progress: Whether to print the engine and where the pixels come from, and to show a
            progress bar if there is a terminal.
        callback: Callbacks of SB3. One that returns False ends the training, and the agent is
            saved as it is then. A training that is resumed begins with the callbacks that it is
            given, in the state in which it is given them. The folder does not name them.
        track: Trackers that get curves, settings and pictures, as in `train_vae`.
        refresh: When and how the VAE is trained on with what the agent observes, an
            `rl_vae.Refresh`; None: never. The agent keeps the encoder that its policy was trained
            with last.

    During the training the frames are scored: a `DriftWarning` says that they differ from those
    that the encoder was trained with.

    Raises:
        MissingPackageError: if the package of a tracker, or of the algorithm, is not installed.
        ConfigError: if an argument is out of range, the recipe does not fit the environment's
            actions or its own algorithm, or the encoder cannot be refreshed.
        FolderError: if the encoder is damaged, or the folder contains something else.
        EnvironmentFault: if the environment cannot be opened.
        ObservationError: if the environment's images do not fit the encoder.
    """
    out = output_path(out)
    check_trackers(track)
    loaded = Encoder.load(encoder)
    source = EnvSource.of(env, env_kwargs, wrappers, max_episode_steps)
    n_envs = source.num_envs or recipe.n_envs
    training = _Training(
        Environments(source, replace(recipe, n_envs=n_envs), engine, workers),
        loaded,
        # Kept in memory: the model folder may be trained further, or deleted, meanwhile.
        read_model_files(loaded.path, loaded.digest),
        None if start is None else Agent.load(start),
        Selection(keep, tuple(range(seed, seed + seeds)), evaluations, evaluation_episodes),
        progress,
        [callback] if isinstance(callback, BaseCallback) else callback or (),
        out,
        track,
        refresh,
    )
    if refresh is not None:
        check_refresh(refresh, source, loaded)
    if seeds == 1:
        return training.train(out, seed)
    return train_seeds(training.train, training.describe(seed), out, training.selection.seeds)


class _Training(NamedTuple):
    """Inputs of a training, of one seed or of several."""

    envs: Environments
    encoder: Encoder
    encoder_files: Mapping[str, bytes]
    parent: Agent | None
    selection: Selection
    progress: bool
    callbacks: Sequence[BaseCallback]
    out: Path
    track: tuple[TrackerName, ...]
    refresh: EncoderTrainer | None

    def describe(self, seed: int) -> dict[str, Any]:
        """Settings and inputs as JSON values; a resumed training must have the same."""
        run = describe_run(self.envs, self.encoder, seed, self.parent)
        if self.refresh is not None:
            run["refresh"] = {**self.refresh.describe(), "encoder": self.encoder.digest}
        return {**run, **self.selection.to_dict()}

    def train(self, out: Path, seed: int) -> TrainedAgent:
        """Train with one seed into a folder, or resume this training, or return its result."""
        envs, recipe = self.envs, self.envs.recipe
        unfinished, run = partial_folder(out), self.describe(seed)
        if out.exists():
            return read_trained(out, run)
        described_folder.check_run(unfinished, run, FolderError)
        training: dict[str, Any] = {"seed": seed, "reward_scale": recipe.reward_scale}
        with (
            close_at_sigterm(),
            closing(envs.open(self.encoder, recipe.n_envs, **training)) as venv,
        ):
            # Nothing is written before environments and algorithm have accepted the recipe.
            spaces = describe_spaces(venv)
            model = start_algorithm(recipe, venv, seed, self.parent)
            files.make_folder(unfinished)
            with files.disk_errors(unfinished), locks.locked(unfinished, FolderError):
                strict_json.write_json(unfinished / "run.json", run)
                if self.progress:
                    print_choices(envs, self.encoder, spaces)
                self._learn(out, seed, model, venv, run, spaces)
                # Renamed before checkpoints are deleted: a kill in between loses nothing.
                files.rename_folder(unfinished, out)
        return read_trained(out, run)

    def _learn(
        self,
        out: Path,
        seed: int,
        model: BaseAlgorithm,
        venv: VecLatent,
        run: dict[str, Any],
        spaces: dict[str, Any],
    ) -> None:
        """Train the algorithm and write the agent.

        Args:
            out: The agent's folder.
            seed: Seed of the training.
            model: The algorithm before its first step.
            venv: Its environments.
            run: Settings and inputs of the training.
            spaces: Spaces of the agent, for config.json.
        """
        unfinished, selection, recipe = partial_folder(out), self.selection, self.envs.recipe
        encoder = (self.encoder, self.encoder_files)
        config = {**run, **spaces}
        refresh = EncoderRefresh(self.refresh, unfinished, *encoder, self.envs, venv, config)
        watch = CodeWatch(venv, recipe.total_steps)
        learned = learn(
            model,
            recipe,
            TrackedRun(self._name(out), self.out.parent, unfinished, run),
            refresh.open_venv,
            seed=seed,
            evaluations=selection.evaluations,
            evaluation_episodes=selection.episodes,
            share=self.envs.source.num_envs is not None,
            progress=self.progress,
            keep=selection.keep,
            final_check=selection.by_checks,
            callbacks=(watch, *self.callbacks),
            track=self.track,
            refresh=refresh,
        )
        # Describe the policy, with the encoder that it was trained with
        result: dict[str, Any] = {"steps": model.num_timesteps, "seconds": learned.seconds}
        chosen, number = learned.chosen, refresh.number
        if chosen is not None and selection.by_checks:
            result |= describe_kept(selection, seed, chosen.steps, chosen.mean_return, **result)
        if chosen is not None:
            result["evaluation"], number = chosen.returns, chosen.refresh
        if watch.drift is not None:
            result["drift"] = watch.drift
        config = {**config, **refresh.describe(number), **result}
        save_agent(unfinished, model, refresh.files_of(number), config)

    def _name(self, out: Path) -> str:
        """Name of one training in trackers."""
        return out.name if out == self.out else f"{self.out.name}-{out.name}"
