import time

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import factor_distance
from sklearn_nnrecover.products.identifiability import certify
from sklearn_nnrecover.products.structured.factor_residuals import FactorResidual, OperatorResidual
from sklearn_nnrecover.products.structured.lifted_residuals import (
    CompressedResidual,
    SparseResidual,
)
from sklearn_nnrecover.products.structured.lifting import lifting_operator, merge_equal_rows
from sklearn_nnrecover.products.structured.structured_fit import fit_conditions
from sklearn_nnrecover.products.structured.structured_least_squares import fit_structured
from sklearn_nnrecover.products.structured.structured_recovery import recover_structured
from sklearn_nnrecover.products.structures import (
    Basis,
    Blocks,
    Convolution,
    Diagonal,
    SparseSupport,
    Subspace,
    butterfly_levels,
)

from ..structured_cases import IDENTIFIABLE, contiguous_convolutions, gaussian


def fit(X, structures, seed=0, **options):
    rng = np.random.RandomState(seed)
    return run_to_end(fit_structured(X, structures, rng=rng, **options))


def recover(X, structures, seed=0, **options):
    rng = np.random.RandomState(seed)
    return run_to_end(recover_structured(X, structures, rng=rng, **options))


@pytest.mark.parametrize("name", IDENTIFIABLE)
def test_recovers_what_is_identifiable_in_one_start(name, seed):
    structures = IDENTIFIABLE[name][0](np.random.RandomState(seed))
    gauge = certify(structures).rescalings
    X, truth = make_structured_product(structures, random_state=seed)
    result = fit(X, structures)
    assert result.n_starts == 1 and result.exact and result.converged and result.pinned_down
    size = np.linalg.norm(np.concatenate(result.parameters))
    distance = factor_distance(result.parameters, truth.parameters_, gauge=gauge)
    # Errors of rounding in X grow by the condition of this random instance.
    assert distance <= 1e-13 * size * max(1, condition(structures, result) / 100)
    product = result.factors[0]
    for factor in result.factors[1:]:
        product = product @ factor
    assert np.linalg.norm(product - X) <= 1e-12 * np.linalg.norm(X)
    assert all(sparse.issparse(factor) for factor in result.factors)
    assert not np.concatenate(result.standard_errors).any()


def condition(structures, result):
    theta = np.concatenate(result.parameters)
    X = np.zeros((structures[0].shape[0], structures[-1].shape[1]))
    singular = np.linalg.svd(FactorResidual(structures, X).jacobian(theta)[0], compute_uv=False)
    return singular[0] / singular[result.jacobian_rank - 1]


def test_recovers_where_the_kernel_is_not_zero(seed):
    structures = gaussian(np.random.RandomState(seed), 3, 8, 12)
    X, truth = make_structured_product(structures, random_state=seed)
    result = recover(X, structures)
    assert (result.status, result.proof) == ("exact", "local")
    assert result.fit.n_agreeing >= 3
    assert factor_distance(result.fit.parameters, truth.parameters_) < 1e-10


def test_ambiguous_convolutions_are_not_called_recovered(seed):
    structures = contiguous_convolutions(2, 5)
    X, _ = make_structured_product(structures, random_state=seed)
    result = recover(X, structures, certify_structures=True)
    assert result.status == "not_recovered" and result.proof is None
    assert result.certificate.witness is not None
    # Without the certificate all starts look for a rival, and find one.
    assert recover(X, structures).status == "not_recovered"


def test_three_agreeing_starts_prove_nothing_where_the_lifted_problem_has_many_solutions(seed):
    structures = gaussian(np.random.RandomState(seed), 3, 8, 12)
    X, _ = make_structured_product(structures, random_state=seed)
    result = recover(X, structures, n_init=3)
    assert not result.fit.unique_lift
    assert result.status == "not_recovered" and "n_init" in result.reason
    structures = IDENTIFIABLE["blind deconvolution"][0](np.random.RandomState(seed))
    X, _ = make_structured_product(structures, random_state=seed)
    result = recover(X, structures, n_init=3)
    assert result.fit.unique_lift
    assert (result.status, result.proof) == ("exact", "local")


