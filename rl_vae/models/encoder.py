"""Encoder: the frozen artifact at work. ONNX Runtime on the CPU, torch on a GPU.

Shape letters: N images, h w raw size, H W C frame, Z latents.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.models.device import check_device
from rl_vae.models.folder import ModelDescription, ModelFolder, read_model, read_model_description
from rl_vae.models.statistics import TrainingStatistics
from rl_vae.models.vae import VAE
from rl_vae.objectives.base import Objective
from rl_vae.objectives.registry import objective_from_dict
from rl_vae.system import files

Runtime = Literal["auto", "onnx", "torch"]
_CHUNK = 256
"""Frames encoded in one call at most, so that memory stays small."""
_FEW = 6
"""Fewer frames are encoded with one thread: waking a second one takes longer than it saves. By the
default network on two cores, microseconds with one thread and with two: 1 frame 95 and 108, 4
frames 283 and 294, 6 frames 421 and 324, 16 frames 1,112 and 719."""

_INHERITED: list[Any] = []
"""Sessions that came by fork: never used, never ended."""


class Gaussians(NamedTuple):
    """The posteriors of some frames, each (N, Z) float32."""

    mu: NDArray[np.float32]
    logvar: NDArray[np.float32]
    """Logarithm of the variance, in nats."""


class Encoder:
    """Frames in, mean latents out; never changes, draws no random numbers.

    Make one with `Encoder.load(path)`. Pickling costs the path: the copy reads the folder again,
    when it is first used. What a process inherits by fork opens a session of its own there, and
    an encoder on a GPU works only in the process that loaded it.
    """

    def __init__(
        self, said: ModelDescription, *, device: str, runtime: Runtime, threads: int
    ) -> None:
        self._said = said
        self._arguments = {"device": device, "runtime": runtime, "threads": threads}
        self._threads = threads
        self.device = device
        self.runtime = runtime
        self._process = os.getpid()
        self._artifact: ModelFolder | None = None
        self._sessions: dict[int, Any] = {}  # by the number of threads
        self._vae: VAE | None = None

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
        """Read an artifact, checking every byte.

        Args:
            path: The folder that `train_vae` wrote.
            device: "cpu", or a torch device such as "cuda".
            runtime: "auto" takes ONNX Runtime on the CPU and torch elsewhere.
            threads: Of ONNX Runtime, which then never spins while it waits; None: torch's number.
            lazy: Read and check config.json now, and the rest when it is first needed.

        Raises:
            ArtifactError: where it is missing, damaged or of another kind.
            ConfigError: where device, runtime or threads make no sense.
        """
        if runtime not in ("auto", "onnx", "torch") or (runtime == "onnx" and device != "cpu"):
            raise ConfigError(
                "This runtime cannot be had.",
                expected="auto, torch, or onnx on the CPU",
                got=f"{runtime} on {device}",
                remedy="runtime='auto' takes the right one",
            )
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ConfigError(
                "threads is out of range.",
                expected="1 or more",
                got=repr(threads),
                remedy="leave threads out",
            )
        check_device(device)
        if runtime == "auto":
            runtime = "onnx" if device == "cpu" else "torch"
        encoder = cls(
            read_model_description(path),
            device=device,
            runtime=runtime,
            threads=threads or torch.get_num_threads(),
        )
        if not lazy:
            encoder._read()
            if runtime == "onnx":
                encoder._session(encoder._threads)
        return encoder

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (str(self.path), self._arguments, self._process))

    def __repr__(self) -> str:
        shape = self.spec.shape
        return f"Encoder({str(self.path)!r}, {shape} -> {self.latent_dim}, {self.runtime})"

    @property
    def path(self) -> Path:
        """The artifact's folder."""
        return self._said.path

    @property
    def spec(self) -> FrameSpec:
        """How a raw observation becomes a frame."""
        return self._said.spec

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of the raw observations that it was made for."""
        return self._said.observation_shape

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self._said.vae_config.latent_dim

    @property
    def digest(self) -> str:
        """SHA-256 of what it computes: FrameSpec, VAEConfig and weights."""
        return self._said.digest

    @property
    def statistics(self) -> TrainingStatistics:
        """What it makes of the frames that it was trained on: latent statistics, quantiles."""
        return self._said.statistics

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it came from: dataset, settings, seed, versions, held-out figures."""
        return self._said.provenance

    @property
    def objective(self) -> Objective:
        """What it was trained to minimise.

        Raises:
            ArtifactError: where its provenance does not say so.
        """
        try:
            return objective_from_dict(self.provenance["train"]["objective"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            path = self.path / "config.json"
            raise files.damaged(path, "the objective that it was trained with", error) from error

    @property
    def vae(self) -> VAE:
        """The whole VAE as a frozen torch module, built when it is first asked for."""
        if self._vae is None:
            self._vae = self._read().build().to(self.device)
        return self._vae

    def check_space(self, space: gym.Space[Any]) -> None:
        """Raise ObservationError unless a space holds the observations that it was made for."""
        shape = space.shape if isinstance(space, gym.spaces.Box) else None
        if shape == self.observation_shape and space.dtype == np.uint8:
            return
        raise ObservationError(
            f"The encoder {self.path} was made for other observations.",
            expected=f"a Box of uint8, 0 to 255, of shape {self.observation_shape}",
            got=space if shape is None else f"a Box of {space.dtype} of shape {shape}",
            remedy=self._remedy(shape, space.dtype),
        )

    def check_frames(self, frames: UInt8Array) -> None:
        """Raise ObservationError unless these are frames of its FrameSpec, (N, H, W, C) uint8."""
        if (
            not isinstance(frames, np.ndarray)
            or frames.dtype != np.uint8
            or frames.shape[1:] != self.spec.shape
        ):
            raise ObservationError(
                "These are not frames of this encoder.",
                expected=f"uint8 of shape (N, {', '.join(map(str, self.spec.shape))})",
                got=f"{getattr(frames, 'dtype', type(frames))} of shape "
                f"{getattr(frames, 'shape', None)}",
                remedy="give raw observations to encode_observations, which applies the FrameSpec",
            )

    def check_spec(self, spec: FrameSpec) -> None:
        """Raise ObservationError unless frames of a dataset were made as this encoder's were."""
        if spec != self.spec:
            raise ObservationError(
                f"The frames were not made for the model {self.path}.",
                expected=self.spec,
                got=spec,
                remedy="collect frames with the model's size, channels and crop",
            )

    def encode(self, frames: UInt8Array) -> NDArray[np.float32]:
        """Mean latents of frames that already fit the FrameSpec: (N, H, W, C) uint8 -> (N, Z).

        Raises:
            ObservationError: where they do not fit.
        """
        return self._encode(frames, ("mu",))[0]

    def encode_posterior(self, frames: UInt8Array) -> Gaussians:
        """Means and log-variances of frames that already fit: (N, H, W, C) uint8 -> (N, Z) each.

        Raises:
            ObservationError: where they do not fit.
        """
        return Gaussians(*self._encode(frames, ("mu", "logvar")))

    def encode_observations(self, observations: UInt8Array) -> NDArray[np.float32]:
        """Mean latents of raw observations: (N, h, w, c) uint8 -> (N, Z).

        Raises:
            ObservationError: where the FrameSpec does not fit them.
        """
        return self.encode(self.spec.apply_batch(observations))

    def decode(self, mu: NDArray[np.float32]) -> UInt8Array:
        """Frames that the decoder makes of latents: (N, Z) -> (N, H, W, C) uint8.

        Raises:
            ConfigError: where they are not codes of this encoder.
        """
        codes = np.asarray(mu, np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim:
            raise ConfigError(
                "These are not codes of this encoder.",
                expected=f"shape (N, {self.latent_dim})",
                got=f"shape {codes.shape}",
                remedy="decode what this encoder's encode gave, without stack or actions",
            )
        return self.vae.decode_frames(torch.from_numpy(codes))

    def reconstruct(self, frames: UInt8Array) -> UInt8Array:
        """What the decoder makes of the codes of frames, (N, H, W, C) uint8 both."""
        return self.decode(self.encode(frames))

    def sample(self, n: int, *, seed: int = 0) -> UInt8Array:
        """(n, H, W, C) uint8 frames decoded from draws of the prior that it was trained with.

        An autoencoder without a prior is asked for codes of N(0, 1), which may show little.
        """
        draws = self.objective.sample_prior(n, self.latent_dim, torch.Generator().manual_seed(seed))
        return self.vae.decode_frames(draws)

    def interpolate(
        self, first: UInt8Array, last: UInt8Array, steps: int = 9, *, spherical: bool = False
    ) -> UInt8Array:
        """(steps, H, W, C) frames between two frames (H, W, C), as `VAE.interpolate`."""
        ends = torch.from_numpy(self.encode(np.stack([first, last])))  # (2, Z)
        return self.vae.interpolate(ends[0], ends[1], steps, spherical=spherical)

    def traverse(
        self, frame: UInt8Array, latent: int, steps: int = 9, *, reach: float = 2.5
    ) -> UInt8Array:
        """(steps, H, W, C) frames: one latent of a frame's code moves, the others stay.

        It moves from `reach` standard deviations below its mean to as many above, both over the
        training frames.
        """
        codes = np.repeat(self.encode(frame[None]), steps, axis=0)  # (steps, Z)
        mean, std = self.statistics.latent_mean[latent], self.statistics.latent_std[latent]
        codes[:, latent] = mean + std * np.linspace(-reach, reach, steps)
        return self.decode(codes)

    def _encode(self, frames: UInt8Array, names: tuple[str, ...]) -> list[NDArray[np.float32]]:
        """The outputs named, each (N, Z)."""
        self.check_frames(frames)
        if len(frames) == 0:
            return [np.empty((0, self.latent_dim), np.float32) for _ in names]
        if len(frames) <= _CHUNK:
            return self._run(frames, names)
        starts = range(0, len(frames), _CHUNK)
        parts = [self._run(frames[start : start + _CHUNK], names) for start in starts]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _run(self, frames: UInt8Array, names: tuple[str, ...]) -> list[NDArray[np.float32]]:
        if self._process != os.getpid():
            self._move_in()
        if self.runtime == "torch":
            posterior = self.vae.encode_frames(np.array(frames))
            return [getattr(posterior, name).cpu().numpy() for name in names]
        session = self._session(1 if len(frames) < _FEW else self._threads)
        out: list[NDArray[np.float32]] = session.run(list(names), {"frames": frames})
        return out

    def _move_in(self) -> None:
        """Make oneself at home in a process that got this encoder from another one."""
        if torch.device(self.device).type != "cpu":
            raise ConfigError(
                "An encoder on a GPU was handed to another process.",
                expected="its use in the process that loaded it",
                got=f"device {self.device!r} in a child process",
                remedy="encode all environments in the parent, by VectorLatentObservation or "
                "VecLatent; or give the child the path, and it will use the CPU",
            )
        # The threads of an inherited session did not come along, and its end would wait for them.
        _INHERITED.append(self._sessions)
        self._sessions = {}
        self._process = os.getpid()

    def _read(self) -> ModelFolder:
        if self._artifact is None:
            artifact = read_model(self.path)
            if artifact.digest != self.digest:
                raise FolderError(
                    f"The encoder {self.path} was changed after it was opened.",
                    expected=f"digest {self.digest}",
                    got=artifact.digest,
                    remedy="open it again, and do not write into a folder that is in use",
                )
            self._artifact = artifact
        return self._artifact

    def _remedy(self, shape: tuple[int, ...] | None, dtype: Any) -> str:
        """What to do about observations that are not those that it was made for."""
        right = self.observation_shape
        if shape is None:
            return (
                "name the image of a Dict with image_key=, or open the environment with "
                "rl_vae.make_env, which finds its pixels"
            )
        if shape == right:
            return "give the image as bytes, undo scaling before rl_vae: only the encoder scales"
        colours = right[2] if len(right) == 3 else 1
        if len(shape) == 3 and len(right) == 3 and shape == (right[2], *right[:2]):
            return "transpose channel-first images to height x width x channels"
        if len(shape) == 4 or (len(shape) == 3 and shape[:2] == right[:2] and shape[2] > 4):
            return "undo frame stacking: the adapters stack latents, with stack="
        if shape[:2] == right[:2]:
            kind = "RGB" if colours == 3 else "grayscale"
            return f"give {kind} images: undo what changes their channels, or train an encoder"
        if shape == self.spec.shape:
            return "give raw observations: the FrameSpec is applied in the adapter, and only there"
        return (
            "undo what resizes or crops images before rl_vae, or collect frames from this "
            "environment and train an encoder for it"
        )

    def _session(self, threads: int) -> Any:
        if threads not in self._sessions:
            self._sessions[threads] = self._open_session(threads)
        return self._sessions[threads]

    def _open_session(self, threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Waiting threads that spin take the cores from the environments.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                self._read().onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own exception types have no public base
            raise self._not_ours(error) from error
        values = (*session.get_inputs(), *session.get_outputs())
        got = [(value.name, value.type, value.shape[1:]) for value in values]
        right = [
            ("frames", "tensor(uint8)", list(self.spec.shape)),
            ("mu", "tensor(float)", [self.latent_dim]),
            ("logvar", "tensor(float)", [self.latent_dim]),
        ]
        if got != right:
            raise self._not_ours(got)
        return session

    def _not_ours(self, got: object) -> FolderError:
        return FolderError(
            f"{self.path / 'encoder.onnx'} is damaged.",
            expected=f"an ONNX model from frames {self.spec.shape} to mu and logvar "
            f"({self.latent_dim},)",
            got=got,
            remedy="copy the model folder again, or train it again",
        )


def _reload(path: str, arguments: dict[str, Any], process: int) -> Encoder:
    # Not by load, whose check of the device would touch a GPU.
    encoder = Encoder(read_model_description(path), **arguments)
    if multiprocessing.parent_process() is not None:
        encoder._process = process
    return encoder
