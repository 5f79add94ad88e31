"""The command line: what it does, how it refuses, how it stops."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import little_models
import pytest
from cli_runs import run
from environments import STATES
from faults.processes import started_process
from folder_files import flip_bit, folder_state
from little_games import LINE, PUSH

import rl_vae
from rl_vae import (
    Adversarial,
    Autoencoder,
    Beta,
    BetaTC,
    Capacity,
    Denoising,
    FactorVAE,
    Heads,
    TrainConfig,
)
from rl_vae.cli import COMMANDS, main
from rl_vae.cli.train_vae import describe
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.objectives.base import Objective
from rl_vae.system import strict_json
from rl_vae.training.result import Trained

SMALL = ["--height", "32", "--width", "32", "--workers", "1"]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """main answers SIGTERM; the tests' own process shall not, afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands are given: whole folders, and every kind of broken one. Read only."""
    at = tmp_path_factory.mktemp("inputs")
    shutil.copytree(little_models.dataset(), at / "data")
    shutil.copytree(little_models.model(), at / "model")
    shutil.copytree(little_models.agent("PPO"), at / "agent")
    (at / "empty").mkdir()
    (at / "other").mkdir()
    (at / "other" / "thesis.tex").write_text("do not delete")
    (at / "file").write_text("a file")
    (at / "page.html").write_text("<!doctype html><title>somebody's</title>")

    def broken(name: str, source: str) -> Path:
        return Path(shutil.copytree(at / source, at / name))

    manifest = broken("data-unfinished", "data") / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().splitlines(keepends=True)[0])
    shutil.rmtree(broken("data-without-shard", "data") / "shard-00001")
    frames = broken("data-cut", "data") / "shard-00000" / "frames.npy"
    frames.write_bytes(frames.read_bytes()[:-1000])
    flip_bit(broken("data-flipped", "data") / "shard-00000" / "frames.npy")
    (broken("data-without-header", "data") / "dataset.json").unlink()
    (broken("model-unfinished.partial", "model") / "config.json").unlink()
    (broken("model-without-onnx", "model") / "encoder.onnx").unlink()
    weights = broken("model-cut", "model") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    (broken("agent-unfinished.partial", "agent") / "config.json").unlink()
    (broken("agent-without-policy", "agent") / "policy.safetensors").unlink()
    shutil.rmtree(broken("agent-without-encoder", "agent") / "encoder")
    (at / "no_recipe.py").write_text("x = 1\n")
    (at / "broken_recipe.py").write_text("RECIPE = (\n")
    (at / "sac.py").write_text(
        "import rl_vae\nRECIPE = rl_vae.Recipe('SAC', total_steps=20, n_envs=1)\n"
    )
    return at


