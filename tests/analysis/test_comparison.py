"""Comparisons: each run once, continued after an interruption; conclusions follow from the data."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_games
import little_models
import numpy as np
import pytest
from environments import refused
from jobs import HereExecutor
from little_games import LINE
from sklearn.decomposition import PCA

from rl_vae import (
    Agent,
    Encoder,
    FrameSpec,
    compare,
    save_encoder,
)
from rl_vae.agents.baselines import StateVecEnv
from rl_vae.analysis.comparison import runner
from rl_vae.analysis.comparison.compare import summarise
from rl_vae.analysis.comparison.encoders import check_encoder
from rl_vae.analysis.comparison.runner import StageClock, run_stage
from rl_vae.analysis.comparison.summary import summarise_runs
from rl_vae.analysis.comparison.tables import conclusions, tables
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, FolderError, TrainingError
from rl_vae.sb3 import play

pytestmark = pytest.mark.slow

CONFIG = little_models.COMPARISON


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A comparison that was interrupted after two runs, and then continued."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor(stop_after=2))
        with pytest.raises(KeyboardInterrupt):
            compare(CONFIG, out, workers=1, progress=False)
        early = {path.name: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
        patch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
        comparison = compare(CONFIG, out, workers=1, progress=False)
    return {"out": out, "early": early, "summary": comparison.summary}


def read_run(out: Path, system: str) -> dict[str, Any]:
    """The result of a run with seed 0."""
    run: dict[str, Any] = json.loads((out / "runs" / f"{system}-seed0.json").read_bytes())
    return run


def test_an_interrupted_comparison_continues(compared: dict[str, Any]) -> None:
    """Runs that finished before an interruption are kept, and the others are run."""
    runs = {path.name: path.stat().st_mtime_ns for path in (compared["out"] / "runs").iterdir()}
    assert len(compared["early"]) == 2
    assert len(runs) == len(CONFIG.systems) == 6
    assert compared["early"].items() <= runs.items()


def test_equal_conditions(compared: dict[str, Any]) -> None:
    """Every system has the same environment steps and evaluation. The frames that a code was
    trained on are counted."""
    runs = {system: read_run(compared["out"], system) for system in CONFIG.systems}
    assert {run["agent_steps"] for run in runs.values()} == {256}
    assert {len(run["returns"]) for run in runs.values()} == {2}
    frames = {system: run["pretraining_frames"] for system, run in runs.items()}
    codes = dict.fromkeys(("beta4", "random", "pca", "autoencoder"), 160)
    assert frames == {**codes, "pixels": 0, "state": 0}
    pca = compared["summary"].systems["pca"]
    assert (pca.agent_steps + pca.pretraining_frames, pca.n) == (416, 1)
    for run in runs.values():
        assert run["return"] == pytest.approx(np.mean(run["returns"]))
        assert run["curve"][-1] == [256, run["return"]]
        assert run["seconds"]["agent"] > 0


def test_scores(compared: dict[str, Any]) -> None:
    """Codes have scores, frames and state have none. Rate and distortion need a trained decoder."""
    trained = {"distortion", "mse", "moving_error"}
    for system in ("beta4", "autoencoder"):
        scores = read_run(compared["out"], system)["scores"]
        assert trained <= set(scores)
        assert ("rate" in scores) == (system == "beta4"), "an autoencoder has no rate"
    for system in ("random", "pca"):
        scores = read_run(compared["out"], system)["scores"]
        assert not trained & set(scores)
        assert 0 <= scores["state_linear_x"] <= 1
    for system in ("pixels", "state"):
        assert read_run(compared["out"], system)["scores"] == {}


def test_files(compared: dict[str, Any]) -> None:
    """The folder holds the summary as tables, as JSON and as flat figures."""
    out = compared["out"]
    assert (out / "table.md").read_text() == f"{tables(compared['summary'])}\n"
    content = json.loads((out / "comparison.json").read_bytes())
    assert set(content["systems"]) == set(CONFIG.systems)
    assert content["missing"] == []
    figures = json.loads((out / "figures.json").read_bytes())["figures"]
    assert figures["return_beta4"] == pytest.approx(read_run(out, "beta4")["return"])
    assert json.loads((out / "config.json").read_bytes())["systems"] == list(CONFIG.systems)


def test_baseline_codes_are_models(compared: dict[str, Any]) -> None:
    """An untrained network and PCA load as any model. Over their frames, latents have mean 0 and
    variance 1, and those of PCA are uncorrelated."""
    frames = FrameDataset.open(compared["out"] / "frames")
    fitted = frames.frames(frames.split(0.1, 0).train)
    for system in ("random", "pca"):
        mu = Encoder.load(compared["out"] / "models" / f"{system}-seed0").encode(fitted)
        np.testing.assert_allclose(mu.mean(0), 0, atol=2e-3)
        np.testing.assert_allclose(mu.std(0), 1, atol=1e-2)
    off = np.corrcoef(mu.T) - np.eye(3)
    np.testing.assert_allclose(off, 0, atol=1e-3)


def test_a_scaled_autoencoder_is_the_same(compared: dict[str, Any]) -> None:
    """The latents of an autoencoder are scaled to mean 0 and variance 1; reconstructions stay."""
    models, frames = compared["out"] / "models", FrameDataset.open(compared["out"] / "frames")
    before = Encoder.load(models / "autoencoder-seed0-unscaled")
    after = Encoder.load(models / "autoencoder-seed0")
    fitted = frames.frames(frames.split(0.1, 0).train)
    mu, old = after.encode(fitted), before.encode(fitted)
    np.testing.assert_allclose(mu, (old - old.mean(0)) / old.std(0), atol=1e-3)
    assert not np.allclose(mu, old, atol=0.1)
    first, second = (np.asarray(one.reconstruct(fitted), int) for one in (before, after))
    assert np.abs(first - second).max() <= 1


def test_pca_is_pca(compared: dict[str, Any]) -> None:
    """The code of PCA is the projection on the directions of largest variance."""
    frames = FrameDataset.open(compared["out"] / "frames")
    fitted = frames.frames(frames.split(0.1, 0).train)
    mu = Encoder.load(compared["out"] / "models" / "pca-seed0").encode(fitted)
    flat = fitted.reshape(len(fitted), -1) / 255.0
    left, _, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    cosines = np.abs(left[:, :3].T @ mu) / np.linalg.norm(mu, axis=0)
    np.testing.assert_allclose(cosines, np.eye(3), atol=0.02)


def test_state_starts_like_pixels(compared: dict[str, Any]) -> None:
    """An agent that observes the state plays the same episodes from the same seeds."""
    frames = FrameDataset.open(compared["out"] / "frames")
    venv = StateVecEnv(EnvSource.of(LINE), 2, 1, np.zeros(1), np.full(1, 0.5))
    venv.seed(2**30 + 3)
    observed = venv.reset()
    for index in range(2):
        game = little_games.Line()
        game.reset(seed=2**30 + 3 + index)
        assert isinstance(observed, np.ndarray)
        assert observed[index, 0] == pytest.approx(2 * game.factors()["x"])
    played = play(venv, lambda *_: np.array([1, 1]), 3, 2**30)
    venv.close()
    assert played.lengths.max() <= little_games.Line.TIME
    assert frames.header.factor_names == ("x",)


def test_an_environment_is_given_as_a_function(
    compared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison in the environments of a function has the returns of the one by their id."""
    monkeypatch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    config = replace(CONFIG, env_id="Mine", betas=(), baselines=("pca",))
    compare(config, tmp_path / "out", env=lambda: gym.make(LINE), workers=1, progress=False)
    for system in config.systems:
        by_id = read_run(compared["out"], system)["returns"]
        assert read_run(tmp_path / "out", system)["returns"] == by_id


