"""The documentation site: it builds without a warning, and is read without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import chromium
import pytest

import rl_vae

ROOT = Path(__file__).resolve().parents[2]
FIRST_RESULT = """new Promise((resolve) => {
  const look = () => {
    const link = document.querySelector(".md-search-result__link");
    if (link) resolve(link.pathname.split("/").pop());
    else setTimeout(look, 50);
  };
  look();
})"""


def test_the_pages_of_the_api_name_everything_public() -> None:
    """Each name of rl_vae.__all__ is on a page of docs/api."""
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    assert set(rl_vae.__all__) <= set(re.findall(r"^::: rl_vae\.(\w+)$", pages, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.skipif(chromium.CHROMIUM is None, reason="needs Chromium")
def test_the_site_is_whole_and_searched_from_disk(tmp_path: Path) -> None:
    """`mkdocs build` is strict. A page that is opened from disk searches, and asks no server."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "site").rglob("*.html"))) > 30
    with chromium.browser(tmp_path / "profile") as page:
        page.open(tmp_path / "site/index.html", "?q=reparameterisation")
        assert page.run(FIRST_RESULT) == "course.html"
        assert not [url for url in page.requests if not url.startswith(("file:", "data:"))]
        assert not page.complaints
