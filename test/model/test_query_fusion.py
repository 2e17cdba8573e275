# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mrmllm_ros.model.box_embedding import BoxEmbedding
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.query_fusion import ObjectQueries, SharedQueryFusion, with_scene_queries

WIDTH, VISUAL_WIDTH, PERCEPTION_WIDTH, SCENE_QUERIES = 32, 12, 10, 3
GRID = (4, 5)


def configure(**changes):
    sizes = {
        "language_model": "lm",
        "text_hidden_size": 16,
        "embedding_scale": 0.5,
        "visual_encoder": "eye",
        "vision_hidden_size": VISUAL_WIDTH,
        "perception_hidden_size": PERCEPTION_WIDTH,
        "hidden_size": WIDTH,
        "num_attention_heads": 4,
        "scene_queries": SCENE_QUERIES,
    }
    return MrMllmConfig(**{**sizes, **changes})


def make_parts(**changes):
    torch.manual_seed(0)
    config = configure(**changes)
    boxes = BoxEmbedding(config.box_frequencies, config.hidden_size)
    fusion = SharedQueryFusion(config, boxes).eval().requires_grad_(False)
    torch.nn.init.normal_(fusion.scene)
    return ObjectQueries(config, boxes).requires_grad_(False), fusion


@pytest.fixture
def parts():
    """Object queries and fusion at random."""
    return make_parts()


@pytest.fixture
def scene():
    """Features and boxes of five objects in each of two images, and the images' tokens."""
    torch.manual_seed(1)
    return (
        torch.randn(2, 5, PERCEPTION_WIDTH),
        torch.rand(2, 5, 4),
        torch.randn(2, GRID[0] * GRID[1], VISUAL_WIDTH),
    )


def fuse(parts, features, boxes, visual, mask=None, grid=GRID):
    object_queries, fusion = parts
    queries = object_queries(features, boxes)
    mask = torch.ones(boxes.shape[:2], dtype=torch.bool) if mask is None else mask
    return fusion(queries, mask, visual, grid)


def change_of(one, other):
    """How far each query is from what it was: (B, S + K)."""
    return (one - other).norm(dim=-1)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_there_is_a_vector_for_each_scene_query_and_each_object(count, parts, scene):
    features, boxes, visual = scene
    shared = fuse(parts, features[:, :count], boxes[:, :count], visual)
    assert shared.shape == (2, SCENE_QUERIES + count, WIDTH)
    assert shared.isfinite().all()


def test_it_may_have_no_layers(scene):
    assert fuse(make_parts(num_hidden_layers=0), *scene).shape == (2, SCENE_QUERIES + 5, WIDTH)


def test_padding_objects_change_nothing_for_the_others(parts, scene):
    features, boxes, visual = scene
    counts = (5, 2)
    mask = torch.arange(5) < torch.tensor(counts)[:, None]
    together = fuse(parts, features, boxes, visual, mask)
    for i, count in enumerate(counts):
        one = slice(i, i + 1)
        alone = fuse(parts, features[one, :count], boxes[one, :count], visual[one])
        torch.testing.assert_close(
            together[one, : SCENE_QUERIES + count], alone, atol=1e-5, rtol=1e-5
        )
    # The mask is what keeps them out.
    unmasked = fuse(parts, features, boxes, visual)
    assert change_of(unmasked, together)[1, : SCENE_QUERIES + 2].min() > 1e-3


def test_an_image_without_objects_beside_one_with_some_is_read_as_if_alone(parts, scene):
    features, boxes, visual = scene
    mask = torch.tensor([[True] * 5, [False] * 5])
    together = fuse(parts, features, boxes, visual, mask)
    alone = fuse(parts, features[1:, :0], boxes[1:, :0], visual[1:])
    torch.testing.assert_close(together[1:, :SCENE_QUERIES], alone, atol=1e-5, rtol=1e-5)
    assert together.isfinite().all()


def test_every_query_sees_the_image(parts, scene):
    features, boxes, visual = scene
    first = fuse(parts, features, boxes, visual)
    visual[0, 7] += torch.randn(VISUAL_WIDTH)
    changed = change_of(first, fuse(parts, features, boxes, visual))
    assert changed[0].min() > 1e-4
    assert changed[1].max() == 0


def test_every_query_sees_every_object(parts, scene):
    features, boxes, visual = scene
    first = fuse(parts, features, boxes, visual)
    features[0, 3] += torch.randn(PERCEPTION_WIDTH)
    changed = change_of(first, fuse(parts, features, boxes, visual))
    assert changed[0].min() > 1e-4
    assert changed[1].max() == 0


