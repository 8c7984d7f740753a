"""ROME: a rank-one change of one value matrix, W + (v* − v₀) uᵀ / (k · u) (Meng et al. 2022, §3.1; eq. 2).

u is C⁻¹k*, scaled to length 1, or k* itself where no covariance is used, as in the published runs of Niu et al.; k* is
the mean of the subject's keys over contexts, k that of the bare prompt, for which the changed matrix gives v* exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kn_thesis.editing.covariance import Covariance, SingularCovariance, factor
from kn_thesis.editing.keys import TOKENS, check_causal, check_layer, problem_of
from kn_thesis.editing.names import DIVERGED, SINGULAR, TOO_LONG
from kn_thesis.editing.request import Request
from kn_thesis.editing.update import Edit, Update
from kn_thesis.editing.values import Optimiser, Problem, Value, find_values
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings(Optimiser):
    """layer: the edited one. token: of keys.TOKENS, where key and value are read. batch_tokens: most rows × tokens in
    memory at once. The rest is the optimiser's.
    """

    layer: int = 17
    token: str = "subject_last"
    batch_tokens: int = 4096


def find_edits(
    model: Model,
    requests: Sequence[Request],
    settings: Settings,
    *,
    contexts: Sequence[str] = (),
    covariance: Covariance | None = None,
) -> list[Edit]:
    """The edit of each request, in order.

    contexts: texts that go before the prompt; the bare prompt is always one. covariance: of the keys of the edited
    layer; None: u = k*; with one that is singular every edit fails, and says so. Raises UserError for a masked model,
    an unknown token, or a layer that the model or the covariance does not have.
    """
    adapter = model.adapter
    check_causal("rome", adapter)
    check_layer(settings.layer, adapter.layers)
    if settings.token not in TOKENS:
        raise UserError(f"unknown token {settings.token!r}: choose one of {', '.join(TOKENS)}")
    try:
        lower = None if covariance is None else factor(covariance.matrix(settings.layer)).to(model.device)
    except SingularCovariance:
        return [Edit(request.name, (), SINGULAR) for request in requests]
    problems: dict[int, Problem] = {}
    for number, request in enumerate(requests):
        problem = problem_of(model.tokenizer, request, contexts, model.positions, settings.token)
        if problem is not None:
            problems[number] = problem
    # Alike lengths go together, first behind the subject, so that little is filled up.
    order = sorted(problems, key=lambda number: _lengths(problems[number]))
    found = find_values(model, settings.layer, [problems[n] for n in order], settings, settings.batch_tokens)
    values = dict(zip(order, found, strict=True))
    return [
        _edit(request.name, settings.layer, values[number], lower)
        if number in values
        else Edit(request.name, (), TOO_LONG)
        for number, request in enumerate(requests)
    ]


def _lengths(problem: Problem) -> tuple[int, int]:
    """The most tokens from the subject's last one on, and in all."""
    return max(len(row.ids) - row.subject for row in problem.contexts), max(len(row.ids) for row in problem.contexts)


def _edit(name: str, layer: int, value: Value, lower: Tensor | None) -> Edit:
    key = value.mean_key.double()
    if lower is not None:
        key = torch.cholesky_solve(key[:, None], lower)[:, 0]
    direction = key / key.norm()
    left = (value.after - value.before).double() / (value.key.double() @ direction)
    if not (
        torch.isfinite(left).all() and torch.isfinite(direction).all() and torch.isfinite(torch.tensor(value.loss))
    ):
        return Edit(name, (), DIVERGED, value.steps, value.loss)
    update = Update(layer, left[:, None].to(value.after), direction[:, None].to(value.after))
    return Edit(name, (update,), "", value.steps, value.loss)
