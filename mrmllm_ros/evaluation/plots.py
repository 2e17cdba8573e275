# SPDX-License-Identifier: Apache-2.0
"""Plots of results: figures with intervals, and precision by recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrmllm_ros.evaluation.statistics import Interval
from mrmllm_ros.evaluation.suite_result import EvaluationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 120
_ROW, _MARGIN, _WIDTH = 0.3, 1.4, 9.0  # inches
# Colors that color-blind people can tell apart (Okabe and Ito).
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_MARKERS = "osD^v<>"


def require_plots() -> None:
    """Check that plots can be drawn.

    Raises:
        EvaluationError: If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise EvaluationError(
            "--report needs matplotlib; install it with `pip install 'mrmllm_ros[train]'`"
        ) from error


def plot_intervals(file: Path, title: str, values: Mapping[str, Mapping[str, Interval]]) -> None:
    """Plot values with their intervals, one row for each statistic.

    Args:
        file: PNG file to write.
        title: Title of the plot.
        values: For each variant, its values by name of the statistic; undefined ones are left out.
    """
    defined = {
        variant: {
            name: x for name, x in each.items() if not np.isnan([x.value, x.low, x.high]).any()
        }
        for variant, each in values.items()
    }
    names = list(dict.fromkeys(name for each in defined.values() for name in each))
    figure = _figure(_MARGIN + _ROW * len(names))
    axes = figure.subplots()
    height = 0.7 / max(1, len(values))
    for number, (variant, intervals) in enumerate(defined.items()):
        rows = [
            (names.index(name) + (number + 0.5) * height - 0.35, x)
            for name, x in intervals.items()
        ]
        axes.errorbar(
            x=[x.value for _, x in rows],
            y=[row for row, _ in rows],
            # A percentile interval may leave out the value itself.
            xerr=np.array([[x.value - x.low, x.high - x.value] for _, x in rows])
            .reshape(-1, 2)
            .clip(0)
            .T,
            fmt=_MARKERS[number % len(_MARKERS)],
            color=_COLORS[number % len(_COLORS)],
            markersize=4,
            capsize=2,
            linewidth=1,
            label=variant,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    # Differences may be negative.
    lows = [x.low for each in defined.values() for x in each.values()]
    axes.set_xlim(min([0, *lows]) - 0.02, 1.02)
    axes.set_xlabel("value with its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=_DPI)


def plot_precision(file: Path, title: str, panels: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Plot precision by recall.

    Args:
        file: PNG file to write.
        title: Title of the plot.
        panels: For each panel, (101,) precision of each variant at recalls from 0 to 1.
    """
    figure = _figure(4.2)
    recalls = np.linspace(0, 1, 101)
    for axes, (name, curves) in zip(
        _as_sequence(figure.subplots(1, len(panels))), panels.items(), strict=True
    ):
        for number, (variant, precision) in enumerate(curves.items()):
            color = _COLORS[number % len(_COLORS)]
            label = f"{variant}: {precision.mean():.3f}"
            axes.plot(recalls, precision, color=color, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(title="average precision", fontsize=8, title_fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(file, dpi=_DPI)


def _figure(height: float) -> Figure:
    """Figure that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _as_sequence(axes: object) -> Sequence:
    return np.atleast_1d(np.array(axes, object)).tolist()
