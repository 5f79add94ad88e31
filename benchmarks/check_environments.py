"""Does the whole pipeline work in environments that rl_vae has never seen?

For every environment of environments/table.toml: collect with two workers, train a VAE, train an
agent for 2,048 steps, evaluate, film, export, and play the exported agent by the loop of
docs/guides/deploy.md. What is missing is installed from PyPI into a virtual environment of its
own, which also sees the packages of the Python that runs this script. With --write, the table and
one picture of all environments go to docs/environments.md and docs/environments.png.

--digests   instead: collect with 1, 2 and 4 workers, with one and two kills, and with EnvPool;
            all datasets of one environment and engine must have one digest
--clean-up  instead: count environments and programs that are left after collect, train-agent,
            evaluate and compare end: by themselves, by an exception, Ctrl-C, SIGTERM; 20 each
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import time
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks" / "environments"
LIMIT = 1800
"""Seconds for one environment."""
SIDE = 160
"""Height in pixels of an image on the sheet of all pictures."""
INTRODUCTION = """# Environments from PyPI

Written by `python benchmarks/check_environments.py --write`. No other file names these
environments. In each, the whole pipeline ran: collect with two workers, train-vae, train-agent
(2,048 steps), evaluate, film, export, and the exported agent played by the loop in
[Deploy](guides/deploy.md). The difference is the largest one between a value of a frame and of
the picture that plain Gymnasium gives at the same moment, resized. Trainings are short: this page
says that everything runs on the right pictures, not that an agent is good.

"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="run environments with these words in their names; the table keeps the others",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "environments")
    parser.add_argument("--write", action="store_true", help="write docs/environments.md and .png")
    parser.add_argument("--digests", action="store_true")
    parser.add_argument("--clean-up", action="store_true")
    arguments = parser.parse_args()
    if arguments.clean_up:
        sys.exit(count_left())
    kind = "digests" if arguments.digests else "pipeline"
    rows = [
        row
        for row in tomllib.loads((HERE / "table.toml").read_text())["environment"]
        if kind == "digests" or not row.get("digests_only")
    ]
    out = arguments.out.resolve()
    words = [word.lower() for word in arguments.only] or [""]
    chosen = [row for row in rows if any(word in row["name"].lower() for word in words)]
    python, problems = install(out / ".venv", chosen)
    for row in chosen:
        began = time.perf_counter()
        result = run(python, kind, row, out / kind / folder_name(row), problems)
        seconds = time.perf_counter() - began
        print(f"{row['name']:22} {result['error'] or 'done'} ({seconds:.0f} s)", flush=True)
    # The table also has the environments that were run before.
    rows = [row for row in rows if result_path(out / kind, row).is_file()]
    results = [json.loads(result_path(out / kind, row).read_text()) for row in rows]
    lines = digest_table(rows, results) if arguments.digests else pipeline_table(rows, results)
    print("\n".join(lines))
    if kind == "pipeline":
        sheet = draw_sheet(rows, out / kind)
        cv2.imwrite(str(out / "environments.png"), sheet)
        if arguments.write:
            page = INTRODUCTION + "\n".join([*lines, "", *requirements(rows)])
            page += "\n\nEach picture: what the environment gives, and the frame made of it.\n"
            page += "\n![Raw images and frames](environments.png)\n"
            (ROOT / "docs" / "environments.md").write_text(page)
            cv2.imwrite(str(ROOT / "docs" / "environments.png"), sheet)
    sys.exit(any(result["error"] for result in results))


