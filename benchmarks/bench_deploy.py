"""Benchmark: float16 and int8 encoders: error of mu, probes, an agent's return, and speed.

AGENT (the demo's, if none is named) observes through a copy of its encoder whose graph has the
lower precision; its policy stays as it is. All precisions play the same episodes. Probes are ridge
regressions from mu to each factor of DATASET, fitted on 70 % of the episodes and tested on the
others. Times are medians of calls of ONNX Runtime with one thread, the precisions in turn.

PRECISION_return, _return_low, _return_high  mean return of the episodes, its 95 % t interval
PRECISION_r2              mean R^2 of the probes
PRECISION_relative        root mean square error of mu, in standard deviations of the latent
PRECISION_largest         largest error of a latent
PRECISION_us_1, _us_32    microseconds for 1 and for 32 frames
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from rl_vae import Agent, Encoder, FrameDataset, evaluate_agent, t_interval
from rl_vae.models.description import read_config
from rl_vae.models.export_encoder import choose_frames, measure_error, read_encoder_graph
from rl_vae.models.latency import measure_latency
from rl_vae.models.precision import Precision, lower_precision
from rl_vae.system import hashing, strict_json
from rl_vae.system.provenance import git_commit, machine, write_figures

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    demo = Path("runs/demo")  # made by make demo
    parser.add_argument("agent", type=Path, nargs="?", default=demo / "agent", metavar="AGENT")
    parser.add_argument("dataset", type=Path, nargs="?", default=demo / "data", metavar="DATASET")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    figures = measure(arguments.agent, FrameDataset.open(arguments.dataset), arguments.episodes)
    print(f"{'precision':10}{'return':>22}{'R2':>7}{'error':>9}{'us, 1':>8}{'us, 32':>8}")
    for name in PRECISIONS:
        mean, low, high = (figures[f"{name}_return{end}"] for end in ("", "_low", "_high"))
        print(
            f"{name:10}{mean:9.1f} ({low:.1f}-{high:.1f})".ljust(32)
            + f"{figures[f'{name}_r2']:7.3f}{figures[f'{name}_relative']:9.2%}"
            + f"{figures[f'{name}_us_1']:8.0f}{figures[f'{name}_us_32']:8.0f}"
        )
    print(f"{machine()}, commit {git_commit(__file__)}")
    if arguments.json is not None:
        write_figures(arguments.json, figures, [SEED])


def measure(agent: Path, dataset: FrameDataset, episodes: int) -> dict[str, float]:
    """Every figure of each precision."""
    own = Encoder.load(agent / "encoder")
    graph, (calibration, held_out) = read_encoder_graph(own), choose_frames(dataset, own)
    graphs = {name: lower_precision(graph, name, calibration) for name in PRECISIONS}
    figures: dict[str, float] = {}
    for batch in (1, 32):
        frames = {"frames": np.resize(held_out, (batch, *held_out.shape[1:]))}
        times = measure_latency(list(graphs.values()), frames, 1)
        figures |= {f"{n}_us_{batch}": t for n, t in zip(PRECISIONS, times, strict=True)}
    with TemporaryDirectory() as folder:
        for name, content in graphs.items():
            encoder = with_graph(own.path, content, Path(folder) / name)
            error = measure_error(graph, content, held_out)
            figures |= {f"{name}_relative": error.relative, f"{name}_largest": error.largest}
            figures[f"{name}_r2"] = probe(Encoder.load(encoder), dataset)
            loaded = Agent.load(agent, encoder=encoder)
            returns = evaluate_agent(loaded, episodes=episodes, seed=SEED).returns
            ends = ("", "_low", "_high")
            figures |= {
                f"{name}_return{end}": value
                for end, value in zip(ends, t_interval(returns), strict=True)
            }
    return figures


def with_graph(model: Path, graph: bytes, out: Path) -> Path:
    """A copy of a model folder with another encoder.onnx."""
    shutil.copytree(model, out)
    (out / "encoder.onnx").write_bytes(graph)
    config = read_config(out)
    config["files"]["encoder.onnx"] = hashing.digest(graph)
    del config["digest"]
    strict_json.write_json(out / "config.json", {**config, "digest": hashing.digest(config)})
    return out


def probe(encoder: Encoder, dataset: FrameDataset) -> float:
    """Mean R^2 over the factors that vary."""
    split = dataset.split(0.3, SEED)
    codes = {part: encode(encoder, dataset, rows) for part, rows in enumerate(split)}
    scores = []
    for values in dataset.factors.values():
        fit, test = (values[rows] for rows in split)
        if fit.std() > 0 and test.std() > 0:
            ridge = RidgeCV(np.logspace(-4, 4, 9)).fit(codes[0], fit)
            scores.append(float(ridge.score(codes[1], test)))
    return float(np.mean(scores)) if scores else float("nan")


def encode(encoder: Encoder, dataset: FrameDataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mu of some frames, (N, Z)."""
    return np.concatenate([encoder.encode(frames) for frames in dataset.in_batches(rows)])


if __name__ == "__main__":
    main()
