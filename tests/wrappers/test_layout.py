"""What an encoder takes from an environment, and what it refuses, through every adapter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, FAULTY, Moment, frame_of, refused
from gymnasium import spaces
from toys import ADAPTERS, MIXED, SHOWING, Spaced, adapt, history_of, watch

from rl_vae import Encoder, LatentObservation
from rl_vae.errors import ConfigError, ObservationError, RlVaeError
from rl_vae.training.result import Trained

IMAGE = spaces.Box(0, 255, (32, 32, 3), np.uint8)
SPEED = spaces.Box(-1, 1, (2,), np.float32)


def box(*shape: int, dtype: Any = np.uint8, high: float = 255) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: Spaced(spaces.Box(0, high, shape, dtype))


def mixed(**entries: gym.Space[Any]) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: Spaced(spaces.Dict({**entries, "speed": SPEED}))


def wrapped(wrapper: Any, *arguments: Any) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: wrapper(gym.make(COUNTING), *arguments)


WRAPPERS = gym.wrappers
MISMATCHES: dict[str, tuple[Callable[[], gym.Env[Any, Any]], dict[str, Any], str, str]] = {
    # what is opened, options, what came, what the remedy speaks of
    "larger": (box(64, 64, 3), {}, "(64, 64, 3)", "train an encoder"),
    "frames for raw": (box(32, 48, 3), {}, "(32, 48, 3)", "raw observations"),
    "gray": (box(32, 32), {}, "(32, 32)", "RGB"),
    "one channel": (box(32, 32, 1), {}, "(32, 32, 1)", "RGB"),
    "rgba": (box(32, 32, 4), {}, "(32, 32, 4)", "RGB"),
    "channels first": (box(3, 32, 32), {}, "(3, 32, 32)", "transpose"),
    "channels stacked": (box(32, 32, 12), {}, "(32, 32, 12)", "stack="),
    "frames stacked": (box(4, 32, 32, 3), {}, "(4, 32, 32, 3)", "stack="),
    "float32": (box(32, 32, 3, dtype=np.float32, high=1), {}, "float32", "scal"),
    "float64": (box(32, 32, 3, dtype=np.float64, high=1), {}, "float64", "scal"),
    "int16": (box(32, 32, 3, dtype=np.int16), {}, "int16", "bytes"),
    "state": (lambda: Spaced(SPEED), {}, "float32", "resizes"),
    "number": (lambda: Spaced(spaces.Discrete(3)), {}, "Discrete(3)", "make_env"),
    "Dict without image": (mixed(), {}, "speed", "AddRenderObservation"),
    "Dict of floats": (
        mixed(a=spaces.Box(0, 1, (64, 64, 3), np.float32)),
        {},
        "float32",
        "AddRenderObservation",
    ),
    "Dict of another size": (
        mixed(a=spaces.Box(0, 255, (64, 64, 3), np.uint8)),
        {},
        "'a' of a Dict",
        "train an encoder",
    ),
    "Dict of two images": (mixed(a=IMAGE, b=IMAGE), {}, "no image_key", "image_key='a'"),
    "Dict without that key": (
        mixed(a=IMAGE, b=IMAGE),
        {"image_key": "c"},
        "image_key='c'",
        "image_key='a'",
    ),
    "key of no image": (mixed(a=IMAGE), {"image_key": "speed"}, "'speed' of a Dict", "resizes"),
    "key without Dict": (lambda: Spaced(IMAGE), {"image_key": "a"}, "Box", "leave image_key out"),
    "second image flattened": (
        mixed(a=IMAGE, b=IMAGE),
        {"image_key": "a"},
        "a second image",
        "extras='dict'",
    ),
    "latent taken": (
        mixed(a=IMAGE, latent=SPEED),
        {"extras": "dict"},
        "latent",
        "extras='flatten'",
    ),
    "grayscaled": (wrapped(WRAPPERS.GrayscaleObservation), {}, "(32, 32)", "RGB"),
    "resized": (wrapped(WRAPPERS.ResizeObservation, (48, 48)), {}, "(48, 48, 3)", "resizes"),
    "framestacked": (wrapped(WRAPPERS.FrameStackObservation, 4), {}, "(4, 32", "stack="),
    "normalised": (wrapped(WRAPPERS.NormalizeObservation), {}, "float32", "scal"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", MISMATCHES)
def test_other_environments_are_refused(
    trained: Trained, encoder: Encoder, adapter: str, name: str
) -> None:
    """What an encoder was not made for is refused before the first step: expected, got, remedy."""
    make, options, got, remedy = MISMATCHES[name]
    with refused(RlVaeError, got, remedy) as caught:
        adapt(adapter, make, trained.path if adapter == "single" else encoder, **options)
    assert isinstance(caught.value, ObservationError | ConfigError)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_only_image_of_a_dict_is_taken(encoder: Encoder, adapter: str) -> None:
    """A Dict with one image needs no key; one with two needs it, and it decides."""
    alone = watch(adapter, lambda: gym.make(MIXED), encoder)
    first, second = (
        watch(
            adapter,
            lambda: gym.make(MIXED, cameras=2),
            encoder,
            image_key=f"camera_{i}",
            extras="dict",
        )
        for i in range(2)
    )
    for moment, a, b, c in zip(
        history_of(5), alone.shown[0], first.shown[0], second.shown[0], strict=True
    ):
        right, mirrored = encoder.encode_observations(
            np.stack([frame_of(moment), frame_of(moment)[::-1]])
        )
        np.testing.assert_allclose(a[:4], right, rtol=0, atol=1e-6)
        np.testing.assert_allclose(b["latent"], right, rtol=0, atol=1e-6)
        np.testing.assert_allclose(c["latent"], mirrored, rtol=0, atol=1e-6)
        assert np.abs(right - mirrored).max() > 1e-3


def numbers(moment: Moment) -> list[float]:
    """What Mixed shows beside its picture, flattened: gear (one-hot), lamps, speed."""
    one_hot = [float(moment.step % 3 == i) for i in range(3)]
    return [*one_hot, moment.step % 2, 1, moment.step / 16, -moment.step / 16]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_other_entries_follow_flattened(encoder: Encoder, adapter: str) -> None:
    """After latents and actions come a Dict's other entries, keys sorted, of this step, in bounds,
    ends of episodes included."""
    shown = watch(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1).shown
    space = adapt(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1)
    space = getattr(space, "single_observation_space", space.observation_space)
    for lane in range(2):
        for moment, observation in zip(history_of(5 + lane), shown[lane], strict=True):
            assert observation.shape == (2 * 4 + 4 + 7,) == space.shape
            assert observation[12:].tolist() == numbers(moment)
            assert space.contains(observation)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_other_entries_are_kept(encoder: Encoder, adapter: str) -> None:
    """With extras="dict" they stay what they were, beside "latent", ends of episodes included."""
    options: dict[str, Any] = {"stack": 2, "actions": 1, "extras": "dict"}
    shown = watch(adapter, lambda: gym.make(MIXED), encoder, **options).shown
    flat = watch(adapter, lambda: gym.make(MIXED), encoder, stack=2, actions=1).shown
    space = adapt(adapter, lambda: gym.make(MIXED), encoder, **options)
    space = getattr(space, "single_observation_space", space.observation_space)
    assert list(space) == ["gear", "lamps", "latent", "speed"]
    for lane in range(2):
        for moment, kept, flattened in zip(
            history_of(5 + lane), shown[lane], flat[lane], strict=True
        ):
            assert kept["gear"] == moment.step % 3
            assert kept["lamps"].tolist() == numbers(moment)[3:5]
            assert kept["speed"].tolist() == numbers(moment)[5:]
            assert np.array_equal(kept["latent"], flattened[:12])
            assert space.contains({**kept, "gear": np.int64(kept["gear"])})


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_image_alone_can_be_a_dict(encoder: Encoder, adapter: str) -> None:
    """extras="dict" always gives a Dict, extras="flatten" never."""
    for make in (lambda: gym.make(COUNTING), lambda: Spaced(spaces.Dict({"a": IMAGE}))):
        for extras, kind in (("dict", spaces.Dict), ("flatten", spaces.Box)):
            env = adapt(adapter, make, encoder, extras=extras)
            assert isinstance(env.observation_space, kind)


@pytest.mark.parametrize("adapter", ["single", "vector"])
def test_a_dict_within_a_dict_is_flattened(encoder: Encoder, adapter: str) -> None:
    """Entries that hold others are flattened as Gymnasium does it."""
    shown = watch(adapter, lambda: gym.make(MIXED, deep=True), encoder).shown
    for moment, observation in zip(history_of(6), shown[1], strict=True):
        assert observation[4:].tolist() == [moment.step / 32, *numbers(moment)]


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
        for lane in watch(
            adapter, lambda im=image: gym.make(SHOWING, image=im), used, steps=3
        ).shown:
            for latent in lane:
                np.testing.assert_allclose(latent, right, rtol=0, atol=1e-5)
    codes = encoder.encode(np.stack([encoder.spec.apply(image) for image in images.values()]))
    apart = np.abs(codes[:, None] - codes).max(axis=2) + np.eye(len(codes))
    assert apart.min() > 1e-3
