"""disentanglement/: frozen values of the original definitions, ceilings, floors, invariances."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group
from sklearn.metrics import mutual_info_score, roc_auc_score

from rl_vae import Sprites
from rl_vae.analysis import metrics as dis
from rl_vae.analysis.metrics.arrays import bootstrap, classes_of
from rl_vae.analysis.metrics.information import entropy, information
from rl_vae.analysis.metrics.readout import _area
from rl_vae.data.sprites import FACTOR_SIZES
from rl_vae.errors import ConfigError

Array = NDArray[Any]


def arrays(n: int, seed: int) -> tuple[Array, Array]:
    """Codes (n, 5), the last one constant, and factors (n, 3) of 3, 4 and 40 values."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, (3, 4, 40), (n, 3))
    f = y / np.array([2.0, 3.0, 39.0])
    mix = [f[:, 0], f[:, 1] + 0.5 * f[:, 2], np.sin(5 * f[:, 2]), f[:, 2] * f[:, 1], np.zeros(n)]
    return np.stack(mix, axis=1) + 0.1 * rng.random((n, 5)) * np.array([1, 1, 1, 1, 0]), y


TRAIN, TEST = arrays(400, 0), arrays(200, 1)
BOTH = (*TRAIN, *TEST)
TWO = (TRAIN[0], TRAIN[1][:, :2], TEST[0], TEST[1][:, :2])


def perfect(factors: Array) -> Array:
    sizes = np.array(FACTOR_SIZES)
    return np.asarray((factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12))


@pytest.fixture(scope="module")
def factors() -> Array:
    return Sprites().sample_factors(10_000, np.random.default_rng(0))


class World:
    """A sampler whose pictures are codes."""

    def __init__(self, code: Any, sizes: tuple[int, ...] = FACTOR_SIZES) -> None:
        self.factor_sizes, self._code = sizes, code

    def draw(self, factors: Array, rng: np.random.Generator) -> Array:
        return np.asarray(self._code(factors, rng))


VOTES = {"train_votes": 400, "test_votes": 200}
POINTS = {"train_points": 400, "test_points": 200}


def test_the_values_are_those_of_the_original_definitions() -> None:
    """Every array metric equals what disentanglement_lib's own definition gives (frozen here)."""
    assert TRAIN[0].sum() == pytest.approx(747.5008059131094)  # the arrays are those of then
    assert dis.mig(*TRAIN).score == pytest.approx(0.5081333636322268, abs=1e-9)
    assert dis.modularity(*TRAIN).score == pytest.approx(0.7146338240373682, abs=1e-9)
    assert dis.irs(*TRAIN).score == pytest.approx(0.7790247686835284, abs=1e-9)
    sap = dis.sap(*BOTH)
    assert sap.score == pytest.approx(0.15833333333333333, abs=1e-9)
    assert sap.r2 == pytest.approx(0.562241262174905, abs=1e-9)
    alive = (TWO[0][:, :4], TWO[1], TWO[2][:, :4], TWO[3])  # the original divides by a zero std
    assert dis.explicitness(*alive).score == pytest.approx(0.9985607989549159, abs=1e-5)
    dci = dis.dci(*TWO)
    assert dci.disentanglement == pytest.approx(0.995, abs=0.01)
    assert dci.completeness == pytest.approx(0.737, abs=0.01)
    assert dci.informativeness == pytest.approx(0.9825, abs=0.01)
    assert dci.importance.shape == (5, 2)


def test_information_is_that_of_the_counts() -> None:
    """Information and entropy equal scikit-learn's, of bins that numpy's histogram cuts."""
    mu, y = TRAIN
    cut = np.stack([np.digitize(c, np.histogram(c, 20)[1][:-1]) for c in mu.T], axis=1)
    expected = [[mutual_info_score(v, c) for v in y.T] for c in cut.T]
    np.testing.assert_allclose(information(mu, y), expected, atol=1e-12)
    np.testing.assert_allclose(entropy(y), [mutual_info_score(v, v) for v in y.T], atol=1e-12)


