"""The scorecard: one table and one set of figures, from episodes that no probe saw."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import COUNTING, refused

import rl_vae.analysis.scorecard
from rl_vae import Encoder, FrameDataset, FrameSpec, Scorecard, collect_frames, score_encoder
from rl_vae.analysis.bootstrap import BootstrapEstimate
from rl_vae.analysis.probes import PROBES, probe
from rl_vae.cli import main
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.models.statistics import score_frames

CODES = ("vae", "one frame", "random", "pca", "pixels")


@pytest.fixture(scope="module")
def card(encoder: Encoder, dataset: FrameDataset) -> Scorecard:
    return score_encoder(encoder, dataset, stack=2, seed=1, progress=False)


def test_every_target_is_probed_by_every_code(card: Scorecard, dataset: FrameDataset) -> None:
    """State, reward, done and action are each read by both probes from all five inputs."""
    names = [target.name for target in card.targets]
    assert names == [*dataset.header.factor_names, "reward", "done", "action"]
    assert set(card.probes) == {(p, c, n) for p in PROBES for c in CODES for n in names}
    assert card.dropped == {}


def test_figures_are_flat_and_the_table_says_them(card: Scorecard) -> None:
    """Every score is a figure with its interval, and each row and sentence is in the text."""
    figures, text = card.figures(), str(card)
    assert np.isfinite([float(value) for value in figures.values()]).all()
    for key, found in card.probes.items():
        name = "_".join(key).replace(" ", "_")
        assert figures[name] == found.value
        assert figures[f"{name}_low"] <= figures[f"{name}_high"]
    assert {"rate", "distortion", "elbo", "active_units", "moving_error_pca"} <= set(figures)
    assert all(f"{target.name} (" in text for target in card.targets)
    assert all(sentence in text for sentence in card.verdicts())


def test_no_episode_is_on_both_sides(
    encoder: Encoder, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames a probe is fitted on and those it is measured on are of other episodes."""
    seen: list[Any] = []

    def watch(*arguments: Any) -> dict[str, BootstrapEstimate]:
        seen.append(arguments[3])
        return probe(*arguments)

    monkeypatch.setattr(rl_vae.analysis.scorecard, "probe", watch)
    monkeypatch.setattr(rl_vae.analysis.scorecard, "PROBES", ("linear",))
    score_encoder(encoder, dataset, stack=1, progress=False)
    starts = np.array([episode.start for episode in dataset.episodes])
    assert len(seen) == 8  # states and actions by four codes; of one frame the fifth is the first
    for halves in seen:
        sides = [set(np.searchsorted(starts, half, side="right")) for half in halves[:3]]
        assert sides[0] and sides[1] and sides[2]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_large_datasets_are_cut_by_whole_episodes(
    encoder: Encoder, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more frames than are needed, whole episodes are taken."""
    monkeypatch.setattr(rl_vae.analysis.scorecard, "MOST_FRAMES", 200)
    monkeypatch.setattr(rl_vae.analysis.scorecard, "PROBES", ("linear",))
    small = score_encoder(encoder, dataset, stack=1, progress=False)
    assert 150 < small.train[0] + small.test[0] < 250
    assert 0 < small.test[1] < small.train[1] < len(dataset.episodes)


def test_the_measures_are_those_of_the_held_out_frames(
    card: Scorecard, dataset: FrameDataset, encoder: Encoder
) -> None:
    """Rate, distortion and error are means over the held-out episodes, in nats a frame."""
    rows = dataset.split(0.3, 1).held_out
    right = score_frames(encoder.vae, dataset.frames(rows))
    assert card.test[0] == len(rows)
    assert card.held_out.rate == pytest.approx(right.rate.mean(), rel=1e-4)
    assert card.held_out.mse == pytest.approx(right.error.mean(), rel=1e-4)
    assert card.held_out.distortion >= right.distortion.mean()  # that of drawn codes
    assert card.held_out.elbo == pytest.approx(-card.held_out.rate - card.held_out.distortion)
    assert any("trained on frames of this dataset" in note for note in card.notes)


def test_a_verdict_is_given_where_all_resamples_agree(card: Scorecard) -> None:
    """Better and worse are said by the differences over episodes; equal ones are no clear difference."""

    def scores(mean: float) -> BootstrapEstimate:
        draws = mean + np.random.default_rng(0).normal(0, 0.1, 1000)
        return BootstrapEstimate(mean, mean - 0.2, mean + 0.2, draws)

    high, low, known = scores(0.9), scores(0.89), {}
    for key in card.probes:
        known[key] = high if key[1] == "vae" else low if key[1] == "pca" else scores(0.95)
        if key[1] == "random":
            known[key] = high
    made = replace(card, probes=known)
    names = ", ".join(target.name for target in card.targets)
    told = made.verdicts()
    assert told[0].startswith(f"vae against random: no clear difference: {names}")
    assert told[1].startswith(f"vae against pca: better: {names}")
    assert told[2].startswith(f"vae against pixels: worse: {names}")
    assert all("moving pixels" in sentence for sentence in told)
    poor = {key: BootstrapEstimate(-0.1, -0.2, -0.05, np.linspace(-1, 0, 9)) for key in card.probes}
    told = replace(card, probes=poor).verdicts()
    assert f"read by neither: {names}" in told[1]


def test_the_better_probe_speaks_for_a_code(card: Scorecard) -> None:
    """A code that only the MLP reads is not beaten by one that a line reads less well."""
    draws = np.zeros(1000)
    weak, strong, other = (BootstrapEstimate(by, by, by, draws + by) for by in (0.1, 0.9, 0.5))
    known = {
        key: other if key[1] != "vae" else strong if key[0] == "mlp" else weak
        for key in card.probes
    }
    made = replace(card, probes=known)
    assert made.best("vae", "reward") is strong
    assert "vae against pca: better: " in made.verdicts()[1]


def test_velocities_are_named(card: Scorecard) -> None:
    """A velocity is recoverable where the lower end of a probe's interval is above a half."""
    target = card.targets[0]._replace(name="velocity_x")

    def give(low: float) -> Scorecard:
        found = BootstrapEstimate(0.8, low, 0.9, np.zeros(1))
        poor = BootstrapEstimate(0.1, 0.0, 0.2, np.zeros(1))
        probes = {
            (kind, code, "velocity_x"): found if (kind, code) == ("mlp", "vae") else poor
            for kind in PROBES
            for code in CODES
        }
        return replace(card, targets=(target,), probes=probes)

    assert give(0.6).velocities() == {"velocity_x": (0.1, 0.8, True)}
    assert give(0.4).velocities() == {"velocity_x": (0.1, 0.8, False)}
    assert "velocity_x: R2 0.10 from one frame, 0.80 from 2: recoverable" in str(give(0.6))
    assert card.velocities() == {}


def test_without_state_the_rest_is_scored(
    encoder: Encoder, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset without factors gives reward, done, action and pixels, and says what is missing."""
    bare = FrameDataset.open(dataset.path)
    bare.header = replace(bare.header, engine="envpool", factor_names=())
    monkeypatch.setattr(rl_vae.analysis.scorecard, "PROBES", ("linear",))
    card = score_encoder(encoder, bare, stack=1, progress=False)
    assert [target.name for target in card.targets] == ["reward", "done", "action"]
    assert "No state: the engine envpool gave no factors" in str(card)
    assert not any("trained on" in note for note in card.notes)


def test_the_command_prints_the_table_and_writes_the_figures(
    encoder: Encoder,
    dataset: FrameDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """rl-vae score prints what `str` gives and writes what `figures` gives, for that seed."""
    monkeypatch.setattr(rl_vae.analysis.scorecard, "PROBES", ("linear",))
    path = tmp_path / "figures.json"
    arguments = ["--stack", "1", "--seed", "3", "--json", str(path)]
    main(["score", str(encoder.path), str(dataset.path), *arguments])
    card = score_encoder(encoder, dataset, stack=1, seed=3, progress=False)
    assert capfd.readouterr().out == f"{card}\n"
    written = json.loads(path.read_bytes())
    assert written["figures"] == card.figures() and written["seeds"] == [3]


def test_what_does_not_fit_is_refused(
    encoder: Encoder, dataset: FrameDataset, tmp_path: Path
) -> None:
    """Frames of another spec and a stack of none are refused."""
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
    with refused(ConfigError, "stack"):
        score_encoder(encoder, dataset, stack=0)
