"""Heads: their losses, targets, measures and alarms, and trainings with and without them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
import torch
from conftest import CONFIG
from environments import refused
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from training_runs import FAMILY, FINISHED, SHORT, interrupted, outcome, train

from rl_vae import (
    Beta,
    Encoder,
    FrameDataset,
    Heads,
    TrainConfig,
    VAEConfig,
    collect_sprites,
    score_encoder,
    train_sweep,
)
from rl_vae.data.concat import ConcatDataset
from rl_vae.errors import ConfigError, DatasetError
from rl_vae.models.folder import read_model
from rl_vae.objectives.base import Objective
from rl_vae.training import sweep
from rl_vae.training.head_alarms import FEW, check_head_targets, check_heads
from rl_vae.training.head_measures import HEAD_SCORES, HeadEvaluation, average_precision
from rl_vae.training.head_network import HeadNetwork, entropy, head_losses
from rl_vae.training.head_targets import HeadTargets, encode_actions, make_head_targets
from rl_vae.training.result import Trained
from rl_vae.training.state import initial_state
from rl_vae.training.step import TrainStep

HEADS = Heads(reward=30.0, done=10.0)
WITH_HEADS = replace(SHORT, heads=HEADS)

pytestmark = pytest.mark.usefixtures("quick_export")


def targets_of(dataset: FrameDataset, heads: Heads = HEADS) -> HeadTargets:
    """Targets of a dataset, with the statistics of all its frames."""
    targets = make_head_targets(dataset, np.arange(len(dataset)), heads)
    assert targets is not None
    return targets


def some_targets(reward: list[float], done: list[float], **changes: Any) -> HeadTargets:
    """Targets with these numbers and an action of two zeros."""
    statistics = {"done_share": 0.5, "other_rewards": 100, "ends": 100, **changes}
    return HeadTargets(
        torch.zeros(len(reward), 2), torch.tensor(reward), torch.tensor(done), **statistics
    )


def test_losses_by_hand() -> None:
    """reward: w (f - r)^2; end: w CE / H, with H = log 2 for a share of 1/2."""
    output = torch.tensor([[0.5, 0.0], [-1.0, math.log(3.0)]])
    losses = head_losses(output, some_targets([1.5, -1.0], [0.0, 1.0]), Heads(30.0, 8.0))
    rare = math.log(4 / 3) / math.log(2)  # the cross-entropy of probability 3/4, in units of H
    np.testing.assert_allclose(losses, [[30.0, 8.0], [0.0, 8.0 * rare]], rtol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_the_best_constant_costs_the_weight(share: float) -> None:
    """A head that always predicts mean reward and share of ends costs its weight per frame."""
    rng, n = np.random.default_rng(0), 1000
    reward = rng.standard_normal(n)
    reward = (reward - reward.mean()) / reward.std()
    done = (np.arange(n) < share * n).astype(float)
    targets = some_targets(reward.tolist(), done.tolist(), done_share=share)
    constant = torch.tensor([[0.0, math.log(share / (1 - share))]]).expand(n, 2)
    costs = head_losses(constant, targets, Heads(30.0, 5.0)).mean(0)
    np.testing.assert_allclose(costs, [30.0, 5.0], rtol=1e-4)


def test_rare_ends_do_not_outweigh_a_batch() -> None:
    """One end in a million frames has the weight of one in a hundred."""
    output = torch.tensor([[0.0, -3.0]])
    rare, hundredth = (
        head_losses(output, some_targets([0.0], [1.0], done_share=share), Heads(done=1.0))
        for share in (1e-6, 0.01)
    )
    assert torch.equal(rare, hundredth)
    assert entropy(0.0) == 0 and entropy(0.25) == pytest.approx(0.5623351446)


def by_hand(dataset: FrameDataset, horizon: int) -> tuple[list[float], list[bool]]:
    """Sums of rewards and ends within a horizon, episode by episode."""
    steps, rewards, ends = dataset.steps(), [], []
    for episode in dataset.episodes:
        for start in range(episode.start, episode.start + episode.length):
            rows = steps[start : min(start + horizon, episode.start + episode.length)]
            rewards.append(float(rows["reward"].astype(float).sum()))
            ends.append(bool(rows["terminated"].any()))
    return rewards, ends


@pytest.mark.parametrize("horizon", [1, 3, 1000])
def test_targets_by_hand(dataset: FrameDataset, horizon: int) -> None:
    """A target is the sum of the next rewards of the episode, and whether it ends by itself."""
    targets = targets_of(dataset, Heads(1.0, 1.0, horizon))
    rewards, ends = by_hand(dataset, horizon)
    wanted = (np.array(rewards) - np.mean(rewards)) / np.std(rewards)
    np.testing.assert_allclose(targets.reward, wanted, rtol=1e-5, atol=1e-6)
    assert targets.done.tolist() == [float(end) for end in ends]
    assert targets.ends == sum(ends) and targets.done_share == pytest.approx(np.mean(ends))


def test_last_rows_are_included_and_a_time_limit_is_no_end(dataset: FrameDataset) -> None:
    """The last frame of an episode is an end if the environment terminated it, no other one."""
    targets, last = targets_of(dataset), np.zeros(len(dataset), bool)
    kinds = set()
    for episode in dataset.episodes:
        row = episode.start + episode.length - 1
        last[row] = True
        kinds.add((episode.terminated, episode.truncated))
        assert targets.done[row] == float(episode.terminated)
    assert kinds >= {(True, False), (False, True)}
    assert not targets.done[torch.from_numpy(~last)].any()


def test_statistics_are_those_of_the_training_frames(dataset: FrameDataset) -> None:
    """Mean and spread are 0 and 1 over the training frames, whatever else there is."""
    train_rows = dataset.split(0.4, 0).train
    targets = make_head_targets(dataset, train_rows, HEADS)
    assert targets is not None
    rewards = targets.reward[torch.from_numpy(train_rows)].double()
    assert float(rewards.mean()) == pytest.approx(0, abs=1e-6)
    assert float(rewards.std(unbiased=False)) == pytest.approx(1, rel=1e-6)


def test_equal_rewards_are_zeros(dataset: FrameDataset) -> None:
    """Rewards that are all the same stand at their mean, whatever rounding makes of it."""
    joined = ConcatDataset([dataset])
    for number, steps in enumerate(joined.step_shards):
        joined.step_shards[number] = np.array(steps)
        joined.step_shards[number]["reward"] = 0.1
    targets = targets_of(joined)
    assert targets.other_rewards == 0 and float(targets.reward.abs().max()) < 1e-6
    evaluation = HeadEvaluation(HeadNetwork(4, targets.action.shape[1]), targets, HEADS)
    measures = evaluation.measure(torch.zeros(9, 4), np.arange(9))
    assert "reward_r2" not in measures and measures["reward_loss"] >= 0


@pytest.mark.parametrize(
    ("actions", "numbers"),
    [
        (np.array([2, 4, 3]), [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
        (np.array([True, False]), [[0, 1], [1, 0]]),
        (np.array([[0, 5], [1, 5]]), [[1, 0, 1], [0, 1, 1]]),
        (np.array([[-2.0, 7.0], [2.0, 7.0], [1.0, 7.0]]), [[-1, -1], [1, -1], [0.5, -1]]),
        (np.array([0, 64, 16]), [[-1], [1], [-0.5]]),
        (np.array([0, 255], np.uint8), [[-1], [1]]),
    ],
    ids=["discrete", "bool", "several", "box", "many", "bytes"],
)
def test_actions_are_numbers(actions: NDArray[Any], numbers: list[list[float]]) -> None:
    """Whole numbers are one-hot, others and large ranges are scaled to [-1, 1]."""
    np.testing.assert_allclose(encode_actions(actions, actions), numbers)


def test_an_unknown_action_is_all_zeros() -> None:
    """A whole number that no training frame has is none of those that it has."""
    np.testing.assert_array_equal(
        encode_actions(np.array([7, 1]), np.array([0, 1])), [[0, 0], [0, 1]]
    )


def test_frames_alone_are_refused(tmp_path: Path) -> None:
    """A dataset without actions, rewards and ends is refused before anything is written."""
    sprites = collect_sprites(tmp_path / "sprites", n_frames=32)
    with refused(DatasetError, "frames alone", "leave the heads out"):
        train(sprites, tmp_path / "model", replace(SHORT, heads=HEADS))
    assert [path.name for path in tmp_path.iterdir()] == ["sprites"]
    assert make_head_targets(sprites, np.arange(32), Heads()) is None


def test_actions_of_two_forms_are_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """Datasets whose actions differ in form cannot teach one head; equal ones are joined."""
    joined = ConcatDataset([dataset, dataset])
    assert len(targets_of(joined).reward) == 2 * len(dataset)
    assert torch.equal(targets_of(joined).done, targets_of(dataset).done.repeat(2))
    other = ConcatDataset([dataset, dataset])
    kind = np.dtype([("action", "<f4", (2,)), ("reward", "<f4"), ("terminated", "?")])
    other.step_shards = [*dataset.step_shards, np.zeros(3, kind)]
    with refused(DatasetError, "actions of these datasets differ", "int64", "<f4"):
        targets_of(other)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rewards_that_are_not_finite_are_refused(dataset: FrameDataset, value: float) -> None:
    """A reward of NaN or infinity is refused with a remedy."""
    joined = ConcatDataset([dataset])
    steps = np.array(joined.step_shards[0])
    steps["reward"][5] = value
    joined.step_shards = [steps, *joined.step_shards[1:]]
    with refused(DatasetError, "not finite", "leave the heads out"):
        targets_of(joined)


@pytest.mark.parametrize(
    "wrong", [{"reward": -1.0}, {"done": math.nan}, {"horizon": 0}, {"horizon": 1.5}], ids=str
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Weights below 0 and horizons below 1 are refused."""
    with refused(ConfigError, f"Heads.{next(iter(wrong))}"):
        Heads(**wrong)


