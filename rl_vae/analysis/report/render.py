"""Rendering of the report's page from its templates.

Names from datasets and folders may be hostile. Jinja2 escapes every value. A
Content-Security-Policy also allows only the page's own script, its own style and the images inside
the page: markup that passed unescaped could neither run a script nor open a connection.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from rl_vae.analysis.report.downloads import csv_uri, file_name, latex_uri, svg_uri
from rl_vae.analysis.report.numbers import interval, number
from rl_vae.analysis.report.parts import Section
from rl_vae.analysis.report_folder import GENERATOR
from rl_vae.system.provenance import package_versions


def render_page(title: str, sections: Sequence[Section], data: Mapping[str, Any]) -> str:
    """Render the page.

    Args:
        title: Heading of the page.
        sections: Sections in their order.
        data: Plain JSON values for explorer.js.
    """
    style, script = _asset("charts.css") + _asset("style.css"), _asset("explorer.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            sections=sections,
            data=Markup(script_json(data)),
            policy=policy,
            generator=GENERATOR,
            style=Markup(style),
            script=Markup(script),
            versions=", ".join(f"{name} {version}" for name, version in package_versions().items()),
        )
    )


def script_json(value: Any) -> str:
    """JSON for a script element: it cannot end the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "text": lambda value: number(value) if isinstance(value, float) else str(value),
        "interval": interval,
        "csv_uri": csv_uri,
        "latex_uri": latex_uri,
        "svg_uri": lambda svg: svg_uri(svg, _asset("charts.css")),
        "file_name": file_name,
    }
    return environment


@functools.cache
def _asset(name: str) -> str:
    return (resources.files("rl_vae.analysis.report") / name).read_text("utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