def test_an_encoder_of_another_project_is_compared(
    compared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model folder is a system: its codes are scored and standardised for its agent."""
    monkeypatch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    pca = PCA(2).fit(np.random.default_rng(0).random((8, 40 * 40 * 3)))
    dataset = FrameDataset.open(compared["out"] / "frames")
    save_encoder(tmp_path / "theirs", pca, dataset=dataset)
    save_encoder(tmp_path / "bare", pca, CONFIG.spec, dataset.header.raw_shape)
    config = replace(CONFIG, betas=(), baselines=(str(tmp_path / "theirs"),))
    assert config.systems == ("model-theirs",)
    compare(config, tmp_path / "out", workers=1, progress=False)
    run = read_run(tmp_path / "out", "model-theirs")
    assert run["pretraining_frames"] == 0 and "distortion" in run["scores"]
    assert Agent.load(tmp_path / "out/agents/model-theirs-seed0").recipe.standardise
    with refused(FolderError, "no statistics"):
        check_encoder(str(tmp_path / "bare"), dataset)
    with refused(ConfigError, "takes other frames"):
        check_encoder(str(Path(little_models.model())), dataset)


def test_other_settings_are_refused(compared: dict[str, Any]) -> None:
    """A folder continues with its own settings or with more seeds, and with nothing else."""
    other = replace(CONFIG, frames=200)
    with pytest.raises(FolderError, match="another comparison"):
        compare(other, compared["out"], progress=False)
    with pytest.raises(FolderError, match="not empty"):
        compare(CONFIG, compared["out"].parent, progress=False)


def test_a_run_fails(
    compared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the run that failed. The others are kept, and the summary lists the run as
    missing."""
    out = Path(shutil.copytree(compared["out"], tmp_path / "out"))
    (out / "runs" / "random-seed0.json").unlink()
    (out / "stages" / "random-seed0" / "scores.json").unlink()
    (out / "models" / "random-seed0" / "encoder.onnx").write_bytes(b"")
    monkeypatch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    with pytest.raises(TrainingError, match="random-seed0"):
        compare(CONFIG, out, progress=False)
    summary = summarise(out)
    assert summary.missing == ("random-seed0",)
    assert "random-seed0" in conclusions(summary)[0]


def test_processes(compared: dict[str, Any], tmp_path: Path) -> None:
    """A run in a process of its own has the same result as a run in this process."""
    out = Path(shutil.copytree(compared["out"], tmp_path / "out"))
    (out / "runs" / "state-seed0.json").unlink()
    shutil.rmtree(out / "stages" / "state-seed0")
    shutil.rmtree(out / "agents" / "state-seed0")
    compare(CONFIG, out, workers=1, progress=False)
    assert read_run(out, "state")["returns"] == read_run(compared["out"], "state")["returns"]


def runs_of(system: str, returns: list[float], **scores: list[float]) -> list[dict[str, Any]]:
    """Results of invented runs."""
    return [
        {
            "system": system,
            "return": value,
            "agent_steps": 10,
            "pretraining_frames": 5,
            "seconds": {"agent": 1.0, "score": 9.0},
            "scores": {name: values[i] for name, values in scores.items()},
        }
        for i, value in enumerate(returns)
    ]


def test_conclusions_follow_from_the_data() -> None:
    """A system is better if its seeds are clearly better, and not if the seeds overlap."""
    runs = [
        *runs_of("beta1", [5.0, 6.0, 7.0, 8.0, 9.0], mig=[0.1, 0.2, 0.3, 0.4, 0.5]),
        *runs_of("beta4", [1.0, 2.0, 3.0, 4.0, 4.5], mig=[0.6, 0.7, 0.8, 0.9, 1.0]),
        *runs_of("state", [4.0, 5.5, 6.5, 9.0, 4.2]),
    ]
    summary = summarise_runs(runs, ["beta1", "beta4", "state"])
    differences = {(pair.a, pair.b): pair.difference for pair in summary.pairs}
    assert differences["beta1", "beta4"] == "a"
    assert differences["beta1", "state"] == "not significant"
    assert summary.pairs[0].p == pytest.approx(2 / 252)  # all five of one above all five of another
    assert summary.systems["beta1"].seconds == 1.0
    assert summary.correlations["betas"]["mig"].value < 0
    text = " ".join(conclusions(summary))
    assert "beta1 returned more than beta4." in text
    assert "beta1 and state" in text


@pytest.mark.parametrize("n", [1, 3])
def test_three_seeds_are_too_few(n: int) -> None:
    """With up to three seeds per system no difference is significant, however large it is."""
    runs = [*runs_of("beta1", [9.0] * n), *runs_of("pca", [float(i) for i in range(n)])]
    pairs = summarise_runs(runs, ["beta1", "pca"]).pairs
    assert [pair.difference for pair in pairs] == ["not significant"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"baselines": ("pixel",)}, "baselines"),
        ({"betas": (), "baselines": ()}, "one beta or one baseline"),
        ({"betas": (1.0, 1.0)}, "betas"),
        ({"betas": (-1.0,)}, "betas"),
        ({"betas": ("4",)}, "betas"),
        ({"seeds": ()}, "one seed or more"),
        ({"seeds": (0, 0)}, "seeds"),
        ({"frames": 63}, "frames"),
        ({"episodes": 0}, "episodes"),
        ({"episodes": True}, "episodes"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], name: str) -> None:
    """Settings out of range or of another type raise ConfigError, which names the setting."""
    with pytest.raises(ConfigError, match=name):
        replace(CONFIG, **settings)