def test_heads_that_are_off_leave_no_trace(dataset: FrameDataset, tmp_path: Path) -> None:
    """Without heads settings, state and checkpoint are as they were before heads existed."""
    assert "heads" not in SHORT.to_dict() and "heads" in WITH_HEADS.to_dict()
    state = initial_state(CONFIG, SHORT, dataset, dataset.split(0.1, 0).train)
    assert state.heads is None and "heads" not in state.to_dict() and state.trained is state.vae
    assert replace(SHORT, heads=Heads(horizon=4)).to_dict() == SHORT.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("objective", [Beta(), FAMILY["denoising"], FAMILY["factor-vae"]], ids=repr)
def test_heads_take_no_random_number_of_the_model(
    dataset: FrameDataset, tmp_path: Path, objective: Objective
) -> None:
    """With weights of 1e-30 the model has the bits of a training without heads."""
    plain = replace(SHORT, objective=objective)
    tiny = replace(plain, heads=Heads(1e-30, 1e-30))
    one, other = (
        outcome(train(dataset, tmp_path / name, config))
        for name, config in (("plain", plain), ("tiny", tiny))
    )
    assert one.weights == other.weights
    assert [r["loss"] for r in one.metrics] == [r["loss"] for r in other.metrics]


@pytest.fixture(scope="module")
def line() -> FrameDataset:
    """320 frames of Line, which show what its reward depends on."""
    return FrameDataset.open(little_models.dataset())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "linear"])
