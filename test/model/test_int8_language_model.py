# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from int8_models import FAMILIES, VOCABULARY, tiny
from transformers import DynamicCache

from mrmllm_ros.model.int8_language_model import Int8Cache, Int8CausalLM, write_int8


@pytest.fixture(params=FAMILIES)
def models(request, tmp_path):
    """A small random model in float32, and its int8 copy."""
    model = tiny(request.param)
    write_int8(model, tmp_path)
    return model, Int8CausalLM(tmp_path, 1)


@pytest.fixture
def int8(tmp_path):
    write_int8(tiny("llama"), tmp_path)
    return Int8CausalLM(tmp_path, 1)


def ids(*shape):
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
def test_logits_are_close_to_those_of_the_float_model(models):
    model, int8 = models
    tokens = ids(1, 20)
    expected, given = model(tokens).logits, int8(input_ids=tokens).logits
    assert (given - expected).abs().mean() < 0.05 * expected.std()


@torch.inference_mode()
def test_embeddings_give_the_same_as_their_tokens(int8):
    tokens = ids(1, 6)
    embeds = int8.get_input_embeddings()(tokens)
    assert torch.equal(int8(inputs_embeds=embeds).logits, int8(input_ids=tokens).logits)


@torch.inference_mode()
def test_tokens_that_follow_a_cache_get_the_same_as_in_one_pass(int8):
    tokens = ids(1, 300)
    whole = int8(input_ids=tokens).logits
    cache = Int8Cache(int8.config)
    parts = [int8(input_ids=part, past_key_values=cache).logits for part in tokens.split(100, 1)]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert cache.get_seq_length() == 300


@torch.inference_mode()
def test_generated_text_is_that_of_step_by_step_passes(int8):
    tokens, chosen = ids(1, 5), []
    generated = int8.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        past_key_values=Int8Cache(int8.config),
        max_new_tokens=6,
        do_sample=False,
    )
    for _ in range(6):
        text = torch.cat([tokens, *chosen], 1)
        chosen += [int8(input_ids=text, logits_to_keep=1).logits[:, -1].argmax(-1)[None]]
    assert torch.equal(generated, torch.cat([tokens, *chosen], 1))


@torch.inference_mode()
def test_a_copied_cache_is_independent(int8):
    tokens = ids(1, 9)
    cache = Int8Cache(int8.config)
    int8(input_ids=tokens, past_key_values=cache)
    copied = copy.deepcopy(cache)
    int8(input_ids=ids(1, 4), past_key_values=copied)
    follow = ids(1, 3)
    after = int8(input_ids=follow, past_key_values=cache).logits
    assert torch.equal(after, int8(input_ids=torch.cat([tokens, follow], 1)).logits[:, 9:])


@torch.inference_mode()
def test_a_text_gets_the_same_alone_and_beside_seven_others(int8):
    """Exactly: questions of different lengths about one frame, then generated tokens."""
    frame = Int8Cache(int8.config)
    int8(input_ids=ids(1, 30), past_key_values=frame)
    lengths = [3, 1, 7, 5, 7, 2, 6, 4]
    questions = ids(8, 7)
    mask = torch.tensor([[0] * (7 - n) + [1] * n for n in lengths])
    together = copy.deepcopy(frame)
    together.batch_repeat_interleave(8)
    before = torch.ones(8, 30, dtype=torch.int64)
    first = int8(
        input_ids=questions,
        attention_mask=torch.cat([before, mask], 1),
        past_key_values=together,
        logits_to_keep=1,
    ).logits
    second = int8(input_ids=first[:, -1].argmax(-1, keepdim=True), past_key_values=together).logits
    for row, length in enumerate(lengths):
        alone = copy.deepcopy(frame)
        question = questions[row : row + 1, 7 - length :]
        logits = int8(input_ids=question, past_key_values=alone, logits_to_keep=1).logits
        assert torch.equal(logits[0], first[row])
        logits = int8(input_ids=logits[:, -1].argmax(-1)[None], past_key_values=alone).logits
        assert torch.equal(logits[0], second[row])


@torch.inference_mode()
def test_masked_tokens_count_but_change_nothing(int8):
    tokens = ids(1, 8)
    mask = torch.tensor([[1, 1, 0, 1, 1, 0, 1, 1]])
    cache = Int8Cache(int8.config)
    given = int8(input_ids=tokens, attention_mask=mask, past_key_values=cache).logits
    expected = int8(input_ids=tokens[:, mask[0].bool()]).logits
    assert torch.equal(given[:, mask[0].bool()], expected)
    assert cache.get_seq_length() == 8
    assert cache.lengths == [6]


@torch.inference_mode()
def test_selected_texts_keep_their_states(int8):
    cache = Int8Cache(int8.config)
    tokens = ids(3, 5)
    int8(input_ids=tokens, past_key_values=cache)
    cache.batch_select_indices([2])
    follow = ids(1, 2)
    given = int8(input_ids=follow, past_key_values=cache).logits
    expected = int8(input_ids=torch.cat([tokens[2:], follow], 1)).logits[:, 5:]
    assert torch.equal(given, expected)


def test_a_cache_of_another_type_is_rejected(int8):
    with pytest.raises(TypeError, match="DynamicCache"):
        int8(input_ids=ids(1, 2), past_key_values=DynamicCache())


def test_a_mask_for_each_token_is_rejected(int8):
    with pytest.raises(TypeError, match="masks"):
        int8(input_ids=ids(1, 2), attention_mask=torch.zeros(1, 1, 2, 2))
