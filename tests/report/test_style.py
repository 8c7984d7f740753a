"""The same data gives the same figure byte for byte."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine

from kn_thesis.report.style import save_figure, use_style


class Nearly(LayoutEngine):
    """A layout whose last digit is one lower or higher, as a solver's may be from run to run."""

    _adjust_compatible = _colorbar_gridspec = False

    def __init__(self, towards: float) -> None:
        super().__init__()
        self.place = [np.nextafter(0.2, towards), 0.3, 0.5, 0.6]

    def execute(self, fig: Figure) -> None:
        for axis in fig.axes:
            axis.set_position(self.place)


def bytes_of(folder: Path, engine: LayoutEngine | str) -> tuple[bytes, bytes]:
    figure, axis = plt.subplots(layout=engine)
    axis.plot([0, 1, 4], label="squares")
    figure.legend(loc="lower center" if isinstance(engine, Nearly) else "outside lower center")
    svg, png = folder / "one.svg", folder / "one.png"
    save_figure(figure, svg, png)
    return svg.read_bytes(), png.read_bytes()


def test_a_layout_s_last_digit_changes_no_byte(tmp_path: Path) -> None:
    use_style()
    open_before = plt.get_fignums()  # by other tests
    assert bytes_of(tmp_path, Nearly(0)) == bytes_of(tmp_path, Nearly(1))
    assert plt.get_fignums() == open_before


def test_saved_figures_are_laid_out(tmp_path: Path) -> None:
    use_style()
    figure, axis = plt.subplots(layout="constrained")
    axis.set_ylabel("a label")
    before = axis.get_position().bounds
    save_figure(figure, tmp_path / "one.svg", tmp_path / "one.png")
    assert axis.get_position().bounds != before
    assert bytes_of(tmp_path, "constrained") == bytes_of(tmp_path, "constrained")