def test_certified_fits_are_proven_globally(seed):
    structures = IDENTIFIABLE["blind deconvolution"][0](np.random.RandomState(seed))
    X, _ = make_structured_product(structures, random_state=seed)
    result = recover(X, structures, certify_structures=True)
    assert (result.status, result.proof) == ("exact", "global")
    assert result.fit.n_starts == 1 and np.isfinite(result.bound.tensor)
    names = [condition[0] for condition in result.conditions]
    assert {"lifting_kernel_dimension", "relative_residual", "tensor_error_bound"} <= set(names)


def test_standard_errors_under_noise(seed):
    """Squared errors over their variances average 1: 60 fits of 24 parameters."""
    rng = np.random.RandomState(seed)
    structures = gaussian(rng, 3, 8, 12)
    group = certify(structures, max_columns=1).rescalings
    ratios = []
    from sklearn_nnrecover.linalg.rescalings import align_signs, balance

    for repeat in range(20):
        X, truth = make_structured_product(
            structures, noise=1e-3, random_state=(seed + repeat) % 2**32
        )
        result = fit(X, structures)
        assert not result.exact and result.pinned_down
        assert result.noise_std == pytest.approx(truth.noise_std, rel=0.5)
        true = balance(np.concatenate(truth.parameters_), group)
        found = align_signs(np.concatenate(result.parameters), true, group)
        ratios.append(np.mean(((found - true) / np.concatenate(result.standard_errors)) ** 2))
    assert 0.6 < np.mean(ratios) < 1.6


def test_noise_is_called_approximate(seed):
    structures = IDENTIFIABLE["Gaussian K=3 S=6"][0](np.random.RandomState(seed))
    statuses = []
    for repeat in range(5):  # each misses with probability .001 by its lack-of-fit test
        X, _ = make_structured_product(structures, noise=0.02, random_state=(seed + repeat) % 2**32)
        result = recover(X, structures)
        statuses.append(result.status)
        assert result.proof is None
    assert statuses.count("approximate") >= 4


@pytest.mark.parametrize("shape", ["random", "another model"])
def test_wrong_structures_are_not_recovered(shape, seed):
    rng = np.random.RandomState(seed)
    structures = [Diagonal(20), Convolution(20, 3), Diagonal(20)]
    if shape == "random":
        X = rng.standard_normal((20, 20))
    else:
        X = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 20))
    result = recover(X, structures)
    assert result.status == "not_recovered"
    assert np.isfinite(np.concatenate(result.fit.parameters)).all()


def test_what_the_data_leave_free_is_marked(seed):
    """A zero row of the second factor's data frees a whole column of the first."""
    rng = np.random.RandomState(seed)
    structures = [SparseSupport(np.eye(4) + np.eye(4, k=1)), SparseSupport(np.eye(4))]
    h = [rng.standard_normal(7), rng.standard_normal(4)]
    h[1][0] = 0.0  # parameter 0 of the first factor multiplies it
    X = structures[0].matrix(h[0]) @ structures[1].matrix(h[1])
    result = recover(X, structures)
    assert result.status in ("partial", "not_recovered")
    assert np.isinf(np.concatenate(result.fit.standard_errors)).any()
    assert not result.fit.pinned_down


def test_three_models_of_the_residual_agree(seed):
    rng = np.random.RandomState(seed)
    structures = [
        Convolution(10, 3),
        Blocks([[Diagonal(10), None], [None, Basis(rng.standard_normal((2, 10, 4)))]]),
    ]
    structures[0] = Basis(rng.standard_normal((3, 9, 20)))
    X, _ = make_structured_product(structures, noise=0.1, random_state=rng)
    operator = lifting_operator(structures)
    models = [
        CompressedResidual(operator, *merge_equal_rows(operator.matrix, X.ravel())),
        FactorResidual(structures, X),
        OperatorResidual(structures, X),
    ]
    theta = rng.standard_normal(sum(structure.n_parameters for structure in structures))
    steps = [model.linearise(theta)(0.1) for model in models]
    for model, step in zip(models, steps, strict=True):
        assert model.objective(theta) == pytest.approx(models[0].objective(theta))
        np.testing.assert_allclose(step, steps[0], atol=1e-7)


