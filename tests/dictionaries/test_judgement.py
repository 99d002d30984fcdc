"""No atom is claimed that is not there: counter-examples, adversarial halves, reasons."""

import warnings

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.dictionaries.dictionary_learning import Learned
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.judgement import judge_dictionary
from sklearn_nnrecover.dictionaries.polishing import Polished
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import standard_errors
from sklearn_nnrecover.exceptions import RecoveryWarning

from .small_problems import FAMILIES, small_problem


def wrong_claims(problem, seed):
    """Atoms marked as identified that are further than 6 standard errors from every true one."""
    fitted = TiedAutoencoder(random_state=seed, **problem.parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        fitted.fit(problem.X)
    D, report = fitted.components_, fitted.report_
    claimed = np.array(report.identified)
    assert claimed.any() == (report.status != "not_recovered")
    assert claimed.all() or report.status in ("partial", "not_recovered")
    distance = np.full(len(D), np.inf)
    if len(problem.atoms):
        truth = np.concatenate([problem.atoms, -problem.atoms])
        distance = np.linalg.norm(D[:, None] - truth, axis=2).min(axis=1)
    allowed = np.maximum(6 * np.linalg.norm(fitted.components_std_, axis=1), 1e-5)
    return np.flatnonzero(claimed & (distance > allowed))


@pytest.mark.parametrize(
    ("family", "seed"),
    [
        ("integer", 4),
        ("fewer", 45),
        ("d4", 62),
        ("given", 69),
        ("wrong model", 168),
        ("few and noisy", 1029),
        ("noise", 2052),
        ("wrong model", 2073),
        ("coherent and noisy", 2106),
    ],
)
def test_counter_examples_to_earlier_verdicts(family, seed):
    """Agreement of two halves within error bars and noise-like residuals once claimed these."""
    assert not len(wrong_claims(small_problem(family, seed), seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_wrong_claim_in_few_dimensions(seed, family):
    for draw in range(2):
        assert not len(wrong_claims(small_problem(family, (seed + draw) % 2**32), draw))


def judged(X, D, rng, n_nonzero, noise_variance=0.0, stop=0.0):
    """Verdict on D when both halves of the data, wrongly, agree with it."""
    rule = CodeRule("omp", n_nonzero, stop, search_above=1e-20 if noise_variance == 0 else np.inf)
    codes = encode(X, D, rule)
    residual = X - codes @ D
    square = np.einsum("ij,ij->i", residual, residual)
    gram = (codes.T @ codes).toarray()
    usage = np.bincount(codes.indices, minlength=len(D))
    learned = Learned(Polished(D, gram, usage, square, 0, 0.0), rule, noise_variance, stop=stop)
    errors = standard_errors(D, gram, noise_variance, n_nonzero)
    eps = float(np.finfo(np.float64).eps)
    return judge_dictionary(Samples(X), learned, (D, D), errors, eps=eps, rng=rng)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_halves_that_agree_on_a_wrong_atom_do_not_prove_it(rng, noise):
    """The other atoms may be proven, the one that was turned towards another one must not be."""
    X, truth = make_sparse_codes(
        3000, 20, n_components=24, n_nonzero=2, noise=noise, random_state=rng
    )
    D = truth.components_.copy()
    assert all(unit["identified"] for unit in judged(X, D, rng, 2, noise**2).units)
    D[3] = 0.8 * D[3] + 0.6 * D[7]
    D[3] /= np.linalg.norm(D[3])
    judgement = judged(X, D, rng, 2, noise**2)
    claimed = [unit["identified"] for unit in judgement.units]
    assert not claimed[3]
    assert judgement.status in ("partial", "not_recovered")
    if noise == 0:
        assert judgement.status == "partial"
        assert sum(claimed) >= 20


def test_one_atom_in_place_of_two_similar_ones(rng):
    """Its users' residuals lie along the difference."""
    X, truth = make_sparse_codes(3000, 16, n_components=12, n_nonzero=1, random_state=rng)
    atoms = truth.components_.copy()
    atoms[1] = atoms[0] + 0.3 * atoms[1]
    atoms[1] /= np.linalg.norm(atoms[1])
    X = truth.codes @ atoms + 0.03 * rng.standard_normal(X.shape)
    D = np.vstack([atoms[0] + atoms[1], atoms[2:]])
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    judgement = judged(X, D, rng, 1, 0.03**2)
    assert not judgement.units[0]["identified"]


def test_repeated_rows_are_no_new_evidence(rng):
    for noise in (0.0, 0.05):
        X, _ = make_sparse_codes(
            60, 12, n_components=10, n_nonzero=2, noise=noise, random_state=rng
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveryWarning)
            once = TiedAutoencoder(10, random_state=0).fit(X)
            often = TiedAutoencoder(10, random_state=0).fit(np.repeat(X, 8, axis=0))
        assert once.report_ == often.report_
        np.testing.assert_array_equal(once.components_std_, often.components_std_)


def repeated_values(rng, kind, n=30, m=30, n_samples=2000):
    _, truth = make_sparse_codes(n_samples, n, n_components=m, n_nonzero=2, random_state=rng)
    codes = np.sign(truth.codes.toarray())
    if kind == "one sign":
        codes = np.abs(codes)
    elif kind == "integers":
        codes *= rng.randint(1, 4, codes.shape)
    return codes @ truth.components_, truth.components_


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 40)])
@pytest.mark.parametrize("kind", ["signs", "integers"])
def test_repeated_values_of_fair_signs_prove_all_atoms(rng, kind, n, m):
    X, D = repeated_values(rng, kind, n, m)
    judgement = judged(X, D, rng, 2)
    assert (judgement.status, judgement.proof) == ("exact", "local")
    passed = {name: passed for name, _, _, passed, _ in judgement.conditions}
    assert passed["fair signs"]
    assert passed["other codes"]


@pytest.mark.parametrize(("kind", "m"), [("one sign", 30), ("signs", 8)])
def test_repeated_values_prove_nothing(rng, kind, m):
    """Without fair signs, or with 56 different samples, other dictionaries are not excluded."""
    X, D = repeated_values(rng, kind, m=m)
    judgement = judged(X, D, rng, 2)
    assert judgement.status == "not_recovered"
    assert "repeat" in judgement.reason


def test_three_dictionaries_of_the_root_system_d4(rng):
    """Even if all halves agree on one of them."""
    codes = np.zeros((3000, 4))
    on = rng.rand(3000, 4).argsort(axis=1)[:, :2]
    np.put_along_axis(codes, on, rng.choice([-1.0, 1.0], (3000, 2)), axis=1)
    other = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2
    for D in (np.eye(4), other):
        judgement = judged(codes, D, rng, 2)
        assert judgement.status == "not_recovered"
        assert not any(unit["identified"] for unit in judgement.units)


def test_an_atom_that_is_active_only_with_another_one_is_not_claimed_under_noise(rng):
    """Every line in the plane of parent and child explains as much."""
    _, truth = make_sparse_codes(1500, 24, n_components=16, n_nonzero=2, random_state=rng)
    on = rng.rand(1500, 16) < 0.1
    on[:, 8:] = on[:, :8] & (rng.rand(1500, 8) < 0.5)
    codes = np.where(on, rng.standard_normal(on.shape), 0)
    D = truth.components_
    X = codes @ D + 0.05 * rng.standard_normal((1500, 24))
    turned = D.copy()
    turned[8:] += 0.5 * D[:8]
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    for atoms in (D, turned):
        units = judged(X, atoms, rng, 6, 0.05**2, 0.15).units
        assert not any(unit["identified"] for unit in units[8:])
