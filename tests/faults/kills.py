"""kill -9 at random moments of sweep, compare, report, export and repair."""

import functools
import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import little_models
from folder_files import flip_bit

from faults import Figure, counted
from faults.folders import COLLECT, compare_command, run, sweep_command, write_recipe
from faults.processes import started_process
from rl_vae.cli import main
from rl_vae.verify import verify_folder

Command = Callable[[Path], list[str]]
"""Takes a folder; returns the command that writes into it."""


def sweep(n: int, seed: int, folder: Path) -> Figure:
    """A killed sweep leaves complete models only, and is continued to the same weights."""
    frames = _frames(folder)
    return _kill(n, seed, folder, lambda at: sweep_command(frames, at / "out"), _weights)


def compare(n: int, seed: int, folder: Path) -> Figure:
    """A killed comparison leaves complete runs only, and is continued to the same returns."""
    recipe = write_recipe(folder)
    return _kill(n, seed, folder, lambda at: compare_command(recipe, at / "out"), _returns)


def report(n: int, seed: int, folder: Path) -> Figure:
    """A killed report leaves no page or a whole one."""
    model, frames = str(little_models.model()), str(_frames(folder))
    return _kill(
        n,
        seed,
        folder,
        lambda at: ["report", model, "--dataset", frames, "--out", str(at / "page.html")],
        lambda at: str((at / "page.html").read_text().rstrip().endswith("</html>")),
    )


def export(n: int, seed: int, folder: Path) -> Figure:
    """A killed export leaves no file or a whole one."""
    agent = str(little_models.agent("PPO"))
    return _kill(
        n,
        seed,
        folder,
        lambda at: ["export", agent, "--out", str(at / "agent.onnx")],
        lambda at: (at / "agent.onnx").read_bytes().hex(),
    )


def repair(n: int, seed: int, folder: Path) -> Figure:
    """A killed repair is repeated, and the model is whole."""
    model = little_models.model()

    def damaged(at: Path) -> list[str]:
        if not (at / "model").exists():
            shutil.copytree(model, at / "model")
            flip_bit(at / "model" / "README.md", 99)
            flip_bit(at / "model" / "encoder.onnx", 999)
        return ["verify", "--repair", str(at / "model")]

    return _kill(n, seed, folder, damaged, lambda at: str(verify_folder(at / "model").findings))


def _kill(
    n: int, seed: int, folder: Path, command: Command, outcome: Callable[[Path], str]
) -> Figure:
    """Kill a command n times; it is repeated until it ends, and has the outcome of a whole run.

    Args:
        n: Number of kills.
        seed: Seed of the moments.
        folder: An empty folder.
        command: The command on a folder.
        outcome: What a finished command left, without times.
    """
    rng, start = random.Random(seed), time.perf_counter()
    reference = folder / "reference"
    reference.mkdir(parents=True)
    with started_process(folder / "output-reference", main, command(reference)) as process:
        assert not process.wait(), process.text()
    duration, right = time.perf_counter() - start, outcome(reference)
    good = killed = rounds = trial = 0
    while killed < n:
        at = folder / f"round{rounds}"
        at.mkdir(exist_ok=True)
        moment = rng.uniform(0, 1.2 * duration)
        with started_process(folder / f"output-{trial}", main, command(at)) as process:
            end = time.monotonic() + moment
            while process.running and time.monotonic() < end:
                time.sleep(0.005)
            was_killed = process.running
            process.kill()
            status, orphans = process.wait(), process.orphans()
        trial += 1
        killed += was_killed
        problems = [*map(str, orphans), *_incomplete(at)]
        if not was_killed:  # it has ended: the next round starts anew
            problems += [process.text()[-300:]] if status else []
            problems += [] if status or outcome(at) == right else ["another outcome"]
            shutil.rmtree(at)
            rounds += 1
        good += was_killed and not problems
        if problems:
            print(f"trial {trial}, after {moment:.2f} s: {problems}")
            good -= not was_killed
    if (at := folder / f"round{rounds}").exists():  # the last round is finished
        status, _ = run(command(at))
        good -= status not in (None, 0) or outcome(at) != right
    return counted(good, n, f"{rounds} rounds")


def _incomplete(at: Path) -> list[str]:
    """Finished models and agents in a folder that are not whole, and results that are no JSON."""
    problems = []
    for config in at.rglob("config.json"):
        if any(part.endswith(".partial") for part in config.parts) or config.parent == at / "model":
            continue
        if (config.parent / "model.safetensors").exists() or config.parent.parent.name == "agents":
            problems += map(str, verify_folder(config.parent, progress=False).findings)
    for result in at.rglob("runs/*.json"):
        json.loads(result.read_bytes())
    return problems


@functools.cache
def _frames(folder: Path) -> Path:
    out = folder / "frames"
    status, output = run([*COLLECT, "--out", str(out)])
    assert not status, output
    return out


def _weights(at: Path) -> str:
    (model,) = at.glob("out/beta1-seed0/model.safetensors")
    return model.read_bytes().hex()


def _returns(at: Path) -> str:
    runs = sorted((at / "out" / "runs").iterdir())
    return str([json.loads(path.read_bytes())["returns"] for path in runs])
