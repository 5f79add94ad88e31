"""Detection of anomalies: how well scores tell known anomalous frames from others.

Shape letters: N normal frames, M anomalous frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from rl_vae.metrics.result import bootstrap_score
from rl_vae.models import pictures
from rl_vae.models.statistics import Scores
from rl_vae.system.estimate import Estimate

RESAMPLES = 100
"""Number of resamples for the intervals."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_DASHES = ("-", "--", "-.", ":")

Array = NDArray[np.float64]


class Detection(NamedTuple):
    """How well one score tells anomalous frames from others."""

    auroc: Estimate
    """Area under the ROC curve: share of pairs of an anomalous frame and another one in which the
    anomalous frame has the higher score. 0.5 is chance. Interval: over resampled frames."""
    average_precision: Estimate
    """Area under the precision-recall curve, as a sum of steps. Chance is the share of anomalous
    frames. Interval: over resampled frames."""
    roc: tuple[Array, Array]
    """Share of normal frames above each threshold, and share of anomalous frames."""
    precision_recall: tuple[Array, Array]
    """Recall and precision at each threshold."""


def measure_detection(normal: Scores, anomalous: Scores, seed: int = 0) -> dict[str, Detection]:
    """Measure each score as a detector of anomalous frames.

    The intervals treat frames as independent. Frames of one episode are not, so the intervals are
    too narrow for them.

    Args:
        normal: Scores (N,) of frames like the training frames.
        anomalous: Scores (M,) of anomalous frames.
        seed: Seed of the intervals.
    """
    is_anomalous = np.repeat([0, 1], [len(normal.elbo), len(anomalous.elbo)])
    return {
        name: _measure(np.concatenate([first, second]) * _sign(name), is_anomalous, seed)
        for name, first, second in zip(Scores._fields, normal, anomalous, strict=True)
    }


def draw_detection(path: Path, detections: dict[str, Detection], share: float, scale: int) -> None:
    """Draw ROC and precision-recall curves of all scores.

    Args:
        path: The picture: .png, .svg or .pdf.
        detections: Result of `measure_detection`.
        share: Share of anomalous frames, the precision of chance.
        scale: Number that multiplies the resolution of a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 6.0), layout="constrained")
    panels: Any
    legends: Any
    panels, legends = figure.subplots(2, 2, height_ratios=[3.2, 1])
    for (name, one), colour, dashes in zip(detections.items(), _COLOURS, _DASHES, strict=True):
        style = {"color": colour, "linestyle": dashes, "linewidth": 2}
        panels[0].plot(*one.roc, label=f"{name}: {_text(one.auroc)}", **style)
        label = f"{name}: {_text(one.average_precision)}"
        panels[1].plot(*one.precision_recall, label=label, drawstyle="steps-post", **style)
    panels[0].plot([0, 1], [0, 1], color="0.6", linewidth=1, label="chance: 0.50")
    panels[1].axhline(share, color="0.6", linewidth=1, label=f"chance: {share:.2f}")
    panels[0].set(title="ROC", xlabel="false alarms, share of the normal frames",
                  ylabel="found, share of the anomalous frames")  # fmt: skip
    panels[1].set(title="Precision and recall", xlabel="recall: share of the anomalous found",
                  ylabel="precision: share of the alarms that are right")  # fmt: skip
    titles = ("area, 95 % interval", "average precision, 95 % interval")
    for panel, below, title in zip(panels, legends, titles, strict=True):
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
        below.set_axis_off()
        below.legend(
            *panel.get_legend_handles_labels(), title=title, frameon=False, loc="upper center"
        )
    pictures.save_figure(path, figure, scale)


def _measure(values: Array, is_anomalous: NDArray[np.int64], seed: int) -> Detection:
    """Measure one score; a higher value is more anomalous."""

    def area(rows: NDArray[np.int64]) -> float:
        if np.ptp(is_anomalous[rows]) == 0:  # a resample of one kind
            return float("nan")
        return float(roc_auc_score(is_anomalous[rows], values[rows]))

    def precision(rows: NDArray[np.int64]) -> float:
        if is_anomalous[rows].max() == 0:
            return float("nan")
        return float(average_precision_score(is_anomalous[rows], values[rows]))

    n, every = len(values), np.arange(len(values))
    false_alarms, hits, _ = roc_curve(is_anomalous, values)
    exact, recall, _ = precision_recall_curve(is_anomalous, values)
    return Detection(
        bootstrap_score(area, n, area(every), RESAMPLES, seed),
        bootstrap_score(precision, n, precision(every), RESAMPLES, seed),
        (false_alarms, hits),
        (recall, exact),
    )


def _sign(name: str) -> int:
    return -1 if name == "elbo" else 1


def _text(estimate: Estimate) -> str:
    value, low, high = estimate
    return f"{value:.2f}" + (f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else "")
