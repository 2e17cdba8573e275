# SPDX-License-Identifier: Apache-2.0
"""`mrmllm evaluate`: how well the fusion model answers and perceives."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.arguments import positive_int
from mrmllm_ros.cli.model_options import add_model_options, model_settings
from mrmllm_ros.cli.output import PARTLY, print_error, print_progress
from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    from mrmllm_ros.engine.models import Settings
    from mrmllm_ros.evaluation.ablations import EvaluatedModels

# As in `training.evaluation.suites`, which takes long to import.
SUITES = ("synthetic", "consistency", "hallucination", "grounding", "labeled")


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure how well the fusion model answers and perceives",
        description="Measures a trained model on scenes, frames and photographs that training "
        "never shows, with 95 % confidence intervals by bootstrap over scenes.",
    )
    parser.add_argument(
        "--suite",
        choices=(*SUITES, "all"),
        action="append",
        help="what to measure; may be given more than once (default: all, or nothing else where "
        "--questions is given)",
    )
    parser.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="measure answers to your own questions about your own images: JSON lines as for "
        'training, with a "truth" each',
    )
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="also with each mechanism off, and with the untrained language model; takes several "
        "times as long",
    )
    add_model_options(parser)
    parser.add_argument(
        "--scenes", type=positive_int, default=100, metavar="N", help="made-up scenes (100)"
    )
    parser.add_argument(
        "--frame-step",
        type=positive_int,
        default=10,
        metavar="N",
        help="suite consistency: every how many frames of the video one is taken (10)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the figures of the suites; 1 if some of the questions could not be measured."""
    settings = _settings(options)
    asked = options.suite or ([] if options.questions else ["all"])
    names = [name for name in SUITES if name in asked or "all" in asked]
    from mrmllm_ros.datasets.data_errors import Skipped
    from mrmllm_ros.evaluation.ablations import Ablation
    from mrmllm_ros.evaluation.report import evaluate, to_json, to_text
    from mrmllm_ros.evaluation.suites import Suites, require_samples
    from mrmllm_ros.evaluation.user_questions import QuestionFileSuite, read_scorable

    require_samples(names)
    skipped = Skipped(f"questions of {options.questions}", print_progress)
    questions = (
        read_scorable(options.questions, print_progress, skipped) if options.questions else []
    )
    print_progress("loading the models")
    subject = _subject(settings)
    chosen = Suites(subject.backbones, options.scenes, options.frame_step, print_progress)
    suites = chosen.of(names)
    if questions:
        suites.append(QuestionFileSuite(questions, subject.backbones, print_progress, skipped))
    reports = evaluate(suites, Ablation(subject), options.ablate, print_progress)
    if options.json:
        checkpoint = settings.trained.checkpoint
        print(json.dumps({"checkpoint": checkpoint, "suites": to_json(reports)}))
    else:
        print(to_text(reports))
    if skipped.count:
        print_error(skipped)
        return PARTLY
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    settings = model_settings(options)
    if settings.answerer != "mrmllm":
        raise SettingsError(
            f"answerer is {settings.answerer!r}, and only the fusion model is evaluated; set it "
            "to mrmllm"
        )
    return settings


def _subject(settings: Settings) -> EvaluatedModels:
    from mrmllm_ros.compute import Compute
    from mrmllm_ros.detection.detector import load_detector
    from mrmllm_ros.engine.models import load_backbones
    from mrmllm_ros.evaluation.ablations import EvaluatedModels
    from mrmllm_ros.model.language_model import LanguageModel

    compute = Compute.from_settings(settings.compute)
    return EvaluatedModels(
        backbones=load_backbones(settings, compute, load_detector(settings.detector, compute)),
        trained=settings.trained,
        prompt=settings.prompt,
        load_language_model=lambda: LanguageModel.load(settings.language_model, compute),
    )