KWARGS = "--env-kwargs"
COLLECT_LINE = f"collect {LINE} --out OUT --height 32 --width 32"
TRAIN = "train-vae IN/data --out OUT"
AGENT = f"train-agent {LINE} --encoder IN/model --out OUT"
BAD = [
    # a wrong environment
    ("collect Nope-v0 --out OUT", "Nope-v0"),
    ("collect CartPole-v99 --out OUT", "CartPole-v99"),
    ("collect nowhere_to_be_found:Nope-v0 --out OUT", "nowhere_to_be_found"),
    ("collect not/an/id --out OUT", "not/an/id"),
    (f"collect {STATES} --out OUT", "rgb_array"),
    (f'{COLLECT_LINE} {KWARGS} {{"colour":1}}', "colour"),
    (f"{COLLECT_LINE} {KWARGS} [1]", "[1]"),
    (f"{COLLECT_LINE} {KWARGS} no", "no"),
    (f"{COLLECT_LINE} --image-key camera", "camera"),
    (f"{COLLECT_LINE} --engine envpool", "gymnasium"),
    # wrong frames
    (f"collect {LINE} --out OUT --height 27 --width 64", "27"),
    (f"collect {LINE} --out OUT --height 64 --width 16", "16"),
    (f"{COLLECT_LINE} --crop 16 16 0 0", "(16, 16, 0, 0)"),
    (f"{COLLECT_LINE} --crop 0 0 40 0", "(0, 0, 40, 0)"),
    (f"{COLLECT_LINE} --crop -1 0 0 0", "-1"),
    # wrong numbers
    (f"{COLLECT_LINE} --frames 15", "15"),
    (f"{COLLECT_LINE} --frame-skip 0", "0"),
    (f"{COLLECT_LINE} --seed -1", "-1"),
    (f"{COLLECT_LINE} --workers 0", "workers"),
    (f"{COLLECT_LINE} --correlation 1", "1"),
    (f"{COLLECT_LINE} --scale 0", "scale"),
    (f"{COLLECT_LINE} --random-share 1.5", "1.5"),
    (f"{COLLECT_LINE} --bias 0.5", "(0.5,)"),
    (f"collect {PUSH} --out OUT --height 32 --width 32 --bias 0.5 0.5", "1 value"),
    # a wrong policy
    (f"{COLLECT_LINE} --policy unifrom", "unifrom"),
    (f"{COLLECT_LINE} --policy IN/agent-unfinished", "interrupted"),
    (f"{COLLECT_LINE} --policy IN/model", "IN/model"),
    (f"collect {LINE} --out OUT --height 32 --width 64 --policy IN/agent", "IN/agent"),
    (f"{COLLECT_LINE} --policy IN/agent --frame-skip 2", "frame_skip=1"),
    (f"{COLLECT_LINE} --policy IN/agent --frame-skip 0", "0"),
    (f"collect {PUSH} --out OUT --policy IN/agent", "Discrete"),
    # a folder that is not free
    (f"collect {LINE} --out OUT --policy IN/no.py:act", "no.py"),
    (f"collect {LINE} --out OUT --policy sb3:IN/agent.zip", "unpickles"),
    (f"collect {LINE} --out OUT --policy sb3:IN/agent.zip --trust-zip", "no model of"),
    (f"collect {LINE} --out IN/other --height 32 --width 32", "IN/other"),
    (f"collect {LINE} --out IN/file --height 32 --width 32", "IN/file"),
    (f"collect {LINE} --out IN/file/below --height 32 --width 32", "IN/file"),
    (f"collect {LINE} --out IN/data --height 32 --width 32 --frames 320 --seed 1", "seed"),
    (f"collect {LINE} --out IN/data --height 48 --width 32 --frames 320", "IN/data"),
    # a missing or half-written dataset
    ("train-vae IN/nothing --out OUT", "IN/nothing"),
    ("train-vae IN/empty --out OUT", "IN/empty"),
    ("train-vae IN/file --out OUT", "IN/file"),
    ("train-vae IN/data-unfinished --out OUT", "320"),
    ("train-vae IN/data-without-header --out OUT", "dataset.json"),
    ("train-vae IN/data-without-shard --out OUT", "shard-00001"),
    ("train-vae IN/data-cut --out OUT", "shard-00000"),
    ("train-vae IN/data-flipped --out OUT", "shard-00000"),
    # wrong numbers
    (f"{TRAIN} --beta -1", "-1"),
    (f"{TRAIN} --beta nan", "nan"),
    (f"{TRAIN} --beta inf", "inf"),
    (f"{TRAIN} --latent-dim 0", "0"),
    (f"{TRAIN} --objective capacity --warm-up 2", "warm_up"),
    (f"{TRAIN} --objective adversarial --prior mixture --latent-dim 1", "latent_dim"),
    (f"{TRAIN} --moving-weight 0.5", "moving_weight"),
    (f"{TRAIN} --latent-dim -3", "-3"),
    (f"{TRAIN} --sigma 0", "sigma"),
    (f"{TRAIN} --epochs 1 --steps 1", "epochs"),
    (f"{TRAIN} --steps 0", "steps"),
    (f"{TRAIN} --batch-size 1", "batch_size"),
    (f"{TRAIN} --learning-rate 0", "learning_rate"),
    (f"{TRAIN} --held-out 0", "held_out"),
    (f"{TRAIN} --held-out 1", "held_out"),
    (f"{TRAIN} --seed -1", "seed"),
    ("train-vae IN/data --out IN/other", "IN/other"),
    ("train-vae --out OUT", "one folder or more"),
    ("train-vae IN/data IN/nothing --out OUT", "IN/nothing"),
    ("sweep IN/data-flipped --out OUT", "shard-00000"),
    ("sweep IN/data --out OUT --beta -1", "-1"),
    ("sweep IN/data --out OUT --workers 0", "workers"),
    ("sweep IN/data --out OUT --device cpu:0 cuda:9", "cuda:9"),
    ("sweep IN/data --out OUT --device cpu:0 cpu:0", "cpu:0, cpu:0"),
    ("sweep IN/data --out OUT --device", "''"),
    ("train-vae IN/data --from IN/nothing --out OUT", "IN/nothing"),
    ("train-vae IN/data --from IN/model --latent-dim 9 --out OUT", "latent_dim"),
    ("train-vae IN/data --out IN/model --seed 1", "IN/model"),
    # a missing or half-written model, one for other frames
    ("show IN/nothing IN/data --out OUT", "IN/nothing"),
    ("show IN/model IN/empty --out OUT", "IN/empty"),
    ("show IN/model IN/data --out OUT --level 0.5", "0.5"),
    ("classify IN/nothing IN/data --out OUT", "IN/nothing"),
    ("classify IN/model IN/data --out OUT --label colour", "colour"),
    ("score IN/nothing IN/data --json OUT", "IN/nothing"),
    ("score IN/model IN/empty --json OUT", "IN/empty"),
    ("score IN/model IN/data --stack 0 --json OUT", "stack"),
    (f"train-agent {LINE} --encoder IN/nothing --out OUT", "IN/nothing"),
    (f"train-agent {LINE} --encoder IN/empty --out OUT", "IN/empty"),
    (f"train-agent {LINE} --encoder IN/model-unfinished --out OUT", "interrupted"),
    (f"train-agent {LINE} --encoder IN/model-without-onnx --out OUT", "encoder.onnx"),
    (f"train-agent {LINE} --encoder IN/model-cut --out OUT", "model.safetensors"),
    (f"train-agent {LINE} --encoder IN/agent --out OUT", "IN/agent"),
    (f'{AGENT} {KWARGS} {{"shape":[40,40,3]}}', "(40, 40, 3)"),
    (f'{AGENT} {KWARGS} {{"shape":[32,32]}}', "(32, 32"),
    ("train-agent Nope-v0 --encoder IN/model --out OUT", "Nope-v0"),
    (f"train-agent {STATES} --encoder IN/model --out OUT", "rgb_array"),
    # a wrong recipe
    (f"{AGENT} --agent nope", "nope"),
    (f"{AGENT} --agent IN/nothing.py", "IN/nothing.py"),
    (f"{AGENT} --agent IN/no_recipe.py", "IN/no_recipe.py"),
    (f"{AGENT} --agent IN/broken_recipe.py", "SyntaxError"),
    (f"{AGENT} --agent IN/sac.py", "Discrete(3)"),
    (f"{AGENT} --agent ppo_car_racing", "Discrete(3)"),
    # wrong numbers
    (f"{AGENT} --steps 0", "TrainAgent.steps"),
    (f"{AGENT} --n-envs 0", "n_envs"),
    (f"{AGENT} --frame-skip 0", "frame_skip"),
    (f"{AGENT} --evaluations -1", "evaluations"),
    (f"{AGENT} --evaluation-episodes 0", "evaluation_episodes"),
    (f"{AGENT} --seed -1", "seed"),
    (f"{AGENT} --from IN/nothing", "IN/nothing"),
    (f"{AGENT} --seed 1073741824", "1073741824"),
    (f"train-agent {LINE} --encoder IN/model --out IN/other", "IN/other"),
    (f"train-agent {LINE} --encoder IN/model --out IN/agent", "IN/agent"),
    # a missing or half-written agent
    ("evaluate IN/nothing", "IN/nothing"),
    ("evaluate IN/empty", "IN/empty"),
    ("evaluate IN/model", "IN/model"),
    ("evaluate IN/agent --encoder IN/nothing", "IN/nothing"),
    ("evaluate IN/agent-unfinished", "interrupted"),
    ("evaluate IN/agent-without-policy", "policy.safetensors"),
    ("evaluate IN/agent-without-encoder", "encoder"),
    ("evaluate IN/agent --episodes 0 --json OUT", "0 episodes"),
    ("evaluate IN/agent --seed 1000 --json OUT", "1000"),
    ("evaluate IN/agent --engine envpool --json OUT", "gymnasium"),
    ("evaluate IN/agent --video OUT.avi", ".avi"),
    # nothing to verify
    ("verify IN/nothing", "IN/nothing"),
    ("verify IN/empty", "IN/empty"),
    ("verify IN/other --repair --json OUT", "IN/other"),
    ("verify IN/file", "IN/file"),
    # a report on nothing, or on what does not fit
    ("report --out OUT.html", "no model"),
    ("report IN/model --out OUT.html", "no dataset"),
    ("report IN/model --dataset IN/data --out OUT", ".html"),
    ("report IN/model --dataset IN/data --out IN/page.html", "IN/page.html"),
    ("report IN/nothing --dataset IN/data --out OUT.html", "IN/nothing"),
    ("report IN/model-cut --dataset IN/data --out OUT.html", "model.safetensors"),
    ("report IN/model --dataset IN/data-unfinished --out OUT.html", "not finished"),
    ("report IN/model IN/model --dataset IN/data --out OUT.html", "twice"),
    ("report --agent IN/agent-without-policy --out OUT.html", "policy.safetensors"),
    ("report --comparison IN/other --out OUT.html", "IN/other"),
    # a demo that cannot be
    ("demo --out IN/other", "IN/other"),
    ("demo --out IN/file", "IN/file"),
    ("demo --out OUT --seed -1", "-1"),
    ("demo --out OUT --seed 1000", "1000"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "word"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_is_refused(
    command: str,
    word: str,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Bad input is exit status 2 and one line that says what was expected, came and helps; nothing
    is written or changed."""
    monkeypatch.chdir(tmp_path)
    before = folder_state(inputs)
    here = command.replace("IN/", f"{inputs}/").replace("OUT", str(tmp_path / "out"))
    status = run(*here.split())
    out, err = capfd.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("rl-vae: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert word.replace("IN/", f"{inputs}/") in err, err
    assert all(part in err for part in ("Expected: ", "Got: ", "Remedy: ")), err
    assert folder_state(inputs) == before
    assert folder_state(tmp_path) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["collect"],
        ["collect", LINE],
        ["collect", LINE, "--out", "x", "--frames", "many"],
        ["collect", LINE, "--out", "x", "--channels", "2"],
        ["collect", LINE, "--out", "x", "--size", "64"],
        ["train-vae", "x", "--out", "y", "--gamma", "2"],
        ["train-vae", "x", "--out", "y", "--objective", "capacity", "--beta", "2"],
        ["train-vae", "x", "--out", "y", "--network", "resnet"],
        ["train-agent", LINE, "--encoder", "x"],
        ["evaluate", "x", "--nope"],
        ["demo", "--engine", "unreal"],
    ],
    ids=" ".join,
)
def test_a_command_that_cannot_be_read_is_refused(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An unknown command, an unknown option and a missing argument are exit status 2."""
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == "" and err != ""
    assert folder_state(tmp_path) == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_flag(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """--help lists every flag of a command with its meaning and its default."""
    monkeypatch.setenv("COLUMNS", "100")
    assert run(command, "--help") == 0
    text = re.sub(r"[│╭╮╰╯─\s]+", " ", capfd.readouterr().out)
    assert COMMANDS[command].summary in text
    _, _, options = text.partition(" options ")
    entries = re.split(r" (?=--[a-z][a-z-]*[ ,])", options.partition(" --help ")[2])[1:]
    assert entries
    for entry in entries:
        description = re.split(r"\((?:default:|required)", entry)
        assert len(description) == 2, entry
        assert len(description[0].split()) >= 4, entry  # the name, the type and the meaning


@pytest.mark.parametrize(
    ("command", "flag", "default"),
    [
        ("collect", "--frames", "10000"),
        ("train-vae", "--latent-dim", "32"),
        ("train-vae", "--beta", "1.0"),
        ("train-vae --objective beta-tc", "--beta", "6.0"),
        ("evaluate", "--episodes", "20"),
    ],
)
def test_help_shows_the_real_default(
    command: str,
    flag: str,
    default: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The default in the help is that of the field or the argument in the library."""
    monkeypatch.setenv("COLUMNS", "100")
    assert run(*command.split(), "--help") == 0
    text = re.sub(r"[│\s]+", " ", capfd.readouterr().out).partition("options")[2]
    assert f"(default: {default})" in text[text.index(f" {flag} ") :].split(" --")[1]


def test_a_misspelled_command_is_corrected(capfd: pytest.CaptureFixture[str]) -> None:
    """An unknown command is exit status 2 and names the nearest one."""
    assert run("trian-vae") == 2
    assert "type rl-vae train-vae" in capfd.readouterr().err


def test_the_version_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    """rl-vae --version prints versions of rl_vae, Python and libraries, processor and engines."""
    assert run("--version") == 0
    text = capfd.readouterr().out
    assert text.startswith(f"rl-vae {rl_vae.__version__}\n") and "torch" in text
    assert "  processor " in text and "  engines gymnasium" in text


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    """rl-vae --help lists every command."""
    assert run("--help") == 0
    text = capfd.readouterr().out
    vae, agent = (
        ["train-vae", "sweep", "show", "classify", "score"],
        ["train-agent", "evolve-agent", "evaluate", "compare", "tune", "report", "export"],
    )
    data = ["import", "inspect", "preview", "merge", "compress", "export-data"]
    folders = ["bench", "push", "pull", "status", "verify"]
    assert list(COMMANDS) == ["collect", *data, *vae, *agent, *folders, "demo"]
    assert all(command in text for command in COMMANDS)


@pytest.mark.slow
def test_the_whole_way_by_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """From frames to figures: four commands, silent on stderr, each tells what came out."""
    at = tmp_path
    bias = ["--correlation", "0.5", "--random-share", "0.5"]
    assert run("collect", LINE, "--out", at / "data", "--frames", "96", *SMALL, *bias) == 0
    assert "96 frames" in capfd.readouterr().out
    options = ["--latent-dim", "3", "--steps", "4", "--batch-size", "16", "--beta", "2"]
    assert run("train-vae", at / "data", "--out", at / "model", *options) == 0
    assert "4 updates" in capfd.readouterr().out
    recipe = at / "mine.py"
    recipe.write_text(
        "import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps=9_000, n_envs=8, stack=1,"
        " hyperparameters={'n_steps': 32, 'batch_size': 32})\n"
    )
    options = ["--agent", str(recipe), "--steps", "64", "--n-envs", "1", "--frame-skip", "2"]
    evaluations = ["--evaluations", "1", "--evaluation-episodes", "2"]
    command = ["train-agent", LINE, "--encoder", at / "model", "--out", at / "agent"]
    assert run(*command, *options, *evaluations) == 0
    out, err = capfd.readouterr()
    assert "PPO, 64 decisions, 128 environment steps" in out
    assert out.count("engine gymnasium: ") == 1
    json_file, video = at / "new" / "figures.json", at / "film" / "line.gif"
    written = ["--json", json_file, "--video", video]
    assert run("evaluate", at / "agent", "--episodes", "3", "--seed", "7", *written) == 0
    out, err = capfd.readouterr()
    assert err == "" and "over 3 episodes" in out and "random" in out
    content = json.loads(json_file.read_bytes())
    assert set(content["figures"]) == {
        "mean_return",
        "std_return",
        "ci_low",
        "ci_high",
        "random_return",
        "random_ci_low",
        "random_ci_high",
        "episodes",
    }
    assert content["seeds"] == [7] and content["figures"]["episodes"] == 3
    assert video.read_bytes().startswith(b"GIF8")
    config = Encoder.load(at / "model")
    assert config.latent_dim == 3 and config.provenance["train"]["objective"]["beta"] == 2.0
    assert {path.name for path in at.iterdir()} == {
        "data",
        "model",
        "mine.py",
        "agent",
        "new",
        "film",
    }


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ("autoencoder", Autoencoder()),
        ("denoising --noise masking --amount 0.2", Denoising("masking", 0.2)),
        ("beta", Beta()),
        (
            "beta --beta 4 --warm-up 0.5 --cycles 3 --free-bits 0.1",
            Beta(4.0, warm_up=0.5, cycles=3, free_bits=0.1),
        ),
        ("capacity --capacity 9 --gamma 3 --warm-up 0.1", Capacity(9.0, 3.0, 0.1)),
        ("beta-tc --beta 2 --alpha 3 --gamma 4", BetaTC(2.0, 3.0, 4.0)),
        ("factor-vae --gamma 5 --width 20", FactorVAE(5.0, width=20)),
        (
            "adversarial --adversary 9 --prior mixture --components 3 --width 7",
            Adversarial(9.0, "mixture", 3, 7),
        ),
    ],
    ids=str,
)
def test_every_objective_is_a_flag(
    options: str, right: Objective, monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    """--objective and its options make the objective that Python would."""
    seen: list[TrainConfig] = []

    @functools.wraps(rl_vae.train_vae)  # flags are read from its signature
    def stop(**given: Any) -> None:
        seen.append(given["train_config"])
        raise ConfigError("enough")

    monkeypatch.setattr("rl_vae.cli.train_vae.train_vae", stop)
    command = ["train-vae", inputs / "data", "--out", "x", "--objective", *options.split()]
    assert run(*command) == 2
    assert seen[0].objective == right


def test_heads_are_flags(monkeypatch: pytest.MonkeyPatch, inputs: Path) -> None:
    """--reward-head, --done-head and --head-horizon make the heads, for a training and a sweep."""
    seen: list[TrainConfig] = []

    @functools.wraps(rl_vae.train_vae)  # flags are read from its signature
    def stop(**given: Any) -> None:
        seen.append(given["train_config"])
        raise ConfigError("enough")

    @functools.wraps(rl_vae.train_sweep)  # flags are read from its signature
    def stop_sweep(**given: Any) -> None:
        seen.extend(given["runs"].values())
        raise ConfigError("enough")

    monkeypatch.setattr("rl_vae.cli.train_vae.train_vae", stop)
    monkeypatch.setattr("rl_vae.cli.models.train_sweep", stop_sweep)
    options = ["--reward-head", "30", "--done-head", "5", "--head-horizon", "4"]
    for command in ("train-vae", "sweep"):
        assert run(command, inputs / "data", "--out", "x", *options) == 2
    assert run("train-vae", inputs / "data", "--out", "x") == 2
    assert len(seen) == 8 and seen.pop().heads == Heads()
    assert {config.heads for config in seen} == {Heads(30.0, 5.0, 4)}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ((), ((), "cpu")),
        (("cuda:1",), ((), "cuda:1")),
        (("cuda:0", "cuda:1"), (("cuda:0", "cuda:1"), "cuda")),
    ],
)
def test_several_devices_share_a_sweep(
    monkeypatch: pytest.MonkeyPatch, inputs: Path, option: tuple[str, ...], expected: Any
) -> None:
    """One --device is that of all runs; several are given to the sweep, and the runs their kind."""
    seen: list[Any] = []

    @functools.wraps(rl_vae.train_sweep)  # flags are read from its signature
    def stop(**given: Any) -> None:
        seen.extend((given["devices"], run.device) for run in given["runs"].values())
        raise ConfigError("enough")

    monkeypatch.setattr("rl_vae.cli.models.train_sweep", stop)
    device = ["--device", *option] if option else []
    assert run("sweep", inputs / "data", "--out", "x", *device) == 2
    assert set(seen) == {expected}


def test_a_training_says_what_its_heads_reached(trained: Trained) -> None:
    """The line on a trained model ends with the scores of its heads, if there are any."""
    terms = {"reward_r2": 0.5, "done_precision": 0.25, "reward_loss": 15.0}
    headed = trained._replace(held_out=trained.held_out._replace(terms=terms))
    assert describe(headed) == describe(trained) + ", reward_r2 0.50, done_precision 0.25"


def test_a_model_shows_what_it_can_do(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """show draws its pictures and classify its matrix; both tell and write their figures."""
    model, data = inputs / "model", inputs / "data"
    assert run("show", model, data, "--out", tmp_path / "p", "--json", tmp_path / "s.json") == 0
    assert "elbo" in capfd.readouterr().out
    figures = json.loads((tmp_path / "s.json").read_bytes())["figures"]
    assert set(figures) == {f"outlier_{name}" for name in ("rate", "distortion", "elbo", "error")}
    assert (tmp_path / "p" / "traversals.png").is_file()
    for options in ([], ["--fine-tune"]):
        picture = tmp_path / "new" / "c.png"
        written = ["--out", picture, "--json", tmp_path / "c.json", "--epochs", "1"]
        assert run("classify", model, data, *written, *options) == 0
        out, err = capfd.readouterr()
        assert ("fine-tuned" in out) == bool(options) and err == ""
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert set(json.loads((tmp_path / "c.json").read_bytes())["figures"]) == {
            "accuracy",
            "majority",
        }


def test_one_episode_is_evaluated_without_an_interval(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """evaluate --episodes 1 gives figures in which what cannot be known is null."""
    path = tmp_path / "figures.json"
    assert run("evaluate", inputs / "agent", "--episodes", "1", "--json", path) == 0
    figures = json.loads(path.read_bytes())["figures"]
    assert figures["mean_return"] is not None
    assert figures["ci_low"] is figures["ci_high"] is figures["std_return"] is None
    out, err = capfd.readouterr()
    assert "nan" not in out and out.count("in one episode, which has no interval") == 2
    assert err == ""


def test_a_function_of_a_file_collects_by_command(tmp_path: Path) -> None:
    """collect --policy FILE.py:NAME runs the file, and mixes its function with random episodes."""
    file = tmp_path / "own.py"
    file.write_text(
        "def right(observation, info):\n    return int(observation.shape == (32, 32, 3)) * 2\n"
    )
    out = tmp_path / "data"
    options = ["--frames", "64", "--policy", f"{file}:right", "--workers", "1"]
    assert run("collect", LINE, "--out", out, *options) == 0
    dataset = FrameDataset.open(out)
    assert set(dataset.steps()["action"]) == {2}
    assert dataset.header.policy["name"] == "right"
    mixed = tmp_path / "mixed"
    assert run("collect", LINE, "--out", mixed, *options, "--random-share", "0.5") == 0
    kinds = [part["kind"] for part in FrameDataset.open(mixed).header.policy["parts"]]
    assert kinds == ["function", "uniform"]


def test_an_agent_collects_by_command(inputs: Path, tmp_path: Path) -> None:
    """collect --policy AGENT takes the frames, and the frame skip, of the agent."""
    out = tmp_path / "data"
    options = ["--frames", "64", "--workers", "1"]
    assert run("collect", LINE, "--out", out, "--policy", inputs / "agent", *options) == 0
    dataset = FrameDataset.open(out)
    assert dataset.spec.shape == (32, 32, 3) and dataset.header.policy["kind"] == "agent"


def test_the_same_command_changes_nothing_when_all_is_done(inputs: Path, tmp_path: Path) -> None:
    """A command whose work is done leaves every file as it is, and succeeds."""
    shutil.copytree(inputs / "data", tmp_path / "data")
    before = folder_state(tmp_path)
    command = ["collect", LINE, "--out", tmp_path / "data", "--frames", "320", *SMALL]
    assert run(*command) == 0
    after = folder_state(tmp_path)
    for locked in ("data", "data/.lock"):  # locking touches them
        before.pop(locked, None)
        after.pop(locked, None)
    assert after == before


def commands_to_stop(at: Path) -> dict[str, tuple[list[str], Path]]:
    """Commands that take some seconds, and the file that says that they are in the middle."""
    recipe = at / "mine.py"
    recipe.write_text(
        "import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps=1_500, n_envs=2, stack=1,"
        " hyperparameters={'n_steps': 50, 'batch_size': 50, 'n_epochs': 1})\n"
    )
    agent = ["--encoder", str(little_models.model()), "--agent", str(recipe)]
    return {
        "collect": (
            [
                "collect",
                LINE,
                "--out",
                str(at / "out"),
                "--frames",
                "8000",
                "--height",
                "64",
                "--width",
                "64",
            ],
            at / "out" / "manifest.jsonl",
        ),
        "train-vae": (
            ["train-vae", str(little_models.dataset()), "--out", str(at / "out"), "--epochs", "15"],
            at / "out.partial" / "checkpoint.bin",
        ),
        "train-agent": (
            ["train-agent", LINE, "--out", str(at / "out"), "--evaluations", "0", *agent],
            at / "out.partial" / "checkpoint" / "state.json",
        ),
    }


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_ends_first_is_no_error(buffered: bool) -> None:
    """If the program that reads the output has ended, as `head` does, a command says nothing and
    has the exit status of SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "rl_vae.cli", "collect", "--help"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


RESUMED = {"train-vae": "resuming after update"}
"""What a command prints that goes on."""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["collect", "train-vae", "train-agent"])
def test_a_command_that_is_stopped_goes_on_where_it_stopped(command: str, tmp_path: Path) -> None:
    """Ctrl-C ends a command with status 130, SIGTERM with 143, in seconds; the same command, given
    again, then finishes."""
    arguments, sign = commands_to_stop(tmp_path)[command]
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        size, output = _content(sign), tmp_path / f"output-{status}"
        with started_process(output, main, arguments) as process:
            while _content(sign) == size:
                assert process.running, process.text()
                time.sleep(0.005)
            process.signal(number)
            assert process.wait() == status, process.text()
        assert not re.search("Traceback|Warning", process.text())
        assert "rl-vae: stopped; the same command goes on where it stopped" in process.text()
        if status == 143 and command in RESUMED:
            assert RESUMED[command] in process.text()
    assert run(*arguments) == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]
    if command == "collect":
        FrameDataset.open(tmp_path / "out").verify()
        assert len(FrameDataset.open(tmp_path / "out")) == 8000


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("data", 0, "dataset, intact"),
        ("data-flipped", 2, "shard-00000"),
        ("data-cut", 2, "shard-00000"),
        ("data-unfinished", 0, "160 of 320"),
        ("data-without-header", 2, "dataset.json"),
        ("model", 0, "model, intact"),
        ("model-without-onnx", 2, "encoder.onnx"),
        ("agent", 0, "agent, intact"),
        ("agent-without-policy", 2, "policy.safetensors"),
    ],
)
def test_verify_says_what_is_wrong(
    name: str,
    status: int,
    word: str,
    inputs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """verify exits with 0 where all is whole and 2 where not, names it, and changes nothing."""
    before = folder_state(inputs / name)
    assert run("verify", inputs / name, "--json", tmp_path / "found.json") == status
    out, err = capfd.readouterr()
    assert word in out and err == ""
    report = json.loads((tmp_path / "found.json").read_bytes())
    assert report["figures"]["damaged"] == len(report["findings"])
    assert bool(report["findings"]) == (status == 2)
    assert folder_state(inputs / name) == before


def test_verify_repairs_when_it_is_told_to(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """verify --repair leaves a dataset that opens, says what it did, and succeeds."""
    data = shutil.copytree(inputs / "data-flipped", tmp_path / "data")
    assert run("verify", data, "--repair") == 0
    assert "REPAIRED" in capfd.readouterr().out
    assert len(FrameDataset.open(data)) == 160


def test_a_command_that_cannot_resume_says_so(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stopped command that cannot resume says that the same command starts anew."""

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rl_vae.cli.agents.Evaluate.run", interrupted)
    assert run("evaluate", inputs / "agent") == 130
    assert capfd.readouterr().err == "rl-vae: stopped; the same command starts anew\n"


def test_a_disk_that_refuses_is_told_in_one_line(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An operating system's error is exit status 2 and one line, without a traceback."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(strict_json, "write_whole", full)
    path = tmp_path / "figures.json"
    assert run("evaluate", inputs / "agent", "--episodes", "2", "--json", path) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "No space left on device" in err and "somewhere" in err


def test_too_little_memory_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What libraries raise for lack of memory ends with status 2 and a remedy; a bug is shown."""

    def fail(arguments: Any) -> Any:
        raise RuntimeError(problem)

    monkeypatch.setattr("rl_vae.cli.app._run", fail)
    problem = "could not create a primitive"
    assert run("verify", "x") == 2
    assert re.search(r"too little memory: could not.*ulimit -v", capsys.readouterr().err)
    problem = "a bug"
    with pytest.raises(RuntimeError, match="a bug"):
        run("verify", "x")
