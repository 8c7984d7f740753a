"""Keys times the inverse of a covariance, against LU; and what counts as having none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kn_thesis.editing.covariance import SingularCovariance, factor, solve
from kn_thesis.errors import UserError


def with_spectrum(eigenvalues: Tensor) -> Tensor:
    """A symmetric float64 matrix with these eigenvalues, whose vectors are random."""
    generator = torch.Generator().manual_seed(4)
    n = len(eigenvalues)
    vectors = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    return vectors * eigenvalues @ vectors.T


def keys_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("shape", [(30,), (4, 30), (2, 3, 30)])
def test_solved_as_by_lu(shape: tuple[int, ...]) -> None:
    matrix, keys = with_spectrum(torch.logspace(0, 4, 30, dtype=torch.float64)), keys_of(*shape)
    found = solve(matrix, keys)
    assert found.dtype == torch.float64 and found.shape == shape
    for u, key in zip(found.reshape(-1, 30), keys.reshape(-1, 30), strict=True):
        assert apart(u, torch.linalg.solve(matrix, key)) < 1e-10
    single = matrix.float()
    u = solve(single, keys.float())
    assert u.dtype == torch.float64
    assert (
        apart(u, torch.linalg.solve(single.double(), keys.float().double().reshape(-1, 30).T).T.reshape(shape)) < 1e-9
    )


def test_neurons_of_different_size_lose_no_digits() -> None:
    matrix, key = with_spectrum(torch.linspace(1, 9, 30, dtype=torch.float64)), keys_of(30)
    sizes = torch.logspace(-9, 9, 30, dtype=torch.float64)
    found = solve(sizes[:, None] * matrix * sizes, key)
    assert apart(found * sizes, torch.linalg.solve(matrix, key / sizes)) < 1e-10
    lower = factor(matrix)
    assert torch.equal(lower, lower.tril()) and apart(lower @ lower.T, matrix) < 1e-14


def smallest(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """30 eigenvalues of 1 to 2, but for the first."""
    eigenvalues = torch.linspace(1, 2, 30, dtype=torch.float64)
    eigenvalues[0] = value
    return with_spectrum(eigenvalues).to(dtype)


@pytest.mark.parametrize(
    "matrix",
    [
        smallest(0.0),
        smallest(1e-17),
        smallest(-0.1),
        smallest(0.0, torch.float32),
        smallest(1e-8, torch.float32),  # a float64 of that size is all right, see below
        torch.ones(30, 30, dtype=torch.float64),
        torch.zeros(30, 30, dtype=torch.float64),
        torch.full((30, 30), math.nan),
    ],
)
def test_singular_matrices_are_refused(matrix: Tensor) -> None:
    with pytest.raises(SingularCovariance, match=r"more tokens .*\(covariance: none\)") as caught:
        solve(matrix, keys_of(30))
    assert "\n" not in str(caught.value) and isinstance(caught.value, UserError)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_fewer_keys_than_neurons_are_always_too_few(dtype: torch.dtype) -> None:
    """Rounding alone makes some of these positive definite."""
    generator = torch.Generator().manual_seed(6)
    for tokens in [*range(1, 30), *[29] * 20]:
        keys = torch.randn(tokens, 30, generator=generator, dtype=torch.float64)
        with pytest.raises(SingularCovariance, match=f" {tokens} of 30 directions"):
            factor((keys.T @ keys / tokens).to(dtype))


def test_small_eigenvalues_that_are_resolved_are_solved() -> None:
    matrix, key = smallest(1e-8), keys_of(30)
    assert apart(solve(matrix, key), torch.linalg.solve(matrix, key)) < 1e-6
    assert solve(smallest(1e-5, torch.float32), key).isfinite().all()


def test_neurons_that_were_never_active_are_counted() -> None:
    dead = torch.eye(5)
    dead[2, 2] = dead[4, 4] = 0
    with pytest.raises(SingularCovariance, match="2 of 5 neurons were never active"):
        factor(dead)
