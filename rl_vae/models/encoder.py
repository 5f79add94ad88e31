"""Encoder: a trained model in use, with ONNX Runtime on the CPU or with torch on a GPU.

Encoding with ONNX Runtime needs no torch; decoding does.

Shape letters: N images, h w raw size, H W C frame, Z latents.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from rl_vae.constraints import Range, check_arguments
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import UInt8Array
from rl_vae.models.decoding import DecodingModel
from rl_vae.models.description import HUB_FILES, ModelDescription, read_model_description
from rl_vae.models.encoder_html import encoder_html
from rl_vae.models.folder import ModelFolder, read_model
from rl_vae.models.late_torch import torch_parts
from rl_vae.models.networks import check_buildable
from rl_vae.models.runtime import OnnxRuntime, decoder_ports, encoder_ports
from rl_vae.system.hub import local_folder
from rl_vae.system.process_settings import default_threads

if TYPE_CHECKING:
    from rl_vae.models.frame_model import FrameModel
    from rl_vae.models.vae import VAE

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


class Encoder(DecodingModel):
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
    @check_arguments
    def load(
        cls,
        path: str | Path,
        *,
        revision: str | None = None,
        device: str = "cpu",
        runtime: Runtime = "auto",
        threads: Annotated[int, Range(low=1)] | None = None,
        lazy: bool = False,
    ) -> Encoder:
        """Read a model folder and check every byte.

        Args:
            path: Folder that `train_vae` or `save_encoder` wrote. A string that is exactly
                "user/name" is the id of a model on the Hugging Face hub, unless the current folder
                has anything named "user". Its files are downloaded into the hub's cache.
            revision: Branch, tag or commit of an id; None: the branch "main".
            device: "cpu", or a torch device such as "cuda".
            runtime: "auto" uses ONNX Runtime on the CPU and torch elsewhere.
            threads: Number of threads of ONNX Runtime; None: that of torch if it is
                loaded, else OMP_NUM_THREADS or the number of cores. They never spin.
            lazy: Whether only config.json is read now, and the rest at the first use.

        Raises:
            FolderError: if the folder is missing, damaged or of another kind, or the repository of
                an id cannot be read.
            ConfigError: if device, runtime or threads are impossible, the network is a user's
                and the runtime is torch, or a folder has a revision.
            MissingPackageError: if an id is given and huggingface_hub is not installed.
        """
        # Choose device and runtime
        if device != "cpu":
            torch_parts("A device other than the CPU").check_device(device)
        if runtime == "auto":
            runtime = "onnx" if device == "cpu" else "torch"
        if runtime == "onnx" and device != "cpu":
            raise ConfigError(
                "ONNX Runtime encodes on the CPU only.",
                expected="device='cpu', or another runtime",
                got=f"runtime={runtime!r}, device={device!r}",
                remedy="choose runtime='auto'",
            )
        # Read the description, and the rest unless lazy
        encoder = cls(
            read_model_description(local_folder(path, revision, HUB_FILES)),
            device=device,
            runtime=runtime,
            threads=threads or default_threads(),
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

    def _repr_html_(self) -> str:
        return encoder_html(self)

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
        vae: Any = self.vae
        return cast("VAE", vae)

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

    def encode_observations(self, observations: Any) -> NDArray[np.float32]:
        """Mean latents (N, Z) of raw observations, as `DescribedModel.to_images` takes them.

        Raises:
            ObservationError: if the FrameSpec does not fit the observations.
        """
        return self.encode(self.spec.apply_batch(self.to_images(observations)))

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
        if str(self.device).partition(":")[0] != "cpu":
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
            check_buildable(self.vae_config.network)

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

    def _onnx_vae(self) -> FrameModel:
        parts = torch_parts("Decoding")
        folder, shape = self._read(), self.spec.shape
        sigma: Any = folder.vae_config.sigma
        if folder.vae_config.likelihood == "learned_gaussian":
            sigma = parts.learned_sigma(folder.weights["log_sigma"])
        decoder = None
        if self.has_decoder:
            decoder = OnnxRuntime(
                self.path / "decoder.onnx",
                lambda: folder.decoder_onnx or b"",
                decoder_ports(shape, self.latent_dim),
            )
        vae: FrameModel = parts.OnnxVAE(
            folder.vae_config, shape, self._graph, decoder, sigma, self._threads
        )
        return vae


def _reload(path: str, arguments: dict[str, Any], process: int) -> Encoder:
    # Not by `load`: its check of the device would use the GPU.
    encoder = Encoder(read_model_description(path), **arguments)
    if multiprocessing.parent_process() is not None:
        encoder._process = process
    return encoder
