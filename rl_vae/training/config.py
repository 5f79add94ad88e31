"""TrainConfig: the settings of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError
from rl_vae.objectives.base import Objective
from rl_vae.objectives.beta import Beta
from rl_vae.objectives.registry import check_objective, objective_from_dict
from rl_vae.training.heads import Heads
from rl_vae.training.precision import Compute

DEFAULT_EPOCHS = 10
"""Number of epochs if neither epochs nor steps are given."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training.

    Raises:
        ConfigError: if a setting has the wrong type or is out of its range.
    """

    objective: Objective = field(default_factory=Beta)
    """Loss that is minimised, such as `Beta(4.0)`, `BetaTC()` or `FactorVAE()`."""
    epochs: Annotated[int, Range(low=1)] | None = None
    """Number of passes over the training frames. Default: 10, if steps is not given either."""
    steps: Annotated[int, Range(low=1)] | None = None
    """Number of updates, instead of epochs."""
    batch_size: Annotated[int, Range(low=2)] = 64
    """Number of frames in one update. Under torchrun: in one update of each process."""
    learning_rate: Annotated[float, Range(above=0)] | None = None
    """Largest learning rate of Adam; it falls to 0 over the second half of the updates. None:
    0.001, or 0.0003 if the training starts from the weights of a model."""
    lr_warm_up: Annotated[float, Range(low=0, high=0.5)] = 0.05
    """Share of the updates over which the learning rate rises from 0. Sprites, small white shapes
    on black, need about 500 updates of warm-up; with fewer the posterior collapses."""
    held_out: Annotated[float, Range(above=0, below=1)] = 0.1
    """Share of the frames, in whole episodes, that is only used to measure the model."""
    moving_weight: Annotated[
        float, Range(low=1, remedy="choose 1 for equal weights, 20 for small moving objects")
    ] = 1.0
    """Weight in the loss of a pixel that differs from its median, before the weights of a frame
    are divided by their mean. Larger values keep small objects such as Pong's ball. They
    do not help everywhere: with 20 the code of rl_vae/Sprites-v0 loses the target."""
    heads: Heads = field(default_factory=Heads)
    """Heads that predict reward and end from the code, such as `Heads(reward=30.0)`; off by
    default."""
    memory: Annotated[float, Range(above=0)] = 4.0
    """Largest memory for frames in GiB. A larger dataset is streamed in whole shards in random
    order, and its frames are shuffled within the shards that are in memory."""
    seed: Annotated[int, Range(low=0)] = 0
    """Seed of the weights, the noise, the order of the frames and the split."""
    compute: Compute = "fast"
    """"fast" (bfloat16 if the processor multiplies it, see `rl_vae.training.precision`) or
    "reference" (float32, layer by layer), to compare with. On the CPU of one machine the same
    settings give the same weights to the bit."""
    device: str = "cpu"
    """"cpu", or a torch device such as "cuda". On a GPU, "fast" replays whole updates as one CUDA
    graph (`rl_vae.training.cuda_graphs`), and frames that fit into `memory` lie on the GPU."""

    def __post_init__(self) -> None:
        check_objective(self.objective)
        check_fields(self)
        if self.epochs is not None and self.steps is not None:
            raise ConfigError(
                "Both epochs and steps are given.",
                expected="epochs or steps",
                got=f"epochs={self.epochs}, steps={self.steps}",
                remedy="leave one of the two out",
            )

    @property
    def peak_learning_rate(self) -> float:
        """The largest learning rate; the default is that of a training from random weights."""
        return 1e-3 if self.learning_rate is None else self.learning_rate

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values; heads that are off are left out."""
        values = {**asdict(self), "objective": self.objective.to_dict()}
        if not self.heads.on:
            del values["heads"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError: if the values do not describe a training.
            ConfigError: if a value is out of its range, or the objective is a user's.
        """
        objective, heads = objective_from_dict(values["objective"]), values.get("heads", {})
        return cls(**{**values, "objective": objective, "heads": Heads(**heads)})

    def total_steps(self, train_frames: int) -> int:
        """Number of updates of the whole run.

        Args:
            train_frames: Number of training frames.
        """
        if self.steps is not None:
            return self.steps
        return (self.epochs or DEFAULT_EPOCHS) * self.updates_per_epoch(train_frames)

    def updates_per_epoch(self, train_frames: int) -> int:
        """Number of updates of one epoch, one at least.

        Args:
            train_frames: Number of training frames.
        """
        return max(1, train_frames // self.batch_size)