def test_small_frames_are_refused(tmp_path: Path) -> None:
    """Frames too small for SB3's CnnPolicy are refused before anything is trained."""
    config = replace(CONFIG, spec=FrameSpec(32, 32))
    with pytest.raises(ConfigError, match="CnnPolicy"):
        compare(config, tmp_path / "out", workers=1, progress=False)
    assert not (tmp_path / "out" / "models").exists()


@pytest.mark.parametrize("resumable", [True, False])
def test_an_interrupted_stage_keeps_its_seconds(tmp_path: Path, resumable: bool) -> None:
    """The seconds of an interrupted start count if the work is resumable, and only then."""

    def interrupt(clock: StageClock) -> None:
        clock.seconds += 100.0
        raise KeyboardInterrupt

    path = tmp_path / "stage"
    with pytest.raises(KeyboardInterrupt):
        run_stage(path, interrupt, resumable=resumable)
    result = run_stage(path, lambda clock: {"value": 1}, resumable=resumable)
    assert result["starts"] == (2 if resumable else 1)
    assert (100.0 <= result["seconds"] < 150.0) == resumable
    assert result["value"] == 1
    assert run_stage(path, interrupt) == result, "a finished stage is not run again"
    assert [file.name for file in tmp_path.iterdir()] == ["stage.json"]


def test_a_pause_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in which the process was stopped are counted apart from the others."""
    monkeypatch.setattr(runner, "LONGEST_TICK", -1.0)  # every update comes too late
    with StageClock(tmp_path / "clock", restart=True) as clock:
        time.sleep(0.01)
    assert clock.to_dict()["paused"] > 0 and clock.to_dict()["seconds"] == 0
