"""train_vae: one loop, resumable to the bit.

While it trains, FOLDER.partial holds everything: checkpoint.bin, best.safetensors, metrics.jsonl,
TensorBoard's files, pictures/. At the end the artifact is written beside them and the folder takes
its own name: a model folder that exists is whole.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from rl_vae.data.dataset import FrameDataset, Split
from rl_vae.data.streaming import Batches, Source, Stream, epoch_order, shards_at_once
from rl_vae.errors import ConfigError, FolderError, RlVaeError, TrainingError
from rl_vae.models import pictures
from rl_vae.models.device import check_device
from rl_vae.models.folder import ModelFolder, read_config, read_model, save_model
from rl_vae.models.statistics import measure_statistics
from rl_vae.models.vae import VAE, VAEConfig
from rl_vae.objectives.base import Objective
from rl_vae.objectives.beta import Beta
from rl_vae.objectives.discriminator import DISCRIMINATOR_BETAS
from rl_vae.objectives.registry import check_objective
from rl_vae.system import files
from rl_vae.training.checkpoint import NAMES as CHECKPOINTS
from rl_vae.training.checkpoint import State, load_checkpoint, save_checkpoint
from rl_vae.training.cuda_graphs import GraphedTraining, GraphRunner, enough_memory, to_device
from rl_vae.training.distributed import ALONE, ProcessGroup, init_process_group
from rl_vae.training.evaluate import (
    Alarm,
    HeldOut,
    beta_norm,
    check_beta,
    check_collapse,
    check_skipped,
    evaluate_vae,
)
from rl_vae.training.precision import Compute, Precision, choose_precision
from rl_vae.training.step import StepSettings, Update, update_weights

MOST_SKIPPED = 20
"""So many updates in a row without a finite loss end the training."""

_ONLY_WHILE_TRAINING = (
    *CHECKPOINTS,
    "best.safetensors",
    "run.json",
    ".lock",
)


@dataclass(frozen=True)
class TrainConfig:
    """How a VAE is trained.

    Raises:
        ConfigError: where a value is out of its range.
    """

    objective: Objective = field(default_factory=Beta)
    """What is minimised: Beta, Capacity, BetaTC, FactorVAE, Autoencoder, Denoising, Adversarial."""
    epochs: int | None = None
    """Passes over the training frames. With neither epochs nor steps: 10."""
    steps: int | None = None
    """Updates, instead of epochs."""
    batch_size: int = 64
    """Frames of one update; where torchrun started several processes, of one update in each."""
    learning_rate: float = 1e-3
    """Adam's, at its highest; it falls to 0 over the second half of the updates."""
    lr_warm_up: float = 0.05
    """Share of the updates over which the learning rate rises from 0. Sprites, small white things
    on black, need some 500 updates of it, or the posterior collapses."""
    held_out: float = 0.1
    """Share of frames, in whole episodes, that is never trained on."""
    moving_weight: float = 1.0
    """How much a pixel that differs from its usual value counts in the loss, against 1 for the
    others; weights then have mean 1 over a frame. For small things such as Pong's ball."""
    memory: float = 4.0
    """GiB of frames that are held at once. A larger dataset is streamed in whole shards, in a
    random order, and shuffled within as many as that holds."""
    seed: int = 0
    """Of the weights, the noise, the order of the frames and the split."""
    engine: Compute = "fast"
    """"fast" (bfloat16 where the processor multiplies it, see rl_vae.training.precision) or "reference"
    (float32, layer by layer), to compare with. Runs repeat to the bit on the same machine's CPU."""
    device: str = "cpu"
    """"cpu", or a torch device such as "cuda". There the fast engine replays whole updates as one
    CUDA graph (rl_vae.training.cuda_graphs), the frames lying on the device where `memory` holds them all."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ConfigError(
                "Both epochs and steps are given.",
                expected="one of them",
                got=f"epochs={self.epochs}, steps={self.steps}",
                remedy="leave one of them out",
            )
        numbers = {"epochs": 1, "steps": 1, "batch_size": 2, "seed": 0}
        for name, least in numbers.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and (not whole or value < least):
                raise ConfigError(
                    f"{name} is out of range.",
                    expected=f"a whole number from {least} up",
                    got=repr(value),
                    remedy=f"leave {name} out for the default",
                )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError(
                "learning_rate is out of range.",
                expected="a number above 0",
                got=repr(self.learning_rate),
                remedy="choose one such as 0.001",
            )
        if not (math.isfinite(self.memory) and self.memory > 0):
            raise ConfigError(
                "memory is out of range.",
                expected="a number of GiB above 0",
                got=repr(self.memory),
                remedy="leave memory out for the default",
            )
        if not (math.isfinite(self.moving_weight) and self.moving_weight >= 1):
            raise ConfigError(
                "moving_weight is out of range.",
                expected="a number from 1 up",
                got=repr(self.moving_weight),
                remedy="1 weighs all pixels the same, 20 brings out small moving things",
            )
        if self.engine not in get_args(Compute):
            raise ConfigError(
                "There is no such engine.",
                expected=" or ".join(get_args(Compute)),
                got=repr(self.engine),
                remedy="leave engine out for the default",
            )
        check_objective(self.objective)
        if not 0 <= self.lr_warm_up <= 0.5:
            raise ConfigError(
                "lr_warm_up is out of range.",
                expected="a share of the updates from 0 to 0.5",
                got=repr(self.lr_warm_up),
                remedy="leave lr_warm_up out for the default",
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(
                "held_out is out of range.",
                expected="a share between 0 and 1",
                got=repr(self.held_out),
                remedy="choose one such as 0.1",
            )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {**asdict(self), "objective": self.objective.to_dict()}

    def total_steps(self, train_frames: int) -> int:
        """Updates of the whole run on so many training frames."""
        per_epoch = max(1, train_frames // self.batch_size)
        return self.steps if self.steps is not None else (self.epochs or 10) * per_epoch


class Trained(NamedTuple):
    """What `train_vae` made."""

    path: Path
    """The artifact: give it to `Encoder.load` or to a wrapper."""
    held_out: HeldOut
    """Of the best epoch (of the last, beside a discriminator), whose weights the artifact holds."""
    steps: int
    seconds: float
    """Of training, over all sittings."""
    alarms: tuple[Alarm, ...]
    """Those that were raised, each once."""


def train_vae(
    dataset: FrameDataset,
    out: str | Path,
    vae_config: VAEConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    start: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train a VAE on a dataset and write it as an artifact, or go on with an interrupted run.

    After every epoch the held-out frames are measured and the state is saved; the artifact gets
    the weights of the epoch with the lowest held-out loss, or of the last one where a
    discriminator takes part in the loss. An update whose loss or gradient is not finite is left
    out and counted. Alarms are printed, and kept in metrics.jsonl and in the result.

    Processes that torchrun started train one model together (`rl_vae.training.distributed`): the first one
    writes, all return the same.

    Args:
        dataset: What `collect_frames` made; `ConcatDataset` makes one of several.
        out: The model's folder. A finished model of the same dataset and settings is returned as
            it is; an interrupted run (FOLDER.partial) goes on and ends as if it had not been.
        vae_config: What is trained.
        train_config: How.
        start: Folder of a model to go on from, instead of fresh weights: its codes change little
            where they were right, so that an agent can go on with the new ones. Its VAEConfig is
            taken over; beta does not rise again.
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        DatasetError: where the dataset is incomplete or damaged.
        ArtifactError: where the folder holds something else, or is in use.
        ConfigError: where `start` is of another kind, there is no such device, or processes are to
            train different things.
        TrainingError: where the loss stops being a number, or the folder cannot be written.
    """
    out, train_config = Path(out), train_config or TrainConfig()
    parent = None if start is None else read_model(start)
    if parent is not None:
        vae_config = _same_kind(parent, dataset, vae_config)
        objective: Any = train_config.objective
        if hasattr(objective, "warm_up"):  # it has learned to use its code
            train_config = replace(train_config, objective=replace(objective, warm_up=0.0))
    vae_config = vae_config or VAEConfig()
    train_config.objective.check_latent_dim(vae_config.latent_dim)
    check_device(train_config.device)
    dataset.require_complete()
    dataset.verify()
    team = init_process_group(train_config.device)
    whole = replace(train_config, batch_size=team.size * train_config.batch_size)
    training = train_in(out, dataset, vae_config, whole, parent, progress, team)
    (ended,) = [told for told in run_trainings({out.name: training}) if told is not None]
    if isinstance(ended.result, RlVaeError):
        raise ended.result
    return ended.result


