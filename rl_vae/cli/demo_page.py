"""The page of the demo: its figures, films and pictures in one HTML file, in the browser."""

from __future__ import annotations

import base64
import os
import shlex
import sys
import webbrowser
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rl_vae.models import pictures
from rl_vae.system import files, strict_json
from rl_vae.system.provenance import machine, package_versions

_MEDIA = {
    "film": ("drive.mp4", "video/mp4"),
    "poster": ("poster.png", "image/png"),
    "reconstructions": ("vae/pictures/reconstructions.png", "image/png"),
    "traversals": ("vae/pictures/traversals.png", "image/png"),
    "curve": ("curve.svg", "image/svg+xml"),
}
"""Files in the demo's folder that the page contains, with their types."""


def write_page(path: Path, **content: Any) -> None:
    """Write the page from its template, with the film and the pictures inside.

    Args:
        path: The HTML file, in the demo's folder.
        content: The variables of demo.html.j2: env_id, latent_dim, episodes, film_return, figures,
            costs, command.
    """
    folder, known = path.parent, machine()
    content |= {
        "media": {name: _data_uri(folder / file, kind) for name, (file, kind) in _MEDIA.items()},
        "versions": ", ".join(f"{name} {number}" for name, number in package_versions().items()),
        "machine": f"{known['processor']}, {known['cores']} cores, {known['system']}",
        "next_steps": _next_steps(shlex.quote(str(folder))),
    }
    template = (resources.files("rl_vae.cli") / "demo.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    files.write_whole(path, environment.from_string(template).render(content).encode())


def _next_steps(folder: str) -> list[tuple[str, str]]:
    """What a reader may do next, and the command for it."""
    return [
        (
            "See more of what the model does: codes, interpolations, unusual frames.",
            f"rl-vae show {folder}/vae {folder}/data --out pictures",
        ),
        (
            "Move the latents by hand, and watch the picture and the action follow.",
            f"rl-vae report {folder}/vae --dataset {folder}/data --agent {folder}/agent "
            "--out report.html",
        ),
        (
            "Do the same with an environment of your own, by its id.",
            "rl-vae collect YOUR_ENV --out data/own\n"
            "rl-vae train-vae data/own --out models/own\n"
            "rl-vae train-agent YOUR_ENV --encoder models/own --out agents/own --agent ppo",
        ),
    ]


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def save_learning_curve(path: Path, agent: Path, levels: Mapping[str, float]) -> None:
    """Draw an agent's training return against seconds.

    Args:
        path: The picture, .png or .svg.
        agent: Folder of the agent, with progress.jsonl.
        levels: Returns to draw as lines across, by name.
    """
    records = strict_json.read_lines(agent / "progress.jsonl")
    records = [record for record in records if record.get("training_return") is not None]
    curve = pictures.Curve(
        [record["seconds"] for record in records],
        [record["training_return"] for record in records],
        "training, sampled actions, last 100 tracks",
    )
    pictures.save_chart(path, [curve], xlabel="seconds of PPO", ylabel="return", levels=levels)


def open_page(page: Path) -> None:
    """Open a page in the browser, if there is a display."""
    if sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        webbrowser.open(page.absolute().as_uri())
