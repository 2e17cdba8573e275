# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mrmllm_ros.weights import locate

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def folder():
    return locate("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def test_the_model_reloads_in_float32_with_its_shape(model):
    assert model.dtype == torch.float32
    assert model.config.hidden_size == 576
    assert model.config.num_hidden_layers == 30
    assert sum(weights.numel() for weights in model.parameters()) == 134_515_008


def test_generation_ends_and_pads_with_the_end_of_turn(model, tokenizer):
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.generation_config.eos_token_id == end
    assert model.generation_config.pad_token_id == end
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert tokenizer.model_max_length == 8192


def test_the_chat_template_uses_the_special_tokens(tokenizer):
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, *QUESTION],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>") == 1
    assert ids.count(2) == 2
    assert tokenizer.decode(ids) == text


def test_every_digit_is_a_token_apart_from_the_blank_before_it(tokenizer):
    tokens = tokenizer.tokenize("at\n  42, (6,37)")
    assert tokens == ["at", "ĊĠĠ", "4", "2", ",", "Ġ(", "6", ",", "3", "7", ")"]


def test_the_model_answers_sensibly_and_stops(model, tokenizer):
    inputs = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    answer = output[0, inputs.input_ids.shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
