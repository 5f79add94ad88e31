"""`rl-vae`: the library's functions as commands.

A command parses, calls one function, prints what came out. Exit status: 0 done; 2 a mistake of
the user's or a damaged file, said in one line; 130 or 143 stopped by Ctrl-C or SIGTERM, with
everything saved that had been acknowledged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from rl_vae.envs.registry import EngineName
from rl_vae.errors import ConfigError, RlVaeError
from rl_vae.system.process_settings import configure_process
from rl_vae.system.signals import Terminated, say, stoppable

EnvId = Annotated[str, tyro.conf.Positional]
Folder = Annotated[Path, tyro.conf.Positional]


def collect(
    env_id: EnvId,
    out: Path,
    *,
    frames: int = 10_000,
    size: tuple[int, int] = (64, 64),
    channels: Literal[1, 3] = 3,
    crop: tuple[int, int, int, int] = (0, 0, 0, 0),
    policy: str = "correlated",
    correlation: float = 0.9,
    scale: float = 0.5,
    bias: tuple[float, ...] = (),
    random_share: float = 0.0,
    frame_skip: int | None = None,
    engine: EngineName = "auto",
    workers: int | None = None,
    image_key: str | None = None,
    env_kwargs: str = "{}",
    timeout: float = 60.0,
    restarts: int = 0,
    seed: int = 0,
) -> None:
    """Collect frames of an environment into a folder; the same command resumes.

    Args:
        env_id: A Gymnasium id, such as CarRacing-v3; its pixels are found by themselves.
        out: The dataset's folder.
        frames: How many.
        size: Height and width of a frame, in pixels, from 28 up.
        channels: 3 for RGB, 1 for grayscale.
        crop: Raw pixels to cut off first: top, bottom, left, right.
        policy: "correlated" (noise with a memory), "uniform", or the folder of an agent.
        correlation: Of correlated noise, from one action to the next, from 0 to below 1.
        scale: Standard deviation of correlated noise, in half-ranges of the action space.
        bias: Mean of each action dimension, -1 lowest, 1 highest; for Box actions.
        random_share: Share of episodes that act uniformly instead, 0 to 1.
        frame_skip: Steps that each action is held. None: 1, or the agent's.
        engine: "envpool", "gymnasium", or "auto": the faster one that has this id.
        workers: Processes or threads. None: the number of cores. The frames are the same.
        image_key: Which entry of a Dict observation is the image.
        env_kwargs: JSON object, handed to the environment.
        timeout: Seconds for one step of an environment in a worker process; longer is a hang.
        restarts: How often a worker whose environment failed, hung or died is begun anew.
        seed: From 0 up; the same seed gives the same dataset.
    """
    from rl_vae.data.collect import collect_frames
    from rl_vae.data.coverage import coverage
    from rl_vae.data.policies import CollectionPolicy, Correlated, Mixture, Uniform
    from rl_vae.frames import FrameSpec

    spec = FrameSpec(height=size[0], width=size[1], channels=channels, crop=crop)
    acting: CollectionPolicy
    if policy == "uniform":
        acting = Uniform()
    elif policy == "correlated":
        acting = Correlated(correlation=correlation, scale=scale, bias=bias)
    elif not any(Path(path).exists() for path in (policy, f"{policy}.partial")):
        raise ConfigError(
            "There is no such policy.",
            expected="correlated, uniform, or the folder of an agent",
            got=repr(policy),
            remedy="check the spelling",
        )
    else:
        from rl_vae.agents.agent import Agent

        acting = agent = Agent.load(policy)
        frame_skip = agent.recipe.frame_skip if frame_skip is None else frame_skip
        if spec == FrameSpec():
            spec = agent.encoder.spec
    if random_share:
        acting = Mixture((acting, Uniform()), (1 - random_share, random_share))
    dataset = collect_frames(
        env_id,
        out,
        n_frames=frames,
        spec=spec,
        policy=acting,
        seed=seed,
        engine=engine,
        workers=workers,
        frame_skip=1 if frame_skip is None else frame_skip,
        image_key=image_key,
        env_kwargs=_json_object(env_kwargs),
        timeout=timeout,
        restarts=restarts,
    )
    seen = coverage(dataset)
    print(
        f"{dataset.path}: {seen.frames:,} frames by the engine {dataset.header.engine}, "
        f"{seen.episodes:,} episodes of {seen.mean_length:.0f} frames on average, "
        f"{seen.near_duplicates:.1%} near-duplicates, "
        f"{len(dataset.header.factor_names)} factors. Digest {dataset.digest[:16]}"
    )


def train_vae(
    dataset: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path,
    *,
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    latent_dim: int = 32,
    network: Literal["patch", "world_models", "burgess", "mlp"] = "patch",
    likelihood: Literal["gaussian", "learned_gaussian", "bernoulli"] = "gaussian",
    sigma: float = 0.1,
    moving_weight: float = 1.0,
    objective: str = "beta",
    beta: float | None = None,
    warm_up: float | None = None,
    cycles: int | None = None,
    free_bits: float | None = None,
    capacity: float | None = None,
    gamma: float | None = None,
    alpha: float | None = None,
    noise: Literal["gaussian", "masking"] | None = None,
    amount: float | None = None,
    adversary: float | None = None,
    prior: Literal["gaussian", "mixture"] | None = None,
    components: int | None = None,
    width: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float | None = None,
    held_out: float = 0.1,
    memory: float = 4.0,
    device: str = "cpu",
    seed: int = 0,
) -> None:
    """Train a VAE on a dataset and write the encoder as a folder; the same command resumes.

    Several processes: torchrun --nproc-per-node 2 -m rl_vae.cli train-vae ...

    Args:
        dataset: What `rl-vae collect` wrote; several are trained on together.
        out: The model's folder.
        start: The folder of a model to go on from, on what its agent saw; what it is made of stays.
        latent_dim: Numbers in a code.
        network: "patch" (fast on a CPU), "world_models", "burgess" or "mlp" (400 units).
        likelihood: "gaussian", "learned_gaussian" or "bernoulli".
        sigma: Standard deviation of the Gaussian likelihood, pixels being from 0 to 1.
        moving_weight: How much pixels that differ from their usual value count, others 1.
        objective: Loss that is minimised: adversarial, autoencoder, beta, beta-tc, capacity,
            denoising, factor-vae, or FILE.py:NAME of your own rl_vae.Objective; the file is run.
        beta: beta: weight of the KL, 1; beta-tc: of the total correlation, 6.
        warm_up: beta, beta-tc, factor-vae: share of the updates over which weights rise, 0.25;
            capacity: over which the capacity rises, 0.5.
        cycles: beta: how often its weight rises from 0 again, 1.
        free_bits: beta: nats that each latent has free, 0.
        capacity: capacity: nats that the code holds in the end, 25.
        gamma: capacity: weight of the distance from it, 100; beta-tc: of the dimension-wise KL, 1;
            factor-vae: of the total correlation, 6.4.
        alpha: beta-tc: weight of the mutual information, 1.
        noise: denoising: "gaussian" (added to pixels) or "masking" (pixels set to 0).
        amount: denoising: standard deviation, pixels being from 0 to 1, or share masked; 0.1.
        adversary: adversarial: weight of the discriminator's term, 100.
        prior: adversarial: "gaussian", or a "mixture" on a circle in the first two latents.
        components: adversarial: Gaussians of the mixture, 10.
        width: factor-vae, adversarial: units of the discriminator's hidden layers, 1000.
        epochs: Passes over the frames. With neither epochs nor steps: 10.
        steps: Updates, instead of epochs.
        batch_size: Frames of one update; under torchrun, of one update in each process.
        learning_rate: Adam's, at its highest: it rises first and falls to 0 towards the end.
            None: 0.001, or 0.0003 where it goes on from a model.
        held_out: Share of frames, in whole episodes, that is never trained on.
        memory: GiB of frames that are held at once; a larger dataset is streamed in whole shards.
        device: "cpu", or a torch device such as "cuda".
        seed: Of weights, noise, order and split.
    """
    from rl_vae.data.concat import ConcatDataset
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.vae import VAEConfig
    from rl_vae.objectives.registry import objective_from
    from rl_vae.training import distributed as parallel
    from rl_vae.training.config import TrainConfig
    from rl_vae.training.train import train_vae

    parts = [FrameDataset.open(path) for path in dataset]
    config = VAEConfig(latent_dim=latent_dim, network=network, likelihood=likelihood, sigma=sigma)
    if learning_rate is None:
        learning_rate = 1e-3 if start is None else 3e-4
    options = {
        "beta": beta,
        "warm_up": warm_up,
        "cycles": cycles,
        "free_bits": free_bits,
        "capacity": capacity,
        "gamma": gamma,
        "alpha": alpha,
        "noise": noise,
        "amount": amount,
        "adversary": adversary,
        "prior": prior,
        "components": components,
        "width": width,
    }
    given = {name: value for name, value in options.items() if value is not None}
    trained = train_vae(
        parts[0] if len(parts) == 1 else ConcatDataset(parts),
        out,
        None if config == VAEConfig() else config,
        TrainConfig(
            objective=objective_from(objective, **given),
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            held_out=held_out,
            memory=memory,
            moving_weight=moving_weight,
            seed=seed,
            device=device,
        ),
        start=start,
    )
    if not parallel.is_main_process():
        return
    best = trained.held_out
    bound = (
        "" if best.bits_per_dimension is None else f", {best.bits_per_dimension:.2f} bits a value"
    )
    print(
        f"{trained.path}: {trained.steps:,} updates in {trained.seconds:.0f} s. Held out, nats a "
        f"frame: loss {best.loss:.1f}, distortion {best.distortion:.1f}, KL {best.rate:.2f}"
        f"{bound}; root mean square error {best.mse**0.5:.1f} of 255; {best.active_units} of "
        f"{len(best.kl_per_dimension)} latents active"
    )


def sweep(
    dataset: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path,
    *,
    beta: tuple[float, ...] = (1.0, 4.0),
    seed: tuple[int, ...] = (0, 1, 2),
    latent_dim: int = 32,
    network: Literal["patch", "world_models", "burgess", "mlp"] = "patch",
    likelihood: Literal["gaussian", "learned_gaussian", "bernoulli"] = "gaussian",
    sigma: float = 0.1,
    moving_weight: float = 1.0,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    held_out: float = 0.1,
    memory: float = 4.0,
    device: str = "cpu",
    workers: int | None = None,
    json: Path | None = None,
) -> None:
    """Train a beta-VAE for each beta and each seed, several at once; the same command resumes.

    Args:
        dataset: What `rl-vae collect` wrote; several are trained on together.
        out: The folder of the models, which are called such as OUT/beta4-seed0.
        beta: Weights of the KL, sums over pixels and latents, in nats.
        seed: Seeds, from 0 up: of weights, noise, order and split.
        latent_dim: Numbers in a code.
        network: "patch" (fast on a CPU), "world_models", "burgess" or "mlp" (400 units).
        likelihood: "gaussian", "learned_gaussian" or "bernoulli".
        sigma: Standard deviation of the Gaussian likelihood, pixels being from 0 to 1.
        moving_weight: How much pixels that differ from their usual value count, others 1.
        epochs: Passes over the frames. With neither epochs nor steps: 10.
        steps: Updates, instead of epochs.
        batch_size: Frames of one update.
        learning_rate: Adam's, at its highest: it rises first and falls to 0 towards the end.
        held_out: Share of frames, in whole episodes, that is never trained on.
        memory: GiB of frames that each process holds; a larger dataset is streamed.
        device: "cpu", or a torch device such as "cuda", on which all are trained at once.
        workers: Models that are trained at once on CPUs. None: the number of cores.
        json: A file to write the figures to.
    """
    from rl_vae.data.concat import ConcatDataset
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.vae import VAEConfig
    from rl_vae.objectives.beta import Beta
    from rl_vae.system.provenance import write_figures
    from rl_vae.training.config import TrainConfig
    from rl_vae.training.sweep import train_sweep

    parts = [FrameDataset.open(path) for path in dataset]
    runs = {
        f"beta{weight:g}-seed{number}": TrainConfig(
            objective=Beta(weight),
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            held_out=held_out,
            memory=memory,
            moving_weight=moving_weight,
            seed=number,
            device=device,
        )
        for weight in beta
        for number in seed
    }
    made = train_sweep(
        parts[0] if len(parts) == 1 else ConcatDataset(parts),
        out,
        runs,
        VAEConfig(latent_dim=latent_dim, network=network, likelihood=likelihood, sigma=sigma),
        workers=workers,
    )
    figures: dict[str, float] = {}
    print(f"{out}, held out, nats a frame:")
    for name, trained in made.items():
        best = trained.held_out
        print(
            f"  {name:16} distortion {best.distortion:9.1f}  KL {best.rate:7.2f}  "
            f"{best.active_units:3} of {latent_dim} latents active"
        )
        figures[f"{name}_distortion"] = best.distortion
        figures[f"{name}_kl"] = best.rate
        figures[f"{name}_active_units"] = best.active_units
    if json is not None:
        write_figures(json, figures, seed)


def show(
    model: Folder,
    dataset: Folder,
    out: Path,
    *,
    level: float = 0.99,
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """Draw what a model can do: reconstruct, sample, interpolate, traverse, find anomalies.

    Args:
        model: What `rl-vae train-vae` wrote.
        dataset: Frames of the same size and crop, its own or others.
        out: A folder for the pictures and anomalies.csv, the scores of every frame.
        level: Quantile of the training frames beyond which a frame is an outlier: 0.75 to 1.
        json: A file to write the figures to.
        seed: Of the samples and of which frames are shown.
    """
    from rl_vae.analysis.gallery import draw_gallery
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.encoder import Encoder
    from rl_vae.system.provenance import write_figures

    frames = FrameDataset.open(dataset)
    gallery = draw_gallery(Encoder.load(model), frames, out, level=level, seed=seed)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in gallery.shares.items())
    print(
        f"{gallery.path}: pictures, and anomalies.csv. Of {len(frames):,} frames, beyond the "
        f"training frames' quantile {level:g} by {shares}"
    )
    if json is not None:
        figures = {f"outlier_{name}": share for name, share in gallery.shares.items()}
        write_figures(json, figures, [seed])


def classify(
    model: Folder,
    dataset: Folder,
    out: Path,
    *,
    label: str = "action",
    fine_tune: bool = False,
    epochs: int = 10,
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """Train a classifier on a model's code and draw whom it takes for whom.

    Args:
        model: What `rl-vae train-vae` wrote; it stays as it is.
        dataset: Frames of the same size and crop.
        out: A picture to write, .png.
        label: "action", where actions are numbers, or the name of a factor of the simulator.
        fine_tune: Train a copy of the encoder along, instead of the classifier alone.
        epochs: Passes over the frames.
        json: A file to write the figures to.
        seed: Of weights, order and split; a fifth of the frames is held out.
    """
    from rl_vae.analysis.classifier import labels_of, train_classifier
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models import pictures
    from rl_vae.models.encoder import Encoder
    from rl_vae.system.provenance import write_figures

    frames = FrameDataset.open(dataset)
    labels = labels_of(frames, label)
    made = train_classifier(
        Encoder.load(model), frames, labels, fine_tune=fine_tune, epochs=epochs, seed=seed
    )
    how = "fine-tuned" if fine_tune else "frozen"
    out.parent.mkdir(parents=True, exist_ok=True)
    title = f"{label}, encoder {how}: {made.accuracy:.0%} right"
    pictures.save_matrix(out, made.confusion, labels.names, title=title)
    print(
        f"{out}: {label} of {len(labels.names)} classes, encoder {how}: {made.accuracy:.1%} right "
        f"on held-out episodes; always the commonest {made.majority:.1%}"
    )
    if json is not None:
        figures = {"accuracy": made.accuracy, "majority": made.majority}
        write_figures(json, figures, [seed])


def score(
    model: Folder,
    dataset: Folder,
    *,
    stack: int = 4,
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """Say what a model's code holds, before any RL, beside PCA and a random encoder.

    Args:
        model: What `rl-vae train-vae` wrote.
        dataset: Frames of the same size and crop; with --engine gymnasium they know the state.
        stack: Codes that a probe sees at once, as an agent would.
        json: A file to write the figures to.
        seed: Of the held-out episodes, the random encoder, the probes and the intervals.
    """
    from rl_vae.analysis.score import score_encoder
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.encoder import Encoder
    from rl_vae.system.provenance import write_figures

    card = score_encoder(Encoder.load(model), FrameDataset.open(dataset), stack=stack, seed=seed)
    print(card)
    if json is not None:
        write_figures(json, card.figures(), [seed])


def train_agent(
    env_id: EnvId,
    encoder: Path,
    out: Path,
    *,
    agent: str | None = None,
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    steps: int | None = None,
    n_envs: int | None = None,
    frame_skip: int | None = None,
    engine: EngineName = "auto",
    evaluations: int = 4,
    evaluation_episodes: int = 5,
    image_key: str | None = None,
    env_kwargs: str = "{}",
    seed: int = 0,
) -> None:
    """Train a Stable-Baselines3 agent on latents; the same command resumes.

    Args:
        env_id: A Gymnasium id.
        encoder: The folder of the model.
        out: The agent's folder.
        agent: A recipe of agents/, such as ppo, or a Python file with a RECIPE. It is run.
            None: ppo, or that of the agent to go on from.
        start: The folder of an agent to go on from; its encoder may have been another one.
        steps: Decisions in all, instead of the recipe's.
        n_envs: Environments at once, instead of the recipe's.
        frame_skip: Steps that each decision is held, instead of the recipe's.
        engine: "envpool", "gymnasium", or "auto": the faster one that has this id.
        evaluations: How often, during training, it plays without noise.
        evaluation_episodes: How many episodes each time.
        image_key: Which entry of a Dict observation is the image.
        env_kwargs: JSON object, handed to the environment.
        seed: Of policy, noise and environments.
    """
    from rl_vae.agents import train as policy
    from rl_vae.agents.agent import Agent
    from rl_vae.agents.recipe import load_recipe

    if agent is None and start is not None:
        recipe = Agent.load(start).recipe
    else:
        recipe = load_recipe(agent or "ppo")
    changes = {"total_steps": steps, "n_envs": n_envs, "frame_skip": frame_skip}
    recipe = replace(recipe, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
    trained = policy.train_agent(
        env_id,
        encoder,
        out,
        recipe,
        seed=seed,
        engine=engine,
        image_key=image_key,
        env_kwargs=_json_object(env_kwargs),
        evaluations=evaluations,
        evaluation_episodes=evaluation_episodes,
        start=start,
    )
    print(
        f"{trained.path}: {recipe.algorithm}, {trained.steps:,} decisions, {trained.frames:,} "
        f"environment steps in {trained.seconds:.0f} s by the engine {trained.engine}"
    )


def evaluate(
    agent: Folder,
    *,
    encoder: Path | None = None,
    episodes: int = 20,
    stochastic: bool = False,
    engine: EngineName | None = None,
    video: Path | None = None,
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """Let an agent play episodes from seeds it never trained on, beside a random policy.

    Args:
        agent: What `rl-vae train-agent` wrote.
        encoder: A model to see through instead of its own, such as one that went on from that.
        episodes: How many, for either.
        stochastic: Sample actions instead of playing the mean or likeliest one.
        engine: None: the one it was trained with.
        video: A .gif or .mp4 file to write: the real frame beside what the decoder sees.
        json: A file to write the figures to.
        seed: Which set of evaluation seeds, 0 to 999.
    """
    from rl_vae.agents import evaluate as evaluation
    from rl_vae.agents.agent import Agent
    from rl_vae.models import pictures
    from rl_vae.system.provenance import write_figures

    if video is not None and video.suffix not in (".gif", ".mp4"):
        raise ConfigError(
            "Unknown film format.",
            expected="a name that ends in .gif or .mp4",
            got=repr(str(video)),
            remedy="rename it",
        )
    loaded = Agent.load(agent, encoder=encoder)
    played = evaluation.evaluate_agent(
        loaded, episodes=episodes, deterministic=not stochastic, seed=seed, engine=engine
    )
    random = evaluation.evaluate_random(
        loaded.env_id,
        episodes=episodes,
        seed=seed,
        frame_skip=loaded.recipe.frame_skip,
        engine=engine or loaded.engine,
        image_key=loaded.image_key,
        env_kwargs=loaded.env_kwargs,
    )
    for name, result in (("agent ", played), ("random", random)):
        print(
            f"{name} {result.mean:9.2f} ± {result.std:.2f} over {episodes} episodes; 95 % "
            f"interval of the mean {result.ci_low:.2f} to {result.ci_high:.2f}"
        )
    if video is not None:
        film = evaluation.film_agent(loaded, seed=played.seeds[0])
        video.parent.mkdir(parents=True, exist_ok=True)
        pictures.save_video(video, film.images, fps=50 / loaded.recipe.frame_skip)
        print(f"{video}: {len(film.images)} decisions, return {film.total:.2f}")
    if json is not None:
        figures = {
            "mean_return": played.mean,
            "std_return": played.std,
            "ci_low": played.ci_low,
            "ci_high": played.ci_high,
            "random_return": random.mean,
            "random_ci_low": random.ci_low,
            "random_ci_high": random.ci_high,
            "episodes": episodes,
        }
        write_figures(json, figures, [seed])


def compare(
    env_id: EnvId,
    out: Path,
    *,
    beta: tuple[float, ...] = (1.0, 4.0, 16.0),
    seeds: int = 5,
    baselines: tuple[Literal["pixels", "random", "pca", "autoencoder", "state"], ...] = (
        "pixels",
        "random",
        "pca",
        "autoencoder",
        "state",
    ),
    frames: int = 10_000,
    size: tuple[int, int] = (64, 64),
    channels: Literal[1, 3] = 3,
    crop: tuple[int, int, int, int] = (0, 0, 0, 0),
    latent_dim: int = 32,
    network: Literal["patch", "world_models", "burgess", "mlp"] = "patch",
    likelihood: Literal["gaussian", "learned_gaussian", "bernoulli"] = "gaussian",
    sigma: float = 0.1,
    vae_steps: int | None = None,
    learning_rate: float = 1e-3,
    agent: str = "ppo",
    steps: int | None = None,
    episodes: int = 20,
    evaluations: int = 4,
    engine: EngineName = "gymnasium",
    image_key: str | None = None,
    env_kwargs: str = "{}",
    workers: int | None = None,
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """Compare betas and baselines by scores and by an agent's return; the same command resumes.

    Args:
        env_id: A Gymnasium id.
        out: The folder for everything; table.md in it is what is printed.
        beta: Weights of the KL, sums over pixels and latents, in nats; a VAE for each.
        seeds: How many; each makes every code, its agent and its environments anew.
        baselines: pixels (SB3's CnnPolicy on stacked frames, from 36 x 36 up), random (an untrained
            network), pca, autoencoder, state (the simulator's own numbers).
        frames: That codes are trained on; up to 4,000 of other episodes serve to score them.
        size: Height and width of a frame, in pixels, from 32 up.
        channels: 3 for RGB, 1 for grayscale.
        crop: Raw pixels to cut off first: top, bottom, left, right.
        latent_dim: Numbers in a code.
        network: "patch" (fast on a CPU), "world_models", "burgess" or "mlp" (400 units).
        likelihood: "gaussian", "learned_gaussian" or "bernoulli".
        sigma: Standard deviation of the Gaussian likelihood, pixels being from 0 to 1.
        vae_steps: Updates of each code. None: 10 passes over the frames.
        learning_rate: Of the codes.
        agent: A recipe, for all systems: ppo, sac, dqn, or a Python file with a RECIPE. It is run.
        steps: Decisions of each agent, instead of the recipe's.
        episodes: Of each agent's evaluation, without noise, on unseen seeds.
        evaluations: How often each agent is evaluated on its way.
        engine: "gymnasium", which knows the state, "envpool", or "auto".
        image_key: Which entry of a Dict observation is the image.
        env_kwargs: JSON object, handed to the environment.
        workers: Processes at once, with one thread each. None: the number of cores.
        json: A file to write the figures to, besides OUT/figures.json.
        seed: The first seed of the systems; the others follow. Also of the frames.
    """
    from rl_vae.agents.recipe import load_recipe
    from rl_vae.analysis.comparison.compare import compare as compare_systems
    from rl_vae.analysis.comparison.config import ComparisonConfig
    from rl_vae.analysis.comparison.tables import tables
    from rl_vae.frames import FrameSpec
    from rl_vae.models.vae import VAEConfig
    from rl_vae.system.provenance import write_figures
    from rl_vae.training.config import TrainConfig

    recipe = load_recipe(agent)
    config = ComparisonConfig(
        env_id=env_id,
        recipe=recipe if steps is None else replace(recipe, total_steps=steps),
        betas=beta,
        baselines=baselines,
        seeds=tuple(range(seed, seed + seeds)),
        frames=frames,
        spec=FrameSpec(height=size[0], width=size[1], channels=channels, crop=crop),
        vae=VAEConfig(latent_dim=latent_dim, network=network, likelihood=likelihood, sigma=sigma),
        train=TrainConfig(steps=vae_steps, learning_rate=learning_rate),
        episodes=episodes,
        evaluations=evaluations,
        engine=engine,
        image_key=image_key,
        env_kwargs=_json_object(env_kwargs),
        seed=seed,
    )
    made = compare_systems(config, out, workers=workers)
    print(tables(made.summary))
    if json is not None:
        write_figures(json, made.summary.figures(), config.seeds)


def report(
    models: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    *,
    out: Path,
    dataset: Path | None = None,
    agent: Path | None = None,
    comparison: Path | None = None,
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """Write one HTML page on models side by side, which decodes live and asks no network.

    Args:
        models: Folders that `rl-vae train-vae` wrote. None: the agent's, or the comparison's.
        out: The page, NAME.html; an earlier one is replaced.
        dataset: Frames of the same size and crop to measure and show. None: the comparison's.
        agent: An agent that sees through one of the models: its actions are drawn, too.
        comparison: What `rl-vae compare` wrote: its returns and scores are drawn, too.
        json: A file to write the figures to.
        seed: Of the intervals and of what is fitted.
    """
    from rl_vae.analysis.report import write_report
    from rl_vae.system.provenance import write_figures

    made = write_report(out, models, dataset, agent=agent, comparison=comparison, seed=seed)
    live = ", ".join(made.explored) or "none"
    print(
        f"{made.path}: {made.size / 1e6:.1f} MB. Decoders in the page: {live}; their pictures "
        f"are off by {made.error:.2f} of 255 at most"
    )
    if json is not None:
        write_figures(json, made.figures, [seed])


def export(agent: Folder, out: Path) -> None:
    """Write an agent as one ONNX file that runs with onnxruntime and numpy alone.

    Args:
        agent: What `rl-vae train-agent` wrote.
        out: The file, NAME.onnx; an earlier export there is replaced.
    """
    from rl_vae.agents.export import export_agent

    path = export_agent(agent, out)
    print(
        f"{path}: raw observation and history in, action and history out, "
        f"{path.stat().st_size / 1e6:.1f} MB"
    )


def verify(path: Folder, *, repair: bool = False, json: Path | None = None) -> None:
    """Check every byte of a dataset, model, agent or comparison; exit status 2 where it is damaged.

    Args:
        path: The folder; also that of an interrupted training, FOLDER.partial.
        repair: Keep what is good: take damaged shards out, so that collecting again makes them;
            write a damaged encoder.onnx or README.md anew. Without it nothing is changed.
        json: A file to write what was found to.
    """
    from rl_vae.system import files
    from rl_vae.system.provenance import machine, package_versions
    from rl_vae.verify import repair_folder, verify_folder

    done: tuple[str, ...] = ()
    if repair:
        done, found = repair_folder(path)
    else:
        found = verify_folder(path)
    for sentence in done:
        print(f"REPAIRED {sentence}")
    print(found)
    if json is not None:
        figures = {"damaged": len(found.findings), "repaired": len(done)}
        report = {
            "figures": {**figures, "files": found.files, "bytes": found.bytes},
            "seeds": [],
            "kind": found.kind,
            "findings": [
                {
                    "path": str(finding.path),
                    "damage": finding.damage,
                    "salvage": finding.salvage,
                }
                for finding in found.findings
            ],
            "repaired": list(done),
            "notes": list(found.notes),
            "machine": machine(),
            "versions": package_versions(),
        }
        json.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(json, report)
    if found.findings:
        sys.exit(2)


def demo(
    *,
    out: Path = Path("runs/demo"),
    engine: EngineName = "auto",
    json: Path | None = None,
    seed: int = 0,
) -> None:
    """CarRacing from nothing: collect, train a VAE and PPO, evaluate, write a page (minutes).

    Args:
        out: A new or empty folder for everything; the same command goes on with an interrupted one.
        engine: "envpool", "gymnasium" (about ten times slower), or "auto".
        json: A file to write the figures to, besides OUT/result.json.
        seed: Of everything.
    """
    from rl_vae.cli.demo import run_demo
    from rl_vae.system.provenance import write_figures

    made = run_demo(out, seed=seed, engine=engine)
    if json is not None:
        write_figures(json, made.figures, [seed])


COMMANDS: dict[str, Any] = {
    "collect": collect,
    "train-vae": train_vae,
    "sweep": sweep,
    "show": show,
    "classify": classify,
    "score": score,
    "train-agent": train_agent,
    "evaluate": evaluate,
    "compare": compare,
    "report": report,
    "export": export,
    "verify": verify,
    "demo": demo,
}


_GOES_ON = {
    name: "the same command goes on where it stopped"
    for name in ("collect", "train-vae", "sweep", "train-agent", "compare", "demo")
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with its status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    configure_process()
    then = _GOES_ON.get(arguments[0] if arguments else "", "the same command begins anew")
    last_words = f"rl-vae: stopped; {then}"
    with stoppable(last_words):
        try:
            tyro.extras.subcommand_cli_from_dict(
                COMMANDS,
                prog="rl-vae",
                description="Compress an environment's frames once; learn from the code.",
                args=arguments,
            )
        except RlVaeError as error:
            print(f"rl-vae: {error}", file=sys.stderr)
            sys.exit(2)
        except OSError as error:  # a folder that cannot be written, a full disk
            print(f"rl-vae: {type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(2)
        except (KeyboardInterrupt, Terminated) as stop:
            say(last_words)
            # Python remembers an interrupt that left code in a string, as in a dataclass that was
            # being made, and would end by SIGINT after all; the next string makes it forget.
            exec("")
            sys.exit(143 if isinstance(stop, Terminated) else 130)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(
            "--env-kwargs is not a JSON object.",
            expected="such as '{\"gravity\": 5}'",
            got=repr(text),
            remedy="put names into double quotes, and the whole into single ones",
        )
    return value


if __name__ == "__main__":
    main()
