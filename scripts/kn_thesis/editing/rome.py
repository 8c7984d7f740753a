"""ROME: a rank-one change of one down-projection, W + (v* − v₀) uᵀ / (k · u) (Meng et al. 2022, §3.1; eq. 2).

u is C⁻¹k*, scaled to length 1, or k* itself where no covariance is used, as in the published runs of Niu et al. k* is
the mean of the subject's keys over contexts. k is the key in the bare prompt, for which the changed matrix gives
exactly v*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kn_thesis.editing.settings import Editor, check_causal, check_layer, setting
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.editing.covariance import Covariance
    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.value_optimization import Problem, Value
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.load import Model


TOKENS = ("subject_last", "last")  # where key and value are read


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of ROME; the defaults are those of gpt2-xl in the public code.

    Attributes:
        steps: losses that are computed; an update follows each but the last.
        weight_decay: factor of ‖δ‖ / ‖v₀‖².
        clamp: ‖δ‖ stays within clamp · ‖v₀‖.
        kl: factor of KL(now ‖ before) in the text whose continuation must not change.
        batch_tokens: most rows × tokens in memory at once.
    """

    layer: int = setting(17, "whose down-projection is edited, from 0", minimum=0, below=1000)
    token: str = setting(
        "subject_last", "where key and value are read: the subject's last token, or the prompt's", choices=TOKENS
    )
    steps: int = setting(20, "of the optimiser of v*")
    learning_rate: float = setting(0.5, "Adam's", above=0, maximum=10)
    weight_decay: float = setting(0.5, "of the change, relative to the value's squared norm")
    clamp: float = setting(4.0, "longest change, in norms of the value")
    kl: float = setting(0.0625, "factor of the change of what follows '{subject} is a'")
    kl_token: str = setting(
        "subject_last", "where that is read: at the subject's last token (public code), or the text's", choices=TOKENS
    )
    stop: float = setting(0.05, "loss (nats) at which the optimiser stops")
    batch_tokens: int = 4096


def find_edits(
    model: Model,
    requests: Sequence[Request],
    settings: Settings,
    *,
    contexts: Sequence[str] = (),
    covariance: Covariance | None = None,
) -> list[Edit]:
    """Find the edit of each request, many at once; the model is left as it is.

    Args:
        model: a causal model.
        requests: what is edited, each alone.
        settings: hyperparameters.
        contexts: texts that go before the prompt, beside the bare prompt.
        covariance: of the keys of the edited layer; None: u = k*. With one that is singular every edit fails.

    Returns:
        One edit per request, in order.

    Raises:
        UserError: for a masked model, an unknown token, or a layer that the model or the covariance does not have.
    """
    from kn_thesis.editing.covariance import SingularCovariance, factor
    from kn_thesis.editing.tables import SINGULAR, TOO_LONG
    from kn_thesis.editing.value_optimization import compute_v, rewriting_problem
    from kn_thesis.editing.weight_update import Edit

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
        problem = rewriting_problem(model.tokenizer, request, contexts, model.positions, settings.token)
        if problem is not None:
            problems[number] = problem
    # Problems of similar length go together, by the length from the subject on first: that leaves little padding.
    order = sorted(problems, key=lambda number: _lengths(problems[number]))
    in_order = compute_v(model, settings.layer, [problems[n] for n in order], settings, settings.batch_tokens)
    values = dict(zip(order, in_order, strict=True))
    return [
        _rank_one(request.name, settings.layer, values[number], lower)
        if number in values
        else Edit(request.name, (), TOO_LONG)
        for number, request in enumerate(requests)
    ]


EDITOR = Editor("rome", Settings, find_edits, "ROME", "Meng et al. (2022).", joint=False, swept=True)


def _lengths(problem: Problem) -> tuple[int, int]:
    """The most tokens from the subject's last one on, and in all."""
    return max(len(row.ids) - row.subject for row in problem.contexts), max(len(row.ids) for row in problem.contexts)


def _rank_one(name: str, layer: int, value: Value, lower: Tensor | None) -> Edit:
    """The change of W that writes v* for a request's key; `lower`: Cholesky factor of the covariance."""
    import torch

    from kn_thesis.editing.tables import DIVERGED
    from kn_thesis.editing.weight_update import Edit, Update

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
