"""Comparisons: every cell once, resumed after a kill, and no more said than the cells support."""

import json
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import little_games
import numpy as np
import pytest
from little_games import LINE

from rl_vae import ComparisonConfig, Encoder, FrameSpec, TrainConfig, VAEConfig, compare
from rl_vae.agents.baselines import StateVecEnv
from rl_vae.analysis.comparison import compare as module
from rl_vae.analysis.comparison.compare import summarise
from rl_vae.analysis.comparison.run import run_cell, taken_apart
from rl_vae.analysis.comparison.summary import Standings, standings_of
from rl_vae.analysis.comparison.tables import sentences, tables
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError, RlVaeError, TrainingError
from rl_vae.sb3 import play
from rl_vae.system.processes import Told

CONFIG = ComparisonConfig(
    env_id=LINE,
    recipe=little_games.PPO,
    betas=(4.0,),
    seeds=(0,),
    frames=160,
    spec=FrameSpec(40, 40),
    vae=VAEConfig(latent_dim=3),
    train=TrainConfig(steps=8, batch_size=16),
    episodes=2,
    evaluations=1,
)


def here(stop_after: int | None = None) -> Callable[..., Generator[Told | None, None, None]]:
    """run_jobs in this process; Ctrl-C comes after so many."""

    def run_jobs(
        _: Any, jobs: dict[str, tuple[Any, ...]], *_at: int, **_with: int
    ) -> Generator[Told | None, None, None]:
        for done, (name, job) in enumerate(jobs.items()):
            if done == stop_after:
                raise KeyboardInterrupt
            try:
                yield Told(name, "made", run_cell(*job)["return"])
            except RlVaeError as error:
                yield Told(name, "failed", error)
            yield None

    return run_jobs


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A comparison that Ctrl-C stopped after two cells, and that then went on."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_jobs", here(stop_after=2))
        with pytest.raises(KeyboardInterrupt):
            compare(CONFIG, out, workers=1, progress=False)
        early = {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
        patch.setattr(module, "run_jobs", here())
        made = compare(CONFIG, out, workers=1, progress=False)
    return {"out": out, "early": early, "standings": made.standings}


def cell(out: Path, system: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "cells" / f"{system}-seed0.json").read_bytes())
    return found


def test_goes_on(compared: dict[str, Any]) -> None:
    """Cells that were finished before a kill are kept, the others are made."""
    cells = {path.name: path.stat().st_mtime_ns for path in (compared["out"] / "cells").iterdir()}
    assert len(compared["early"]) == 2
    assert len(cells) == len(CONFIG.systems) == 6
    assert compared["early"].items() <= cells.items()


def test_equal_terms(compared: dict[str, Any]) -> None:
    """Every system gets the same environment steps and evaluation; frames that codes were trained
    on are counted to them."""
    cells = {system: cell(compared["out"], system) for system in CONFIG.systems}
    assert {one["agent_steps"] for one in cells.values()} == {256}
    assert {len(one["returns"]) for one in cells.values()} == {2}
    frames = {system: one["pretraining_frames"] for system, one in cells.items()}
    coded = dict.fromkeys(("beta4", "random", "pca", "autoencoder"), 160)
    assert frames == {**coded, "pixels": 0, "state": 0}
    steps = compared["standings"].systems
    assert (steps["pca"].agent_steps + steps["pca"].pretraining_frames, steps["pca"].n) == (416, 1)
    for one in cells.values():
        assert one["return"] == pytest.approx(np.mean(one["returns"]))
        assert one["curve"][-1] == [256, one["return"]]
        assert one["seconds"]["agent"] > 0


def test_scores(compared: dict[str, Any]) -> None:
    """Codes are scored; rate and distortion only where a decoder was trained; sights are not."""
    trained = {"distortion", "mse", "moving_error"}
    for system in ("beta4", "autoencoder"):
        scores = cell(compared["out"], system)["scores"]
        assert trained <= set(scores)
        assert ("rate" in scores) == (system == "beta4"), "an autoencoder has no rate"
    for system in ("random", "pca"):
        scores = cell(compared["out"], system)["scores"]
        assert not trained & set(scores)
        assert 0 <= scores["state_linear_x"] <= 1
    for system in ("pixels", "state"):
        assert cell(compared["out"], system)["scores"] == {}


