"""Does a training on a GPU ask CUDA for what it may ask? For machines that have no GPU.

A virtual environment gets torch's CUDA build (3 GB). Trainings run there on gpu_stand_in.cpp, which
takes the place of CUDA's libraries, computes nothing and keeps book. So Python, dynamo, inductor,
Triton's compiler (for an H200), autograd, the allocator and CUDA graphs are the real ones; all
numbers are zeros or leftovers, and no time means anything. What a capture forbids, waiting, work on
another stream, streams that are not joined, fails there as on a GPU.

Trained are all objectives, all networks, frames that are streamed, moving pixels, a training that
is interrupted, and eight betas side by side; and a GPU too small for the frames must be an error
that says so. Needs g++ and nm.

kernels    of a captured update
streams    that they are on: as many as models
forbidden  what was asked for that a capture forbids
"""

import argparse
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rl_vae import (
    Adversarial,
    Beta,
    Denoising,
    FactorVAE,
    FrameDataset,
    TrainConfig,
    VAEConfig,
    collect_frames,
    train_sweep,
    train_vae,
)
from rl_vae.errors import TrainingError
from rl_vae.objectives.registry import OBJECTIVES
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures
from rl_vae.training import loop
from rl_vae.training.cuda_graphs import GraphRunner

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = Path(__file__).with_name("gpu_stand_in.cpp")
WRONG = "captures that are wrong"
"""Three, which must be noticed: a check that cannot fail is none."""
BETAS = (0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="keep the environment there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--inside", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    configure_process()
    if arguments.inside:
        train_all(arguments.inside)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.out or Path(temporary)).resolve()
        python = install(folder / "venv")
        library = build(folder, python)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        results = run_inside(folder, python, library)
    noticed = results.pop(WRONG)["forbidden"]
    width = max(map(len, results))
    print(f"{'':{width}}   kernels   streams   forbidden")
    for name, row in results.items():
        print(f"{name:{width}}{row['kernels']:10}{row['streams']:10}{row['forbidden']:12}")
    if arguments.json:
        figures = {f"{name} {key}": float(row[key]) for name, row in results.items() for key in row}
        write_figures(arguments.json, figures, (0,))
    if any(row["forbidden"] for row in results.values()) or noticed < 3:
        sys.exit(1)


def install(folder: Path) -> Path:
    """A virtual environment with torch's CUDA build, and the headers of its CUDA."""
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pins = (ROOT / "constraints.txt").read_text()
    (version,) = re.findall(r"^torch==(.*)$", pins, re.MULTILINE)
    others = [line for line in pins.splitlines() if line and not line.startswith(("torch==", "#"))]
    (folder / "constraints.txt").write_text("\n".join(others))
    pip = [str(python), "-m", "pip", "install", "-q"]
    exactly = f"torch==={version}"  # not version+cpu, which may lie on disk
    subprocess.run([*pip, exactly, "nvidia-cuda-crt==13.*"], check=True)
    package = ["-c", str(folder / "constraints.txt"), "-e", str(ROOT)]
    subprocess.run([*pip, *package], check=True)
    return python


