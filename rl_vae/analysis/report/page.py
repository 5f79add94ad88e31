"""`write_report`: models, an agent and a comparison as one HTML file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis.report import measure_sections, model_sections
from rl_vae.analysis.report.comparison_sections import comparison_sections
from rl_vae.analysis.report.explorer import is_live, live_model
from rl_vae.analysis.report.groups import Model, SeedGroup, make_groups
from rl_vae.analysis.report.images import data_uri
from rl_vae.analysis.report.inputs import ReportInputs, check_target, read_inputs
from rl_vae.analysis.report.measures import MeasuredFrames, choose_frames, measure
from rl_vae.analysis.report.parts import Explorer, Group, Section
from rl_vae.analysis.report.render import render_page, script_json
from rl_vae.constraints import check_arguments
from rl_vae.system import files
from rl_vae.system.outputs import output_path
from rl_vae.system.progress import progress_bar

MAX_BYTES = 4_900_000
"""Largest size of the page. Decoders that would exceed it are left out."""
START_FRAMES = 12
"""Number of real frames to start from in the explorer."""


class Report(NamedTuple):
    """Result of `write_report`."""

    path: Path
    size: int
    """Size of the file in bytes."""
    explored: tuple[str, ...]
    """Names of the models whose decoders run in the page."""
    error: float
    """Largest difference of a decoded pixel from PyTorch's, from 0 to 255, on random codes."""
    figures: dict[str, float]
    """Every measure as MODEL_MEASURE, and its interval as MODEL_MEASURE_low and _high."""