Training = Generator[GraphedTraining, list[Update], Trained]
"""A training in work. On a CPU it makes its updates itself; on a GPU it asks for them."""


class Ended(NamedTuple):
    """A training that came to its end, and how."""

    name: str
    result: Trained | RlVaeError


def run_trainings(trainings: Mapping[str, Training]) -> Iterator[Ended | None]:
    """Run trainings to their ends; those on a GPU side by side, in one graph.

    Yields:
        A training that ended, as soon as it has; None after each round of updates.
    """
    answers: dict[str, Any] = dict.fromkeys(trainings)
    asking: dict[str, GraphedTraining] = {}
    captured: GraphRunner | None = None
    with ExitStack() as stack:
        for training in trainings.values():
            stack.enter_context(closing(training))
        while answers:
            for name, answer in answers.items():
                asking.pop(name, None)
                try:
                    with enough_memory():
                        asking[name] = trainings[name].send(answer)
                except StopIteration as end:
                    yield Ended(name, end.value)
                except RlVaeError as error:
                    yield Ended(name, error)
            if not asking:
                return
            if captured is None or captured.members != tuple(asking.values()):
                captured = None  # its memory is free for the next
                with enough_memory():
                    captured = GraphRunner(list(asking.values()))
            answers = dict(zip(asking, captured.run(), strict=True))
            yield None


