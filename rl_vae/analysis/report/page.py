"""Page: models, an agent, a comparison as one HTML file that asks nobody for anything.

Everything that comes from data is escaped, and a Content-Security-Policy allows the page its own
script, its own style and pictures that it holds itself: a name that got through would still run
nothing and call nobody.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from rl_vae.agents.agent import Agent
from rl_vae.analysis.report import sections
from rl_vae.analysis.report.explorer import HTML, data_uri, explored
from rl_vae.analysis.report.measures import halve, measure
from rl_vae.analysis.report.sections import Model, Section
from rl_vae.analysis.report.study import Study
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.encoder import Encoder
from rl_vae.objectives.registry import objective_from_dict
from rl_vae.system import files
from rl_vae.system.provenance import package_versions

MOST_BYTES = 4_900_000
"""The page stays below this: decoders that no longer fit are left out of it, and it says so."""
FRAMES = 12
"""Real frames to start from."""
GENERATOR = "rl_vae report"
"""By this a page is known as one of ours."""


class Report(NamedTuple):
    """What `write_report` wrote."""

    path: Path
    size: int
    """In bytes."""
    explored: tuple[str, ...]
    """Names of the models whose decoders are in the page."""
    error: float
    """How far their pictures are from PyTorch's at most, of 255, on the codes that were tried."""
    figures: dict[str, float]
    """Every measure as MODEL_MEASURE, its interval as _low and _high."""


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
    """Write a page about models, side by side, that opens from the disk and decodes live.

    All models are measured on the same frames of the dataset. With a comparison, its first model
    of each beta and its scored frames are taken where none are named.

    Args:
        out: The file, NAME.html; an earlier report there is replaced.
        models: Folders that `train_vae` wrote. None: the agent's, or the comparison's.
        dataset: Frames of the models' FrameSpec. None: the comparison's.
        agent: Folder of an agent that sees through one of the models; its actions are drawn.
        comparison: Folder that `rl-vae compare` wrote.
        seed: Of the intervals and of what is fitted.
        progress: Whether to show a progress bar, where there is a terminal.

    Raises:
        ConfigError: where there is nothing to report on, or names do not fit each other.
        ObservationError: where the frames are of another FrameSpec.
        ArtifactError, DatasetError: where a folder is missing or damaged, or `out` is no report.
    """
    out = Path(out)
    if out.suffix != ".html" or out.is_dir():
        raise ConfigError(
            "A report is an HTML file.",
            expected="a name that ends in .html",
            got=repr(str(out)),
            remedy="rename it",
        )
    _check_free(out)
    study = None if comparison is None else Study(Path(comparison))
    folders, agents, frames = _inputs(models, dataset, agent, study)
    encoders = [Encoder.load(folder) for folder in folders]
    _check(encoders, agents, frames)
    names = _names(folders, encoders)
    halves = halve(encoders, frames, seed)
    made = []
    bar = tqdm(encoders, desc="measure", disable=None if progress else True)
    for name, encoder in zip(names, bar, strict=True):
        seen = next((a for a in agents if a.encoder.digest == encoder.digest), None)
        made.append(Model(name, encoder, seen, measure(encoder, frames, halves, seed)))
    shares = (np.arange(FRAMES) + 0.5) / FRAMES  # an episode's first frame is not like the others
    starts = np.unique(halves.test[(shares * len(halves.test)).astype(np.int64)])
    env_id = frames.header.env_id
    about = (
        f"{len(made)} {'model' if len(made) == 1 else 'models'} of {env_id}, on {len(frames):,} "
        f"frames of {' × '.join(map(str, frames.spec.shape))} by the engine {frames.header.engine}."
    )
    measured = (
        f"On {len(halves.test):,} frames: {halves.said}. What is fitted, on {len(halves.fit):,} "
        "others. Ranges: 95 %; over episodes for rate, distortion and error, else over frames "
        "as if they were independent, which is too narrow."
    )
    pictures = frames.frames(starts)
    parts = [
        sections.overview(made, about),
        None,  # the explorer, when it is known what fits
        sections.side_by_side(made, pictures),
        sections.rate_distortion(made),
        sections.metrics(made, measured),
        sections.factors(made),
        sections.traversals(made, pictures[len(pictures) // 2]),
        sections.learning(made),
        *(study.sections() if study else ()),
    ]
    data: dict[str, Any] = {
        "frames": [
            {"frame": int(row), "picture": data_uri(picture, exact=True)}
            for row, picture in zip(starts, pictures, strict=True)
        ],
        "models": [],
    }
    left = MOST_BYTES - sum(len(part.body.encode()) for part in parts if part) - 60_000
    left -= len(json.dumps(data))
    left_out, error = [], 0.0
    for model in made:
        found = explored(model.name, model.encoder, model.agent, pictures)
        size = len(_as_json(found.said))
        if size <= left:
            left -= size
            data["models"].append(found.said)
            error = max(error, found.error)
        else:
            left_out.append(f"{model.name} ({size / 1e6:.1f} MB)")
    parts[1] = _explorer(data, left_out, error, any(model.agent for model in made))
    content = _page(env_id, [part for part in parts if part], data).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(out, content)
    figures = {
        re.sub(r"[^\w.]+", "_", f"{model.name} {m.name}") + end: value
        for model in made
        for m in model.measured.measures
        for end, value in (("", m.score), ("_low", m.low), ("_high", m.high))
    }
    return Report(out, len(content), tuple(said["name"] for said in data["models"]), error, figures)


def _check_free(out: Path) -> None:
    if out.is_file() and GENERATOR.encode() not in out.read_bytes()[:1000]:
        raise FolderError(
            f"{out} holds something else.",
            expected="a name that is free, or an earlier report",
            got="another page",
            remedy="choose another name, or delete it",
        )


def _inputs(
    models: Sequence[str | Path],
    dataset: str | Path | None,
    agent: str | Path | None,
    study: Study | None,
) -> tuple[list[Path], list[Agent], FrameDataset]:
    """What is reported on: what was named, and where nothing was, what comes with it."""
    folders, agents = [Path(model) for model in models], []
    if agent is not None:
        agents.append(Agent.load(agent))
        folders = folders or [agents[0].encoder.path]
    if study is not None:
        folders = folders or study.models()
        dataset = study.path / "scored" if dataset is None else dataset
        seen = [study.agent_of(folder) for folder in folders]
        agents += [Agent.load(folder) for folder in seen if folder is not None]
    if not folders or dataset is None:
        raise ConfigError(
            "There is nothing to report on." if not folders else "There are no frames to show.",
            expected="models and a dataset of their frames, or a comparison that holds both",
            got="no model" if not folders else "no dataset",
            remedy="rl-vae report MODEL --dataset DATASET --out report.html",
        )
    frames = FrameDataset.open(dataset)
    frames.require_complete()
    return folders, agents, frames


def _names(folders: Sequence[Path], encoders: Sequence[Encoder]) -> list[str]:
    """A name for each model: its folder's, as much of it as tells them apart."""
    whole = [folder.resolve().parts for folder in folders]
    if len(set(whole)) < len(whole):
        raise ConfigError(
            "A model was named twice.",
            expected="every model once",
            got=", ".join(map(str, folders)),
            remedy="leave one out",
        )
    depth = 1
    while len({parts[-depth:] for parts in whole}) < len(whole):
        depth += 1
    names = ["/".join(parts[-depth:]) for parts in whole]
    for place, encoder in enumerate(encoders):
        beta = sections.beta_of(encoder)
        if beta is not None and "beta" not in names[place]:
            names[place] += f", beta {beta:g}"
    return names


def _check(encoders: Sequence[Encoder], agents: Sequence[Agent], frames: FrameDataset) -> None:
    for encoder in encoders:
        try:
            objective_from_dict(encoder.provenance["train"]["objective"])
            trained = encoder.provenance["steps"] + encoder.provenance["seconds"]
            whole = isinstance(trained, float) and isinstance(encoder.provenance["dataset"], str)
        except (KeyError, TypeError, AttributeError, ConfigError):
            whole = False
        if not whole:
            raise files.damaged(
                encoder.path / "config.json", "how it was trained", encoder.provenance
            )
        encoder.check_spec(frames.spec)
    known = {encoder.digest for encoder in encoders}
    for agent in agents:
        if agent.encoder.digest not in known:
            raise ConfigError(
                f"The agent {agent.path} sees through none of the models.",
                expected=f"the model {agent.encoder.digest[:16]} among them",
                got=", ".join(sorted(digest[:16] for digest in known)),
                remedy=f"name its own: {agent.encoder.path}",
            )


def _explorer(data: dict[str, Any], left_out: list[str], error: float, acts: bool) -> Section:
    lead = (
        "Start from a real frame and move its latents: the decoder runs in this page. The band on "
        "a slider is where 95 % of the training frames lie."
    )
    if acts:
        lead += (
            " The curve over a slider is the agent's action as a function of that latent alone, "
            "the dot where it is now: as after a reset, when the stack holds this code alone and "
            "no action came before; without noise, before any action map."
        )
    names = [str(said["name"]) for said in data["models"]]
    options = "".join(
        f'<option value="{place}">{escape(name)}</option>' for place, name in enumerate(names)
    )
    body = HTML.format(options=options, only=" hidden" if len(names) == 1 else "") if names else ""
    said = "<noscript><p>The explorer needs JavaScript; all else is here without it.</p></noscript>"
    if names:
        said += (
            f'<p class="hint">The picture is that of PyTorch but for {error:.2f} of 255 at most, '
            "tried on random codes when this page was written.</p>"
        )
    if left_out:
        said += (
            '<p class="hint">Left out, for the page stays below 5 MB: the decoders of '
            f"{escape(', '.join(left_out))}. Name such a model alone, or see rl-vae show.</p>"
        )
    return Section("explore", "Explorer", lead, body + said)


def _page(env_id: str, parts: Sequence[Section], data: dict[str, Any]) -> str:
    style, script = (_asset(name) for name in ("style.css", "explorer.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<li><a href="#{part.anchor}">{part.title}</a></li>' for part in parts)
    bodies = "".join(
        f'<section aria-labelledby="{part.anchor}"><h2 id="{part.anchor}">{part.title}</h2>'
        f'<p class="lead">{escape(part.lead)}</p>{part.body}</section>'
        for part in parts
    )
    made = ", ".join(f"{name} {said}" for name, said in package_versions().items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="generator" content="{GENERATOR}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(env_id)}: what the codes hold</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header><div><p class="eyebrow">rl_vae report</p><h1>{escape(env_id)}</h1></div></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main">{bodies}</main>
<footer><p>Made by rl_vae. {escape(made)}.</p></footer>
<script type="application/json" id="data">{_as_json(data)}</script>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (resources.files("rl_vae.analysis.report") / name).read_text("utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _as_json(value: Any) -> str:
    """JSON that a script element can hold: nothing in it ends the element or begins a comment."""
    said = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