def test_a_sparse_jacobian_gives_the_same_steps(seed):
    rng = np.random.RandomState(seed)
    structures = [Convolution(12, 3, boundary="full"), SparseSupport(np.tri(12)), Diagonal(12)]
    X, _ = make_structured_product(structures, noise=0.1, random_state=rng)
    operator = lifting_operator(structures)
    one = SparseResidual(operator, *merge_equal_rows(operator.matrix, X.ravel()))
    other = FactorResidual(structures, X)
    theta = rng.standard_normal(sum(structure.n_parameters for structure in structures))
    assert one.objective(theta) == pytest.approx(other.objective(theta))
    for damping in (0.1, 10.0):
        np.testing.assert_allclose(
            one.linearise(theta)(damping), other.linearise(theta)(damping), atol=1e-7
        )


def test_butterfly_of_order_64(seed):
    """768 parameters: sparse normal equations, exact after one step from the lifted problem."""
    structures = butterfly_levels(64)
    X, truth = make_structured_product(structures, random_state=seed)
    result = recover(X, structures, certify_structures=True)
    assert (result.status, result.proof) == ("exact", "global")
    assert result.fit.n_starts == 1 and result.fit.n_iter <= 3
    gauge = result.certificate.rescalings
    error = factor_distance(result.fit.parameters, truth.parameters_, gauge=gauge)
    assert error < 1e-9 * np.linalg.norm(np.concatenate(result.fit.parameters))


def test_a_certificate_for_generic_parameters_does_not_cover_zeros(seed):
    """Nodes of a butterfly without incoming weight leave their outgoing weights free."""
    structures = butterfly_levels(4)
    rng = np.random.RandomState(seed)
    h = [rng.standard_normal(8), rng.standard_normal(8)]
    first = structures[0].matrix(h[0]).toarray()
    first[:, 1] = 0.0  # inner node 1 receives nothing
    X = first @ structures[1].matrix(h[1])
    result = recover(X, structures, certify_structures=True)
    assert result.certificate.verdict == "identifiable"
    assert result.status == "partial" and result.proof is None
    free = np.isinf(np.concatenate(result.fit.standard_errors))
    assert 0 < free.sum() < 16


def test_jacobian_in_blocks_of_rows(seed):
    from sklearn import config_context

    rng = np.random.RandomState(seed)
    structures = gaussian(rng, 3, 4, 15)
    X, _ = make_structured_product(structures, random_state=seed)
    theta = rng.standard_normal(12)
    model = FactorResidual(structures, X)
    whole = model.linearise(theta)(0.01)
    with config_context(working_memory=0.05):
        np.testing.assert_allclose(model.linearise(theta)(0.01), whole, atol=1e-10)


def test_out_of_range_part_is_accurate(rng):
    """To rounding of X, where the difference of squared norms has half the digits."""
    structures = [Diagonal(6), Subspace(np.eye(6)[:, :2])]
    operator = lifting_operator(structures)
    X = np.zeros((6, 1))
    X[0], X[5] = 1.0, 1e-11
    model = CompressedResidual(operator, *merge_equal_rows(operator.matrix, X.ravel()))
    assert model.out_of_range == pytest.approx(1e-11, rel=1e-4)


def test_large_weight_sharing_is_compressed(seed):
    structures = [Convolution(400, 6), Convolution(400, 6, dilation=6)]
    X, truth = make_structured_product(structures, random_state=seed)
    result = fit(X, structures)
    assert result.exact and result.start == "lifted" and result.pinned_down
    assert factor_distance(result.parameters, truth.parameters_) < 1e-11


