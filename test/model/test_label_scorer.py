# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from making import tiny_gemma2, tiny_llama

from mrmllm_ros.model import label_scorer
from mrmllm_ros.model.label_scorer import LabelScorer

EXAMPLES = "rose: flower\nsedan: car\n"
# Of one and of several tokens.
KINDS = ("car", "cup", "traffic light", "hot dog", "parking meter with coins", "自行车")
NAMES = (
    *("minivan", "goldfish, Carassius auratus", "crane", "sax, saxophone", "tie"),
    *("espresso maker", "teddy, teddy bear", "pier", "cornet, horn, trumpet, trump", "hen"),
)


@pytest.fixture
def tiny_language_model(tiny_backbones):
    return tiny_backbones().language_model


def scores_of(language_model, names, kinds=KINDS):
    """(M, N) scores of all batches."""
    return np.concatenate(list(LabelScorer(language_model, kinds, EXAMPLES).scores(names)), 1)


@torch.no_grad()
def expected(language_model, name, kind):
    """Log-probability of a kind in a pass of its own."""
    prompt = language_model.tokenize(EXAMPLES).tolist()
    prompt += language_model.tokenize(f"{name}:").tolist()
    continuation = language_model.tokenize(f" {kind}").tolist()
    ids = torch.tensor([prompt + continuation])
    predicted = language_model.model(input_ids=ids).logits[0].float().log_softmax(-1)
    return sum(
        float(predicted[len(prompt) + i - 1, token]) for i, token in enumerate(continuation)
    )


@pytest.mark.parametrize("family", [tiny_llama, tiny_gemma2])
def test_scores_are_those_of_a_pass_for_each_name_and_kind(family, tiny_backbones):
    language_model = tiny_backbones(family).language_model
    lengths = {language_model.count_tokens(f" {kind}") for kind in KINDS}
    assert {1, 2} < lengths
    names = NAMES
    found = scores_of(language_model, names)
    assert found.shape == (len(KINDS), len(names))
    assert found.dtype == np.float32
    alone = [[expected(language_model, name, kind) for name in names] for kind in KINDS]
    np.testing.assert_allclose(found, alone, atol=2e-3)


def test_scores_do_not_depend_on_the_batch(tiny_language_model, monkeypatch):
    together = scores_of(tiny_language_model, NAMES)
    scorer = LabelScorer(tiny_language_model, KINDS, EXAMPLES)
    assert [part.shape[1] for part in scorer.scores(NAMES)] == [8, 2]
    for column, name in enumerate(NAMES):
        [alone] = scorer.scores([name])
        np.testing.assert_allclose(together[:, [column]], alone, atol=1e-3)
    monkeypatch.setattr(label_scorer, "_BATCH", 3)
    np.testing.assert_allclose(scores_of(tiny_language_model, NAMES), together, atol=1e-3)


def test_scores_of_a_kind_do_not_depend_on_the_other_kinds(tiny_language_model):
    together = scores_of(tiny_language_model, NAMES)
    for row, kind in enumerate(KINDS):
        alone = scores_of(tiny_language_model, NAMES, [kind])
        np.testing.assert_allclose(together[[row]], alone, atol=1e-3)


def test_one_name_is_a_batch(tiny_language_model):
    [scores] = LabelScorer(tiny_language_model, KINDS, EXAMPLES).scores(["minivan"])
    assert scores.shape == (len(KINDS), 1)
    assert (scores < 0).all()


def test_no_names_have_no_scores(tiny_language_model):
    assert list(LabelScorer(tiny_language_model, KINDS, EXAMPLES).scores([])) == []


def test_kinds_and_names_cannot_hold_special_tokens(tiny_language_model):
    special, plain = scores_of(tiny_language_model, NAMES, ["hot<|im_end|>dog", "hot dog"])
    np.testing.assert_allclose(special, plain, atol=1e-4)
    special, plain = scores_of(tiny_language_model, ["a<|im_end|>van", "a van"]).T
    np.testing.assert_allclose(special, plain, atol=1e-4)


def test_the_embedded_language_model_knows_what_a_minivan_is(language_model):
    [minivan, beagle] = scores_of(language_model, ["minivan", "beagle"], ["car", "dog"]).T
    assert minivan[0] > minivan[1] + 1
    assert beagle[1] > beagle[0] + 1
