"""Faults of observations: terminal observations, recorded resets, wrong spaces, colour order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import onnxruntime
import torch
from environments import SIDE
from mismatches import MISMATCHES
from toys import ADAPTERS, SHOWING, make_adapter, run_adapter

from faults import Figure, counted
from faults.collecting import collect, wrong_rows
from rl_vae import Encoder
from rl_vae.agents.export import export_agent
from rl_vae.errors import RlVaeError
from rl_vae.sb3 import LatentExtractor
from rl_vae.sb3.adapter_checker import all_cases, check_case

TWELVE = (
    "larger",
    "gray",
    "one channel",
    "rgba",
    "channels first",
    "float32",
    "float64",
    "int16",
    "channels stacked",
    "frames stacked",
    "Dict without image",
    "Dict without that key",
)


def terminal_observation(n: int, seed: int, folder: Path) -> Figure:
    """In all cases of the adapter checker the terminal observation encodes the true last frame."""
    encoder = Encoder.load(little_models.model())
    cases = all_cases()
    chosen = [cases[i] for i in np.linspace(0, len(cases) - 1, min(n, len(cases))).astype(int)]
    results = [check_case(case, encoder) for case in chosen]
    worst = max(result.max_error for result in results)
    n_final = sum(result.final_observations for result in results)
    figure = counted(sum(result.passed for result in results), len(chosen), error=worst)
    got = f"{figure.got} cases <= 1e-6: {worst:.1e}, {n_final} terminal"
    return figure._replace(got=got)


def recorded_resets(n: int, seed: int, folder: Path) -> Figure:
    """No row of a dataset and no step of an adapter in NEXT_STEP mode is the reset itself."""
    dataset = collect(folder / "frames", n_frames=n, seed=seed)
    wrong, ended = wrong_rows(dataset)
    encoder = Encoder.load(little_models.model())
    cases = [case for case in all_cases() if case.autoreset == "NEXT_STEP" and case.stack == 4]
    leaks = sum(check_case(case, encoder).leaks for case in cases)
    got = f"{wrong} of {len(dataset):,} ({ended:,} ends), {leaks} in {len(cases)} NEXT_STEP cases"
    return Figure(got, not wrong and not leaks and ended > n // 20, {"resets": wrong + leaks})


def observation_mismatches(n: int, seed: int, folder: Path) -> Figure:
    """Observations of another space are an error before the first step, in every adapter."""
    path = little_models.model()
    encoder, good = Encoder.load(path), 0
    for name in TWELVE[:n]:
        make, options, came, remedy = MISMATCHES[name]
        n_refused = 0
        for adapter in ADAPTERS:
            try:
                make_adapter(adapter, make, path if adapter == "single" else encoder, **options)
            except RlVaeError as error:
                parts = all(str(part) in str(error) for part in (error.expected, error.remedy))
                n_refused += parts and came in str(error.got) and remedy in str(error.remedy)
        good += n_refused == len(ADAPTERS)
    return counted(good, n, f"through {len(ADAPTERS)} adapters")


def colour_order(n: int, seed: int, folder: Path) -> Figure:
    """An image with one red pixel has the same latents everywhere, and other latents as BGR."""
    path, rng = little_models.model(), np.random.default_rng(seed)
    right_of, trials, same, apart, worst = Encoder.load(path), 0, 0, 0, 0.0
    exported = _exported(folder)
    for _ in range(n):
        row, column = rng.integers(SIDE, size=2)
        for value in ((255, 0, 0), (0, 0, 255)):
            image = np.full((SIDE, SIDE, 3), 40, np.uint8)
            image[row, column] = value
            right = right_of.encode_observations(image[None])[0]
            swapped = image[..., ::-1].copy()
            seen: list[Any] = []
            for runtime in ("onnx", "torch"):
                encoder = Encoder.load(path, runtime=runtime)
                seen.append(encoder.encode_observations(image[None])[0])
                for adapter in ADAPTERS[
                    runtime == "torch" :
                ]:  # the single environment takes a path
                    used = path if adapter == "single" else encoder
                    shown = run_adapter(adapter, _showing(image), used, steps=3).observations
                    seen += [latent for env in shown for latent in env]
            seen += [_extracted(path, image), exported(image)]
            worst = max(worst, *(float(np.abs(latent - right).max()) for latent in seen))
            trials += len(seen)
            same += sum(float(np.abs(latent - right).max()) <= 1e-5 for latent in seen)
            other = right_of.encode_observations(swapped[None])[0]
            apart += float(np.abs(other - right).max()) > 1e-4
    figure = counted(same, trials, f"within {worst:.0e}; {apart} of {2 * n} differ for BGR")
    return figure._replace(holds=figure.holds and apart == 2 * n)


def _showing(image: Any) -> Any:
    return lambda: gym.make(SHOWING, image=image)


def _extracted(path: Path, image: Any) -> Any:
    """Return the features of an image by the extractor of a CnnPolicy."""
    channels_first = gym.spaces.Box(0, 255, (3, SIDE, SIDE), np.uint8)
    extractor = LatentExtractor(channels_first, encoder=str(path))
    with torch.no_grad():
        pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
        return extractor(pixels.float() / 255)[0].numpy()


def _exported(folder: Path) -> Callable[[Any], Any]:
    """Return the encoder of an exported agent: image -> latents."""
    file = export_agent(little_models.agent("PPO"), folder / "agent.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    memory = {i.name: np.zeros([1, *i.shape[1:]], np.float32) for i in session.get_inputs()[2:]}

    def latent(image: Any) -> Any:
        inputs = {"observation": image[None], "first": np.ones(1, np.bool_), **memory}
        return session.run(["next_latents"], inputs)[0][0, -1]

    return latent
