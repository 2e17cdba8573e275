# SPDX-License-Identifier: Apache-2.0
"""What `mrmllm train` is configured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrmllm_ros.compute import ComputeSettings
from mrmllm_ros.detection.detector import DetectorSettings
from mrmllm_ros.model.configuration_mrmllm import PERCEPTION_OUTPUTS
from mrmllm_ros.model.language_model import LanguageModelSettings
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.model.visual_encoder import VisualEncoderSettings
from mrmllm_ros.settings import SettingsError, Validated, group, read_yaml, setting


@dataclass(frozen=True)
class ModelSettings(Validated):
    """Sizes of what is trained; see `MrMllmConfig`."""

    lora_rank: int = setting(16, "Rank of the LoRA adapters; 0 for none.", minimum=0, maximum=512)
    lora_alpha: int = setting(32, "Their scale, times the rank.", minimum=1, maximum=1024)
    hidden_size: int = setting(256, "Width of the shared queries.", minimum=8, maximum=4096)
    num_hidden_layers: int = setting(2, "Layers of the query fusion.", minimum=0, maximum=64)
    scene_queries: int = setting(8, "Queries for the scene as a whole.", minimum=1, maximum=256)
    max_objects: int = setting(
        32, "Most candidates that the fusion looks at.", minimum=1, maximum=300
    )
    head_uses_language_model: bool = setting(
        True,
        "Whether the perception head judges also by what the language model has read, which then "
        "reads every enriched frame; else it reads frames for questions only.",
    )


@dataclass(frozen=True)
class LossSettings(Validated):
    """Weights of the parts of the loss."""

    language: float = setting(1.0, "Of the answers' tokens.", minimum=0.0, maximum=100.0)
    score: float = setting(1.0, "Of whether there is an object.", minimum=0.0, maximum=100.0)
    label: float = setting(0.5, "Of the objects' labels.", minimum=0.0, maximum=100.0)
    box: float = setting(1.0, "Of the boxes' edges.", minimum=0.0, maximum=100.0)
    attribute: float = setting(0.2, "Of the objects' attributes.", minimum=0.0, maximum=100.0)
    novelty: float = setting(0.3, "Of the novelty.", minimum=0.0, maximum=100.0)
    without_language_model: float = setting(
        0.3,
        "Of all perception losses, once more, on query tokens that the language model has not "
        "read.",
        minimum=0.0,
        maximum=100.0,
    )

    def __post_init__(self) -> None:
        """See `Validated`; something must have a weight."""
        super().__post_init__()
        if not (self.language or self.perception_outputs):
            raise SettingsError("every part has weight 0, so there is nothing to train")

    def of(self, part: str) -> float:
        """The weight of a part of the loss; `unread_score` is a part of `score`."""
        own = part.removeprefix("unread_")
        weight: float = getattr(self, own)
        return weight if own == part else weight * self.without_language_model

    @property
    def perception_outputs(self) -> list[str]:
        """What the perception head is trained to say: what has a weight."""
        return [name for name in PERCEPTION_OUTPUTS if self.of(name) > 0]


@dataclass(frozen=True)
class DropSettings(Validated):
    """How often a mechanism is left out of a step, so that the model can do without it."""

    query_fusion: float = setting(0.1, "Query fusion.", minimum=0.0, maximum=1.0)
    prefix_tokens: float = setting(0.1, "Query tokens in the input.", minimum=0.0, maximum=1.0)
    perception_prompt: float = setting(
        0.1, "Objects as text, but where query tokens are left out.", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class SyntheticSettings(Validated):
    """Made-up scenes."""

    share: float = setting(0.75, "Part of the steps.", minimum=0.0, maximum=1.0)
    questions: int = setting(14, "Most questions about a scene.", minimum=1, maximum=256)
    scenes: int = setting(
        0, "Number of scenes, again and again; 0 makes up new ones.", minimum=0, maximum=10**9
    )


@dataclass(frozen=True)
class SourceSettings(Validated):
    """A video, or a folder of images."""

    path: str = setting("", "A file or folder, or the name of a sample.")
    first: int = setting(0, "First frame.", minimum=0, maximum=10**9)
    last: int = setting(-1, "Last frame; -1 for the end.", minimum=-1, maximum=10**9)
    step: int = setting(1, "Every how many frames one is taken.", minimum=1, maximum=10**6)


@dataclass(frozen=True)
class FramesSettings(Validated):
    """Frames that nobody has labeled."""

    share: float = setting(0.0, "Part of the steps.", minimum=0.0, maximum=1.0)
    views: int = setting(1, "Examples made of each frame.", minimum=1, maximum=1000)
    questions: int = setting(8, "Most questions about a frame.", minimum=1, maximum=256)
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

    share: float = setting(0.0, "Part of the steps.", minimum=0.0, maximum=1.0)
    images: str = setting("", "Folder of the images.")
    annotations: str = setting("", "COCO instances file.")
    views: int = setting(1, "Examples made of each image.", minimum=1, maximum=1000)

    def __post_init__(self) -> None:
        """See `Validated`; what has a share needs a file."""
        super().__post_init__()
        if self.share and not self.annotations:
            raise SettingsError("annotations: name the COCO instances file, or set share to 0")


@dataclass(frozen=True)
class QuestionsSettings(Validated):
    """Questions about images, with answers."""

    share: float = setting(0.0, "Part of the steps.", minimum=0.0, maximum=1.0)
    file: str = setting("", "JSON lines with image paths.")

    def __post_init__(self) -> None:
        """See `Validated`; what has a share needs a file."""
        super().__post_init__()
        if self.share and not self.file:
            raise SettingsError("file: name the file of questions, or set share to 0")


@dataclass(frozen=True)
class DataSettings(Validated):
    """What is trained on. Shares are of the steps and need not add up to 1."""

    layout: SyntheticSettings = group(SyntheticSettings)
    frames: FramesSettings = group(FramesSettings)
    coco: CocoSettings = group(CocoSettings)
    questions: QuestionsSettings = group(QuestionsSettings)


@dataclass(frozen=True)
class BackboneSettings(Validated):
    """Which frozen models are joined."""

    params_file: str = setting(
        "", "ROS 2 parameter file of mrmllm_node that chooses them; empty for the embedded ones."
    )


@dataclass(frozen=True)
class BackboneChoice(Validated):
    """What such a parameter file says of the frozen models."""

    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    visual_encoder: VisualEncoderSettings = group(VisualEncoderSettings)
    language_model: LanguageModelSettings = group(LanguageModelSettings)
    prompt: PromptSettings = group(PromptSettings)


@dataclass(frozen=True)
class TrainingSettings(Validated):
    """All that `mrmllm train` can be told."""

    output: str = setting("training", "Folder for checkpoint and state.")
    seed: int = setting(0, "Of everything random.", minimum=0, maximum=2**31 - 1)
    checkpoint: str = setting(
        "",
        "Weights to start from: embedded (those that come with the package), a folder, or a "
        "repository of the Hugging Face hub; empty starts anew.",
    )
    steps: int = setting(1000, "Number of steps.", minimum=1, maximum=10**9)
    time_limit_minutes: float = setting(
        0.0,
        "End after so long in steps, all resumptions together; 0 for none. The learning rate "
        "falls with whichever of steps and time is used up first.",
        minimum=0.0,
        maximum=1e6,
    )
    batch_size: int = setting(8, "Scenes in a step on each device.", minimum=1, maximum=4096)
    look_batch_size: int = setting(
        16,
        "Scenes with images in a step on each device that are only looked at, without the "
        "language model; 0 for none.",
        minimum=0,
        maximum=4096,
    )
    learning_rate: float = setting(6e-4, "At its highest.", minimum=1e-8, maximum=1.0)
    warmup_steps: int = setting(30, "Steps until it is highest.", minimum=0, maximum=10**6)
    weight_decay: float = setting(0.01, "Of AdamW.", minimum=0.0, maximum=1.0)
    gradient_norm: float = setting(1.0, "Longer gradients are cut.", minimum=0.001, maximum=1e6)
    device: str = setting("auto", "auto (CUDA if there is one) or cpu.", choices=("auto", "cpu"))
    precision: str = setting(
        "auto",
        "auto takes bfloat16 where the processor or the GPU computes in it.",
        choices=("auto", "float32", "bfloat16"),
    )
    workers: int = setting(
        0, "Processes that prepare data; 0 does it in between.", minimum=0, maximum=256
    )
    log_every: int = setting(5, "Steps between lines of progress.", minimum=1, maximum=10**6)
    evaluate_every: int = setting(100, "Steps between evaluations.", minimum=1, maximum=10**9)
    evaluation_batches: int = setting(4, "Batches of each of them.", minimum=1, maximum=10**6)
    save_every: int = setting(50, "Steps between checkpoints.", minimum=1, maximum=10**9)
    models: BackboneSettings = group(BackboneSettings)
    model: ModelSettings = group(ModelSettings)
    loss: LossSettings = group(LossSettings)
    drop: DropSettings = group(DropSettings)
    data: DataSettings = group(DataSettings)

    @classmethod
    def read(cls, path: Path) -> TrainingSettings:
        """Read a YAML file.

        Raises:
            SettingsError: If it is missing or damaged, or a key or value in it is wrong; names
                the file.
        """
        try:
            values = read_yaml(path)
        except SettingsError as error:
            raise SettingsError(f"cannot read the training configuration {error}") from error
        try:
            return cls.from_mapping({} if values is None else values)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from error
