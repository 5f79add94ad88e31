"""Encoder: a trained model in use, with ONNX Runtime on the CPU or with torch on a GPU.

Shape letters: N images, h w raw size, H W C frame, Z latents.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_value
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import UInt8Array
from rl_vae.models.described_model import DescribedModel
from rl_vae.models.description import ModelDescription, read_model_description
from rl_vae.models.device import check_device
from rl_vae.models.folder import ModelFolder, read_model
from rl_vae.models.frame_model import FrameModel
from rl_vae.models.networks import find_network
from rl_vae.models.onnx_vae import OnnxVAE
from rl_vae.models.runtime import OnnxRuntime, decoder_ports, encoder_ports
from rl_vae.models.vae import VAE, learned_sigma

Runtime = Literal["auto", "onnx", "torch"]

MAX_BATCH = 256
"""Largest number of frames that are encoded in one call; it bounds the memory."""

ONE_THREAD_BELOW = 6
"""Smaller batches are encoded with one thread: waking a second thread takes longer than it saves.
Microseconds of the default network on two cores, with one thread and with two: 1 frame 95 and 108,
4 frames 283 and 294, 6 frames 421 and 324, 16 frames 1,112 and 719."""


class Gaussians(NamedTuple):
    """Posteriors of frames, each (N, Z) float32."""

    mu: NDArray[np.float32]
    """Means."""
    logvar: NDArray[np.float32]
    """Natural logarithms of the variances."""


class Encoder(DescribedModel):
    """Encodes frames to mean latents. It never changes and draws no random numbers.

    Make one with `Encoder.load(path)`. A pickled encoder holds only the path: the copy reads the
    folder again at its first use. A process that inherits an encoder by fork opens its own session.
    An encoder on a GPU works only in the process that loaded it.
    """

    def __init__(
        self, description: ModelDescription, *, device: str, runtime: Runtime, threads: int
    ) -> None:
        super().__init__(description)
        self._arguments = {"device": device, "runtime": runtime, "threads": threads}
        self._threads = threads
        self.device = device
        self.runtime = runtime
        self._process = os.getpid()
        self._folder: ModelFolder | None = None
        self._vae: FrameModel | None = None
        self._graph = OnnxRuntime(
            self.path / "encoder.onnx",
            lambda: self._read().encoder_onnx,
            encoder_ports(self.spec.shape, self.latent_dim),
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "cpu",
        runtime: Runtime = "auto",
        threads: int | None = None,
        lazy: bool = False,
    ) -> Encoder:
        """Read a model folder and check every byte.

        Args:
            path: Folder that `train_vae` wrote.
            device: "cpu", or a torch device such as "cuda".
            runtime: "auto" uses ONNX Runtime on the CPU and torch elsewhere.
            threads: Number of threads of ONNX Runtime; None: torch's number. They never spin.
            lazy: Whether only config.json is read now, and the rest at the first use.

        Raises:
            FolderError: if the folder is missing, damaged or of another kind.
            ConfigError: if device, runtime or threads are impossible, or the network is a user's
                and the runtime is torch.
        """
        check_value("runtime", runtime, Runtime, "auto")
        check_value("threads", threads, Annotated[int, Range(low=1)] | None)
        check_device(device)
        if runtime == "auto":
            runtime = "onnx" if device == "cpu" else "torch"
        if runtime == "onnx" and device != "cpu":
            raise ConfigError(
                "ONNX Runtime encodes on the CPU only.",
                expected="device='cpu', or another runtime",
                got=f"runtime={runtime!r}, device={device!r}",
                remedy="choose runtime='auto'",
            )
        encoder = cls(
            read_model_description(path),
            device=device,
            runtime=runtime,
            threads=threads or torch.get_num_threads(),
        )
        if runtime == "torch":
            encoder.check_built_in()
        if not lazy:
            encoder._read()
            if runtime == "onnx":
                encoder._graph.open(encoder._threads)
        return encoder

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (str(self.path), self._arguments, self._process))

    def __repr__(self) -> str:
        shape = self.spec.shape
        return f"Encoder({str(self.path)!r}, {shape} -> {self.latent_dim}, {self.runtime})"

    @property
    def vae(self) -> FrameModel:
        """The whole VAE, frozen: torch modules, or ONNX graphs if the network is a user's."""
        if self._vae is None:
            own = self.vae_config.has_own_network
            self._vae = self._onnx_vae() if own else self._read().build().to(self.device)
        return self._vae

    @property
    def torch_vae(self) -> VAE:
        """The whole VAE as a frozen torch module.

        Raises:
            ConfigError: if the network is a user's: the folder holds no code.
        """
        self.check_built_in()
        assert isinstance(self.vae, VAE)
        return self.vae

    def encode(self, frames: UInt8Array) -> NDArray[np.float32]:
        """Mean latents of frames of the FrameSpec: (N, H, W, C) uint8 -> (N, Z).

        Raises:
            ObservationError: if the frames have another shape or type.
        """
        return self._encode(frames, ("mu",))[0]

    def encode_posterior(self, frames: UInt8Array) -> Gaussians:
        """Means and log-variances of frames of the FrameSpec: (N, H, W, C) uint8 -> (N, Z) each.

        Raises:
            ObservationError: if the frames have another shape or type.
        """
        return Gaussians(*self._encode(frames, ("mu", "logvar")))

    def encode_observations(self, observations: UInt8Array) -> NDArray[np.float32]:
        """Mean latents of raw observations: (N, h, w, c) uint8 -> (N, Z).

        Raises:
            ObservationError: if the FrameSpec does not fit the observations.
        """
        return self.encode(self.spec.apply_batch(observations))

    def decode(self, mu: NDArray[np.float32]) -> UInt8Array:
        """Decode latents: (N, Z) -> (N, H, W, C) uint8.

        Raises:
            ConfigError: if the latents have another shape.
        """
        codes = np.asarray(mu, np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim:
            raise ConfigError(
                "The latents do not fit this encoder.",
                expected=f"shape (N, {self.latent_dim})",
                got=f"shape {codes.shape}",
                remedy="decode latents of this encoder's encode, without stack or actions",
            )
        return self.vae.decode_frames(torch.from_numpy(codes))

    def reconstruct(self, frames: UInt8Array) -> UInt8Array:
        """Encode and decode frames, (N, H, W, C) uint8 both."""
        return self.decode(self.encode(frames))

    def sample(self, n: int, *, seed: int = 0) -> UInt8Array:
        """Decode samples of the prior: (n, H, W, C) uint8.

        An autoencoder without a prior decodes samples of N(0, 1), which may show little.

        Raises:
            ConfigError: if the objective is a user's with a prior other than N(0, 1).
        """
        z = self.objective.sample_prior(n, self.latent_dim, torch.Generator().manual_seed(seed))
        return self.vae.decode_frames(z)

    def interpolate(
        self, first: UInt8Array, last: UInt8Array, steps: int = 9, *, spherical: bool = False
    ) -> UInt8Array:
        """Frames (steps, H, W, C) between two frames (H, W, C), as `FrameModel.interpolate`."""
        ends = torch.from_numpy(self.encode(np.stack([first, last])))  # (2, Z)
        return self.vae.interpolate(ends[0], ends[1], steps, spherical=spherical)

    def traverse(
        self, frame: UInt8Array, latent: int, steps: int = 9, *, reach: float = 2.5
    ) -> UInt8Array:
        """Decode a frame's latents while one latent changes: (steps, H, W, C) uint8.

        Args:
            frame: (H, W, C) uint8.
            latent: Index of the latent that changes.
            steps: Number of frames.
            reach: The latent goes from its mean minus `reach` standard deviations to its mean plus
                as many, both over the training frames.
        """
        codes = np.repeat(self.encode(frame[None]), steps, axis=0)  # (steps, Z)
        mean, std = self.statistics.latent_mean[latent], self.statistics.latent_std[latent]
        codes[:, latent] = mean + std * np.linspace(-reach, reach, steps)
        return self.decode(codes)

    def _encode(self, frames: UInt8Array, names: tuple[str, ...]) -> list[NDArray[np.float32]]:
        """The named outputs, each (N, Z)."""
        self.check_frames(frames)
        if len(frames) == 0:
            return [np.empty((0, self.latent_dim), np.float32) for _ in names]
        if len(frames) <= MAX_BATCH:
            return self._run(frames, names)
        starts = range(0, len(frames), MAX_BATCH)
        parts = [self._run(frames[start : start + MAX_BATCH], names) for start in starts]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _run(self, frames: UInt8Array, names: tuple[str, ...]) -> list[NDArray[np.float32]]:
        if self._process != os.getpid():
            self._enter_process()
        if self.runtime == "torch":
            posterior = self.vae.encode_frames(np.array(frames))
            return [getattr(posterior, name).cpu().numpy() for name in names]
        threads = 1 if len(frames) < ONE_THREAD_BELOW else self._threads
        return self._graph.run(names, {"frames": frames}, threads)

    def _enter_process(self) -> None:
        """Check that the encoder may work in a process that got it from another process."""
        if torch.device(self.device).type != "cpu":
            raise ConfigError(
                "An encoder on a GPU was passed to another process.",
                expected="its use in the process that loaded it",
                got=f"device {self.device!r} in a child process",
                remedy="encode all environments in the parent, by VectorLatentObservation or "
                "VecLatent; or give the child the path, and it will use the CPU",
            )
        self._process = os.getpid()

    def check_built_in(self) -> None:
        """Raise ConfigError if the network is a user's, so that there are no torch modules."""
        if self.vae_config.has_own_network:
            find_network(self.vae_config.network)

    def _read(self) -> ModelFolder:
        """Content of the model folder; FolderError if it changed since config.json was read."""
        if self._folder is None:
            folder = read_model(self.path)
            if folder.digest != self.digest:
                raise FolderError(
                    f"The encoder {self.path} was changed after it was opened.",
                    expected=f"digest {self.digest}",
                    got=folder.digest,
                    remedy="open it again, and do not write into a folder that is in use",
                )
            self._folder = folder
        return self._folder

    def _onnx_vae(self) -> OnnxVAE:
        folder, shape = self._read(), self.spec.shape
        sigma: float | torch.Tensor = folder.vae_config.sigma
        if folder.vae_config.likelihood == "learned_gaussian":
            sigma = learned_sigma(folder.weights["log_sigma"])
        decoder = OnnxRuntime(
            self.path / "decoder.onnx",
            lambda: folder.decoder_onnx or b"",
            decoder_ports(shape, self.latent_dim),
        )
        return OnnxVAE(folder.vae_config, shape, self._graph, decoder, sigma, self._threads)


def _reload(path: str, arguments: dict[str, Any], process: int) -> Encoder:
    # Not by `load`: its check of the device would use the GPU.
    encoder = Encoder(read_model_description(path), **arguments)
    if multiprocessing.parent_process() is not None:
        encoder._process = process
    return encoder
