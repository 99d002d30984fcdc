import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.linalg.rescalings import align_signs, balance, path_rescalings
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import factor_distance
from sklearn_nnrecover.products.identifiability import (
    certificate_conditions,
    certify,
    deep_null_space_constant,
    stability_bound,
    tensor_distance,
)
from sklearn_nnrecover.products.structured.structured_least_squares import fit_structured
from sklearn_nnrecover.products.structures import (
    Basis,
    Convolution,
    Diagonal,
    SparseSupport,
    Subspace,
)

from .structured_cases import AMBIGUOUS, IDENTIFIABLE, contiguous_convolutions, gaussian


def product(structures, parameters):
    X = np.eye(structures[0].shape[0])
    for structure, h in zip(structures, parameters, strict=True):
        X = X @ structure.matrix(h)
    return X


@pytest.mark.parametrize("name", IDENTIFIABLE)
def test_identifiable(name, seed):
    make, n_columns, gauge = IDENTIFIABLE[name]
    certificate = certify(make(np.random.RandomState(seed)), random_state=seed)
    assert certificate.verdict == "identifiable"
    assert certificate.n_paths == n_columns
    assert certificate.kernel_dimension == 0
    assert certificate.gauge_dimension == gauge
    assert certificate.jacobian_rank == certificate.n_parameters - gauge
    assert certificate.gamma == 1 and certificate.witness is None
    assert 0 < certificate.sigma_min <= certificate.sigma_max
    assert "identifiable" in str(certificate)


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_not_identifiable_with_a_witness(name, seed):
    make, n_columns, kernel = AMBIGUOUS[name]
    structures = make(np.random.RandomState(seed))
    certificate = certify(structures, random_state=seed)
    assert certificate.verdict == "not identifiable"
    assert (certificate.n_paths, certificate.kernel_dimension) == (n_columns, kernel)
    # Full Jacobian rank all the same: local freedom is not what goes wrong.
    assert certificate.jacobian_rank == certificate.n_parameters - certificate.gauge_dimension
    first, second = certificate.witness.first, certificate.witness.second
    X, Y = product(structures, first), product(structures, second)
    assert np.linalg.norm(X - Y) <= 1e-11 * np.linalg.norm(X)
    assert factor_distance(first, second) > 1e-3
    assert deep_null_space_constant(structures, certificate=certificate) == (np.inf, np.inf)


def test_locally_identifiable(seed):
    structures = gaussian(np.random.RandomState(seed), 3, 8, 12)
    certificate = certify(structures, random_state=seed)
    assert certificate.verdict == "locally identifiable"
    assert (certificate.n_paths, certificate.kernel_dimension) == (512, 368)
    assert certificate.jacobian_rank == 24 - 2
    constant = deep_null_space_constant(structures, certificate=certificate, n_samples=3)
    assert 1 < constant.lower < np.inf and constant.upper == np.inf


def test_a_matrix_between_the_factors_is_not_determined(seed):
    """M_1 G and G^-1 M_2: a continuum beyond rescalings, found along null directions."""
    structures = [SparseSupport(np.ones((5, 2))), SparseSupport(np.ones((2, 5)))]
    certificate = certify(structures, random_state=seed)
    assert certificate.verdict == "not identifiable"
    assert certificate.gauge_dimension == 2
    assert certificate.jacobian_rank == 20 - 4
    witness = certificate.witness
    assert witness.residual <= 1e-12 and witness.distance > 1e-2


def test_a_parameter_without_effect_is_named(seed):
    structures = [SparseSupport([[1, 1], [0, 1]]), SparseSupport([[1, 0], [0, 0]])]
    certificate = certify(structures, random_state=seed)
    assert certificate.verdict == "not identifiable"
    assert "parameter 1 of structures[0]" in certificate.reason
    witness = certificate.witness
    np.testing.assert_allclose(
        product(structures, witness.first), product(structures, witness.second), atol=1e-14
    )


def test_too_large_to_decide(seed):
    """More columns than the limit, a Jacobian that leaves directions free, no budget of fits."""
    structures = [SparseSupport(np.ones((9, 8))), SparseSupport(np.ones((8, 9)))]
    certificate = certify(structures, max_columns=20, max_fits=0, random_state=seed)
    assert certificate.verdict in ("too large to decide", "not identifiable")
    structures = gaussian(np.random.RandomState(seed), 3, 6, 8)
    certificate = certify(structures, max_columns=20, random_state=seed)
    assert certificate.verdict == "locally identifiable"
    assert certificate.kernel_dimension is None
    assert "max_columns=20" in certificate.reason


def test_unforgiving_sizes_are_estimated(seed):
    structures = [Basis(np.random.RandomState(seed).standard_normal((40, 9, 9)))] * 6
    certificate = certify(structures, max_fits=2, random_state=seed)
    assert certificate.n_paths is None and certificate.verdict != "identifiable"
    assert "MiB" in certificate.reason or certificate.verdict == "not identifiable"


