"""Objectives by name, from a user's file, and from a stored description."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from environments import refused
from loss_case import generator, loss_inputs
from torch import Tensor

from rl_vae import (
    Adversarial,
    Beta,
    BetaTC,
    Capacity,
    Denoising,
    FactorVAE,
    LossInputs,
    Objective,
)
from rl_vae.errors import ConfigError
from rl_vae.objectives.registry import (
    OBJECTIVES,
    StoredObjective,
    check_objective,
    objective_from,
    objective_from_dict,
)

FILE = """
from dataclasses import dataclass
from rl_vae import LossTerms, Objective

@dataclass(frozen=True)
class Ridge(Objective):
    weight: float = 2.0

    def max_kl_weight(self):
        return self.weight

    def terms(self, inputs, scheduled, discriminator=None):
        distortion, rate = inputs.distortion.mean(), inputs.kl.sum(1).mean()
        return LossTerms(distortion + self.weight * rate, distortion, rate, {})

STRONG = Ridge(weight=8.0)
NUMBER = 3
"""


class WithoutDataclass(Objective):
    """An objective that is not a dataclass."""

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: Any = None
    ) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Tensors(WithoutDataclass):
    """An objective with a field that is not a JSON value."""

    values: Any = frozenset()


@dataclass(frozen=True)
class Reserved(WithoutDataclass):
    """An objective with a field that its description needs."""

    kind: str = "mine"


def shadow() -> Objective:
    """An objective with the name of a built-in one."""
    return dataclass(frozen=True)(type("Beta", (WithoutDataclass,), {}))()  # type: ignore[no-any-return]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_stored_objective_is_read_back(name: str) -> None:
    """An objective that was written as JSON is read back equal."""
    objective = objective_from(name)
    assert objective_from_dict(json.loads(json.dumps(objective.to_dict()))) == objective


def test_an_objective_of_a_file(file: Path) -> None:
    """FILE.py:NAME is a class or an instance; given fields replace those of the instance."""
    assert objective_from(f"{file}:Ridge").max_kl_weight() == 2.0
    assert objective_from(f"{file}:Ridge", weight=3.0).max_kl_weight() == 3.0
    assert objective_from(f"{file}:STRONG").max_kl_weight() == 8.0
    assert objective_from(f"{file}:STRONG", weight=1.0).max_kl_weight() == 1.0


def test_a_user_objective_is_stored_as_data(file: Path) -> None:
    """A user's objective is read back as a record that can be sampled and not be trained."""
    values = json.loads(json.dumps(objective_from(f"{file}:STRONG").to_dict()))
    stored = objective_from_dict(values)
    assert isinstance(stored, StoredObjective)
    assert (stored.max_kl_weight(), stored.deterministic) == (8.0, False)
    assert stored.to_dict() == values
    right = torch.randn(3, 2, generator=generator())
    assert torch.equal(stored.sample_prior(3, 2, generator()), right)
    with refused(ConfigError, "Ridge", "FILE.py:NAME"):
        stored.terms(loss_inputs(), 1.0)
    with refused(ConfigError, "Ridge"):
        check_objective(stored)


def test_an_unknown_prior_is_not_sampled(file: Path) -> None:
    """A stored objective whose prior is not N(0, 1) refuses to sample it."""
    values = {**objective_from(f"{file}:Ridge").to_dict(), "standard_prior": False}
    with refused(ConfigError, "prior", "Ridge"):
        objective_from_dict(values).sample_prior(1, 2, generator())


def test_unknown_names_are_refused(file: Path) -> None:
    """An unknown name, another value in the file and an unknown field are errors."""
    with refused(ConfigError, "'betta'", "beta-tc"):
        objective_from("betta")
    with refused(ConfigError, "NUMBER", "3"):
        objective_from(f"{file}:NUMBER")
    with refused(ConfigError, "capacity", "free_bits"):
        objective_from("capacity", free_bits=1.0)


@pytest.mark.parametrize(
    "objective",
    [WithoutDataclass(), Tensors(), Reserved(), shadow(), Beta, "beta", None],
    ids=["no dataclass", "no JSON", "reserved", "taken name", "class", "str", "None"],
)
def test_objectives_that_cannot_be_stored_are_refused(objective: object) -> None:
    """What cannot be trained or stored is refused before the training starts."""
    with refused(ConfigError, "objective"):
        check_objective(objective)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Beta, {"warm_up": -0.1}),
        (Beta, {"warm_up": 1.1}),
        (Beta, {"warm_up": math.nan}),
        (Beta, {"cycles": 0}),
        (Beta, {"cycles": 1.5}),
        (Beta, {"free_bits": -0.1}),
        (Capacity, {"capacity": -1.0}),
        (Capacity, {"gamma": math.inf}),
        (BetaTC, {"alpha": -1.0}),
        (BetaTC, {"warm_up": math.nan}),
        (Denoising, {"noise": "salt"}),
        (Denoising, {"amount": 0.0}),
        (FactorVAE, {"gamma": -1.0}),
        (FactorVAE, {"warm_up": 2.0}),
        (FactorVAE, {"width": 0}),
        (Adversarial, {"adversary": math.nan}),
        (Adversarial, {"prior": "uniform"}),
        (Adversarial, {"components": 0}),
        (Adversarial, {"width": 2.5}),
        (Capacity, {"warm_up": 2.0}),
        (Beta, {"beta": -1.0}),
        (Beta, {"beta": math.nan}),
        (Beta, {"beta": math.inf}),
        (Beta, {"beta": True}),
        (Beta, {"beta": "4"}),
        (Beta, {"beta": None}),
        (FactorVAE, {"width": "1000"}),
        (Denoising, {"amount": True}),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    """A field of another type or out of its range is an error that names field and value."""
    name, value = next(iter(wrong.items()))
    with refused(ConfigError, name, repr(value)):
        kind(**wrong)
