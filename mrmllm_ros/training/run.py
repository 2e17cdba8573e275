# SPDX-License-Identifier: Apache-2.0
"""Set up a training run from its settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from huggingface_hub.errors import StrictDataclassError

from mrmllm_ros.compute import Compute
from mrmllm_ros.datasets.coco import read_coco
from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.feature_cache import FeatureCache
from mrmllm_ros.datasets.labeled_examples import ViewSettings, coco_examples
from mrmllm_ros.datasets.question_files import question_examples, read_questions
from mrmllm_ros.datasets.questions.question_sampler import with_questions
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.datasets.video import (
    MAX_CANDIDATE_THRESHOLD,
    FrameSource,
    frame_examples,
)
from mrmllm_ros.detection.detector import load_detector
from mrmllm_ros.environment import expand
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.model_settings import MrMllmSettings
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor
from mrmllm_ros.settings import SettingsError
from mrmllm_ros.training.collator import Collator, TrainingBatch
from mrmllm_ros.training.leg import Leg
from mrmllm_ros.training.mixture import Batches, Source, repeat
from mrmllm_ros.training.trainer import Progress, Trainer, TrainingError
from mrmllm_ros.training.training_settings import BackboneChoice, SourceSettings, TrainingSettings
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import fingerprint
from mrmllm_ros.weights.store import locate

_FIRST_OF_EVALUATION = 10**9  # far from the scenes that evaluation suites use


@dataclass(frozen=True, eq=False)
class FrozenModels:
    """Models that are not trained.

    Attributes:
        chosen: Their settings.
        backbones: Detector, visual encoder and language model.
        label_fusion: Correction of the detector's labels; None to keep them.
    """

    chosen: BackboneChoice
    backbones: Backbones
    label_fusion: LabelFusion | None = None

    @classmethod
    def load(cls, chosen: BackboneChoice, device: torch.device) -> FrozenModels:
        """Load the models onto a device, in full precision.

        Raises:
            MrmllmError: If a model cannot be loaded, or the visual encoder cannot name regions.
        """
        backbones = load_backbones(chosen, device)
        if not chosen.evidence.applies_to(chosen.detector.model, chosen.visual_encoder.model):
            return cls(chosen, backbones)
        fusion = LabelFusion.create(
            backbones, chosen.evidence.max_crops, lambda: backbones.language_model
        )
        fusion.wait()
        return cls(chosen, backbones, fusion)

    @property
    def region_names(self) -> int:
        """Number of class names of regions; 0 if there are none, or they are the labels."""
        fusion = self.label_fusion
        return 0 if fusion is None or fusion.knowledge is None else len(fusion.classifier.names)

    @property
    def feature_configuration(self) -> dict[str, Any]:
        """All of the models that features depend on, as JSON values."""
        chosen, backbones, fusion = self.chosen, self.backbones, self.label_fusion
        encoder = backbones.visual_encoder
        return {
            "detector": [vars(chosen.detector), fingerprint(chosen.detector.model)],
            "labels": backbones.detector.labels,
            "visual_encoder": fingerprint(chosen.visual_encoder.model) if encoder else "",
            "named_regions": 0 if fusion is None else fusion.max_crops,
        }


def train(
    settings: TrainingSettings, accelerator: Accelerator, progress: Progress, leg: Leg
) -> Path:
    """Train a model, or resume an interrupted run.

    Args:
        settings: All settings.
        accelerator: Devices and processes.
        progress: Called with each line of progress.
        leg: Time of this process.

    Returns:
        Folder of the checkpoint.

    Raises:
        MrmllmError: If models or data cannot be loaded, or the run cannot continue.
        UnfinishedError: If the leg is over before the run.
    """
    models = FrozenModels.load(choose_backbones(settings), accelerator.device)
    backbones = models.backbones
    # The head gets only the outputs that are trained.
    outputs = settings.loss.perception_outputs
    try:
        config = MrMllm.configure(
            backbones,
            **{
                **vars(settings.model),
                "perception_outputs": outputs,
                "doubtful_objects": True,
                "region_names": models.region_names if settings.model.region_names else 0,
            },
        )
    except StrictDataclassError as error:
        raise SettingsError(f"model: {error.__cause__ or error}") from error
    sources = load_sources(settings, models, progress, leg)
    model = MrMllm(config, backbones)
    if settings.checkpoint:
        start_from(model, settings.checkpoint, progress)
    processor = MrMllmProcessor(config, backbones, models.chosen.prompt)
    labels = (label for source in sources.values() for label in source.labels)
    processor.vocabulary = tuple(dict.fromkeys([*processor.vocabulary, *labels]))
    collate = Collator(processor, backbones.language_model, config.attributes)
    batches = Batches(
        sources,
        collate,
        settings.drop,
        batch_size=settings.batch_size,
        perception_batch_size=settings.perception_batch_size
        if outputs and settings.loss.without_language_model
        else 0,
        seed=settings.seed,
        process=accelerator.process_index,
    )
    trained = sum(weight.numel() for weight in model.trained_state().values())
    progress(
        f"{trained} trainable parameters on {accelerator.device}, precision "
        f"{accelerator.mixed_precision}"
    )
    evaluation = evaluation_batches(settings, collate)
    return Trainer(model, batches, evaluation, settings, accelerator, progress, leg).run()


def start_from(model: MrMllm, checkpoint: str, progress: Progress) -> None:
    """Initialize a model from a checkpoint.

    Args:
        model: The model.
        checkpoint: Setting `checkpoint` of `TrainingSettings`.
        progress: Called with a line that names the missing parts.

    Raises:
        CheckpointError: If the checkpoint cannot be read or is for another model.
    """
    missing = model.start_from(MrMllmSettings(checkpoint).source)
    parts = sorted({name.split(".")[0] for name in missing})
    progress(f"starting from {checkpoint}" + (f", without its {', '.join(parts)}" * bool(parts)))


def _reject(message: str) -> None:
    raise SettingsError(message)


def choose_backbones(settings: TrainingSettings) -> BackboneChoice:
    """Read the settings of the frozen models.

    Raises:
        SettingsError: If the parameter file cannot be read, or its detector hides uncertain
            candidates.
    """
    file = settings.models.params_file
    chosen = BackboneChoice.from_parameter_file(expand(file) if file else None, warn=_reject)
    if chosen.detector.minimum_score > MAX_CANDIDATE_THRESHOLD:
        raise SettingsError(
            f"detector.candidate_threshold: {chosen.detector.candidate_threshold} hides uncertain "
            f"candidates, which training needs; set it to {MAX_CANDIDATE_THRESHOLD} or less"
        )
    return chosen


def load_backbones(chosen: BackboneChoice, device: torch.device) -> Backbones:
    """Load the frozen models onto the device, in full precision."""
    if chosen.compute.threads:
        torch.set_num_threads(chosen.compute.threads)
    compute = Compute(device, torch.float32, chosen.compute.threads)
    detector = load_detector(chosen.detector, compute)
    language_model = replace(chosen.language_model, quantization="none")
    return Backbones.load(detector, language_model, chosen.visual_encoder, compute)


def load_sources(
    settings: TrainingSettings, models: FrozenModels, progress: Progress, leg: Leg
) -> dict[str, Source]:
    """Load the examples of every source with a share above 0.

    Args:
        settings: All settings.
        models: The frozen models.
        progress: Called with each line of progress.
        leg: Time of this process.

    Raises:
        TrainingError: If no source has a share.
        DataError: If a source cannot be read or has no examples.
    """
    data = settings.data
    detector, encoder = models.backbones.detector, models.backbones.visual_encoder
    sources: dict[str, Source] = {}
    if data.synthetic.share:
        sources["synthetic"] = Source(
            data.synthetic.share, partial(_synthetic, settings), has_targets=False
        )
    if data.frames.share:
        found = frame_examples(
            [frame_source(source) for source in data.frames.sources],
            detector,
            encoder,
            models.label_fusion,
            data.frames.views,
            settings.seed,
            _prefixed(progress, "frames"),
        )
        examples = _collected("frames", _counted("frames", found, progress), progress)
        count = data.frames.questions
        ask = partial(with_questions, vocabulary=detector.labels, count=count)
        sources["frames"] = Source(data.frames.share, repeat(examples, ask))
    if data.coco.share:
        sources["coco"] = _coco_source(settings, models, progress, leg)
    if data.questions.share:
        file = expand(data.questions.file)
        skipped = Skipped(f"questions of {file}", _prefixed(progress, "questions"))
        found = question_examples(
            read_questions(file, skipped),
            detector,
            encoder,
            progress=lambda line: progress(f"{file}: {line}"),
            skipped=skipped,
        )
        examples = _collected("questions", _counted("questions", found, progress), progress)
        sources["questions"] = Source(data.questions.share, repeat(examples), has_targets=False)
    if not sources:
        raise TrainingError(
            "data: every share is 0; give synthetic, frames, coco or questions one"
        )
    return sources


def _coco_source(
    settings: TrainingSettings, models: FrozenModels, progress: Progress, leg: Leg
) -> Source:
    """Load the examples of labeled images."""
    coco, report = settings.data.coco, _prefixed(progress, "coco")
    annotations = expand(coco.annotations)
    images = expand(coco.images) if coco.images else annotations.parent
    dataset = read_coco(images, annotations, report)
    views = ViewSettings(views=coco.views, seed=settings.seed)
    cache, end_leg = None, None
    if settings.feature_cache_gb:
        configuration = {**vars(views), **models.feature_configuration}
        cache = FeatureCache(configuration, settings.feature_cache_gb * 1e9, report)
        end_leg = partial(leg.check, f"computing the features of {annotations}")
    found = coco_examples(
        dataset,
        models.backbones.detector,
        models.backbones.visual_encoder,
        views,
        label_fusion=models.label_fusion,
        cache=cache,
        computed=end_leg,
        progress=report,
    )
    examples = _collected("coco", found, progress)
    ask = partial(
        with_questions,
        vocabulary=dataset.labels,
        count=coco.questions,
        shares={"missed": coco.missed_questions, "place": coco.place_questions},
    )
    return Source(coco.share, repeat(examples, ask), labels=dataset.labels)


def evaluation_batches(settings: TrainingSettings, collate: Collator) -> list[TrainingBatch]:
    """Synthetic scenes with labels and templates that are held out from training."""
    size, questions = settings.batch_size, settings.data.synthetic.questions
    firsts = range(_FIRST_OF_EVALUATION, _FIRST_OF_EVALUATION + settings.evaluation_batches * size)
    return [
        collate(
            [synthetic_example(seed, "evaluation", questions) for seed in firsts[i : i + size]]
        )
        for i in range(0, len(firsts), size)
    ]


def frame_source(settings: SourceSettings) -> FrameSource:
    """Find the video or folder of a source.

    Raises:
        DataError: If it does not exist.
        WeightsError: If it is a sample that has not been fetched.
    """
    path = expand(settings.path)
    if settings.path in CATALOG and CATALOG[settings.path].kind.startswith("sample"):
        path = locate(settings.path)
        # A sample is a folder of photographs, or a folder with a video.
        path = next((p for p in path.iterdir() if p.suffix in (".avi", ".mp4")), path)
    elif not settings.path or not path.exists():
        raise DataError(
            f"data.frames.sources: {path} is no file, folder or sample; see mrmllm models list"
        )
    return FrameSource(
        name=path.name,
        path=path,
        first=settings.first,
        last=None if settings.last < 0 else settings.last,
        step=settings.step,
    )


def _synthetic(settings: TrainingSettings, number: int) -> Example:
    synthetic = settings.data.synthetic
    return synthetic_example(number % (synthetic.scenes or 2**31), "train", synthetic.questions)


def _prefixed(progress: Progress, source: str) -> Progress:
    return lambda line: progress(f"{source}: {line}")


def _counted(name: str, examples: Iterable[Example], progress: Progress) -> Iterator[Example]:
    for count, example in enumerate(examples, start=1):
        yield example
        if count % 50 == 0:
            progress(f"{name}: {count} examples read")


def _collected(name: str, examples: Iterable[Example], progress: Progress) -> list[Example]:
    made = list(examples)
    if not made:
        raise DataError(f"data.{name}: no usable examples; check its files")
    progress(f"{name}: {len(made)} examples")
    return made
