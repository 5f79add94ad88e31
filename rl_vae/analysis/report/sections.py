"""The page's sections about models: what each shows, as HTML. Everything said is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_vae.agents.agent import Agent
from rl_vae.analysis.report import charts
from rl_vae.analysis.report.charts import Line, number
from rl_vae.analysis.report.explorer import data_uri, row_of, strips
from rl_vae.analysis.report.measures import Measured
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.system import files

MOST_ROWS = 12
"""So many latents are traversed, those that vary most."""


class Model(NamedTuple):
    """A model of the report."""

    name: str
    encoder: Encoder
    agent: Agent | None
    measured: Measured


def beta_of(encoder: Encoder) -> float | None:
    """Where it was trained as a beta-VAE."""
    objective = encoder.provenance["train"]["objective"]
    return float(objective["beta"]) if objective["kind"] == "Beta" else None


class Section(NamedTuple):
    """One part of the page."""

    anchor: str
    title: str
    lead: str
    body: str


def overview(models: Sequence[Model], about: str) -> Section:
    """What was made of what."""
    cards = []
    for model in models:
        made, measured = model.encoder.provenance, model.measured
        config = model.encoder.vae.config
        beta, kind = beta_of(model.encoder), made["train"]["objective"]["kind"]
        active = measured.of("active latents")
        facts = [
            ("objective", kind if beta is None else f"beta {beta:g}", ""),
            ("network", f"{config.network}", f"{config.likelihood} likelihood"),
            ("latents active", f"{active.score:.0f}", f"of {config.latent_dim}"),
            ("rate", number(measured.of("rate").score), "nats a frame"),
            ("error", number(measured.of("error").score), "of 255, root mean square"),
            ("trained", f"{made['steps']:,}", f"updates, {made['seconds']:.0f} s"),
        ]
        cards.append(f'<div class="card"><h3>{escape(model.name)}</h3>{_facts(facts)}</div>')
    return Section("overview", "Overview", about, f'<div class="cards">{"".join(cards)}</div>')


def side_by_side(models: Sequence[Model], frames: UInt8Array) -> Section:
    """The same real frames as every model draws them."""
    rows = [("real frames", data_uri(row_of(frames)))]
    rows += [(m.name, data_uri(row_of(m.encoder.reconstruct(frames)))) for m in models]
    body = "".join(
        f'<div><span>{escape(name)}</span><img src="{uri}" alt="{len(frames)} frames: '
        f'{escape(name)}"></div>'
        for name, uri in rows
    )
    return Section(
        "pictures",
        "Side by side",
        "Frames above, and beneath them what is left of each after it went through a code.",
        f'<div class="card strips side">{body}</div>',
    )


def rate_distortion(models: Sequence[Model]) -> Section:
    """What a code costs against what it loses."""
    configs = {(m.encoder.vae.config.likelihood, m.encoder.vae.config.sigma) for m in models}
    name = "distortion" if len(configs) == 1 else "error"
    unit = "distortion, nats a frame" if len(configs) == 1 else "error, of 255"
    found = [(m.measured.of("rate"), m.measured.of(name)) for m in models]
    points = [
        Line(m.name, [rate.score], [lost.score], [lost.low], [lost.high], k, marks=True)
        for k, (m, (rate, lost)) in enumerate(zip(models, found, strict=True))
    ]
    caption = "Down and to the left is better. Bars: 95 % over episodes."
    if len(models) == 1:
        path = _records(models[0].encoder.path / "metrics.jsonl", "rate", "distortion")
        if path:
            points.insert(0, Line("while it trained", *zip_columns(path), colour=6))
    else:
        order = np.argsort([rate.score for rate, _ in found])
        points.insert(
            0,
            Line(
                "in order of the rate",
                [found[k][0].score for k in order],
                [found[k][1].score for k in order],
                colour=6,
            ),
        )
    chart = charts.lines(
        "Rate and distortion",
        points,
        xlabel="rate, nats a frame",
        ylabel=unit,
        caption=caption,
    )
    return Section(
        "rate",
        "Rate and distortion",
        "Rate is what a code says of a frame, distortion what it leaves out. Pressing harder on "
        "the code (a larger beta) moves a model along the curve.",
        f'<div class="cards two">{chart}</div>',
    )


def metrics(models: Sequence[Model], about: str) -> Section:
    """Every measure of every model, with its interval."""
    first = models[0].measured.measures
    head = "".join(f'<th scope="col">{escape(m.name)}</th>' for m in models)
    body = ""
    for measure in first:
        cells = ""
        for model in models:
            own = model.measured.of(measure.name)
            spread = (
                f"<small>{number(own.low)} to {number(own.high)}</small>"
                if np.isfinite(own.low)
                else ""
            )
            cells += f"<td>{number(own.score)}{spread}</td>"
        said = f"<small>{escape(measure.said)}</small>"
        body += f'<tr><th scope="row">{escape(measure.name)}{said}</th>{cells}</tr>'
    table = (
        f'<table><thead><tr><th scope="col">measure</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    return Section(
        "metrics",
        "Metrics",
        about,
        f'<div class="card scroll" tabindex="0" role="group" aria-label="Metrics">{table}</div>',
    )


def factors(models: Sequence[Model]) -> Section | None:
    """Which latent tells of which factor; None where the dataset has no factors."""
    if not models[0].measured.factors:
        return None
    names = models[0].measured.factors
    most = max(float(model.measured.information.max()) for model in models)
    maps = []
    for model in models:
        measured, latents = model.measured, range(model.encoder.latent_dim)
        columns = [f"z{k}" for k in latents]
        maps.append(
            charts.heat_map(
                f"{model.name}: mutual information",
                names,
                columns,
                measured.information.T,
                top=most,
                caption=f"Nats that a latent tells of a factor; a full square is {number(most)}.",
            )
        )
        if measured.importance.size:
            maps.append(
                charts.heat_map(
                    f"{model.name}: importances (DCI)",
                    names,
                    columns,
                    measured.importance.T,
                    caption="Share of a factor that boosted trees read from a latent; a row sums "
                    "to 1.",
                )
            )
    return Section(
        "factors",
        "Factors and latents",
        "A code that takes factors apart has one full square in every row, each in another "
        "column. The factors of a rollout are correlated, so part of this is the policy's doing.",
        f'<div class="cards">{"".join(maps)}</div>',
    )


def traversals(models: Sequence[Model], frame: UInt8Array) -> Section:
    """What each latent draws when it alone moves."""
    cards = []
    for model in models:
        varied = np.argsort(-np.array(model.encoder.statistics.latent_std), kind="stable")
        chosen = varied[:MOST_ROWS]
        rows = "".join(
            f'<div><span>z{latent}</span><img src="{uri}" alt="Latent {latent} from low to high">'
            "</div>"
            for latent, uri in zip(chosen, strips(model.encoder, frame, chosen), strict=True)
        )
        std = model.encoder.statistics.latent_std
        listed = charts.numbers(
            ["latent", "mean of mu", "standard deviation of mu"],
            [[f"z{k}", model.encoder.statistics.latent_mean[k], std[k]] for k in varied],
        )
        title = f"<h3>{escape(model.name)}</h3>"
        cards.append(f'<div class="card">{title}<div class="strips">{rows}</div>{listed}</div>')
    return Section(
        "traversals",
        "Traversals",
        "One latent a row: it alone moves from 2.5 standard deviations below its mean to as many "
        "above, over the training frames; the others stay those of one frame. First those that "
        "vary most.",
        f'<div class="cards">{"".join(cards)}</div>',
    )


def learning(models: Sequence[Model]) -> Section | None:
    """Held-out measures and returns while they were trained; None where nothing is kept."""
    drawn = []
    for key, label in (
        ("distortion", "distortion, nats a frame"),
        ("rate", "rate, nats a frame"),
        ("active_units", "active latents"),
    ):
        lines = []
        for place, model in enumerate(models):
            records = _records(model.encoder.path / "metrics.jsonl", "step", key)
            lines.append(Line(model.name, *zip_columns(records), colour=place))
        if any(len(line.x) for line in lines):
            title = f"Held out: {label.split(',')[0]}"
            drawn.append(charts.lines(title, lines, xlabel="updates", ylabel=label))
    returns = []
    for place, model in enumerate(models):
        if model.agent is None:
            continue
        for key, said in (("training_return", "sampled"), ("evaluation_return", "deterministic")):
            records = _records(model.agent.path / "progress.jsonl", "frames", key)
            colour = place + 8 * (said == "deterministic")
            if records:
                returns.append(Line(f"{model.name}, {said}", *zip_columns(records), colour=colour))
    if returns:
        drawn.append(
            charts.lines(
                "The agent's return",
                returns,
                xlabel="environment steps",
                ylabel="mean return",
                caption="Sampled: training, the last 100 episodes. Deterministic: evaluations.",
            )
        )
    if not drawn:
        return None
    return Section(
        "learning", "Learning curves", "", f'<div class="cards two">{"".join(drawn)}</div>'
    )


def zip_columns(records: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Points as two lists."""
    return [x for x, _ in records], [y for _, y in records]


def _records(path: Path, x: str, y: str) -> list[tuple[float, float]]:
    """Points of a file of JSON lines; a record without either is left out.

    Raises:
        ArtifactError: where the file is damaged.
    """
    try:
        return [
            (float(record[x]), float(record[y]))
            for record in files.read_lines(path)
            if record.get(x) is not None and record.get(y) is not None
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise files.damaged(path, "one JSON object a line", error) from error


def _facts(facts: Sequence[tuple[str, str, str]]) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)} <small>{escape(unit)}</small></dd></div>"
        for name, value, unit in facts
    )
    return f'<dl class="facts">{items}</dl>'