def test_files(compared: dict[str, Any]) -> None:
    """The folder holds what a report reads, in plain JSON."""
    out = compared["out"]
    assert (out / "table.md").read_text() == f"{tables(compared['standings'])}\n"
    said = json.loads((out / "comparison.json").read_bytes())
    assert set(said["systems"]) == set(CONFIG.systems)
    assert said["missing"] == []
    figures = json.loads((out / "figures.json").read_bytes())["figures"]
    assert figures["return_beta4"] == pytest.approx(cell(out, "beta4")["return"])
    assert json.loads((out / "config.json").read_bytes())["systems"] == list(CONFIG.systems)


def test_stand_ins_are_models(compared: dict[str, Any]) -> None:
    """An untrained network and PCA load as any model does; over their frames latents have mean 0
    and variance 1, and PCA's are uncorrelated."""
    frames = FrameDataset.open(compared["out"] / "frames")
    shown = frames.frames(frames.split(0.1, 0).train)
    for system in ("random", "pca"):
        mu = Encoder.load(compared["out"] / "models" / f"{system}-seed0").encode(shown)
        np.testing.assert_allclose(mu.mean(0), 0, atol=2e-3)
        np.testing.assert_allclose(mu.std(0), 1, atol=1e-2)
    off = np.corrcoef(mu.T) - np.eye(3)
    np.testing.assert_allclose(off, 0, atol=1e-3)


def test_a_scaled_autoencoder_is_the_same(compared: dict[str, Any]) -> None:
    """An autoencoder's latents are scaled to mean 0 and variance 1; what it rebuilds stays."""
    models, frames = compared["out"] / "models", FrameDataset.open(compared["out"] / "frames")
    before = Encoder.load(models / "autoencoder-seed0-unscaled")
    after = Encoder.load(models / "autoencoder-seed0")
    shown = frames.frames(frames.split(0.1, 0).train)
    mu, old = after.encode(shown), before.encode(shown)
    np.testing.assert_allclose(mu, (old - old.mean(0)) / old.std(0), atol=1e-3)
    assert not np.allclose(mu, old, atol=0.1)
    here, there = (np.asarray(one.reconstruct(shown), int) for one in (before, after))
    assert np.abs(here - there).max() <= 1


def test_pca_is_pca(compared: dict[str, Any]) -> None:
    """PCA's code is the projection on the directions of most variance."""
    frames = FrameDataset.open(compared["out"] / "frames")
    shown = frames.frames(frames.split(0.1, 0).train)
    mu = Encoder.load(compared["out"] / "models" / "pca-seed0").encode(shown)
    flat = shown.reshape(len(shown), -1) / 255.0
    left, _, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    right = np.abs(left[:, :3].T @ mu) / np.linalg.norm(mu, axis=0)
    np.testing.assert_allclose(right, np.eye(3), atol=0.02)


def test_state_starts_where_pixels_do(compared: dict[str, Any]) -> None:
    """The agent that sees the state plays the same episodes from the same seeds."""
    frames = FrameDataset.open(compared["out"] / "frames")
    venv = StateVecEnv(LINE, 2, {}, 1, np.zeros(1), np.full(1, 0.5))
    venv.seed(2**30 + 3)
    seen = venv.reset()
    for lane in range(2):
        game = little_games.Line()
        game.reset(seed=2**30 + 3 + lane)
        assert isinstance(seen, np.ndarray)
        assert seen[lane, 0] == pytest.approx(2 * game.factors()["x"])
    played = play(venv, lambda _: np.array([1, 1]), 3, 2**30)
    venv.close()
    assert played.lengths.max() <= little_games.Line.TIME
    assert frames.header.factor_names == ("x",)


def test_other_settings_are_refused(compared: dict[str, Any]) -> None:
    """A folder goes on with what it was begun with, or with more seeds, and with nothing else."""
    other = ComparisonConfig(**{**vars(CONFIG), "frames": 200})
    with pytest.raises(FolderError, match="another comparison"):
        compare(other, compared["out"], progress=False)
    with pytest.raises(FolderError, match="not empty"):
        compare(CONFIG, compared["out"].parent, progress=False)


