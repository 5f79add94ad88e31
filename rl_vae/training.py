"""train_vae: one loop, resumable to the bit.

While it trains, FOLDER.partial holds everything: checkpoint.pt, best.safetensors, metrics.jsonl,
TensorBoard's files, pictures/. At the end the artifact is written beside them and the folder takes
its own name: a model folder that exists is whole.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from rl_vae import files, pictures
from rl_vae.artifact import Artifact, read_artifact, read_config, save_artifact
from rl_vae.dataset import FrameDataset, Split
from rl_vae.errors import ArtifactError, ConfigError, TrainingError
from rl_vae.objectives import Beta
from rl_vae.reference import measure_reference
from rl_vae.vae import VAE, VAEConfig

ACTIVE_UNIT = 0.01
"""A latent is active where the variance of its mean over frames is above this (Burda et al. 2016,
section 3.4)."""


_ONLY_WHILE_TRAINING = (
    "checkpoint.pt",
    "checkpoint.old.pt",
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

    objective: Beta = field(default_factory=Beta)
    """What is minimised."""
    epochs: int | None = None
    """Passes over the training frames. With neither epochs nor steps: 10."""
    steps: int | None = None
    """Updates, instead of epochs."""
    batch_size: int = 64
    """Frames of one update."""
    learning_rate: float = 1e-3
    """Adam's: it rises over the first 5 % of the updates, falls to 0 over the second half."""
    held_out: float = 0.1
    """Share of frames, in whole episodes, that is never trained on."""
    seed: int = 0
    """Of the weights, the noise, the order of the frames and the split."""

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
        if not 0 < self.held_out < 1:
            raise ConfigError(
                "held_out is out of range.",
                expected="a share between 0 and 1",
                got=repr(self.held_out),
                remedy="choose one such as 0.1",
            )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        kind = type(self.objective).__name__
        return {**asdict(self), "objective": {"kind": kind, **asdict(self.objective)}}

    def total_steps(self, train_frames: int) -> int:
        """Updates of the whole run on so many training frames."""
        per_epoch = max(1, train_frames // self.batch_size)
        return self.steps if self.steps is not None else (self.epochs or 10) * per_epoch


class HeldOut(NamedTuple):
    """How a VAE does on frames that it never trained on. All in nats a frame."""

    loss: float
    distortion: float
    """-log p(x | z) summed over pixels."""
    rate: float
    """KL summed over latents."""
    mse: float
    """Mean squared error of the reconstruction from mu, per value, in units of 255."""
    active_units: int
    kl_per_dimension: tuple[float, ...]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> HeldOut:
        """The measures in a record that went through JSON."""
        values = {name: record[name] for name in cls._fields}
        return cls(**{**values, "kl_per_dimension": tuple(record["kl_per_dimension"])})


class Trained(NamedTuple):
    """What `train_vae` made."""

    path: Path
    """The artifact: give it to `Encoder.load` or to a wrapper."""
    held_out: HeldOut
    """Of the best epoch, whose weights the artifact holds."""
    steps: int
    seconds: float
    """Of training, over all sittings."""


@dataclass
class _State:
    """Everything that a resumed run needs, and nothing else."""

    vae: VAE
    optimizer: torch.optim.Adam
    noise: torch.Generator
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf

    def to_dict(self) -> dict[str, Any]:
        return {
            "vae": self.vae.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "noise": self.noise.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
        }

    def load(self, saved: dict[str, Any]) -> None:
        self.vae.load_state_dict(saved["vae"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.noise.set_state(saved["noise"])
        self.step, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]


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
    the weights of the epoch with the lowest held-out loss.

    Args:
        dataset: What `collect_frames` made; `JoinedFrames` makes one of several.
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
        ConfigError: where `start` is of another kind.
        TrainingError: where the loss stops being a number, or the folder cannot be written.
    """
    out, train_config = Path(out), train_config or TrainConfig()
    parent = None if start is None else read_artifact(start)
    if parent is not None:
        vae_config = _same_kind(parent, dataset, vae_config)
        if hasattr(train_config.objective, "warm_up"):  # it has learned to use its code
            warm = replace(train_config.objective, warm_up=0.0)
            train_config = replace(train_config, objective=warm)
    vae_config = vae_config or VAEConfig()
    dataset.require_complete()
    dataset.verify()
    run = {
        "dataset": dataset.digest,
        "vae": vae_config.to_dict(),
        "train": train_config.to_dict(),
        "parent": None if parent is None else parent.digest,
    }
    if out.exists():
        return _finished(out, run)
    split = dataset.split(train_config.held_out, train_config.seed)
    partial = out.with_name(out.name + ".partial")
    files.check_run(partial, run, ArtifactError)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with files.locked(partial, ArtifactError):
            files.write_json(partial / "run.json", run)
            for left in partial.glob(".*.tmp"):  # of a write that was killed
                left.unlink()
            state = _fresh_state(vae_config, train_config, dataset, split, parent)
            _load_checkpoint(partial, state)
            held_out = _train(dataset, split, partial, state, train_config, progress)
            best = _best(state.vae, partial)
            _draw(best, dataset, split, held_out, partial / "pictures", train_config.seed)
            save_artifact(
                partial,
                best,
                dataset=dataset,
                reference=measure_reference(best, dataset, split.train),
                provenance={
                    **run,
                    "steps": state.step,
                    "seconds": state.seconds,
                    "held_out": held_out._asdict(),
                    "seed": train_config.seed,
                },
            )
            files.rename_folder(partial, out)
            for name in _ONLY_WHILE_TRAINING:
                (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{partial} could not be written.",
            expected="a writable folder on a disk with room",
            got=str(error),
            remedy="make room, then run the same command again: it goes on where it stopped",
        ) from error
    return Trained(out, held_out, state.step, state.seconds)


def evaluate_vae(
    vae: VAE, dataset: FrameDataset, indices: NDArray[np.int64], objective: Beta, batch_size: int
) -> HeldOut:
    """Measure a VAE on some frames of a dataset, with fixed noise, so that runs compare."""
    noise = torch.Generator().manual_seed(0)
    totals = torch.zeros(3, dtype=torch.float64)
    kl = torch.zeros(vae.config.latent_dim, dtype=torch.float64)
    codes = []
    with torch.no_grad():
        for start in range(0, len(indices), batch_size):
            frames = torch.from_numpy(dataset.frames(indices[start : start + batch_size]))
            x = VAE.to_input(frames)
            posterior = vae.encode(x)
            draw = torch.randn(posterior.mu.shape, generator=noise)
            distortion, kl_batch = vae.losses(x, posterior, draw)
            reconstructed = torch.sigmoid(vae.decode_logits(posterior.mu))
            terms = objective.terms(distortion, kl_batch)
            mse = (reconstructed - x).square().mean() * 255.0**2
            parts = [float(terms.distortion), float(terms.loss), float(mse)]
            totals += len(x) * torch.tensor(parts, dtype=torch.float64)
            kl += kl_batch.double().sum(0)
            codes.append(posterior.mu)
    n = len(indices)
    distortion_mean, loss, mse_mean = (totals / n).tolist()
    kl_mean = (kl / n).tolist()
    active = int((torch.cat(codes).double().var(dim=0) > ACTIVE_UNIT).sum())
    return HeldOut(loss, distortion_mean, sum(kl_mean), mse_mean, active, tuple(kl_mean))


def _same_kind(parent: Artifact, dataset: FrameDataset, vae_config: VAEConfig | None) -> VAEConfig:
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
    parent: Artifact | None,
) -> _State:
    if parent is not None:
        vae = VAE.of(vae_config, dataset.spec.shape, parent.weights)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            vae = VAE(vae_config, dataset.spec.shape)
        few = np.linspace(0, len(split.train) - 1, min(len(split.train), 2000)).astype(np.int64)
        vae.centre(dataset.frames(split.train[few]))
    vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(vae.parameters(), lr=config.learning_rate, fused=True)
    return _State(vae, optimizer, torch.Generator().manual_seed(config.seed))


def _train(
    dataset: FrameDataset,
    split: Split,
    partial: Path,
    state: _State,
    config: TrainConfig,
    progress: bool,
) -> HeldOut:
    total = config.total_steps(len(split.train))
    metrics = partial / "metrics.jsonl"
    history = _read_metrics(metrics, state.step)
    batches = _batches(split.train, config, state.step, total)
    per_epoch = max(1, len(split.train) // config.batch_size)
    began = time.perf_counter() - state.seconds
    with (
        SummaryWriter(str(partial / "tensorboard"), purge_step=state.step + 1) as board,
        tqdm(
            total=total,
            initial=state.step,
            unit="steps",
            desc="training the VAE",
            disable=None if progress else True,
        ) as bar,
    ):
        for indices in batches:
            loss = _step(state, dataset, indices, config, total)
            bar.update()
            if state.step % per_epoch and state.step != total:
                continue
            held_out = evaluate_vae(
                state.vae, dataset, split.held_out, config.objective, config.batch_size
            )
            if not math.isfinite(held_out.loss):
                raise _not_finite(state.step, held_out.loss)
            state.seconds = time.perf_counter() - began
            record = {"step": state.step, "seconds": round(state.seconds, 3), "train_loss": loss}
            record |= held_out._asdict()
            history.append(record)
            _log(board, record)
            bar.set_postfix(held_out=f"{held_out.loss:.1f}", kl=f"{held_out.rate:.1f}")
            if held_out.loss < state.best:
                state.best = held_out.loss
                weights = safetensors.torch.save(_tensors(state.vae))
                files.write_whole(partial / "best.safetensors", weights)
            files.append_line(metrics, record)
            _save_checkpoint(partial, state)
    return HeldOut.of(min(history, key=lambda record: float(record["loss"])))


def _step(
    state: _State,
    dataset: FrameDataset,
    indices: NDArray[np.int64],
    config: TrainConfig,
    total: int,
) -> float:
    """One update; counts itself. Returns the loss in nats a frame."""
    share = state.step / total
    rate = config.learning_rate * min(
        1.0, (state.step + 1) / max(1.0, 0.05 * total), 2 * (1 - share)
    )
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    frames = torch.from_numpy(dataset.frames(indices))
    x = VAE.to_input(frames)  # (B, C, H, W)
    noise = torch.randn(len(x), state.vae.config.latent_dim, generator=state.noise)  # (B, Z)
    losses = state.vae.losses(x, state.vae.encode(x), noise)
    loss = config.objective.terms(*losses, progress=share).loss
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _not_finite(state.step, value)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer.step()
    state.step += 1
    return value


def _batches(
    indices: NDArray[np.int64], config: TrainConfig, first: int, total: int
) -> Iterator[NDArray[np.int64]]:
    """Batches number `first` to `total`: each epoch is a permutation of its own seed."""
    size = min(config.batch_size, len(indices))
    per_epoch = len(indices) // size
    order, epoch_drawn = indices, -1
    for step in range(first, total):
        epoch, within = divmod(step, per_epoch)
        if epoch != epoch_drawn:
            order = np.random.default_rng([config.seed, epoch]).permutation(indices)
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


def _save_checkpoint(partial: Path, state: _State) -> None:
    """Write a new checkpoint; the one before stays as checkpoint.old.pt until it is whole."""
    path, new = partial / "checkpoint.pt", partial / "checkpoint.new.pt"
    content = io.BytesIO()
    torch.save(state.to_dict(), content)
    # torch.load does not look at the checksums in its files: a flipped bit would be trained on.
    with new.open("wb") as file:
        file.write(hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    if path.is_file():
        path.replace(partial / "checkpoint.old.pt")
    new.replace(path)
    files.sync_directory(partial)


def _load_checkpoint(partial: Path, state: _State) -> None:
    """Load the newest checkpoint that is whole, if any."""
    for name in ("checkpoint.pt", "checkpoint.old.pt"):
        path = partial / name
        if path.is_file():
            written = path.read_bytes()
            digest, content = written[:32], written[32:]
            if hashlib.sha256(content).digest() == digest:
                try:
                    saved = torch.load(io.BytesIO(content), weights_only=True)  # runs no code
                except (RuntimeError, pickle.UnpicklingError) as error:
                    raise TrainingError(
                        f"{path} is no checkpoint.",
                        expected="what rl-vae train-vae wrote",
                        got="something else",
                        remedy=f"delete {partial}",
                    ) from error
                state.load(saved)
                return
            tqdm.write(f"{path} is not whole: taking an older state")


def _read_metrics(path: Path, step: int) -> list[dict[str, Any]]:
    """The records up to a step; later ones are cut off, for they are about to be made again."""
    records = [record for record in files.read_lines(path) if record["step"] <= step]
    files.write_whole(path, b"".join(files.canonical_json(record) + b"\n" for record in records))
    return records


def _log(board: SummaryWriter, record: dict[str, Any]) -> None:
    for name, value in record.items():
        if isinstance(value, int | float) and name != "step":
            board.add_scalar(f"vae/{name}", value, record["step"])
    kl = np.asarray(record["kl_per_dimension"])
    board.add_histogram("vae/kl_per_dimension", kl, record["step"])


def _best(vae: VAE, partial: Path) -> VAE:
    weights = safetensors.torch.load((partial / "best.safetensors").read_bytes())
    return VAE.of(vae.config, vae.shape, weights).eval()


def _draw(
    vae: VAE, dataset: FrameDataset, split: Split, held_out: HeldOut, folder: Path, seed: int
) -> None:
    """Pictures on frames that were not trained on."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    chosen = split.held_out[np.linspace(0, len(split.held_out) - 1, 12).astype(np.int64)]
    frames = dataset.frames(chosen)
    pictures.save_picture(folder / "reconstructions.png", pictures.reconstructions(vae, frames))
    pictures.save_picture(folder / "samples.png", pictures.samples(vae, seed=seed))
    informative = np.argsort(held_out.kl_per_dimension)[::-1][:8]
    pictures.save_picture(
        folder / "traversals.png",
        pictures.traversals(vae, frames[6], [int(latent) for latent in informative]),
    )


def _finished(out: Path, run: dict[str, Any]) -> Trained:
    """The model that is already there, where it is this one."""
    provenance = read_config(out)["provenance"]
    if any(provenance.get(name) != json.loads(files.canonical_json(run[name])) for name in run):
        raise ArtifactError(
            f"{out} holds another model.",
            expected="a folder that is free, or the same dataset and settings",
            got="a finished model of others",
            remedy="choose another folder, or delete that one",
        )
    held_out = HeldOut.of(provenance["held_out"])
    return Trained(out, held_out, provenance["steps"], provenance["seconds"])