@pytest.mark.parametrize("name", FAMILY)
def test_heads_shape_the_code_of_every_objective(
    line: FrameDataset, tmp_path: Path, name: str, network: Any
) -> None:
    """For each objective the loss has the heads' terms, and the encoder follows them."""
    config = TrainConfig(FAMILY[name], steps=3, batch_size=24, compute="reference")
    plain, headed = (
        train(
            line, tmp_path / str(heads.on), replace(config, heads=heads), vae=VAEConfig(4, network)
        )
        for heads in (Heads(), HEADS)
    )
    one, other = (read_model(finished.path).weights for finished in (plain, headed))
    last = [name for name in one if name.startswith("encoder")][-1]
    assert not torch.equal(one[last], other[last])
    terms = headed.held_out.terms
    assert all(math.isfinite(value) for value in terms.values())
    if name == "autoencoder":
        parts = terms["reward_loss"] + terms["done_loss"]
        loss = headed.held_out.distortion + parts
        assert headed.held_out.loss == pytest.approx(loss, rel=1e-6) and parts > 5


@pytest.mark.slow
def test_a_head_learns_what_the_frame_shows(line: FrameDataset, tmp_path: Path) -> None:
    """Reward and end are predicted on episodes never trained on, and nothing raises an alarm."""
    config = TrainConfig(epochs=12, batch_size=24, heads=HEADS)
    terms = train(line, tmp_path / "model", config).held_out.terms
    assert terms["reward_r2"] > 0.8 and terms["done_precision"] > 0.8
    one = train(line, tmp_path / "one", replace(config, steps=20, epochs=None, heads=Heads(30.0)))
    assert "done_loss" not in one.held_out.terms


