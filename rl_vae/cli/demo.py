"""The demo: a car that learns to drive from 32 numbers a frame, and a page that shows it."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rl_vae.agents.agent import Agent
from rl_vae.agents.evaluate import (
    Evaluation,
    Film,
    evaluate_agent,
    evaluate_random,
    film_agent,
)
from rl_vae.agents.recipe import load_recipe
from rl_vae.agents.train import TrainedAgent, train_agent
from rl_vae.data.collect import collect_frames
from rl_vae.data.coverage import coverage
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.policies import Correlated
from rl_vae.envs.registry import EngineName, resolve_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec
from rl_vae.models import pictures
from rl_vae.models.vae import VAEConfig
from rl_vae.system import files
from rl_vae.system.provenance import write_figures
from rl_vae.training.config import TrainConfig
from rl_vae.training.result import Trained
from rl_vae.training.train import train_vae

ENV_ID = "CarRacing-v3"
N_FRAMES = 10_000
VAE_STEPS = 2000
BATCH = 48
EPISODES = 20


class Demo(NamedTuple):
    """What the demo made."""

    page: Path
    evaluation: Evaluation
    random: Evaluation
    figures: dict[str, float]


def run_demo(out: str | Path, *, seed: int = 0, engine: EngineName = "auto") -> Demo:
    """Collect, train a VAE, train an agent, evaluate, write a page; prints each step.

    Args:
        out: A folder that is new or empty, or holds a demo that was interrupted; gets data/, vae/,
            agent/, index.html, result.json, drive.mp4 and drive.gif.
        seed: Of everything, from 0 to 999.
        engine: As in `make_engine`.

    Raises:
        ConfigError: where the folder is not free or in use, or the seed is out of range.
        RlVaeError: as the steps do.
    """
    out = Path(out)
    evaluation_seeds(EPISODES, seed)  # refuses a seed before the work, not after it
    run = {"seed": seed, "engine": resolve_engine(ENV_ID, engine)}
    begun = (out / "run.json").is_file()
    if not begun and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out} is not free.",
            expected="a new or empty folder, or a demo that was interrupted",
            got="files of an earlier run",
            remedy=f"name another one, or delete it: rm -r {out}",
        )
    files.check_run(out, run, ConfigError)
    out.mkdir(parents=True, exist_ok=True)
    with files.locked(out, ConfigError):
        files.write_json(out / "run.json", run)
        demo = _run_demo(out, seed, engine)
        for left in ("run.json", "seconds.jsonl", ".lock"):
            (out / left).unlink()
    return demo


class _Clock:
    """Seconds of each step, kept in a file so that an interrupted demo does not forget them.

    A step that was interrupted itself counts from its last sitting on.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._began = path, time.perf_counter()
        self._known = {line["step"]: float(line["seconds"]) for line in files.read_lines(path)}

    def lap(self, step: str) -> float:
        """Seconds of a step that ends now, or ended in an earlier sitting."""
        now = time.perf_counter()
        if step not in self._known:
            self._known[step] = now - self._began
            files.append_line(self._path, {"step": step, "seconds": self._known[step]})
        self._began = now
        return self._known[step]

    @property
    def total(self) -> float:
        """Seconds of all steps, and since the last one."""
        return sum(self._known.values()) + time.perf_counter() - self._began


