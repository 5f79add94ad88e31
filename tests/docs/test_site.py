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
EXAMPLES = ROOT / "examples"
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
SCHEME = "document.body.getAttribute('data-md-color-scheme')"
FIRST_RESULT = """new Promise((resolve) => {
  const look = () => {
    const link = document.querySelector(".md-search-result__link");
    if (link) resolve(link.pathname.split("/").pop());
    else setTimeout(look, 50);
  };
  look();
})"""


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    """README has at most 900 words. Each file that it links to, or shows, is in the repository."""
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 900
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    files = [link for link in links if not link.startswith(("https:", "../../actions/"))]
    assert len(files) > 20 and [link for link in files if not (ROOT / link).exists()] == []
    workflows = set(re.findall(r"actions/workflows/(\w+\.yml)", text))
    assert workflows and all((ROOT / ".github/workflows" / name).is_file() for name in workflows)


def test_the_table_of_examples_is_whole() -> None:
    """examples/README.md has a row for each program and notebook; the site shows each program."""
    names = {path.name for kind in ("py", "ipynb") for path in EXAMPLES.glob(f"*.{kind}")}
    rows = re.findall(r"^\| `(\w+\.\w+)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == len(names) and set(rows) == names
    page = (ROOT / "docs/examples.md").read_text()
    shown = set(re.findall(r'--8<-- "examples/(\w+\.py)"', page))
    assert shown == {name for name in names if name.endswith(".py")}


def test_the_pages_of_the_api_name_everything_public() -> None:
    """Each name of rl_vae.__all__ is on a page of docs/api."""
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    assert set(rl_vae.__all__) <= set(re.findall(r"^::: rl_vae\.(\w+)$", pages, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.skipif(chromium.CHROMIUM is None, reason="needs Chromium")
def test_the_site_is_whole_and_searched_from_disk(tmp_path: Path) -> None:
    """`mkdocs build` is strict. A page that is opened from disk searches, and asks no server. No
    page is wider than a phone, and pages have the colours of the system."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("[!4]*.html"))  # 404.html is for servers
    assert len(pages) > 30
    with chromium.browser(tmp_path / "profile") as page:
        page.open(tmp_path / "site/index.html", "?q=reparameterisation")
        assert page.run(FIRST_RESULT) == "course.html"
        for dark, scheme in ((True, "slate"), (False, "default")):
            page.screen(390, 844, dark=dark)
            page.open(tmp_path / "site/examples.html")
            assert page.run(SCHEME) == scheme
        wide = []
        for path in pages:
            page.open(path)
            if page.run(TOO_WIDE):
                wide.append(path.name)
        assert not wide
        assert not [url for url in page.requests if not url.startswith(("file:", "data:"))]
        assert not page.complaints
