# SPDX-License-Identifier: Apache-2.0
"""Configuration of an MR-MLLM checkpoint."""

# No postponed annotations here: `strict` checks values against the annotations.
from dataclasses import field
from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PretrainedConfig

from mrmllm_ros.detection.colors import COLORS

PERCEPTION_OUTPUTS = ("score", "label", "box", "attribute", "novelty")


@strict(accept_kwargs=True)
class MrMllmConfig(PretrainedConfig):
    """Backbones, sizes and switches of an `MrMllm`.

    `MrMllm.configure` takes the sizes of the backbones from loaded models, so that the same code
    serves a language model of 135 million parameters and one of 7 billion.

    Attributes:
        language_model: Name of the language model.
        language_model_revision: Revision of its weights; empty if unknown.
        text_hidden_size: Size d_llm of its hidden states.
        embedding_scale: Root mean square of its token embeddings; query tokens start at this
            scale.
        visual_encoder: Name of the visual encoder.
        visual_encoder_revision: Revision of its weights; empty if unknown.
        vision_hidden_size: Size d_m of its tokens `V_m`; 0 without an image.
        detector: Name of the detector whose features are used; empty if features are pooled from
            `V_m`, which works with any detector.
        detector_revision: Revision of its weights; empty if unknown.
        perception_hidden_size: Size d_p of the features `V_p`; 0 without queries.
        region_names: Number N of class names of the visual encoder whose probabilities for each
            object are part of the object queries; 0 for none.
        hidden_size: Size d of the shared queries.
        num_hidden_layers: Number of layers of the query fusion.
        num_attention_heads: Number of attention heads of the query fusion.
        scene_queries: Number S of learned queries for the whole scene.
        max_objects: Maximum number K of objects; further objects keep the detector's values.
        box_frequencies: Number of frequencies of the boxes' Fourier features.
        query_fusion: Whether to use the shared query fusion. Without it there are no scene
            queries, and object queries hold the detector's features alone.
        prefix_tokens: Whether the language model's input contains the query tokens.
        perception_prompt: Whether the prompt lists the detections.
        doubtful_objects: Whether the prompt names doubtful objects, too.
        perception_outputs: Outputs of the perception head, of `PERCEPTION_OUTPUTS`; empty for no
            head. Other values keep what the detector found.
        head_uses_language_model: Whether the perception head uses the language model's hidden
            states. If not, the language model processes a frame only for questions.
        prompt_examples: Whether the prompt contains examples, which untrained language models
            need.
        attributes: Values of each attribute that the perception head predicts.
        lora_rank: Rank of the LoRA adapters in the language model; 0 for none.
        lora_alpha: Scale of the adapters: their output is multiplied by `lora_alpha / lora_rank`.
    """

    model_type = "mrmllm"
    # The sizes of the backbones have no defaults.
    has_no_defaults_at_init: ClassVar[bool] = True

    language_model: str
    text_hidden_size: int
    embedding_scale: float
    visual_encoder: str
    vision_hidden_size: int
    perception_hidden_size: int
    language_model_revision: str = ""
    visual_encoder_revision: str = ""
    detector: str = ""
    detector_revision: str = ""
    region_names: int = 0
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 8
    scene_queries: int = 8
    max_objects: int = 50
    box_frequencies: int = 8
    query_fusion: bool = True
    prefix_tokens: bool = True
    perception_prompt: bool = True
    doubtful_objects: bool = False
    perception_outputs: list[str] = field(default_factory=lambda: [*PERCEPTION_OUTPUTS])
    head_uses_language_model: bool = True
    prompt_examples: bool = False
    attributes: dict[str, list[str]] = field(default_factory=lambda: {"color": [*COLORS]})
    lora_rank: int = 0
    lora_alpha: int = 32

    def validate_ranges(self) -> None:
        """Check the range of every field; called on construction, after the types are checked.

        Raises:
            ValueError: If a field is out of range. `strict` raises its `StrictDataclassError` from
                it.
        """
        self._require(
            self.text_hidden_size > 0,
            "text_hidden_size",
            "must be positive; take it from the language model",
        )
        if self.has_queries:
            self._require(
                self.perception_hidden_size > 0, "perception_hidden_size", "must be positive"
            )
        if self.needs_image:
            self._require(self.vision_hidden_size > 0, "vision_hidden_size", "must be positive")
        for name in ("hidden_size", "num_attention_heads", "box_frequencies", "max_objects"):
            self._require(getattr(self, name) > 0, name, "must be positive")
        if self.query_fusion:
            # Without other objects, an object query needs scene queries to attend to.
            self._require(self.scene_queries > 0, "scene_queries", "must be positive")
        for name in ("num_hidden_layers", "lora_rank", "region_names"):
            self._require(getattr(self, name) >= 0, name, "must not be negative")
        self._require(self.embedding_scale > 0, "embedding_scale", "must be positive")
        self._require(self.lora_alpha > 0, "lora_alpha", "must be positive")
        self._require(
            self.hidden_size % self.num_attention_heads == 0,
            "num_attention_heads",
            f"must divide hidden_size ({self.hidden_size})",
        )
        self._require(
            set(self.perception_outputs) <= set(PERCEPTION_OUTPUTS),
            "perception_outputs",
            f"must be among {', '.join(PERCEPTION_OUTPUTS)}",
        )
        for name, values in self.attributes.items():
            self._require(len(values) > 1, "attributes", f"{name!r} needs several values")

    @property
    def has_queries(self) -> bool:
        """Whether the model computes shared queries."""
        return self.prefix_tokens or bool(self.perception_outputs)

    @property
    def head_needs_language_model(self) -> bool:
        """Whether the perception head needs the language model's hidden states."""
        return (
            bool(self.perception_outputs) and self.prefix_tokens and self.head_uses_language_model
        )

    @property
    def needs_image(self) -> bool:
        """Whether the model uses the visual encoder."""
        return self.has_queries and (self.query_fusion or not self.detector)

    def _require(self, holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise ValueError(f"{name}: {getattr(self, name)!r} {rule}")
