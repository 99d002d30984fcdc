import numpy as np
import pytest
from scipy.stats import ortho_group

from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.exact.lifted_system import lifted_recovery
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork

D, K, M = 8, 4, 6


def teacher(rng, X, n_always_on=0, bias=True):
    """A network with well separated units whose kinks lie inside the data, and its outputs."""
    W = ortho_group.rvs(D, random_state=rng)[:, :K]
    A = rng.standard_normal((K, M))
    b, c = np.zeros(K), np.zeros(M)
    if bias:
        values = X @ W
        b = -np.median(values, axis=0) + rng.uniform(-0.5, 0.5, K) * values.std(axis=0)
        c = rng.standard_normal(M)
        b[:n_always_on] = 0.5 - values.min(axis=0)[:n_always_on]
    return np.maximum(X @ W + b, 0.0) @ A + c, ([W, A], [b, c])


def recover(X, Y, intercept=True, weight=None, **options):
    weight = np.ones(len(X)) if weight is None else weight
    samples, design = orthonormal_design(X, Y, weight, intercept=intercept)
    lifted = lifted_recovery(samples, rng=np.random.RandomState(0), **options)
    if lifted.network is None:
        return lifted, None
    W, b, A, c = design.weights(lifted.network)
    return lifted, ([W, A], [b, c])


INPUTS = {
    "normal": lambda rng, n: rng.standard_normal((n, D)),
    "exponential": lambda rng, n: rng.exponential(size=(n, D)),
    "uniform": lambda rng, n: rng.uniform(size=(n, D)),
    "scaled": lambda rng, n: rng.standard_normal((n, D)) * 10.0 ** np.arange(-4, 4) + 1e3,
}


@pytest.mark.parametrize("inputs", ["normal", "exponential", "uniform"])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_exact_and_the_null_space_proves_it(rng, inputs, bias):
    X = INPUTS[inputs](rng, 400)
    X = X if bias else X - X.mean(axis=0)
    Y, truth = teacher(rng, X, bias=bias)
    lifted, network = recover(X, Y, intercept=bias)
    assert lifted.proven and lifted.nullity == lifted.expected_nullity == K
    assert lifted.singular_values[K] > 1e3 * lifted.singular_values[K - 1]
    assert recovery_error(network, truth) < 1e-11


def test_columns_of_different_scale(rng):
    X = INPUTS["scaled"](rng, 400)
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    Y, _ = teacher(rng, standard)
    lifted, ([W, A], [b, c]) = recover(X, Y)
    assert lifted.proven
    np.testing.assert_allclose(np.maximum(X @ W + b, 0) @ A + c, Y, atol=1e-8)


def test_always_on_units_leave_the_others_exact(rng):
    X = INPUTS["exponential"](rng, 500)
    Y, ([W, A], [b, _]) = teacher(rng, X, n_always_on=2)
    lifted, ([W2, A2], [b2, c2]) = recover(X, Y)
    assert lifted.proven and lifted.expected_nullity == K - 2
    assert lifted.always_on.tolist() == [False, False, True, True]
    # Compare the units with a kink; of the others only the sum is determined.
    zero = np.zeros(M)
    kinked, found = slice(2, K), ~lifted.always_on
    truth = ([W[:, kinked], A[kinked]], [b[kinked], zero])
    assert recovery_error(([W2[:, found], A2[found]], [b2[found], zero]), truth) < 1e-11
    np.testing.assert_allclose(np.maximum(X @ W2 + b2, 0) @ A2 + c2, Y, atol=1e-11)


def test_always_on_units_without_biases(rng):
    X = rng.uniform(0.5, 1.5, (400, D))
    W = ortho_group.rvs(D, random_state=rng)[:, :K]
    W[:, 0] = rng.uniform(0.5, 1.0, D)
    W[:, 1:] -= W[:, 1:].mean(axis=0)
    W /= np.linalg.norm(W, axis=0)
    A = rng.standard_normal((K, M))
    lifted, network = recover(X, np.maximum(X @ W, 0.0) @ A, intercept=False)
    # Without a bias, one such unit is determined like any other.
    assert lifted.always_on.sum() == 1
    assert recovery_error(network, ([W, A], [np.zeros(K), np.zeros(M)])) < 1e-10


def test_zero_one_inputs_enlarge_only_the_other_null_space(rng):
    X = rng.randint(0, 2, (250, D)).astype(float)
    X = np.unique(X, axis=0)
    Y, truth = teacher(rng, X)
    lifted, network = recover(X, Y)
    if lifted.network is None:
        # 160 or so corners may leave one unit active only where another is.
        assert lifted.nullity > K
    elif all(unit.active_rank == D + 1 for unit in lifted.units):
        assert recovery_error(network, truth) < 1e-9


def test_a_row_of_zeros_says_nothing(rng):
    X = INPUTS["normal"](rng, 400)
    X[7] = 0.0
    Y, truth = teacher(rng, X, bias=False)
    lifted, network = recover(X, Y, intercept=False)
    assert lifted.proven
    assert recovery_error(network, truth) < 1e-11


