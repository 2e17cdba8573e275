# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.cross_modal import PerceptionEmbedding, QueryTokens

WIDTH, LANGUAGE_WIDTH, SCENE_QUERIES = 32, 24, 3


def configure(**changes):
    sizes = {
        "language_model": "lm",
        "text_hidden_size": LANGUAGE_WIDTH,
        "embedding_scale": 0.3,
        "visual_encoder": "eye",
        "vision_hidden_size": 12,
        "perception_hidden_size": 10,
        "hidden_size": WIDTH,
        "num_attention_heads": 4,
        "scene_queries": SCENE_QUERIES,
    }
    return MrMllmConfig(**{**sizes, **changes})


@pytest.fixture
def query_tokens():
    torch.manual_seed(0)
    return QueryTokens(configure()).requires_grad_(False)


@pytest.fixture
def perceived():
    """Shared queries, boxes, scores and labels of two images with four objects each."""
    torch.manual_seed(1)
    return {
        "shared": torch.randn(2, SCENE_QUERIES + 4, WIDTH),
        "boxes": torch.rand(2, 4, 4),
        "scores": torch.rand(2, 4),
        "labels": torch.randn(2, 4, LANGUAGE_WIDTH),
        "numbers": torch.randn(4, LANGUAGE_WIDTH),
    }


@pytest.mark.parametrize("which", ["boxes", "scores", "labels"])
def test_an_objects_token_depends_on_box_score_and_label(which, query_tokens, perceived):
    first = query_tokens(**perceived)
    perceived[which][0, 2] = perceived[which][0, 3]
    changed = (query_tokens(**perceived) - first).norm(dim=-1)
    assert changed[0, SCENE_QUERIES + 2] > 1e-3
    changed[0, SCENE_QUERIES + 2] = 0
    assert changed.max() == 0


def test_an_objects_token_depends_on_the_number_that_cites_it(query_tokens, perceived):
    first = query_tokens(**perceived)
    perceived["numbers"][2] = perceived["numbers"][3]
    changed = (query_tokens(**perceived) - first).norm(dim=-1)
    assert changed[:, SCENE_QUERIES + 2].min() > 1e-3
    changed[:, SCENE_QUERIES + 2] = 0
    assert changed.max() == 0


def test_every_token_depends_on_its_query_and_on_no_other(query_tokens, perceived):
    first = query_tokens(**perceived)
    for i in (0, SCENE_QUERIES + 1):
        shared = perceived["shared"].clone()
        shared[0, i] += torch.randn(WIDTH)
        changed = (query_tokens(**{**perceived, "shared": shared}) - first).norm(dim=-1)
        assert changed[0, i] > 1e-3
        changed[0, i] = 0
        assert changed.max() == 0


def test_scene_queries_are_told_nothing_of_objects(query_tokens, perceived):
    tokens = query_tokens(**perceived)
    visual = query_tokens.visual(perceived["shared"])
    alone = nn.functional.rms_norm(visual, (LANGUAGE_WIDTH,)) * query_tokens.scale
    torch.testing.assert_close(tokens[:, :SCENE_QUERIES], alone[:, :SCENE_QUERIES])
    assert ((tokens - alone).norm(dim=-1)[:, SCENE_QUERIES:] > 1e-2).all()


def test_tokens_start_at_the_scale_of_the_embeddings(query_tokens, perceived):
    expected = torch.full((2, SCENE_QUERIES + 4), 0.3)
    for factor in (1, 100):
        perceived["shared"] = perceived["shared"] * factor
        root_mean_square = query_tokens(**perceived).pow(2).mean(-1).sqrt()
        torch.testing.assert_close(root_mean_square, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("scene_queries", "objects"), [(3, 0), (0, 4), (0, 1), (0, 0)])
def test_there_may_be_no_objects_or_no_scene_queries(scene_queries, objects, query_tokens):
    torch.manual_seed(1)
    tokens = query_tokens(
        torch.randn(2, scene_queries + objects, WIDTH),
        torch.rand(2, objects, 4),
        torch.rand(2, objects),
        torch.randn(2, objects, LANGUAGE_WIDTH),
        torch.randn(objects, LANGUAGE_WIDTH),
    )
    assert tokens.shape == (2, scene_queries + objects, LANGUAGE_WIDTH)
    assert tokens.isfinite().all()


def test_the_scale_of_label_embeddings_does_not_drown_box_and_score(perceived):
    torch.manual_seed(0)
    embed = PerceptionEmbedding(configure()).requires_grad_(False)
    boxes, scores, labels, numbers = (
        perceived[name] for name in ("boxes", "scores", "labels", "numbers")
    )
    torch.testing.assert_close(
        embed(boxes, scores, 1000 * labels, numbers),
        embed(boxes, scores, labels, numbers),
        atol=1e-3,
        rtol=0,
    )
