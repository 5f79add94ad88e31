"""The documentation site: it builds without a warning and asks no other server for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rl_vae

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_of_the_api_name_everything_public() -> None:
    """Each name of rl_vae.__all__ is on a page of docs/api."""
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    assert set(rl_vae.__all__) <= set(re.findall(r"^::: rl_vae\.(\w+)$", pages, re.MULTILINE))


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """`mkdocs build` is strict. No page loads a script, a style, a font or an image by network."""
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    loaded = re.compile(
        r"<(?:script|img|iframe|link rel=.?(?:stylesheet|preload|icon).?)[^>]*https?:"
    )
    assert not [page for page in pages if loaded.search(page.read_text())]