def test_one_factor_is_linear_algebra(rng):
    full, twice = np.eye(6).reshape(6, 2, 3), np.ones((2, 2, 3))
    assert certify([Basis(full)]).verdict == "identifiable"
    assert certify([Basis(full)]).gauge_dimension == 0
    assert certify([Basis(twice)]).verdict == "not identifiable"


def test_same_seed_same_certificate():
    one, other = (certify(contiguous_convolutions(2, 3), random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one.witness.second[0], other.witness.second[0])


def test_conditions_are_plain(seed):
    certificate = certify(contiguous_convolutions(2, 3), random_state=seed)
    conditions = certificate_conditions(certificate)
    assert all(len(condition) == 5 and condition[4] for condition in conditions)
    passed = {name: ok for name, _, _, ok, _ in conditions}
    assert not passed["identifiability"] and not passed["lifting_kernel_dimension"]


# Sparse supports that are not known


def test_collections_of_supports(seed):
    """Contiguous kernels are ambiguous; with two taps of five in spread positions they are not."""
    structures = [Convolution(30, 5), Convolution(30, 5)]
    assert certify(structures, random_state=seed).verdict == "not identifiable"
    spread = [[[0, 1], [0, 2]], [[0, 1], [0, 4]]]
    certificate = certify(structures, supports=spread, random_state=seed)
    assert certificate.verdict == "identifiable"
    assert certificate.n_models == 2 and certificate.gamma >= 1
    swapped = [[[0, 1], [0, 2]], [[0, 2], [0, 1]]]
    certificate = certify(structures, supports=swapped, random_state=seed)
    assert certificate.verdict == "not identifiable"
    witness = certificate.witness
    np.testing.assert_allclose(
        product(structures, witness.first), product(structures, witness.second), atol=1e-12
    )
    assert np.flatnonzero(witness.first[0]).tolist() != np.flatnonzero(witness.second[0]).tolist()


def test_gamma_of_a_collection_bounds_its_tensors(seed):
    rng = np.random.RandomState(seed)
    structures = gaussian(rng, 2, 6, 5)  # 36 columns, 25 rows: a kernel of dimension 11
    models = [[[0, 1], [2, 3]], [[1, 4], [0, 5]], [[2, 5], [1, 2]]]
    certificate = certify(structures, supports=models, random_state=seed)
    assert certificate.verdict == "identifiable" and certificate.kernel_dimension == 11
    from sklearn_nnrecover.products.identifiability import kernel_basis, lifting_operator

    operator = lifting_operator(structures)
    kernel = kernel_basis(operator)
    for _ in range(50):
        tensors = []
        for m in rng.randint(3, size=2):
            h = [np.zeros(6), np.zeros(6)]
            for k in range(2):
                h[k][models[m][k]] = rng.standard_normal(2)
            tensors.append(operator.segre(h))
        T = tensors[0] - tensors[1]
        across = np.linalg.norm(T - kernel @ (kernel.T @ T))
        assert np.linalg.norm(T) <= certificate.gamma * across * (1 + 1e-9)


def test_all_supports_of_a_size_within_a_budget(rng):
    structures = [Diagonal(3), Subspace(rng.standard_normal((3, 3)))]
    certificate = certify(structures, n_nonzero=(3, 1))
    assert certificate.n_models == 3 and certificate.verdict == "not identifiable"
    with pytest.raises(ValueError, match="max_models=2"):
        certify(structures, n_nonzero=(3, 1), max_models=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"supports": []}, "empty"),
        ({"supports": [[[0]]]}, r"supports\[0\] has 1"),
        ({"supports": [[[0], []]]}, r"supports\[0\]\[1\] is empty"),
        ({"supports": [[[0], [9]]]}, r"structures\[1\]"),
        ({"n_nonzero": 9}, r"structures\[0\]"),
        ({"n_nonzero": (1, 1, 1)}, "3 entries"),
        ({"n_nonzero": 1, "supports": [[[0], [0]]]}, "not both"),
    ],
)
def test_bad_models_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        certify([Diagonal(4), Diagonal(4)], **arguments)


# Stability


@pytest.mark.parametrize("name", ["dilated 2 x 5", "blind deconvolution", "Gaussian K=3 S=6"])
def test_the_bound_holds(name, seed):
    structures = IDENTIFIABLE[name][0](np.random.RandomState(seed))
    certificate = certify(structures, random_state=seed)
    X, truth = make_structured_product(structures, noise=1e-5, random_state=seed)
    fit = run_to_end(fit_structured(X, structures, rng=np.random.RandomState(seed)))
    bound = stability_bound(
        certificate,
        fit.parameters,
        delta=truth.noise_norm,
        eta=fit.residual_norm,
        truth=truth.parameters_,
    )
    assert 0 < bound.measured_tensor <= bound.tensor < np.inf
    assert 0 < bound.measured_distance <= bound.distance
    assert bound.measured_distance == factor_distance(fit.parameters, truth.parameters_)


