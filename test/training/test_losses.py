# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import pytest
import torch

from mrmllm_ros.model.configuration_mrmllm import PERCEPTION_OUTPUTS
from mrmllm_ros.model.perception_head import PerceptionOutput
from mrmllm_ros.training.collator import TargetBatch
from mrmllm_ros.training.losses import losses, perception_losses, total
from mrmllm_ros.training.training_settings import LossSettings, TrainingSettings

NAN = math.nan


@pytest.fixture
def output():
    """One scene with three candidates and two labels."""
    return PerceptionOutput(
        scores=torch.tensor([[0.5, 0.9, 0.2]]),
        label_logits=torch.tensor([[[2.0, 0.0], [0.0, 0.0], [0.0, 3.0]]]),
        edge_shifts=torch.full((1, 3, 4), 0.1),
        attribute_logits={"color": torch.zeros(1, 3, 4)},
        novelty_logits=torch.zeros(1, 3),
    )


@pytest.fixture
def targets():
    return TargetBatch(
        scores=torch.tensor([[1.0, 0.0, NAN]]),
        labels=torch.tensor([[0, -1, -1]]),
        edge_shifts=torch.tensor([[[0.3] * 4, [NAN] * 4, [NAN] * 4]]),
        attributes={"color": torch.tensor([[2, -1, -1]])},
        novelty=torch.tensor([[0.0, 1.0, NAN]]),
    )


def test_each_part_is_over_what_is_known_alone(output, targets):
    parts = {name: float(loss) for name, loss in perception_losses(output, targets).items()}
    assert parts["score"] == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2, rel=1e-4)
    assert parts["label"] == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-4)
    assert parts["box"] == pytest.approx(0.2, rel=1e-4)
    assert parts["attribute"] == pytest.approx(math.log(4), rel=1e-4)
    assert parts["novelty"] == pytest.approx(math.log(2), rel=1e-4)


def test_an_object_under_a_wrong_label_should_have_a_low_score(output, targets):
    output.scores = torch.tensor([[0.8, 0.9, 0.2]])
    wrong = replace(targets, labels=torch.tensor([[1, -1, -1]]))
    low = replace(targets, scores=torch.tensor([[0.0, 0.0, NAN]]))
    expected = perception_losses(output, low)["score"]
    assert perception_losses(output, wrong)["score"] == expected
    assert perception_losses(output, targets)["score"] != expected


def test_where_nothing_is_known_every_part_is_zero(output, targets):
    unknown = TargetBatch(
        scores=torch.full((1, 3), NAN),
        labels=torch.full((1, 3), -1),
        edge_shifts=torch.full((1, 3, 4), NAN),
        attributes={"color": torch.full((1, 3), -1)},
        novelty=torch.full((1, 3), NAN),
    )
    assert set(map(float, perception_losses(output, unknown).values())) == {0.0}


def test_scores_at_their_ends_give_a_finite_loss(output, targets):
    ends = replace(output, scores=torch.tensor([[0.0, 1.0, 0.5]]))
    assert perception_losses(ends, targets)["score"].isfinite()


def test_the_total_is_the_weighted_sum():
    parts = {"language": torch.tensor(2.0), "score": torch.tensor(3.0)}
    weights = LossSettings(language=0.5, score=2.0, without_language_model=0.25)
    assert float(total(parts, weights)) == 7.0
    assert (
        float(total({**parts, "without_language_model_score": torch.tensor(4.0)}, weights)) == 9.0
    )


def test_a_model_gives_every_part_and_without_texts_those_of_looking_alone(make_batches):
    model, _, batches = make_batches(TrainingSettings(batch_size=2))
    read, _ = batches[0]
    weights = LossSettings()
    with torch.no_grad():
        output = model(read.frames, read.system_prompt_ids, read.texts, read.logits_mask)
        parts = losses(output, read, weights)
        looked = losses(model(read.frames, read.system_prompt_ids, None, None), read, weights)
    own = {"score", "label", "box", "attribute", "novelty"}
    assert set(parts) == {"language", *own, *(f"without_language_model_{name}" for name in own)}
    assert set(looked) == {f"without_language_model_{name}" for name in own}


def test_parts_without_a_weight_are_left_out(make_batches):
    model, _, batches = make_batches(TrainingSettings(batch_size=2))
    read, _ = batches[0]
    weights = LossSettings(label=0.0, box=0.0, attribute=0.0, without_language_model=0.0)
    with torch.no_grad():
        output = model(read.frames, read.system_prompt_ids, read.texts, read.logits_mask)
    assert set(losses(output, read, weights)) == {"language", "score", "novelty"}


def test_the_head_is_trained_to_say_what_has_a_weight():
    assert LossSettings(label=0.0, attribute=0.0).perception_outputs == ["score", "box", "novelty"]
    assert LossSettings().perception_outputs == list(PERCEPTION_OUTPUTS)
