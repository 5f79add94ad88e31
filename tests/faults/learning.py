"""Faults while models and agents are trained: kills, cut checkpoints, overflow, collapse."""

import contextlib
import hashlib
import io
import math
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import safetensors.torch
import torch
from little_games import Line
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv
from torch.optim.optimizer import register_optimizer_step_pre_hook

from faults import Figure, counted
from faults.collecting import collect
from faults.disk import Disk, die
from faults.processes import started_process
from rl_vae import (
    Beta,
    Correlated,
    Encoder,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
)
from rl_vae.errors import TrainingError
from rl_vae.models import save as model_writer
from rl_vae.models.folder import read_model
from rl_vae.models.vae import VAE
from rl_vae.sb3 import LatentExtractor, VecLatent
from rl_vae.system import hashing, strict_json
from rl_vae.training import loop
from rl_vae.training.checkpoint import load_checkpoint, save_checkpoint
from rl_vae.training.evaluate import evaluate_vae
from rl_vae.training.result import Trained
from rl_vae.training.state import TrainState
from rl_vae.training.train import train_vae

SMALL = VAEConfig(latent_dim=4)
UPDATES, PER_EPOCH = 52, 13


@contextlib.contextmanager
def without_onnx() -> Iterator[None]:
    """Skip the export to ONNX, which takes most of the time."""
    right = model_writer.export_onnx
    model_writer.export_onnx = lambda vae: b"left out"
    try:
        yield
    finally:
        model_writer.export_onnx = right


def frames(folder: Path) -> FrameDataset:
    """Collect 475 frames. With some held out, an epoch has 13 updates of 32 frames."""
    return collect(folder / "frames")


def train(dataset: FrameDataset, out: Path, **settings: Any) -> Trained:
    """Train a small model."""
    vae = settings.pop("vae", SMALL)
    config = TrainConfig(**{"steps": UPDATES, "batch_size": 32, **settings})
    with without_onnx():
        return train_vae(dataset, out, vae, config, progress=False)


def sit(frames: Path, out: Path, fatal: int) -> None:
    """Train; kill this process before the optimizer step of update number `fatal` (0: never).

    The digest of every checkpoint (weights, optimizer, noise, counters) is logged.
    """
    save, count = loop.save_checkpoint, 0

    def save_and_note(partial: Path, state: Any) -> None:
        save(partial, state)
        digest = hashlib.sha256(content({**state.to_dict(), "seconds": 0.0})).hexdigest()
        strict_json.append_line(out.with_suffix(".states"), {"step": state.step, "sha256": digest})

    def die_in_time(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.save_checkpoint = save_and_note
    register_optimizer_step_pre_hook(die_in_time)
    train(FrameDataset.open(frames), out)


def content(value: Any) -> bytes:
    """Return all bytes of a state, in the order of its names."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype).encode() + value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        names = sorted(value, key=str)
        return b"".join(str(name).encode() + content(value[name]) for name in names)
    if isinstance(value, list | tuple):
        return b"".join(map(content, value))
    return repr(value).encode()


def outcome(model: Path) -> tuple[set[Any], list[Any], bytes]:
    """Return the checkpoints, the metrics without seconds, and the weights."""
    states = {
        (line["step"], line["sha256"])
        for line in strict_json.read_lines(model.with_suffix(".states"))
    }
    metrics = [{**line, "seconds": 0} for line in strict_json.read_lines(model / "metrics.jsonl")]
    return states, metrics, (model / "model.safetensors").read_bytes()


def kill_training(n: int, seed: int, folder: Path) -> Figure:
    """After SIGKILL in a random update the training continues to bit-equal results."""
    rng = np.random.default_rng(seed)
    data = frames(folder).path
    with started_process(folder / "output", sit, data, folder / "whole", 0) as one:
        assert one.wait() == 0, one.text()
    right, good = outcome(folder / "whole"), 0
    assert len(right[0]) == UPDATES // PER_EPOCH
    for trial in range(n):
        out = folder / f"run-{trial}"
        statuses = []
        for fatal in (int(rng.integers(1, UPDATES + 1)), 0):
            with started_process(folder / f"output-{trial}", sit, data, out, fatal) as one:
                statuses.append(one.wait())
        good += statuses == [-signal.SIGKILL, 0] and outcome(out) == right
        shutil.rmtree(out, ignore_errors=True)
    return counted(good, n, f"{len(right[0])} checkpoints, {len(right[1])} lines of metrics")


def state_of(step: int) -> TrainState:
    """Return a state whose every number depends on the step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step)
        vae = VAE(SMALL, (32, 32, 3))
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
        for weight in vae.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()
    return TrainState(vae, optimizer, torch.Generator().manual_seed(step), step=step)


