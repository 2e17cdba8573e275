# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch

from mrmllm_ros.model.configuration_mrmllm import PERCEPTION_OUTPUTS, MrMllmConfig
from mrmllm_ros.model.perception_head import LabelSpace, PerceptionHead

LANGUAGE_WIDTH, LABELS, VOCABULARY = 16, 6, 4


def configure(outputs):
    return MrMllmConfig(
        perception_outputs=list(outputs),
        language_model="lm",
        text_hidden_size=LANGUAGE_WIDTH,
        embedding_scale=0.5,
        visual_encoder="eye",
        vision_hidden_size=12,
        perception_hidden_size=10,
        hidden_size=32,
        num_attention_heads=4,
    )


def make_head(opened, outputs=PERCEPTION_OUTPUTS):
    torch.manual_seed(0)
    head = PerceptionHead(configure(outputs)).requires_grad_(False)
    head.reset_to_identity()
    if opened:
        for output in head.outputs.values():
            torch.nn.init.normal_(output.weight, std=opened)
    return head


def make_labels(*chosen):
    """Of six labels the vocabulary has four; the detector chose these."""
    torch.manual_seed(1)
    names = tuple("abcdef"[:LABELS])
    texts = torch.randn(LABELS, LANGUAGE_WIDTH)
    return LabelSpace(names, texts, VOCABULARY, torch.tensor(chosen))


@pytest.fixture
def labels():
    """Two images; both labels beyond the vocabulary are among the choices."""
    return make_labels([0, 3, 4, 5], [2, 2, 1, 0])


@pytest.fixture
def objects():
    torch.manual_seed(2)
    return 3 * torch.randn(2, 4, LANGUAGE_WIDTH)


@pytest.fixture
def scores():
    return torch.tensor([[0.9, 0.0, 1.0, 0.3], [0.05, 0.5, 1e-30, 0.999]])


def attributes(**sizes):
    torch.manual_seed(3)
    return {name: torch.randn(size, LANGUAGE_WIDTH) for name, size in sizes.items()}


def test_at_the_start_scores_are_the_detectors_bit_for_bit(labels):
    head = make_head(opened=False)
    torch.manual_seed(4)
    exact = [0.0, 1.0, 1e-45, 1e-38, 1e-30, 1e-7, 0.1, 1 / 3, 0.5, 1 - 2**-24, 2**-24, 2**-25]
    scores = torch.cat([torch.tensor(exact), torch.rand(50_000), 10 ** -(torch.rand(50_000) * 38)])
    states = torch.randn(1, len(scores), LANGUAGE_WIDTH)
    chosen = make_labels([0] * len(scores))
    assert torch.equal(head(states, None, scores[None], chosen, {}).scores[0], scores)


def test_at_the_start_nothing_else_changes_either(labels, objects, scores):
    output = make_head(opened=False)(objects, None, scores, labels, attributes(color=3))
    assert torch.equal(output.edge_shifts, torch.zeros(2, 4, 4))
    assert torch.equal(output.label_logits.argmax(-1), labels.detector_ids)
    assert output.novelty.max() < 0.2
    assert torch.equal(output.attribute_logits["color"], torch.zeros(2, 4, 3))


@pytest.mark.parametrize("trained", PERCEPTION_OUTPUTS)
def test_a_head_that_is_trained_to_say_one_thing_leaves_the_others(
    trained, labels, objects, scores
):
    output = make_head(5.0, [trained])(objects, None, scores, labels, attributes(color=3))
    changed = {
        "score": not torch.equal(output.scores, scores),
        "label": not torch.equal(output.label_logits.argmax(-1), labels.detector_ids),
        "box": bool(output.edge_shifts.any()),
        "attribute": bool(output.attribute_logits["color"].any()),
        "novelty": output.novelty.max() > 1e-4,
    }
    assert [name for name, value in changed.items() if value] == [trained]


def test_making_a_model_starts_its_head_as_the_identity(tiny_backbones, make_model):
    head = make_model(tiny_backbones(), opened=False).head
    for output in head.outputs.values():
        assert not output.weight.any()
        assert not output.bias.any()
    assert head.trunk[1].weight.any()
    assert head.text[1].weight.any()


