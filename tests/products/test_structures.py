import numpy as np
import pytest
from scipy import linalg, sparse
from sklearn.base import clone

from sklearn_nnrecover.products.structures import (
    Basis,
    Blocks,
    ButterflyLevel,
    Circulant,
    Convolution,
    Diagonal,
    Restricted,
    SparseSupport,
    Structure,
    Subspace,
    Toeplitz,
    butterfly_levels,
    check_structure,
    check_structures,
)


def examples(rng):
    dense = rng.standard_normal((4, 5, 6))
    return [
        SparseSupport(rng.random_sample((5, 7)) < 0.4),
        SparseSupport(sparse.random_array((6, 4), density=0.5, rng=0)),
        Diagonal(6),
        Diagonal(basis=rng.standard_normal((6, 2))),
        Convolution(9, 4),
        Convolution(9, [0, 2, 5], dilation=2, boundary="zero"),
        Convolution(9, [-1, 0, 1], boundary="full"),
        Convolution(9, 3, dilation=2, boundary="valid"),
        Circulant(7),
        Toeplitz((4, 6)),
        Toeplitz((5, 5), [-1, 0, 3]),
        ButterflyLevel(8, 1),
        ButterflyLevel(9, 0, radix=3),
        Basis(dense),
        Basis([sparse.csr_array(np.where(np.abs(B) > 1, B, 0)) for B in dense]),
        Subspace(rng.standard_normal((8, 3))),
        Blocks([[Convolution(6, 2), None], [Diagonal(6), Circulant(6)]]),
        Restricted(Toeplitz((4, 4)), [0, 3, 5]),
    ]


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else matrix


@pytest.mark.parametrize("index", range(18))
def test_protocol(index, seed):
    structure = examples(np.random.RandomState(seed))[index]
    check_structure(structure, random_state=seed)
    assert type(structure).__name__ in repr(structure)


def test_convolution_is_numpys(rng):
    x, h = rng.standard_normal(11), rng.standard_normal(4)
    full = Convolution(11, 4, boundary="full").matrix(h) @ x
    np.testing.assert_allclose(full, np.convolve(x, h), atol=1e-12)
    np.testing.assert_allclose(
        Convolution(11, 4, boundary="valid").matrix(h) @ x, np.convolve(x, h, "valid"), atol=1e-12
    )
    np.testing.assert_allclose(
        Convolution(11, 4, boundary="zero").matrix(h) @ x, np.convolve(x, h)[:11], atol=1e-12
    )
    circular = np.fft.ifft(np.fft.fft(x) * np.fft.fft(h, 11)).real
    np.testing.assert_allclose(Convolution(11, 4).matrix(h) @ x, circular, atol=1e-12)


def test_dilation_spreads_the_kernel(rng):
    h = rng.standard_normal(3)
    spread = np.zeros(5)
    spread[::2] = h
    np.testing.assert_array_equal(
        Convolution(8, 3, dilation=2).matrix(h).toarray(),
        Convolution(8, 5).matrix(spread).toarray(),
    )


def test_circulant_and_toeplitz_are_scipys(rng):
    h = rng.standard_normal(9)
    np.testing.assert_array_equal(Circulant(9).matrix(h).toarray(), linalg.circulant(h))
    expected = linalg.toeplitz(h[3::-1], h[3:])
    np.testing.assert_array_equal(Toeplitz((4, 6)).matrix(h).toarray(), expected)


@pytest.mark.parametrize(("n", "radix"), [(8, 2), (16, 2), (27, 3)])
def test_butterflies_fill_the_matrix_once(n, radix):
    levels = butterfly_levels(n, radix=radix)
    product = np.eye(n)
    for level in levels:
        assert level.n_parameters == radix * n
        product = product @ level.matrix(np.ones(level.n_parameters))
    np.testing.assert_array_equal(product, np.ones((n, n)))