def test_what_a_training_with_heads_leaves(dataset: FrameDataset, tmp_path: Path) -> None:
    """The model folder has the files and weights of any model; the measures are in the records."""
    finished = train(dataset, tmp_path / "model", WITH_HEADS)
    plain = initial_state(CONFIG, SHORT, dataset, dataset.split(0.1, 0).train)
    assert set(read_model(finished.path).weights) == set(plain.vae.state_dict())
    assert {path.name for path in finished.path.iterdir()} == FINISHED
    names = {"reward_loss", "reward_r2", "done_loss", "done_r2", "done_precision"}
    assert names <= set(finished.held_out.terms)
    provenance = json.loads((finished.path / "config.json").read_bytes())["provenance"]
    assert provenance["train"]["heads"] == {"reward": 30.0, "done": 10.0, "horizon": 1}
    assert names <= set(provenance["held_out"]["terms"])
    board = EventAccumulator(str(finished.path / "tensorboard"))
    board.Reload()
    assert {f"vae/{name}" for name in names} <= set(board.Tags()["scalars"])
    assert train(dataset, tmp_path / "model", WITH_HEADS) == finished


@pytest.mark.slow
def test_the_scorecard_has_the_scores_of_the_heads(
    dataset: FrameDataset, tmp_path: Path, trained: Trained
) -> None:
    """score shows what the heads reached on the held-out frames of their training."""
    finished = train(dataset, tmp_path / "model", WITH_HEADS)
    for path, names in ((finished.path, HEAD_SCORES), (trained.path, ())):
        encoder = Encoder.load(path, runtime="torch")
        card = score_encoder(encoder, dataset, stack=1, baselines=(), progress=False)
        terms = finished.held_out.terms
        assert card.heads == {name: terms[name] for name in names}


@pytest.mark.slow
@pytest.mark.parametrize(("place", "call"), [("update", 8), ("checkpoint", 2), ("model", 1)])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    dataset: FrameDataset, tmp_path: Path, place: str, call: int
) -> None:
    """Weights, metrics and measures of the heads are those of an uninterrupted training."""
    reference = outcome(train(dataset, tmp_path / "whole", WITH_HEADS))
    interrupted(dataset, tmp_path / "model", place, call, WITH_HEADS)
    again = outcome(train(dataset, tmp_path / "model", WITH_HEADS))
    # The digest of a folder covers the seconds of its training.
    assert again._replace(digest="") == reference._replace(digest="")


