"""information: mutual information and entropy equal scikit-learn's."""

import numpy as np
from metric_data import TRAIN
from sklearn.metrics import mutual_info_score

from rl_vae.metrics.information import entropy, mutual_information


def test_information_is_that_of_the_counts() -> None:
    """Information and entropy equal scikit-learn's, for the bins of numpy's histogram."""
    mu, y = TRAIN
    cut = np.stack([np.digitize(c, np.histogram(c, 20)[1][:-1]) for c in mu.T], axis=1)
    expected = [[mutual_info_score(v, c) for v in y.T] for c in cut.T]
    np.testing.assert_allclose(mutual_information(mu, y), expected, atol=1e-12)
    np.testing.assert_allclose(entropy(y), [mutual_info_score(v, v) for v in y.T], atol=1e-12)
