import numpy as np
import pytest

from kn_thesis.localization.attribution import quadrature_rule


@pytest.mark.parametrize("nodes", [1, 3, 8])
def test_gauss_legendre_is_exact_for_its_degree(nodes):
    points, weights = quadrature_rule("gauss-legendre", nodes)
    for degree in range(2 * nodes):
        assert np.isclose(weights @ points**degree, 1 / (degree + 1), rtol=1e-13)


def test_riemann_is_the_published_rule():
    points, weights = quadrature_rule("riemann", 20)
    assert points[0] == 0 and points[-1] == 1
    assert np.allclose(np.diff(points), 1 / 19) and np.all(weights == 1 / 20)


@pytest.mark.parametrize(("name", "nodes"), [("simpson", 4), ("riemann", 1), ("gauss-legendre", 0)])
def test_a_bad_rule_says_what_is_allowed(name, nodes):
    with pytest.raises(ValueError, match=r"riemann|gauss-legendre"):
        quadrature_rule(name, nodes)
