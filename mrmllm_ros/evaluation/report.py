# SPDX-License-Identifier: Apache-2.0
"""Evaluate variants of a model on suites and report the results as tables or JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL, VARIANTS, Ablation
from mrmllm_ros.evaluation.controls import CONTROL
from mrmllm_ros.evaluation.predicted_objects import ImageSet, PredictedObjects
from mrmllm_ros.evaluation.statistics import Interval, bootstrap, bootstrap_difference
from mrmllm_ros.evaluation.suite_result import Part, Progress, Suite, SuiteResult

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


@dataclass(frozen=True, eq=False)
class VariantReport:
    """Statistics of a variant or control in a suite.

    Attributes:
        variant: Name of the variant or control.
        figures: The statistics.
        found: Objects that the variant finds, or None for answers.
    """

    variant: str
    figures: tuple[Figure, ...]
    found: PredictedObjects | None = None

    def value(self, name: str) -> Interval | None:
        """Value of a statistic; None if the variant does not have it."""
        return next((each.value for each in self.figures if each.name == name), None)


@dataclass(frozen=True, eq=False)
class SuiteReport:
    """Results of a suite.

    Attributes:
        name: Name of the suite.
        title: Description of the measurement.
        scenes: Number of scenes, images or frames.
        variants: Variants and controls, the full model first.
        group: See `Suite`.
        part: See `Suite`.
        headline: See `Suite`.
        images: See `Suite`.
    """

    name: str
    title: str
    scenes: int
    variants: tuple[VariantReport, ...]
    group: str
    part: Part = "questions"
    headline: Mapping[str, str] = field(default_factory=dict)
    images: ImageSet | None = None

    def variant(self, name: str) -> VariantReport | None:
        """Results of a variant; None if it was not evaluated."""
        return next((each for each in self.variants if each.variant == name), None)


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
    for suite in suites:
        results[suite.name] |= suite.controls(_prefixed(progress, suite.name))
    progress("computing confidence intervals")
    return [_report(suite, results[suite.name]) for suite in suites]


def to_json(reports: Iterable[SuiteReport]) -> dict[str, Any]:
    """Convert reports to JSON values.

    Returns:
        Details of each suite by its name: `title`, `scenes` and `variants`. A variant maps names
        of statistics to `value`, `low` and `high`, and except for the full model to `minus_full`
        with the same and `excludes_zero`.

        Summaries by group of suites, such as `rendered`: `fused`, `detector` and `controls` of
        detections, and `questions`. They map keys such as `ap50` and `accuracy` to values, and
        with the ending `_interval` to the ends of their intervals.

        Undefined values are None.
    """
    record: dict[str, Any] = {}
    for report in reports:
        record.setdefault(report.name, {}).update(_details(report))
        summary = record.setdefault(report.group, {})
        for part, values in _summary(report).items():
            summary.setdefault(part, {}).update(values)
    return record


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
            VariantReport(
                variant, tuple(_figures(result, None if variant == FULL else full)), result.found
            )
            for variant, result in results.items()
        ),
        group=suite.group or suite.name,
        part=suite.part,
        headline=suite.headline,
        images=suite.images,
    )


def _figures(result: SuiteResult, full: SuiteResult | None) -> Iterator[Figure]:
    for name, statistic in result.statistics.items():
        difference = None
        if full is not None and name in full.statistics:
            difference = bootstrap_difference(statistic, full.statistics[name], result.scenes)
        yield Figure(name, bootstrap(statistic, result.scenes), difference)


def _details(report: SuiteReport) -> dict[str, Any]:
    return {
        "title": report.title,
        "scenes": report.scenes,
        "variants": {
            each.variant: {figure.name: _figure_json(figure) for figure in each.figures}
            for each in report.variants
        },
    }


def _summary(report: SuiteReport) -> dict[str, Any]:
    of_variants = {each.variant: _headline(report, each) for each in report.variants}
    if report.part == "questions":
        return {"questions": of_variants[FULL]}
    names = {FULL: "fused", DETECTOR_ALONE: "detector"}
    parts = {names[x]: values for x, values in of_variants.items() if x in names}
    controls = {
        name.removeprefix(CONTROL): values
        for name, values in of_variants.items()
        if name.startswith(CONTROL)
    }
    return parts | ({"controls": controls} if controls else {})


def _headline(report: SuiteReport, variant: VariantReport) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, name in report.headline.items():
        interval = variant.value(name)
        if interval is not None:
            ends = _interval_json(interval)
            values[key] = ends["value"]
            values[f"{key}_interval"] = [ends["low"], ends["high"]]
    return values


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
    figures = [figure for each in report.variants for figure in each.figures]
    defined = {figure.name for figure in figures if not math.isnan(figure.value.value)}
    width = max(map(len, defined), default=0)
    for each in report.variants:
        yield f"  {each.variant}" + ("" if each.variant == FULL else "; behind it, minus full")
        for figure in each.figures:
            if figure.name in defined:
                yield f"    {figure.name:{width}}  {_cell(figure)}"
    if undefined := len({figure.name for figure in figures} - defined):
        yield f"  {undefined} figures are undefined: too few objects or questions"


def _cell(figure: Figure) -> str:
    value = format_interval(figure.value)
    if figure.difference is None:
        return value
    mark = " *" if figure.difference.excludes_zero else ""
    difference = figure.difference
    return f"{value}  {_number(difference.value, '+')} {_range(difference, '+')}{mark}"


def format_interval(interval: Interval) -> str:
    """Format a value with its interval, such as `0.900 [0.850, 0.950]`."""
    return f"{_number(interval.value)} {_range(interval)}"


def _range(interval: Interval, sign: str = "") -> str:
    return f"[{_number(interval.low, sign)}, {_number(interval.high, sign)}]"


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