@pytest.mark.parametrize("memory", [4.0, 1e-3], ids=["in memory", "streamed"])
def test_frames_and_targets_belong_together(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: float
) -> None:
    """Each update gets the actions, rewards and ends of its own frames, streamed or not."""
    right, seen = TrainStep.loss, set()
    split = dataset.split(SHORT.held_out, SHORT.seed)
    every = make_head_targets(dataset, split.train, HEADS)
    assert every is not None
    rows = {frame.tobytes(): row for row, frame in enumerate(dataset)}

    def loss(self: TrainStep, inputs: Any, weight: Any) -> Any:
        frames = (inputs.x * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        indices = [rows[frame.tobytes()] for frame in frames]
        wanted = every.select(torch.tensor(indices))
        for got, right_part in zip(inputs.targets[:3], wanted[:3], strict=True):
            assert torch.equal(got, right_part)
        seen.update(indices)
        return right(self, inputs, weight)

    monkeypatch.setattr(TrainStep, "loss", loss)
    train(dataset, tmp_path / "model", replace(WITH_HEADS, memory=memory))
    last = {episode.start + episode.length - 1 for episode in dataset.episodes}
    assert len(seen & last) > 10 and seen <= set(split.train.tolist())


@pytest.mark.slow
def test_a_sweep_trains_heads_as_one_training_does(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with heads gives the model of a single training."""
    runs = {"beta4": replace(WITH_HEADS, objective=Beta(4.0))}
    monkeypatch.setattr(sweep.os, "cpu_count", lambda: 1)
    together = train_sweep(dataset, tmp_path / "models", runs, CONFIG, workers=1, progress=False)
    for name, config in runs.items():
        alone = outcome(train(dataset, tmp_path / name, config))
        assert outcome(together[name]).metrics == alone.metrics


def test_average_precision_is_that_of_the_field() -> None:
    """It equals scikit-learn's, with equal scores, too."""
    rng = np.random.default_rng(0)
    for scores in (rng.standard_normal(50), rng.integers(0, 4, 50).astype(float), np.zeros(50)):
        positive = (rng.random(50) < 0.3).astype(float)
        wanted = average_precision_score(positive, scores)
        assert average_precision(scores, positive) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("other", "ends", "names"),
    [
        (FEW, FEW, []),
        (FEW - 1, FEW, ["few_rewards"]),
        (FEW, 0, ["few_ends"]),
        (0, 0, ["few_rewards", "few_ends"]),
    ],
)
def test_too_little_to_learn_from_raises_an_alarm(other: int, ends: int, names: list[str]) -> None:
    """Fewer than 20 frames with another reward, or with an end, are named before training."""
    targets = some_targets([0.0], [0.0], other_rewards=other, ends=ends)
    assert [alarm.name for alarm in check_head_targets(targets, HEADS)] == names
    assert check_head_targets(targets, Heads()) == [] == check_head_targets(None, HEADS)


@pytest.mark.parametrize(
    ("terms", "step", "names"),
    [
        ({"reward_r2": 0.02, "done_r2": 0.3}, 1000, []),
        ({"reward_r2": 0.0, "done_r2": 0.3}, 1000, ["reward_head"]),
        ({"reward_r2": 0.5, "done_r2": -0.1}, 250, ["done_head"]),
        ({"reward_r2": -1.0, "done_r2": -1.0}, 249, []),
        ({}, 1000, []),
    ],
    ids=str,
)
def test_a_head_that_learns_nothing_raises_an_alarm(
    terms: dict[str, float], step: int, names: list[str]
) -> None:
    """A head that explains less than 1 % of its target after a quarter of the updates is named."""
    config = TrainConfig(heads=HEADS)
    assert [alarm.name for alarm in check_heads(None, terms, config, step, 1000)] == names


def test_a_training_without_rewards_says_so(
    dataset: FrameDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With equal rewards the alarm is printed at the start and kept, and the training ends."""
    right: Callable[..., Any] = make_head_targets

    def equal_rewards(*arguments: Any) -> HeadTargets:
        targets = right(*arguments)
        assert isinstance(targets, HeadTargets)
        return targets._replace(reward=torch.zeros_like(targets.reward), other_rewards=0)

    monkeypatch.setattr("rl_vae.training.loop.make_head_targets", equal_rewards)
    config = TrainConfig(steps=2, batch_size=48, heads=Heads(reward=30.0))
    finished = train(dataset, tmp_path / "model", config)
    assert [alarm.name for alarm in finished.alarms] == ["few_rewards"]
    assert capsys.readouterr().out.count("ALARM few_rewards") == 1
    assert "reward_r2" not in finished.held_out.terms and "reward_loss" in finished.held_out.terms


def test_a_head_network_has_one_hidden_layer() -> None:
    """(B, Z) and (B, A) become (B, 2)."""
    assert HeadNetwork(4, 3)(torch.zeros(5, 4), torch.zeros(5, 3)).shape == (5, 2)
