"""FrameSpec: exact pixels, and an exact word where there can be none."""

import dataclasses
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import refused

from rl_vae.errors import ConfigError, ObservationError
from rl_vae.frames import MAX_SIZE, MIN_SIZE, FrameSpec

RNG = np.random.default_rng(0)


def image(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_crop_cuts_exactly_its_edges() -> None:
    """The frame of a crop without resizing is that very part of the image, edge by edge."""
    raw = image(41, 47, 3)
    spec = FrameSpec(height=32, width=32, crop=(2, 7, 5, 10))
    assert np.array_equal(spec.apply(raw), raw[2:34, 5:37])
    for edge, part in enumerate((raw[9:], raw[:32], raw[:, 15:], raw[:, :32])):
        amount = 9 if edge < 2 else 15
        crop = tuple(amount * (which == edge) for which in range(4))
        height, width = part.shape[:2]
        assert np.array_equal(FrameSpec(height, width, crop=crop).apply(raw), part)


def test_area_resize_of_a_known_image() -> None:
    """A frame's pixel is the mean of the raw pixels that it covers."""
    raw = image(96, 128, 3)
    means = raw.reshape(32, 3, 32, 4, 3).mean(axis=(1, 3))
    frame = FrameSpec(32, 32).apply(raw).astype(float)
    assert np.abs(frame - means).max() <= 0.5 + 1e-6

    # 1.5 raw pixels to each pixel: a whole one and half of the next, exactly.
    raw = np.zeros((48, 48, 3), np.uint8)
    raw[:, 1] = 90
    frame = FrameSpec(32, 32).apply(raw)
    assert np.array_equal(frame[0, :3, 0], [30, 30, 0])
    assert (frame == frame[:1, :, :1]).all()


def test_enlarging_keeps_every_pixel_in_its_place() -> None:
    """An image enlarged by a whole factor shows each raw pixel as a block of its colour."""
    raw = image(32, 32, 3)
    assert np.array_equal(FrameSpec(64, 96).apply(raw), raw.repeat(2, axis=0).repeat(3, axis=1))


def test_height_comes_before_width() -> None:
    """FrameSpec(height, width) gives frames of shape (height, width, channels)."""
    spec = FrameSpec(height=40, width=72)
    assert spec.shape == (40, 72, 3) == spec.apply(image(96, 96, 3)).shape


def test_grayscale_weighs_colours_as_eyes_do() -> None:
    """Grayscale is 0.299 R + 0.587 G + 0.114 B, rounded, in one channel."""
    raw = image(32, 32, 3)
    frame = FrameSpec(32, 32, channels=1).apply(raw)
    assert frame.shape == (32, 32, 1)
    assert np.abs(frame[..., 0] - raw @ [0.299, 0.587, 0.114]).max() <= 0.51


@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 1)])
def test_grayscale_observations_come_with_or_without_a_channel(shape: tuple[int, ...]) -> None:
    """A grayscale observation gives the same frame whether it has a channel dimension or none."""
    raw = image(*shape)
    spec = FrameSpec(channels=1)
    assert np.array_equal(spec.apply(raw), spec.apply(raw.reshape(40, 48)))
    assert np.array_equal(spec.apply_batch(raw[None])[0], spec.apply(raw))
    assert np.array_equal(FrameSpec(40, 48, channels=1).apply(raw)[..., 0], raw.reshape(40, 48))


