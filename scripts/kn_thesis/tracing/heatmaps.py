"""Draw the heat maps of the tracing chapter: single prompts, and averages by token role.

Both figures are grids of blocks. A block has a heat map for each restored kind, all on one scale, and a bar of that
scale with a strip of each kind's colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_thesis.report.style import empty_figure, layer_ticks, wrap_text
from kn_thesis.tracing.figures import STATE_COLOURS
from kn_thesis.tracing.prose import KIND_WORDS, MEASURE_WORDS, RESTORED_WORDS, averages, readable_token, rows_of_models
from kn_thesis.tracing.tables import ROLES

MAPPED = ("hidden", "mlp", "attention")  # those of Meng et al. (2022, figure 1), in their order
NEGATIVE = "#4d4d4d"  # at the other end of every kind's colours
MAX_TOKEN_LETTERS = 18  # maximum letters of a token
MEASURED_LETTERS = 60  # maximum letters in a line above a block


@dataclass(frozen=True)
class Block:
    """Heat maps on one scale.

    Attributes:
        title: The line above the heat maps.
        measured: What is measured; the second line.
        rows: Names of the rows.
        effects: Effects (rows, layers) by restored kind, nan where there is no such token; None if nothing was traced.
        starred: Which rows are written in bold.
        note: Why there are no effects.
    """

    title: str
    measured: str = ""
    rows: Sequence[str] = ()
    effects: Mapping[str, np.ndarray] | None = None
    starred: Sequence[bool] = ()
    note: str = ""

    def scale(self) -> tuple[float, float]:
        """Minimum (at most 0) and maximum (above it) of the effects over all kinds."""
        values = np.concatenate([table.ravel() for table in (self.effects or {}).values()] or [np.zeros(1)])
        values = values[np.isfinite(values)]
        low, high = values.min(initial=0.0), values.max(initial=0.0)
        return float(low), float(high) if high > low else float(low) + 1.0


def plot_examples(examples: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw effects in single prompts, tokens × layers: a row of heat maps for each model and task, facts first.

    A star marks the tokens of the cue, which are corrupted.

    Args:
        examples: tracing_examples.csv.
        models: The models to draw, in order.

    Returns:
        The figure.
    """
    rows = rows_of_models(examples, models)
    kinds = _mapped_kinds(rows)
    if not kinds:
        return empty_figure("nothing was traced of which a prompt is drawn")
    blocks = [
        [_example_block(part, kinds)]
        for model in models
        for kind in KIND_WORDS
        for _, part in rows[(rows["model"] == model) & (rows["kind"] == kind)].groupby("task", sort=False)
    ]
    layers = int(rows["layer"].max()) + 1
    return _grid(blocks, kinds, layers, width=float(np.clip(0.3 * layers, 2.2, 2.9)), label_every_block=True)


def _example_block(rows: pd.DataFrame, kinds: Sequence[str]) -> Block:
    first = rows.iloc[0]
    tokens = rows.drop_duplicates("position").sort_values("position")
    return Block(
        f"{first['model']} · {first['task']}",
        f"{MEASURE_WORDS[first['measure']]}: clean {first['clean']:.2f} → corrupted {first['corrupted']:.2f}",
        [
            _shorten(readable_token(token)) + ("*" if cue else "")
            for token, cue in zip(tokens["token"], tokens["cue"], strict=True)
        ],
        {kind: _matrix(rows[rows["restored"] == kind], "position", list(tokens["position"]), rows) for kind in kinds},
        tokens["cue"].astype(bool).tolist(),
    )


