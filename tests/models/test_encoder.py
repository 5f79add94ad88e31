"""The encoder: one answer for one frame, whatever computes it and however it comes in."""

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from environments import refused
from numpy.typing import NDArray

from rl_vae import Encoder, FrameDataset
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.models.description import read_model_description
from rl_vae.system import hashing
from rl_vae.training.result import Trained

RUNTIMES: list[Any] = ["onnx", "torch"]


@pytest.fixture(scope="module", params=RUNTIMES)
def either(request: pytest.FixtureRequest, trained: Trained) -> Encoder:
    """The encoder on each runtime."""
    return Encoder.load(trained.path, runtime=request.param)


def noise(n: int, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def test_onnx_and_torch_agree(trained: Trained, frames: NDArray[np.uint8]) -> None:
    """Both runtimes give the same latents within 1e-5, on real frames and on noise."""
    onnx, torch_ = (Encoder.load(trained.path, runtime=name) for name in RUNTIMES)
    for batch in (frames, noise(20, frames.shape[1:]), np.zeros_like(frames[:1])):
        np.testing.assert_allclose(onnx.encode(batch), torch_.encode(batch), rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees(trained: Trained, frames: NDArray[np.uint8]) -> None:
    """A GPU gives the CPU's latents within 1e-3 (its convolutions may use TF32)."""
    gpu = Encoder.load(trained.path, device="cuda")
    assert gpu.runtime == "torch"
    np.testing.assert_allclose(
        gpu.encode(frames), Encoder.load(trained.path).encode(frames), rtol=0, atol=1e-3
    )


def test_latents_are_float32_rows(either: Encoder, frames: NDArray[np.uint8]) -> None:
    """(N, H, W, C) gives (N, Z) float32, also for N = 0 and N = 1, and frames differ."""
    for n in (0, 1, len(frames)):
        mu = either.encode(frames[:n])
        assert mu.shape == (n, either.latent_dim)
        assert mu.dtype == np.float32
    assert (either.encode(frames).std(axis=0) > 1e-3).any()


def test_a_batch_encodes_as_its_frames_one_by_one(
    either: Encoder, frames: NDArray[np.uint8]
) -> None:
    """The latents of a frame do not depend on the frames beside it."""
    one_by_one = np.concatenate([either.encode(frame[None]) for frame in frames])
    np.testing.assert_allclose(either.encode(frames), one_by_one, rtol=1e-5, atol=1e-6)
    backwards = either.encode(frames[::-1])[::-1]
    np.testing.assert_allclose(backwards, one_by_one, rtol=1e-5, atol=1e-6)


def test_large_batches_are_cut_without_a_seam(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """More frames than are encoded at once give the latents that they give by parts."""
    many = np.concatenate([frames] * 14)[:513]
    mu = encoder.encode(many)
    assert mu.shape == (513, encoder.latent_dim)
    right = np.concatenate([encoder.encode(many[i : i + 40]) for i in range(0, 513, 40)])
    np.testing.assert_allclose(mu, right, rtol=1e-5, atol=1e-6)


def test_encoding_twice_gives_the_same_bits(either: Encoder, frames: NDArray[np.uint8]) -> None:
    """An encoder has no memory and draws no random numbers."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = either.encode(frames)
    either.encode(noise(3, frames.shape[1:]))
    torch.manual_seed(1)
    assert np.array_equal(either.encode(frames), first)
    torch.manual_seed(0)
    new_encoder = Encoder.load(either.path, runtime=either.runtime)
    assert np.array_equal(new_encoder.encode(frames), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_in_memory_does_not_matter(either: Encoder, frames: NDArray[np.uint8]) -> None:
    """Frames that are read-only, reversed or laid out otherwise encode as their copies do."""
    locked = frames.copy()
    locked.flags.writeable = False
    layouts = [
        locked,
        np.asfortranarray(frames),
        frames[..., ::-1],
        frames[:, ::-1],
        np.moveaxis(np.ascontiguousarray(np.moveaxis(frames, 3, 1)), 1, 3),
    ]
    for layout in layouts:
        right = either.encode(np.ascontiguousarray(layout))
        np.testing.assert_allclose(either.encode(layout), right, rtol=1e-5, atol=1e-6)


def canaries(shape: tuple[int, int, int]) -> dict[str, NDArray[np.uint8]]:
    """Frames that show whether somebody scales twice, not at all, or swaps colours."""
    dark, bright = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    nearly = np.full(shape, 1, np.uint8)
    red = dark.copy()
    red[16, 24, 0] = 255
    return {
        "dark": dark,
        "nearly dark": nearly,
        "bright": bright,
        "red": red,
        "blue": red[..., ::-1],
    }


def test_scale_and_colour_are_the_ones_of_training(either: Encoder) -> None:
    """Bytes are divided by 255 once, and one red pixel is no blue one."""
    shown = canaries(either.spec.shape)
    got = {name: either.encode(frame[None])[0] for name, frame in shown.items()}
    for name, frame in shown.items():
        x = torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        with torch.no_grad():
            right = either.vae.encode(x).mu[0].numpy()
        np.testing.assert_allclose(got[name], right, rtol=0, atol=1e-5, err_msg=name)
    names = list(shown)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.abs(got[one] - got[other]).max() > 1e-5, (one, other)


def test_observations_are_made_into_frames_first(either: Encoder, dataset: FrameDataset) -> None:
    """Raw observations encode as the frames that the FrameSpec makes of them."""
    raw = noise(6, dataset.header.raw_shape)
    right = either.encode(np.stack([dataset.spec.apply(image) for image in raw]))
    assert np.array_equal(either.encode_observations(raw), right)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 32, 48, 3), np.float32),
        np.zeros((1, 32, 48, 3), np.int16),
        np.zeros((32, 48, 3), np.uint8),
        np.zeros((1, 48, 32, 3), np.uint8),
        np.zeros((1, 32, 48, 1), np.uint8),
        np.zeros((1, 3, 32, 48), np.uint8),
        np.zeros((1, 64, 64, 3), np.uint8),
        [[[[0]]]],
        None,
    ],
    ids=lambda wrong: f"{getattr(wrong, 'dtype', '')}{getattr(wrong, 'shape', wrong)}",
)
def test_other_frames_are_refused(either: Encoder, wrong: Any) -> None:
    """What is no batch of uint8 frames of the encoder's shape is an error that says so."""
    with refused(ObservationError, "(N, 32, 48, 3)", "encode_observations"):
        either.encode(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 3, 64, 64), np.uint8),
        np.zeros((1, 2, 4, 3), np.uint8),
        np.zeros((1, 32, 32, 1), np.uint8),
    ],
    ids=lambda wrong: f"{wrong.dtype}{wrong.shape}",
)
def test_other_observations_are_refused(encoder: Encoder, wrong: Any) -> None:
    """Observations to which the FrameSpec cannot be applied are refused."""
    with refused(ObservationError):
        encoder.encode_observations(wrong)


