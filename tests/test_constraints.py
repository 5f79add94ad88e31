"""Declared constraints: what fits a type and a range, and the error for what does not."""

import inspect
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cloudpickle
import numpy as np
import pytest
from environments import COUNTING, refused

import rl_vae
from rl_vae import Encoder, FrameDataset
from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Settings:
    number: Annotated[int, Range(low=1, high=9)] = 3
    share: Annotated[float, Range(above=0, below=1, remedy="choose 0.5")] | None = None
    kind: Literal["x", "y"] = "x"
    pair: tuple[int, int] = (1, 2)
    row: tuple[float, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    "values", [{}, {"number": 9}, {"share": 0.5}, {"share": None}, {"row": (1, 2.5)}, {"kind": "y"}]
)
def test_right_values_pass(values: dict[str, Any]) -> None:
    """A value of the right type inside its range is taken as it is."""
    for name, value in values.items():
        assert getattr(Settings(**values), name) == value


@pytest.mark.parametrize(
    ("values", "expected", "remedy"),
    [
        ({"number": 0}, "a whole number from 1 to 9", "choose number=3"),
        ({"number": True}, "a whole number", "choose number=3"),
        ({"number": 2.0}, "a whole number", "choose number=3"),
        ({"share": 1}, "above 0 below 1", "choose 0.5"),
        ({"share": float("nan")}, "a number", "choose 0.5"),
        ({"share": "4"}, "a number", "choose 0.5"),
        ({"kind": "z"}, "'x' or 'y'", "choose kind='x'"),
        ({"pair": (1,)}, "a tuple of 2", "choose pair=(1, 2)"),
        ({"row": (1, "a")}, "a tuple", "choose row=()"),
        ({"text": 3}, "a string", "choose text=''"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], expected: str, remedy: str) -> None:
    """A wrong type or a value outside its range is a ConfigError with field, range and remedy."""
    with pytest.raises(ConfigError) as error:
        Settings(**values)
    (name,) = values
    assert f"Settings.{name}" in error.value.what
    assert expected in str(error.value.expected) and error.value.remedy == remedy


WRONG = object()
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "collect_frames": (rl_vae.collect_frames, {"env": COUNTING, "out": "x", "n_frames": 32}),
    "make_env": (rl_vae.make_env, {"env": COUNTING}),
    "collect_sprites": (rl_vae.collect_sprites, {"out": "x", "n_frames": 32}),
    "FrameDataset.open": (rl_vae.FrameDataset.open, {"path": "x"}),
    "train_vae": (rl_vae.train_vae, {"dataset": "DATASET", "out": "x"}),
    "train_sweep": (rl_vae.train_sweep, {"dataset": "DATASET", "out": "x", "runs": {}}),
    "Encoder.load": (rl_vae.Encoder.load, {"path": "x"}),
    "train_agent": (
        rl_vae.train_agent,
        {"env": COUNTING, "encoder": "x", "out": "x", "recipe": rl_vae.Recipe("PPO", 64)},
    ),
    "Agent.load": (rl_vae.Agent.load, {"path": "x"}),
    "evaluate_agent": (rl_vae.evaluate_agent, {"agent": "x"}),
    "export_agent": (rl_vae.export_agent, {"agent": "x", "out": "x"}),
    "score_encoder": (rl_vae.score_encoder, {"encoder": "ENCODER", "dataset": "DATASET"}),
    "draw_gallery": (
        rl_vae.draw_gallery,
        {"encoder": "ENCODER", "dataset": "DATASET", "out": "x"},
    ),
    "coverage": (rl_vae.coverage, {"dataset": "DATASET"}),
    "verify_folder": (rl_vae.verify_folder, {"path": "x"}),
    "repair_folder": (rl_vae.repair_folder, {"path": "x"}),
    "write_report": (rl_vae.write_report, {"out": "x"}),
}
"""Public functions, and arguments that they require; words in capitals are fixtures."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_refuse_arguments_of_another_type(
    name: str,
    dataset: FrameDataset,
    encoder: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each argument of another type is a ConfigError that names it, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    function, required = FUNCTIONS[name]
    fixtures = {"DATASET": dataset, "ENCODER": encoder}
    given = {
        key: fixtures.get(value, value) if isinstance(value, str) else value
        for key, value in required.items()
    }
    checked = 0
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation == "Any" or parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        with refused(ConfigError, key):
            function(**{**given, key: WRONG})
        checked += 1
    assert checked and not list(tmp_path.iterdir())


def test_the_remedy_of_a_required_argument() -> None:
    """The error says how an object of the class is made, or what to give."""
    with refused(ConfigError, "give FrameDataset.open(FOLDER)"):
        rl_vae.train_vae("runs/data", "x")  # type: ignore[arg-type]
    with refused(ConfigError, "n_frames=16 or more"):
        rl_vae.collect_frames(COUNTING, "x", n_frames=3)
    with refused(ConfigError, "give a string or a path"):
        rl_vae.Encoder.load(3)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers(dataset: FrameDataset) -> None:
    """A function gets an integer or a boolean of numpy as one of Python."""
    ours = dataset.split(0.2, 3)
    theirs = dataset.split(np.float64(0.2), np.int64(3))  # type: ignore[arg-type]
    assert np.array_equal(ours.held_out, theirs.held_out)
    with refused(ConfigError, "n_frames=16 or more"):
        rl_vae.collect_frames(COUNTING, "x", n_frames=np.int64(3))  # type: ignore[arg-type]


def test_functions_are_sent_to_other_processes(dataset: FrameDataset, encoder: Encoder) -> None:
    """cloudpickle sends a bound `open` or `load` by value, without the names of its annotations."""
    for function, path in ((FrameDataset.open, dataset.path), (Encoder.load, encoder.path)):
        assert pickle.loads(cloudpickle.dumps(function))(path).digest


def test_names_of_files_may_be_no_unicode(tmp_path: Path) -> None:
    """A path with bytes that are not UTF-8 is a path."""
    with refused(DatasetError):
        rl_vae.FrameDataset.open(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