def test_matrix_free_fit(seed, monkeypatch):
    monkeypatch.setattr(
        "sklearn_nnrecover.products.structured.structured_residuals.JACOBIAN_FLOPS", 0
    )
    monkeypatch.setattr(
        "sklearn_nnrecover.products.structured.lifted_residuals.COMPRESSION_FLOPS", 0
    )
    structures = [Diagonal(12), Basis(np.random.RandomState(seed).standard_normal((6, 12, 8)))]
    X, truth = make_structured_product(structures, random_state=seed)
    result = fit(X, structures)
    assert result.relative_residual < 1e-10 and result.jacobian_rank == -1
    assert factor_distance(result.parameters, truth.parameters_) < 1e-7
    assert recover(X, structures).status != "exact"  # nothing is proven without the Jacobian


def test_sparse_input_is_dense_input(seed):
    structures = [SparseSupport(np.tri(6)), Diagonal(6)]
    X, _ = make_structured_product(structures, noise=0.1, random_state=seed)
    one, other = fit(X, structures), fit(sparse.csr_array(X), structures)
    np.testing.assert_array_equal(one.parameters[0], other.parameters[0])


def test_one_factor_is_least_squares(rng):
    B = rng.standard_normal((3, 4, 5))
    X = rng.standard_normal((4, 5))
    result = fit(X, [Basis(B)])
    expected = np.linalg.lstsq(B.reshape(3, -1).T, X.ravel())[0]
    np.testing.assert_allclose(result.parameters[0], expected, atol=1e-9)


def test_same_seed_same_bits(seed):
    structures = contiguous_convolutions(2, 4)
    X, _ = make_structured_product(structures, noise=0.1, random_state=seed)
    one, other = (fit(X, structures, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(np.concatenate(one.parameters), np.concatenate(other.parameters))


def test_scale_of_the_data_does_not_matter(seed):
    structures = gaussian(np.random.RandomState(seed), 2, 4, 6)
    X, truth = make_structured_product(structures, random_state=seed)
    for scale in (1e-150, 1e100):
        result = fit(scale * X, structures)
        assert result.exact
        scaled = [h * np.sqrt(scale) for h in truth.parameters_]
        assert factor_distance(result.parameters, scaled) < 1e-10 * np.sqrt(scale)


def test_steps_report_the_relative_residual(seed):
    structures = gaussian(np.random.RandomState(seed), 2, 4, 6)
    X, _ = make_structured_product(structures, random_state=seed)
    objectives = [
        step.objective for step in fit_structured(X, structures, rng=np.random.RandomState(0))
    ]
    assert len(objectives) >= 1 and all(np.diff(objectives) < 0) and objectives[-1] < 1e-12


def test_bad_input_is_named():
    structures = [Diagonal(4), Circular(4)]
    with pytest.raises(ValueError, match="X is zero"):
        fit(np.zeros((4, 4)), structures)
    with pytest.raises(ValueError, match=r"structures\[0\] has 4 rows"):
        fit(np.ones((5, 4)), structures)


def Circular(n):
    return Convolution(n, 2)


def test_fit_conditions_are_plain(seed):
    structures = gaussian(np.random.RandomState(seed), 2, 4, 6)
    X, _ = make_structured_product(structures, noise=0.05, random_state=seed)
    conditions = fit_conditions(fit(X, structures))
    assert [condition[0] for condition in conditions][:2] == ["relative_residual", "jacobian_rank"]
    assert all(isinstance(condition[3], bool) for condition in conditions)


@pytest.mark.parametrize(("n_factors", "n_parameters", "order"), [(2, 30, 32), (4, 8, 66)])
def test_speed(n_factors, n_parameters, order, seed):
    """Under .2 s of one core; the median of three runs, with room for a busy machine."""
    structures = gaussian(np.random.RandomState(seed), n_factors, n_parameters, order)
    X, truth = make_structured_product(structures, random_state=seed)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        result = fit(X, structures)
        seconds.append(time.process_time() - start)
    assert result.exact and factor_distance(result.parameters, truth.parameters_) < 1e-11
    assert np.median(seconds) < 2.0
