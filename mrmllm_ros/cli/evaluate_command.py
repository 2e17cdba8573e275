# SPDX-License-Identifier: Apache-2.0
"""`mrmllm evaluate`: measure answers, citations and detections of the fusion model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.options import add_model_options, model_settings, positive_int
from mrmllm_ros.cli.output import PARTIAL, print_error, print_progress
from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    from mrmllm_ros.engine.engine_settings import Settings
    from mrmllm_ros.evaluation.ablations import EvaluatedModels
    from mrmllm_ros.evaluation.report import SuiteReport
    from mrmllm_ros.evaluation.suites import SceneFolders

# Names in `mrmllm_ros.evaluation.suites`, which imports slowly.
SUITES = (
    *("synthetic", "consistency", "hallucination", "grounding", "labeled", "photographs"),
    *("names", "rendered", "context"),
)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure answers, citations and detections of the fusion model",
        description="Evaluate a trained model on scenes, frames and photographs outside of the "
        "training data, with 95 % confidence intervals by bootstrap over scenes.",
    )
    parser.add_argument(
        "--suite",
        choices=(*SUITES, "all"),
        action="append",
        help="evaluation suite; may be repeated (default: all, or none with --questions); all "
        "leaves out rendered and context without their folders",
    )
    parser.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="evaluate your own questions about your own images: JSON lines as for training, each "
        'with a "truth"',
    )
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="also evaluate with each mechanism off and with the untrained language model; takes "
        "several times as long",
    )
    add_model_options(parser)
    parser.add_argument(
        "--scenes",
        type=positive_int,
        default=100,
        metavar="N",
        help="number of synthetic scenes (100)",
    )
    parser.add_argument(
        "--frame-step",
        type=positive_int,
        default=10,
        metavar="N",
        help="suite consistency: use every Nth frame of the video (10)",
    )
    _add_folder_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write plots, annotated images and an index in Markdown",
    )
    parser.set_defaults(run=run)


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenes-folder",
        type=Path,
        metavar="FOLDER",
        help="suites rendered and names: scenes of `mrmllm scenes render`",
    )
    parser.add_argument(
        "--context-folder",
        type=Path,
        metavar="FOLDER",
        help="suite context: pairs of scenes of `mrmllm scenes render --kind context`",
    )
    parser.add_argument(
        "--probe-folder",
        type=Path,
        metavar="FOLDER",
        help="scenes of `mrmllm scenes render` for training or tuning, on which the control "
        "baselines of labels are fitted; without it, there are no controls",
    )
    parser.add_argument(
        "--scene-labels",
        action="store_true",
        help="let the model choose from the labels of these scenes too, not from the detector's "
        "alone; the first time, the language model scores them, which takes minutes",
    )


def run(options: argparse.Namespace) -> int:
    """Print the results of the suites; exit status 1 if some questions were skipped."""
    settings = model_settings(options)
    if settings.answerer != "mrmllm":
        raise SettingsError(
            f"only the fusion model can be evaluated, but answerer is {settings.answerer!r}; set "
            "answerer to mrmllm"
        )
    requested = options.suite or ([] if options.questions else ["all"])
    from mrmllm_ros.datasets.data_errors import Skipped
    from mrmllm_ros.evaluation.ablations import Ablation
    from mrmllm_ros.evaluation.report import evaluate
    from mrmllm_ros.evaluation.report_folder import require_report
    from mrmllm_ros.evaluation.suites import SceneFolders, Suites, require_samples
    from mrmllm_ros.evaluation.user_questions import QuestionFileSuite, read_scorable

    folders = SceneFolders(
        rendered=options.scenes_folder,
        context=options.context_folder,
        probe=options.probe_folder,
    )
    names = _names(requested, folders)
    require_samples(names, folders)
    scene_labels = folders.labels() if options.scene_labels else ()
    if options.report:
        require_report(options.report)
    skipped = Skipped(f"questions of {options.questions}", print_progress)
    questions = (
        read_scorable(options.questions, print_progress, skipped) if options.questions else []
    )
    print_progress("loading the models")
    subject = _subject(settings)
    backbones = subject.backbones
    ablation = Ablation(subject)
    if options.scene_labels:
        print_progress("scoring the labels of the scenes")
        ablation.set_vocabulary((*backbones.detector.labels, *scene_labels))
    suites = Suites(
        backbones,
        options.scenes,
        options.frame_step,
        print_progress,
        label_fusion=ablation.label_fusion,
        folders=folders,
        doubtful=ablation.config.doubtful_objects,
    ).of(names)
    if questions:
        suites.append(
            QuestionFileSuite(questions, backbones, print_progress, skipped, ablation.label_fusion)
        )
    reports = evaluate(suites, ablation, options.ablate, print_progress)
    _write(reports, options, settings.trained.checkpoint)
    if skipped.count:
        print_error(skipped)
        return PARTIAL
    return 0


def _write(reports: Sequence[SuiteReport], options: argparse.Namespace, checkpoint: str) -> None:
    """Print results as JSON or tables, and write the report."""
    from mrmllm_ros.evaluation.report import to_json, to_text
    from mrmllm_ros.evaluation.report_folder import INDEX, write_report

    if options.json:
        print(json.dumps({"checkpoint": checkpoint, "suites": to_json(reports)}))
    else:
        print(to_text(reports))
    if options.report:
        write_report(reports, options.report)
        print_progress(f"wrote {options.report / INDEX}")


def _names(requested: Sequence[str], folders: SceneFolders) -> list[str]:
    """Requested suites in their order; `all` leaves out suites whose folder is not given."""
    if "all" not in requested:
        return [name for name in SUITES if name in requested]
    skipped = {x: option for x, option in folders.missing().items() if x not in requested}
    for name, option in skipped.items():
        print_progress(f"{name}: skipped, because {option} is not given")
    return [name for name in SUITES if name not in skipped]


def _subject(settings: Settings) -> EvaluatedModels:
    from mrmllm_ros.compute import Compute
    from mrmllm_ros.detection.detector import load_detector
    from mrmllm_ros.engine.answerer_loading import load_backbones, load_label_fusion
    from mrmllm_ros.evaluation.ablations import EvaluatedModels
    from mrmllm_ros.model.language_model import LanguageModel

    compute = Compute.from_settings(settings.compute)
    return EvaluatedModels(
        backbones=load_backbones(settings, compute, load_detector(settings.detector, compute)),
        trained=settings.trained,
        prompt=settings.prompt,
        load_language_model=lambda: LanguageModel.load(settings.language_model, compute),
        load_label_fusion=lambda backbones: load_label_fusion(settings, backbones),
    )
