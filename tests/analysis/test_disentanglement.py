"""score_disentanglement: the scores of one code, with fixed settings."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rl_vae import metrics
from rl_vae.analysis.disentanglement import (
    MAX_CLASSES,
    MAX_FITTED,
    MAX_ROWS,
    Disentanglement,
    score_disentanglement,
)
from rl_vae.errors import ConfigError

EPISODE = np.repeat(np.arange(8), 50)
FACTORS = np.random.default_rng(0).integers(0, 4, (400, 2)).astype(np.float64)
OWN = (FACTORS + 0.01 * np.random.default_rng(1).standard_normal(FACTORS.shape)).astype(np.float32)
NAMES = [
    *("dci_completeness", "dci_disentanglement", "dci_informativeness", "explicitness", "irs"),
    *("mig", "mig_pruned", "modularity", "sap", "total_correlation"),
]


@pytest.fixture(scope="module")
def own() -> Disentanglement:
    return score_disentanglement(OWN, FACTORS, EPISODE)


def test_a_code_of_its_factors_scores_high_and_a_mixture_low(own: Disentanglement) -> None:
    """MIG and DCI are near 1 for a code that is its factors, and low for a rotated code."""
    mixed = OWN @ np.array([[1, 1], [1, -1]], np.float32)
    other = score_disentanglement(mixed, FACTORS, EPISODE)
    assert sorted(own.scores) == sorted(other.scores) == NAMES
    for name in ("mig", "dci_disentanglement"):
        assert own.scores[name].value > 0.9 > 0.5 > other.scores[name].value


def test_the_scores_are_those_of_the_metrics(own: Disentanglement) -> None:
    """MIG, total correlation and their intervals are those of the metrics on all frames."""
    assert own.scores["mig"] == metrics.mig(OWN, FACTORS, resamples=20).score
    assert own.scores["total_correlation"] == metrics.total_correlation(OWN, resamples=20).score
    assert own.scores["sap"].low <= own.scores["sap"].value <= own.scores["sap"].high
    assert np.isnan(own.scores["dci_disentanglement"].low)


def test_predictors_are_tested_on_other_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """DCI, SAP and explicitness fit half of the episodes and are tested on the others."""
    calls: list[tuple[NDArray[np.float64], ...]] = []
    original = metrics.sap
    monkeypatch.setattr(metrics, "sap", lambda *a, **k: (calls.append(a), original(*a, **k))[1])
    numbered = np.stack([EPISODE, np.arange(400) % 3], axis=1).astype(np.float64)
    score_disentanglement(numbered, FACTORS, EPISODE)
    fit, _, test, _ = calls[0]
    assert len(fit) == len(test) == 200
    assert not set(fit[:, 0]) & set(test[:, 0])


@pytest.mark.slow
def test_many_values_become_few_classes_and_many_frames_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Predictors see at most 5 classes and 1,000 frames, the other metrics 4,000 frames."""
    sizes: dict[str, tuple[int, int]] = {}
    for name in ("mig", "dci"):
        original = getattr(metrics, name)

        def watch(
            mu: object, factors: NDArray[np.int64], *rest: object, **options: object
        ) -> object:
            sizes[name] = len(factors), len(np.unique(factors))  # noqa: B023
            small = [array[:300] for array in (mu, factors, *rest)]  # type: ignore[index]
            return original(*small, **options)  # noqa: B023

        monkeypatch.setattr(metrics, name, watch)
        monkeypatch.setattr(metrics, "sap", metrics.sap)
        rng = np.random.default_rng(0)
        y = rng.integers(0, 40, (5000, 1)).astype(np.float64)
        score_disentanglement(y + rng.normal(size=y.shape), y, np.arange(5000) // 100)
        monkeypatch.undo()
    assert sizes == {"mig": (MAX_ROWS, 40), "dci": (MAX_FITTED, MAX_CLASSES)}


@pytest.mark.parametrize(
    "factors", [np.ones((400, 2)), np.empty((400, 0))], ids=["constant", "none"]
)
def test_without_a_varying_factor_only_the_correlation_is_known(
    factors: NDArray[np.float64],
) -> None:
    """Constant factors, or no factors, leave the total correlation as the only score."""
    result = score_disentanglement(OWN, factors, EPISODE)
    assert list(result.scores) == ["total_correlation"] and result.varying == ()
    assert result.information.shape == (2, factors.shape[1])


def test_constant_factors_have_empty_columns(own: Disentanglement) -> None:
    """A constant factor changes no score; its columns of the matrices are 0."""
    result = score_disentanglement(OWN, np.insert(FACTORS, 1, 7.0, axis=1), EPISODE)
    assert repr(dict(result.scores)) == repr(dict(own.scores))
    assert result.varying == (0, 2)
    assert not result.importance[:, 1].any() and not result.information[:, 1].any()
    np.testing.assert_array_equal(result.importance[:, [0, 2]], own.importance)


def test_one_factor_and_one_episode_are_enough() -> None:
    """One factor has no modularity and no disentanglement by DCI; one episode is split in the
    middle."""
    result = score_disentanglement(OWN, FACTORS[:, :1], np.zeros(400, np.int64))
    assert set(NAMES) - set(result.scores) == {"modularity", "dci_disentanglement"}
    assert result.scores["dci_informativeness"].value > 0.9


def test_arrays_that_do_not_fit_are_refused() -> None:
    """Factors of other frames raise ConfigError."""
    with pytest.raises(ConfigError, match="rows"):
        score_disentanglement(OWN, FACTORS[:10], EPISODE)
