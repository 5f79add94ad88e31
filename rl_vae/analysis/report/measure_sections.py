"""Sections of the report's page about measures: rate and distortion, metrics, learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from rl_vae.analysis.report.charts import (
    Line,
    colour_key,
    dash_key,
    line_chart,
    line_keys,
    marker_key,
)
from rl_vae.analysis.report.groups import Model, SeedGroup, beta_of
from rl_vae.analysis.report.measures import Measure
from rl_vae.analysis.report.parts import Bounded, Entry, Group, Part, Section, Sentences, Table
from rl_vae.errors import FolderError
from rl_vae.system import strict_json


def rate_distortion(groups: Sequence[SeedGroup]) -> Section | None:
    """Rate against distortion, one point for each model that has a decoder; None without any."""
    points = [
        (group, marker, model)
        for group in groups
        for marker, model in zip(group.markers, group.models, strict=True)
        if model.encoder.has_decoder
    ]
    if not points:
        return None
    configs = {(m.encoder.vae.config.likelihood, m.encoder.vae.config.sigma) for *_, m in points}
    # The distortions of different likelihoods cannot be compared; errors can.
    name = "distortion" if len(configs) == 1 else "error"
    ylabel = "distortion, nats per frame" if len(configs) == 1 else "error, of 255"
    # A mark for each model; a line: the course of the training, or from group to group
    lines = [_mark(group.colour, marker, model, name) for group, marker, model in points]
    if len(points) == 1:
        path = read_points(points[0][2].encoder.path / "metrics.jsonl", "rate", "distortion")
        if path and name == "distortion":
            lines.insert(0, Line("during training", *columns_of(path), colour=6))
    elif len(means := _means(groups, name)) > 1:
        lines.insert(0, Line("means, in order of beta", *columns_of(means), colour=6))
    chart = line_chart(
        "Rate and distortion",
        lines,
        xlabel="rate, nats per frame",
        ylabel=ylabel,
        caption="Lower left is better. Bars: 95 % intervals over episodes of one model.",
        legend=[*seed_legend(groups, dashes=False), *line_keys(lines)],
    )
    return Section(
        "rate",
        "Rate and distortion",
        "The rate is the information in a code, the distortion is the error of the "
        "reconstruction. A larger beta lowers the rate and raises the distortion.",
        [Group([chart], "cards two")],
    )


def metrics(groups: Sequence[SeedGroup], lead: str) -> Section:
    """Measures with intervals: a row for each group, and a row for each model."""
    measures = groups[0].models[0].measured.measures
    names = [measure.name for measure in measures]
    rows: list[list[Entry]] = [
        [one.title, *(_entry(one.measure(name)) for name in names)] for one in groups
    ]
    several = any(len(group.models) > 1 for group in groups)
    title = "Means over the seeds" if several else "Each model"
    parts: list[Part] = [Table(["", *names], rows, title)]
    if several:
        models = [model for group in groups for model in group.models]
        each: list[list[Entry]] = [
            [m.name, *(_entry(m.measured.of(name)) for name in names)] for m in models
        ]
        parts.append(Table(["", *names], each, "Each model"))
    meanings = [f"{measure.name}: {measure.explanation}" for measure in measures]
    parts.append(Sentences("What the measures are", meanings))
    return Section("metrics", "Metrics", lead, [Group(parts)])


def learning(groups: Sequence[SeedGroup]) -> Section | None:
    """Learning curves of models and agents; None if no curves were recorded."""
    # A line for each model
    charts = []
    for key, ylabel in (
        ("distortion", "distortion, nats per frame"),
        ("rate", "rate, nats per frame"),
        ("active_units", "active latents"),
    ):
        lines = [
            Line(
                model.name,
                *columns_of(read_points(model.encoder.path / "metrics.jsonl", "step", key)),
                colour=group.colour % 8 + 8 * marker,
            )
            for group in groups
            for marker, model in zip(group.markers, group.models, strict=True)
        ]
        if any(len(line.x) for line in lines):
            title = f"Held-out {ylabel.split(',')[0]}"
            legend = seed_legend(groups, dashes=True)
            charts.append(line_chart(title, lines, xlabel="updates", ylabel=ylabel, legend=legend))
    # Two lines for each agent
    returns = _return_lines(groups)
    if returns:
        charts.append(
            line_chart(
                "Return of the agent",
                returns,
                xlabel="environment steps",
                ylabel="mean return",
                caption="Sampled: last 100 training episodes. Deterministic: evaluations.",
            )
        )
    if not charts:
        return None
    return Section("learning", "Learning curves", "", [Group(charts, "cards two")])


def seed_legend(groups: Sequence[SeedGroup], *, dashes: bool) -> list[tuple[Markup, str]]:
    """A colour for each group and, if there are several seeds, a dash or a form for each seed."""
    seeds = {
        marker: model.seed
        for group in groups
        for marker, model in zip(group.markers, group.models, strict=True)
    }
    legend = [colour_key(group.colour, group.name) for group in groups]
    if len(seeds) > 1:
        key = dash_key if dashes else marker_key
        legend += [key(marker, f"seed {seed}") for marker, seed in sorted(seeds.items())]
    return legend


def read_points(path: Path, x: str, y: str) -> list[tuple[float, float]]:
    """Points (x, y) of a file of JSON lines. Lines without both entries are left out.

    Raises:
        FolderError: if the file is damaged.
    """
    try:
        return [
            (float(record[x]), float(record[y]))
            for record in strict_json.read_lines(path)
            if record.get(x) is not None and record.get(y) is not None
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise FolderError.damaged(path, "one JSON object per line", error) from error


def columns_of(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Points as two lists."""
    return [x for x, _ in points], [y for _, y in points]


def _means(groups: Sequence[SeedGroup], name: str) -> list[tuple[float, float]]:
    """Mean rate and mean distortion or error of each group that has a beta, in order of beta."""
    means = [
        (group.measure("rate").score, group.measure(name).score)
        for group in groups
        if beta_of(group.models[0].encoder) is not None
    ]
    return [point for point in means if all(map(math.isfinite, point))]


def _mark(colour: int, marker: int, model: Model, name: str) -> Line:
    rate, y = model.measured.of("rate"), model.measured.of(name)
    bounds = [y.low], [y.high]
    return Line(model.name, [rate.score], [y.score], *bounds, colour % 8, marks=True, marker=marker)


def _entry(measure: Measure) -> Bounded:
    return Bounded(measure.score, measure.low, measure.high)


def _return_lines(groups: Sequence[SeedGroup]) -> list[Line]:
    lines = []
    for group in groups:
        for model in group.models:
            if model.agent is None:
                continue
            for dash, (key, label) in enumerate(
                (("training_return", "sampled"), ("evaluation_return", "deterministic"))
            ):
                points = read_points(model.agent.path / "progress.jsonl", "frames", key)
                colour = group.colour % 8 + 8 * dash
                if points:
                    label = f"{model.name}, {label}"
                    lines.append(Line(label, *columns_of(points), colour=colour))
    return lines