def test_the_area_is_scikit_learns() -> None:
    """The area under the curve equals scikit-learn's, with ties and with weighted rows."""
    rng = np.random.default_rng(0)
    truth, scores = rng.random(300) < 0.3, np.round(rng.random(300), 1)
    weights = rng.integers(0, 4, 300).astype(np.float64)
    expected = roc_auc_score(truth, scores, sample_weight=weights)
    assert _area(truth, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_code_reaches_the_ceilings(factors: Array) -> None:
    """On the sprites' grid a perfect code has MIG .88 to .90, SAP .24, IRS .96, DCI 1."""
    rng = np.random.default_rng(1)
    test = Sprites().sample_factors(5000, rng)
    mu = perfect(factors)
    mig = dis.mig(mu, factors, resamples=0)
    assert 0.88 <= mig.score <= 0.90 and mig.pruned == mig.score
    assert dis.modularity(mu, factors, resamples=0).score > 0.999
    assert dis.sap(mu, factors, perfect(test), test).score == pytest.approx(0.24, abs=0.01)
    spare = np.concatenate([mu, 0.02 * rng.normal(size=mu.shape)], axis=1)
    assert dis.irs(spare, factors, resamples=0).score == pytest.approx(0.96, abs=0.01)
    few = [mu[:600, :3], factors[:600, :3] // [1, 1, 5], perfect(test)[:300, :3]]
    dci = dis.dci(*few, test[:300, :3] // [1, 1, 5])
    assert min(dci.disentanglement, dci.completeness, dci.informativeness) > 0.99
    code = World(lambda f, rng: perfect(f))
    assert dis.factor_vae(code, **VOTES).score == 1 and dis.beta_vae(code, **POINTS).score == 1


def test_noise_scores_nothing_but_modularity(factors: Array) -> None:
    """Noise has no MIG and no SAP, and guesses by chance; its modularity is high all the same."""
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(10_000, 10))
    assert dis.mig(mu, factors, resamples=0).score < 0.01
    assert 0.55 < dis.modularity(mu, factors, resamples=0).score < 0.8
    sap = dis.sap(mu[:3000], factors[:3000], mu[3000:4500], factors[3000:4500], resamples=0)
    assert sap.score < 0.02 and sap.r2 < 0.01
    code = World(lambda f, rng: rng.normal(size=(len(f), 10)))
    assert dis.factor_vae(code, **VOTES).score < 0.35
    assert dis.beta_vae(code, **POINTS).score < 0.35
    y = factors[:1500, :1]
    assert dis.explicitness(mu[:1000], y[:1000], mu[1000:1500], y[1000:]).score < 0.57


def test_a_rotated_code_fools_betavae_not_mig(factors: Array) -> None:
    """Turning a perfect code takes its MIG away, and leaves it a high BetaVAE score."""
    turn = ortho_group.rvs(5, random_state=0)
    code = World(lambda f, rng: perfect(f) @ turn)
    assert dis.mig(perfect(factors) @ turn, factors, resamples=0).score < 0.1
    assert dis.beta_vae(code, train_points=2000, test_points=500).score > 0.8


def test_a_latent_that_is_off_but_leaks_ruins_only_the_plain_mig(factors: Array) -> None:
    """Copies of a perfect code a thousandth as large take MIG to 0, and leave the pruned one."""
    mu = perfect(factors)
    found = dis.mig(np.concatenate([mu, 0.001 * mu], axis=1), factors, resamples=0)
    assert found.score < 0.01 and 0.88 <= found.pruned <= 0.90


@pytest.mark.parametrize("name", ["mig", "modularity", "irs"])
def test_the_order_and_the_scale_of_latents_are_nothing(name: str) -> None:
    """Neither order, sign nor a common scale of the latents changes a score."""
    metric = getattr(dis, name)
    mu, y = TRAIN
    changed = 4 * mu[:, ::-1]
    assert metric(changed, y, resamples=0).score == pytest.approx(metric(mu, y).score, abs=1e-12)
    assert metric(mu.tolist(), y, resamples=0).score == metric(mu, y, resamples=0).score


def test_constant_factors_are_left_out() -> None:
    """A factor that never changes leaves every score as it is, and says that it has one class."""
    mu, y, mu_test, y_test = TWO
    one, one_test = (np.insert(v, 1, 7, axis=1) for v in (y, y_test))
    for name in ("mig", "modularity", "irs"):
        found = getattr(dis, name)(mu, one)
        assert found.score == pytest.approx(getattr(dis, name)(mu, y).score, abs=1e-12)
        assert found.bins.tolist() == [3, 1, 4]
    assert np.isnan(dis.mig(mu, one).gaps).tolist() == [False, True, False]
    for name in ("sap", "explicitness"):
        metric = getattr(dis, name)
        found, expected = metric(mu, one, mu_test, one_test), metric(*TWO)
        assert found.score == expected.score
    found = dis.dci(mu[:100], one[:100], mu_test, one_test)
    expected = dis.dci(mu[:100], y[:100], mu_test, y_test)
    assert found.disentanglement == expected.disentanglement
    assert found.importance.shape == (5, 3) and not found.importance[:, 1].any()


def test_latents_that_are_off_are_no_trouble() -> None:
    """Codes that are all constant, or one latent alone, give scores and no warning."""
    off, (mu, y, mu_test, y_test) = np.full((400, 3), 0.3), TWO
    assert dis.mig(off, y).score == dis.modularity(off, y).score == dis.irs(off, y).score == 0
    assert dis.total_correlation(off).score == 0
    assert dis.sap(off, y, np.full((200, 3), 0.3), y_test).score == 0
    assert dis.factor_vae(World(lambda f, rng: np.zeros((len(f), 2)))).score == 0
    one = (mu[:, :1], y, mu_test[:, :1], y_test)
    assert 0 < dis.mig(*one[:2]).score < 1 and 0 < dis.sap(*one).score < 1
    assert dis.dci(*one).completeness == 1
    rounding = np.where(np.arange(400)[:, None] % 2, 0.3, np.nextafter(0.3, 1)) * np.ones((1, 2))
    assert dis.mig(rounding, y).pruned == 0


def test_continuous_factors_are_cut_at_quantiles() -> None:
    """A continuous factor is cut into 20 classes of equal counts, whatever its scale is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    classes = classes_of(x)
    assert classes.bins.tolist() == [20, 20]
    assert (np.bincount(classes.values[:, 0]) == 100).all()
    bent = np.stack([np.exp(3 * x[:, 0]), x[:, 1] ** 3], axis=1)
    assert dis.mig(x, bent).score == dis.mig(x, x).score > 0.5
    assert dis.mig(x, x).bins.tolist() == [20, 20]
    further = rng.normal(size=(50, 2))
    assert (
        classes.of(further)[:, 0] == np.searchsorted(np.asarray(classes.edges[0]), further[:, 0])
    ).all()


def test_whole_numbers_and_few_values_are_classes_as_they_are() -> None:
    """Whole numbers keep their classes, however many; so do 20 values or fewer of any kind."""
    rng = np.random.default_rng(0)
    whole, few = rng.integers(-50, 50, 1000), rng.integers(0, 6, 1000)
    table = np.stack([whole, 0.5 + few / 10], axis=1).astype(np.float64)
    classes = classes_of(table)
    assert classes.bins.tolist() == [len(np.unique(whole)), 6]
    assert (classes.values[:, 0] == whole).all() and (classes.values[:, 1] == few).all()
    booleans = table[:, 1:] > 0.7
    assert dis.mig(table, booleans).bins.tolist() == [2]


def test_the_interval_is_as_wide_as_the_spread_over_samples() -> None:
    """The interval's standard deviation is that of the score over samples of their own."""
    samples = [dis.mig(*arrays(400, seed), resamples=0).score for seed in range(60)]
    found = dis.mig(*TRAIN, resamples=100)
    assert found.interval.low < found.score < found.interval.high
    half = (found.interval.high - found.interval.low) / 2
    assert 0.6 < half / (1.96 * np.std(samples, ddof=1)) < 1.6


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    """For a mean the bootstrap gives 1.96 standard errors."""
    values = np.random.default_rng(0).normal(size=200)
    low, high = bootstrap(lambda rows: float(values[rows].mean()), 200, 0.0, 2000, 0)
    assert high == pytest.approx(1.96 * values.std() / np.sqrt(200), rel=0.06) and low == -high


def test_a_seed_gives_the_same_and_no_resamples_no_interval() -> None:
    """Same arguments, same result, to the last bit; without resamples the interval is NaN."""
    small = tuple(a[:60] for a in TWO)
    for name, given in (("mig", TRAIN), ("irs", TRAIN), ("sap", TWO), ("dci", small)):
        metric = getattr(dis, name)
        one, two = metric(*given, resamples=2), metric(*given, resamples=2)
        assert repr(one) == repr(two)
        bare = metric(*given, resamples=0)
        interval = bare.disentanglement_interval if name == "dci" else bare.interval
        assert np.isnan(interval).all()
    dci = dis.dci(*small, resamples=2)
    assert dci.disentanglement_interval.low < dci.disentanglement
    assert dci.completeness_interval.low < dci.completeness < dci.completeness_interval.high


def test_irs_is_its_definition_on_a_small_table() -> None:
    """With one latent that follows one of two factors, IRS is computed by hand."""
    y = np.array([[a, b] for a in (0, 1) for b in (0, 1, 2)])
    mu = y[:, :1] + 0.1 * y[:, 1:]
    found = dis.irs(mu, y, resamples=0)
    # Given the first factor, deviations are .1, 0, .1 (99 % quantile .1), of at most .6 in all.
    assert found.robustness[0, 0] == pytest.approx(1 - 0.1 / 0.6)
    assert found.robustness[0, 1] == pytest.approx(1 - 0.5 / 0.6)
    assert found.score == found.robustness[0, 0]


def test_total_correlation_is_that_of_the_correlations() -> None:
    """For two latents it is -log(1 - r^2) / 2, whatever their scales."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    r = np.corrcoef(x.T)[0, 1]
    found = dis.total_correlation(x * [1, 100])
    assert found.score == pytest.approx(-np.log(1 - r**2) / 2)
    assert found.interval.low < found.score < found.interval.high


def test_a_table_of_codes_scores_as_its_world_does() -> None:
    """FactorVAE and BetaVAE of a tabulated world equal those of the world itself."""
    turn = ortho_group.rvs(3, random_state=0)
    sizes = (3, 4, 5)
    world = World(lambda f, rng: f.astype(np.float32), sizes)

    def encode(pictures: Array) -> Array:
        return (pictures @ turn).astype(np.float32)

    grid = dis.tabulate(world, encode, batch=7)
    assert grid.codes.shape == (60, 3) and "array(60, 3)" in repr(grid)
    for metric, size in ((dis.factor_vae, VOTES), (dis.beta_vae, POINTS)):
        live, looked_up = metric(world, encode, **size), metric(grid, **size)  # type: ignore[operator]
        assert looked_up.score == pytest.approx(live.score, abs=0.02)
        assert repr(metric(grid, **size)) == repr(looked_up)  # type: ignore[operator]


def test_factorvae_counts_votes_of_latents_that_are_on() -> None:
    """Every training vote is counted once, none for a latent whose deviation is below .05."""

    def code(f: Array, rng: np.random.Generator) -> Array:
        return np.concatenate([perfect(f), 0.01 * rng.normal(size=(len(f), 1))], axis=1)

    found = dis.factor_vae(World(code), **VOTES)
    assert found.votes.sum() == 400 and not found.votes[5].any()
    assert found.active.tolist() == [True] * 5 + [False]
    assert (np.delete(found.votes, 5, axis=0) == np.diag(np.diag(found.votes[:5]))).all()


def test_sprites_are_a_sampler() -> None:
    """The sprites themselves can be sampled, with distractors too, by any encoder of pictures."""

    def where(pictures: Array) -> Array:
        on = pictures.min(axis=3) > 150
        y, x = np.mgrid[:64, :64]
        mass = on.sum(axis=(1, 2))
        return np.stack([(on * x).sum((1, 2)) / mass, (on * y).sum((1, 2)) / mass], axis=1)

    found = dis.beta_vae(Sprites(), where, train_points=40, test_points=40)
    assert found.score > 0.3
    assert dis.beta_vae(Sprites(1), where, train_points=4, test_points=4).score >= 0


def test_seeds_that_agree_have_a_high_udr() -> None:
    """Models with the same latents in another order and sign score .9, rotated ones less."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.sqrt(500)
    off = 0.01 * rng.normal(size=(500, 1))
    models = [x, -x[:, ::-1], np.concatenate([x[:, [2, 0, 3, 1]], off], axis=1)]
    same = dis.udr(models)
    # Latents are uncorrelated, so the lasso shrinks each 1 to .9, and .9^2 / .9 = .9.
    assert same.score == pytest.approx(0.9, abs=1e-3) and same.scores.shape == (3,)
    turned = [x @ ortho_group.rvs(4, random_state=seed) for seed in range(3)]
    assert dis.udr(turned).score < 0.6
    rates = [[1.0] * 4, [1.0] * 4, [1.0] * 4 + [0.001]]
    assert dis.udr(models, rates).score == pytest.approx(same.score)
    assert dis.udr([x, x, x], [[0.0] * 4, [1.0] * 4, [1.0] * 4]).pairs[0, 1] == 0


@pytest.mark.parametrize(
    ("mu", "factors"),
    [
        (TRAIN[0][:, 0], TRAIN[1]),
        (TRAIN[0][:10], TRAIN[1]),
        (np.full((4, 2), np.nan), np.ones((4, 1))),
        (np.array([["a"], ["b"]]), np.ones((2, 1))),
        (TRAIN[0], np.ones((400, 2))),
        (np.ones((1, 2)), np.ones((1, 1))),
        (np.ones((0, 2)), np.ones((0, 1))),
    ],
)
def test_arrays_that_cannot_be_measured_are_refused(mu: Any, factors: Any) -> None:
    """Arrays of another shape or kind, or without a factor that varies, raise ConfigError."""
    for metric in (dis.mig, dis.modularity, dis.irs):
        with pytest.raises(ConfigError, match="Expected"):
            metric(mu, factors)


def test_what_does_not_belong_together_is_refused() -> None:
    """Test arrays of another width, one factor alone, one model alone raise ConfigError."""
    mu, y, mu_test, y_test = BOTH
    with pytest.raises(ConfigError, match="in both"):
        dis.sap(mu, y, mu_test[:, :3], y_test)
    with pytest.raises(ConfigError, match="2 or more"):
        dis.modularity(mu, y[:, :1])
    with pytest.raises(ConfigError, match="two models"):
        dis.udr([mu])
    with pytest.raises(ConfigError, match="rate"):
        dis.udr([mu, mu], [[1.0], [1.0]])
    with pytest.raises(ConfigError, match="two values"):
        dis.beta_vae(World(lambda f, rng: f, (3, 1)))


def test_results_show_numbers_and_shapes() -> None:
    """A result's repr gives scores, and of arrays the shape."""
    shown = repr(dis.mig(*TRAIN))
    assert shown.startswith("Mig(score=0.5081, interval=(0.") and "information=array(5, 3)" in shown