def test_a_cell_fails(
    compared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that fails is named in the end; the others are kept, and the tables say what is
    missing."""
    out = Path(shutil.copytree(compared["out"], tmp_path / "out"))
    (out / "cells" / "random-seed0.json").unlink()
    (out / "models" / "random-seed0" / "encoder.onnx").write_bytes(b"")
    monkeypatch.setattr(module, "run_jobs", here())
    with pytest.raises(TrainingError, match="random-seed0"):
        compare(CONFIG, out, progress=False)
    standings = summarise(out)
    assert standings.missing == ("random-seed0",)
    assert "random-seed0" in sentences(standings)[0]


def test_processes(compared: dict[str, Any], tmp_path: Path) -> None:
    """Cells are made in processes of their own, and equal those that are made here."""
    out = Path(shutil.copytree(compared["out"], tmp_path / "out"))
    (out / "cells" / "state-seed0.json").unlink()
    shutil.rmtree(out / "agents" / "state-seed0")
    compare(CONFIG, out, workers=1, progress=False)
    assert cell(out, "state")["returns"] == cell(compared["out"], "state")["returns"]


def made_up(system: str, returns: list[float], **scores: list[float]) -> list[dict[str, Any]]:
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


def test_says_what_the_data_support() -> None:
    """A system is called better where its seeds are, and not where few seeds overlap."""
    cells = [
        *made_up("beta1", [5.0, 6.0, 7.0, 8.0, 9.0], mig=[0.1, 0.2, 0.3, 0.4, 0.5]),
        *made_up("beta4", [1.0, 2.0, 3.0, 4.0, 4.5], mig=[0.6, 0.7, 0.8, 0.9, 1.0]),
        *made_up("state", [4.0, 5.5, 6.5, 9.0, 4.2]),
    ]
    found = standings_of(cells, ["beta1", "beta4", "state"])
    verdicts = {(one.a, one.b): one.verdict for one in found.improvements}
    assert verdicts["beta1", "beta4"] == "better"
    assert verdicts["beta1", "state"] == "not told apart"
    assert found.improvements[0].p == pytest.approx(2 / 252)  # 5 against 5, all of one above
    assert found.systems["beta1"].seconds == 1.0
    rho = found.correlations["betas"]["mig"]
    assert rho.value < 0
    text = " ".join(sentences(found))
    assert "beta1 returned more than beta4." in text
    assert "beta1 and state" in text


@pytest.mark.parametrize("n", [1, 3])
def test_few_seeds_settle_nothing(n: int) -> None:
    """With three seeds a system, however far apart, no verdict is given."""
    cells = [*made_up("beta1", [9.0] * n), *made_up("pca", [float(i) for i in range(n)])]
    assert [one.verdict for one in standings_of(cells, ["beta1", "pca"]).improvements] == [
        "not told apart"
    ]
    assert isinstance(standings_of(cells, ["beta1", "pca"]), Standings)


def test_taken_apart() -> None:
    """A code that is its factors scores high, a code that mixes them low; constants are none."""
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (400, 2)).astype(np.float64)
    own = (factors + 0.01 * rng.standard_normal(factors.shape)).astype(np.float32)
    mixed = own @ np.array([[1, 1], [1, -1]], np.float32)
    good, matrices = taken_apart(own, factors)
    bad, _ = taken_apart(mixed, factors)
    assert good["mig"] is not None
    assert bad["mig"] is not None
    assert good["mig"] > 0.9 > 0.5 > bad["mig"]
    assert np.shape(matrices["importance"]) == (2, 2)
    assert taken_apart(own, np.ones((400, 2))) == ({}, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"baselines": ("pixel",)},
        {"betas": (), "baselines": ()},
        {"betas": (1.0, 1.0)},
        {"betas": (-1.0,)},
        {"seeds": ()},
        {"seeds": (0, 0)},
        {"frames": 63},
        {"episodes": 0},
    ],
)
def test_what_cannot_be_compared(wrong: dict[str, Any]) -> None:
    """Settings that make no comparison are refused before anything is collected."""
    with pytest.raises(ConfigError, match="cannot be compared"):
        ComparisonConfig(**{**vars(CONFIG), **wrong})


def test_small_frames(tmp_path: Path) -> None:
    """Frames that SB3's CnnPolicy cannot see are refused before anything is trained."""
    config = ComparisonConfig(**{**vars(CONFIG), "spec": FrameSpec(32, 32)})
    with pytest.raises(ConfigError, match="CnnPolicy"):
        compare(config, tmp_path / "out", workers=1, progress=False)
    assert not (tmp_path / "out" / "models").exists()
