"""Does the core work with the oldest libraries that pyproject.toml allows, and with the newest?

Two virtual environments are made: one with the lowest version that pyproject.toml names of each
library in VARIED, the other with the newest of everything; torch is what constraints.txt says in
both. In each, the tests of the core run: collecting, training, wrapping, agents of all algorithms.

tests  how many of them passed
failed how many did not
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures

ROOT = Path(__file__).resolve().parent.parent
VARIED = ("gymnasium", "stable-baselines3", "numpy", "onnxruntime")
CORE = (
    "tests/data/test_dataset.py",
    "tests/models/test_folder.py",
    "tests/models/test_encoder.py",
    "tests/wrappers",
    "tests/sb3/test_vec_latent.py",
    "tests/sb3/test_pixel_vec_env.py",
    "tests/agents/test_agent.py",
    "tests/agents/test_train.py",
)
"""Tests that need no extra but "dev"."""


class Outcome(NamedTuple):
    versions: dict[str, str]
    passed: int
    failed: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", nargs="+", default=CORE, help="files or folders of tests")
    parser.add_argument("--out", type=Path, help="keep the environments there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    with tempfile.TemporaryDirectory() as temporary:
        out = (arguments.out or Path(temporary)).resolve()
        outcomes = {
            which: check(out / which, wanted, arguments.tests)
            for which, wanted in (("oldest", lowest()), ("newest", {}))
        }
    print(f"{'':20}" + "".join(f"{which:>12}" for which in outcomes))
    for name in (*VARIED, "torch"):
        row = "".join(f"{outcome.versions[name]:>12}" for outcome in outcomes.values())
        print(f"{name:20}{row}")
    for figure in ("passed", "failed"):
        print(f"{figure:20}" + "".join(f"{getattr(o, figure):>12}" for o in outcomes.values()))
    if arguments.json:
        figures = {f"{which} passed": float(o.passed) for which, o in outcomes.items()}
        figures |= {f"{which} failed": float(o.failed) for which, o in outcomes.items()}
        write_figures(arguments.json, figures, ())
    if any(outcome.failed for outcome in outcomes.values()):
        sys.exit(1)


def project() -> dict[str, list[Requirement]]:
    """What pyproject.toml requires: "" for rl_vae itself, the other keys are its extras."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = {"": table["dependencies"], **table["optional-dependencies"]}
    return {name: [Requirement(line) for line in lines] for name, lines in parts.items()}


def lowest() -> dict[str, str]:
    """The lowest version of each library in VARIED that is within its range."""
    lows = {}
    for requirement in project()[""]:
        (low,) = [part.version for part in requirement.specifier if part.operator == ">="]
        lows[requirement.name] = low
    return {name: lows[name] for name in VARIED}


def check(folder: Path, wanted: dict[str, str], tests: tuple[str, ...]) -> Outcome:
    """Make a virtual environment with some versions and run tests in it."""
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip"]
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pins = [f"{name}=={version}" for name, version in wanted.items()]
    pins += re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    dev = [str(part) for part in project()["dev"] if part.name in ("hypothesis", "pytest")]
    newest = ["install", "-q", "--upgrade", "--upgrade-strategy", "eager"]
    subprocess.run([*pip, *newest, *pins, *dev, "-e", str(ROOT)], check=True)
    subprocess.run([*pip, "check"], check=True)
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, capture_output=True)
    versions = {
        part["name"].lower().replace("_", "-"): part["version"]
        for part in json.loads(listed.stdout)
    }
    ran = subprocess.run(
        [
            *(str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"),
            *tests,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    print(ran.stdout[-4000:])
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", ran.stdout)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if ran.returncode and not failed:
        failed = 1  # it did not come so far as to count
    return Outcome(versions, counts.get("passed", 0), failed)


if __name__ == "__main__":
    main()
