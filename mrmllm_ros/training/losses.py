# SPDX-License-Identifier: Apache-2.0
"""What training makes small."""

from __future__ import annotations

import torch
from torch.nn import functional

from mrmllm_ros.model.modeling_mrmllm import MrMllmOutput
from mrmllm_ros.model.perception_head import PerceptionOutput
from mrmllm_ros.training.collator import TargetBatch, TrainingBatch
from mrmllm_ros.training.training_settings import LossSettings

_EPSILON = 1e-6


def losses(
    output: MrMllmOutput, batch: TrainingBatch, weights: LossSettings
) -> dict[str, torch.Tensor]:
    """The parts of the loss that have a weight, unweighted.

    Args:
        output: What the model gave.
        batch: What it was given.
        weights: Of each part.

    Returns:
        Scalars by the names of `LossSettings`; losses without the language model have the prefix
        `without_language_model_`. Losses without targets are zero.
    """
    parts: dict[str, torch.Tensor] = {}
    if output.logits is not None:
        errors = functional.cross_entropy(output.logits.float(), batch.next_ids, reduction="none")
        parts["language"] = _mean(errors)
    if output.perception is not None:
        parts |= perception_losses(output.perception, batch.targets)
    if output.without_language_model is not None:
        without_language_model = perception_losses(output.without_language_model, batch.targets)
        parts |= {f"unread_{name}": loss for name, loss in without_language_model.items()}
    return {name: loss for name, loss in parts.items() if weights.of(name) > 0}


def total(parts: dict[str, torch.Tensor], weights: LossSettings) -> torch.Tensor:
    """The weighted sum.

    Args:
        parts: What `losses` gave.
        weights: Of each part.
    """
    return torch.stack([weights.of(name) * loss for name, loss in parts.items()]).sum()


def perception_losses(output: PerceptionOutput, targets: TargetBatch) -> dict[str, torch.Tensor]:
    """Losses of the perception head.

    Args:
        output: What it said of B x K candidates.
        targets: What it should have said.

    Returns:
        Scalars by the names of `LossSettings`; zero where nothing is known.
    """
    known = ~targets.scores.isnan()
    # As log-odds: autocast refuses the loss of probabilities.
    odds = output.scores[known].logit(_EPSILON)
    moved = ~targets.edge_shifts.isnan().any(-1)
    told = ~targets.novelty.isnan()
    return {
        "score": _mean(
            functional.binary_cross_entropy_with_logits(
                odds, targets.scores[known], reduction="none"
            )
        ),
        "label": _choice(output.label_logits, targets.labels),
        "box": _mean(
            functional.l1_loss(
                output.edge_shifts[moved], targets.edge_shifts[moved], reduction="none"
            )
        ),
        "attribute": torch.stack(
            [_choice(output.attribute_logits[name], t) for name, t in targets.attributes.items()]
        ).mean(),
        "novelty": _mean(
            functional.binary_cross_entropy_with_logits(
                output.novelty_logits[told], targets.novelty[told], reduction="none"
            )
        ),
    }


def _choice(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    known = wanted >= 0
    return _mean(functional.cross_entropy(logits[known], wanted[known], reduction="none"))


def _mean(values: torch.Tensor) -> torch.Tensor:
    """The mean, and zero where there is nothing."""
    return values.sum() / max(values.numel(), 1)
