"""CodeWatch: scores the frames of a training under its encoder, and draws some of them."""

from __future__ import annotations

from stable_baselines3.common.logger import Image

from rl_vae.models.model_sheets import reconstruction_sheet
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.sb3.watch import DriftCallback
from rl_vae.wrappers.drift import DriftMonitor

_N_PICTURES = 5
_MOST_FRAMES = 8


class CodeWatch(DriftCallback):
    """Scores every 16th step as `VecWatch` does, and warns once of drift from each encoder.

    It scores and draws at most eight environments: scoring decodes, and the last scored frames
    should span many steps. Beside the scores SB3's logger gets, five times during the training,
    "vae/reconstructions": current frames above their reconstructions.

    Args:
        venv: Environments of the training.
        total_steps: Number of decisions of the training.
    """

    def __init__(self, venv: VecLatent, total_steps: int) -> None:
        super().__init__()
        self._venv, self._monitor = venv, DriftMonitor(venv.encoder)
        self._draw_every = max(1, total_steps // _N_PICTURES)
        self._next_picture = 0

    @property
    def drift(self) -> float | None:
        """Share of outliers among the last frames scored; None: too few with this encoder."""
        return self._monitor.share

    def _on_step(self) -> bool:
        if self._venv.encoder is not self._monitor.encoder:  # it was refreshed
            self._monitor = DriftMonitor(self._venv.encoder)
        if self._monitor.is_due():
            self.record(self._monitor.score(self._venv.frames[:_MOST_FRAMES]))
        if self.num_timesteps >= self._next_picture:
            self._next_picture = self.num_timesteps + self._draw_every
            self._draw()
        return True

    def _on_training_end(self) -> None:
        self._draw()

    def _draw(self) -> None:
        frames = self._venv.frames[:_MOST_FRAMES].copy()
        sheet = reconstruction_sheet(frames, self._venv.encoder.reconstruct(frames))
        self.logger.record("vae/reconstructions", Image(sheet.image(), "HWC"))