@pytest.mark.parametrize("strength", [0.05, 1.0, 5.0])
def test_once_opened_everything_stays_within_its_range(strength, labels, objects, scores):
    output = make_head(strength)(objects, None, scores, labels, attributes(color=3))
    assert ((output.scores >= 0) & (output.scores <= 1)).all()
    assert (output.scores - scores).abs().max() > 1e-3
    assert output.edge_shifts.abs().max() > 1e-3
    assert ((output.novelty >= 0) & (output.novelty <= 1)).all()
    assert output.novelty.max() > 1e-4
    assert not output.label_logits.isnan().any()


def test_however_far_edges_move_they_cannot_cross(labels, objects, scores):
    output = make_head(100.0)(objects, None, scores, labels, {})
    left, top, right, bottom = output.edge_shifts.unbind(-1)
    # Of a box from 0 to 1.
    assert (left < 1 + right).all()
    assert (top < 1 + bottom).all()
    assert output.edge_shifts.abs().max() > 0.44


def test_certainty_of_the_detector_is_not_overruled(labels, objects):
    certain = torch.tensor([0.0, 1.0]).repeat(2, 2)
    output = make_head(1.0)(objects, None, certain, labels, {})
    assert torch.equal(output.scores, certain)


def test_scores_move_by_log_odds(labels, objects):
    head = make_head(opened=False)
    head.outputs["score"].bias.fill_(1.5)
    scores = torch.full((2, 4), 0.3)
    output = head(objects, None, scores, labels, {})
    torch.testing.assert_close(output.scores.logit() - scores.logit(), torch.full((2, 4), 1.5))


@pytest.mark.parametrize("strength", [False, 5.0])
def test_labels_beyond_the_vocabulary_are_open_to_those_alone_whom_the_detector_gave_them(
    strength, labels, objects, scores
):
    output = make_head(strength)(objects, None, scores, labels, {})
    is_open = output.label_logits.isfinite()
    assert is_open[..., :VOCABULARY].all()
    beyond = [[[False] * 2] * 2 + [[True, False], [False, True]], [[False] * 2] * 4]
    assert is_open[..., VOCABULARY:].tolist() == beyond
    assert torch.equal(labels.allowed, is_open)
    choice = output.label_logits.argmax(-1)
    assert ((choice < VOCABULARY) | (choice == labels.detector_ids)).all()


def test_a_label_within_the_vocabulary_may_replace_one_beyond_it(labels, objects, scores):
    head = make_head(opened=False)
    # Whatever it sees, it wants the first label.
    direction = torch.nn.functional.normalize(head.text(labels.embeddings[0]), dim=-1)
    head.outputs["label"].bias.copy_(1000 * direction)
    output = head(objects, None, scores, labels, {})
    assert (output.label_logits.argmax(-1) == 0).all()


def test_what_the_language_model_has_read_changes_what_is_said(labels, objects, scores):
    head = make_head(1.0)
    torch.manual_seed(5)
    read = torch.randn(2, 4, LANGUAGE_WIDTH)
    without = head(objects, None, scores, labels, {})
    # At the start it has no say.
    assert torch.equal(head(objects, read, scores, labels, {}).scores, without.scores)
    torch.nn.init.normal_(head.context[1].weight)
    other = head(objects, read, scores, labels, {})
    for name in ("scores", "label_logits", "edge_shifts", "novelty"):
        assert not torch.equal(getattr(other, name), getattr(without, name))


@pytest.mark.parametrize("count", [2, 80, 1000])
def test_the_trust_in_the_detector_does_not_depend_on_how_many_labels_there_are(
    count, objects, scores
):
    labels = LabelSpace(
        tuple(map(str, range(count))),
        torch.randn(count, LANGUAGE_WIDTH),
        count,
        torch.zeros(2, 4, dtype=torch.int64),
    )
    head = make_head(opened=False)
    share = head(objects, None, scores, labels, {}).label_logits.softmax(-1)[..., 0]
    torch.testing.assert_close(share, head.trust.sigmoid().expand(2, 4), atol=1e-4, rtol=1e-4)


def test_without_any_label_there_may_be_no_objects():
    none = LabelSpace((), torch.zeros(0, LANGUAGE_WIDTH), 0, torch.zeros(1, 0, dtype=torch.int64))
    output = make_head(1.0)(torch.zeros(1, 0, LANGUAGE_WIDTH), None, torch.zeros(1, 0), none, {})
    assert output.label_logits.shape == (1, 0, 0)