@pytest.mark.parametrize("which", range(4))
def test_every_number_of_a_box_matters(which, parts, scene):
    features, boxes, visual = scene
    first = fuse(parts, features, boxes, visual)
    boxes[0, 3, which] += 0.1
    assert change_of(first, fuse(parts, features, boxes, visual))[0].min() > 1e-4


def test_where_a_token_lies_in_the_grid_matters(parts, scene):
    features, boxes, visual = scene
    first = fuse(parts, features, boxes, visual)
    moved = visual.clone()
    moved[:, [0, 13]] = visual[:, [13, 0]]
    assert change_of(first, fuse(parts, features, boxes, moved)).min() > 1e-4
    # The same tokens in the same order, but another shape of the image.
    assert change_of(first, fuse(parts, features, boxes, visual, grid=GRID[::-1])).min() > 1e-4


def test_a_cell_is_where_an_object_of_its_box_would_be(parts):
    object_queries, fusion = parts
    assert object_queries.boxes is fusion.boxes


def test_the_order_of_the_objects_changes_nothing_but_the_order(parts, scene):
    features, boxes, visual = scene
    order = torch.tensor([3, 0, 4, 1, 2])
    first = fuse(parts, features, boxes, visual)
    shuffled = fuse(parts, features[:, order], boxes[:, order], visual)
    torch.testing.assert_close(
        shuffled[:, SCENE_QUERIES:], first[:, SCENE_QUERIES:][:, order], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        shuffled[:, :SCENE_QUERIES], first[:, :SCENE_QUERIES], atol=1e-5, rtol=1e-5
    )


def test_an_object_query_holds_features_and_box(scene):
    object_queries, _ = make_parts()
    features, boxes, _ = scene
    queries = object_queries(features, boxes)
    assert queries.shape == (2, 5, WIDTH)
    other = object_queries(-features, boxes)
    moved = object_queries(features, boxes.flip(-1))
    assert change_of(queries, other).min() > 1e-2
    assert change_of(queries, moved).min() > 1e-2


def test_the_scale_of_a_detectors_features_does_not_matter(scene):
    object_queries, _ = make_parts()
    features, boxes, _ = scene
    torch.testing.assert_close(
        object_queries(1000 * features, boxes), object_queries(features, boxes), atol=1e-3, rtol=0
    )


def test_scene_queries_differ_from_each_other_once_a_model_is_made(tiny_backbones, make_model):
    model = make_model(tiny_backbones(), opened=False)
    scene = model.fusion.scene
    assert torch.pdist(scene).min() > 0.1
    assert scene.std().item() == pytest.approx(0.02, rel=0.2)
    rows, columns = model.visual_encoder.grid
    visual = torch.randn(1, rows * columns, model.config.vision_hidden_size)
    nothing = torch.zeros(1, 0, model.config.hidden_size), torch.zeros(1, 0, dtype=torch.bool)
    with torch.inference_mode():
        [shared] = model.fusion(*nothing, visual, (rows, columns))
    assert torch.pdist(shared).min() > 0.1


def test_scene_queries_are_always_there():
    mask = torch.tensor([[True, False], [False, False]])
    assert with_scene_queries(mask, 2).tolist() == [
        [True, True, True, False],
        [True, True, False, False],
    ]
    assert with_scene_queries(mask, 0).tolist() == mask.tolist()
    assert with_scene_queries(mask[:, :0], 2).tolist() == [[True, True]] * 2


class TestRegionNames:
    NAMES = 7

    @pytest.fixture
    def object_queries(self):
        return make_parts(region_names=self.NAMES)[0]

    @pytest.fixture
    def names(self):
        return torch.rand(2, 5, self.NAMES).softmax(-1)

    def test_names_change_the_query_of_their_object_only(self, object_queries, scene, names):
        features, boxes, _ = scene
        other = names.clone()
        other[0, 2] = other[0, 2].roll(1)
        before = object_queries(features, boxes, names)
        after = object_queries(features, boxes, other)
        changed = (before != after).any(-1)
        assert changed.nonzero().tolist() == [[0, 2]]

    def test_an_object_without_a_name_has_the_query_of_a_model_without_names(
        self, object_queries, scene, names
    ):
        features, boxes, _ = scene
        names[1, 3] = 0
        queries = object_queries(features, boxes, names)
        without = object_queries(features, boxes)
        torch.testing.assert_close(queries[1, 3], without[1, 3])
        assert not torch.equal(queries[0], without[0])

    def test_a_model_without_names_ignores_them(self, parts, scene, names):
        features, boxes, _ = scene
        object_queries, _ = parts
        assert torch.equal(object_queries(features, boxes, names), object_queries(features, boxes))
