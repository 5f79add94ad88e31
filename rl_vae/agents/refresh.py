"""EncoderRefresh: the encoders of a training whose VAE is trained on meanwhile.

FOLDER.partial/refresh-N is made at the point N, after N times `every` decisions:

    agent    the agent at this point
    frames   dataset that it collected
    model    the encoder from here on

What exists there is complete. A checkpoint is written before each point, so an interrupted training
goes on at the point where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_vae.agents.agent import Agent
from rl_vae.agents.environments import Environments, find_pixel_options
from rl_vae.agents.folder import read_agent_config, save_agent
from rl_vae.agents.torch_threads import torch_threads
from rl_vae.data.collect import collect_frames
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import options_like
from rl_vae.envs.seeds import training_seeds
from rl_vae.envs.source import EnvSource
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import read_model_files
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.system import files
from rl_vae.system.outputs import partial_folder


@runtime_checkable
class EncoderTrainer(Protocol):
    """What `train_agent` asks of `rl_vae.Refresh`, so that agents need no training of VAEs."""

    @property
    def every(self) -> int:
        """Number of decisions between two points."""

    @property
    def frames(self) -> int:
        """Number of frames that the agent collects at a point."""

    def describe(self) -> dict[str, Any]:
        """What decides the result, as JSON values."""

    def check(self, encoder: Path) -> None:
        """Raise an RlVaeError if a model cannot be trained on."""

    def train(self, start: Path, seen: Sequence[Path], out: Path) -> None:
        """Train a model on with datasets into a folder, or go on if this was interrupted."""


class EncoderRefresh:
    """The encoders of one training, and the points at which there is a new one.

    Attributes:
        encoder: The current encoder.
        number: Number of the last point; 0 before the first one.

    Args:
        trainer: Trains the encoder on; None: the first encoder stays.
        folder: Folder of the unfinished training.
        encoder: The first encoder.
        encoder_files: Content of each file of the first encoder, by name.
        envs: Environments.
        venv: Open environments of the training.
        config: Run and spaces of the training, for the config.json of an agent.
    """

    def __init__(
        self,
        trainer: EncoderTrainer | None,
        folder: Path,
        encoder: Encoder,
        encoder_files: Mapping[str, bytes],
        envs: Environments,
        venv: VecLatent,
        config: Mapping[str, Any],
    ) -> None:
        self._trainer, self._folder, self._envs, self._venv = trainer, folder, envs, venv
        self._first_files, self._config = encoder_files, config
        self._threads = torch.get_num_threads()
        self.encoder, self.number = encoder, 0

    def open_venv(self, n_envs: int) -> VecLatent:
        """Open environments for an evaluation through the current encoder."""
        return self._envs.open(self.encoder, n_envs)

    def resume(self, model: BaseAlgorithm) -> None:
        """Take the encoder that an algorithm had when its checkpoint was written."""
        for number in range(self._points(model.num_timesteps), 0, -1):
            if (path := self._path(number) / "model").is_dir():
                return self._take(number, Encoder.load(path), model)

    def is_due(self, steps: int) -> bool:
        """Whether the encoder is to be trained on after a number of decisions."""
        return self._points(steps) > self.number

    def run(self, model: BaseAlgorithm, seconds: float) -> None:
        """Train the encoder on, and let the algorithm observe through the new one.

        A checkpoint of this moment must exist. The environments must be reset afterwards.

        Args:
            model: The algorithm.
            seconds: Training time so far.
        """
        assert self._trainer is not None
        number = self._points(model.num_timesteps)
        folder = self._path(number)
        self._save_agent(folder / "agent", model, seconds)
        with torch_threads(self._threads):
            self._collect(folder, number)
            seen = [self._path(each) / "frames" for each in range(1, number + 1)]
            self._trainer.train(
                folder / "agent" / "encoder",
                [path for path in seen if path.is_dir()],
                folder / "model",
            )
        self._take(number, Encoder.load(folder / "model"), model)

    def files_of(self, number: int) -> Mapping[str, bytes]:
        """Content of each file of the encoder after a point, by name."""
        if number == 0:
            return self._first_files
        path = self._path(number) / "model"
        return read_model_files(path, Encoder.load(path, lazy=True).digest)

    def describe(self, number: int) -> dict[str, Any]:
        """Fields of an agent's description, if the encoder is the one after a point.

        "refreshes" has the number of decisions before each point up to this one, and the digest of
        the encoder from there on.
        """
        if self._trainer is None:
            return {}
        folders = [self._path(each) for each in range(1, number + 1)]
        points = [
            {
                "steps": read_agent_config(folder / "agent")["steps"],
                "encoder": Encoder.load(folder / "model", lazy=True).digest,
            }
            for folder in folders
            if folder.is_dir()
        ]
        last = points[-1]["encoder"] if points else self._config["encoder"]
        return {"encoder": last, "refreshes": points}

    def _points(self, steps: int) -> int:
        """Number of the last point up to a number of decisions; the end is none."""
        if self._trainer is None:
            return 0
        last = (self._envs.recipe.total_steps - 1) // self._trainer.every
        return min(steps // self._trainer.every, last)

    def _path(self, number: int) -> Path:
        return self._folder / f"refresh-{number}"

    def _take(self, number: int, encoder: Encoder, model: BaseAlgorithm) -> None:
        self.number, self.encoder = number, encoder
        self._venv.observe_through(encoder)
        space = self._venv.observation_space  # it knows its encoder, and goes into agent.zip
        model.observation_space = model.policy.observation_space = space

    def _save_agent(self, out: Path, model: BaseAlgorithm, seconds: float) -> None:
        if out.is_dir():
            return
        unfinished = partial_folder(out)
        files.make_folder(unfinished)
        taken = {"steps": model.num_timesteps, "seconds": seconds}
        config = {**self._config, **self.describe(self.number), **taken}
        save_agent(unfinished, model, self.files_of(self.number), config)
        files.rename_folder(unfinished, out)

    def _collect(self, folder: Path, number: int) -> None:
        """Collect the frames of a point with its agent."""
        assert self._trainer is not None
        source, recipe, engine, workers = self._envs
        options = find_pixel_options(recipe, self.encoder)
        if not isinstance(options, PixelOptions):
            kind = {"pixels": options.pixels, "image_key": options.key}
            options = PixelOptions() if options.is_plain else options_like(options, **kind)
        agent = Agent.load(folder / "agent")
        collect_frames(
            source,
            folder / "frames",
            n_frames=self._trainer.frames,
            spec=self.encoder.spec,
            policy=agent,
            seed=training_seeds(1, agent.seed, number)[0],
            engine=engine,
            workers=workers,
            frame_skip=recipe.frame_skip,
            progress=False,
            **asdict(options),
        )


def check_refresh(trainer: EncoderTrainer, source: EnvSource, encoder: Encoder) -> None:
    """Check before a training that its encoder can be refreshed.

    Raises:
        RlVaeError: as `EncoderTrainer.check`.
        ConfigError: if the environments are given open, so that the agent cannot collect in others.
    """
    problem = "A refresh needs environments of its own, in which the agent collects frames."
    source.require_closed(problem, ", or leave refresh out")
    trainer.check(encoder.path)
