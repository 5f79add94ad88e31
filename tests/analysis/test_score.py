"""score: what score_encoder measures, and on which frames."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import COUNTING, refused

import rl_vae.analysis.score
from rl_vae import Encoder, FrameDataset, FrameSpec, Scorecard, collect_frames, score_encoder
from rl_vae.analysis.bootstrap import BootstrapEstimate
from rl_vae.analysis.probes import PROBES, probe
from rl_vae.cli import main
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.models.scores import score_frames

CODES = ("vae", "one frame", "random", "pca", "pixels")


@pytest.fixture(scope="module")
def card(encoder: Encoder, dataset: FrameDataset) -> Scorecard:
    return score_encoder(encoder, dataset, stack=2, seed=1, progress=False)


@pytest.fixture
def linear_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the MLP, which takes longest."""
    for module in ("score", "scorecard"):
        monkeypatch.setattr(f"rl_vae.analysis.{module}.PROBES", ("linear",))


def test_every_target_is_read_from_every_code(card: Scorecard, dataset: FrameDataset) -> None:
    """State, reward, done and action are read by both probes from all five inputs."""
    names = [target.name for target in card.targets]
    assert names == [*dataset.header.factor_names, "reward", "done", "action"]
    assert set(card.probes) == {(p, c, n) for p in PROBES for c in CODES for n in names}
    assert card.dropped == {}


def test_figures_and_text_hold_all_scores(card: Scorecard) -> None:
    """Each score is a figure with its interval; each target and sentence is in the text."""
    figures, text = card.figures(), str(card)
    assert np.isfinite([float(value) for value in figures.values()]).all()
    for key, score in card.probes.items():
        name = "_".join(key).replace(" ", "_")
        assert figures[name] == score.value
        assert figures[f"{name}_low"] <= figures[f"{name}_high"]
    assert {"rate", "distortion", "elbo", "active_units", "moving_error_pca"} <= set(figures)
    assert all(f"{target.name} (" in text for target in card.targets)
    assert all(sentence in text for sentence in card.comparisons())


def test_no_episode_is_in_two_parts(
    encoder: Encoder, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch, linear_only: None
) -> None:
    """A probe is fitted, checked and tested on frames of different episodes."""
    splits: list[Any] = []

    def watch(*arguments: Any) -> dict[str, BootstrapEstimate]:
        splits.append(arguments[3])
        return probe(*arguments)

    monkeypatch.setattr(rl_vae.analysis.score, "probe", watch)
    score_encoder(encoder, dataset, stack=1, progress=False)
    starts = np.array([episode.start for episode in dataset.episodes])
    assert len(splits) == 8  # states and actions, four codes: with stack 1 "one frame" is "vae"
    for split in splits:
        parts = [set(np.searchsorted(starts, rows, side="right")) for rows in split[:3]]
        assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2])
        assert not parts[1] & parts[2]


def test_of_a_large_dataset_whole_episodes_are_used(
    encoder: Encoder, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch, linear_only: None
) -> None:
    """If there are more frames than MAX_FRAMES, some whole episodes are used."""
    monkeypatch.setattr(rl_vae.analysis.score, "MAX_FRAMES", 200)
    small = score_encoder(encoder, dataset, stack=1, progress=False, baselines=())
    assert 150 < small.train[0] + small.test[0] < 250
    assert 0 < small.test[1] < small.train[1] < len(dataset.episodes)
    assert small.baselines == () and small.comparisons() == []


def test_rate_and_distortion_are_those_of_the_test_frames(
    card: Scorecard, dataset: FrameDataset, encoder: Encoder
) -> None:
    """Rate, distortion and error are means over the test episodes, in nats per frame."""
    indices = dataset.split(0.3, 1).held_out
    expected = score_frames(encoder.vae, dataset.frames(indices))
    held_out = card.held_out
    assert card.test[0] == len(indices)
    assert held_out.rate == pytest.approx(expected.rate.mean(), rel=1e-4)
    assert held_out.mse == pytest.approx(expected.error.mean(), rel=1e-4)
    assert held_out.distortion >= expected.distortion.mean()  # with sampled z
    assert held_out.elbo == pytest.approx(-held_out.rate - held_out.distortion)
    assert any("trained on frames of this dataset" in note for note in card.notes)


def test_a_dataset_without_state_is_scored_too(
    encoder: Encoder, dataset: FrameDataset, linear_only: None
) -> None:
    """Without factors, reward, done and action are scored, and a note names what is missing."""
    bare = FrameDataset.open(dataset.path)
    bare.header = replace(bare.header, engine="envpool", factor_names=())
    card = score_encoder(encoder, bare, stack=1, progress=False, baselines=())
    assert [target.name for target in card.targets] == ["reward", "done", "action"]
    assert "No state: the dataset has no factors (engine envpool" in str(card)
    assert not any("trained on" in note for note in card.notes)


@pytest.mark.slow
def test_the_command_prints_the_table_and_writes_the_figures(
    encoder: Encoder,
    dataset: FrameDataset,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    linear_only: None,
) -> None:
    """rl-vae score prints the text of the scorecard and writes its figures."""
    path = tmp_path / "figures.json"
    arguments = ["--stack", "1", "--seed", "3", "--json", str(path)]
    main(["score", str(encoder.path), str(dataset.path), *arguments])
    card = score_encoder(encoder, dataset, stack=1, seed=3, progress=False)
    assert capfd.readouterr().out == f"{card}\n"
    written = json.loads(path.read_bytes())
    assert written["figures"] == card.figures() and written["seeds"] == [3]


@pytest.mark.parametrize("stack", [0, 1.5, True])
def test_a_wrong_stack_is_refused(encoder: Encoder, dataset: FrameDataset, stack: Any) -> None:
    """A stack that is not a whole number from 1 up raises ConfigError."""
    with refused(ConfigError, "stack"):
        score_encoder(encoder, dataset, stack=stack)


def test_frames_of_another_spec_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    """Frames of another size raise ObservationError."""
    other = collect_frames(
        COUNTING,
        tmp_path,
        n_frames=16,
        spec=FrameSpec(height=32, width=32),
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    with refused(ObservationError, "32"):
        score_encoder(encoder, other)