def test_weights_count_as_repetitions(rng):
    X = INPUTS["normal"](rng, 400)
    Y, truth = teacher(rng, X)
    lifted, network = recover(X, Y, weight=rng.randint(1, 5, 400).astype(float))
    assert lifted.proven
    assert recovery_error(network, truth) < 1e-11


def test_many_samples_use_few_equations(rng):
    X = INPUTS["normal"](rng, 20_000)
    Y, truth = teacher(rng, X)
    lifted, network = recover(X, Y)
    assert lifted.n_equations < 1000
    assert recovery_error(network, truth) < 1e-11


def test_single_precision_data_are_judged_by_their_own_rounding(rng):
    X = INPUTS["normal"](rng, 500).astype(np.float32)
    Y, truth = teacher(rng, X.astype(float))
    samples, design = orthonormal_design(
        X.astype(float),
        Y.astype(np.float32).astype(float),
        np.ones(500),
        intercept=True,
        eps=float(np.finfo(np.float32).eps),
    )
    lifted = lifted_recovery(samples, rng=rng)
    assert lifted.outputs.rank == K
    W, b, A, c = design.weights(lifted.network)
    assert recovery_error(([W, A], [b, c]), truth) < 1e-4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("constant", "constant outputs"),
        ("linear", "linear outputs"),
        ("noise", "no network"),
        ("noisy network", "no network"),
        ("tanh", "no network"),
        ("squared", "no network"),
        ("leaky", "no network"),
        ("steps", "no network"),
        ("more units than outputs", "no network"),
    ],
)
def test_other_data_never_give_a_network(rng, name, reason):
    X = INPUTS["normal"](rng, 400)
    T = X @ rng.standard_normal((D, K))
    A = rng.standard_normal((K, M))
    Y = {
        "constant": np.ones((400, M)),
        "linear": T @ A,
        "noise": rng.standard_normal((400, M)),
        "noisy network": np.maximum(T, 0) @ A + 1e-8 * rng.standard_normal((400, M)),
        "tanh": np.tanh(T) @ A,
        "squared": np.maximum(T, 0) ** 2 @ A,
        "leaky": np.maximum(T, 0.1 * T) @ A,
        "steps": (T > 0) @ A,
        "more units than outputs": np.maximum(T, 0) @ A[:, :2],
    }[name]
    lifted, _ = recover(X, Y)
    assert lifted.network is None and not lifted.proven
    assert lifted.reason == reason


def test_too_few_samples_are_named(rng):
    X = INPUTS["normal"](rng, 30)
    Y, _ = teacher(rng, X, bias=False)
    lifted, _ = recover(X, Y, intercept=False)
    assert lifted.network is None and lifted.reason == "too few samples"
    assert lifted.n_equations == 30 < lifted.n_unknowns


def test_units_never_told_apart_enlarge_the_null_space(rng):
    X = INPUTS["normal"](rng, 400)
    W = ortho_group.rvs(D, random_state=rng)[:, :K]
    W[:, 1] = W[:, 0] + 0.01 * W[:, 1]
    # No sample between the two hyperplanes.
    X = X[np.sign(X @ W[:, 0]) == np.sign(X @ W[:, 1])]
    lifted, _ = recover(X, np.maximum(X @ W, 0.0) @ rng.standard_normal((K, M)), intercept=False)
    assert lifted.network is None and lifted.reason == "null space too large"
    assert lifted.outputs.rank == K and lifted.nullity == K + 1


def test_a_known_network_is_proven_without_being_solved_for(rng):
    X = INPUTS["normal"](rng, 400)
    Y, (coefs, _) = teacher(rng, X, bias=False)
    samples, design = orthonormal_design(X, Y, np.ones(400), intercept=False)
    V = np.linalg.lstsq(samples.Z, X @ coefs[0], rcond=None)[0]
    truth = TwoLayerNetwork(V, coefs[1] / design.output_scale, np.zeros(M))
    lifted = lifted_recovery(samples, rng=rng, known=truth)
    assert lifted.proven and lifted.network is truth
    assert lifted.nullity == lifted.expected_nullity == K
    few = samples._replace(Z=samples.Z[:25], Y=samples.Y[:25], weight=samples.weight[:25])
    assert not lifted_recovery(few, rng=rng, known=truth).proven
    # A unit in two halves is another network of its own width.
    halves = TwoLayerNetwork(np.hstack([V, V[:, :1]]), np.vstack([truth.A, truth.A[:1]]), truth.c)
    halves.A[[0, K]] /= 2
    assert lifted_recovery(samples, rng=rng, known=halves).network is not halves


def test_fewer_units_than_the_rank_are_refused(rng):
    X = INPUTS["normal"](rng, 400)
    Y, _ = teacher(rng, X)
    assert recover(X, Y, n_hidden=K - 1)[0].reason == "width"


def test_memory_is_estimated_before_it_is_taken(rng):
    X = INPUTS["normal"](rng, 400)
    Y, _ = teacher(rng, X)
    with pytest.raises(MemoryError, match=r"lifted system of 4 units .* solver='pencil'"):
        recover(X, Y, max_bytes=1e4)
