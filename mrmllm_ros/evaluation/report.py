# SPDX-License-Identifier: Apache-2.0
"""Runs suites on variants of a model, and tells what came out as a table or as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL, VARIANTS, Ablation
from mrmllm_ros.evaluation.statistics import Interval, bootstrap, bootstrap_difference
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult

WITHOUT_ABLATION = (FULL, DETECTOR_ALONE)


@dataclass(frozen=True)
class Figure:
    """A figure of a variant.

    Attributes:
        name: What it measures, such as `accuracy, count`.
        value: With its interval.
        difference: That of the full model taken from it, of the same draws of scenes; None for
            the full model.
    """

    name: str
    value: Interval
    difference: Interval | None = None


@dataclass(frozen=True)
class VariantReport:
    """All figures of a variant in a suite."""

    variant: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class SuiteReport:
    """All that came out of a suite.

    Attributes:
        name: The suite.
        title: What it measures.
        scenes: Number of scenes, images or frames.
        variants: The full model first.
    """

    name: str
    title: str
    scenes: int
    variants: tuple[VariantReport, ...]


def evaluate(
    suites: Sequence[Suite], ablation: Ablation, ablate: bool, progress: Progress
) -> list[SuiteReport]:
    """Run suites.

    Args:
        suites: What is run, in this order for each variant.
        ablation: Gives the variants.
        ablate: Whether to run every variant that can make a difference; else the full model and,
            where detections are judged, the detector alone.
        progress: Called with a line at each step.
    """
    results: dict[str, dict[str, SuiteResult]] = {suite.name: {} for suite in suites}
    for variant in VARIANTS if ablate else WITHOUT_ABLATION:
        chosen = [suite for suite in suites if variant in ablation.variants(suite.variants)]
        if not chosen:
            continue
        with ablation.answerer(variant) as answerer:
            for suite in chosen:
                tell = _prefixed(progress, f"{variant}: {suite.name}")
                tell("begins")
                results[suite.name][variant] = suite.run(answerer, variant, tell)
    progress("confidence intervals")
    return [_report(suite, results[suite.name]) for suite in suites]


def to_json(reports: Iterable[SuiteReport]) -> dict[str, Any]:
    """Reports as they stand in the command's JSON.

    Returns:
        By suite: `title`, `scenes`, and `variants`, by name their figures, by name `value`,
        `low`, `high`, and for all but the full model `minus_full` with the same and
        `excludes_zero`. A figure that is not defined is None.
    """
    return {
        report.name: {
            "title": report.title,
            "scenes": report.scenes,
            "variants": {
                each.variant: {figure.name: _figure_json(figure) for figure in each.figures}
                for each in report.variants
            },
        }
        for report in reports
    }


def to_text(reports: Iterable[SuiteReport]) -> str:
    """Reports as tables that are read easily; an asterisk marks what zero is outside of."""
    return "\n\n".join("\n".join(_table(report)) for report in reports)


def _prefixed(progress: Progress, prefix: str) -> Progress:
    return lambda line: progress(f"{prefix}: {line}")


def _report(suite: Suite, results: dict[str, SuiteResult]) -> SuiteReport:
    full = results[FULL]
    return SuiteReport(
        name=suite.name,
        title=suite.title,
        scenes=full.scenes,
        variants=tuple(
            VariantReport(variant, tuple(_figures(result, None if variant == FULL else full)))
            for variant, result in results.items()
        ),
    )


def _figures(result: SuiteResult, full: SuiteResult | None) -> Iterator[Figure]:
    for name, statistic in result.statistics.items():
        difference = None
        if full is not None and name in full.statistics:
            difference = bootstrap_difference(statistic, full.statistics[name], result.scenes)
        yield Figure(name, bootstrap(statistic, result.scenes), difference)


def _figure_json(figure: Figure) -> dict[str, Any]:
    record: dict[str, Any] = _interval_json(figure.value)
    if figure.difference is not None:
        record["minus_full"] = {
            **_interval_json(figure.difference),
            "excludes_zero": figure.difference.excludes_zero,
        }
    return record


def _interval_json(interval: Interval) -> dict[str, float | None]:
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    # JSON knows no NaN.
    return {name: None if math.isnan(x) else round(x, 4) for name, x in ends.items()}


def _table(report: SuiteReport) -> Iterator[str]:
    yield f"{report.name}: {report.title}; {report.scenes} scenes, 95 % intervals"
    names = [figure.name for each in report.variants for figure in each.figures]
    width = max(map(len, names), default=0)
    for each in report.variants:
        yield f"  {each.variant}" + ("" if each.variant == FULL else "; behind it, minus full")
        for figure in each.figures:
            yield f"    {figure.name:{width}}  {_cell(figure)}"


def _cell(figure: Figure) -> str:
    value = f"{_number(figure.value.value)} {_range(figure.value)}"
    if figure.difference is None:
        return value
    mark = " *" if figure.difference.excludes_zero else ""
    difference = figure.difference
    return f"{value}  {_number(difference.value, '+')} {_range(difference, '+')}{mark}"


def _range(interval: Interval, sign: str = "") -> str:
    return f"[{_number(interval.low, sign)}, {_number(interval.high, sign)}]"


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
