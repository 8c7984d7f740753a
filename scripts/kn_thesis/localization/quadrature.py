"""Quadrature rules on [0, 1] for integrated gradients."""

from __future__ import annotations

import numpy as np

QUADRATURES = ("gauss-legendre", "riemann")


def quadrature_rule(name: str, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights that approximate ∫₀¹ f(α) dα by Σ_k weights[k]·f(nodes[k]).

    `gauss-legendre` is exact for polynomials of degree 2·nodes − 1. `riemann` repeats the rule of
    the published numbers (Dai et al. 2022, eq. 3, as coded by Niu et al. 2024): equally spaced
    points that include both ends, each of weight 1/nodes. That rule is not consistent with the
    integral for a finite number of nodes; it is kept for comparison.

    Returns two float64 arrays of shape (nodes,), nodes ascending.
    Raises ValueError for an unknown name or a count below 1 (below 2 for `riemann`).
    """
    if name == "gauss-legendre":
        if nodes < 1:
            raise ValueError(f"gauss-legendre needs at least 1 node, got {nodes}")
        points, weights = np.polynomial.legendre.leggauss(nodes)
        return (points + 1) / 2, weights / 2
    if name == "riemann":
        if nodes < 2:
            raise ValueError(f"riemann needs at least 2 nodes, got {nodes}")
        return np.linspace(0.0, 1.0, nodes), np.full(nodes, 1.0 / nodes)
    raise ValueError(f"unknown quadrature {name!r}: choose one of {', '.join(QUADRATURES)}")
