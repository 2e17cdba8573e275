# SPDX-License-Identifier: Apache-2.0
"""MR-MLLM: a frozen language model, a frozen visual encoder, and what joins them to perception.

The three mechanisms are modules of their own (`query_fusion`, `cross_modal`, `prompt`), and so is
the way back to perception (`perception_head`). Ours, not the paper's: that a frame is read once,
in the order preamble, objects as text, query tokens, so that under causal attention the queries
have read the text; and that every question about the frame goes on from there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import Cache, DynamicCache, PreTrainedModel

from mrmllm_ros.detection.roi_features import pool_tokens
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.box_embedding import BoxEmbedding
from mrmllm_ros.model.checkpoint import (
    CheckpointError,
    check_backbones,
    read_config,
    read_weights,
)
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.cross_modal import QueryTokens
from mrmllm_ros.model.perception_head import PerceptionHead, PerceptionOutput
from mrmllm_ros.model.processing_mrmllm import FrameBatch, ObjectBatch, TextBatch
from mrmllm_ros.model.query_fusion import ObjectQueries, SharedQueryFusion, with_scene

# In the place of a text's index: what all texts see, and what none does.
_SHARED, _NOWHERE = -2, -1


@dataclass(frozen=True, eq=False)
class Preamble:
    """What comes before every frame, read once.

    Attributes:
        ids: (P,) int64, its tokens.
        cache: Keys and values of a batch of one.
    """

    ids: torch.Tensor
    cache: Cache


@dataclass(frozen=True, eq=False)
class ObjectStates:
    """What the perception head judges objects by.

    Attributes:
        tokens: (B, K, d_llm) their query tokens.
        read: (B, K, d_llm) hidden states of the language model there, or None where it does not
            read them.
    """

    tokens: torch.Tensor
    read: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class FramePass:
    """B frames, read.

    Attributes:
        attention_mask: (B, P + L + Q) int64 over preamble, text and query tokens.
        cache: Keys and values of all of them.
        objects: What the perception head is to judge, or None where there is none.
    """

    attention_mask: torch.Tensor
    cache: Cache
    objects: ObjectStates | None


@dataclass(frozen=True, eq=False)
class MrMllmOutput:
    """What one pass over frames and questions gives.

    Attributes:
        logits: (B, T, vocabulary) at the texts' tokens, or (W, vocabulary) at the W wanted ones;
            None where the language model is left out.
        perception: What the head says of the objects, or None where there is no head.
        unread: What it says without what the language model has read.
    """

    logits: torch.Tensor | None
    perception: PerceptionOutput | None
    unread: PerceptionOutput | None = None


class MrMllm(PreTrainedModel):
    """The fusion model. Its own weights are trained; the backbones' are not.

    `save_pretrained` writes the trained weights alone and the names of the backbones;
    `from_pretrained` takes backbones that are loaded already and checks their names.
    """

    config_class = MrMllmConfig
    base_model_prefix = "mrmllm"

    def __init__(self, config: MrMllmConfig, backbones: Backbones) -> None:
        """Make a model that changes nothing yet.

        Args:
            config: Its backbones must be those given.
            backbones: Loaded models.

        Raises:
            CheckpointError: If the configuration is for other backbones.
        """
        super().__init__(config)
        check_backbones(config, backbones)
        if config.has_queries:
            boxes = BoxEmbedding(config.box_frequencies, config.fusion_width)
            self.object_queries = ObjectQueries(config, boxes)
            self.query_tokens = QueryTokens(config)
            self.fusion = SharedQueryFusion(config, boxes) if config.query_fusion else None
        self.head = PerceptionHead(config) if config.perception_outputs else None
        # Only what is new is initialized: the backbones come after.
        self.post_init()
        self.text = backbones.language_model
        self.language_model = _with_adapters(backbones.language_model.model, config)
        self.visual_encoder = backbones.visual_encoder if config.needs_image else None
        self.to(device=self.language_model.device, dtype=self.language_model.dtype)
        self.eval()

    @staticmethod
    def configure(backbones: Backbones, **choices: Any) -> MrMllmConfig:
        """Make a configuration for backbones.

        A detector without features has its objects' features pooled from the image.

        Args:
            backbones: Where the visual encoder is left out, so must be what needs it.
            choices: Other fields of `MrMllmConfig`.
        """
        text, visual = backbones.language_model, backbones.visual_encoder
        detector = backbones.detector
        visual_width = visual.width if visual else 0
        # As they go into the model, which some scale.
        embed = text.model.get_input_embeddings()
        ids = torch.arange(min(4096, embed.num_embeddings), device=embed.weight.device)
        embeddings = embed(ids).detach().float()
        sizes = {
            "language_model": text.name,
            "language_model_revision": text.revision,
            "language_width": text.width,
            "embedding_scale": float(embeddings.pow(2).mean().sqrt()),
            "visual_encoder": visual.name if visual else "",
            "visual_encoder_revision": visual.revision if visual else "",
            "visual_width": visual_width,
            "detector": detector.name if detector.feature_width else "",
            "detector_revision": detector.revision if detector.feature_width else "",
            "perception_width": detector.feature_width or visual_width,
        }
        return MrMllmConfig(**{**sizes, **choices})

    @classmethod
    def from_pretrained(cls, source: str | Path, backbones: Backbones) -> MrMllm:
        """Load trained weights and join them to backbones.

        Args:
            source: A folder, or a repository of the Hugging Face hub.
            backbones: Loaded models; they give device and precision.

        Raises:
            CheckpointError: If there is none, it is damaged, or it is for other backbones.
        """
        config, weights = read_config(source), read_weights(source)
        try:
            model = cls(config, backbones)
        except CheckpointError as error:
            raise CheckpointError(f"the checkpoint {source}: {error}") from error
        wanted, given = _shapes(model.trained_state()), _shapes(weights)
        if wanted != given:
            raise CheckpointError(
                f"the checkpoint {source} does not fit its configuration: missing "
                f"{sorted(wanted - given)[:3]}, unknown {sorted(given - wanted)[:3]}"
            )
        model.load_state_dict(weights, strict=False)
        return model

    def start_from(self, source: str | Path) -> tuple[str, ...]:
        """Take over the weights of a checkpoint, to train them further.

        What its perception head says and this one does not is left out.

        Args:
            source: A folder, or a repository of the Hugging Face hub.

        Returns:
            Names of the weights that it does not have, which stay as they are.

        Raises:
            CheckpointError: If there is none, it is damaged, or it is for other backbones or of
                other sizes.
        """
        made_for, weights = vars(read_config(source)), read_weights(source)
        names = ["language_model", "visual_encoder", "detector"]
        # It shows in no shape.
        names += ["lora_alpha"] if made_for["lora_rank"] else []
        different = [name for name in names if made_for[name] != getattr(self.config, name)]
        own = self.trained_state()
        weights = {k: w for k, w in weights.items() if k in own or not k.startswith("head.")}
        different += sorted({name for name, _ in _shapes(weights) - _shapes(own)})
        if different:
            raise CheckpointError(
                f"the checkpoint {source} is of another model: it differs in {different[:3]}"
            )
        self.load_state_dict(weights, strict=False)
        return tuple(name for name in own if name not in weights)

    def save_pretrained(self, directory: str | Path, **options: Any) -> None:
        """Write configuration and trained weights, as safetensors.

        Args:
            directory: The folder; made if there is none.
            options: Those of `PreTrainedModel.save_pretrained`.
        """
        options.setdefault("state_dict", self.trained_state())
        super().save_pretrained(directory, **options)

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The weights that are trained, by name; those of the backbones are left out."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: weight for name, weight in self.state_dict().items() if name in trained}

    def merge_adapters(self) -> None:
        """Add LoRA's product to the weights it stands beside: the same answers, faster."""
        for module in self.language_model.modules():
            if isinstance(module, LoraLayer):
                module.merge()

    def read_preamble(self, ids: torch.Tensor) -> Preamble:
        """Read what comes before every frame.

        Args:
            ids: (P,) int64.
        """
        cache = DynamicCache(config=self.language_model.config)
        if len(ids):
            self._run(self._embed(ids[None]), torch.ones_like(ids[None]), cache)
        return Preamble(ids, cache)

    def read(self, frames: FrameBatch, preamble: Preamble) -> FramePass:
        """The one pass over frames that perception and every question start from.

        Args:
            frames: B frames.
            preamble: Is left as it is.
        """
        tokens, mask = self._queries(frames)
        embeds, scene_mask = self._scene(frames, tokens, mask)
        batch = len(embeds)
        attention_mask = nn.functional.pad(scene_mask, (len(preamble.ids), 0), value=1)
        cache = copy.deepcopy(preamble.cache)
        if batch > 1 and len(preamble.ids):
            cache.batch_repeat_interleave(batch)
        hidden = embeds
        if embeds.shape[1]:
            hidden = self._run(embeds, attention_mask, cache)
        return FramePass(
            attention_mask=attention_mask,
            cache=cache,
            objects=self._objects(tokens, hidden[:, frames.text_ids.shape[1] :]),
        )

    def see(self, frames: FrameBatch) -> FrameBatch:
        """The same frames with the visual encoder's tokens, where these are needed.

        Args:
            frames: B frames; those that have their tokens are left as they are.
        """
        if frames.visual is not None or not self.config.needs_image:
            return frames
        return replace(frames, visual=self.visual_encoder(frames.pixel_values), pixel_values=None)

    def look(self, frames: FrameBatch) -> ObjectStates:
        """What a perception head is to judge without the language model.

        Args:
            frames: B frames.
        """
        tokens, _ = self._queries(frames)
        return ObjectStates(self._of_objects(tokens), None)

    def perceive(self, objects: ObjectStates, batch: ObjectBatch) -> PerceptionOutput:
        """What the head says of objects.

        Args:
            objects: See `FramePass.objects`.
            batch: The objects.

        Returns:
            Of each of the (B, K) objects.
        """
        attributes = {
            name: self.text.embed_texts(values) for name, values in self.config.attributes.items()
        }
        return self.head(objects.tokens, objects.read, batch.scores, batch.labels, attributes)

    def forward(
        self,
        frames: FrameBatch,
        preamble_ids: torch.Tensor,
        texts: TextBatch | None,
        wanted: torch.Tensor | None = None,
    ) -> MrMllmOutput:
        """Frames and texts about them in a single pass, as in training.

        Args:
            frames: B frames.
            preamble_ids: (P,) int64.
            texts: Questions and answers; each sees the frame and itself. None leaves the language
                model out: what is perceived without it.
            wanted: (B, T) bool, tokens whose logits are needed; None for all.
        """
        tokens, mask = self._queries(frames)
        if texts is None:
            return MrMllmOutput(None, None, self._unread(tokens, frames))
        scene, scene_mask = self._scene(frames, tokens, mask)
        batch, length = texts.ids.shape
        before = self._embed(preamble_ids[None]).expand(batch, -1, -1)
        embeds = torch.cat([before, scene, self._embed(texts.ids)], 1)
        start = embeds.shape[1] - length
        scene_mask = nn.functional.pad(scene_mask, (len(preamble_ids), 0), value=1)
        # Which text a token belongs to; preamble and frame belong to all of them.
        owner = torch.cat([torch.where(scene_mask.bool(), _SHARED, _NOWHERE), texts.owner], 1)
        visible = _visible(owner)  # (B, N, N)
        hidden = self.language_model.base_model(
            inputs_embeds=embeds,
            attention_mask=self._additive(visible)[:, None],
            position_ids=(visible.sum(-1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        queries = hidden[:, len(preamble_ids) + frames.text_ids.shape[1] : start]
        objects = self._objects(tokens, queries)
        answers = hidden[:, start:]
        logits = self._logits(answers if wanted is None else answers[wanted])
        perception = None if objects is None else self.perceive(objects, frames.objects)
        return MrMllmOutput(logits, perception, self._unread(tokens, frames))

    @contextmanager
    def without(self, *switches: str) -> Iterator[None]:
        """While this lasts, these mechanisms are off, though the model has them.

        Args:
            switches: Of `MrMllmConfig`: query_fusion, prefix_tokens, head_reads, and
                perception_prompt, which a processor made meanwhile obeys.
        """
        before = {name: getattr(self.config, name) for name in switches}
        try:
            for name in switches:
                setattr(self.config, name, False)
            yield
        finally:
            for name, value in before.items():
                setattr(self.config, name, value)

    def _queries(self, frames: FrameBatch) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Query tokens (B, Q, d_llm) and their mask (B, Q), or None where nothing uses them."""
        if not self.config.has_queries:
            return None, None
        objects, visual = frames.objects, None
        if self.config.needs_image:
            visual = self.see(frames).visual.to(self.language_model.dtype)  # (B, N_m, d_m)
        features = objects.features
        if not self.config.detector:
            features = pool_tokens(visual, self.visual_encoder.grid, objects.boxes)
        shared = self.object_queries(features, objects.boxes, frames.seen)
        mask = objects.mask
        if self.config.query_fusion:
            shared = self.fusion(shared, mask, visual, self.visual_encoder.grid, frames.seen)
            mask = with_scene(mask, self.config.scene_queries)
        labels = objects.labels.texts[objects.labels.detector]  # (B, K, d_llm)
        scores = objects.scores.to(shared.dtype)
        tokens = self.query_tokens(shared, objects.boxes, scores, labels, objects.numbers)
        return tokens, mask

    def _scene(
        self, frames: FrameBatch, tokens: torch.Tensor | None, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What is read of each frame: (B, L + Q, d_llm) and its mask (B, L + Q) int64."""
        embeds, scene_mask = self._embed(frames.text_ids), frames.text_mask
        if self.config.prefix_tokens:
            embeds, scene_mask = torch.cat([embeds, tokens], 1), torch.cat([scene_mask, mask], 1)
        return embeds, scene_mask.long()

    def _objects(self, tokens: torch.Tensor | None, queries: torch.Tensor) -> ObjectStates | None:
        """What the head judges, given the hidden states at the query tokens."""
        if self.head is None:
            return None
        read = self._of_objects(queries) if self.config.perceives_by_reading else None
        return ObjectStates(self._of_objects(tokens), read)

    def _unread(self, tokens: torch.Tensor | None, frames: FrameBatch) -> PerceptionOutput | None:
        if self.head is None:
            return None
        return self.perceive(ObjectStates(self._of_objects(tokens), None), frames.objects)

    def _of_objects(self, states: torch.Tensor) -> torch.Tensor:
        """Those of the objects among states of all queries."""
        scene_queries = self.config.scene_queries if self.config.query_fusion else 0
        return states[:, scene_queries:]

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """As the language model makes them of its last states, which some scale or cap."""
        config = self.language_model.config
        logits = self.language_model.get_output_embeddings()(hidden)
        logits = logits * getattr(config, "logit_scale", 1.0)
        logits = logits / getattr(config, "logits_scaling", 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * (logits / cap).tanh()

    def _additive(self, visible: torch.Tensor) -> torch.Tensor:
        """A mask as every implementation of attention takes it, in the precision computed in."""
        kind = visible.device.type
        dtype = self.language_model.dtype
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        nothing = torch.zeros((), dtype=dtype, device=visible.device)
        return torch.where(visible, nothing, torch.finfo(dtype).min)

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.language_model.get_input_embeddings()(ids)

    def _run(
        self, embeds: torch.Tensor, attention_mask: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        """Hidden states of the last layer; their keys and values go into the cache."""
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
            # Queries that start alike would stay alike.
            nn.init.normal_(module.scene, std=0.02)
        elif isinstance(module, PerceptionHead):
            module.start_as_identity()


def _shapes(weights: dict[str, torch.Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(weight.shape)) for name, weight in weights.items()}


def _visible(owner: torch.Tensor) -> torch.Tensor:
    """What each token may look at: (B, N, N) bool.

    Args:
        owner: (B, N) which text each token belongs to.
    """
    rows, columns = owner[:, :, None], owner[:, None, :]
    length = owner.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=owner.device).tril()
    return causal & ((rows == columns) | (columns == _SHARED)) & (columns != _NOWHERE)


def _positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Position of each token among those that are there: (B, T)."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0)


def _with_adapters(language_model: PreTrainedModel, config: MrMllmConfig) -> PreTrainedModel:
    if not config.lora_rank:
        return language_model
    adapters = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear"
    )
    return inject_adapter_in_model(adapters, language_model)
