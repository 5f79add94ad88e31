"""Detection of anomalous frames: areas and curves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from rl_vae.analysis.detection import draw_detection, measure_detection
from rl_vae.models.statistics import Scores


def scores(n: int, shift: float) -> Scores:
    """Scores of frames; anomalous frames have a shift, which lowers their ELBO."""
    values = np.random.default_rng(n).normal(size=n) + shift
    return Scores(values, values, -values, np.zeros(n))


def test_areas_are_those_of_normal_scores() -> None:
    """The area of two normal distributions that are d apart is Phi(d / sqrt(2)), and lies in the
    interval; a constant score is chance; the ELBO counts as anomalous if it is low."""
    detections = measure_detection(scores(4000, 0), scores(1000, 1.5))
    right = stats.norm.cdf(1.5 / np.sqrt(2))
    for name in ("rate", "elbo"):
        value, low, high = detections[name].auroc
        assert low < right < high and value == pytest.approx(right, abs=0.02)
    assert detections["error"].auroc.value == 0.5
    assert detections["error"].average_precision.value == pytest.approx(0.2)


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    """The curves go from (0, 0) to (1, 1) and from full recall to none, and are drawn; few frames
    have no interval, and are no error."""
    detections = measure_detection(scores(3, 0), scores(1, 9))
    alarms, hits = detections["rate"].roc
    recall, precision = detections["rate"].precision_recall
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert recall[0] == 1 and recall[-1] == 0 and precision[-1] == 1
    assert detections["rate"].auroc.value == 1 and np.isnan(detections["rate"].auroc.low)
    draw_detection(tmp_path / "d.png", detections, 0.25, 1)
    assert np.asarray(Image.open(tmp_path / "d.png").convert("RGB")).std() > 5
