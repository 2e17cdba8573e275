# SPDX-License-Identifier: Apache-2.0
"""Puts a training run together from its settings."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from huggingface_hub.errors import StrictDataclassError

from mrmllm_ros.compute import Compute
from mrmllm_ros.datasets.coco import coco_examples, read_coco
from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.question_files import question_examples, read_questions
from mrmllm_ros.datasets.questions.question_sampler import with_questions
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.datasets.video import (
    MOST_CANDIDATE_THRESHOLD,
    FrameSource,
    frame_examples,
)
from mrmllm_ros.detection.detector import load_detector
from mrmllm_ros.environment import expand
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import MrMllmSettings
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor
from mrmllm_ros.model.visual_encoder import VisualEncoder
from mrmllm_ros.settings import SettingsError, read_parameter_file, unknown_parameters
from mrmllm_ros.training.collator import Collator, TrainingBatch
from mrmllm_ros.training.mixture import Batches, Source, again
from mrmllm_ros.training.trainer import Report, Trainer, TrainingError
from mrmllm_ros.training.training_settings import BackboneChoice, SourceSettings, TrainingSettings
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.store import locate

_FIRST_OF_EVALUATION = 10**9  # far from the scenes that evaluation suites use


def train(settings: TrainingSettings, accelerator: Accelerator, report: Report) -> Path:
    """Train, or go on with a run that was cut.

    Args:
        settings: All settings.
        accelerator: Where it runs.
        report: Called with each line of progress.

    Returns:
        The folder of the checkpoint.

    Raises:
        MrmllmError: If a model or data cannot be had, or the run cannot go on.
    """
    chosen = choose_backbones(settings)
    backbones = load_backbones(chosen, accelerator.device)
    # The head has no say in what it is not trained on.
    outputs = settings.loss.perception_outputs
    try:
        config = MrMllm.configure(backbones, perception_outputs=outputs, **vars(settings.model))
    except StrictDataclassError as error:
        raise SettingsError(f"model: {error.__cause__ or error}") from error
    sources = load_sources(settings, backbones, report)
    model = MrMllm(config, backbones)
    if settings.checkpoint:
        start_from(model, settings.checkpoint, report)
    collate = Collator(
        MrMllmProcessor(config, backbones, chosen.prompt),
        backbones.language_model,
        config.attributes,
    )
    batches = Batches(
        sources,
        collate,
        settings.drop,
        batch_size=settings.batch_size,
        look_batch_size=settings.look_batch_size
        if outputs and settings.loss.without_language_model
        else 0,
        seed=settings.seed,
        process=accelerator.process_index,
    )
    trained = sum(weight.numel() for weight in model.trained_state().values())
    report(f"{trained} weights to train, on {accelerator.device}, {accelerator.mixed_precision}")
    evaluation = evaluation_batches(settings, collate)
    return Trainer(model, batches, evaluation, settings, accelerator, report).run()


def start_from(model: MrMllm, checkpoint: str, report: Report) -> None:
    """Give a model the weights of a checkpoint.

    Args:
        model: It.
        checkpoint: As in `TrainingSettings`.
        report: Called with what is missing.

    Raises:
        CheckpointError: If it cannot be read or does not fit.
    """
    missing = model.start_from(MrMllmSettings(checkpoint).source)
    parts = sorted({name.split(".")[0] for name in missing})
    report(f"starting from {checkpoint}" + (f", without its {', '.join(parts)}" * bool(parts)))


def choose_backbones(settings: TrainingSettings) -> BackboneChoice:
    """What the parameter file says of the frozen models.

    Raises:
        SettingsError: If it cannot be read, or the detector is to keep back what it half believes.
    """
    file = settings.models.params_file
    values = read_parameter_file(expand(file), "mrmllm_node") if file else {}
    if unknown := unknown_parameters(values):
        raise SettingsError(f"{file}: {'; '.join(unknown)}")
    chosen = BackboneChoice.from_parameters(values)
    if chosen.detector.least_score > MOST_CANDIDATE_THRESHOLD:
        raise SettingsError(
            f"detector.candidate_threshold: {chosen.detector.candidate_threshold} hides doubtful "
            f"objects, which training must see; set it to {MOST_CANDIDATE_THRESHOLD} or less"
        )
    return chosen


def load_backbones(chosen: BackboneChoice, device: torch.device) -> Backbones:
    """Load the frozen models, in full precision, on the device."""
    if chosen.compute.threads:
        torch.set_num_threads(chosen.compute.threads)
    compute = Compute(device, torch.float32, chosen.compute.threads)
    return Backbones(
        language_model=LanguageModel.load(chosen.language_model, compute),
        detector=load_detector(chosen.detector, compute),
        visual_encoder=VisualEncoder.load(chosen.visual_encoder, compute),
    )


def load_sources(
    settings: TrainingSettings, backbones: Backbones, report: Report
) -> dict[str, Source]:
    """Make or read the examples of every source with a share.

    Raises:
        TrainingError: If there is none with a share.
        DataError: If one of them has no examples or cannot be read.
    """
    data = settings.data
    detector, encoder = backbones.detector, backbones.visual_encoder
    sources: dict[str, Source] = {}
    if data.layout.share:
        sources["layout"] = Source(
            data.layout.share, partial(_layout, settings), has_targets=False
        )
    if data.frames.share:
        found = frame_examples(
            [frame_source(source) for source in data.frames.sources],
            detector,
            encoder,
            data.frames.views,
            settings.seed,
            _prefixed(report, "frames"),
        )
        examples = _collected("frames", found, report)
        count = data.frames.questions
        anew = partial(with_questions, vocabulary=detector.labels, count=count)
        sources["frames"] = Source(data.frames.share, again(examples, anew))
    if data.coco.share:
        dataset = read_coco(
            expand(data.coco.images), expand(data.coco.annotations), _prefixed(report, "coco")
        )
        found = coco_examples(
            dataset,
            detector,
            encoder,
            views=data.coco.views,
            seed=settings.seed,
            progress=_prefixed(report, "coco"),
        )
        examples = _collected("coco", found, report)
        anew = partial(with_questions, vocabulary=dataset.labels)
        sources["coco"] = Source(data.coco.share, again(examples, anew))
    if data.questions.share:
        file = expand(data.questions.file)
        skipped = Skipped(f"questions of {file}", _prefixed(report, "questions"))
        found = question_examples(
            read_questions(file, skipped),
            detector,
            encoder,
            progress=lambda line: report(f"{file}: {line}"),
            skipped=skipped,
        )
        examples = _collected("questions", found, report)
        # They have no targets, so there is nothing to learn from looking at them alone.
        sources["questions"] = Source(data.questions.share, again(examples), has_targets=False)
    if not sources:
        raise TrainingError("data: every share is 0; give layout, frames, coco or questions one")
    return sources


def evaluation_batches(settings: TrainingSettings, collate: Collator) -> list[TrainingBatch]:
    """Scenes, names and wordings that training never shows."""
    size, questions = settings.batch_size, settings.data.layout.questions
    firsts = range(_FIRST_OF_EVALUATION, _FIRST_OF_EVALUATION + settings.evaluation_batches * size)
    return [
        collate(
            [synthetic_example(seed, "evaluation", questions) for seed in firsts[i : i + size]]
        )
        for i in range(0, len(firsts), size)
    ]


def frame_source(settings: SourceSettings) -> FrameSource:
    """A video or folder as it stands in the settings.

    Raises:
        DataError: If there is none.
        WeightsError: If it is a sample that has not been fetched.
    """
    path = expand(settings.path)
    if settings.path in CATALOG and CATALOG[settings.path].kind.startswith("sample"):
        path = locate(settings.path)
        # A folder of photographs is taken as it is, of a video the file.
        path = next((p for p in path.iterdir() if p.suffix in (".avi", ".mp4")), path)
    elif not settings.path or not path.exists():
        raise DataError(f"data.frames.sources: there is no file, folder or sample {path}")
    return FrameSource(
        name=path.name,
        path=path,
        first=settings.first,
        last=None if settings.last < 0 else settings.last,
        step=settings.step,
    )


def _layout(settings: TrainingSettings, number: int) -> Example:
    layout = settings.data.layout
    return synthetic_example(number % (layout.scenes or 2**31), "train", layout.questions)


def _prefixed(report: Report, source: str) -> Report:
    return lambda line: report(f"{source}: {line}")


def _collected(name: str, examples: Iterable[Example], report: Report) -> list[Example]:
    made: list[Example] = []
    for example in examples:
        made.append(example)
        if len(made) % 50 == 0:
            report(f"{name}: {len(made)} examples read")
    if not made:
        raise DataError(f"data.{name}: there is nothing in it to train on")
    report(f"{name}: {len(made)} examples")
    return made
