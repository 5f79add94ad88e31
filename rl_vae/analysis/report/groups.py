"""Models of a report, and groups of models that differ only in their seed."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rl_vae.agents.agent import Agent
from rl_vae.analysis.report.measures import Measure, Measured
from rl_vae.models.encoder import Encoder
from rl_vae.system.estimate import t_interval

_SEED = re.compile(r"[-_ ,.]*seed[-_ ]*\d+")


class Model(NamedTuple):
    """A model of the report."""

    name: str
    encoder: Encoder
    agent: Agent | None
    """Agent that observes the codes of this model."""
    measured: Measured

    @property
    def seed(self) -> int:
        """Seed of the training; -1 if it is not known."""
        seed = self.encoder.provenance["train"].get("seed")
        return seed if type(seed) is int else -1

    @property
    def loss(self) -> float:
        """Distortion plus beta times rate on the measured frames; beta is 1 if there is none."""
        beta = beta_of(self.encoder)
        rate, distortion = self.measured.of("rate"), self.measured.of("distortion")
        loss = distortion.score + (1.0 if beta is None else beta) * rate.score
        return loss if math.isfinite(loss) else math.inf


class SeedGroup(NamedTuple):
    """Models that differ only in their seed, in the order of their seeds."""

    name: str
    models: tuple[Model, ...]
    colour: int
    """Number of the colour of the group in all charts."""
    markers: tuple[int, ...]
    """Number of the marker of each model in all charts: the same for the same seed."""

    @property
    def best(self) -> Model:
        """The model with the lowest loss."""
        return min(self.models, key=lambda model: model.loss)

    @property
    def title(self) -> str:
        """Name, and number of seeds if there are several."""
        n = len(self.models)
        return self.name if n == 1 else f"{self.name}, {n} seeds"

    def measure(self, name: str) -> Measure:
        """Mean of a measure over the seeds with Student's interval; of one model, its own one."""
        measures = [model.measured.of(name) for model in self.models]
        if len(measures) == 1:
            return measures[0]
        scores = [measure.score for measure in measures if math.isfinite(measure.score)]
        interval = t_interval(scores) if scores else (math.nan, math.nan, math.nan)
        return Measure(name, *interval, measures[0].explanation)


def beta_of(encoder: Encoder) -> float | None:
    """Beta of a model; None if its objective has none."""
    beta = encoder.provenance["train"]["objective"].get("beta")
    return None if beta is None else float(beta)


def make_groups(models: Sequence[Model], colours: Mapping[str, int]) -> list[SeedGroup]:
    """Group models, in the order of their betas, then of their names.

    Args:
        models: The models.
        colours: Colours of groups that other charts of the page show, by name without a seed.
    """
    # Models with equal settings belong together; a repeated seed begins another group
    members: dict[tuple[str, int], list[Model]] = {}
    seen: dict[tuple[str, int], int] = {}
    for model in models:
        settings = _settings(model.encoder)
        turn = seen.get((settings, model.seed), 0)
        seen[settings, model.seed] = turn + 1
        members.setdefault((settings, turn), []).append(model)
    # Order, names, colours and markers
    ordered = sorted(members.values(), key=_order)
    seeds = sorted({model.seed for model in models})
    names: list[str] = []
    for group in ordered:
        names.append(_unique(_group_name(group), names))
    free = iter(range(len(colours), len(colours) + len(names)))
    return [
        SeedGroup(
            name,
            tuple(sorted(group, key=lambda model: model.seed)),
            colours[stem] if (stem := _SEED.sub("", group[0].name)) in colours else next(free),
            tuple(seeds.index(seed) for seed in sorted(model.seed for model in group)),
        )
        for name, group in zip(names, ordered, strict=True)
    ]


def _settings(encoder: Encoder) -> str:
    """Everything that defines a training but the seed, as text."""
    train = {k: v for k, v in encoder.provenance["train"].items() if k != "seed"}
    vae, spec = dataclasses.asdict(encoder.vae_config), encoder.spec.to_dict()
    return json.dumps(
        [train, vae, spec, encoder.provenance["dataset"]], default=str, sort_keys=True
    )


def _order(group: Sequence[Model]) -> tuple[float, str]:
    beta = beta_of(group[0].encoder)
    return (math.inf if beta is None else beta, group[0].name)


def _group_name(group: Sequence[Model]) -> str:
    """Common part of the models' names without their seeds, or else the objective."""
    if len(group) == 1:
        return group[0].name
    names = {_SEED.sub("", model.name) for model in group}
    if len(names) == 1 and (name := names.pop()):
        return name
    beta = beta_of(group[0].encoder)
    return f"beta {beta:g}" if beta is not None else _kind(group[0])


def _kind(model: Model) -> str:
    return str(model.encoder.provenance["train"]["objective"]["kind"])


def _unique(name: str, names: Sequence[str]) -> str:
    taken = int(np.sum([name == other or other.startswith(f"{name} (") for other in names]))
    return name if not taken else f"{name} ({taken + 1})"