@pytest.mark.parametrize("raw", [(84, 96), (400, 60), (210, 160), (128, 128), (100, 75), (61, 97)])
@pytest.mark.parametrize("size", [(64, 64), (32, 48), (60, 84)])
def test_a_large_batch_equals_its_images(raw: tuple[int, int], size: tuple[int, int]) -> None:
    """A batch larger than is resized at once gives the frames of its images, at any ratio."""
    spec = FrameSpec(height=size[0], width=size[1], crop=(1, 0, 0, 3))
    n_images = 70 // (1 + raw[0] // 200)
    noise = image(n_images, raw[0] + 1, raw[1] + 3, 3)
    for batch in (noise, np.where(noise > 127, np.uint8(255), np.uint8(0))):
        right = np.stack([spec.apply(one) for one in batch])
        assert np.array_equal(spec.apply_batch(batch), right)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (FrameSpec(), (96, 96, 3)),
        (FrameSpec(84, 84, channels=1, crop=(3, 12, 0, 1)), (96, 96, 3)),
        (FrameSpec(), (400, 600, 3)),
        (FrameSpec(32, 32), (32, 32, 3)),
        (FrameSpec(64, 48, channels=1), (210, 160)),
    ],
)
def test_a_batch_equals_its_images_one_by_one(spec: FrameSpec, shape: tuple[int, ...]) -> None:
    """A batch gives the frames that its images give one by one, however they lie in memory."""
    batch = image(5, *shape)
    frames = spec.apply_batch(batch)
    assert frames.dtype == np.uint8 and frames.shape == (5, *spec.shape)
    for raw, frame in zip(batch, frames, strict=True):
        assert np.array_equal(spec.apply(raw), frame)
        turned = np.ascontiguousarray(raw.swapaxes(0, 1)).swapaxes(0, 1)
        assert not turned.flags.c_contiguous
        assert np.array_equal(spec.apply(turned), frame)
        assert np.array_equal(spec.apply(np.ascontiguousarray(raw[::-1])[::-1]), frame)
    assert spec.apply_batch(batch[:0]).shape == (0, *spec.shape)


def test_applying_leaves_the_observation_alone() -> None:
    """Applying a spec changes no byte of the observation."""
    raw = image(96, 96, 3)
    before = raw.copy()
    FrameSpec(channels=1).apply(raw)
    FrameSpec(crop=(0, 12, 0, 0)).apply_batch(raw[None])
    assert np.array_equal(raw, before)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_red_stays_red_and_full_stays_full(size: int) -> None:
    """A red image stays in channel 0 with 255 at 255: no swapped colours, no scaling."""
    raw = np.zeros((96, 96, 3), np.uint8)
    raw[..., 0] = 255
    frame = FrameSpec(size, size).apply(raw)
    assert (frame[..., 0] == 255).all() and not frame[..., 1:].any()
    assert (FrameSpec(size, size, channels=1).apply(raw) == 76).all()
    raw[:] = 0
    raw[48, 48] = (255, 0, 0)
    frame = FrameSpec(size, size).apply(raw)
    assert frame[..., 0].any() and not frame[..., 1:].any()


def test_a_spec_survives_json_and_pickle() -> None:
    """A spec that was written down is the same spec when it is read."""
    spec = FrameSpec(40, 56, channels=1, crop=(1, 2, 3, 4))
    assert FrameSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(FrameSpec(crop=[0, 1, 2, 3])) == hash(FrameSpec(crop=(0, 1, 2, 3)))  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.height = 64  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(name, value) for name in ("height", "width") for value in (27, 0, -64, MAX_SIZE + 1)],
        *[(name, value) for name in ("height", "width") for value in (64.0, True, None, "64")],
        *[("channels", value) for value in (0, 2, 4, -3, 3.0, True, None, "3")],
        *[("crop", value) for value in ((0, 0, 0), (0,) * 5, (0, -1, 0, 0), (0, 1.5, 0, 0))],
        *[("crop", value) for value in (5, None, "0000", (True, 0, 0, 0), {0, 1, 2, 3})],
    ],
)
def test_a_setting_out_of_range_is_refused(field: str, value: Any) -> None:
    """A FrameSpec out of range is refused with its field, what was expected and what came."""
    with refused(ConfigError, f"FrameSpec.{field}", repr(value)):
        FrameSpec(**{field: value})
    with refused(ConfigError, f"FrameSpec.{field}"):
        FrameSpec.from_dict({**FrameSpec().to_dict(), field: value})


@pytest.mark.parametrize("size", [MIN_SIZE, MAX_SIZE])
def test_the_limits_themselves_are_allowed(size: int) -> None:
    """The smallest and the largest size are in range."""
    assert FrameSpec(size, size).shape == (size, size, 3)