def test_hadamard_is_a_butterfly():
    product = np.eye(8)
    for level in butterfly_levels(8):
        pattern = level.matrix(np.arange(1, 17)).tocoo()
        lower = pattern.coords[0] > pattern.coords[1]
        both = pattern.coords[0] == pattern.coords[1]
        stride = (pattern.coords[0] - pattern.coords[1])[lower][0]
        negative = both & ((pattern.coords[0] // stride) % 2 == 1)
        signs = np.where(negative, -1.0, 1.0)
        values = np.empty(16)
        values[pattern.data.astype(int) - 1] = signs
        product = product @ level.matrix(values)
    np.testing.assert_array_equal(product, linalg.hadamard(8))


def test_blocks_place_their_parameters(rng):
    first, second = Diagonal(3), Convolution(3, 2)
    h = rng.standard_normal(5)
    expected = np.hstack([first.matrix(h[:3]).toarray(), second.matrix(h[3:]).toarray()])
    np.testing.assert_array_equal(Blocks([[first, second]]).matrix(h).toarray(), expected)


class Outer(Structure):
    """A user's structure: u h' with a known u. Only `matrix` is written."""

    def __init__(self, u, n_columns):
        self.u = np.asarray(u)
        super().__init__((len(self.u), n_columns), n_columns)

    def matrix(self, h):
        return np.outer(self.u, h)


def test_a_users_structure_needs_matrix_alone(rng):
    structure = Outer(rng.standard_normal(4), 3)
    check_structure(structure)
    G = rng.standard_normal((4, 3))
    np.testing.assert_allclose(structure.adjoint(G), structure.u @ G)


class Affine(Outer):
    def matrix(self, h):
        return np.outer(self.u, h) + 1


class WrongAdjoint(Outer):
    def adjoint(self, G):
        return 2 * super().adjoint(G)


@pytest.mark.parametrize(("broken", "message"), [(Affine, "not linear"), (WrongAdjoint, "adjoint")])
def test_broken_structures_are_named(broken, message):
    with pytest.raises(ValueError, match=message):
        check_structure(broken(np.ones(3), 2))


def test_structures_survive_cloning_of_parameters():
    structures = [Convolution(6, 2), Diagonal(6)]
    copies = clone(structures, safe=False)
    np.testing.assert_array_equal(
        copies[0].matrix([1, 2]).toarray(), structures[0].matrix([1, 2]).toarray()
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseSupport(np.zeros((3, 3))), "empty support"),
        (lambda: SparseSupport([1, 0]), "2-d"),
        (lambda: Diagonal(), "order n"),
        (lambda: Diagonal(3, basis=np.ones((4, 2))), "n=3"),
        (lambda: Convolution(5, []), "empty support"),
        (lambda: Convolution(5, [1, 1]), "twice"),
        (lambda: Convolution(5, 2, boundary="mirror"), "mirror"),
        (lambda: Convolution(5, 4, dilation=2, boundary="valid"), "no valid output"),
        (lambda: Toeplitz((3, 3), [5]), "leave the shape"),
        (lambda: Toeplitz((3, 3), []), "empty support"),
        (lambda: ButterflyLevel(12, 2), "multiple of 8"),
        (lambda: butterfly_levels(12), "power of 2"),
        (lambda: Basis([]), "empty support"),
        (lambda: Basis(np.zeros((2, 3, 3))), "zero"),
        (lambda: Basis([np.eye(2), np.eye(3)]), "one shape"),
        (lambda: Basis(np.full((1, 2, 2), np.nan)), "NaN"),
        (lambda: Blocks([[None], [Diagonal(2)]]), "row 0"),
        (lambda: Blocks([[Diagonal(2), Diagonal(3)]]), "height"),
        (lambda: Restricted(Diagonal(2), []), "empty support"),
    ],
)
def test_kind_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_chains_name_the_factor():
    with pytest.raises(ValueError, match=r"structures\[1\] has 6 columns .* structures\[2\] has 5"):
        check_structures([Diagonal(6), Circulant(6), Diagonal(5)])
    with pytest.raises(ValueError, match=r"structures\[0\] has 6 rows .* X has shape \(7, 6\)"):
        check_structures([Diagonal(6)], (7, 6))
    with pytest.raises(TypeError, match=r"structures\[1\] .* has no shape"):
        check_structures([Diagonal(6), "diagonal"])
    with pytest.raises(TypeError, match="list"):
        check_structures(Diagonal(6))
    with pytest.raises(ValueError, match="empty"):
        check_structures([])


def test_zero_products_are_named():
    first = SparseSupport([[1, 0, 0], [1, 0, 0]])
    second = SparseSupport([[0, 0], [1, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"zero for all parameters: structures\[1\]"):
        check_structures([first, second])