def install(folder: Path, rows: list[dict[str, Any]]) -> tuple[Path, dict[str, str]]:
    """Make a virtual environment with the packages of the rows.

    Returns:
        Its Python, and by name the rows whose packages cannot be installed, with the reason.
    """
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        paths = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
        inner = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        own = Path(subprocess.check_output(inner, text=True).strip())
        lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(paths)]
        (own / "zz_outer.pth").write_text("\n".join(lines) + "\n")
    pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
    packages = sorted({package for row in rows for package in row.get("packages", [])})
    if not packages or subprocess.run([*pip, *packages], capture_output=True).returncode == 0:
        return python, {}
    problems = {}
    for row in rows:  # one after the other: a package that fails does not stop the others
        done = subprocess.run([*pip, *row.get("packages", [])], capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            problems[row["name"]] = (errors or ["pip failed"])[0]
    return python, problems


def run(
    python: Path, kind: str, row: dict[str, Any], out: Path, problems: dict[str, str]
) -> dict[str, Any]:
    """Run pipeline.py or digests.py on one environment; return what it wrote to result.json."""
    subprocess.run(["rm", "-rf", str(out)], check=True)
    out.mkdir(parents=True)
    if row["name"] in problems:
        return write_error(out, f"not installed: {problems[row['name']]}")
    path = os.pathsep.join([str(ROOT), str(HERE)])
    settings = {**os.environ, **row.get("settings", {}), "PYTHONPATH": path}
    command = [str(python), "-W", "ignore", str(HERE / f"{kind}.py"), json.dumps(row), str(out)]
    with (out / "log.txt").open("w") as log:
        try:
            # In a folder of its own: ViZDoom writes a file into the current folder.
            done = subprocess.run(
                command, stdout=log, stderr=log, env=settings, timeout=LIMIT, cwd=out
            )
        except subprocess.TimeoutExpired:
            return write_error(out, f"not ready after {LIMIT} s")
    if done.returncode or not (out / "result.json").is_file():
        return write_error(out, f"ended without a result: {out / 'log.txt'}")
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


def write_error(out: Path, text: str) -> dict[str, Any]:
    """Write a result that is an error, and return it."""
    result = {"error": text}
    (out / "result.json").write_text(json.dumps(result))
    return result


def result_path(folder: Path, row: dict[str, Any]) -> Path:
    return folder / folder_name(row) / "result.json"


def pipeline_table(rows: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[str]:
    names = ["environment", "pixel source", "raw shape", "conversion", "frames looked at"]
    lines = [header([*names, "difference", "distinct frames", "return of the export", "result"])]
    for row, result in zip(rows, results, strict=True):
        shape = " x ".join(map(str, result.get("raw_shape", [])))
        distinct = f"{result['distinct']} of {result['frames']}" if "distinct" in result else ""
        played = f"{result['played_return']:.1f}" if "played_return" in result else ""
        cells = [f"{row['name']}: `{row['id'].rpartition(':')[2]}`", result.get("source", "")]
        cells += [shape, result.get("conversion", ""), str(result.get("looked_at", ""))]
        cells += [f"{result['difference']:.0f}" if "difference" in result else "", distinct]
        lines.append(line([*cells, played, short(result["error"])]))
    return lines


def digest_table(rows: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[str]:
    lines = [header(["environment", "engine", "collections", "digests", "result"])]
    for row, result in zip(rows, results, strict=True):
        for engine, digests in result.get("digests", {}).items():
            refused = digests.get("refused")
            kinds = sorted(set(digests.values()))
            verdict = refused or ("equal" if len(kinds) == 1 else "DIFFERENT")
            count = "" if refused else ", ".join(digests)
            short = "" if refused else " ".join(kind[:8] for kind in kinds)
            lines.append(line([row["name"], engine, count, short, verdict]))
        if not result.get("digests"):
            lines.append(line([row["name"], "", "", "", str(result["error"])]))
    return lines


def requirements(rows: list[dict[str, Any]]) -> list[str]:
    """What a user installs and sets on a machine without a screen."""
    lines = [header(["environment", "pip install", "without a screen", "Debian packages", "note"])]
    for row in rows:
        packages = " ".join(f"'{part}'" if "<" in part else part for part in row["packages"])
        settings = " ".join(f"`{name}={value}`" for name, value in row.get("settings", {}).items())
        debian = " ".join(row.get("debian", []))
        lines.append(line([row["name"], f"`{packages}`", settings, debian, row.get("note", "")]))
    return lines


def short(error: str | None) -> str:
    """A cell of the table; the whole error is in log.txt."""
    return "done" if error is None else error if len(error) <= 160 else f"{error[:160]} ..."


def folder_name(row: dict[str, Any]) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in row["name"])


def header(names: list[str]) -> str:
    return line(names) + "\n" + line(["---"] * len(names))


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def draw_sheet(rows: list[dict[str, Any]], folder: Path) -> Any:
    """All environments in three columns: name, raw image, frame."""
    tiles = []
    for row in rows:
        at = folder / folder_name(row)
        files = [at / name for name in ("raw.png", "frame.png") if (at / name).is_file()]
        images = [cv2.imread(str(file)) for file in files]
        tile = np.full((SIDE + 30, 3 * SIDE, 3), 255, np.uint8)
        cv2.putText(tile, row["name"], (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, 16)
        left = 4
        for image in images:
            assert image is not None
            width = min(round(image.shape[1] * SIDE / image.shape[0]), 2 * SIDE - 16)
            height = round(image.shape[0] * width / image.shape[1])
            scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            if left + width > tile.shape[1]:
                break
            tile[26 : 26 + height, left : left + width] = scaled[: SIDE + 4]
            left += width + 8
        if at.is_dir():
            cv2.imwrite(str(at / "picture.png"), tile)
        tiles.append(tile)
    while len(tiles) % 3:
        tiles.append(np.full_like(tiles[0], 255))
    return np.vstack([np.hstack(tiles[i : i + 3]) for i in range(0, len(tiles), 3)])


def count_left() -> int:
    """Run the rows of tests/faults about closing, with all their trials."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-m", "faults", "--full", "--only", "environments closed"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}).returncode


if __name__ == "__main__":
    main()
