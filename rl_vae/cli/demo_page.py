"""The page of the demo: its figures, films and pictures in one HTML file, in the browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rl_vae.models import pictures
from rl_vae.system import files, strict_json


def write_page(path: Path, **content: Any) -> None:
    """Write the page from its template.

    Args:
        path: The HTML file; the films and pictures that it shows lie beside it.
        content: The variables of demo.html.j2: env_id, episodes, film_return, figures, costs.
    """
    template = (resources.files("rl_vae.cli") / "demo.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    files.write_whole(path, environment.from_string(template).render(content).encode())


def save_learning_curve(path: Path, agent: Path, levels: Mapping[str, float]) -> None:
    """Draw an agent's training return against seconds.

    Args:
        path: The picture, .png.
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
