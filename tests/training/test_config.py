"""TrainConfig: it counts updates, and refuses settings that cannot be."""

import math
from typing import Any

import pytest
from environments import refused

from rl_vae import (
    TrainConfig,
)
from rl_vae.errors import ConfigError


def test_steps_and_epochs_are_counted() -> None:
    """Steps are steps, epochs are whole batches of the training frames, and ten are the default."""
    assert TrainConfig(steps=7).total_steps(1_000) == 7
    assert TrainConfig(epochs=3, batch_size=100).total_steps(250) == 6
    assert TrainConfig(batch_size=100).total_steps(250) == 20
    assert TrainConfig(epochs=3, batch_size=100).total_steps(50) == 3


def test_what_is_no_objective_is_refused() -> None:
    """A value that is not an Objective is refused."""
    wrong: Any = "beta"
    with refused(ConfigError, "objective", "'beta'"):
        TrainConfig(objective=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"steps": 0},
        {"steps": True},
        {"epochs": 1, "steps": 1},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"lr_warm_up": -0.1},
        {"lr_warm_up": 0.6},
        {"lr_warm_up": math.nan},
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"held_out": math.nan},
        {"seed": -1},
        {"seed": 0.5},
        {"moving_weight": 0.5},
        {"learning_rate": "x"},
        {"batch_size": "64"},
        {"held_out": True},
        {"device": 0},
        {"memory": 0.0},
        {"compute": "eager"},
        {"moving_weight": math.inf},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    """A setting of a wrong type or out of its range is an error that names it."""
    with refused(ConfigError, *wrong):
        TrainConfig(**wrong)
