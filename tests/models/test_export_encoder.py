"""Encoders as one ONNX file: raw images in, codes out; lower precisions; times."""

import json
from pathlib import Path

import little_models
import numpy as np
import pytest

from rl_vae import Encoder, FrameDataset, FrameSpec, export_encoder
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.models.runtime import open_session


def codes(path: Path, images: np.ndarray) -> np.ndarray:
    """Mu of raw images, by the exported file."""
    return open_session(path.read_bytes(), 1).run(["mu"], {"observation": images})[0]


def test_raw_images_give_the_codes_of_the_encoder(tmp_path: Path, encoder: Encoder) -> None:
    """Crop, resize and gray are in the graph: mu equals `encode_observations` within 1e-5."""
    path, error = export_encoder(encoder.path, tmp_path / "new" / "encoder.onnx")
    assert error is None
    images = np.random.default_rng(0).integers(0, 256, (3, *encoder.observation_shape), np.uint8)
    expected = encoder.encode_observations(images)
    assert np.abs(codes(path, images) - expected).max() < 1e-5
    assert np.abs(codes(path, images[:1]) - expected[:1]).max() < 1e-5


def test_the_file_describes_itself(tmp_path: Path, encoder: Encoder) -> None:
    """FrameSpec, source of the pixels, digest and precision are in the metadata."""
    path, _ = export_encoder(encoder.path, tmp_path / "encoder.onnx")
    facts = open_session(path.read_bytes(), 1).get_modelmeta().custom_metadata_map
    assert FrameSpec.from_dict(json.loads(facts["spec"])) == encoder.spec
    assert (facts["encoder"], facts["precision"]) == (encoder.digest, "float32")
    assert json.loads(facts["inputs"]) == {"observation": []}
    assert facts["pixels"] == encoder.pixels.pixels
    assert facts["conversion"] == encoder.pixels.describe()


@pytest.mark.parametrize(("precision", "smaller"), [("float16", 0.6), ("int8", 0.4)])
def test_lower_precisions_tell_their_error(precision: str, smaller: float, tmp_path: Path) -> None:
    """The file is smaller, and its error on frames is what its metadata say."""
    model, dataset = little_models.model(), FrameDataset.open(little_models.dataset())
    exact, _ = export_encoder(model, tmp_path / "exact.onnx")
    path, error = export_encoder(  # type: ignore[call-overload]
        model, tmp_path / "lower.onnx", precision=precision, dataset=dataset
    )
    assert path.stat().st_size < smaller * exact.stat().st_size
    frames = dataset.frames(np.arange(1, len(dataset), 2))  # the file takes raw images of this size
    right, got = codes(exact, frames), codes(path, frames)
    assert 0 < np.abs(right - got).max() < 0.05 * right.std(0).max()
    assert error.largest == pytest.approx(np.abs(right - got).max(), rel=0.2)
    assert error.relative < 0.02
    facts = open_session(path.read_bytes(), 1).get_modelmeta().custom_metadata_map
    assert json.loads(facts["error"])["relative"] == pytest.approx(error.relative)
    assert min(error.microseconds, error.float32_microseconds) > 0


def test_what_cannot_be_exported(tmp_path: Path, encoder: Encoder, dataset: FrameDataset) -> None:
    """A lower precision without frames, other frames, and a file of something else are refused."""
    with pytest.raises(ConfigError, match="needs frames"):
        export_encoder(encoder.path, tmp_path / "a.onnx", precision="int8")
    with pytest.raises(ObservationError, match="do not fit the model"):
        export_encoder(
            little_models.model(), tmp_path / "a.onnx", precision="int8", dataset=dataset
        )
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        export_encoder(encoder.path, tmp_path / "a.bin")
    (tmp_path / "a.onnx").write_bytes(b"mine")
    with pytest.raises(FolderError, match="something else"):
        export_encoder(encoder.path, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
