"""Encoder: the frozen artifact at work. ONNX Runtime on the CPU, torch on a GPU.

Shape letters: N images, h w raw size, H W C frame, Z latents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.adversaries import objective_of
from rl_vae.artifact import Artifact, read_artifact
from rl_vae.errors import ArtifactError, ConfigError, ObservationError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.reference import Reference
from rl_vae.vae import VAE

Runtime = Literal["auto", "onnx", "torch"]
_CHUNK = 256
"""Frames encoded in one call at most, so that memory stays small."""


class Encoder:
    """Frames in, mean latents out; never changes, draws no random numbers.

    Make one with `Encoder.load(path)`. Pickling costs the path: the copy reads the folder again.
    """

    def __init__(self, artifact: Artifact, *, device: str, runtime: Runtime, threads: int) -> None:
        self._artifact = artifact
        self._arguments = {"device": device, "runtime": runtime, "threads": threads}
        self._threads = threads
        self.device = device
        self.runtime = runtime
        self._session: Any = self._open_session() if runtime == "onnx" else None
        self._vae: VAE | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "cpu",
        runtime: Runtime = "auto",
        threads: int | None = None,
    ) -> Encoder:
        """Read an artifact, checking every byte.

        Args:
            path: The folder that `train_vae` wrote.
            device: "cpu", or a torch device such as "cuda".
            runtime: "auto" takes ONNX Runtime on the CPU and torch elsewhere.
            threads: Of ONNX Runtime, which then never spins while it waits; None: torch's number.

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
        _check_device(device)
        if runtime == "auto":
            runtime = "onnx" if device == "cpu" else "torch"
        return cls(
            read_artifact(path),
            device=device,
            runtime=runtime,
            threads=threads or torch.get_num_threads(),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (str(self.path), self._arguments))

    def __repr__(self) -> str:
        shape = self.spec.shape
        return f"Encoder({str(self.path)!r}, {shape} -> {self.latent_dim}, {self.runtime})"

    @property
    def path(self) -> Path:
        """The artifact's folder."""
        return self._artifact.path

    @property
    def spec(self) -> FrameSpec:
        """How a raw observation becomes a frame."""
        return self._artifact.spec

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of the raw observations that it was made for."""
        return self._artifact.observation_shape

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self._artifact.vae_config.latent_dim

    @property
    def digest(self) -> str:
        """SHA-256 of what it computes: FrameSpec, VAEConfig and weights."""
        return self._artifact.digest

    @property
    def reference(self) -> Reference:
        """What it makes of the frames that it was trained on: latent statistics, quantiles."""
        return self._artifact.reference

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it came from: dataset, settings, seed, versions, held-out figures."""
        return self._artifact.provenance

    @property
    def vae(self) -> VAE:
        """The whole VAE as a frozen torch module, built when it is first asked for."""
        if self._vae is None:
            self._vae = self._artifact.build().to(self.device)
        return self._vae

    def check_space(self, space: gym.Space[Any]) -> None:
        """Raise ObservationError unless a space holds the observations that it was made for."""
        self.spec.check_space(space)
        if space.shape != self.observation_shape:
            raise ObservationError(
                f"The encoder {self.path} was made for other observations.",
                expected=f"uint8 of shape {self.observation_shape}",
                got=f"uint8 of shape {space.shape}",
                remedy="collect frames from this environment and train an encoder for it",
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

    def encode(self, frames: UInt8Array) -> NDArray[np.float32]:
        """Mean latents of frames that already fit the FrameSpec: (N, H, W, C) uint8 -> (N, Z).

        Raises:
            ObservationError: where they do not fit.
        """
        self.check_frames(frames)
        if len(frames) <= _CHUNK:
            return self._encode(frames)
        parts = range(0, len(frames), _CHUNK)
        return np.concatenate([self._encode(frames[i : i + _CHUNK]) for i in parts])

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
        objective = objective_of(self.provenance["train"]["objective"])
        draws = objective.draw(n, self.latent_dim, torch.Generator().manual_seed(seed))
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
        mean, std = self.reference.latent_mean[latent], self.reference.latent_std[latent]
        codes[:, latent] = mean + std * np.linspace(-reach, reach, steps)
        return self.decode(codes)

    def _encode(self, frames: UInt8Array) -> NDArray[np.float32]:
        if len(frames) == 0:
            return np.empty((0, self.latent_dim), np.float32)
        if self.runtime == "torch":
            mu: NDArray[np.float32] = self.vae.encode_frames(np.array(frames)).mu.cpu().numpy()
            return mu
        out: NDArray[np.float32] = self._session.run(["mu"], {"frames": frames})[0]
        return out

    def _open_session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Waiting threads that spin take the cores from the environments.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                self._artifact.onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own exception types have no public base
            raise self._not_ours(error) from error
        frames, mu = session.get_inputs(), session.get_outputs()[0]
        got = [(value.name, value.type, value.shape[1:]) for value in (*frames, mu)]
        right = [
            ("frames", "tensor(uint8)", list(self.spec.shape)),
            ("mu", "tensor(float)", [self.latent_dim]),
        ]
        if got != right:
            raise self._not_ours(got)
        return session

    def _not_ours(self, got: object) -> ArtifactError:
        return ArtifactError(
            f"{self.path / 'encoder.onnx'} is damaged.",
            expected=f"an ONNX model from frames {self.spec.shape} to mu ({self.latent_dim},)",
            got=got,
            remedy="copy the model folder again, or train it again",
        )


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=torch.device(device)).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            "There is no such device here.",
            expected="cpu, or a device that this torch can use, such as cuda",
            got=repr(device),
            remedy="device='cpu'",
        ) from error


def _reload(path: str, arguments: dict[str, Any]) -> Encoder:
    return Encoder.load(path, **arguments)