def test_a_score_stays_a_number_however_far_it_is_shifted(labels, objects):
    head = make_head(opened=False)
    for shift in (-1000.0, 1000.0):
        torch.nn.init.constant_(head.outputs["score"].bias, shift)
        ends = torch.tensor([[0.0, 1.0, 1e-30, 0.5]] * 2)
        output = head(objects, None, ends, labels, {})
        assert ((output.scores >= 0) & (output.scores <= 1)).all()


@pytest.mark.parametrize("strength", [False, 1.0])
def test_there_may_be_no_objects(strength):
    labels = LabelSpace(
        ("a", "b"), torch.randn(2, LANGUAGE_WIDTH), 2, torch.zeros(2, 0, dtype=torch.int64)
    )
    states, scores = torch.randn(2, 0, LANGUAGE_WIDTH), torch.zeros(2, 0)
    output = make_head(strength)(states, None, scores, labels, attributes(color=3))
    assert output.scores.shape == output.novelty.shape == (2, 0)
    assert output.label_logits.shape == (2, 0, 2)
    assert output.edge_shifts.shape == (2, 0, 4)
    assert output.attribute_logits["color"].shape == (2, 0, 3)


def test_each_attribute_has_logits_over_its_own_values(labels, objects, scores):
    output = make_head(1.0)(objects, None, scores, labels, attributes(color=3, state=2))
    assert {k: v.shape for k, v in output.attribute_logits.items()} == {
        "color": (2, 4, 3),
        "state": (2, 4, 2),
    }
    assert output.attribute_logits["color"].std() > 0.1


def test_an_object_is_judged_alike_whatever_stands_beside_it(labels, objects, scores):
    head, values = make_head(1.0), attributes(color=3)
    output = head(objects, None, scores, labels, values).select(1)
    alone = LabelSpace(labels.names, labels.embeddings, VOCABULARY, labels.detector_ids[1:, 2:3])
    one = head(objects[1:, 2:3], None, scores[1:, 2:3], alone, values).select(0)
    assert output.scores.shape == (4,)
    for name in ("scores", "label_logits", "edge_shifts", "novelty"):
        torch.testing.assert_close(getattr(one, name)[0], getattr(output, name)[2])
    torch.testing.assert_close(
        one.attribute_logits["color"][0], output.attribute_logits["color"][2]
    )


def test_what_is_said_is_in_full_precision_whatever_the_head_computes_in(labels, objects, scores):
    head = make_head(0.05).to(torch.bfloat16)
    half = LabelSpace(labels.names, labels.embeddings.bfloat16(), VOCABULARY, labels.detector_ids)
    values = {"color": torch.randn(3, LANGUAGE_WIDTH, dtype=torch.bfloat16)}
    output = head(objects.bfloat16(), None, scores, half, values)
    given = (
        output.scores,
        output.label_logits,
        output.edge_shifts,
        output.novelty,
        output.attribute_logits["color"],
    )
    assert {tensor.dtype for tensor in given} == {torch.float32}


class TestScoresOfLabels:
    @pytest.fixture
    def scored(self, labels):
        """Scores of all labels, with the highest at the detector's label."""
        torch.manual_seed(5)
        scores = 0.3 * torch.rand(2, 4, LABELS)
        scores[labels.detector_mask] = 0.6
        return replace(labels, scores=scores)

    def test_an_untrained_head_ranks_the_allowed_labels_by_score(self, scored, objects, scores):
        output = make_head(opened=False)(objects, None, scores, scored, {})
        assert torch.equal(output.label_logits.argmax(-1), scored.detector_ids)
        expected = scored.scores.logit(1e-3).masked_fill(~scored.allowed, -torch.inf)
        assert torch.equal(output.label_logits, expected)

    def test_a_label_without_evidence_can_still_be_chosen(self, scored, objects, scores):
        scored = replace(scored, scores=torch.zeros(2, 4, LABELS))
        head = make_head(5.0, ["label"])
        logits = head(objects, None, scores, scored, {}).label_logits
        assert logits[scored.allowed].isfinite().all()

    def test_a_head_that_predicts_no_labels_keeps_the_label(self, scored, objects, scores):
        scored = replace(scored, scores=scored.scores.flip(-1))
        output = make_head(5.0, ["score"])(objects, None, scores, scored, {})
        assert torch.equal(output.label_logits.argmax(-1), scored.detector_ids)
