# SPDX-License-Identifier: Apache-2.0
"""Settings of `mrmllm train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrmllm_ros.compute import ComputeSettings
from mrmllm_ros.detection.detector import DetectorSettings
from mrmllm_ros.model.configuration_mrmllm import PERCEPTION_OUTPUTS
from mrmllm_ros.model.model_settings import (
    EvidenceSettings,
    LanguageModelSettings,
    VisualEncoderSettings,
)
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.settings import SettingsError, Validated, group, read_yaml, setting

# Prefix of the names of perception losses without the language model.
WITHOUT_LANGUAGE_MODEL = "without_language_model_"


@dataclass(frozen=True)
class ModelSettings(Validated):
    """Sizes of the trained model; see `MrMllmConfig`."""

    lora_rank: int = setting(16, "Rank of the LoRA adapters; 0 for none.", minimum=0, maximum=512)
    lora_alpha: int = setting(
        32, "Scale of the LoRA adapters, multiplied by the rank.", minimum=1, maximum=1024
    )
    hidden_size: int = setting(256, "Size of the shared queries.", minimum=8, maximum=4096)
    num_hidden_layers: int = setting(
        2, "Number of layers of the query fusion.", minimum=0, maximum=64
    )
    scene_queries: int = setting(
        8, "Number of queries for the whole scene.", minimum=1, maximum=256
    )
    max_objects: int = setting(
        32, "Maximum number of candidates in the fusion.", minimum=1, maximum=300
    )
    region_names: bool = setting(
        True,
        "Whether object queries contain the class names that the visual encoder gives regions; "
        "needs visual labels and an encoder with a classifier.",
    )
    head_uses_language_model: bool = setting(
        True,
        "Whether the perception head uses the language model, which then processes every enriched "
        "frame; if not, it processes frames for questions only.",
    )


@dataclass(frozen=True)
class LossSettings(Validated):
    """Weights of the losses."""

    language: float = setting(
        1.0, "Cross-entropy of the answers' tokens.", minimum=0.0, maximum=100.0
    )
    score: float = setting(
        1.0, "Cross-entropy of the objects' scores.", minimum=0.0, maximum=100.0
    )
    label: float = setting(
        0.5, "Cross-entropy of the objects' labels.", minimum=0.0, maximum=100.0
    )
    box: float = setting(1.0, "L1 loss of the boxes' edges.", minimum=0.0, maximum=100.0)
    attribute: float = setting(
        0.2, "Cross-entropy of the objects' attributes.", minimum=0.0, maximum=100.0
    )
    novelty: float = setting(0.3, "Cross-entropy of the novelty.", minimum=0.0, maximum=100.0)
    without_language_model: float = setting(
        0.3,
        "Factor of the perception losses of the head without the language model, which are added "
        "to those with it.",
        minimum=0.0,
        maximum=100.0,
    )

    def __post_init__(self) -> None:
        """See `Validated`; at least one loss needs a weight."""
        super().__post_init__()
        if not (self.language or self.perception_outputs):
            raise SettingsError("every loss has weight 0; give at least one a weight")

    def of(self, part: str) -> float:
        """Weight of a loss; that of `without_language_model_score` depends on that of `score`."""
        name = part.removeprefix(WITHOUT_LANGUAGE_MODEL)
        weight: float = getattr(self, name)
        return weight if name == part else weight * self.without_language_model

    @property
    def perception_outputs(self) -> list[str]:
        """Outputs of the perception head whose losses have a weight."""
        return [name for name in PERCEPTION_OUTPUTS if self.of(name) > 0]


@dataclass(frozen=True)
class DropSettings(Validated):
    """Probabilities that a step leaves a mechanism out, so that the model works without it."""

    query_fusion: float = setting(0.1, "Query fusion.", minimum=0.0, maximum=1.0)
    prefix_tokens: float = setting(0.1, "Query tokens in the input.", minimum=0.0, maximum=1.0)
    perception_prompt: float = setting(
        0.1,
        "Object list in the prompt; kept if query tokens are left out.",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class SyntheticSettings(Validated):
    """Synthetic scenes without images."""

    share: float = setting(0.75, "Fraction of the steps.", minimum=0.0, maximum=1.0)
    questions: int = setting(
        14, "Maximum number of questions about a scene.", minimum=1, maximum=256
    )
    scenes: int = setting(
        0, "Number of different scenes; 0 for unlimited.", minimum=0, maximum=10**9
    )


@dataclass(frozen=True)
class SourceSettings(Validated):
    """A video, or a folder of images."""

    path: str = setting("", "File, folder, or name of a sample (see `mrmllm models list`).")
    first: int = setting(0, "First frame.", minimum=0, maximum=10**9)
    last: int = setting(-1, "Last frame; -1 for the last of the video.", minimum=-1, maximum=10**9)
    step: int = setting(1, "Stride of the frames.", minimum=1, maximum=10**6)


@dataclass(frozen=True)
class FramesSettings(Validated):
    """Unlabeled frames of videos and folders."""

    share: float = setting(0.0, "Fraction of the steps.", minimum=0.0, maximum=1.0)
    views: int = setting(1, "Number of examples of each frame.", minimum=1, maximum=1000)
    questions: int = setting(
        8, "Maximum number of questions about a frame.", minimum=1, maximum=256
    )
    sources: tuple[SourceSettings, ...] = field(default=())

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> FramesSettings:
        """See `Validated.from_mapping`; `sources` is a list of mappings."""
        if not isinstance(values, Mapping):
            return super().from_mapping(values)
        sources = values.get("sources", ())
        if not isinstance(sources, (list, tuple)):
            raise SettingsError(f"sources: {sources!r} is not a list")
        made = tuple(SourceSettings.from_mapping(source) for source in sources)
        return super().from_mapping({**values, "sources": made})


@dataclass(frozen=True)
class CocoSettings(Validated):
    """Images with labeled boxes."""

    share: float = setting(0.0, "Fraction of the steps.", minimum=0.0, maximum=1.0)
    images: str = setting("", "Folder of the images; empty for the folder of the annotations.")
    annotations: str = setting("", "COCO instances file.")
    views: int = setting(1, "Number of examples of each image.", minimum=1, maximum=1000)
    questions: int = setting(
        8, "Maximum number of questions about an image.", minimum=1, maximum=256
    )
    missed_questions: float = setting(
        0.0,
        "Share of the questions that are about true objects which the detector does not report, "
        "where the annotations are complete. The right answer is yes, without a citation.",
        minimum=0.0,
        maximum=1.0,
    )
    place_questions: float = setting(
        0.0,
        "Share of the questions that are about the kind of room, where it is annotated.",
        minimum=0.0,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        """See `Validated`; a share above 0 needs a file."""
        super().__post_init__()
        if self.missed_questions + self.place_questions > 1:
            raise SettingsError("missed_questions and place_questions exceed 1 together")
        if self.share and not self.annotations:
            raise SettingsError("annotations: name the COCO instances file, or set share to 0")


@dataclass(frozen=True)
class QuestionsSettings(Validated):
    """Questions about images, with answers."""

    share: float = setting(0.0, "Fraction of the steps.", minimum=0.0, maximum=1.0)
    file: str = setting("", "JSON lines with image paths.")

    def __post_init__(self) -> None:
        """See `Validated`; a share above 0 needs a file."""
        super().__post_init__()
        if self.share and not self.file:
            raise SettingsError("file: name the file of questions, or set share to 0")


@dataclass(frozen=True)
class DataSettings(Validated):
    """Sources of training data; their shares are relative to each other."""

    synthetic: SyntheticSettings = group(SyntheticSettings)
    frames: FramesSettings = group(FramesSettings)
    coco: CocoSettings = group(CocoSettings)
    questions: QuestionsSettings = group(QuestionsSettings)


@dataclass(frozen=True)
class BackboneSettings(Validated):
    """Frozen models."""

    params_file: str = setting(
        "", "ROS 2 parameter file of mrmllm_node with the models; empty for the embedded models."
    )


@dataclass(frozen=True)
class BackboneChoice(Validated):
    """Settings of the frozen models in a parameter file."""

    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    visual_encoder: VisualEncoderSettings = group(VisualEncoderSettings)
    language_model: LanguageModelSettings = group(LanguageModelSettings)
    evidence: EvidenceSettings = group(EvidenceSettings)
    prompt: PromptSettings = group(PromptSettings)


@dataclass(frozen=True)
class TrainingSettings(Validated):
    """Settings of `mrmllm train`."""

    output: str = setting("training", "Folder of checkpoint and state.")
    seed: int = setting(0, "Random seed.", minimum=0, maximum=2**31 - 1)
    checkpoint: str = setting(
        "",
        "Initial weights: embedded (shipped with the package), a folder, or a repository of the "
        "Hugging Face hub; empty for random initialization.",
    )
    steps: int = setting(1000, "Number of steps.", minimum=1, maximum=10**9)
    time_limit_minutes: float = setting(
        0.0,
        "Maximum training time in minutes, including earlier runs that are resumed; 0 for no "
        "limit. The learning rate decays with the steps or the time, whichever ends first.",
        minimum=0.0,
        maximum=1e6,
    )
    leg_minutes: float = setting(
        0.0,
        "Maximum time in minutes of one process, including the time to load models and data; 0 "
        "for no limit. The state is saved then, and the same command continues the run, without "
        "an effect on its result.",
        minimum=0.0,
        maximum=1e6,
    )
    batch_size: int = setting(8, "Scenes per step and device.", minimum=1, maximum=4096)
    perception_batch_size: int = setting(
        16,
        "Additional scenes with images per step and device that train perception without the "
        "language model; 0 for none.",
        minimum=0,
        maximum=4096,
    )
    learning_rate: float = setting(6e-4, "Peak learning rate.", minimum=1e-8, maximum=1.0)
    warmup_steps: int = setting(
        30, "Steps of linear warm-up to the peak learning rate.", minimum=0, maximum=10**6
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", minimum=0.0, maximum=1.0)
    gradient_norm: float = setting(
        1.0, "Maximum gradient norm; larger gradients are clipped.", minimum=0.001, maximum=1e6
    )
    device: str = setting("auto", "auto (CUDA if there is one) or cpu.", choices=("auto", "cpu"))
    precision: str = setting(
        "auto",
        "auto selects bfloat16 on a GPU that supports it and on a CPU with AMX, else float32.",
        choices=("auto", "float32", "bfloat16"),
    )
    workers: int = setting(
        0,
        "Number of processes that prepare data; 0 prepares it in the training process.",
        minimum=0,
        maximum=256,
    )
    log_every: int = setting(5, "Steps between log lines.", minimum=1, maximum=10**6)
    evaluate_every: int = setting(100, "Steps between evaluations.", minimum=1, maximum=10**9)
    evaluation_batches: int = setting(
        4, "Number of batches of an evaluation.", minimum=1, maximum=10**6
    )
    save_every: int = setting(50, "Steps between checkpoints.", minimum=1, maximum=10**9)
    feature_cache_gb: float = setting(
        20.0,
        "Maximum size in GB of the features of labeled images of all runs, in "
        "$MRMLLM_HOME/cache/features; 0 keeps none.",
        minimum=0.0,
        maximum=1e5,
    )
    models: BackboneSettings = group(BackboneSettings)
    model: ModelSettings = group(ModelSettings)
    loss: LossSettings = group(LossSettings)
    drop: DropSettings = group(DropSettings)
    data: DataSettings = group(DataSettings)

    @classmethod
    def read(cls, path: Path) -> TrainingSettings:
        """Read a YAML file.

        Raises:
            SettingsError: If the file cannot be read, or a key or value in it is wrong.
        """
        try:
            values = read_yaml(path)
        except SettingsError as error:
            raise SettingsError(f"cannot read the training configuration {error}") from error
        try:
            return cls.from_mapping({} if values is None else values)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from error