def build(folder: Path, python: Path) -> Path:
    """The stand-in, with a function that does nothing for each that torch wants besides."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    wanted = set()
    for library in packages.glob("torch/lib/*.so"):
        named = subprocess.run(["nm", "-D", "--undefined-only", library], stdout=subprocess.PIPE)
        wanted |= set(re.findall(rb"U ((?:__cuda|cuda|cublas|cudnn|cu[A-Z])\w+)", named.stdout))
    calls = (packages / "triton/backends/nvidia/driver.c").read_bytes()  # built at run time
    wanted |= set(re.findall(rb"\b(cu[A-Z]\w+)\(", calls))
    compiler = ["g++", "-std=c++17", "-fPIC", "-O1", f"-I{packages}/nvidia/cu13/include"]
    part, rest, library = folder / "part.o", folder / "rest.c", folder / "libcuda.so.1"
    subprocess.run([*compiler, "-c", str(STAND_IN), "-o", str(part)], check=True)
    named = subprocess.run(["nm", "--defined-only", part], stdout=subprocess.PIPE, check=True)
    missing = sorted(wanted - set(re.findall(rb" T (\w+)", named.stdout)))
    rest.write_text("".join(f"long {name.decode()}() {{ return 0; }}\n" for name in missing))
    subprocess.run(["gcc", "-w", "-fPIC", "-c", str(rest), "-o", f"{rest}.o"], check=True)
    link = ["g++", "-shared", "-o", str(library), "-Wl,-soname,libcuda.so.1", "-ldl", "-lpthread"]
    subprocess.run([*link, str(part), f"{rest}.o"], check=True)
    return library


def run_inside(folder: Path, python: Path, library: Path) -> dict[str, dict[str, int]]:
    """The trainings, in a process whose CUDA is the stand-in, and what its book says of each."""
    book = folder / "book"
    book.unlink(missing_ok=True)
    settings = {
        "LD_PRELOAD": str(library),
        "TRITON_LIBCUDA_PATH": str(folder),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),  # what it timed is of no GPU
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "GPU_BOOK": str(book),
    }
    command = [str(python), __file__, "--inside", str(folder)]
    subprocess.run(command, check=True, env={**os.environ, **settings})
    results: dict[str, dict[str, int]] = {}
    row: dict[str, int] = {}
    for line in book.read_text().splitlines():
        kind, _, what = line.partition(" ")
        if kind == "training":
            row = results[what] = {"kernels": 0, "streams": 0, "forbidden": 0}
        elif kind == "graph":
            kernels, streams = map(int, what.split())
            if kernels > row["kernels"]:  # the largest of a sweep that ends one by one
                row["kernels"], row["streams"] = kernels, streams
        else:
            row["forbidden"] += 1
    return results


def train_all(folder: Path) -> None:
    """Every training, a line in the book before each."""
    assert torch.version.cuda and torch.cuda.get_device_name() == "no GPU"
    watched: Any = loop
    right = watched.evaluate_vae

    def on_cpu(part: Any) -> Any:
        if isinstance(part, torch.nn.Module):
            return copy.deepcopy(part).cpu()
        return part.cpu() if isinstance(part, torch.Tensor) else part

    def evaluate(*parts: Any) -> Any:
        right(*parts)  # for what it asks of the device; what is told must be finite
        return right(*map(on_cpu, parts))

    watched.evaluate_vae = evaluate
    dataset = collect_frames("rl_vae/Sprites-v0", folder / "runs" / "frames", n_frames=2000)

    def one(network: Any = "patch", **settings: Any) -> Callable[[Path], object]:
        config = TrainConfig(steps=70, batch_size=32, device="cuda", **settings)
        return lambda out: train_vae(dataset, out, VAEConfig(network=network), config)

    variants = [Beta(free_bits=0.1), Adversarial(prior="mixture"), Denoising(noise="masking")]
    objectives = [*(kind() for kind in OBJECTIVES.values()), *variants]
    trainings: dict[str, Callable[[Path], object]] = {
        **{str(objective): one(objective=objective) for objective in objectives},
        **{network: one(network) for network in ("burgess", "world_models", "mlp")},
        "frames that are streamed": one(memory=0.003),
        "moving pixels": one(moving_weight=5.0),
        "float32, not captured": one(compute="reference"),
        "interrupted": lambda out: interrupted(dataset, out),
        "eight betas": lambda out: eight(dataset, out),
        "a GPU too small": lambda out: too_small(one(), out),
        WRONG: lambda out: wrong(),
    }
    for number, (name, train) in enumerate(trainings.items()):
        with Path(os.environ["GPU_BOOK"]).open("a") as book:
            print("training", name, file=book)
        print(name, flush=True)
        train(folder / "runs" / str(number))


def interrupted(dataset: FrameDataset, out: Path) -> None:
    """Stopped in its third epoch, then gone on with."""
    config = TrainConfig(objective=FactorVAE(), steps=170, batch_size=32, device="cuda")
    right, calls = GraphRunner.run, 0

    def run(self: GraphRunner, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        right(self, *arguments)

    GraphRunner.run = run  # type: ignore[assignment,method-assign]
    try:
        train_vae(dataset, out, None, config)
    except KeyboardInterrupt:
        assert out.with_name(f"{out.name}.partial").is_dir()
    finally:
        GraphRunner.run = right  # type: ignore[method-assign]
    assert train_vae(dataset, out, None, config).steps == 170


def eight(dataset: FrameDataset, out: Path) -> None:
    """Side by side, of other seeds and lengths."""
    runs: Mapping[str, TrainConfig] = {
        f"beta{beta}": TrainConfig(
            objective=Beta(beta), steps=60 + 5 * seed, batch_size=32, seed=seed, device="cuda"
        )
        for seed, beta in enumerate(BETAS)
    }
    made = train_sweep(dataset, out, runs)
    assert [each.steps for each in made.values()] == [config.steps for config in runs.values()]


def too_small(train: Callable[[Path], object], out: Path) -> None:
    """Refused with a word, not a traceback."""
    os.environ["GPU_MEMORY"] = "1000000"
    torch.cuda.empty_cache()
    try:
        train(out)
    except TrainingError as error:
        assert "too little memory" in str(error)
    else:
        raise AssertionError("a GPU without memory was enough")
    finally:
        del os.environ["GPU_MEMORY"]


def wrong() -> None:
    """Waiting, a stream that does not come back, and one that the capture knows nothing of."""
    x, other = torch.zeros(4, device="cuda"), torch.cuda.Stream()

    def leaves() -> None:
        other.wait_stream(torch.cuda.current_stream())
        beside()

    def beside() -> None:
        with torch.cuda.stream(other):
            x.add_(1)

    for way in (x[0].item, leaves, beside):
        try:
            with torch.cuda.graph(torch.cuda.CUDAGraph()):
                way()
        except RuntimeError:
            continue
        raise AssertionError("a capture that is wrong was let through")


if __name__ == "__main__":
    main()
