"""Frames of CarRacing-v3 that several benchmarks train on."""

from pathlib import Path

from rl_vae import Correlated, FrameDataset, FrameSpec, collect_frames


def driving_frames(
    data: Path | None, out: Path, n_frames: int, *, side: int = 64, seed: int = 0
) -> FrameDataset:
    """Open the dataset `data`; if it is None, collect one into `out`.

    Actions are correlated in time and lean towards the pedal, so that the car leaves its start.
    """
    if data is not None:
        return FrameDataset.open(data)
    return collect_frames(
        "CarRacing-v3",
        out,
        n_frames=n_frames,
        spec=FrameSpec(height=side, width=side, crop=(0, 12, 0, 0)),
        policy=Correlated(bias=(0.0, -0.3, -1.2)),
        seed=seed,
    )
