"""Folder of a report: index.html, and config.json with its SHA-256. So reports are shared."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rl_vae.errors import FolderError
from rl_vae.system import described_folder, hashing, reading
from rl_vae.system.integrity import Check, FolderChecks, already_checked, make_finding

KIND = "rl_vae report"
GENERATOR = "rl_vae report"
"""Content of the generator tag of a page; a file with this tag may be replaced by a new report."""
PAGE = "index.html"
HUB_FILES = ("config.json", PAGE)
"""Files of a report that are downloaded."""
_FORMAT = 1
_FIELDS = frozenset(("format", "kind", "files", "digest"))
_MAX_BYTES = 2**24
_NO_SALVAGE = "nothing; write the report again"


def describe_report(page: bytes) -> dict[str, Any]:
    """Content of the config.json of a report's folder."""
    body = {"format": _FORMAT, "kind": KIND, "files": {PAGE: hashing.digest(page)}}
    return {**body, "digest": hashing.digest(body)}


def read_page(path: Path) -> bytes:
    """Read a page that `write_report` wrote.

    Raises:
        FolderError: if it is no such page.
    """
    try:
        page = reading.read_bounded(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        raise FolderError.damaged(path, "a page that rl-vae report wrote", error) from error
    if GENERATOR.encode() not in page[:1000]:
        raise FolderError(
            f"{path} is no report.",
            expected="a page that rl-vae report wrote",
            got="another file",
            remedy="name the page, or a folder that a command of rl-vae wrote",
        )
    return page


def report_checks(folder: Path) -> FolderChecks:
    """List the checks of a report's folder."""
    checks, page = FolderChecks("report"), folder / PAGE
    try:
        config = described_folder.read_description(folder, KIND, _FORMAT, "pull", _FIELDS)
        sha256 = config["files"][PAGE]
    except (FolderError, KeyError, TypeError) as error:
        damaged = FolderError.damaged(folder / "config.json", "the description of a report", error)
        checks.findings.append(make_finding(folder / "config.json", damaged, _NO_SALVAGE))
        return checks
    checks.file_checks = [
        Check(folder / "config.json", already_checked, _NO_SALVAGE),
        Check(page, partial(described_folder.check_file, page, sha256), _NO_SALVAGE),
        Check(page, partial(read_page, page), _NO_SALVAGE),
    ]
    return checks
