"""Is the wheel right for someone who installs it? Two environments are made from nothing.

serving   the wheel without its dependencies, and only what encoding and wrapping need
bare      the wheel with its dependencies and without extras, at the versions of constraints.txt

Serving: a model is trained here and served there, by tests/install/serving.py. Bare: `rl-vae
--help`; the errors of `rl-vae demo` and of collecting CartPole, which need an extra; every public
name; collecting, training, wrapping and an agent; `pip check`; licences; an SBOM in CycloneDX.

    python benchmarks/check_install.py --json runs/install.json --sbom runs/sbom.json
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae import Encoder, TrainConfig, VAEConfig, train_vae
from rl_vae.sprites import collect_sprites
from rl_vae.system.provenance import write_figures

ROOT = Path(__file__).resolve().parent.parent
SERVING = (
    "cloudpickle",
    "filelock",
    "gymnasium",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "safetensors",
)
"""What encoding and wrapping need."""
TOOLS = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
"""Folders of site-packages that every new environment has."""
REPEATS = 5
"""Number of processes for each time; the median is printed."""

IMPORT = "import time; t = time.perf_counter(); import rl_vae; print(time.perf_counter() - t)"
ENCODE = """
import sys, time
t = time.perf_counter()
import numpy as np, rl_vae
encoder = rl_vae.Encoder.load(sys.argv[1])
encoder.encode(np.zeros((1, *encoder.spec.shape), np.uint8))
print(time.perf_counter() - t)
"""
FRAMES = """
import hashlib, sys
import cv2, numpy as np
from rl_vae import FrameSpec
digest = hashlib.sha256()
rng = np.random.default_rng(0)
for height, width in ((96, 96), (210, 160), (400, 600), (45, 61)):
    images = rng.integers(0, 256, (9, height, width, 3), np.uint8)
    for spec in (FrameSpec(), FrameSpec(84, 84, 1, (0, 3, 2, 0)), FrameSpec(100, 40)):
        digest.update(spec.apply_batch(images).tobytes())
        digest.update(spec.apply(images[0]).tobytes())
print(digest.hexdigest())
"""
SMOKE = """
import sys
from pathlib import Path
import numpy as np
import rl_vae
assert [getattr(rl_vae, name) for name in rl_vae.__all__]
out = Path(sys.argv[1])
sprites = "rl_vae/Sprites-v0"
data = rl_vae.collect_frames(sprites, out / "data", n_frames=256, workers=1, progress=False)
model = rl_vae.train_vae(data, out / "model", rl_vae.VAEConfig(4),
                         rl_vae.TrainConfig(epochs=1, batch_size=32), progress=False)
encoder = rl_vae.Encoder.load(model.path)
assert encoder.reconstruct(data.frames(np.arange(3))).shape == (3, 64, 64, 3)
env = rl_vae.LatentObservation(rl_vae.make_env(sprites), model.path, stack=2)
assert env.reset(seed=0)[0].shape == (8,) and env.step(env.action_space.sample())
assert not rl_vae.verify_folder(model.path).findings
"""
PACKAGES = """
import json
from importlib.metadata import distributions
rows = []
for part in distributions():
    facts = part.metadata
    licences = [facts.get("License-Expression")]
    licences += [c.split(" :: ")[-1] for c in facts.get_all("Classifier", []) if "License ::" in c]
    text = (facts.get("License") or "").strip().split("\\n")[0][:60]
    rows.append([facts["Name"], part.version, next((x for x in [*licences, text] if x), "unknown")])
print(json.dumps(sorted(rows, key=lambda row: row[0].lower())))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("serving", "bare"), help="make one environment only")
    parser.add_argument("--python", default=sys.executable, help="the Python to install into")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write the bare wheel's SBOM")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, python = Path(temporary), arguments.python
        wheel = build(folder)
        figures = {"wheel, MB": wheel.stat().st_size / 1e6}
        if arguments.only != "bare":
            figures |= check_serving(make_environment(folder / "serving", python), wheel)
        if arguments.only != "serving":
            bare = make_environment(folder / "bare", python)
            figures |= check_bare(bare, wheel, arguments.sbom)
    for name, value in figures.items():
        print(f"{name:44}{value:10.3g}" if value % 1 else f"{name:44}{value:10.0f}")
    if arguments.json:
        write_figures(arguments.json, figures, (0,))
    if failed := [name for name, value in figures.items() if name.startswith("ok: ") and not value]:
        sys.exit(f"failed: {', '.join(failed)}")


