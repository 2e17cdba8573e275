# SPDX-License-Identifier: Apache-2.0
import torch

from mrmllm_ros.model.packed_attention import PADDING, SHARED, additive_mask, visible_tokens


def visible(*segments):
    [mask] = visible_tokens(torch.tensor([segments]))
    return mask.int().tolist()


def test_texts_see_shared_tokens_and_themselves_up_to_each_token():
    assert visible(SHARED, SHARED, 0, 0, 1) == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_no_token_sees_padding_and_padding_sees_no_text():
    assert visible(SHARED, PADDING, 0, PADDING) == [
        [1, 0, 0, 0],
        [1, 0, 0, 0],
        [1, 0, 1, 0],
        [1, 0, 0, 0],
    ]


def test_a_text_in_parts_sees_its_earlier_part():
    assert visible(0, 1, 0)[2] == [1, 0, 1]


def test_the_number_of_visible_tokens_is_the_position_after_a_token():
    segments = torch.tensor([[SHARED, SHARED, 0, 0, 1, 1], [SHARED, PADDING, 0, 0, 1, 1]])
    positions = visible_tokens(segments).sum(-1) - 1
    assert positions.tolist() == [[0, 1, 2, 3, 2, 3], [0, 0, 1, 2, 1, 2]]


def test_rows_of_a_batch_are_masked_alone():
    first, second = [SHARED, 0, 1], [0, 0, PADDING]
    both = visible_tokens(torch.tensor([first, second]))
    assert both.dtype == torch.bool
    assert [row.int().tolist() for row in both] == [visible(*first), visible(*second)]


def test_no_tokens_have_an_empty_mask():
    assert visible_tokens(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 0)


def test_an_additive_mask_hides_tokens_in_the_precision_of_the_model():
    seen = torch.tensor([[[True, False], [True, True]]])
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        mask = additive_mask(seen, dtype)
        assert mask.shape == (1, 1, 2, 2)
        assert mask.dtype == dtype
        lowest = torch.finfo(dtype).min
        assert mask[0, 0].tolist() == [[0, lowest], [0, 0]]
        assert mask.softmax(-1)[0, 0, 0].tolist() == [1, 0]
