"""The code of README and of the documentation runs as it is printed, with small sizes."""

import inspect
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

import rl_vae
from rl_vae.cli import main
from rl_vae.cli.agents import EvolveAgent
from rl_vae.cli.comparison import Compare
from rl_vae.cli.data import Collect
from rl_vae.cli.demo import DemoCommand
from rl_vae.cli.models import Show, Sweep
from rl_vae.cli.train_vae import TrainVAE
from rl_vae.cli.tuning import Tune

ROOT = Path(__file__).resolve().parents[2]
FIRST = ("README.md", "docs/quickstart.md", "docs/guides/frames.md")
"""Pages whose commands make what other pages use: data/car, models/car, agents/car."""
ELSEWHERE = ("docs/contributing", "docs/api")
"""Pages without code to run, or whose code tests/test_open_doors.py runs."""
OTHER_PROGRAMS = ("pip", "make", "python", "torchrun")
SMALL = {
    "collect": "--frames 160 --workers 1",
    "train-vae": "--steps 3",
    "train-agent": "--steps 64 --n-envs 1 --evaluations 0",
    "evaluate": "--episodes 1 --max-episode-steps 20",
    "classify": "--epochs 1",
}
"""Flags that make a command short."""
LONG = (Sweep, Compare, Tune, EvolveAgent, DemoCommand)
"""Commands with many runs. Their lines are parsed only."""
LIKE_OTHERS = re.compile(r"models/(denoising|beta001|beta1000|mixture|car4)|--executor ray")
"""Models that differ from another one of the pages by a flag, and work on other machines. Their
lines are parsed only."""


def pages() -> list[Path]:
    """README and the pages of docs/, in an order in which a page finds what it uses."""
    first = [ROOT / name for name in FIRST]
    others = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path not in first]
    skipped = [ROOT / name for name in ELSEWHERE]
    return first + [path for path in others if not set(skipped) & set(path.parents)]


def code_of(page: Path) -> Iterator[tuple[str, str]]:
    """The page's Python programs and command lines, in their order, as (kind, code)."""
    pattern = r"^```python\n((?s:.*?))^```|^    ((?:rl-vae|pip|make|python|torchrun) .*)$"
    for block in re.finditer(pattern, page.read_text(), re.MULTILINE):
        kind = "python" if block[1] else "command"
        yield kind, block[1] or block[2]


def save_named(code: str) -> None:
    """Save a program whose first line is the name of its file."""
    if name := re.match(r"# (\w+\.py)\n", code):
        Path(name[1]).write_text(code)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a user's files; functions of rl_vae with small sizes."""
    monkeypatch.chdir(tmp_path)
    # Files of a user that the pages name
    (tmp_path / "photos").mkdir()
    rows = ["file_name,x,y"]
    for i in range(64):
        image = np.zeros((40, 40, 3), np.uint8)
        image[i // 8 * 4 : i // 8 * 4 + 8, i % 8 * 4 : i % 8 * 4 + 8] = 250
        cv2.imwrite(str(tmp_path / f"photos/{i}.png"), image)
        rows.append(f"{i}.png,{i % 8},{i // 8}")
    (tmp_path / "photos/metadata.csv").write_text("\n".join(rows))
    with av.open(str(tmp_path / "drive.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        for i in range(40):
            picture = np.full((64, 64, 3), 6 * i, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        film.mux(stream.encode())
    objective = ROOT / "docs/contributing/add_an_objective.md"
    for _, code in code_of(objective):
        save_named(code)
    PPO("CnnPolicy", gym.make("CarRacing-v3")).save(tmp_path / "my_model.zip")
    # Functions with small sizes
    few_steps = rl_vae.TrainConfig(steps=3)
    short: dict[str, dict[str, Callable[[Any], Any]]] = {
        "collect_frames": {"n_frames": lambda n: min(n, 160), "workers": lambda _: 1},
        "train_vae": {
            "train_config": lambda config: replace(config or few_steps, epochs=None, steps=3)
        },
        "train_agent": {
            "recipe": short_recipe,
            "evaluations": lambda _: 0,
            "workers": lambda _: 1,
        },
        "evaluate_agent": {"episodes": lambda _: 1, "max_episode_steps": lambda _: 20},
    }
    for name, changes in short.items():
        monkeypatch.setattr(rl_vae, name, shortened(getattr(rl_vae, name), changes))
    make = gym.make
    monkeypatch.setattr(gym, "make", lambda *a, **k: make(*a, **{"max_episode_steps": 30, **k}))


def short_recipe(recipe: rl_vae.Recipe) -> rl_vae.Recipe:
    """A recipe of PPO for one environment and few steps."""
    hyperparameters = {**recipe.hyperparameters, "n_steps": 64, "batch_size": 64}
    return replace(recipe, total_steps=64, n_envs=1, hyperparameters=hyperparameters)


def shortened(
    function: Callable[..., Any], changes: dict[str, Callable[[Any], Any]]
) -> Callable[..., Any]:
    """The function with some arguments changed."""
    signature = inspect.signature(function)

    def run(*arguments: Any, **options: Any) -> Any:
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        for name, change in changes.items():
            bound.arguments[name] = change(bound.arguments[name])
        return function(*bound.args, **bound.kwargs)

    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of other libraries, and of models after three updates
def test_every_program_of_the_documentation_runs(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands exit with status 0, programs raise nothing. Some are parsed only."""
    for command in LONG:
        monkeypatch.setattr(command, "run", lambda self: None)
    n, failures = 0, []
    for page in pages():
        names: dict[str, Any] = {}
        for kind, code in code_of(page):
            try:
                if kind == "python":
                    save_named(code)
                    exec(compile(code, str(page), "exec"), names)
                elif LIKE_OTHERS.search(code):
                    with monkeypatch.context() as patch:
                        for command in (Collect, TrainVAE, Show):
                            patch.setattr(command, "run", lambda self: None)
                        run_command(code)
                else:
                    run_command(code)
            except (Exception, SystemExit) as error:
                name = page.relative_to(ROOT)
                failures.append(f"{name}: {type(error).__name__}: {error}\n{code}")
            n += 1
    assert not failures, "\n\n".join(failures)
    assert n > 40


def run_command(line: str) -> None:
    """Run a command line of rl-vae, or an example, in this process; other programs are not run."""
    line = re.sub(r" --epochs \d+", "", line)  # SMALL has the number of steps
    program, *arguments = shlex.split(line, comments=True)
    assert program == "rl-vae" or program in OTHER_PROGRAMS, line
    if program == "rl-vae":
        main([*arguments, *shlex.split(SMALL.get(arguments[0], ""))])
    elif arguments[0].startswith("examples/"):
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