@pytest.mark.parametrize(
    "values", [{}, {"height": 64}, {**FrameSpec().to_dict(), "depth": 3}, [], None, "FrameSpec"]
)
def test_only_a_written_spec_is_read(values: Any) -> None:
    """What is not exactly the fields of a FrameSpec is refused."""
    with refused(ConfigError, "fields"):
        FrameSpec.from_dict(values)


@pytest.mark.parametrize(
    ("spec", "raw", "words"),
    [
        (FrameSpec(), image(96, 96, 3).astype(np.float32) / 255, ("float32", "scaling")),
        (FrameSpec(), image(96, 96, 3).astype(np.int16), ("int16",)),
        (FrameSpec(), np.ones((96, 96, 3), np.bool_), ("bool",)),
        (FrameSpec(), image(3, 96, 96), ("(3, 96, 96)", "transpose")),
        (FrameSpec(), image(96, 96, 4), ("(96, 96, 4)", "stacking")),
        (FrameSpec(), image(96, 96, 12), ("(96, 96, 12)", "stacking")),
        (FrameSpec(), image(4, 96, 96, 3), ("(4, 96, 96, 3)", "apply_batch")),
        (FrameSpec(), image(96), ("(96,)",)),
        (FrameSpec(), image(96, 96), ("(96, 96", "channels=1")),
        (FrameSpec(), image(96, 96, 1), ("(96, 96, 1)", "channels=1")),
        (FrameSpec(crop=(48, 48, 0, 0)), image(96, 96, 3), ("below 96", "(48, 48, 0, 0)")),
        (FrameSpec(crop=(0, 0, 0, 128)), image(96, 128, 3), ("below 128", "(0, 0, 0, 128)")),
        (FrameSpec(), image(0, 96, 3), ("(0, 96, 3)",)),
    ],
)
def test_another_image_is_refused(spec: FrameSpec, raw: np.ndarray, words: tuple[str, ...]) -> None:
    """An image of another kind is refused, alone, in a batch and as a space, never guessed."""
    with refused(ObservationError, *words):
        spec.apply(raw)
    with refused(ObservationError, *words):
        spec.apply_batch(np.stack([raw, raw]))
    if raw.size:
        with refused(ObservationError, *words):
            spec.check_space(gym.spaces.Box(0, 1, raw.shape, raw.dtype))  # type: ignore[arg-type]


@pytest.mark.parametrize("what", [[[1, 2]], None, 5, b"bytes"])
def test_what_is_no_array_is_refused(what: Any) -> None:
    """Anything but a numpy array is refused by the name of its type."""
    for apply in (FrameSpec().apply, FrameSpec().apply_batch):
        with refused(ObservationError, type(what).__name__):
            apply(what)


def test_a_crop_may_leave_a_single_pixel() -> None:
    """The largest crop that leaves something is allowed."""
    raw = image(96, 96, 3)
    frame = FrameSpec(crop=(95, 0, 0, 95)).apply(raw)
    assert (frame == raw[95, 0]).all()


def test_a_space_gives_its_raw_shape() -> None:
    """A space that fits gives height, width and channels; what is no Box of images is refused."""
    spec = FrameSpec(channels=1)
    assert spec.check_space(gym.spaces.Box(0, 255, (96, 80, 3), np.uint8)) == (96, 80, 3)
    assert spec.check_space(gym.spaces.Box(0, 255, (96, 80), np.uint8)) == (96, 80, 1)
    camera = gym.spaces.Box(0, 255, (96, 80, 3), np.uint8)
    for space in (gym.spaces.Dict({"camera": camera}), gym.spaces.Discrete(3)):
        with refused(ObservationError, "image_key"):
            spec.check_space(space)


@pytest.mark.parametrize("channels", [1, 3])
def test_memory_order_does_not_matter(channels: int) -> None:
    """An image that lies transposed in memory, as pygame's do, gives the same frame."""
    rng = np.random.default_rng(0)
    transposed = rng.integers(0, 256, (90, 70, channels), np.uint8).swapaxes(0, 1)
    for spec in (FrameSpec(33, 40, channels, (3, 4, 5, 6)), FrameSpec(70, 90, channels)):
        assert not transposed.flags.c_contiguous
        expected = spec.apply(np.ascontiguousarray(transposed))
        np.testing.assert_array_equal(spec.apply(transposed), expected)
