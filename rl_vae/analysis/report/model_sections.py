"""Sections of the report's page about models: overview, pictures, factors, traversals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl_vae.analysis.report.charts import heat_map
from rl_vae.analysis.report.groups import Model, SeedGroup, beta_of
from rl_vae.analysis.report.images import data_uri, row_of, traversal_uris
from rl_vae.analysis.report.numbers import number
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
from rl_vae.frames import UInt8Array

MAX_TRAVERSED = 12
"""Largest number of latents that are traversed; those with the largest variance are chosen."""


def overview(groups: Sequence[SeedGroup], lead: str) -> Section:
    """Objective, network and main measures of each group."""
    return Section("overview", "Overview", lead, [Group([_facts(one) for one in groups], "cards")])


def reconstructions(models: Sequence[Model], frames: UInt8Array) -> Section:
    """The same frames (N, H, W, C), reconstructed by every model that has a decoder."""
    rows = [("real frames", frames, "")]
    for model in decoding(models):
        error = number(model.measured.of("error").score)
        decoded = model.encoder.reconstruct(frames)
        rows.append((model.name, decoded, f"error {error} of 255, all measured frames"))
    pictures = [
        Picture(Noted(name, note), data_uri(row_of(images)), f"{len(images)} frames: {name}")
        for name, images, note in rows
    ]
    return Section(
        "pictures",
        "Reconstructions",
        "The first row shows real frames. The rows below show reconstructions of them by the best "
        "seed of each group: the one with the lowest loss, distortion plus beta times rate.",
        [Group([Pictures(pictures, wide_labels=True)])],
    )


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
                caption="Nats; all models have the same scale.",
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
    models = decoding(models)
    if not models:
        return None
    return Section(
        "traversals",
        "Traversals",
        "In each row, one latent goes from 2.5 standard deviations below its mean to 2.5 above. "
        "Mean and deviation are those of the training frames. The other latents stay those of one "
        "frame. Latents with the largest variance come first. Right of the gap: what moved, the "
        "range of each pixel in the row, from white (0) to dark blue (255). KL: in nats per frame, "
        "on the measured frames.",
        [Group([_traversal(model, frame) for model in models], "cards")],
    )


def decoding(models: Sequence[Model]) -> list[Model]:
    """The models that have a decoder."""
    return [model for model in models if model.encoder.has_decoder]


def _facts(group: SeedGroup) -> Facts:
    model = group.models[0]
    config, beta = model.encoder.vae.config, beta_of(model.encoder)
    kind = str(model.encoder.provenance["train"]["objective"]["kind"])
    steps = {int(one.encoder.provenance["steps"]) for one in group.models}
    seconds = sum(one.encoder.provenance["seconds"] for one in group.models)
    each = " on average" if len(group.models) > 1 else ""
    facts = [
        ("objective", kind, "" if beta is None else f"beta {beta:g}"),
        ("network", str(config.network), f"{config.likelihood} likelihood"),
        (
            "active latents",
            number(group.measure("active latents").score),
            f"of {config.latent_dim}{each}",
        ),
        ("rate", number(group.measure("rate").score), f"nats per frame{each}"),
        ("error", number(group.measure("error").score), f"of 255, root mean square{each}"),
        ("training", " to ".join(f"{n:,}" for n in sorted({min(steps), max(steps)})),
         f"updates; {seconds:,.0f} s for all seeds" if each else f"updates, {seconds:.0f} s"),
    ]  # fmt: skip
    return Facts(group.title, facts)


def _traversal(model: Model, frame: UInt8Array) -> Pictures:
    statistics = model.encoder.statistics
    order = np.argsort(-np.array(statistics.latent_std), kind="stable")
    chosen = order[:MAX_TRAVERSED]
    uris = traversal_uris(model.encoder, frame, chosen)
    kl = model.measured.kl
    numbers = Table(
        ["latent", "KL, nats", "mean of mu", "standard deviation of mu"],
        [[f"z{k}", float(kl[k]), statistics.latent_mean[k], statistics.latent_std[k]]
         for k in order],
        file=f"{model.name} latents",
    )  # fmt: skip
    return Pictures(
        [
            Picture(
                Noted(f"z{latent}", f"KL {kl[latent]:.2f}"),
                uri,
                f"Latent {latent} from low to high, and what moved",
            )
            for latent, uri in zip(chosen, uris, strict=True)
        ],
        title=model.name,
        scale=("−2.5σ", "mean", "+2.5σ", "moved"),
        numbers=numbers,
    )
