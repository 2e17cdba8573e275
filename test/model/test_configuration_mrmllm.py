# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest
from huggingface_hub.errors import StrictDataclassError

from mrmllm_ros.model.configuration_mrmllm import COLORS, MrMllmConfig

SIZES = {
    "language_model": "lm",
    "text_hidden_size": 16,
    "embedding_scale": 0.5,
    "visual_encoder": "eye",
    "vision_hidden_size": 12,
    "perception_hidden_size": 10,
}
PROMPT_ONLY = {
    "prefix_tokens": False,
    "perception_outputs": [],
    "query_fusion": False,
}
# Not those of every `PretrainedConfig`.
OWN_FIELDS = [name for name in MrMllmConfig.__annotations__ if name != "has_no_defaults_at_init"]


def configure(**changes):
    return MrMllmConfig(**{**SIZES, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text_hidden_size", 0),
        ("text_hidden_size", -16),
        ("embedding_scale", 0.0),
        ("perception_outputs", ["score", "color"]),
        ("embedding_scale", -0.5),
        ("embedding_scale", float("nan")),
        ("vision_hidden_size", 0),
        ("perception_hidden_size", 0),
        ("hidden_size", 0),
        ("num_attention_heads", 0),
        ("num_attention_heads", 7),
        ("num_hidden_layers", -1),
        ("scene_queries", -1),
        ("max_objects", 0),
        ("box_frequencies", 0),
        ("lora_rank", -1),
        ("lora_alpha", 0),
        ("attributes", {"color": ["red"]}),
        ("attributes", {"color": ["red", "blue"], "state": []}),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_fields_name(name, value):
    with pytest.raises(StrictDataclassError, match=f"ValueError: {name}: "):
        configure(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language_model", None),
        ("language_model_revision", 1),
        ("text_hidden_size", "16"),
        ("vision_hidden_size", 4.0),
        ("embedding_scale", "0.5"),
        ("visual_encoder", None),
        ("max_objects", True),
        ("query_fusion", 1),
        ("perception_prompt", "yes"),
        ("attributes", ["red", "blue"]),
        ("attributes", {"color": "red"}),
        ("attributes", {"color": [1, 2]}),
        ("lora_rank", None),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_fields_name(name, value):
    with pytest.raises(StrictDataclassError, match=f"'{name}'"):
        configure(**{name: value})


@pytest.mark.parametrize("name", SIZES)
def test_what_only_backbones_can_say_has_no_default(name):
    others = {key: value for key, value in SIZES.items() if key != name}
    with pytest.raises(TypeError, match=f"'{name}'"):
        MrMllmConfig(**others)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 0},
        {"scene_queries": 0, "query_fusion": False},
        {"lora_rank": 0},
        {"max_objects": 1},
        {"attributes": {}},
        {"attributes": {"color": ["red", "blue"]}},
    ],
)
def test_the_least_and_the_most_that_are_allowed_are_taken(changes):
    config = configure(**changes)
    assert {name: getattr(config, name) for name in changes} == changes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "language_model_revision": "a1",
            "visual_encoder_revision": "b2",
            "detector": "nanodet-g",
            "detector_revision": "c3",
            "region_names": 9,
            "hidden_size": 64,
            "num_hidden_layers": 0,
            "num_attention_heads": 4,
            "scene_queries": 3,
            "max_objects": 7,
            "box_frequencies": 5,
            "query_fusion": False,
            "prefix_tokens": False,
            "perception_prompt": False,
            "doubtful_objects": True,
            "perception_outputs": ["novelty", "label"],
            "head_uses_language_model": False,
            "prompt_examples": True,
            "attributes": {"state": ["open", "closed"], "größe": ["klein", "groß"]},
            "lora_rank": 3,
            "lora_alpha": 5,
        },
    ],
)
def test_saving_and_loading_gives_the_same_fields(changes, tmp_path):
    config = configure(**changes)
    config.save_pretrained(tmp_path)
    loaded = MrMllmConfig.from_pretrained(tmp_path)
    assert {name: getattr(loaded, name) for name in OWN_FIELDS} == {
        name: getattr(config, name) for name in OWN_FIELDS
    }
    # A field that the second case leaves at its default could get lost unnoticed.
    defaults = {field.name: field.default for field in dataclasses.fields(MrMllmConfig)}
    assert not changes or all(getattr(loaded, name) != defaults[name] for name in OWN_FIELDS)


def test_a_saved_value_out_of_range_is_refused(tmp_path):
    configure().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_objects": 0}))
    with pytest.raises(StrictDataclassError, match="ValueError: max_objects: 0"):
        MrMllmConfig.from_pretrained(tmp_path)


def test_colors_are_the_attribute_that_is_known_by_default():
    assert configure().attributes == {"color": list(COLORS)}
    assert len(set(COLORS)) == len(COLORS) > 10


def test_the_default_attributes_of_one_configuration_are_not_those_of_another():
    one, other = configure(), configure()
    one.attributes["color"].append("beige")
    one.attributes["state"] = ["open", "closed"]
    assert other.attributes == {"color": list(COLORS)}


USERS_OF_QUERIES = (
    {"prefix_tokens": True},
    {"perception_outputs": ["novelty"]},
)


@pytest.mark.parametrize("on", [{}, *USERS_OF_QUERIES])
def test_there_are_queries_where_anything_uses_them(on):
    assert configure(**{**PROMPT_ONLY, **on}).has_queries == bool(on)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, True),
        ({"detector": "nanodet-g"}, True),
        # Without fusion the image serves only where features are pooled from it.
        ({"query_fusion": False}, True),
        ({"query_fusion": False, "detector": "nanodet-g"}, False),
        (PROMPT_ONLY, False),
        ({**PROMPT_ONLY, "query_fusion": True}, False),
        ({**PROMPT_ONLY, "detector": "nanodet-g"}, False),
    ],
)
def test_the_image_is_needed_for_the_fusion_and_for_pooled_features(changes, needed):
    assert configure(**changes).needs_image == needed


@pytest.mark.parametrize("on", USERS_OF_QUERIES)
def test_queries_need_a_width_of_their_features(on):
    with pytest.raises(StrictDataclassError, match="perception_hidden_size"):
        configure(**{**PROMPT_ONLY, **on, "perception_hidden_size": 0})


def test_the_prompt_alone_needs_neither_visual_encoder_nor_features():
    config = configure(
        **PROMPT_ONLY, visual_encoder="", vision_hidden_size=0, perception_hidden_size=0
    )
    assert not config.needs_image
    assert (config.vision_hidden_size, config.perception_hidden_size) == (0, 0)


def test_without_fusion_a_detector_with_features_needs_no_visual_encoder():
    config = configure(
        query_fusion=False, detector="nanodet-g", visual_encoder="", vision_hidden_size=0
    )
    assert config.has_queries
    assert not config.needs_image
