"""Refresh: during the training of an agent its VAE is trained on with what the agent observes.

`train_agent` collects the frames and says when; agents do not need this package otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rl_vae.constraints import Range, check_fields
from rl_vae.data.concat import ConcatDataset
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.device import check_device
from rl_vae.models.folder import ModelFolder, read_model
from rl_vae.training.config import TrainConfig
from rl_vae.training.train import train_vae


@dataclass(frozen=True)
class Refresh:
    """When and how a VAE is trained on during the training of an agent.

    At each point the agent collects frames, with the noise of its training. The VAE is trained on
    with them, with the frames of earlier points and with those of `keep`, all together, from its
    own weights (`train_vae(..., start=...)`). Objective and other settings are those of the VAE's
    own training, with a learning rate of 0.0003. So the codes of frames that it knew stay nearly
    the same, and the agent goes on with its policy, its optimizer and its replay buffer, on the
    codes of the new encoder.

    Raises:
        ConfigError: if a value is out of its range.
    """

    every: Annotated[int, Range(low=1)]
    """Number of decisions of the agent between two refreshes of the VAE. There is none at the end
    of the training."""
    steps: Annotated[int, Range(low=1)] = 1000
    """Number of updates of the VAE in a refresh."""
    frames: Annotated[int, Range(low=16)] = 10_000
    """Number of frames that the agent collects for a refresh. They are no steps of its training."""
    keep: tuple[str | Path, ...] = ()
    """Folders of datasets that stay in the training of the VAE, such as the one that it was trained
    on first: the codes of their frames stay nearly the same."""

    def __post_init__(self) -> None:
        check_fields(self)

    def describe(self) -> dict[str, Any]:
        """What decides the result, as JSON values.

        Raises:
            DatasetError: if a dataset is missing or damaged.
        """
        kept = [FrameDataset.open(path).digest for path in self.keep]
        return {"every": self.every, "steps": self.steps, "frames": self.frames, "keep": kept}

    def check(self, encoder: Path) -> None:
        """Check before a training that a model can be refreshed.

        Raises:
            ConfigError: if it was not trained by `train_vae`, its objective or network is a user's,
                or a kept dataset has other frames.
            DatasetError: if a dataset is missing, incomplete or damaged.
            FolderError: if the model is damaged.
        """
        model = read_model(encoder)
        check_device(self._config(model).device)
        model.build()
        for path in self.keep:
            dataset = FrameDataset.open(path)
            dataset.require_complete()
            expected = (model.spec, model.observation_shape)
            got = (dataset.spec, tuple(dataset.header.raw_shape))
            if got != expected:
                raise ConfigError(
                    f"The frames of {path} differ from those of {encoder}.",
                    expected=f"{expected[0]} of observations {expected[1]}",
                    got=f"{got[0]} of observations {got[1]}",
                    remedy="keep the dataset that the model was trained on",
                )

    def train(self, start: Path, seen: Sequence[Path], out: Path) -> None:
        """Train a model on, or go on with that training if it was interrupted.

        Args:
            start: Model folder to start from.
            seen: Folders of the datasets that the agent collected, the newest one last.
            out: Folder of the new model.
        """
        frames = ConcatDataset([FrameDataset.open(path) for path in (*self.keep, *seen)])
        config = self._config(read_model(start))
        train_vae(frames, out, train_config=config, start=start, progress=False, track=())

    def _config(self, model: ModelFolder) -> TrainConfig:
        """Settings of a model's own training, with the number of updates of a refresh.

        Raises:
            ConfigError: if it was not trained by `train_vae`, or with a user's objective.
            FolderError: if the settings are damaged.
        """
        stored = model.provenance.get("train")
        if stored is None:
            raise ConfigError(
                f"The model {model.path} cannot be refreshed.",
                expected="a model that train_vae trained",
                got="a model without the settings of a training",
                remedy="leave refresh out, or train a model",
            )
        try:
            config = TrainConfig.from_dict(stored)
        except ConfigError:  # the folder is intact
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            path, expected = model.path / "config.json", "the settings of a training"
            raise FolderError.damaged(path, expected, error) from error
        return replace(config, epochs=None, steps=self.steps, learning_rate=None)