def train_in(
    out: Path,
    dataset: FrameDataset,
    vae_config: VAEConfig,
    train_config: TrainConfig,
    parent: ModelFolder | None,
    progress: bool,
    team: ProcessGroup,
    frames: torch.Tensor | None = None,
) -> Training:
    """Train into a folder, or go on there, as `train_vae` does once all is checked.

    Args:
        out: The model's folder.
        dataset: What is trained on.
        vae_config: What is trained.
        train_config: How; batches are those of all processes together.
        parent: A model to go on from.
        progress: Whether to show a progress bar.
        team: The processes that train this model.
        frames: (N, H, W, C) uint8, all of the dataset's, where they are on the device already.
    """
    run = {
        "dataset": dataset.digest,
        "vae": vae_config.to_dict(),
        "train": train_config.to_dict(),
        "parent": None if parent is None else parent.digest,
    }
    team.agree({**run, "folder": out.name})
    if out.exists():
        return _finished(out, run)
    if shards_held(dataset, train_config) is not None:
        dataset = dataset.unmapped()
    split = dataset.split(train_config.held_out, train_config.seed)
    partial = out.with_name(out.name + ".partial")
    files.check_run(partial, run, FolderError)
    try:
        if team.is_main_process:
            partial.mkdir(parents=True, exist_ok=True)
        with files.locked(partial, FolderError) if team.is_main_process else nullcontext():
            if team.is_main_process:
                files.write_json(partial / "run.json", run)
                for left in partial.glob(".*.tmp*"):  # of a write that was killed
                    left.unlink()
            state = _fresh_state(vae_config, train_config, dataset, split, parent, team)
            load_checkpoint(partial, state)
            team.share(state.vae)
            held_out, alarms = yield from _train(
                dataset, split, partial, state, train_config, progress, team, frames
            )
            if team.is_main_process:
                best = _best(state, partial)
                _draw(best, dataset, split, held_out, partial / "pictures", train_config)
                save_model(
                    partial,
                    best,
                    dataset=dataset,
                    statistics=measure_statistics(best, dataset, split.train),
                    provenance={
                        **run,
                        "steps": state.step,
                        "seconds": state.seconds,
                        "held_out": held_out._asdict(),
                        "beta_norm": beta_norm(train_config.objective, best),
                        "skipped": state.skipped,
                        "arithmetic": _precision(train_config, state.vae)._asdict(),
                        "alarms": [alarm._asdict() for alarm in alarms],
                        "seed": train_config.seed,
                    },
                )
                files.rename_folder(partial, out)
                for name in _ONLY_WHILE_TRAINING:
                    (out / name).unlink(missing_ok=True)
            team.wait()
    except OSError as error:
        raise TrainingError(
            f"{partial} could not be written.",
            expected="a writable folder on a disk with room",
            got=str(error),
            remedy="make room, then run the same command again: it goes on where it stopped",
        ) from error
    return Trained(out, held_out, state.step, state.seconds, alarms)


