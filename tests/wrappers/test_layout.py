"""ObservationLayout: images and extras of observations, and refusals, through every adapter."""

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
    """Observations that the encoder was not made for are refused before the first step."""
    mismatch = MISMATCHES[name]
    path_or_encoder: Any = trained.path if adapter == "single" else encoder
    with refused(RlVaeError, mismatch.got, mismatch.remedy) as caught:
        make_adapter(adapter, mismatch.make, path_or_encoder, **mismatch.options)
    assert isinstance(caught.value, ObservationError | ConfigError)
    assert mismatch.remedy in str(caught.value.remedy)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_only_image_of_a_dict_is_taken(encoder: Encoder, adapter: str) -> None:
    """The image of a Dict needs a key only if the Dict has several images."""
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
        expected, mirrored = encoder.encode_observations(
            np.stack([frame_of(moment), frame_of(moment)[::-1]])
        )
        np.testing.assert_allclose(a[:4], expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(b["latent"], expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(c["latent"], mirrored, rtol=0, atol=1e-6)
        assert np.abs(expected - mirrored).max() > 1e-3


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_flattened_extras_follow(encoder: Encoder, adapter: str) -> None:
    """With extras="flatten" the other entries of a Dict, in the order of their keys, follow latents
    and past actions, at the ends of episodes as well."""
    observations = run_adapter(
        adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1
    ).observations
    space = make_adapter(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1)
    space = getattr(space, "single_observation_space", space.observation_space)
    for env in range(2):
        for moment, observation in zip(moments_of(5 + env), observations[env], strict=True):
            assert observation.shape == (2 * 4 + 4 + 7,) == space.shape
            assert observation[12:].tolist() == extras_of(moment)
            assert space.contains(observation)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_extras_are_kept(encoder: Encoder, adapter: str) -> None:
    """With extras="dict" the other entries do not change, and the vector stands under "latent"."""
    options: dict[str, Any] = {"stack": 2, "actions": 1, "extras": "dict"}
    observations = run_adapter(adapter, lambda: gym.make(MIXED), encoder, **options).observations
    flat = run_adapter(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1).observations
    space = make_adapter(adapter, lambda: gym.make(MIXED), encoder, **options)
    space = getattr(space, "single_observation_space", space.observation_space)
    assert list(space) == ["gear", "lamps", "latent", "speed"]
    for env in range(2):
        for moment, kept, flattened in zip(
            moments_of(5 + env), observations[env], flat[env], strict=True
        ):
            assert kept["gear"] == moment.step % 3
            assert kept["lamps"].tolist() == extras_of(moment)[3:5]
            assert kept["speed"].tolist() == extras_of(moment)[5:]
            assert np.array_equal(kept["latent"], flattened[:12])
            assert space.contains({**kept, "gear": np.int64(kept["gear"])})


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_image_alone_can_be_a_dict(encoder: Encoder, adapter: str) -> None:
    """extras="dict" always gives a Dict, extras="flatten" always a Box."""
    for make in (lambda: gym.make(COUNTING), lambda: Spaced(spaces.Dict({"a": IMAGE}))):
        for extras, kind in (("dict", spaces.Dict), ("flatten", spaces.Box)):
            env = make_adapter(adapter, make, encoder, extras=extras)
            assert isinstance(env.observation_space, kind)


@pytest.mark.parametrize("adapter", ["single", "vector"])
def test_a_dict_within_a_dict_is_flattened(encoder: Encoder, adapter: str) -> None:
    """A nested Dict is flattened as Gymnasium does it."""
    observations = run_adapter(adapter, lambda: gym.make(MIXED, deep=True), encoder).observations
    for moment, observation in zip(moments_of(6), observations[1], strict=True):
        assert observation[4:].tolist() == [moment.step / 32, *extras_of(moment)]


@pytest.mark.parametrize(
    "space",
    [spaces.Sequence(SPEED), spaces.Graph(SPEED, None)],
    ids=lambda space: type(space).__name__,
)
def test_extras_that_cannot_be_flattened_are_refused(
    trained: Trained, space: gym.Space[Any]
) -> None:
    """An entry of varying size is an error with "flatten", and none with "dict" or "drop"."""
    env = mixed(a=IMAGE, b=space)()
    with refused(ObservationError, "'b'", "extras='dict'"):
        LatentObservation(env, trained.path)
    for extras in ("dict", "drop"):
        LatentObservation(env, trained.path, extras=extras).reset(seed=0)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_extras_are_dropped(encoder: Encoder, adapter: str) -> None:
    """With extras="drop" an observation holds latents and past actions only."""
    options: dict[str, Any] = {"stack": 2, "actions": 1}
    make = lambda: gym.make(MIXED)  # noqa: E731
    dropped = run_adapter(adapter, make, encoder, extras="drop", **options).observations
    flat = run_adapter(adapter, make, encoder, **options).observations
    for env in range(2):
        assert np.array_equal(np.stack(dropped[env]), np.stack(flat[env])[:, :12])


@pytest.mark.parametrize("how", ["float", "shape", "none"])
def test_observations_outside_their_space_are_refused(trained: Trained, how: str) -> None:
    """An image of another type or shape than the observation space is an ObservationError."""
    env = LatentObservation(gym.make(FAULTY, how=how, at=2), trained.path)
    env.reset(seed=1)
    env.step(0)
    with refused(ObservationError):
        env.step(0)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_scale_and_colours_are_those_of_training(
    trained: Trained, encoder: Encoder, adapter: str, runtime: Any
) -> None:
    """Images of one colour give the encoder's latents, at ends too; other colours give others."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[8:24, 8:24, 0] = 255
    images = {"red": red, "blue": red[..., ::-1], "white": red * 0 + 255, "dim": red * 0 + 1}
    used: Any = (
        Path(trained.path) if adapter == "single" else Encoder.load(trained.path, runtime=runtime)
    )
    for image in images.values():
        expected = encoder.encode(encoder.spec.apply(image)[None])[0]
        for run in run_adapter(
            adapter, lambda im=image: gym.make(SHOWING, image=im), used, steps=3
        ).observations:
            for latent in run:
                np.testing.assert_allclose(latent, expected, rtol=0, atol=1e-5)
    codes = encoder.encode(np.stack([encoder.spec.apply(image) for image in images.values()]))
    apart = np.abs(codes[:, None] - codes).max(axis=2) + np.eye(len(codes))
    assert apart.min() > 1e-3
