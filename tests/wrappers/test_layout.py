"""What an encoder takes from an environment, and what it refuses, through every adapter."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, FAULTY, frame_of, refused
from gymnasium import spaces
from mismatches import IMAGE, MISMATCHES, SPEED, mixed
from toys import ADAPTERS, MIXED, SHOWING, Spaced, extras_of, make_adapter, moments_of, run_adapter

from rl_vae import Encoder, LatentObservation
from rl_vae.errors import ConfigError, ObservationError, RlVaeError
from rl_vae.training.result import Trained


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", MISMATCHES)
def test_other_environments_are_refused(
    trained: Trained, encoder: Encoder, adapter: str, name: str
) -> None:
    """What an encoder was not made for is refused before the first step: expected, got, remedy."""
    make, options, got, remedy = MISMATCHES[name]
    with refused(RlVaeError, got, remedy) as caught:
        make_adapter(adapter, make, trained.path if adapter == "single" else encoder, **options)
    assert isinstance(caught.value, ObservationError | ConfigError)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_only_image_of_a_dict_is_taken(encoder: Encoder, adapter: str) -> None:
    """A Dict with one image needs no key; one with two needs it, and it decides."""
    alone = run_adapter(adapter, lambda: gym.make(MIXED), encoder)
    first, second = (
        run_adapter(
            adapter,
            lambda: gym.make(MIXED, cameras=2),
            encoder,
            image_key=f"camera_{i}",
            extras="dict",
        )
        for i in range(2)
    )
    for moment, a, b, c in zip(
        moments_of(5),
        alone.observations[0],
        first.observations[0],
        second.observations[0],
        strict=True,
    ):
        right, mirrored = encoder.encode_observations(
            np.stack([frame_of(moment), frame_of(moment)[::-1]])
        )
        np.testing.assert_allclose(a[:4], right, rtol=0, atol=1e-6)
        np.testing.assert_allclose(b["latent"], right, rtol=0, atol=1e-6)
        np.testing.assert_allclose(c["latent"], mirrored, rtol=0, atol=1e-6)
        assert np.abs(right - mirrored).max() > 1e-3


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_other_entries_follow_flattened(encoder: Encoder, adapter: str) -> None:
    """After latents and actions come a Dict's other entries, keys sorted, of this step, in bounds,
    ends of episodes included."""
    shown = run_adapter(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1).observations
    space = make_adapter(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1)
    space = getattr(space, "single_observation_space", space.observation_space)
    for lane in range(2):
        for moment, observation in zip(moments_of(5 + lane), shown[lane], strict=True):
            assert observation.shape == (2 * 4 + 4 + 7,) == space.shape
            assert observation[12:].tolist() == extras_of(moment)
            assert space.contains(observation)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_other_entries_are_kept(encoder: Encoder, adapter: str) -> None:
    """With extras="dict" they stay what they were, beside "latent", ends of episodes included."""
    options: dict[str, Any] = {"stack": 2, "actions": 1, "extras": "dict"}
    shown = run_adapter(adapter, lambda: gym.make(MIXED), encoder, **options).observations
    flat = run_adapter(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1).observations
    space = make_adapter(adapter, lambda: gym.make(MIXED), encoder, **options)
    space = getattr(space, "single_observation_space", space.observation_space)
    assert list(space) == ["gear", "lamps", "latent", "speed"]
    for lane in range(2):
        for moment, kept, flattened in zip(
            moments_of(5 + lane), shown[lane], flat[lane], strict=True
        ):
            assert kept["gear"] == moment.step % 3
            assert kept["lamps"].tolist() == extras_of(moment)[3:5]
            assert kept["speed"].tolist() == extras_of(moment)[5:]
            assert np.array_equal(kept["latent"], flattened[:12])
            assert space.contains({**kept, "gear": np.int64(kept["gear"])})


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_image_alone_can_be_a_dict(encoder: Encoder, adapter: str) -> None:
    """extras="dict" always gives a Dict, extras="flatten" never."""
    for make in (lambda: gym.make(COUNTING), lambda: Spaced(spaces.Dict({"a": IMAGE}))):
        for extras, kind in (("dict", spaces.Dict), ("flatten", spaces.Box)):
            env = make_adapter(adapter, make, encoder, extras=extras)
            assert isinstance(env.observation_space, kind)


@pytest.mark.parametrize("adapter", ["single", "vector"])
def test_a_dict_within_a_dict_is_flattened(encoder: Encoder, adapter: str) -> None:
    """Entries that hold others are flattened as Gymnasium does it."""
    shown = run_adapter(adapter, lambda: gym.make(MIXED, deep=True), encoder).observations
    for moment, observation in zip(moments_of(6), shown[1], strict=True):
        assert observation[4:].tolist() == [moment.step / 32, *extras_of(moment)]


@pytest.mark.parametrize(
    "space",
    [spaces.Sequence(SPEED), spaces.Graph(SPEED, None)],
    ids=lambda space: type(space).__name__,
)
def test_what_cannot_be_flattened_is_refused(trained: Trained, space: gym.Space[Any]) -> None:
    """An entry without a fixed number of numbers is refused, and can be kept."""
    env = mixed(a=IMAGE, b=space)()
    with refused(ObservationError, "'b'", "extras='dict'"):
        LatentObservation(env, trained.path)
    LatentObservation(env, trained.path, extras="dict").reset(seed=0)


@pytest.mark.parametrize("extras", ["keep", None, True])
def test_other_words_are_refused(trained: Trained, extras: Any) -> None:
    """Entries are flattened or kept, and nothing else."""
    with refused(ConfigError, "extras", "drop"):
        LatentObservation(gym.make(COUNTING), trained.path, extras=extras)


@pytest.mark.parametrize("how", ["float", "shape", "none"])
def test_broken_promises_are_told(trained: Trained, how: str) -> None:
    """An environment that shows something else than its space says is an error, never a guess."""
    env = LatentObservation(gym.make(FAULTY, how=how, at=2), trained.path)
    env.reset(seed=1)
    env.step(0)
    with refused(ObservationError):
        env.step(0)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_scale_and_colour_are_the_ones_of_training(
    trained: Trained, encoder: Encoder, adapter: str, runtime: Any
) -> None:
    """A red pixel, black and white give the encoder's latents, at ends too; blue gives others."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[8:24, 8:24, 0] = 255
    images = {"red": red, "blue": red[..., ::-1], "white": red * 0 + 255, "dim": red * 0 + 1}
    used: Any = (
        Path(trained.path) if adapter == "single" else Encoder.load(trained.path, runtime=runtime)
    )
    for image in images.values():
        right = encoder.encode(encoder.spec.apply(image)[None])[0]
        for lane in run_adapter(
            adapter, lambda im=image: gym.make(SHOWING, image=im), used, steps=3
        ).observations:
            for latent in lane:
                np.testing.assert_allclose(latent, right, rtol=0, atol=1e-5)
    codes = encoder.encode(np.stack([encoder.spec.apply(image) for image in images.values()]))
    apart = np.abs(codes[:, None] - codes).max(axis=2) + np.eye(len(codes))
    assert apart.min() > 1e-3
