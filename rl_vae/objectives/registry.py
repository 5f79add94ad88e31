"""Registry of objectives: by name, from a user's file, and from a stored description."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Never

from torch import Generator as RandomGenerator
from torch import Tensor, nn

from rl_vae.errors import ConfigError
from rl_vae.objectives.adversarial import Adversarial
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.objectives.base import LossInputs, LossTerms, Objective
from rl_vae.objectives.beta import Beta
from rl_vae.objectives.beta_tc import BetaTC
from rl_vae.objectives.capacity import Capacity
from rl_vae.objectives.denoising import Denoising
from rl_vae.objectives.factor_vae import FactorVAE
from rl_vae.system.user_code import load_name

OBJECTIVES: dict[str, type[Objective]] = {
    "adversarial": Adversarial,
    "autoencoder": Autoencoder,
    "beta": Beta,
    "beta-tc": BetaTC,
    "capacity": Capacity,
    "denoising": Denoising,
    "factor-vae": FactorVAE,
}
"""Built-in objectives by the name that the command line takes."""

_KINDS = {kind.__name__: kind for kind in OBJECTIVES.values()}
_DESCRIPTION = ("kind", "deterministic", "max_kl_weight", "standard_prior")


@dataclasses.dataclass(frozen=True)
class StoredObjective(Objective):
    """Description of a user's objective, read from a folder that holds no code.

    It can be evaluated and sampled from, but not trained.
    """

    kind: str
    """Name of the user's class."""
    is_deterministic: bool
    """Whether mu is decoded, without noise."""
    kl_weight: float
    """Largest weight of the rate during training."""
    standard_prior: bool
    """Whether the prior is N(0, 1) in every latent."""
    settings: Mapping[str, Any] = dataclasses.field(hash=False)
    """Fields of the user's class."""

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        """Whether mu is decoded, without noise."""
        return self.is_deterministic

    def max_kl_weight(self) -> float:
        """Largest weight of the rate during training."""
        return self.kl_weight

    def terms(
        self, inputs: LossInputs, scheduled: float | Tensor, discriminator: nn.Module | None = None
    ) -> LossTerms:
        """Raise ConfigError: the loss needs the user's class."""
        self._refuse("compute the loss")

    def sample_prior(self, n: int, latent_dim: int, generator: RandomGenerator) -> Tensor:
        """(n, Z) samples of N(0, 1); ConfigError if the prior is another one."""
        if not self.standard_prior:
            self._refuse("sample the prior")
        return super().sample_prior(n, latent_dim, generator)

    def to_dict(self) -> dict[str, Any]:
        """The description that was read."""
        return {
            "kind": self.kind,
            "deterministic": self.is_deterministic,
            "max_kl_weight": self.kl_weight,
            "standard_prior": self.standard_prior,
            **self.settings,
        }

    def _refuse(self, action: str) -> Never:
        raise ConfigError(
            f"Cannot {action} of the objective {self.kind}.",
            expected=f"one of the built-in objectives {', '.join(OBJECTIVES)}",
            got="an objective that a user defined; a model folder holds no code",
            remedy=f"use the file that defines {self.kind}, as objective_from('FILE.py:NAME')",
        )


def objective_from(name: str, **settings: Any) -> Objective:
    """Make an objective from a built-in name, or from a user's Python file.

    Args:
        name: A key of `OBJECTIVES`, or "FILE.py:NAME". NAME is a subclass of `Objective` or an
            instance of one. The file is run.
        **settings: Fields of the objective; the others keep their defaults.

    Raises:
        ConfigError: if there is no such objective, or it does not have these fields.
    """
    file, colon, attribute = name.rpartition(":")
    value: Any = OBJECTIVES.get(name)
    if value is None and colon:
        value = load_name(file, attribute, "a subclass of rl_vae.Objective")
    if isinstance(value, Objective):
        kind, given = type(value), {f.name: getattr(value, f.name) for f in _fields(value)}
    elif isinstance(value, type) and issubclass(value, Objective):
        kind, given = value, {}
    else:
        raise ConfigError(
            f"There is no objective {name!r}.",
            expected=f"one of {', '.join(OBJECTIVES)}, or FILE.py:NAME of a subclass of "
            "rl_vae.Objective",
            got=repr(name) if value is None else f"{value!r} in that file",
            remedy="correct the name",
        )
    names = {field.name for field in _fields(kind)}
    if unknown := sorted(set(settings) - names):
        raise ConfigError(
            f"The objective {name} does not have this option.",
            expected=", ".join(sorted(names)) or "no options",
            got=", ".join(unknown),
            remedy="leave the option out, or choose another objective",
        )
    objective = kind(**{**given, **settings})
    check_objective(objective)
    return objective


def objective_from_dict(values: Mapping[str, Any]) -> Objective:
    """Read what `Objective.to_dict` wrote; a user's objective becomes a `StoredObjective`.

    Raises:
        KeyError, TypeError, ConfigError: if the values do not describe an objective.
    """
    settings = {name: value for name, value in values.items() if name not in _DESCRIPTION}
    kind = _KINDS.get(values["kind"])
    if kind is None:
        return StoredObjective(
            kind=values["kind"],
            is_deterministic=values["deterministic"],
            kl_weight=values["max_kl_weight"],
            standard_prior=values["standard_prior"],
            settings=settings,
        )
    return kind(**settings)


def check_objective(objective: object) -> None:
    """Check that a value is an objective that can be trained and stored.

    Raises:
        ConfigError: if it is not an `Objective`, not a dataclass, has a reserved name, or a field
            is not a JSON value.
    """
    problem = _find_problem(objective)
    if problem is not None:
        expected, got = problem
        raise ConfigError(
            "This is not an objective that can be trained.",
            expected=expected,
            got=got,
            remedy="choose a built-in objective, or correct the class",
        )


def _find_problem(objective: object) -> tuple[str, object] | None:
    """Expected and actual property of a value that is not a valid objective; None if it is."""
    kind = type(objective)
    if not isinstance(objective, Objective) or isinstance(objective, StoredObjective):
        return "an objective such as rl_vae.Beta(beta=4.0)", repr(objective)
    if "__dataclass_fields__" not in vars(kind):
        return "a class with @dataclass(frozen=True)", f"the class {kind.__name__}"
    if _KINDS.get(kind.__name__, kind) is not kind:
        got = f"the class {kind.__name__} of {kind.__module__}"
        return "a class name that no built-in objective has", got
    if reserved := {field.name for field in _fields(kind)} & set(_DESCRIPTION):
        return f"fields with names other than {', '.join(_DESCRIPTION)}", reserved
    try:
        json.dumps(objective.to_dict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        return "fields that are JSON values", error
    return None


def _fields(objective: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(objective) if dataclasses.is_dataclass(objective) else ()
