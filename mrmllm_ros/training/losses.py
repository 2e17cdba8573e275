# SPDX-License-Identifier: Apache-2.0
"""Training losses."""

from __future__ import annotations

import torch
from torch.nn import functional

from mrmllm_ros.model.modeling_mrmllm import MrMllmOutput
from mrmllm_ros.model.perception_head import PerceptionOutput
from mrmllm_ros.training.collator import TargetBatch, TrainingBatch
from mrmllm_ros.training.training_settings import WITHOUT_LANGUAGE_MODEL, LossSettings

_EPSILON = 1e-6


def losses(
    output: MrMllmOutput, batch: TrainingBatch, weights: LossSettings
) -> dict[str, torch.Tensor]:
    """Compute the losses with a nonzero weight, unweighted.

    Args:
        output: Output of the model.
        batch: Inputs and targets.
        weights: Weight of each loss.

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
        alone = perception_losses(output.without_language_model, batch.targets)
        parts |= {f"{WITHOUT_LANGUAGE_MODEL}{name}": loss for name, loss in alone.items()}
    return {name: loss for name, loss in parts.items() if weights.of(name) > 0}


def total(parts: dict[str, torch.Tensor], weights: LossSettings) -> torch.Tensor:
    """Sum losses with their weights.

    Args:
        parts: Losses by name, from `losses`.
        weights: Weight of each loss.
    """
    return torch.stack([weights.of(name) * loss for name, loss in parts.items()]).sum()


def perception_losses(output: PerceptionOutput, targets: TargetBatch) -> dict[str, torch.Tensor]:
    """Compute the losses of the perception head.

    The score is trained to be the probability that there is an object and that the predicted label
    is right.

    Args:
        output: Predictions for (B, K) candidates.
        targets: Their targets.

    Returns:
        Scalars by the names of `LossSettings`; zero without known targets.
    """
    known = ~targets.scores.isnan()
    is_right = (targets.labels < 0) | (targets.labels == output.label_logits.argmax(-1))
    # As logits: autocast does not support the cross-entropy of probabilities.
    logits = output.scores[known].logit(_EPSILON)
    moved = ~targets.edge_shifts.isnan().any(-1)
    rated = ~targets.novelty.isnan()
    return {
        "score": _mean(
            functional.binary_cross_entropy_with_logits(
                logits, (targets.scores * is_right)[known], reduction="none"
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
                output.novelty_logits[rated], targets.novelty[rated], reduction="none"
            )
        ),
    }


def _choice(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    known = targets >= 0
    return _mean(functional.cross_entropy(logits[known], targets[known], reduction="none"))


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Mean of the values; zero without values."""
    return values.sum() / max(values.numel(), 1)
