"""Sections of the report's page about models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_vae.agents.agent import Agent
from rl_vae.analysis.report.charts import Line, heat_map, line_chart, number
from rl_vae.analysis.report.images import data_uri, row_of, traversal_uris
from rl_vae.analysis.report.measures import Measured
from rl_vae.analysis.report.parts import (
    Chart,
    Facts,
    Group,
    Noted,
    Picture,
    Pictures,
    Section,
    Table,
)
from rl_vae.errors import FolderError
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.system import strict_json

MAX_TRAVERSED = 12
"""Largest number of latents that are traversed; those with the largest variance are chosen."""


class Model(NamedTuple):
    """A model of the report."""

    name: str
    encoder: Encoder
    agent: Agent | None
    """Agent that observes the codes of this model."""
    measured: Measured


def beta_of(encoder: Encoder) -> float | None:
    """Beta of a model; None if its objective has none."""
    beta = encoder.provenance["train"]["objective"].get("beta")
    return None if beta is None else float(beta)


def overview(models: Sequence[Model], lead: str) -> Section:
    """Objective, network and main measures of each model."""
    return Section("overview", "Overview", lead, [Group([_facts(m) for m in models], "cards")])


def reconstructions(models: Sequence[Model], frames: UInt8Array) -> Section:
    """The same frames (N, H, W, C), reconstructed by every model that has a decoder."""
    rows = [("real frames", frames)]
    rows += [(model.name, model.encoder.reconstruct(frames)) for model in _decoding(models)]
    pictures = [
        Picture(name, data_uri(row_of(images)), f"{len(images)} frames: {name}")
        for name, images in rows
    ]
    return Section(
        "pictures",
        "Reconstructions",
        "The first row shows real frames. The rows below show each model's reconstruction of them.",
        [Group([Pictures(pictures, wide_labels=True)])],
    )


def rate_distortion(models: Sequence[Model]) -> Section | None:
    """Rate against distortion, one point for each model that has a decoder; None without any."""
    models = _decoding(models)
    if not models:
        return None
    configs = {(m.encoder.vae.config.likelihood, m.encoder.vae.config.sigma) for m in models}
    # The distortions of different likelihoods cannot be compared; errors can.
    name = "distortion" if len(configs) == 1 else "error"
    ylabel = "distortion, nats per frame" if len(configs) == 1 else "error, of 255"
    # One marked point for each model
    measured = [(model.measured.of("rate"), model.measured.of(name)) for model in models]
    lines = [
        Line(model.name, [rate.score], [y.score], [y.low], [y.high], place, marks=True)
        for place, (model, (rate, y)) in enumerate(zip(models, measured, strict=True))
    ]
    # A line: the course of the training, or from model to model
    if len(models) == 1:
        path = read_points(models[0].encoder.path / "metrics.jsonl", "rate", "distortion")
        if path and name == "distortion":
            lines.insert(0, Line("during training", *columns_of(path), colour=6))
    else:
        points = sorted((rate.score, y.score) for rate, y in measured)
        lines.insert(0, Line("in order of rate", *columns_of(points), colour=6))
    chart = line_chart(
        "Rate and distortion",
        lines,
        xlabel="rate, nats per frame",
        ylabel=ylabel,
        caption="Lower left is better. Bars: 95 % intervals over episodes.",
    )
    return Section(
        "rate",
        "Rate and distortion",
        "The rate is the information in a code, the distortion is the error of the "
        "reconstruction. A larger beta lowers the rate and raises the distortion.",
        [Group([chart], "cards two")],
    )


def metrics(models: Sequence[Model], lead: str) -> Section:
    """Every measure of every model, with its interval."""
    rows = [
        [Noted(first.name, first.explanation), *(_measured_entry(m, first.name) for m in models)]
        for first in models[0].measured.measures
    ]
    table = Table(["measure", *(model.name for model in models)], rows)
    return Section("metrics", "Metrics", lead, [Group([table])])


def factors(models: Sequence[Model]) -> Section | None:
    """Which latents hold which factor; None if the dataset has no factors."""
    names = models[0].measured.factors
    if not names:
        return None
    # Two heat maps per model, with one colour scale for the mutual information of all models
    top = max(float(model.measured.information.max()) for model in models)
    charts: list[Chart] = []
    for model in models:
        columns = [f"z{latent}" for latent in range(model.encoder.latent_dim)]
        charts.append(
            heat_map(
                f"{model.name}: mutual information",
                names,
                columns,
                model.measured.information.T,
                top=top,
                caption=f"Nats; a full square is {number(top)}.",
            )
        )
        if model.measured.importance.size:
            charts.append(
                heat_map(
                    f"{model.name}: importance (DCI)",
                    names,
                    columns,
                    model.measured.importance.T,
                    caption="Importance of each latent when boosted trees predict the factor. Each "
                    "row sums to 1.",
                )
            )
    return Section(
        "factors",
        "Factors and latents",
        "A disentangled code has one full square in each row, each in another column. The factors "
        "of an episode are correlated, because the policy links them.",
        [Group(charts, "cards")],
    )


def traversals(models: Sequence[Model], frame: UInt8Array) -> Section | None:
    """Frames that each model decodes when one latent changes; `frame` is (H, W, C).

    None if no model has a decoder and the statistics of its latents.
    """
    models = _decoding(models)
    if not models:
        return None
    return Section(
        "traversals",
        "Traversals",
        "In each row, one latent goes from 2.5 standard deviations below its mean to 2.5 above. "
        "Mean and deviation are those of the training frames. The other latents stay those of one "
        "frame. Latents with the largest variance come first.",
        [Group([_traversal(model, frame) for model in models], "cards")],
    )


def learning(models: Sequence[Model]) -> Section | None:
    """Learning curves of models and agents; None if no curves were recorded."""
    charts = []
    for key, ylabel in (
        ("distortion", "distortion, nats per frame"),
        ("rate", "rate, nats per frame"),
        ("active_units", "active latents"),
    ):
        lines = [
            Line(m.name, *columns_of(read_points(m.encoder.path / "metrics.jsonl", "step", key)),
                 colour=place)
            for place, m in enumerate(models)
        ]  # fmt: skip
        if any(len(line.x) for line in lines):
            title = f"Held-out {ylabel.split(',')[0]}"
            charts.append(line_chart(title, lines, xlabel="updates", ylabel=ylabel))
    returns = _return_lines(models)
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


def _decoding(models: Sequence[Model]) -> list[Model]:
    return [model for model in models if model.encoder.has_decoder]


def _facts(model: Model) -> Facts:
    provenance, measured = model.encoder.provenance, model.measured
    config, beta = model.encoder.vae.config, beta_of(model.encoder)
    kind = str(provenance["train"]["objective"]["kind"])
    active = measured.of("active latents")
    facts = [
        ("objective", kind, "" if beta is None else f"beta {beta:g}"),
        ("network", str(config.network), f"{config.likelihood} likelihood"),
        ("active latents", f"{active.score:.0f}", f"of {config.latent_dim}"),
        ("rate", number(measured.of("rate").score), "nats per frame"),
        ("error", number(measured.of("error").score), "of 255, root mean square"),
        ("training", f"{provenance['steps']:,}", f"updates, {provenance['seconds']:.0f} s"),
    ]
    return Facts(model.name, facts)


def _measured_entry(model: Model, name: str) -> Noted:
    measure = model.measured.of(name)
    interval = f"{number(measure.low)} to {number(measure.high)}"
    return Noted(measure.score, interval if np.isfinite(measure.low) else "")


def _traversal(model: Model, frame: UInt8Array) -> Pictures:
    statistics = model.encoder.statistics
    order = np.argsort(-np.array(statistics.latent_std), kind="stable")
    chosen = order[:MAX_TRAVERSED]
    uris = traversal_uris(model.encoder, frame, chosen)
    numbers = Table(
        ["latent", "mean of mu", "standard deviation of mu"],
        [[f"z{k}", statistics.latent_mean[k], statistics.latent_std[k]] for k in order],
    )
    return Pictures(
        [
            Picture(f"z{latent}", uri, f"Latent {latent} from low to high")
            for latent, uri in zip(chosen, uris, strict=True)
        ],
        title=model.name,
        numbers=numbers,
    )


def _return_lines(models: Sequence[Model]) -> list[Line]:
    lines = []
    for place, model in enumerate(models):
        if model.agent is None:
            continue
        for key, label in (("training_return", "sampled"), ("evaluation_return", "deterministic")):
            points = read_points(model.agent.path / "progress.jsonl", "frames", key)
            colour = place + 8 * (label == "deterministic")
            if points:
                lines.append(Line(f"{model.name}, {label}", *columns_of(points), colour=colour))
    return lines
