"""Environments that start programs: each is closed, and no program or process is left.

This holds for collect, train-agent, evaluate and compare, if they end by themselves, if a step
raises, and if Ctrl-C or SIGTERM ends them.
"""

import functools
import os
import signal
import time
from pathlib import Path

import little_models
from programs import FAIL, FOLDER, PROGRAM, count_programs

from faults import Figure, counted
from faults.processes import FaultProcess, started_process

STATUS = {"end": 0, "exception": 2, "Ctrl-C": 130, "SIGTERM": 143}
"""Exit status of the command by the way it ends."""
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}
OPERATIONS = {
    "end": ("collect", "train-agent", "evaluate", "compare"),
    "exception": ("evaluate", "compare", "collect", "train-agent"),
    "Ctrl-C": ("train-agent", "evaluate", "compare", "collect"),
    "SIGTERM": ("compare", "collect", "train-agent", "evaluate"),
}
"""Commands that run in turn; the order differs, so that two trials of each way run them all."""
FAILING_STEP = 10
"""Step of every environment that raises; the check that `reset` is seeded takes less."""
RECIPE = (
    "import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps={steps}, n_envs=4, stack=1,"
    " hyperparameters={{'n_steps': 32, 'batch_size': 32, 'n_epochs': 1}})\n"
)


def close_at_end(n: int, seed: int, folder: Path) -> Figure:
    """The command ends by itself."""
    return _count("end", n, folder)


def close_after_exception(n: int, seed: int, folder: Path) -> Figure:
    """A step of an environment raises."""
    return _count("exception", n, folder)


def close_after_interrupt(n: int, seed: int, folder: Path) -> Figure:
    """Ctrl-C ends the command."""
    return _count("Ctrl-C", n, folder)


def close_after_sigterm(n: int, seed: int, folder: Path) -> Figure:
    """SIGTERM ends the command."""
    return _count("SIGTERM", n, folder)


def _count(way: str, n: int, folder: Path) -> Figure:
    """Run each operation in turn, with one and with two workers, and count the good trials."""
    opened = closed = left = 0
    tried, good = dict.fromkeys(OPERATIONS[way], 0), dict.fromkeys(OPERATIONS[way], 0)
    agent = _agent()
    for trial in range(n):
        operation, workers = OPERATIONS[way][trial % 4], 1 + (trial // 4) % 2
        at = folder / str(trial)
        (at / "programs").mkdir(parents=True)
        arguments = _command(operation, workers, at, agent, endless=way in SIGNALS)
        fails = FAILING_STEP if way == "exception" else None
        with started_process(at / "output", _run, arguments, at / "programs", fails) as process:
            if way in SIGNALS:
                _await_steps(at / "programs", process)
                process.signal(SIGNALS[way])
            status = process.wait()
            orphans = process.orphans()
        count = count_programs(at / "programs")
        opened, closed = opened + count.opened, closed + count.closed
        left += count.left + len(orphans)
        right = status == STATUS[way] and 0 < count.opened == count.closed
        tried[operation] += 1
        if right and not count.left and not orphans:
            good[operation] += 1
        else:
            text = " ".join(process.text().split())[-300:]
            print(f"{operation}, {workers} workers: {status}, {count}, {orphans}: {text}")
    cells = ", ".join(f"{name} {good[name]}/{of}" for name, of in tried.items() if of)
    what = f"{cells}, {closed} of {opened} environments closed, {left} processes left"
    return counted(sum(good.values()), n, what, opened=opened, closed=closed, left=left)


def _command(operation: str, workers: int, at: Path, agent: Path, endless: bool) -> list[str]:
    """Return the arguments of rl-vae; the command takes minutes if it is `endless`."""
    recipe = at / "recipe.py"
    recipe.write_text(RECIPE.format(steps=1_000_000 if endless else 128))
    model, many = str(little_models.model()), str(1_000_000)
    out = ["--out", str(at / "out")]
    shared = [*out, "--workers", str(workers)]
    small = ["--height", "32", "--width", "32"]
    if operation == "collect":
        return ["collect", PROGRAM, *shared, *small, "--frames", many if endless else "128"]
    if operation == "train-agent":
        train = ["train-agent", PROGRAM, *out, "--encoder", model, "--agent", str(recipe)]
        return [*train, "--evaluations", "1", "--evaluation-episodes", "2"]
    if operation == "evaluate":
        return ["evaluate", str(agent), "--episodes", many if endless else "6"]
    compare = ["compare", PROGRAM, *shared, *small, "--agent", str(recipe), "--frames", "128"]
    compare += ["--beta", "1", "--baselines", "state", "--seeds", "1", "--episodes", "2"]
    return [*compare, "--vae-steps", "10", "--latent-dim", "4", "--evaluations", "0"]


@functools.cache
def _agent() -> Path:
    """Folder of an agent that plays the game with programs."""
    from rl_vae.agents.recipe import load_recipe
    from rl_vae.agents.train import train_agent

    folder = little_models.folder() / "programs"
    folder.mkdir()
    (folder / "recipe.py").write_text(RECIPE.format(steps=128))
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        recipe, out = load_recipe(folder / "recipe.py"), folder / "agent"
        train_agent(
            PROGRAM, little_models.model(), out, recipe, evaluations=0, workers=1, progress=False
        )
    finally:
        os.environ.pop(FOLDER) if before is None else os.environ.update({FOLDER: before})
        count_programs(folder)
    return out


def _run(arguments: list[str], folder: Path, fails: int | None) -> None:
    """Run a command of rl-vae in this process, with counted programs."""
    from rl_vae.cli import main

    os.environ[FOLDER] = str(folder)
    if fails is not None:
        os.environ[FAIL] = str(fails)
    main(arguments)


def _await_steps(folder: Path, process: FaultProcess) -> None:
    """Wait until environments are at work for a second."""
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.opened")) and process.running and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