def _run_demo(out: Path, seed: int, engine: EngineName) -> Demo:
    recipe = load_recipe("ppo_car_racing")
    clock = _Clock(out / "seconds.jsonl")
    print(f"1/4  Collect {N_FRAMES:,} frames of {ENV_ID}: noisy driving, mostly on the gas.")
    dataset = collect_frames(
        ENV_ID,
        out / "data",
        n_frames=N_FRAMES,
        spec=FrameSpec(height=64, width=64, crop=(0, 12, 0, 0)),
        policy=Correlated(correlation=0.9, scale=0.5, bias=(0.0, -0.3, -1.2)),
        seed=seed,
        engine=engine,
    )
    seconds_collect = clock.lap("collect")
    seen = coverage(dataset)
    print(
        f"     {seconds_collect:.0f} s with the engine {dataset.header.engine}; {seen.episodes} "
        f"episodes, {seen.near_duplicates:.0%} near-duplicate frames."
    )

    print("2/4  Train a VAE: 64 x 64 x 3 pixels to 32 numbers and back.")
    trained = train_vae(
        dataset,
        out / "vae",
        VAEConfig(latent_dim=32),
        TrainConfig(
            steps=VAE_STEPS, batch_size=BATCH, learning_rate=1.5e-3, seed=seed, compute="reference"
        ),
    )
    seconds_vae = clock.lap("vae")
    print(
        f"     {seconds_vae:.0f} s; on held-out frames a value is off by "
        f"{trained.held_out.mse**0.5:.1f} of 255 (root mean square), KL "
        f"{trained.held_out.rate:.1f} nats, {trained.held_out.active_units} active latents."
    )

    print(
        f"3/4  Train PPO on {recipe.stack} stacked latents and the last action, "
        f"{recipe.total_steps:,} decisions of {recipe.frame_skip} steps."
    )
    driver = train_agent(
        ENV_ID, trained.path, out / "agent", recipe, seed=seed, engine=engine, evaluations=0
    )
    seconds_agent = clock.lap("agent")
    print(f"     {seconds_agent:.0f} s, {driver.frames:,} environment steps.")

    print(f"4/4  Evaluate on {EPISODES} tracks that it never trained on, actions deterministic.")
    agent = Agent.load(driver.path)
    drive = evaluate_agent(agent, episodes=EPISODES, seed=seed)
    random = evaluate_random(
        ENV_ID, episodes=EPISODES, seed=seed, frame_skip=recipe.frame_skip, engine=engine
    )
    for name, result in (("agent ", drive), ("random", random)):
        print(
            f"     {name} {result.mean:6.0f} ± {result.std:.0f} a track; 95 % interval of the "
            f"mean {result.ci_low:.0f} to {result.ci_high:.0f}"
        )
    film = film_agent(agent, seed=evaluation_seeds(EPISODES, seed)[_median(drive)])
    pictures.save_picture(out / "poster.png", film.images[len(film.images) // 2])
    pictures.save_video(out / "drive.mp4", film.images, fps=12.5)
    pictures.save_video(out / "drive.gif", film.images[:120], fps=12.5)
    _save_curve(out / "curve.png", driver, drive, random)
    figures = {
        "mean_return": drive.mean,
        "std_return": drive.std,
        "ci_low": drive.ci_low,
        "ci_high": drive.ci_high,
        "random_return": random.mean,
        "random_ci_low": random.ci_low,
        "random_ci_high": random.ci_high,
        "seconds_collect": seconds_collect,
        "seconds_vae": seconds_vae,
        "seconds_agent": seconds_agent,
        "seconds_total": clock.total,
    }
    write_figures(out / "result.json", figures, [seed])
    page = out / "index.html"
    files.write_whole(page, _page(dataset, trained, driver, film, figures).encode())
    print(f"     {figures['seconds_total']:.0f} s in all. Open {page}")
    return Demo(page, drive, random, figures)


def _median(evaluation: Evaluation) -> int:
    """The episode that stands in the middle: neither the best nor a bad one is shown."""
    order = evaluation.returns.argsort()
    return int(order[len(order) // 2])


def _save_curve(path: Path, driver: TrainedAgent, drive: Evaluation, random: Evaluation) -> None:
    records = files.read_lines(driver.path / "progress.jsonl")
    known = [record for record in records if record.get("training_return") is not None]
    curve = pictures.Curve(
        [record["seconds"] for record in known],
        [record["training_return"] for record in known],
        "training, sampled actions, last 100 tracks",
    )
    pictures.save_chart(
        path,
        [curve],
        xlabel="seconds of PPO",
        ylabel="return",
        levels={"afterwards, deterministic": drive.mean, "random": random.mean},
    )


def _page(
    dataset: FrameDataset,
    trained: Trained,
    driver: TrainedAgent,
    film: Film,
    figures: Mapping[str, float],
) -> str:
    f = {name: f"{value:,.0f}" for name, value in figures.items()}
    rows = "".join(
        f"<tr><td>{html.escape(what)}</td><td>{value}</td></tr>"
        for what, value in (
            (f"Collect {len(dataset):,} frames", f["seconds_collect"] + " s"),
            (f"Train the VAE, {trained.steps:,} updates", f["seconds_vae"] + " s"),
            (f"Train PPO, {driver.frames:,} environment steps", f["seconds_agent"] + " s"),
            ("Everything, evaluation and this page included", f["seconds_total"] + " s"),
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rl_vae: a car that drives from 32 numbers</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto;
  padding: 0 1rem; }}
img, video {{ max-width: 100%; height: auto; display: block; image-rendering: pixelated; }}
img.chart {{ background: white; image-rendering: auto; }}
video {{ width: 48rem; }}
figure {{ margin: 1.5rem 0; }}
figcaption {{ opacity: 0.8; font-size: 0.9rem; }}
.big {{ font-size: 2.4rem; font-weight: 600; }}
td {{ padding: 0.15rem 1.5rem 0.15rem 0; }}
td + td {{ text-align: right; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>A car that drives from 32 numbers a frame</h1>
<p><span class="big">{f["mean_return"]}</span> mean return over {EPISODES} tracks it never trained
on (95 % interval {f["ci_low"]} to {f["ci_high"]}, actions deterministic). A random policy:
{f["random_return"]} ({f["random_ci_low"]} to {f["random_ci_high"]}).</p>
<figure>
<video src="drive.mp4" poster="poster.png" controls loop muted autoplay playsinline></video>
<figcaption>Left: what {ENV_ID} shows. Right: what the decoder makes of the 32 numbers that the
agent sees. The track in the middle of the {EPISODES}; return {film.total:,.0f}.</figcaption>
</figure>
<figure>
<img src="vae/pictures/reconstructions.png" alt="Real frames above their reconstructions">
<figcaption>Held-out frames above, reconstructions from the mean latents below.</figcaption>
</figure>
<figure>
<img class="chart" src="curve.png" alt="Training return against seconds">
<figcaption>Return while PPO trains. The numbers: agent/progress.jsonl.</figcaption>
</figure>
<figure>
<img src="vae/pictures/traversals.png" alt="One row for each latent">
<figcaption>The eight latents that carry most: each row moves one of them from -2.5 to 2.5.
</figcaption>
</figure>
<h2>What it cost</h2>
<table>{rows}</table>
</body>
</html>
"""
