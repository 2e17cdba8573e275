# SPDX-License-Identifier: Apache-2.0
"""Write results to a folder: plots, annotated images and an index in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mrmllm_ros.detection.images import save_image
from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL
from mrmllm_ros.evaluation.average_precision import Matches
from mrmllm_ros.evaluation.comparison_sheets import ComparedImages
from mrmllm_ros.evaluation.detection_statistics import AP50, agnostic_precision
from mrmllm_ros.evaluation.label_accuracy import frequent_labels
from mrmllm_ros.evaluation.plots import plot_intervals, plot_precision, require_plots
from mrmllm_ros.evaluation.predicted_objects import ImageSet, PredictedObjects
from mrmllm_ros.evaluation.report import SuiteReport, VariantReport, format_interval
from mrmllm_ros.evaluation.suite_result import EvaluationError

INDEX = "index.md"
_BY_LABEL = f"{AP50} of "


def require_report(folder: Path) -> None:
    """Check that a report can be written, before the evaluation.

    Raises:
        EvaluationError: If matplotlib is missing or the folder cannot be created.
    """
    require_plots()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(
            f"cannot create the folder {folder}: {error.strerror}; give another one with --report"
        ) from error


def write_report(reports: Sequence[SuiteReport], folder: Path) -> None:
    """Write plots, annotated images and the index.

    Args:
        reports: Results of the suites.
        folder: Existing folder; files of an earlier report are replaced.
    """
    lines = ["# Evaluation", "", "Intervals are 95 % intervals by bootstrap over images."]
    for report in reports:
        lines += ["", *_section(report, folder)]
    (folder / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(report: SuiteReport, folder: Path) -> Iterator[str]:
    yield f"## {report.name}"
    yield ""
    yield f"{report.title[0].upper()}{report.title[1:]}; {report.scenes} scenes."
    yield ""
    yield from _table(report)
    name = re.sub(r"\W+", "_", report.name)
    for suffix, by_label in (("figures", False), ("by_label", True)):
        values = {
            each.variant: {
                x.name: x.value for x in each.figures if x.name.startswith(_BY_LABEL) == by_label
            }
            for each in report.variants
        }
        values = {variant: each for variant, each in values.items() if each}
        if values:
            plot_intervals(folder / f"{name}_{suffix}.png", report.name, values)
            yield from _image(f"{name}_{suffix}.png", suffix.replace("_", " "))
    fused, detector = (_found(report.variant(variant)) for variant in (FULL, DETECTOR_ALONE))
    if report.images is not None and fused is not None and detector is not None:
        yield from _comparison(folder, name, report.images, detector, fused)


def _table(report: SuiteReport) -> Iterator[str]:
    yield f"| figure | {' | '.join(each.variant for each in report.variants)} |"
    yield f"| --- |{' --- |' * len(report.variants)}"
    names = dict.fromkeys(figure.name for each in report.variants for figure in each.figures)
    for name in names:
        values = [each.value(name) for each in report.variants]
        cells = ["" if value is None else format_interval(value) for value in values]
        yield f"| {name} | {' | '.join(cells)} |"


def _comparison(
    folder: Path, name: str, images: ImageSet, detector: PredictedObjects, fused: PredictedObjects
) -> Iterator[str]:
    """Write the curves and the sheets; yields their lines of the index."""
    labels = frequent_labels(images.truth)
    variants = {"detector": detector, "fused": fused}
    matches = {x: Matches(images.truth, found.candidates) for x, found in variants.items()}
    agnostic = {
        x: agnostic_precision(images.truth, found.one_label_each).matches
        for x, found in variants.items()
    }
    panels = {"any label": {x: each.precision_curve() for x, each in agnostic.items()}}
    if labels:
        curves = {x: each.precision_curve(labels) for x, each in matches.items()}
        panels = {f"mean over {len(labels)} labels": curves, **panels}
    plot_precision(folder / f"{name}_precision.png", "precision by recall, IoU 0.5", panels)
    yield from _image(f"{name}_precision.png", "precision by recall")
    compared = ComparedImages.of(images, detector, fused)
    sheets = {
        "best": (compared.best(), "images with the highest F1 after fusion"),
        "worst": (compared.worst(), "images with the lowest F1 after fusion"),
        "changed": (compared.changed(), "images that fusion changes most"),
    }
    for kind, (indices, title) in sheets.items():
        if indices:
            file = f"{name}_{kind}.jpg"
            save_image(folder / file, compared.sheet(indices))
            yield from _image(file, title)


def _image(file: str, title: str) -> Iterator[str]:
    yield ""
    yield f"![{title}]({file})"


def _found(report: VariantReport | None) -> PredictedObjects | None:
    return None if report is None else report.found