@check_arguments
def write_report(
    out: str | Path,
    models: Sequence[str | Path] = (),
    dataset: str | Path | None = None,
    *,
    agent: str | Path | None = None,
    comparison: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Write an HTML page about models, which opens from the disk and runs their decoders.

    All models are measured on the same frames. The page needs no network and no other file.

    Args:
        out: The file, NAME.html. An earlier report is replaced.
        models: Model folders. Those that differ only in their seed are shown as a group. If there
            are none: the agent's model, or of each beta of the comparison the seed with the lowest
            loss.
        dataset: Dataset with frames of the models' FrameSpec. None: the comparison's.
        agent: Folder of an agent that observes one of the models' codes.
        comparison: Folder that `rl_vae.compare` wrote.
        seed: Seed of the intervals and of the fits.
        progress: Whether to show a progress bar if there is a terminal.

    Raises:
        ConfigError: if there is no model or no dataset, if the agent observes the codes of another
            model, or if `out` does not end in .html.
        ObservationError: if the frames were made by another FrameSpec than a model's.
        FolderError, DatasetError: if a folder is missing or damaged, or `out` is no report.
    """
    out = output_path(out)
    check_target(out)
    inputs = read_inputs(models, dataset, agent, comparison)

    # Measure the models.
    chosen = choose_frames(inputs.encoders, inputs.frames, seed)
    bar = progress_bar(inputs.encoders, desc="measure", progress=progress)
    measured = [
        Model(
            name, encoder, inputs.agent_of(encoder), measure(encoder, inputs.frames, chosen, seed)
        )
        for name, encoder in zip(inputs.names, bar, strict=True)
    ]

    # Make the sections; decoders fill the space that the other sections leave.
    groups = make_groups(measured, inputs.comparison.colours if inputs.comparison else {})
    starts = _start_frames(chosen)
    title = inputs.frames.header.env_id
    first, *others = _sections(inputs, groups, chosen, starts)
    data = _start_data(inputs, starts)
    space = MAX_BYTES - len(render_page(title, [first, *others], data).encode())
    explorer = _explore(groups, inputs.frames.frames(starts), data, space)

    # Write the page.
    sections = [first, _explorer_section(explorer, measured), *others]
    content = render_page(title, sections, data).encode()
    with files.disk_errors(out.parent):
        files.make_folder(out.parent)
        files.write_whole(out, content)
    return Report(out, len(content), tuple(explorer.names), explorer.error, _figures(measured))


def _sections(
    inputs: ReportInputs,
    groups: Sequence[SeedGroup],
    chosen: MeasuredFrames,
    starts: NDArray[np.int64],
) -> list[Section]:
    """All sections but the explorer."""
    frames, best = inputs.frames, [group.best for group in groups]
    pictures = frames.frames(starts)
    shape = " × ".join(map(str, frames.spec.shape))
    # Sentences below the headings
    n = sum(len(group.models) for group in groups)
    overview = (
        f"{n} model{'s' * (n > 1)} of {frames.header.env_id}. Dataset: {len(frames):,} frames of "
        f"{shape}, {frames.header.origin}."
    )
    if n > len(groups):
        overview += " Models that differ only in their seed are one group, with one colour."
    metrics = (
        f"Rate, distortion, error and active latents: measured on {len(chosen.test):,} frames "
        f"({chosen.source}). Other measures: on these frames and {len(chosen.fit):,} others; DCI, "
        "SAP and explicitness are fitted on one half of the episodes and measured on the other. "
        "Intervals of one model: 95 %, over episodes for rate, distortion and error. For the other "
        "measures they are over frames as if frames were independent, which makes them too narrow."
    )
    if n > len(groups):
        metrics += " Intervals of several seeds: 95 %, Student's t over the seeds."
    # Sections; pictures are those of the best seeds
    sections = [
        model_sections.overview(groups, overview),
        model_sections.reconstructions(best, pictures),
        measure_sections.rate_distortion(groups),
        measure_sections.metrics(groups, metrics),
        model_sections.factors(best),
        model_sections.traversals(best, pictures[len(pictures) // 2]),
        measure_sections.learning(groups),
        *(comparison_sections(inputs.comparison) if inputs.comparison else ()),
    ]
    return [section for section in sections if section is not None]


def _start_frames(chosen: MeasuredFrames) -> NDArray[np.int64]:
    """Frames to start from, evenly spaced over the measured frames.

    None of them is the first frame of the first episode, which is often unlike the others.
    """
    shares = (np.arange(START_FRAMES) + 0.5) / START_FRAMES
    return np.unique(chosen.test[(shares * len(chosen.test)).astype(np.int64)])


def _start_data(inputs: ReportInputs, starts: NDArray[np.int64]) -> dict[str, Any]:
    """Data for explorer.js without any model."""
    images = [data_uri(image, exact=True) for image in inputs.frames.frames(starts)]
    frames = [{"frame": int(row), "picture": uri} for row, uri in zip(starts, images, strict=True)]
    return {"frames": frames, "models": []}


def _explore(
    groups: Sequence[SeedGroup], frames: NDArray[np.uint8], data: dict[str, Any], space: int
) -> Explorer:
    """Add decoders to `data` as long as they fit into the space, in bytes, that is left.

    The best seed of each group comes first, then the other seeds, if there is space for them.
    """
    space -= 20_000  # the explorer's own section
    remarks, error, live_models = [], 0.0, {}
    in_order = [model for group in groups for model in group.models]
    best = [group.best for group in groups]
    others = [model for model in in_order if not any(model is one for one in best)]
    for model in [*best, *others]:
        if not is_live(model.encoder):
            remarks.append(
                f"{model.name} has no live decoder: the script of this page runs built-in networks "
                f"only, and the model has the network {model.encoder.vae_config.network_name}."
            )
            continue
        live = live_model(model.name, model.encoder, model.agent, frames)
        size = len(script_json(live.data))
        if size > space:
            remarks.append(
                f"{model.name} has no live decoder: its weights have {size / 1e6:.1f} MB, and the "
                f"page stays below {MAX_BYTES / 1e6:.1f} MB. Write a report on this model alone."
            )
            continue
        if model.agent is not None and live.data["policy"] is None:
            remarks.append(
                f"The action of {model.name}'s agent is not shown: the agent also observes "
                "log-variances or other entries of the observation, which have no sliders."
            )
        space -= size
        live_models[model.name] = live.data
        error = max(error, live.error)
    data["models"] += [live_models[m.name] for m in in_order if m.name in live_models]
    return Explorer([str(one["name"]) for one in data["models"]], error, remarks)


def _explorer_section(explorer: Explorer, models: Sequence[Model]) -> Section:
    lead = (
        "Choose a real frame and move the sliders of its latents. The decoder runs in this page. "
        "The coloured band of a slider holds 95 % of the training frames."
    )
    if any(model.agent for model in models):
        lead += (
            " The curve above a slider shows the action of the agent as a function of this latent. "
            "The dot is the current action. The agent acts without noise and before its action "
            "map, as after a reset: all codes of its stack equal this code, past actions are zero."
        )
    return Section("explore", "Explorer", lead, [Group([explorer])])


def _figures(models: Sequence[Model]) -> dict[str, float]:
    """Every measure of every model by flat name."""
    return {
        re.sub(r"[^\w.]+", "_", f"{model.name} {one.name}") + end: value
        for model in models
        for one in model.measured.measures
        for end, value in (("", one.score), ("_low", one.low), ("_high", one.high))
    }
