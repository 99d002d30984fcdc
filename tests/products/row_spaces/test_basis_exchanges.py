import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.row_spaces.basis_exchanges import (
    integral_basis,
    least_correlated_basis,
)
from sklearn_nnrecover.products.row_spaces.lightest_bases import (
    count_other_values,
    lightest_independent,
)
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space

ROWS = np.array([[1.0, 1, 1, 0, 0, 0], [0, 1, 1, -1, 0, 0], [0, 0, 0, 0, 1, 1]])
"""The difference of the first two is as light as they are."""


def vectors():
    return sp.csr_array(np.vstack([ROWS, ROWS[0] - ROWS[1]]))


def test_uncorrelated_codes_tell_rows_from_their_difference(rng):
    Y = rng.standard_normal((200, 3)) @ ROWS
    for start in ([0, 2, 3], [1, 2, 3], [0, 1, 2]):
        chosen = least_correlated_basis(vectors(), np.array(start), row_space(Y), 200)
        assert sorted(chosen) == [0, 1, 2]


def test_the_lighter_basis_wins_where_there_are_no_rows_to_tell(rng):
    space = row_space(rng.standard_normal((6, 3)) @ ROWS)
    heavy, light = ROWS[0] + ROWS[2], ROWS[2]
    pool = sp.csr_array(np.vstack([ROWS[:2], heavy, light]))
    chosen = least_correlated_basis(pool, np.array([0, 1, 2]), space, 0)
    assert sorted(chosen) == [0, 1, 3]


def test_a_basis_without_rivals_stays(rng):
    space = row_space(rng.standard_normal((20, 3)) @ ROWS)
    chosen = least_correlated_basis(sp.csr_array(ROWS), np.arange(3), space, 20)
    np.testing.assert_array_equal(chosen, np.arange(3))


def test_what_is_left_stays_a_basis(rng):
    F = np.zeros((15, 40))
    while np.linalg.matrix_rank(F) < 15:
        F[:] = 0.0
        for row in F:
            row[rng.choice(40, 3, replace=False)] = rng.choice([-1.0, 1], 3)
    pool = np.vstack([F, F[:-1] + F[1:], F[:-1] - F[1:]])
    space = row_space(rng.standard_normal((60, 15)) @ F)
    start = np.r_[np.arange(14), 15 + 13]
    chosen = least_correlated_basis(sp.csr_array(pool), start, space, 60)
    assert np.linalg.matrix_rank(pool[chosen]) == 15
    assert len(np.intersect1d(chosen, np.arange(15))) == 15


def test_rows_of_signs_win_over_their_sum_and_difference(rng):
    # Rotated by 45 degrees independent codes stay independent: only the entries can tell.
    rows = np.array([[1.0, 1, 1, 0], [1, -1, 0, 1]])
    mixed = np.array([[2.0, 0, 1, 1], [0, 2, 1, -1]])
    pool = sp.csr_array(np.vstack([rows, mixed]))
    for _ in range(5):
        space = row_space(rng.standard_normal((300, 2)) @ rows)
        chosen = lightest_independent(pool, space)
        assert sorted(chosen) == [0, 1]
        # Whatever the draw makes of the codes' correlation, it cannot pay for two entries of 2.
        np.testing.assert_array_equal(least_correlated_basis(pool, chosen, space, 300), chosen)


def test_other_values_are_counted_by_row():
    A = sp.csr_array(np.array([[1.0, -1, 0], [0, 2, 1], [0, 0, 0], [-0.5, 1, 3]]))
    np.testing.assert_array_equal(count_other_values(A), [0, 1, 0, 2])


def test_integer_data_keep_integer_codes(rng):
    rows = np.array([[1.0, 1, 1, 1, 0], [1, 1, -1, 0, 1]])
    pool = sp.csr_array(np.vstack([rows[0] - rows[1], rows, rows[0] + rows[1]]))
    Y = rng.randint(-4, 5, size=(30, 2)) @ rows
    Y[0] = rows[0]
    chosen = integral_basis(pool, np.array([0, 3]), Y)
    codes = np.linalg.lstsq(pool[chosen].toarray().T, Y.T, rcond=None)[0]
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert np.diff(pool.indptr)[chosen].sum() <= np.diff(pool.indptr)[[0, 3]].sum()
    # Integers already, and data that no basis of the pool codes in integers, are left alone.
    np.testing.assert_array_equal(integral_basis(pool, np.array([1, 2]), Y), [1, 2])
    third = np.round(3 * rows[0]) + rows[1]
    np.testing.assert_array_equal(
        integral_basis(pool[[0, 3]], np.array([0, 1]), third[None]), [0, 1]
    )
