"""rl-vae status: what lies in a folder, in a line for each run."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from environments import refused

from rl_vae import FrameDataset
from rl_vae.analysis.comparison.config import FORMAT
from rl_vae.cli import main
from rl_vae.cli.status import describe
from rl_vae.errors import FolderError, TrainingError
from rl_vae.executors.log import note_failure, note_start
from rl_vae.system.strict_json import write_json, write_lines


def age(folder: Path) -> None:
    """Let a folder be one that nobody has written to for an hour, by a process that has ended."""
    (folder / ".lock").write_text(str(2**22 + 1))
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))


def words(folder: Path) -> list[list[str]]:
    return [line.split() for line in describe(folder)]


def test_a_dataset(
    dataset: FrameDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dataset is done, or says which share of its frames is committed and whether it grows."""
    main(["status", str(dataset.path)])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and printed[1] == f"{dataset.path}: 1 done"
    part = Path(shutil.copytree(dataset.path, tmp_path / "part"))
    lines = (part / "manifest.jsonl").read_text().splitlines(keepends=True)
    (part / "manifest.jsonl").write_text("".join(lines[:-1]))
    share = sum(map(len, dataset.frame_shards[:-1])) / len(dataset)
    assert words(part)[0][:3] == ["part", "running", f"{share:.0%}"]
    age(part)
    assert words(part)[0][:3] == ["part", "stopped", f"{share:.0%}"]


def training(folder: Path, step: int) -> Path:
    folder.mkdir()
    write_json(folder / "run.json", {"train": {"steps": 100}})
    write_lines(folder / "metrics.jsonl", [{"step": step, "seconds": 30.0}])
    return folder


def test_a_sweep(model: Path, tmp_path: Path) -> None:
    """Each run that was planned has a line: done, running, failed, stopped or waiting, and the best
    one is named; the time left follows from the speed so far."""
    out = tmp_path / "sweep"
    note_start(out, ["a", "b", "c", "d", "e"])
    shutil.copytree(model, out / "a")
    training(out / "b.partial", 25)
    for name in ("c", "d"):
        age(training(out / f"{name}.partial", 50))
    note_failure(out, "c", TrainingError("The loss is not finite."))
    lines = list(describe(out))
    states = [line.split()[1] for line in lines[:-1]]
    assert states == ["done", "running", "failed", "stopped", "waiting"]
    assert "held-out loss" in lines[0] and "25 of 100 steps" in lines[1]
    assert "not finite" in lines[2]
    assert "1 done, 1 running, 1 failed, 1 stopped, 1 waiting, about" in lines[-1]
    assert words(out / "b")[0][1] == "running"
    # Started again, it has not failed yet
    note_start(out, ["a", "b", "c", "d", "e"])
    assert words(out)[2][1] == "stopped"


def test_a_comparison(tmp_path: Path) -> None:
    """Each cell has a line with its return, or the stage that it is in."""
    config = {"kind": "rl_vae comparison", "format": FORMAT, "seeds": [0], "systems": list("abcd")}
    for name in ("runs", "stages/b-seed0"):
        (tmp_path / name).mkdir(parents=True)
    write_json(tmp_path / "config.json", config)
    run = {"system": "a", "seed": 0, "return": 3.5, "returns": [3.5], "scores": {}}
    run |= {"agent_steps": 10, "pretraining_frames": 0, "seconds": {"agent": 60.0}}
    write_json(tmp_path / "runs/a-seed0.json", run)
    write_json(tmp_path / "stages/b-seed0/code.json", {})
    write_json(tmp_path / "stages/b-seed0/agent.clock", {})
    note_start(tmp_path, [f"{name}-seed0" for name in "abcd"])
    note_failure(tmp_path, "c-seed0", TrainingError("no"))
    lines = list(describe(tmp_path))
    assert [line.split()[1] for line in lines[:-1]] == ["done", "running", "failed", "waiting"]
    assert "return 3.50" in lines[0] and "code done, agent" in lines[1]
    assert lines[-1].endswith("about 2 min left; best so far: a-seed0, return 3.50")


def test_a_search(tmp_path: Path) -> None:
    """Each trial has a line with its return and its settings."""
    optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, study_name="rl_vae", direction="maximize")
    states: list[Any] = [optuna.trial.TrialState.PRUNED, None]
    for value in (1.0, 4.0, *states):
        trial = study.ask()
        trial.suggest_float("beta", 1.0, 2.0)
        if isinstance(value, float):
            study.tell(trial, value)
        elif value is not None:
            study.tell(trial, state=value)
    storage.engine.dispose()
    lines = list(describe(tmp_path))
    assert [line.split()[2] for line in lines[:-1]] == ["done", "done", "done", "running"]
    assert "best so far: trial 2, return 4.00; beta" in lines[-1]


def test_a_folder_without_work_is_refused(tmp_path: Path) -> None:
    """A folder that nothing of rl_vae has written is an error."""
    for folder in (tmp_path, tmp_path / "none"):
        with refused(FolderError, "no work"):
            list(describe(folder))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"provenance": 3}),
        ("config.json", {"provenance": {"held_out": {"elbo": 1.0}}}),
        ("config.json", {"evaluation": ["text"]}),
        ("model.partial/run.json", {"train": 3}),
        ("jobs.jsonl", {"failed": "model"}),
    ],
)
def test_damaged_work_is_refused(tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    """A file with other content than rl_vae writes is an error that names the folder."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_json(tmp_path / name, content)
    with refused(FolderError, str(tmp_path)):
        list(describe(tmp_path))
