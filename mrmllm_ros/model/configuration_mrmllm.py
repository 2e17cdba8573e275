# SPDX-License-Identifier: Apache-2.0
"""What an MR-MLLM checkpoint is made for and made of."""

# No postponed annotations here: `strict` checks values against the types themselves.
from dataclasses import field
from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PretrainedConfig

from mrmllm_ros.detection.colors import COLORS

PERCEPTION_OUTPUTS = ("score", "label", "box", "attribute", "novelty")


@strict(accept_kwargs=True)
class MrMllmConfig(PretrainedConfig):
    """Backbones, sizes and switches of an `MrMllm`.

    The sizes of the backbones are read off them (`MrMllm.configure`), so that the same code serves
    a language model of 135 million weights and one of 7 billion.

    Attributes:
        language_model: Name of the language model.
        language_model_revision: State of its weights; empty where unknown.
        language_width: Width d_llm of its hidden states.
        embedding_scale: Root mean square of its token embeddings: query tokens start at the same
            scale.
        visual_encoder: Name of the visual encoder.
        visual_encoder_revision: State of its weights; empty where unknown.
        visual_width: Width d_m of its tokens `V_m`; 0 where no image is used.
        detector: Name of the detector whose features it was made for; empty where features are
            pooled from `V_m`, which any detector can do with.
        detector_revision: State of its weights; empty where unknown.
        perception_width: Width d_p of the features `V_p`; 0 where no queries are used.
        fusion_width: Width d of the shared queries.
        fusion_layers: Layers of the query fusion.
        fusion_heads: Attention heads of the query fusion.
        scene_queries: Number S of learned queries for the scene as a whole.
        max_objects: Most objects K; those beyond it are left to the detector.
        box_frequencies: Frequencies of the Fourier features of boxes.
        query_fusion: Switch of the shared query fusion. Off: no scene queries, and the object
            queries hold the detector's features alone.
        prefix_tokens: Switch of the query tokens in the language model's input.
        perception_prompt: Switch of the detections written into the prompt.
        perception_outputs: The way back: what the perception head says of objects, of
            `PERCEPTION_OUTPUTS`. The rest stays as the detector gave it; empty for no head.
        head_reads: Whether the perception head judges objects also by what the language model has
            read of them. Off: by their query tokens alone, so that the language model reads a
            frame only for questions.
        prompt_examples: Whether the prompt shows examples, which an untrained language model
            needs.
        attributes: Values to choose from for each attribute of an object.
        lora_rank: Rank of the LoRA adapters in the language model; 0 for none.
        lora_alpha: Their scale: the adapter's output times `lora_alpha / lora_rank`.
    """

    model_type = "mrmllm"
    # Only backbones can say how wide they are.
    has_no_defaults_at_init: ClassVar[bool] = True

    language_model: str
    language_width: int
    embedding_scale: float
    visual_encoder: str
    visual_width: int
    perception_width: int
    language_model_revision: str = ""
    visual_encoder_revision: str = ""
    detector: str = ""
    detector_revision: str = ""
    fusion_width: int = 256
    fusion_layers: int = 2
    fusion_heads: int = 8
    scene_queries: int = 8
    max_objects: int = 50
    box_frequencies: int = 8
    query_fusion: bool = True
    prefix_tokens: bool = True
    perception_prompt: bool = True
    perception_outputs: list[str] = field(default_factory=lambda: [*PERCEPTION_OUTPUTS])
    head_reads: bool = True
    prompt_examples: bool = False
    attributes: dict[str, list[str]] = field(default_factory=lambda: {"color": [*COLORS]})
    lora_rank: int = 0
    lora_alpha: int = 32

    def validate_ranges(self) -> None:
        """Check every field; called on construction, after the types have been checked.

        Raises:
            ValueError: If a field is out of range; names it. `strict` hands it on as the cause of
                its own `StrictDataclassError`.
        """
        self._require(
            self.language_width > 0, "language_width", "must be positive: it is a backbone's"
        )
        if self.has_queries:
            self._require(self.perception_width > 0, "perception_width", "must be positive")
        if self.needs_image:
            self._require(self.visual_width > 0, "visual_width", "must be positive")
        for name in ("fusion_width", "fusion_heads", "box_frequencies", "max_objects"):
            self._require(getattr(self, name) > 0, name, "must be positive")
        if self.query_fusion:
            # They are also what object queries look at in an image without other objects.
            self._require(self.scene_queries > 0, "scene_queries", "must be positive")
        for name in ("fusion_layers", "lora_rank"):
            self._require(getattr(self, name) >= 0, name, "must not be negative")
        self._require(self.embedding_scale > 0, "embedding_scale", "must be positive")
        self._require(self.lora_alpha > 0, "lora_alpha", "must be positive")
        self._require(
            self.fusion_width % self.fusion_heads == 0,
            "fusion_heads",
            f"must divide fusion_width ({self.fusion_width})",
        )
        self._require(
            set(self.perception_outputs) <= set(PERCEPTION_OUTPUTS),
            "perception_outputs",
            f"must be of {', '.join(PERCEPTION_OUTPUTS)}",
        )
        for name, values in self.attributes.items():
            self._require(len(values) > 1, "attributes", f"{name!r} needs several values")

    @property
    def has_queries(self) -> bool:
        """Whether anything uses the shared queries."""
        return self.prefix_tokens or bool(self.perception_outputs)

    @property
    def perceives_by_reading(self) -> bool:
        """Whether the perception head needs what the language model has read."""
        return bool(self.perception_outputs) and self.prefix_tokens and self.head_reads

    @property
    def needs_image(self) -> bool:
        """Whether the visual encoder is used."""
        return self.has_queries and (self.query_fusion or not self.detector)

    def _require(self, holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise ValueError(f"{name}: {getattr(self, name)!r} {rule}")
