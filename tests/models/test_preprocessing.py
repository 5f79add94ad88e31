"""FrameConversion: without OpenCV, the bytes that OpenCV gives."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from rl_vae.errors import ObservationError
from rl_vae.frames import FrameSpec
from rl_vae.models.onnx import export_graph
from rl_vae.models.preprocessing import FrameConversion

CASES = [
    ((96, 96, 3), FrameSpec()),  # cells that cut pixels
    ((96, 96, 3), FrameSpec(crop=(0, 12, 0, 0))),
    ((210, 160, 3), FrameSpec(channels=1)),
    ((96, 96, 3), FrameSpec(60, 60)),  # where means end in exactly one half
    ((75, 100), FrameSpec(channels=1)),
    ((64, 100, 3), FrameSpec()),  # one side stays
    ((64, 64, 3), FrameSpec(32, 32)),  # blocks of 2 x 2, whose ties go up
    ((64, 96, 1), FrameSpec(32, 32, channels=1)),  # other blocks, whose ties go to even
    ((128, 64, 3), FrameSpec(32, 64)),
    ((56, 56, 3), FrameSpec()),  # both sides grow
    ((100, 40, 3), FrameSpec(channels=1)),  # one grows, one shrinks
    ((33, 7, 3), FrameSpec(32, 48)),
    ((64, 64, 3), FrameSpec(channels=1)),  # grayscale alone
    ((70, 64, 3), FrameSpec(crop=(2, 4, 0, 0))),  # cropping alone
]


def images(shape: tuple[int, ...], n: int = 6) -> NDArray[np.uint8]:
    """Half of them fine noise, half of few grey levels, where ties are common."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    noise[::2] &= 0b11100000
    noise[0] = 255
    return noise


@pytest.mark.parametrize(("shape", "spec"), CASES, ids=str)
def test_framing_gives_the_bytes_of_the_frame_spec(shape: tuple[int, ...], spec: FrameSpec) -> None:
    """Every pixel is the one that FrameSpec.apply_batch makes with OpenCV."""
    raw = images(shape)
    frames = FrameConversion(spec, shape)(torch.from_numpy(raw)).numpy()
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, spec.apply_batch(raw))


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "spec"), [CASES[i] for i in (1, 3, 6, 10)], ids=str)
def test_a_graph_gives_the_same_bytes(shape: tuple[int, ...], spec: FrameSpec) -> None:
    """ONNX Runtime makes the same pixels, of any number of images."""
    example = torch.zeros(2, *shape, dtype=torch.uint8)
    graph = export_graph(FrameConversion(spec, shape), {"raw": example}, ("frames",))
    session: Any = onnxruntime.InferenceSession(graph)
    raw = images(shape)
    for n in (1, len(raw)):
        assert np.array_equal(session.run(None, {"raw": raw[:n]})[0], spec.apply_batch(raw[:n]))


def test_every_colour_has_its_grey() -> None:
    """Grayscale equals OpenCV's for colours all over the cube."""
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 86, -1, 3)
    spec = FrameSpec(86, 2048, channels=1)
    raw = cube[:, :, :2048]
    assert np.array_equal(
        FrameConversion(spec, raw.shape[1:])(torch.from_numpy(raw)), spec.apply_batch(raw)
    )


def test_observations_that_the_spec_does_not_fit_are_refused() -> None:
    """A crop that leaves nothing of the image is refused as FrameSpec refuses it."""
    with pytest.raises(ObservationError, match="crop"):
        FrameConversion(FrameSpec(crop=(40, 40, 0, 0)), (80, 80, 3))
