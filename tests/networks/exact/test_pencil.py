import numpy as np
import pytest
from scipy.stats import ortho_group

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.exact.pencil import pencil_recovery
from sklearn_nnrecover.networks.model.design import orthonormal_design


def recover(X, Y, intercept, **options):
    samples, design = orthonormal_design(X, Y, np.ones(len(X)), intercept=intercept)
    pencil = run_to_end(pencil_recovery(samples, rng=np.random.RandomState(0), **options))
    if pencil.network is None:
        return pencil, None
    W, b, A, c = design.weights(pencil.network)
    return pencil, ([W, A], [b, c])


@pytest.mark.parametrize(("d", "k", "m"), [(5, 3, 3), (10, 5, 8), (10, 10, 10), (30, 20, 20)])
def test_three_samples_per_direction_suffice_without_biases(seed, d, k, m):
    # Some draws are harder than others: two of three must be exact, none wrong.
    exact = 0
    for shift in range(3):
        X, Y, truth = make_relu_network(
            3 * (d + k), d, n_hidden=k, n_outputs=m, bias=False, random_state=seed + shift
        )
        pencil, network = recover(X, Y, intercept=False)
        if network is not None and all(u.n_active > u.active_rank == d for u in pencil.units):
            assert recovery_error(network, truth) < 1e-10
            assert pencil.hits.min() >= 1
            exact += 1
    assert exact >= 2


def test_biases_and_intercepts(rng):
    X = rng.exponential(size=(150, 8))
    W = ortho_group.rvs(8, random_state=rng)[:, :4]
    b = rng.uniform(-0.3, 0.3, 4) - np.median(X @ W, axis=0)
    A, c = rng.standard_normal((4, 4)), rng.standard_normal(4)
    pencil, network = recover(X, np.maximum(X @ W + b, 0) @ A + c, intercept=True)
    assert not pencil.always_on.any()
    assert recovery_error(network, ([W, A], [b, c])) < 1e-11


@pytest.mark.parametrize("condition", ["output_condition", "input_condition"])
def test_bad_conditioning_costs_few_digits(seed, condition):
    X, Y, truth = make_relu_network(
        150, 8, n_hidden=5, n_outputs=5, bias=False, random_state=seed, **{condition: 1e4}
    )
    _, network = recover(X, Y, intercept=False)
    assert recovery_error(network, truth) < 1e-9


def test_always_on_unit_beside_the_others(rng):
    X = rng.standard_normal((120, 6))
    W = ortho_group.rvs(6, random_state=rng)[:, :3]
    b = np.array([0.5 - (X @ W[:, 0]).min(), 0.2, -0.3])
    A, c = rng.standard_normal((3, 5)), rng.standard_normal(5)
    Y = np.maximum(X @ W + b, 0) @ A + c
    pencil, ([W2, A2], [b2, c2]) = recover(X, Y, intercept=True)
    assert pencil.always_on.sum() == 1
    np.testing.assert_allclose(np.maximum(X @ W2 + b2, 0) @ A2 + c2, Y, atol=1e-11)
    cosines = (W2[:, ~pencil.always_on] / np.linalg.norm(W2[:, ~pencil.always_on], axis=0)).T @ W
    np.testing.assert_allclose(np.sort(cosines.max(axis=0))[-2:], 1.0, atol=1e-11)


def test_a_unit_is_determined_on_the_span_of_its_active_rows(rng):
    """0/1 inputs: one unit active on few corners of the cube."""
    X = np.unique(rng.randint(0, 2, (300, 7)), axis=0).astype(float)
    W = np.array([[1, 1, 1, 1, 1, 0, 0], [1, -1, 1, -1, 1, -1, 1], [0, 2, -1, 0, 2, -1, 1]]).T
    b = np.array([-3.5, -0.5, -0.5])
    A = rng.standard_normal((3, 3))
    Y = np.maximum(X @ W + b, 0.0) @ A
    pencil, network = recover(X, Y, intercept=True)
    assert network is not None
    active = X @ W + b > 0
    expected = [np.linalg.matrix_rank(np.column_stack([X, np.ones(len(X))])[a]) for a in active.T]
    assert sorted(unit.active_rank for unit in pencil.units) == sorted(expected)
    ([W2, A2], [b2, c2]) = network
    np.testing.assert_allclose(np.maximum(X @ W2 + b2, 0) @ A2 + c2, Y, atol=1e-9)


def test_units_active_on_the_same_samples_are_not_returned(rng):
    """Combinations of two such units would fit alike, with a zero at one sample more."""
    X = rng.standard_normal((60, 5))
    W = ortho_group.rvs(5, random_state=rng)[:, :3]
    W[:, 1] = W[:, 0] + 0.01 * W[:, 1]
    # No sample between the two hyperplanes.
    X = X[np.sign(X @ W[:, 0]) == np.sign(X @ W[:, 1])]
    Y = np.maximum(X @ W, 0.0) @ rng.standard_normal((3, 3))
    pencil, _ = recover(X, Y, intercept=False)
    assert pencil.network is None
    assert len(pencil.units) < 3


@pytest.mark.parametrize("name", ["noise", "tanh", "linear", "constant", "too few"])
def test_other_data_never_give_a_network(rng, name):
    n = 7 if name == "too few" else 120
    X = rng.standard_normal((n, 5))
    T = X @ rng.standard_normal((5, 3))
    A = rng.standard_normal((3, 3))
    Y = {
        "noise": rng.standard_normal((n, 3)),
        "tanh": np.tanh(T) @ A,
        "linear": T @ A,
        "constant": np.ones((n, 3)),
        "too few": np.maximum(T, 0) @ A,
    }[name]
    pencil, _ = recover(X, Y, intercept=True)
    assert pencil.network is None
    assert pencil.reason in {"no network", "linear outputs", "constant outputs", "too few samples"}
    # Data of another kind are given up early.
    assert pencil.n_starts <= 100
