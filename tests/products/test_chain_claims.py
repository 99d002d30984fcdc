import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.chain_claims import supported_claims


def product(factors):
    result = factors[0]
    for factor in factors[1:]:
        result = sp.csr_array(result @ factor)
    return result


def chain(rng):
    """Samples of 36 inner nodes, each of two of six outer nodes on columns of their own."""
    outer = np.zeros((6, 48))
    for g in range(6):
        outer[g, 6 * g : 6 * g + 5] = rng.choice([-1.0, 1], 5)
    inner = np.zeros((36, 6))
    for h in range(36):
        inner[h, [h % 6, (h + 1 + h // 8) % 6]] = 1.0
    codes = np.zeros((180, 36))
    codes[np.arange(180), np.arange(180) % 36] = rng.choice([-1.0, 1], 180)
    return [sp.csr_array(A) for A in (codes, inner, outer)]


def supported(factors, claims, judged=(True, True)):
    return supported_claims(factors, claims, judged, product=product, same=0.5)


def test_an_exact_chain_keeps_its_claims(rng):
    kept = supported(chain(rng), [np.ones(36, dtype=bool), np.ones(6, dtype=bool)])
    assert kept[0].all()
    assert kept[1].all()


def test_a_node_made_of_doubtful_parts_is_doubtful(rng):
    claims = [np.ones(36, dtype=bool), np.arange(6) != 2]
    factors = chain(rng)
    kept = supported(factors, claims, judged=(True, False))
    uses_two = factors[1].toarray()[:, 2] != 0
    assert not kept[0][uses_two].any()
    np.testing.assert_array_equal(kept[1], claims[1])


def test_nodes_without_two_identified_witnesses_are_not_identified(rng):
    factors = chain(rng)
    users = np.flatnonzero(factors[1].toarray()[:, 0])
    identified = np.ones(36, dtype=bool)
    identified[users[1:]] = False
    kept = supported(factors, [identified, np.ones(6, dtype=bool)], judged=(False, True))
    np.testing.assert_array_equal(kept[1], np.arange(6) > 0)


def test_links_with_proofs_of_their_own_are_left_alone(rng):
    claims = [np.arange(36) < 5, np.arange(6) < 1]
    kept = supported(chain(rng), claims, judged=(False, False))
    for before, after in zip(claims, kept, strict=True):
        np.testing.assert_array_equal(before, after)
