"""CUDA graphs: graphed updates equal plain updates, and never wait for the device.

These tests need no GPU: updates run without a graph. What a graph needs is tested on torch's "meta"
device, whose tensors have no values to wait for.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONFIG
from environments import refused
from torch import nn
from training_runs import FAMILY, SHORT

from rl_vae import (
    Beta,
    BetaTC,
    FactorVAE,
    FrameDataset,
    TrainConfig,
    VAEConfig,
    train_sweep,
    train_vae,
)
from rl_vae.errors import ConfigError, TrainingError
from rl_vae.models.description import read_config
from rl_vae.models.folder import read_model
from rl_vae.models.networks import NETWORKS
from rl_vae.models.vae import VAE
from rl_vae.objectives.base import Objective
from rl_vae.training import device_sweep, evaluate, loop, precision, sweep
from rl_vae.training.batches import BatchReader
from rl_vae.training.cuda_graphs import (
    WARM_UPS,
    GraphedStep,
    GraphRunner,
    _compiled_loss,
    copy_to_device,
)
from rl_vae.training.evaluate import HeldOut, evaluate_vae
from rl_vae.training.head_targets import make_head_targets
from rl_vae.training.heads import Heads
from rl_vae.training.moving_errors import measure_still_picture
from rl_vae.training.precision import Precision, choose_precision
from rl_vae.training.result import Trained
from rl_vae.training.state import TrainState, initial_state
from rl_vae.training.step import TrainStep, Update

BATCH, HEADS = 16, Heads(reward=30.0, done=10.0)


pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings graph their updates, as on a GPU."""
    monkeypatch.setattr(loop, "replays_updates", lambda config, group: True)
    monkeypatch.setattr(sweep, "on_cpu", lambda runs: False)


class Begun:
    """A training before its first update, without files."""

    def __init__(
        self, dataset: FrameDataset, config: TrainConfig, vae_config: VAEConfig = CONFIG
    ) -> None:
        split = dataset.split(config.held_out, config.seed)
        self.dataset, self.config = dataset, config
        targets = make_head_targets(dataset, split.train, config.heads)
        self.state = initial_state(vae_config, config, dataset, split.train, targets=targets)
        median = measure_still_picture(dataset, split.train).median_frame
        self.step = TrainStep(self.state, config, len(split.train), median, targets=targets)
        self.reader = BatchReader(dataset, split.train, config)

    def graphed(self, *, resident: bool = True) -> GraphedStep:
        """Its updates in the form that a GPU captures, with the frames on the device or not."""
        frames = copy_to_device(self.dataset, torch.device("cpu")) if resident else None
        return GraphedStep(self.step, self.config.batch_size, frames)


def begin(
    dataset: FrameDataset,
    objective: Objective = FAMILY["vae"],
    vae: VAEConfig = CONFIG,
    **more: Any,
) -> Begun:
    settings = {"steps": 40, "batch_size": BATCH, "compute": "reference", **more}
    return Begun(dataset, TrainConfig(objective=objective, **settings), vae)


def run(begun: Begun, graphed: GraphedStep, runner: GraphRunner, n: int) -> list[Update]:
    """Results of the next `n` updates of one training."""
    graphed.load(begun.reader, n)
    runner.run([graphed], n)
    return graphed.take(n)


def numbers(state: TrainState) -> list[torch.Tensor]:
    """All that a training changes, copied."""
    modules = (state.vae, state.discriminator, state.heads)
    parts = [module for module in modules if module is not None]
    values = [weight.detach().clone() for part in parts for weight in part.parameters()]
    for optimizer in (state.optimizer, state.discriminator_optimizer):
        if optimizer is not None:
            for moments in optimizer.state.values():
                values += [value.clone() for value in moments.values()]
    return [*values, state.noise.get_state()]


def weights(trained: Trained) -> dict[str, bytes]:
    folder = read_model(trained.path)
    return {name: weight.numpy().tobytes() for name, weight in folder.weights.items()}


