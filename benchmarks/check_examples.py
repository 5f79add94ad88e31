"""Run every program and notebook of examples/ at full size, each as a user would, in one folder.

Programs run in the order of the table in examples/README.md: some use what an earlier one made.
--write stores the outputs of the notebooks, and the processor seconds in the table.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
NEED_FILES = (
    *("encode_images.py", "pictures_with_factors.py", "video_with_actions.py"),
    *("share_on_hub.py", "ray_cluster.py"),
)
"""Programs that need files of a user, an account or Ray. Their tests take their place."""
EXPORT = "from rl_vae import export_agent; export_agent('runs/meet/agent', 'runs/meet/agent.onnx')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "examples")
    parser.add_argument("--only", nargs="+", help="names of files")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    page = EXAMPLES / "README.md"
    for name in re.findall(r"^\| `(\w+\.(?:py|ipynb))`", page.read_text(), re.MULTILINE):
        if name in NEED_FILES or (arguments.only and name not in arguments.only):
            continue
        begin, before = time.perf_counter(), processor_seconds()
        last_line = run(name, arguments.out, arguments.write)
        seconds = processor_seconds() - before
        print(f"{name:28} {seconds:5.0f} s of a processor, {time.perf_counter() - begin:5.0f} s")
        print(f"    {last_line}", flush=True)
        if arguments.write:
            row = rf"^(\| `{re.escape(name)}` .*\| )[\d-]+ \|$"
            text = re.sub(row, rf"\g<1>{seconds:.0f} |", page.read_text(), flags=re.MULTILINE)
            page.write_text(text)


def run(name: str, folder: Path, write: bool) -> str:
    """Run a program or a notebook in a folder; returns the last line that it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(folder / "ipython"),
    }
    if name.endswith(".ipynb"):
        command = [sys.executable, "-c", NOTEBOOK, str(EXAMPLES / name), str(int(write))]
    else:
        if name == "onnx_without_torch.py":
            command = [sys.executable, "-c", EXPORT]
            environment["PYTHONPATH"] += os.pathsep + str(EXAMPLES)
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")
    return (done.stdout.strip().splitlines() or [""])[-1]


NOTEBOOK = """
import os, sys, nbclient, nbformat
path = sys.argv[1]
notebook = nbformat.read(path, as_version=4)
resources = {"metadata": {"path": "."}}
nbclient.NotebookClient(notebook, resources=resources, record_timing=False).execute()
if int(sys.argv[2]):  # stderr has progress, which depends on the machine
    for cell in notebook.cells:
        if outputs := cell.get("outputs"):
            cell.outputs = [one for one in outputs if one.get("name") != "stderr"]
    text = nbformat.writes(notebook).replace(os.getcwd() + os.sep, "")  # folders of this machine
    open(path, "w").write(text + "\\n")
"""
"""Runs a notebook in the current folder."""


def processor_seconds() -> float:
    """User and system seconds of all child processes so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