def _same_kind(
    parent: ModelFolder, dataset: FrameDataset, vae_config: VAEConfig | None
) -> VAEConfig:
    """The VAEConfig of a model to go on from, where frames and settings are of its kind."""
    its = (parent.spec, parent.observation_shape, parent.vae_config)
    ours = (dataset.spec, tuple(dataset.header.raw_shape), vae_config or parent.vae_config)
    if ours != its:
        raise ConfigError(
            f"{parent.path} cannot go on with these frames or settings.",
            expected=f"{its[0]} of observations {its[1]}, {its[2]}",
            got=f"{ours[0]} of observations {ours[1]}, {ours[2]}",
            remedy="collect frames as its were, leave its settings out, or train a new one",
        )
    return parent.vae_config


def _fresh_state(
    vae_config: VAEConfig,
    config: TrainConfig,
    dataset: FrameDataset,
    split: Split,
    parent: ModelFolder | None,
    team: ProcessGroup = ALONE,
) -> State:
    objective, device = config.objective, team.device(config.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        vae = VAE(vae_config, dataset.spec.shape)
        discriminator = objective.build_discriminator(vae_config.latent_dim)
    if parent is not None:
        vae.load_state_dict(parent.weights)
    else:
        few = np.linspace(0, len(split.train) - 1, min(len(split.train), 2000)).astype(np.int64)
        vae.centre(dataset.frames(split.train[few]))
    if objective.deterministic:
        vae.still()
    _precision(config, vae).prepare(vae)
    noise = torch.Generator(device).manual_seed(config.seed)
    state = State(vae.to(device), _adam(vae, config), noise, discriminator)
    if discriminator is not None:
        state.discriminator_optimizer = _adam(
            discriminator.to(device), config, betas=DISCRIMINATOR_BETAS
        )
    return state


def _adam(module: nn.Module, config: TrainConfig, **more: Any) -> torch.optim.Adam:
    on_gpu = next(module.parameters()).is_cuda  # where its steps are captured
    return torch.optim.Adam(
        module.parameters(), lr=config.learning_rate, fused=True, capturable=on_gpu, **more
    )


def _precision(config: TrainConfig, vae: VAE) -> Precision:
    return choose_precision(config.engine, vae.config.network, config.device)


def _plan(
    dataset: FrameDataset,
    split: Split,
    state: State,
    config: TrainConfig,
    team: ProcessGroup = ALONE,
) -> StepSettings:
    usual = None
    if config.moving_weight > 1:
        usual = _usual(dataset, split).to(state.vae.device)
    return StepSettings(
        objective=config.objective,
        learning_rate=config.learning_rate,
        lr_warm_up=config.lr_warm_up,
        total=config.total_steps(len(split.train)),
        frames=len(split.train),
        precision=_precision(config, state.vae),
        moving_weight=config.moving_weight,
        usual=usual,
        team=team,
    )


def _captures(config: TrainConfig, team: ProcessGroup) -> bool:
    """Whether whole updates are captured; processes that train together gather in between."""
    on_gpu = torch.device(config.device).type == "cuda"
    return on_gpu and config.engine == "fast" and team.size == 1


def _usual(dataset: FrameDataset, split: Split) -> torch.Tensor:
    """(C, H, W) in [0, 1]: the median over 256 training frames."""
    few = np.linspace(0, len(split.train) - 1, min(len(split.train), 256)).astype(np.int64)
    median = np.median(dataset.frames(split.train[few]), axis=0).round().astype(np.uint8)
    return VAE.to_input(torch.from_numpy(median)[None])[0]


def _train(
    dataset: FrameDataset,
    split: Split,
    partial: Path,
    state: State,
    config: TrainConfig,
    progress: bool,
    team: ProcessGroup,
    frames: torch.Tensor | None,
) -> Generator[GraphedTraining, list[Update], tuple[HeldOut, tuple[Alarm, ...]]]:
    plan = _plan(dataset, split, state, config, team)
    total, objective = plan.total, config.objective
    metrics = partial / "metrics.jsonl"
    history = [record for record in files.read_lines(metrics) if record["step"] <= state.step]
    if team.is_main_process:  # later records are about to be made again
        lines = [files.canonical_json(record) + b"\n" for record in history]
        files.write_whole(metrics, b"".join(lines))
    at_once = shards_held(dataset, config)
    drawn = _batches(dataset, split.train, config, state.step, total, at_once)
    batches: Batches = (team.shard(indices) for indices in drawn)
    source: Source = dataset
    if at_once is not None:
        source = stream = Stream(dataset, at_once)
        batches = stream.prefetch(batches)
    per_epoch = max(1, len(split.train) // config.batch_size)
    size = min(config.batch_size, len(split.train))
    began = time.perf_counter() - state.seconds
    told: set[str] = set()
    _tell(check_beta(objective, state.vae), told, team)
    member = None
    if _captures(config, team):
        if frames is None and at_once is None:
            frames = to_device(dataset, state.vae.device)
        member = GraphedTraining(state, plan, size, frames)
    with (
        closing(batches),
        _board(partial, state.step) if team.is_main_process else nullcontext() as board,
        tqdm(
            total=total * size,
            initial=state.step * size,
            unit=" images",
            unit_scale=True,
            desc="training the VAE",
            disable=None if progress and team.is_main_process else True,
        ) as bar,
    ):
        while state.step < total:
            stop = min(total, state.step - state.step % per_epoch + per_epoch)
            updates: list[Update] = []  # of this epoch
            while state.step < stop:
                if member is None:
                    made = [_step(state, source, next(batches), plan)]
                else:
                    if not member.left:
                        member.load(batches, stop - state.step, source)
                    made = yield member
                updates += made
                bar.update(len(made) * size)
                recent = updates[-MOST_SKIPPED:]
                if len(recent) == MOST_SKIPPED and not any(update.finite for update in recent):
                    raise _not_finite(state.step, updates[-1].loss)
            held_out = evaluate_vae(
                state.vae,
                dataset,
                split.held_out,
                objective,
                config.batch_size,
                state.discriminator,
                plan.usual,
                config.moving_weight,
                frames,
            )
            good = [update for update in updates if update.finite]
            if not (math.isfinite(held_out.loss) and good):
                raise _not_finite(state.step, held_out.loss)
            state.seconds = time.perf_counter() - began
            alarms = [
                *check_beta(objective, state.vae),
                *check_collapse(held_out, state.step, total),
                *check_skipped(len(updates) - len(good)),
            ]
            _tell(alarms, told, team)
            record = {
                "step": state.step,
                "seconds": round(state.seconds, 3),
                "train_loss": sum(update.loss for update in good) / len(good),
                "gradient_norm": sum(update.gradient_norm for update in good) / len(good),
                "weight": plan.schedule(state.step),
                "beta_norm": beta_norm(objective, state.vae),
                "skipped": state.skipped,
                "alarms": [alarm._asdict() for alarm in alarms],
                **held_out._asdict(),
            }
            history.append(record)
            bar.set_postfix(held_out=f"{held_out.loss:.1f}", kl=f"{held_out.rate:.1f}")
            better = held_out.loss < state.best or state.discriminator is not None
            if better:
                state.best = held_out.loss
            if board is not None:
                _log(board, record, size, total)
                if better:
                    weights = safetensors.torch.save(_tensors(state.vae))
                    files.write_whole(partial / "best.safetensors", weights)
                    state.best_sha256 = files.digest(weights)
                files.append_line(metrics, record)
                save_checkpoint(partial, state)
    kept = history[-1]
    if state.discriminator is None:
        kept = min(history, key=lambda record: float(record["loss"]))
    raised = {alarm["name"]: Alarm(**alarm) for record in history for alarm in record["alarms"]}
    return HeldOut.of(kept), tuple(raised.values())


def _step(state: State, source: Source, indices: NDArray[np.int64], plan: StepSettings) -> Update:
    """One update with frames read now."""
    frames = torch.from_numpy(source.frames(indices)).to(state.vae.device)
    return update_weights(state, frames, plan)


def _tell(alarms: list[Alarm], told: set[str], team: ProcessGroup) -> None:
    """Print each alarm the first time that it is raised."""
    for alarm in alarms:
        if alarm.name not in told and team.is_main_process:
            told.add(alarm.name)
            tqdm.write(str(alarm))


def shards_held(dataset: FrameDataset, config: TrainConfig) -> int | None:
    """How many shards of a dataset `config.memory` holds at once; None where it holds all."""
    return shards_at_once(dataset, int(config.memory * 2**30))


def _batches(
    dataset: FrameDataset,
    indices: NDArray[np.int64],
    config: TrainConfig,
    first: int,
    total: int,
    shards: int | None,
) -> Batches:
    """Batches number `first` to `total`: each epoch is a permutation of its own seed."""
    size = min(config.batch_size, len(indices))
    per_epoch = len(indices) // size
    order, epoch_drawn = indices, -1
    for step in range(first, total):
        epoch, within = divmod(step, per_epoch)
        if epoch != epoch_drawn:
            order = epoch_order(dataset, indices, shards, config.seed, epoch)
            epoch_drawn = epoch
        # Sorted within the batch, so that memory maps are read forwards.
        yield np.sort(order[within * size : (within + 1) * size])


def _not_finite(step: int, value: float) -> TrainingError:
    return TrainingError(
        f"The loss stopped being a number in step {step}.",
        expected="a finite loss",
        got=repr(value),
        remedy="train with a lower learning_rate; the last checkpoint is kept",
    )


def _tensors(vae: VAE) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in vae.state_dict().items()}


def _board(partial: Path, step: int) -> SummaryWriter:
    return SummaryWriter(str(partial / "tensorboard"), purge_step=step + 1)


def _log(board: SummaryWriter, record: dict[str, Any], size: int, total: int) -> None:
    step = record["step"]
    pace = step / max(record["seconds"], 1e-3)  # updates a second
    shown = {**record, **record["terms"], "images_per_second": pace * size}
    shown["seconds_left"] = (total - step) / pace
    for name, value in shown.items():
        if isinstance(value, int | float) and name != "step":
            board.add_scalar(f"vae/{name}", value, step)
    kl = np.asarray(record["kl_per_dimension"])
    board.add_histogram("vae/kl_per_dimension", kl, record["step"])


def _best(state: State, partial: Path) -> VAE:
    path = partial / "best.safetensors"
    content = path.read_bytes()
    if files.digest(content) != state.best_sha256:
        raise TrainingError(
            f"{path} is damaged.",
            expected=f"SHA-256 {state.best_sha256}",
            got=files.digest(content),
            remedy=f"delete {partial} and train again: the best weights cannot be had from there",
        )
    return VAE.of(state.vae.config, state.vae.shape, safetensors.torch.load(content)).eval()


def _draw(
    vae: VAE,
    dataset: FrameDataset,
    split: Split,
    held_out: HeldOut,
    folder: Path,
    config: TrainConfig,
) -> None:
    """Pictures on frames that were not trained on."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    chosen = split.held_out[np.linspace(0, len(split.held_out) - 1, 12).astype(np.int64)]
    frames = dataset.frames(chosen)
    pictures.save_picture(folder / "reconstructions.png", pictures.reconstructions(vae, frames))
    noise = torch.Generator().manual_seed(config.seed)
    codes = config.objective.sample_prior(32, vae.config.latent_dim, noise)
    pictures.save_picture(folder / "samples.png", pictures.samples(vae, codes))
    informative = np.argsort(held_out.kl_per_dimension)[::-1][:8]
    pictures.save_picture(
        folder / "traversals.png",
        pictures.traversals(vae, frames[6], [int(latent) for latent in informative]),
    )


def _finished(out: Path, run: dict[str, Any]) -> Trained:
    """The model that is already there, where it is this one."""
    provenance = read_config(out)["provenance"]
    if any(provenance.get(name) != json.loads(files.canonical_json(run[name])) for name in run):
        raise FolderError(
            f"{out} holds another model.",
            expected="a folder that is free, or the same dataset and settings",
            got="a finished model of others",
            remedy="choose another folder, or delete that one",
        )
    held_out = HeldOut.of(provenance["held_out"])
    alarms = tuple(Alarm(**alarm) for alarm in provenance["alarms"])
    return Trained(out, held_out, provenance["steps"], provenance["seconds"], alarms)