def update(begun: Begun) -> Update:
    """Result of one update that is not captured."""
    indices = begun.reader.next_indices()
    frames = torch.from_numpy(begun.reader.read(indices))
    return begun.step.update(frames, torch.from_numpy(indices))


@pytest.mark.slow
@pytest.mark.parametrize("heads", [Heads(), HEADS], ids=["plain", "heads"])
@pytest.mark.parametrize("objective", FAMILY.values(), ids=repr)
def test_captured_updates_are_those_made_one_by_one(
    dataset: FrameDataset, objective: Objective, heads: Heads
) -> None:
    """Losses, norms, weights, moments and noise are the same, update by update."""
    one, other = (begin(dataset, objective, heads=heads) for _ in range(2))
    expected = [update(one) for _ in range(6)]
    graphed, runner = other.graphed(), GraphRunner()
    results = run(other, graphed, runner, 4) + run(other, graphed, runner, 2)
    np.testing.assert_allclose(np.array(results), np.array(expected), rtol=1e-4)
    assert (one.state.step, one.state.skipped) == (other.state.step, other.state.skipped) == (6, 0)
    for ours, theirs in zip(numbers(other.state), numbers(one.state), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_schedules_are_read_from_the_tables(dataset: FrameDataset) -> None:
    """Learning rate and beta of each captured update are those of its number, tables on end."""
    begun = begin(dataset, Beta(warm_up=0.5), lr_warm_up=0.2)
    graphed, runner, rates, betas = begun.graphed(), GraphRunner(), [], []
    right = begun.config.objective.terms

    def terms(inputs: Any, scheduled: torch.Tensor, discriminator: Any) -> Any:
        betas.append(float(scheduled))
        rates.append(float(begun.state.optimizer.param_groups[0]["lr"]))
        return right(inputs, scheduled, discriminator)

    object.__setattr__(begun.config.objective, "terms", terms)
    for n in (3, 5):
        run(begun, graphed, runner, n)
    rates, betas = rates[WARM_UPS:], betas[WARM_UPS:]
    expected = [begun.step.learning_rate(step) for step in range(8)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    np.testing.assert_allclose(betas, [begun.step.schedule(step) for step in range(8)], rtol=1e-6)
    assert len(set(rates)) > 2 and len(set(betas)) == 8


@pytest.mark.parametrize("objective", [Beta(), FactorVAE(width=20)], ids=repr)
def test_an_update_that_is_not_finite_is_left_out_on_the_device(
    dataset: FrameDataset, objective: Objective
) -> None:
    """Weights and moments stay as they were, the update is counted, the next one is made."""
    begun = begin(dataset, objective)
    graphed, runner = begun.graphed(), GraphRunner()
    assert run(begun, graphed, runner, 1)[0].finite
    *before, _ = numbers(begun.state)
    graphed.load(begun.reader, 1)
    graphed._weights.fill_(torch.inf)
    runner.run([graphed], 1)
    assert not graphed.take(1)[0].finite
    *after, _ = numbers(begun.state)
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert (begun.state.step, begun.state.skipped) == (2, 1)
    assert run(begun, graphed, runner, 1)[0].finite
    *later, _ = numbers(begun.state)
    assert not any(torch.equal(a, b) for a, b in zip(later[:2], before[:2], strict=True))


def test_warming_up_changes_nothing(dataset: FrameDataset) -> None:
    """Weights, noise and table are after a warm-up as before, moments 0."""
    begun = begin(dataset, FactorVAE(width=20))
    graphed = begun.graphed()
    graphed.load(begun.reader, 3)
    before = numbers(begun.state)
    GraphRunner().prepare([graphed])
    after = numbers(begun.state)
    changed = after[len(before) - 1 : -1]  # what Adam has made: moments and counts of updates
    assert len(changed) > 0 and not any(value.any() for value in changed)
    for a, b in zip([*after[: len(before) - 1], after[-1]], before, strict=True):
        assert torch.equal(a, b)
    assert graphed.left == 3 and begun.state.step == 0


@pytest.mark.slow
def test_side_by_side_each_is_as_alone(dataset: FrameDataset) -> None:
    """Trainings with other seeds and betas have the same bits in one graph as alone."""
    kinds: list[dict[str, Any]] = [
        {"objective": Beta(beta), "seed": seed} for beta, seed in ((1.0, 0), (16.0, 1), (4.0, 2))
    ]
    alone = []
    for kind in kinds:
        begun = begin(dataset, **kind)
        run(begun, begun.graphed(), GraphRunner(), 5)
        alone.append(numbers(begun.state))
    together = [begin(dataset, **kind) for kind in kinds]
    graphed, runner = [begun.graphed() for begun in together], GraphRunner()
    # Tables of other lengths, and trainings that end before the others
    for begun, step, n in zip(together, graphed, (5, 3, 4), strict=True):
        step.load(begun.reader, n)
    while any(begun.state.step < 5 for begun in together):
        active = [
            (begun, step)
            for begun, step in zip(together, graphed, strict=True)
            if begun.state.step < 5
        ]
        for begun, step in active:
            if not step.left:
                step.load(begun.reader, min(2, 5 - begun.state.step))
        n = min(step.left for _, step in active)
        runner.run([step for _, step in active], n)
        for _, step in active:
            step.take(n)
    for begun, expected in zip(together, alone, strict=True):
        assert begun.state.step == 5
        for ours, theirs in zip(numbers(begun.state), expected, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("objective", FAMILY.values(), ids=repr)
def test_batches_measured_at_once_and_on_the_device_are_those_measured_alone(
    dataset: FrameDataset, objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several batches in one forward pass give the measures of single batches."""
    begun = begin(dataset, objective, moving_weight=5.0)
    state, median = begun.state, begun.step.median_frame
    given = (state.vae, dataset, np.arange(50), objective, 8, state.discriminator, median, 5.0)
    alone = evaluate_vae(*given)
    monkeypatch.setattr(evaluate, "frames_at_once", lambda vae, batch_size: 3 * batch_size)
    together = evaluate_vae(*given, copy_to_device(dataset, torch.device("cpu")))
    # abs: a term that is zero but for rounding has no relative precision.
    assert flat(together) == pytest.approx(flat(alone), rel=1e-4, abs=1e-7)


def test_a_gpu_measures_more_than_a_batch_at_once() -> None:
    """A forward pass has several batches on a GPU, and one on a CPU."""
    vae = VAE(CONFIG, (64, 64, 3))
    assert evaluate.frames_at_once(vae, 128) == 128
    assert evaluate.frames_at_once(vae.to("meta"), 128) == 5 * 128
    assert evaluate.frames_at_once(vae, 4096) == 4096


def flat(held_out: HeldOut) -> list[float]:
    record = held_out._asdict()
    numbers = [*record.pop("kl_per_dimension"), *record.pop("terms").values(), *record.values()]
    return [number for number in numbers if number is not None]


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "linear"])
@pytest.mark.parametrize("objective", FAMILY.values(), ids=repr)
def test_an_update_waits_for_nothing_and_leaves_the_device_alone(
    dataset: FrameDataset,
    objective: Objective,
    network: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An update reads no value back and uses one device: otherwise meta tensors raise."""
    monkeypatch.setattr(Precision, "autocast", lambda self, device: nullcontext())
    draw = type(objective).sample_prior  # there is no generator for that device
    monkeypatch.setattr(type(objective), "sample_prior", lambda *rest: draw(*rest).to("meta"))
    asked = importlib.import_module("torch.optim.optimizer")  # whether Adam's kernel runs there
    monkeypatch.setattr(asked, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    calls: list[dict[str, Any]] = []  # there is no such kernel for meta tensors
    monkeypatch.setattr(torch, "_fused_adam_", lambda *rest, **settings: calls.append(settings))
    begun = begin(dataset, objective, moving_weight=5.0, heads=HEADS)
    state, targets = begun.state, begun.step.targets
    state.vae = VAE(VAEConfig(4, network, "learned_gaussian"), dataset.spec.shape)
    assert targets is not None
    begun.step.targets = targets.to(torch.device("meta"))
    state.optimizer = torch.optim.Adam(state.trained.to("meta").parameters(), fused=True)
    if state.discriminator is not None:
        discriminator = state.discriminator.to("meta")
        state.discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), fused=True)
    assert begun.step.median_frame is not None
    begun.step.median_frame = begun.step.median_frame.to("meta")
    shape = (20, *dataset.spec.shape)
    frames = torch.empty(shape, dtype=torch.uint8, device="meta")
    graphed = GraphedStep(begun.step, BATCH, frames)
    graphed.launch()
    graphed.launch()
    assert len(calls) == 2 * (1 + (state.discriminator is not None))
    assert all(settings["found_inf"].is_meta for settings in calls)
    assert calls[0]["lr"] is graphed._rate and graphed._rate.is_meta
    with pytest.raises(RuntimeError):  # the errors that would show a mistake
        float(graphed._losses[0])
    with pytest.raises(RuntimeError):
        nn.functional.softplus(graphed._losses + torch.zeros(len(graphed._losses)))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """The number of graphs that dynamo has made, without inductor; graph breaks are errors."""
    right, counted = torch.compile, torch._dynamo.utils.counters["stats"]
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, **more: right(function, backend="aot_eager", fullgraph=True, **more),
    )
    for forget in (torch._dynamo.reset, _compiled_loss.cache_clear):
        forget()
    yield lambda: counted["unique_graphs"]
    for forget in (torch._dynamo.reset, _compiled_loss.cache_clear):
        forget()


def compiled_run(begun: Begun, *, compiled: bool = True) -> list[Update]:
    """Results of two updates."""
    begun.step.precision = begun.step.precision._replace(compiled=compiled)
    return run(begun, begun.graphed(), GraphRunner(), 2)


@pytest.mark.slow
def test_pass_and_loss_of_every_training_compile_to_one_graph(
    dataset: FrameDataset, graphs: Callable[[], int]
) -> None:
    """Forward pass and loss of more kinds than dynamo's limit compile to one graph each."""
    before, small = graphs(), VAEConfig(latent_dim=4, network="mlp")  # compiles fastest
    kinds = [*FAMILY.values(), BetaTC(beta=2.0), FactorVAE(gamma=2.0, width=20)]
    for objective in kinds:
        plain = compiled_run(begin(dataset, objective, small), compiled=False)
        results = compiled_run(begin(dataset, objective, small))
        np.testing.assert_allclose(np.array(results), np.array(plain), rtol=1e-5)
    # The two kinds of noise and the two priors lie outside of what is compiled.
    assert graphs() - before == len(kinds) - 2 > 8
    plain = compiled_run(begin(dataset, vae=small, heads=HEADS), compiled=False)
    results = compiled_run(begin(dataset, vae=small, heads=HEADS))
    np.testing.assert_allclose(np.array(results), np.array(plain), rtol=1e-5)
    assert graphs() - before == len(kinds) - 1


@pytest.mark.slow
def test_trainings_of_one_kind_are_compiled_once(
    dataset: FrameDataset, graphs: Callable[[], int]
) -> None:
    """Trainings that differ in beta and seed share one compilation and keep their losses."""
    before = graphs()
    for seed, beta in enumerate((0.5, 1.0, 4.0, 16.0)):
        kind = {"objective": Beta(beta), "seed": seed}
        plain = compiled_run(begin(dataset, **kind), compiled=False)
        results = compiled_run(begin(dataset, **kind))
        np.testing.assert_allclose(np.array(results), np.array(plain), rtol=1e-5)
    assert graphs() - before == 1


@pytest.mark.slow
@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("objective", [Beta(), FactorVAE(width=20)], ids=repr)
@pytest.mark.parametrize("heads", [Heads(), HEADS], ids=["plain", "heads"])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    dataset: FrameDataset,
    objective: Objective,
    heads: Heads,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights and metrics are those of an uninterrupted captured training."""
    config = replace(SHORT, objective=objective, heads=heads)
    uninterrupted = train_vae(dataset, tmp_path / "whole", CONFIG, config, progress=False)
    right, calls = GraphRunner.run, 0

    def interrupted(self: GraphRunner, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        right(self, *arguments)

    with monkeypatch.context() as at, pytest.raises(KeyboardInterrupt):
        at.setattr(GraphRunner, "run", interrupted)
        train_vae(dataset, tmp_path / "model", CONFIG, config, progress=False)
    assert (tmp_path / "model.partial" / "checkpoint.bin").is_file()
    results = train_vae(dataset, tmp_path / "model", CONFIG, config, progress=False)
    assert weights(results) == weights(uninterrupted)
    assert results.held_out == uninterrupted.held_out


@pytest.mark.slow
@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("heads", [Heads(), HEADS], ids=["plain", "heads"])
def test_frames_that_do_not_fit_are_brought_table_by_table(
    dataset: FrameDataset, tmp_path: Path, heads: Heads
) -> None:
    """A streamed training is the one whose batches lie on the device, given the same batches."""
    begun, other = (begin(dataset, heads=heads) for _ in range(2))
    for each, graphed in ((begun, begun.graphed()), (other, other.graphed(resident=False))):
        runner = GraphRunner()
        for n in (4, 2):
            run(each, graphed, runner, n)
    for ours, theirs in zip(numbers(other.state), numbers(begun.state), strict=True):
        assert torch.equal(ours, theirs)
    streamed = replace(SHORT, memory=1e-3, heads=heads)
    results = train_vae(dataset, tmp_path / "model", CONFIG, streamed, progress=False)
    again = train_vae(dataset, tmp_path / "again", CONFIG, streamed, progress=False)
    assert weights(results) == weights(again)


@pytest.mark.slow
@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("at", ["frames", "capture", "measuring"])
def test_too_little_memory_is_an_error_for_the_user(
    at: str, dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory is one error with a remedy, and the training can be resumed."""

    def full(*rest: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    with monkeypatch.context() as patch:
        if at == "frames":
            patch.setattr(loop, "copy_to_device", full)
            patch.setattr(device_sweep, "copy_to_device", full)
        elif at == "capture":
            patch.setattr(GraphRunner, "prepare", full)
        else:
            patch.setattr(loop, "evaluate_vae", full)
        with refused(TrainingError, "room for the frames", "Tried to allocate 2.00 GiB"):
            train_vae(dataset, tmp_path / "model", CONFIG, SHORT, progress=False)
        with pytest.raises(TrainingError, match="too little memory"):
            train_sweep(dataset, tmp_path / "models", {"one": SHORT}, CONFIG, progress=False)
    assert train_vae(dataset, tmp_path / "model", CONFIG, SHORT, progress=False).steps
    assert train_sweep(dataset, tmp_path / "models", {"one": SHORT}, CONFIG, progress=False)


@pytest.mark.slow
@pytest.mark.usefixtures("capturing")
def test_a_sweep_on_one_device_makes_the_models_that_are_made_alone(
    dataset: FrameDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of a sweep equal those of `train_vae`, also if one of them fails."""
    runs = {
        "short": replace(SHORT, objective=Beta(4.0), epochs=1),
        "diverges": replace(SHORT, learning_rate=1e30),
        "long": replace(SHORT, seed=3, objective=Beta(10_000.0)),
        "other-batch": replace(SHORT, batch_size=32, seed=1),
    }
    with pytest.raises(TrainingError, match="1 of 4 runs failed: diverges"):
        train_sweep(dataset, tmp_path / "models", runs, CONFIG, progress=False)
    printed = capsys.readouterr().out
    assert "diverges" in printed and "long: ALARM beta_norm" in printed
    for name in ("short", "long", "other-batch"):
        alone = train_vae(dataset, tmp_path / name, CONFIG, runs[name], progress=False)
        of_sweep = train_vae(
            dataset, tmp_path / "models" / name, CONFIG, runs[name], progress=False
        )
        assert weights(of_sweep) == weights(alone)
        assert of_sweep.held_out == alone.held_out
    assert not (tmp_path / "models" / "diverges").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_told_before_anything_is_written(
    dataset: FrameDataset, tmp_path: Path
) -> None:
    """Without a GPU "cuda" is refused by train_vae and train_sweep, and nothing is written."""
    config = TrainConfig(steps=2, device="cuda")
    with refused(ConfigError, "cuda", "device='cpu'"):
        train_vae(dataset, tmp_path / "model", CONFIG, config)
    with refused(ConfigError, "cuda", "device='cpu'"):
        train_sweep(dataset, tmp_path / "models", {"one": config}, CONFIG)
    assert os.listdir(tmp_path) == []


def test_runs_on_different_devices_are_no_sweep(dataset: FrameDataset, tmp_path: Path) -> None:
    """A sweep is on one device."""
    runs = {"one": TrainConfig(steps=2), "other": TrainConfig(steps=2, device="cpu:0")}
    with refused(ConfigError, "one device", "cpu, cpu:0"):
        train_sweep(dataset, tmp_path / "models", runs, CONFIG)


@pytest.mark.parametrize("ampere", [True, False])
def test_what_a_gpu_computes_in(ampere: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU computes in bfloat16 if it multiplies bfloat16; the reference is float32."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: ampere)
    monkeypatch.setattr(precision, "builds_kernels", lambda: True)
    assert choose_precision("fast", "patch", "cuda") == Precision(ampere, False, compiled=True)
    assert choose_precision("fast", "world_models", "cuda") == Precision(ampere, False)
    assert choose_precision("fast", "patch", "xpu") == Precision(False, False, compiled=True)
    assert choose_precision("reference", "patch", "cuda") == Precision(False, False)


@pytest.mark.parametrize("missing", ["", "triton", "compiler", "headers"])
def test_kernels_are_compiled_where_all_that_takes_is_there(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Triton, compiler or headers are missing, nothing is compiled."""
    if missing != "headers":
        (tmp_path / "Python.h").touch()
    values = None if missing == "compiler" else "/usr/bin/gcc"
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(precision.shutil, "which", lambda name: values)
    monkeypatch.setattr(precision, "find_spec", lambda name: None if missing == name else name)
    monkeypatch.setattr(precision.sysconfig, "get_config_var", lambda name: str(tmp_path))
    assert precision.builds_kernels() == (not missing)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_graph_learns_what_the_reference_learns(
    dataset: FrameDataset, tmp_path: Path
) -> None:
    """Held-out losses of graphed updates, of float32 on the GPU and of the CPU agree within 2 %."""
    results = {
        (device, compute): train_vae(
            dataset,
            tmp_path / f"{device}-{compute}",
            CONFIG,
            replace(SHORT, epochs=20, device=device, compute=compute),
            progress=False,
        )
        for device, compute in (("cuda", "fast"), ("cuda", "reference"), ("cpu", "reference"))
    }
    expected = results["cpu", "reference"].held_out.loss
    for key in (("cuda", "fast"), ("cuda", "reference")):
        assert results[key].held_out.loss == pytest.approx(expected, rel=0.02)
    printed = read_config(results["cuda", "fast"].path)["provenance"]["precision"]
    assert printed["bfloat16"]
