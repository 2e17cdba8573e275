# SPDX-License-Identifier: Apache-2.0
"""MR-MLLM: a frozen language model and a frozen visual encoder, joined to a detector.

Each of the paper's three mechanisms has its module: `query_fusion`, `cross_modal` and `prompt`.
`perception_head` leads back to perception. Two choices are ours, not the paper's: a frame is
prefilled once, in the order system prompt, object list as text, query tokens, so that under causal
attention the queries attend to the text; and every question about the frame continues from that
cache.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Cache, PreTrainedModel
from transformers.utils import ModelOutput

from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.roi_features import pool_tokens
from mrmllm_ros.model.adapters import ADAPTERS, create_adapters
from mrmllm_ros.model.backbones import Backbones, check_backbones
from mrmllm_ros.model.box_embedding import BoxEmbedding
from mrmllm_ros.model.checkpoint import CheckpointError, read_config, read_weights
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.cross_modal import QueryTokens
from mrmllm_ros.model.packed_attention import PADDING, SHARED, additive_mask, visible_tokens
from mrmllm_ros.model.perception_head import PerceptionHead, PerceptionOutput
from mrmllm_ros.model.processing_mrmllm import FrameBatch, ObjectBatch, TextBatch
from mrmllm_ros.model.query_fusion import ObjectQueries, SharedQueryFusion, with_scene_queries

# Tokens of a step of a prefill, about 30 ms on two CPU cores in int8.
_TOKENS_IN_STEP = 32


@dataclass(frozen=True, eq=False)
class SystemPrompt:
    """The system prompt's key-value cache, computed once and shared by all frames.

    Attributes:
        ids: (P,) int64 tokens.
        cache: Keys and values for a batch of one.
    """

    ids: torch.Tensor
    cache: Cache


@dataclass(frozen=True, eq=False)
class ObjectStates:
    """Inputs of the perception head.

    Attributes:
        tokens: (B, K, d_llm) query tokens of the objects.
        hidden_states: (B, K, d_llm) last hidden states of the language model at these tokens, or
            None if the head works without the language model.
    """

    tokens: torch.Tensor
    hidden_states: torch.Tensor | None


@dataclass
class PrefillOutput(ModelOutput):
    """Key-value cache of B frames.

    Attributes:
        attention_mask: (B, P + L + Q) int64 over system prompt, text and query tokens.
        past_key_values: Keys and values of these tokens.
        objects: Inputs of the perception head, or None without a head.
    """

    attention_mask: torch.Tensor | None = None
    past_key_values: Cache | None = None
    objects: ObjectStates | None = None


@dataclass
class MrMllmOutput(ModelOutput):
    """Output of one pass over frames and texts.

    Attributes:
        logits: (B, T, vocabulary) for all text tokens, or (W, vocabulary) for the W tokens in
            `logits_mask`; None if the language model is left out.
        perception: Predictions of the perception head, or None without a head.
        without_language_model: Predictions of the head from query tokens alone.
    """

    logits: torch.Tensor | None = None
    perception: PerceptionOutput | None = None
    without_language_model: PerceptionOutput | None = None


class MrMllm(PreTrainedModel):
    """The fusion model: trainable fusion weights around frozen backbones.

    `save_pretrained` writes the trainable weights and the names of the backbones.
    `from_pretrained` takes loaded backbones and checks their names.
    """

    config_class = MrMllmConfig
    base_model_prefix = "mrmllm"

    def __init__(self, config: MrMllmConfig, backbones: Backbones) -> None:
        """Build a model whose predictions equal the detector's until it is trained.

        Args:
            config: Configuration for these backbones.
            backbones: Loaded models.

        Raises:
            CheckpointError: If the configuration is for other backbones, or asks for adapters of
                an int8 language model.
        """
        super().__init__(config)
        check_backbones(config, backbones)
        if config.has_queries:
            boxes = BoxEmbedding(config.box_frequencies, config.hidden_size)
            self.object_queries = ObjectQueries(config, boxes)
            self.query_tokens = QueryTokens(config)
            self.fusion = SharedQueryFusion(config, boxes) if config.query_fusion else None
        self.head = PerceptionHead(config) if config.perception_outputs else None
        # Before the backbones are added, so that their weights are not initialized again.
        self.post_init()
        self.text = backbones.language_model
        self.language_model = self.text.model
        if not self.text.has_adapters:
            if config.lora_rank and self.text.is_quantized:
                raise CheckpointError(
                    "an int8 language model takes no adapters; merge them with "
                    "Backbones.load(..., checkpoint=...), or set the parameter "
                    "language_model.quantization to none"
                )
            self.language_model = create_adapters(self.language_model, config)
        self.visual_encoder = backbones.visual_encoder if config.needs_image else None
        self.to(device=self.language_model.device, dtype=self.language_model.dtype)
        self.eval()

    @staticmethod
    def configure(backbones: Backbones, **choices: Any) -> MrMllmConfig:
        """Create a configuration for backbones.

        If the detector gives no features, object features are pooled from the visual encoder.

        Args:
            backbones: Loaded models. Without a visual encoder, `choices` must switch off the parts
                that need one.
            choices: Other fields of `MrMllmConfig`.
        """
        text, visual = backbones.language_model, backbones.visual_encoder
        detector = backbones.detector
        vision_hidden_size = visual.width if visual else 0
        # Through the embedding layer, because some models scale its output.
        embed = text.model.get_input_embeddings()
        ids = torch.arange(min(4096, embed.num_embeddings), device=embed.weight.device)
        embeddings = embed(ids).detach().float()
        fields = {
            "language_model": text.name,
            "language_model_revision": text.revision,
            "text_hidden_size": text.width,
            "embedding_scale": float(embeddings.pow(2).mean().sqrt()),
            "visual_encoder": visual.name if visual else "",
            "visual_encoder_revision": visual.revision if visual else "",
            "vision_hidden_size": vision_hidden_size,
            "detector": detector.name if detector.feature_width else "",
            "detector_revision": detector.revision if detector.feature_width else "",
            "perception_hidden_size": detector.feature_width or vision_hidden_size,
        }
        return MrMllmConfig(**{**fields, **choices})

    @classmethod
    def from_pretrained(cls, source: str | Path, backbones: Backbones) -> MrMllm:
        """Load trained weights for loaded backbones.

        Args:
            source: Folder, or repository of the Hugging Face hub.
            backbones: Loaded models; the model takes their device and precision. Adapters may be
                merged into the language model already.

        Raises:
            CheckpointError: If the checkpoint is missing, damaged, or made for other backbones.
        """
        config, weights = read_config(source), read_weights(source)
        try:
            model = cls(config, backbones)
        except CheckpointError as error:
            raise CheckpointError(f"the checkpoint {source}: {error}") from error
        if backbones.language_model.has_adapters:
            weights = {k: w for k, w in weights.items() if not k.startswith(ADAPTERS)}
        expected, found = _shapes(model.trained_state()), _shapes(weights)
        if expected != found:
            raise CheckpointError(
                f"the checkpoint {source} does not match its configuration: missing weights "
                f"{sorted(expected - found)[:3]}, unexpected weights "
                f"{sorted(found - expected)[:3]}; export it again with mrmllm train"
            )
        model.load_state_dict(weights, strict=False)
        return model

    def start_from(self, source: str | Path) -> tuple[str, ...]:
        """Initialize the weights from a checkpoint, to continue training.

        Outputs of the checkpoint's perception head that this model lacks are ignored.

        Args:
            source: Folder, or repository of the Hugging Face hub.

        Returns:
            Names of the weights that the checkpoint lacks; they keep their values.

        Raises:
            CheckpointError: If the checkpoint is missing, damaged, or made for other backbones or
                sizes.
        """
        made_for, weights = vars(read_config(source)), read_weights(source)
        names = ["language_model", "visual_encoder", "detector"]
        # The shapes of the weights do not show it.
        names += ["lora_alpha"] if made_for["lora_rank"] else []
        different = [name for name in names if made_for[name] != getattr(self.config, name)]
        own = self.trained_state()
        weights = {k: w for k, w in weights.items() if k in own or not k.startswith("head.")}
        different += sorted({name for name, _ in _shapes(weights) - _shapes(own)})
        if different:
            raise CheckpointError(
                f"the checkpoint {source} is for another model; it differs in {different[:3]}"
            )
        self.load_state_dict(weights, strict=False)
        return tuple(name for name in own if name not in weights)

    def save_pretrained(self, directory: str | Path, **options: Any) -> None:
        """Write the configuration and the trainable weights, as safetensors.

        Args:
            directory: Folder; created if missing.
            options: Options of `PreTrainedModel.save_pretrained`.
        """
        options.setdefault("state_dict", self.trained_state())
        super().save_pretrained(directory, **options)

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Return the trainable weights by name; the backbones have none."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: weight for name, weight in self.state_dict().items() if name in trained}

    def prefill_system_prompt(self, ids: torch.Tensor) -> SystemPrompt:
        """Compute the key-value cache of the system prompt.

        Args:
            ids: (P,) int64 tokens.
        """
        cache = self.text.new_cache()
        if len(ids):
            self._run(self._embed(ids[None]), torch.ones_like(ids[None]), cache)
        return SystemPrompt(ids, cache)

    def prefill(
        self, frames: FrameBatch, system_prompt: SystemPrompt, step: Step = at_once
    ) -> PrefillOutput:
        """Compute the key-value cache of frames, from which every question continues.

        Args:
            frames: B frames.
            system_prompt: Cache of the system prompt; not modified.
            step: Context of each part of the pass, which is cut unless this is `at_once`.
        """
        tokens, mask = self._query_tokens(frames)
        embeds, scene_mask = self._frame_embeds(frames, tokens, mask)
        batch = len(embeds)
        attention_mask = nn.functional.pad(scene_mask, (len(system_prompt.ids), 0), value=1)
        cache = copy.deepcopy(system_prompt.cache)
        if batch > 1 and len(system_prompt.ids):
            cache.batch_repeat_interleave(batch)
        hidden = embeds
        if embeds.shape[1]:
            hidden = self._run(embeds, attention_mask, cache, step)
        return PrefillOutput(
            attention_mask=attention_mask,
            past_key_values=cache,
            objects=self._object_states(tokens, hidden[:, frames.prompts.ids.shape[1] :]),
        )

    def encode_images(self, frames: FrameBatch) -> FrameBatch:
        """Add the visual encoder's tokens to frames that lack them, if the model needs them."""
        if frames.visual is not None or not self.config.needs_image:
            return frames
        return replace(frames, visual=self.visual_encoder(frames.pixel_values), pixel_values=None)

    def object_tokens(self, frames: FrameBatch) -> ObjectStates:
        """Compute the query tokens of the objects in B frames, without the language model."""
        tokens, _ = self._query_tokens(frames)
        return ObjectStates(self._select_objects(tokens), None)

    def predict_objects(self, objects: ObjectStates, batch: ObjectBatch) -> PerceptionOutput:
        """Run the perception head.

        Args:
            objects: Inputs of the head, of `prefill` or `object_tokens`.
            batch: The (B, K) objects.
        """
        attributes = {
            name: self.text.embed_texts(values) for name, values in self.config.attributes.items()
        }
        return self.head(
            objects.tokens, objects.hidden_states, batch.scores, batch.labels, attributes
        )

    def forward(
        self,
        frames: FrameBatch,
        system_prompt_ids: torch.Tensor,
        texts: TextBatch | None,
        logits_mask: torch.Tensor | None = None,
    ) -> MrMllmOutput:
        """Process frames and texts about them in a single pass, for training.

        Args:
            frames: B frames.
            system_prompt_ids: (P,) int64 tokens.
            texts: Questions and answers; each attends to its frame and itself. None skips the
                language model and predicts objects without it.
            logits_mask: (B, T) bool, true at tokens whose logits are needed; None for all.
        """
        tokens, mask = self._query_tokens(frames)
        alone = self._predict_without_language_model(tokens, frames)
        if texts is None:
            return MrMllmOutput(without_language_model=alone)
        scene, scene_mask = self._frame_embeds(frames, tokens, mask)
        batch, length = texts.ids.shape
        before = self._embed(system_prompt_ids[None]).expand(batch, -1, -1)
        embeds = torch.cat([before, scene, self._embed(texts.ids)], 1)
        start = embeds.shape[1] - length
        scene_mask = nn.functional.pad(scene_mask, (len(system_prompt_ids), 0), value=1)
        # System prompt and frame belong to every text.
        shared = torch.where(scene_mask.bool(), SHARED, PADDING)
        visible = visible_tokens(torch.cat([shared, texts.segment_ids], 1))  # (B, N, N)
        hidden = self.language_model.base_model(
            inputs_embeds=embeds,
            attention_mask=additive_mask(visible, self._computation_dtype()),
            position_ids=(visible.sum(-1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        queries = hidden[:, len(system_prompt_ids) + frames.prompts.ids.shape[1] : start]
        objects = self._object_states(tokens, queries)
        answers = hidden[:, start:]
        logits = self._logits(answers if logits_mask is None else answers[logits_mask])
        perception = None if objects is None else self.predict_objects(objects, frames.objects)
        return MrMllmOutput(logits, perception, alone)

    @contextmanager
    def without(self, *switches: str) -> Iterator[None]:
        """Switch off mechanisms of the model within a `with` block, for ablations.

        Args:
            switches: Fields of `MrMllmConfig`: query_fusion, prefix_tokens,
                head_uses_language_model, and perception_prompt, which affects processors created
                within the block.
        """
        before = {name: getattr(self.config, name) for name in switches}
        try:
            for name in switches:
                setattr(self.config, name, False)
            yield
        finally:
            for name, value in before.items():
                setattr(self.config, name, value)

    def _query_tokens(self, frames: FrameBatch) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Query tokens (B, Q, d_llm) and their mask (B, Q), or None if nothing uses them."""
        if not self.config.has_queries:
            return None, None
        objects, visual = frames.objects, None
        if self.config.needs_image:
            visual = self.encode_images(frames).visual  # (B, N_m, d_m)
            visual = visual.to(self.language_model.dtype)
        features = objects.features
        if not self.config.detector:
            features = pool_tokens(visual, self.visual_encoder.grid, objects.boxes)
        shared = self.object_queries(
            features, objects.boxes, objects.region_names, frames.has_image
        )
        mask = objects.mask
        if self.config.query_fusion:
            shared = self.fusion(shared, mask, visual, self.visual_encoder.grid, frames.has_image)
            mask = with_scene_queries(mask, self.config.scene_queries)
        labels = objects.labels.embeddings[objects.labels.detector_ids]  # (B, K, d_llm)
        scores = objects.scores.to(shared.dtype)
        tokens = self.query_tokens(shared, objects.boxes, scores, labels, objects.numbers)
        return tokens, mask

    def _frame_embeds(
        self, frames: FrameBatch, tokens: torch.Tensor | None, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Input embeddings of each frame, (B, L + Q, d_llm), and their mask (B, L + Q) int64."""
        embeds, scene_mask = self._embed(frames.prompts.ids), frames.prompts.mask
        if self.config.prefix_tokens:
            embeds, scene_mask = torch.cat([embeds, tokens], 1), torch.cat([scene_mask, mask], 1)
        return embeds, scene_mask.long()

    def _object_states(
        self, tokens: torch.Tensor | None, hidden_states: torch.Tensor
    ) -> ObjectStates | None:
        """Inputs of the head, given the hidden states at the query tokens."""
        if self.head is None:
            return None
        uses_text = self.config.head_needs_language_model
        return ObjectStates(
            self._select_objects(tokens),
            self._select_objects(hidden_states) if uses_text else None,
        )

    def _predict_without_language_model(
        self, tokens: torch.Tensor | None, frames: FrameBatch
    ) -> PerceptionOutput | None:
        if self.head is None:
            return None
        objects = ObjectStates(self._select_objects(tokens), None)
        return self.predict_objects(objects, frames.objects)

    def _select_objects(self, states: torch.Tensor) -> torch.Tensor:
        """Drop the scene queries from states of all queries."""
        scene_queries = self.config.scene_queries if self.config.query_fusion else 0
        return states[:, scene_queries:]

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of last hidden states, scaled and capped as the language model does it."""
        config = self.language_model.config
        logits = self.language_model.get_output_embeddings()(hidden)
        logits = logits * getattr(config, "logit_scale", 1.0)
        logits = logits / getattr(config, "logits_scaling", 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * (logits / cap).tanh()

    def _computation_dtype(self) -> torch.dtype:
        kind = self.language_model.device.type
        if torch.is_autocast_enabled(kind):
            return torch.get_autocast_dtype(kind)
        return self.language_model.dtype

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.language_model.get_input_embeddings()(ids)

    def _run(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        cache: Cache,
        step: Step = at_once,
    ) -> torch.Tensor:
        """Last hidden states; keys and values are appended to the cache."""
        size = embeds.shape[1] if step is at_once else _TOKENS_IN_STEP
        end, hidden = attention_mask.shape[1] - embeds.shape[1], []
        for part in embeds.split(size, 1):
            end += part.shape[1]
            with step("prefill"):
                hidden.append(self._forward(part, attention_mask[:, :end], cache))
        return torch.cat(hidden, 1)

    def _forward(
        self, embeds: torch.Tensor, attention_mask: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        output = self.language_model.base_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=_positions(attention_mask)[:, -embeds.shape[1] :],
            past_key_values=cache,
            use_cache=True,
        )
        return output.last_hidden_state

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SharedQueryFusion):
            # Identical queries would get identical gradients.
            nn.init.normal_(module.scene, std=0.02)
        elif isinstance(module, ObjectQueries) and module.names is not None:
            # A checkpoint without names, from which training may start, is not changed.
            nn.init.zeros_(module.names.weight)
        elif isinstance(module, PerceptionHead):
            module.reset_to_identity()


def _shapes(weights: dict[str, torch.Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(weight.shape)) for name, weight in weights.items()}


def _positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Position ids, which skip padding: (B, T)."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0)
