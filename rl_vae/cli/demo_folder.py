"""The folder of a demo, which can be interrupted, and the seconds of its steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rl_vae.errors import ConfigError
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.outputs import output_path


@contextlib.contextmanager
def demo_folder(out: str | Path, run: Mapping[str, Any]) -> Iterator[Path]:
    """Lock the folder of a demo, new or interrupted; at the end only its results are left.

    Args:
        out: Folder that is new or empty, or holds an interrupted demo.
        run: Settings of the demo as JSON values.

    Raises:
        ConfigError: if the folder is not free or in use, or holds a demo with other settings.
    """
    out = output_path(out)
    resumed = (out / "run.json").is_file()
    if not resumed and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out} is not free.",
            expected="a new or empty folder, or an interrupted demo",
            got="files of an earlier run",
            remedy=f"name another folder, or delete this one: rm -r {out}",
        )
    described_folder.check_run(out, dict(run), ConfigError)
    files.make_folder(out)
    with locks.locked(out, ConfigError):
        strict_json.write_json(out / "run.json", dict(run))
        yield out
        for name in ("run.json", "seconds.jsonl", ".lock"):
            files.remove_file(out / name)


class Stopwatch:
    """Seconds of each step, kept in a file, so that an interrupted demo remembers them.

    A step that was interrupted itself counts from its last start.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._start = path, time.perf_counter()
        self._seconds = {
            line["step"]: float(line["seconds"]) for line in strict_json.read_lines(path)
        }

    def lap(self, step: str) -> float:
        """Seconds of a step that ends now, or that ended before an interruption."""
        now = time.perf_counter()
        if step not in self._seconds:
            self._seconds[step] = now - self._start
            strict_json.append_line(self._path, {"step": step, "seconds": self._seconds[step]})
        self._start = now
        return self._seconds[step]

    @property
    def total(self) -> float:
        """Seconds of all steps, and those since the last one."""
        return sum(self._seconds.values()) + time.perf_counter() - self._start