def test_no_bound_without_its_hypothesis(seed):
    rng = np.random.RandomState(seed)
    h = [rng.standard_normal(3), rng.standard_normal(3)]
    certificate = certify(contiguous_convolutions(2, 3), random_state=seed)
    bound = stability_bound(certificate, h, delta=1e-6, eta=0.0)
    assert bound.tensor == bound.distance == np.inf and "not identifiable" in bound.reason
    certificate = certify([Convolution(20, 3), Convolution(20, 3, dilation=3)])
    bound = stability_bound(certificate, h, delta=1e3, eta=0.0)
    assert np.isfinite(bound.tensor) and bound.distance == np.inf
    assert "not small enough" in bound.reason


def test_tensor_distance_is_that_of_tensors(rng):
    h, g = ([rng.standard_normal(n) for n in (3, 4, 2)] for _ in range(2))
    P = [np.einsum("i,j,k", *parts) for parts in (h, g)]
    assert tensor_distance(h, g) == pytest.approx(np.linalg.norm(P[0] - P[1]))
    h = [part * (1 + 1e-12) for part in g]
    expected = 3e-12 * np.prod([np.linalg.norm(part) for part in g])
    assert tensor_distance(h, g) == pytest.approx(expected, rel=1e-2)


# Distances and rescalings


@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
def test_factor_distance_forgets_layer_scales(p, rng):
    h = [rng.standard_normal(n) for n in (3, 5, 4)]
    scales = rng.standard_normal(3) * 3
    scales[2] = 1 / (scales[0] * scales[1])
    g = [scale * part for scale, part in zip(scales, h, strict=True)]
    assert factor_distance(h, g, p) < 1e-12
    assert factor_distance([-g[0], *g[1:]], h, p) > 0.1
    other = [rng.standard_normal(n) for n in (3, 5, 4)]
    assert factor_distance(h, other, p) == pytest.approx(factor_distance(other, g, p))


def test_factor_distance_minimises_over_signs(rng):
    h, g = ([rng.standard_normal(n) for n in (2, 3, 2)] for _ in range(2))
    scaled = []
    for parts in (h, g):
        top = np.array([np.abs(part).max() for part in parts])
        scaled.append([p * np.prod(top) ** (1 / 3) / t for p, t in zip(parts, top, strict=True)])
    best = min(
        np.linalg.norm(np.concatenate([s * p for s, p in zip(signs, scaled[0], strict=True)])
                       - np.concatenate(scaled[1]))
        for signs in [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    )  # fmt: skip
    assert factor_distance(h, g) == pytest.approx(best)


def test_factor_distance_refuses_what_has_no_distance():
    with pytest.raises(ValueError, match=r"h\[1\] is zero"):
        factor_distance([[1.0], [0.0]], [[1.0], [1.0]])
    with pytest.raises(ValueError, match="parameters"):
        factor_distance([[1.0], [1.0, 2.0]], [[1.0], [1.0]])
    with pytest.raises(ValueError, match="p must be"):
        factor_distance([[1.0]], [[1.0]], 0.5)


@pytest.mark.parametrize("order", [4, 8, 16])
def test_butterflies_modulo_node_rescaling(order, seed):
    rng = np.random.RandomState(seed)
    structures = IDENTIFIABLE[f"butterfly {order}"][0](rng)
    certificate = certify(structures)
    assert certificate.extra_gauge_dimension == {4: 3, 8: 14, 16: 45}[order]
    h = [rng.standard_normal(s.n_parameters) for s in structures]
    # A diagonal of mixed signs between the first two factors.
    D = rng.standard_normal(order)
    first, second = (s.matrix(x).toarray() for s, x in zip(structures[:2], h[:2], strict=True))
    g = [structures[0].adjoint(first * D), structures[1].adjoint(second / D[:, None]), *h[2:]]
    np.testing.assert_allclose(product(structures, h), product(structures, g), atol=1e-9)
    assert factor_distance(h, g, gauge=certificate.rescalings) < 1e-9
    assert factor_distance(h, g) > 1e-2
    g[0] = g[0] * np.where(np.arange(len(g[0])) == 2, 1.5, 1)
    assert factor_distance(h, g, gauge=certificate.rescalings) > 1e-3


def test_rescalings_leave_paths_alone(rng):
    paths = np.array([[0, 0], [0, 1], [1, 1], [2, 2]])
    group = path_rescalings(paths, [3, 3])
    assert group.dimension == 2 and group.signs.shape[1] == 2
    h = rng.standard_normal(6)
    moved = h * np.exp(group.log_scales @ rng.standard_normal(2))
    moved = np.where(group.signs @ [1, 1] % 2 == 1, -moved, moved)
    for i, j in paths:
        assert moved[i] * moved[3 + j] == pytest.approx(h[i] * h[3 + j])
    np.testing.assert_allclose(
        align_signs(balance(moved, group), balance(h, group), group), balance(h, group)
    )