def build(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        *map(str, (folder, ROOT)),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_serving(python: Path, wheel: Path) -> dict[str, float]:
    """Serve a model, trained here, where there is no torch."""
    folder = python.parent.parent
    install(python, *SERVING)
    install(python, "--no-deps", str(wheel))
    work = folder / "work"
    work.mkdir()
    data = collect_sprites(work / "data", n_frames=512)
    config = TrainConfig(epochs=1, batch_size=32)
    model = train_vae(data, work / "model", VAEConfig(32), config, progress=False).path
    frames = data.frames(np.arange(64))
    np.save(work / "frames.npy", frames)
    program = ROOT / "tests" / "install" / "serving.py"
    given, latents = work / "frames.npy", work / "latents.npy"
    served = call(python, program, model, given, latents, "torch,stable_baselines3", cwd=work)
    difference = float("nan")
    if served.returncode == 0:
        here = Encoder.load(model, threads=1).encode(frames)
        difference = float(np.abs(np.load(latents) - here).max())
    print(served.stdout + served.stderr)
    same = (
        call(python, "-c", FRAMES, cwd=work).stdout
        == call(sys.executable, "-c", FRAMES, cwd=ROOT).stdout
    )
    return {
        "serving: installed, MB": size_of(folder),
        "serving: of it rl_vae, MB": size_of(folder, "rl_vae"),
        "serving: import rl_vae, s": median_of(python, "-c", IMPORT, cwd=work),
        "serving: import, load, first encode, s": median_of(python, "-c", ENCODE, model, cwd=work),
        "serving: largest difference of latents": difference,
        "ok: serving without torch": served.returncode == 0,
        "ok: frames of headless OpenCV are equal": same,
    }


def check_bare(python: Path, wheel: Path, sbom: Path | None) -> dict[str, float]:
    """Use the wheel as `pip install rl-vae` gives it."""
    folder = python.parent.parent
    install(python, "-c", str(ROOT / "constraints.txt"), str(wheel))
    work = folder / "work"
    work.mkdir()
    command = [python.with_name("rl-vae")]
    runs = {
        "rl-vae --help": call(*command, "--help", cwd=work),
        "rl-vae demo": call(*command, "demo", "--out", "demo", cwd=work),
        "rl-vae collect CartPole-v1": call(
            *command, "collect", "CartPole-v1", "--out", "data", "--frames", "64", cwd=work
        ),
        "public names, the pipeline": call(python, "-c", SMOKE, work / "smoke", cwd=work),
        "pip check": call(python, "-m", "pip", "check", cwd=work),
    }
    for name, done in runs.items():
        print(f"$ {name}\n{(done.stdout + done.stderr).strip()[-700:]}\n[status {done.returncode}]")
    packages = json.loads(call(python, "-c", PACKAGES, cwd=work).stdout)
    packages = [row for row in packages if row[0].lower() not in TOOLS]
    print("\n".join(f"{name:28}{version:16}{licence}" for name, version, licence in packages))
    if sbom:
        sbom.parent.mkdir(parents=True, exist_ok=True)
        sbom.write_text(json.dumps(bill_of_materials(packages), indent=1) + "\n")
    demo, cartpole = runs["rl-vae demo"], runs["rl-vae collect CartPole-v1"]
    return {
        "bare: installed, MB": size_of(folder),
        "bare: packages": len(packages),
        "bare: packages without a known licence": sum(row[2] == "unknown" for row in packages),
        "bare: import rl_vae, s": median_of(python, "-c", IMPORT, cwd=work),
        "ok: rl-vae --help": runs["rl-vae --help"].returncode == 0,
        "ok: demo names its extra": demo.returncode == 2 and "rl-vae[box2d]" in demo.stderr,
        "ok: CartPole names an extra": cartpole.returncode == 2
        and bool(re.search(r"pip install \S*rl-vae\[", cartpole.stderr)),
        "ok: public names, the pipeline": runs["public names, the pipeline"].returncode == 0,
        "ok: pip check": runs["pip check"].returncode == 0,
    }


def make_environment(folder: Path, python: str) -> Path:
    subprocess.run([python, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def install(python: Path, *packages: str) -> None:
    start = time.monotonic()
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    print(f"installed in {time.monotonic() - start:.0f} s: {' '.join(packages)}")


def call(*command: Any, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder outside the repository: only what is installed is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )


def median_of(*command: Any, cwd: Path) -> float:
    """Median of the numbers that fresh processes print."""
    call(*command, cwd=cwd)  # compiles Python's files, and reads the libraries from the disk
    return statistics.median(float(call(*command, cwd=cwd).stdout) for _ in range(REPEATS))


def size_of(environment: Path, package: str = "") -> float:
    """Size of what is installed in an environment beside pip, or of one package, in MB."""
    (folder,) = (environment / "lib").glob("python*/site-packages")
    files = [path for path in (folder / package).rglob("*") if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]
    own = [p for p in files if not p.relative_to(folder).parts[0].startswith(TOOLS)]
    return sum(path.stat().st_size for path in own) / 1e6


def bill_of_materials(packages: list[list[str]]) -> dict[str, Any]:
    """The packages as a CycloneDX document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}",
                "licenses": [{"license": {"name": licence}}],
            }
            for name, version, licence in packages
        ],
    }


if __name__ == "__main__":
    main()