def plot_roles(roles: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw mean effects by token role and layer, a row of heat maps for each model: facts left, syntax right.

    Each kind of task is shown in its headline measure, averaged over tasks. Hatched: no token has that role.

    Args:
        roles: tracing_roles.csv.
        models: The models to draw, in order.

    Returns:
        The figure.
    """
    rows = rows_of_models(roles, models)
    kinds = _mapped_kinds(rows)
    if not kinds:
        return empty_figure("nothing was traced")
    used = [role for role in ROLES if (rows["role"] == role).any()]
    traced = [model for model in models if (rows["model"] == model).any()]
    blocks = [[_averages_block(rows, model, kind, kinds, used) for kind in KIND_WORDS] for model in traced]
    layers = int(rows["layer"].max()) + 1
    return _grid(blocks, kinds, layers, width=float(np.clip(0.3 * layers, 1.3, 1.5)))


def _averages_block(rows: pd.DataFrame, model: str, kind: str, kinds: Sequence[str], used: Sequence[str]) -> Block:
    part, over = averages(rows, model, kind)
    title = f"{model} · {KIND_WORDS[kind]}"
    if part.empty:
        return Block(title, note="nothing was traced")
    measured = wrap_text(f"{MEASURE_WORDS[part['measure'].iloc[0]]}, {over}", MEASURED_LETTERS, " ")
    effects = {name: _matrix(part[part["restored"] == name], "role", used, part) for name in kinds}
    names = ["blank" if role == "gap" else role for role in used]
    return Block(title, measured, names, effects, [False] * len(used))


def _mapped_kinds(rows: pd.DataFrame) -> list[str]:
    """The restored kinds that have a heat map."""
    return [kind for kind in MAPPED if len(rows) and (rows["restored"] == kind).any()]


def _matrix(part: pd.DataFrame, down: str, order: Sequence[object], whole: pd.DataFrame) -> np.ndarray:
    """Effects (rows in `order`, layers of the whole table). `down`: the column that names the rows."""
    layers = range(int(whole["layer"].max()) + 1)
    return part.set_index([down, "layer"])["effect"].unstack("layer").reindex(index=order, columns=layers).to_numpy()


def _shorten(token: str) -> str:
    return token if len(token) <= MAX_TOKEN_LETTERS else token[: MAX_TOKEN_LETTERS - 1] + "…"


def _grid(
    blocks: Sequence[Sequence[Block]],
    kinds: Sequence[str],
    layers: int,
    width: float,
    label_every_block: bool = False,
) -> Figure:
    """Draw blocks in rows and columns. Unless each is labelled, only the first block of a row names its rows.

    width: of a heat map, in inches.
    """
    heights = [max(1, *(len(block.rows) for block in line)) for line in blocks]
    across = [*[width] * len(kinds), 0.16, 0.16]  # the last is the space beside a block
    ratios = (across * len(blocks[0]))[:-1]
    # Above the heat maps: a title, and one or two lines that say what is measured.
    heads = [0.3 + 0.16 * max(block.measured.count("\n") + 1 for block in line) for line in blocks]
    down = [part for head, rows in zip(heads, heights, strict=True) for part in (head, 0.19 * rows)]
    figure = plt.figure(figsize=(1.6 + len(blocks[0]) * (sum(across) + 0.6), sum(down) + 0.74 * len(blocks)))
    cells = figure.add_gridspec(2 * len(blocks), len(ratios), width_ratios=ratios, height_ratios=down)
    for line, row in enumerate(blocks):
        for column, block in enumerate(row):
            first = column * len(across)
            head = figure.add_subplot(cells[2 * line, first : first + len(kinds)])
            place = {"transform": head.transAxes, "va": "top", "in_layout": False, "parse_math": False}
            head.text(0, 1 - 0.12 / heads[line], block.title, weight="bold", fontsize=10.5, **place)
            head.text(0, 1 - 0.31 / heads[line], block.measured, color="#555555", fontsize=9, **place)
            head.set_axis_off()
            axes = [figure.add_subplot(cells[2 * line + 1, first + number]) for number in range(len(kinds) + 1)]
            if block.effects is None:
                _write_note(axes, block.note)
                continue
            _maps(axes, block, layers, named=label_every_block or column == 0)
    return figure


def _write_note(axes: Sequence[Axes], note: str) -> None:
    for axis in axes:
        axis.set_axis_off()
    axes[0].text(0, 0.5, note, transform=axes[0].transAxes, va="center", color="#777777", fontsize=9, in_layout=False)


def _maps(axes: Sequence[Axes], block: Block, layers: int, named: bool) -> None:
    low, high = block.scale()
    # Steps of one size on both sides of 0; the bar shows the part of the colours that the block has.
    norm = Normalize(-max(high, -low), max(high, -low))
    for axis, (kind, values) in zip(axes, block.effects.items(), strict=False):
        axis.imshow(values, cmap=_colours(kind), norm=norm, aspect="auto", interpolation="nearest")
        axis.set_title(RESTORED_WORDS[kind], fontsize=9, color=STATE_COLOURS[kind], loc="center", pad=3)
        axis.patch.set(facecolor="#f4f4f4", edgecolor="#c8c8c8", hatch="////")
        axis.set_xlabel("layer", fontsize=8, labelpad=1)
        axis.set_xticks(layer_ticks(values.shape[1], 8), layer_ticks(values.shape[1], 8), fontsize=7.5)
        axis.set_yticks(np.arange(0.5, len(values) - 1), minor=True)
        axis.grid(visible=False)
        axis.grid(axis="y", which="minor", color="white", linewidth=1)
        axis.tick_params(which="both", length=0, pad=2)
        axis.set_yticks([])
    if named:
        axes[0].set_yticks(range(len(block.rows)), block.rows, fontsize=8.5, parse_math=False)
        for label, starred in zip(axes[0].get_yticklabels(), block.starred, strict=True):
            label.set_weight("bold" if starred else "normal")
    _bar(axes[len(block.effects)], list(block.effects), norm, low, high)


def _bar(axis: Axes, kinds: Sequence[str], norm: Normalize, low: float, high: float) -> None:
    """Draw the scale of a block: a strip of each kind's colours, with effects upwards."""
    steps = np.linspace(low, high, 128)
    strips = np.stack([_colours(kind)(norm(steps)) for kind in kinds], axis=1)
    axis.imshow(strips, aspect="auto", origin="lower", extent=(0, len(kinds), low, high), interpolation="nearest")
    axis.yaxis.tick_right()
    axis.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axis.tick_params(axis="y", labelsize=7.5, length=2, pad=1)
    axis.set_xticks([])
    axis.grid(visible=False)
    axis.set_title("effect", fontsize=8, fontweight="normal", loc="left", pad=5)


def _colours(kind: str) -> Colormap:
    """White at 0, the kind's own colour towards positive effects, one dark grey towards negative ones."""
    return LinearSegmentedColormap.from_list(kind, [NEGATIVE, "white", STATE_COLOURS[kind]])