def test_spaces_of_other_observations_are_refused(encoder: Encoder, dataset: FrameDataset) -> None:
    """The space that the encoder was made for passes, one of another size does not."""
    shape = dataset.header.raw_shape
    encoder.check_space(gym.spaces.Box(0, 255, shape, np.uint8))
    with refused(ObservationError, str(shape), "(64, 64, 3)", "train an encoder"):
        encoder.check_space(gym.spaces.Box(0, 255, (64, 64, 3), np.uint8))


def test_decoding_gives_frames_back(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """Codes (N, Z) give uint8 frames (N, H, W, C), nearer to their own frame than to black."""
    decoded = encoder.decode(encoder.encode(frames))
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    error = np.abs(decoded.astype(int) - frames).mean()
    assert error < np.abs(frames.astype(int)).mean()


@pytest.mark.parametrize("shape", [(4,), (1, 5), (1, 4, 1), ()])
def test_other_codes_are_refused(encoder: Encoder, shape: tuple[int, ...]) -> None:
    """What is no batch of codes of this encoder is not decoded."""
    with refused(ConfigError, "(N, 4)"):
        encoder.decode(np.zeros(shape, np.float32))


def test_pickling_costs_a_path(either: Encoder, frames: NDArray[np.uint8]) -> None:
    """A pickled encoder is below 10 kB, at work or not, and its copy gives the same bits."""
    right = either.encode(frames)
    pickled = pickle.dumps(either)
    assert len(pickled) < 10_000
    copy = pickle.loads(pickled)
    assert (copy.runtime, copy.device, copy.digest) == (
        either.runtime,
        either.device,
        either.digest,
    )
    assert np.array_equal(copy.encode(frames), right)


def test_a_copy_without_its_folder_says_so(model: Path) -> None:
    """A pickled encoder whose folder is gone is an error that names the folder."""
    pickled = pickle.dumps(Encoder.load(model))
    shutil.rmtree(model)
    with refused(FolderError, str(model)):
        pickle.loads(pickled)


def test_the_encoder_is_frozen(trained: Trained) -> None:
    """Its VAE is in evaluation mode and no weight of it asks for a gradient."""
    vae = Encoder.load(trained.path).vae
    assert not vae.training
    assert not any(parameter.requires_grad for parameter in vae.parameters())


def test_an_encoder_tells_what_it_is(encoder: Encoder, dataset: FrameDataset) -> None:
    """Its attributes are those of the model folder, and its repr shows shapes."""
    assert encoder.spec == dataset.spec
    assert encoder.observation_shape == dataset.header.raw_shape
    assert encoder.latent_dim == 4
    assert len(encoder.digest) == 64
    assert encoder.provenance["dataset"] == dataset.digest
    assert "(32, 48, 3) -> 4" in repr(encoder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"runtime": "jax"},
        {"runtime": "onnx", "device": "cuda"},
        {"device": "abacus"},
        {"device": "cpu:x"},
        {"device": None},
        {"device": "meta"},
        {"threads": 0},
        {"threads": -1},
        {"threads": "2"},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(trained: Trained, wrong: dict[str, Any]) -> None:
    """A runtime, device or number of threads that cannot be had is an error before any work."""
    with refused(ConfigError):
        Encoder.load(trained.path, **wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_told_when_loading(trained: Trained) -> None:
    """Without a GPU "cuda" is refused by load, not by the first frame."""
    with refused(ConfigError, "cuda"):
        Encoder.load(trained.path, device="cuda")


def test_loading_needs_no_stable_baselines3(trained: Trained) -> None:
    """Encoding works in a process that never imports Stable-Baselines3."""
    code = (
        "import sys, numpy, rl_vae\n"
        f"encoder = rl_vae.Encoder.load({str(trained.path)!r})\n"
        "encoder.encode(numpy.zeros((1, *encoder.spec.shape), numpy.uint8))\n"
        "sys.exit('stable_baselines3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_lazy_encoder_reads_the_weights_when_it_works(model: Path) -> None:
    """Lazily, config.json alone is read, and it gives all but latents; damage is reported later."""
    eager, lazy = Encoder.load(model), Encoder.load(model, lazy=True)
    shape = lazy.spec.shape
    assert (lazy.digest, lazy.statistics) == (eager.digest, eager.statistics)
    frames = noise(3, shape)
    assert np.array_equal(lazy.encode(frames), eager.encode(frames))
    (model / "encoder.onnx").write_bytes(b"nothing")
    with refused(FolderError, "encoder.onnx"):
        Encoder.load(model, lazy=True).encode(frames)
    shutil.rmtree(model)
    with refused(FolderError, str(model)):
        Encoder.load(model, lazy=True)


def test_another_model_in_the_folder_is_noticed(model: Path) -> None:
    """A model that was replaced between opening and use is refused, not mixed up."""
    lazy = Encoder.load(model, lazy=True)
    config = json.loads((model / "config.json").read_text())
    config["spec"]["crop"] = [0, 0, 0, 0]
    del config["digest"]
    config["digest"] = hashing.digest(config)
    (model / "config.json").write_text(json.dumps(config))
    with refused(FolderError, lazy.digest, "changed"):
        lazy.encode(noise(1, lazy.spec.shape))


def test_no_child_process_touches_the_gpu(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder on a GPU that another process loaded is refused before the GPU is looked at."""

    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("the GPU was touched")

    printed = read_model_description(trained.path)
    gpu = Encoder(printed, device="cuda", runtime="torch", threads=1)
    frames = noise(1, gpu.spec.shape)
    monkeypatch.setattr(torch, "empty", touched)
    monkeypatch.setattr(torch.nn.Module, "to", touched)
    pickled = pickle.dumps(gpu)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: multiprocessing)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for inherited in (gpu, pickle.loads(pickled)):
        with refused(ConfigError, "cuda", "VectorLatentObservation"):
            inherited.encode(frames)
