# SPDX-License-Identifier: Apache-2.0
"""Evaluate variants of a model on suites and report the results as tables or JSON."""

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
    """Statistic of a variant.

    Attributes:
        name: Name of the statistic, such as `accuracy, count`.
        value: Value with its interval.
        difference: Difference to the full model on the same bootstrap samples; None for the full
            model.
    """

    name: str
    value: Interval
    difference: Interval | None = None


@dataclass(frozen=True)
class VariantReport:
    """Statistics of a variant in a suite."""

    variant: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class SuiteReport:
    """Results of a suite.

    Attributes:
        name: Name of the suite.
        title: Description of the measurement.
        scenes: Number of scenes, images or frames.
        variants: Variants, the full model first.
    """

    name: str
    title: str
    scenes: int
    variants: tuple[VariantReport, ...]


def evaluate(
    suites: Sequence[Suite], ablation: Ablation, ablate: bool, progress: Progress
) -> list[SuiteReport]:
    """Evaluate a model on suites.

    Args:
        suites: Suites, in this order for each variant.
        ablation: Provider of the variants.
        ablate: Whether to evaluate all variants that can change a result. If not, only the full
            model and, for detections, the detector alone.
        progress: Called with progress lines.
    """
    results: dict[str, dict[str, SuiteResult]] = {suite.name: {} for suite in suites}
    for variant in VARIANTS if ablate else WITHOUT_ABLATION:
        chosen = [suite for suite in suites if variant in ablation.variants(suite.variants)]
        if not chosen:
            continue
        with ablation.answerer(variant) as answerer:
            for suite in chosen:
                report = _prefixed(progress, f"{variant}: {suite.name}")
                report("started")
                results[suite.name][variant] = suite.evaluate(answerer, variant, report)
    progress("computing confidence intervals")
    return [_report(suite, results[suite.name]) for suite in suites]


def to_json(reports: Iterable[SuiteReport]) -> dict[str, Any]:
    """Convert reports to JSON values.

    Returns:
        For each suite by name `title`, `scenes` and `variants`. A variant maps names of statistics
        to `value`, `low` and `high`, and except for the full model to `minus_full` with the same
        and `excludes_zero`. Undefined values are None.
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
    """Format reports as tables; an asterisk marks differences whose interval excludes zero."""
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
    # JSON has no NaN.
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