def save_on(partial: Path, first: int, at: int) -> None:
    """Save three states; kill this process in operation number `at` on files."""
    partial.mkdir(exist_ok=True)
    disk = Disk(at, die)
    for step in range(first, first + 3):
        state = state_of(step)
        with disk.watching():
            save_checkpoint(partial, state)
        print("saved", step, flush=True)


def kill_checkpoint(n: int, seed: int, folder: Path) -> Figure:
    """After SIGKILL while saving a checkpoint the last complete one is loaded, and named."""
    rng = np.random.default_rng([seed, 1])
    disk = Disk(0, die)
    (folder / "counted").mkdir()
    for step in range(3):
        with disk.watching():
            save_checkpoint(folder / "counted", state_of(step))
    good = n_reported = 0
    for trial in range(n):
        partial, first = folder / f"run-{trial}", 1
        at = int(rng.integers(disk.total // 3 + 1, disk.total + 1))  # at least one is complete
        with started_process(folder / f"output-{trial}", save_on, partial, first, at) as one:
            killed = one.wait() == -signal.SIGKILL
        saved = [int(line.split()[1]) for line in one.text().splitlines()]
        loaded, output = state_of(0), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            load_checkpoint(partial, loaded, UPDATES)
        right = killed and bool(saved) and loaded.step in (saved[-1], saved[-1] + 1)
        right &= content(loaded.to_dict()) == content(state_of(loaded.step).to_dict())
        says = f"update {loaded.step}" in output.getvalue() and "checkpoint" in output.getvalue()
        n_reported += says
        good += right and says
    return counted(good, n, f"{n_reported} named the checkpoint")


def kl_overflow(n: int, seed: int, folder: Path) -> Figure:
    """If log-variances overflow, no file has a weight that is NaN or infinite."""
    dataset, initial_state = frames(folder), loop.initial_state
    bad = looked = skipped = ended = 0

    def swollen(factor: float) -> Any:
        def make(*arguments: Any) -> TrainState:
            state = initial_state(*arguments)
            with torch.no_grad():
                last: Any = state.vae.encoder.head[-1]
                last.weight[state.vae.config.latent_dim :] *= factor
                last.bias[state.vae.config.latent_dim :] *= factor
            return state

        return make

    for trial in range(n):
        out = folder / f"run-{trial}"
        factor = (1e3, 1e4, 1e6, 1e20, 1e35)[trial % 5]
        loop.initial_state = swollen(factor)
        try:
            trained = train(dataset, out, steps=2 * PER_EPOCH, seed=seed + trial)
            skipped += sum(alarm.name == "not_finite" for alarm in trained.alarms)
        except TrainingError:
            ended += 1
        finally:
            loop.initial_state = initial_state
        for at in (out, out.with_name(f"{out.name}.partial")):
            for path in at.glob("*.safetensors"):
                looked += 1
                bad += not _finite(safetensors.torch.load(path.read_bytes()))
            if any(at.glob("checkpoint*")):
                saved = state_of(0)
                with contextlib.redirect_stdout(io.StringIO()):
                    load_checkpoint(at, saved, UPDATES)
                looked += 1
                bad += not _finite(saved.vae.state_dict())
    got = f"{bad} bad of {looked} files, {n} trainings, {ended} ended with an error"
    return Figure(got, bad == 0 and looked + ended > 0, {"bad": bad, "files": looked})


def _finite(weights: dict[str, torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(weight).all()) for weight in weights.values())


def collapse(n: int, seed: int, folder: Path) -> Figure:
    """Beta 10,000 raises an alarm in the first epoch, which names the cure."""
    dataset, good = frames(folder), 0
    for trial in range(n):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            results = train(
                dataset,
                folder / str(trial),
                steps=PER_EPOCH,
                seed=seed + trial,
                objective=Beta(10_000.0),
            )
        first, *_ = strict_json.read_lines(results.path / "metrics.jsonl")
        alarms = [alarm for alarm in first["alarms"] if "code will be empty" in alarm["what"]]
        good += bool(alarms) and "beta 1 is the plain VAE" in alarms[0]["cure"] in output.getvalue()
    return counted(good, n)


def beta_effect(n: int, seed: int, folder: Path) -> Figure:
    """For beta 0, 1, 4, 16 the KL falls strictly and the distortion rises, on training frames."""
    spec, driving = FrameSpec(32, 32, crop=(0, 12, 0, 0)), Correlated(bias=(0.0, -0.3, -1.2))
    dataset = collect_frames(
        "CarRacing-v3",
        folder / "frames",
        n_frames=2000,
        spec=spec,
        policy=driving,
        seed=seed,
        progress=False,
    )
    good = 0
    for trial in range(n):
        results = []
        for beta in (0.0, 1.0, 4.0, 16.0):
            out = folder / f"{trial}-{beta}"
            settings = {"steps": 200, "batch_size": 64, "objective": Beta(beta)}
            train(dataset, out, vae=VAEConfig(latent_dim=16), seed=seed + trial, **settings)
            vae, seen = read_model(out).build(), dataset.split(0.1, seed + trial).train
            results.append(evaluate_vae(vae, dataset, seen, Beta(beta), 128))
        rates, errors = [one.rate for one in results], [one.distortion for one in results]
        good += rates == sorted(set(rates), reverse=True) and errors == sorted(set(errors))
    return counted(good, n, "seeds")


def frozen_encoder(n: int, seed: int, folder: Path) -> Figure:
    """PPO and SAC with VecLatent and LatentExtractor do not change the encoder."""
    path = Path(shutil.copytree(little_models.model(), folder / "model"))
    before = {file.name: hashing.file_digest(file) for file in path.iterdir() if file.is_file()}
    right, digest = Encoder.load(path).vae.state_dict(), Encoder.load(path).digest
    settings: dict[str, Any] = {"seed": seed, "device": "cpu", "learning_rate": 1e-2}
    extractor: Any = {
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"encoder": str(path)},
        "net_arch": [8],
    }
    good = 0
    for kind, push, own in (
        (PPO, False, {"n_steps": min(200, n), "batch_size": min(100, n)}),
        (SAC, True, {"train_freq": 20, "learning_starts": min(100, n // 2), "buffer_size": 2000}),
    ):
        env = DummyVecEnv([lambda push=push: Line(push)])
        encoder = Encoder.load(path, runtime="torch")
        model: Any = kind("MlpPolicy", VecLatent(env, encoder, stack=2), **own, **settings)
        model.learn(n)
        vae = encoder.vae
        good += digest == encoder.digest and _same(vae, right) and not vae.training
        model = kind("CnnPolicy", env, policy_kwargs=extractor, **own, **settings)
        model.learn(n)
        extractors = [one for one in model.policy.modules() if isinstance(one, LatentExtractor)]
        hidden = [one._unregistered[1] for one in extractors]
        good += bool(extractors) and all(_same(vae, right) and not vae.training for vae in hidden)
    after = {file.name: hashing.file_digest(file) for file in path.iterdir() if file.is_file()}
    assert math.isfinite(n) and Encoder.load(path).digest == digest
    return counted(good if after == before else 0, 4, f"{n:,} steps each")


def _same(vae: torch.nn.Module, right: dict[str, torch.Tensor]) -> bool:
    """Whether weights and buffers, such as batch statistics, are equal."""
    state = vae.state_dict()
    return bool(state) and all(torch.equal(state[name], right[name]) for name in state)
