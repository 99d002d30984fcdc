"""Peeling a chain with methods that know the answer, refuse, or lie."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.peeling import Evidence, Peel, peel_chain, reproduces, tidy

LEFT = np.array([[1.0, 1, 0], [0, 1, -1], [2, 0, 1], [1, -1, 1], [0, 2, 1]])
RIGHT = sp.csr_array(np.kron(np.eye(3), [[1.0, -1, 2, 1, 3]]))
X = LEFT @ RIGHT
SEEN = Evidence("seen", 1.0, 1.0, True, "a test")


def knows_the_right_end(Y, *, n_nonzero, rng):
    if Y.shape != X.shape or not np.array_equal(Y, X):
        return None
    return Peel(RIGHT, LEFT, np.ones(3, dtype=bool), [SEEN])


def refuses(Y, **_):
    return None


def lies(Y, *, n_nonzero, rng):
    return Peel(sp.csr_array((1, Y.shape[1])), np.zeros((Y.shape[0], 1)), np.ones(1, bool), [])


def no_shorter(Y, *, n_nonzero, rng):
    identity = sp.csr_array(sp.eye_array(Y.shape[1]))
    return Peel(identity, np.array(Y), np.ones(Y.shape[1], bool), [])


@pytest.mark.parametrize("method", [refuses, lies, no_shorter])
def test_nothing_is_peeled_without_a_shorter_product_that_is_the_data(rng, method):
    chain = run_to_end(peel_chain(X, {"method": method}, rng=rng))
    assert len(chain.factors) == 1
    assert not chain.links
    np.testing.assert_array_equal(chain.factors[0].toarray(), X)


def test_a_peel_becomes_two_factors_and_one_link(rng):
    methods = {"refuses": refuses, "lies": lies, "knows": knows_the_right_end}
    chain = run_to_end(peel_chain(X, methods, rng=rng))
    assert [F.shape for F in chain.factors] == [(5, 3), (3, 15)]
    np.testing.assert_array_equal((chain.factors[0] @ chain.factors[1]).toarray(), X)
    link = chain.links[0]
    assert (link.method, link.end, link.proof) == ("knows", "features", "global")
    assert chain.evidence[0].name == "seen (knows)"


def test_the_end_of_the_samples_is_the_transpose(rng):
    def knows_the_transpose(Y, *, n_nonzero, rng):
        if Y.shape != X.T.shape or not np.array_equal(Y, X.T):
            return None
        return Peel(sp.csr_array(LEFT.T), RIGHT.T.toarray(), np.zeros(3, dtype=bool), [])

    chain = run_to_end(peel_chain(X, {"knows": knows_the_transpose}, rng=rng))
    assert chain.links[0].end == "samples"
    np.testing.assert_array_equal(chain.factors[0].toarray(), LEFT)
    np.testing.assert_array_equal(chain.factors[1].toarray(), RIGHT.toarray())


def test_the_proven_peel_wins_over_one_that_came_first(rng):
    def first_unproven(Y, **options):
        peel = knows_the_right_end(Y, **options)
        return None if peel is None else peel._replace(proven=np.zeros(3, dtype=bool))

    methods = {"unproven": first_unproven, "knows": knows_the_right_end}
    chain = run_to_end(peel_chain(X, methods, rng=rng))
    assert chain.links[0].method == "knows"


def test_n_factors_ends_the_peeling(rng):
    def always(Y, *, n_nonzero, rng):
        # Halves a matrix of four equal rows again and again.
        if Y.shape[0] < 2:
            return None
        return Peel(sp.csr_array(Y[:1]), np.ones((Y.shape[0], 1)), np.zeros(1, dtype=bool), [])

    Y = np.ones((6, 5))
    free = run_to_end(peel_chain(Y, {"always": always}, rng=rng))
    assert len(free.factors) >= 2
    assert len(run_to_end(peel_chain(Y, {"always": always}, rng=rng, n_factors=2)).factors) == 2


def test_reproduces_compares_to_rounding():
    good = Peel(RIGHT, LEFT * (1 + 1e-12), np.ones(3, bool), [])
    assert reproduces(X, good)
    assert not reproduces(X, good._replace(remainder=LEFT * (1 + 1e-6)))


def test_tidy_removes_rounding_and_keeps_real_values(rng):
    integers = rng.randint(-3, 4, size=(6, 5)).astype(float)
    noisy = integers + 1e-12 * rng.standard_normal((6, 5))
    np.testing.assert_array_equal(tidy(noisy), integers)
    np.testing.assert_array_equal(tidy(sp.csr_array(noisy)).toarray(), integers)
    real = rng.uniform(0.5, 2, size=(6, 5))
    real[0, 0] = 1e-13
    assert tidy(real)[0, 0] == 0
    np.testing.assert_array_equal(tidy(real)[1:], real[1:])


def test_large_entries_do_not_make_integers_of_small_ones():
    A = np.array([[1.3, 2.7], [0.0, 3e7]])
    np.testing.assert_array_equal(tidy(A), A)
    np.testing.assert_array_equal(tidy(sp.csr_array(A)).toarray(), A)
