# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math
import subprocess
import sys
from collections import ChainMap
from contextlib import contextmanager

import pytest
import torch
from making import (
    PERCEPTION_WIDTH,
    detector_stub,
    make_frames,
    make_image,
    make_perception,
    tiny_cohere,
    tiny_gemma2,
    tiny_granite,
    tiny_llama,
)
from safetensors.torch import load_file, save_file
from torch.nn.utils.rnn import pad_sequence

from mrmllm_ros.model.adapters import merge_adapters
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import CheckpointError
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.model_settings import LanguageModelSettings
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor, TextBatch
from mrmllm_ros.model.prompt import PromptSettings

QUESTIONS = ("How many people are there?", "Is there a dog?", "What is left of the bus?")
# What leaves each mechanism out.
OFF = (
    {"query_fusion": False},
    {"prefix_tokens": False},
    {"perception_prompt": False},
    {"perception_outputs": []},
)


def process(model, backbones, *counts, image_seed=0, **settings):
    """Frames with so many objects, and the system prompt's tokens."""
    processor = MrMllmProcessor(model.config, backbones, PromptSettings(**settings))
    perceptions = [make_perception(count, seed) for seed, count in enumerate(counts)]
    images = [make_image(image_seed + i) for i in range(len(counts))]
    return make_frames(processor, images, perceptions), processor.chat.system_prompt_ids


def ask(processor_chat, questions):
    """One question about each frame."""
    return ask_all(processor_chat, [[question] for question in questions])


def ask_all(processor_chat, questions):
    """Several questions about each frame."""
    rows = [[processor_chat.question_ids(question) for question in each] for each in questions]
    owners = [
        torch.repeat_interleave(torch.arange(len(row)), torch.tensor([len(ids) for ids in row]))
        for row in rows
    ]
    return TextBatch(
        pad_sequence([torch.cat(row) for row in rows], batch_first=True),
        pad_sequence(owners, batch_first=True, padding_value=-1),
    )


def forward(model, backbones, counts, questions, **settings):
    frames, system_prompt = process(model, backbones, *counts, **settings)
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    return model(frames, system_prompt, ask(processor.chat, questions))


def test_without_query_tokens_the_logits_are_those_of_the_language_model(backbones, make_model):
    model = make_model(backbones, opened=False, prefix_tokens=False)
    frames, system_prompt = process(model, backbones, 5)
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    texts = ask(processor.chat, QUESTIONS[:1])
    with torch.inference_mode():
        ours = model(frames, system_prompt, texts).logits
        whole = torch.cat([system_prompt, frames.prompts.ids[0], texts.ids[0]])[None]
        untouched = (
            LanguageModel.load(LanguageModelSettings(quantization="none"), _on_cpu())
            .model(whole)
            .logits[:, -texts.ids.shape[1] :]
        )
    assert (ours - untouched).abs().max() < 1e-4
    model = make_model(backbones)
    with torch.inference_mode():
        assert (model(frames, system_prompt, texts).logits - untouched).abs().max() > 1e-2


def test_a_prefill_in_steps_gives_the_same(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones)
    frames, system_prompt_ids = process(model, backbones, 12, 7)
    steps = []

    @contextmanager
    def step(name):
        steps.append(name)
        yield

    with torch.inference_mode():
        system_prompt = model.prefill_system_prompt(system_prompt_ids)
        whole = model.prefill(frames, system_prompt)
        cut = model.prefill(frames, system_prompt, step)
    tokens = whole.attention_mask.shape[1] - len(system_prompt_ids)
    assert steps == ["prefill"] * math.ceil(tokens / 32)
    assert len(steps) > 1
    present = whole.attention_mask.bool()
    for layer, other in zip(whole.past_key_values.layers, cut.past_key_values.layers, strict=True):
        for name in ("keys", "values"):
            expected, given = (getattr(each, name).transpose(1, 2) for each in (layer, other))
            torch.testing.assert_close(given[present], expected[present], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        cut.objects.hidden_states[:, 0], whole.objects.hidden_states[:, 0], atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("family", [tiny_llama, tiny_gemma2, tiny_granite, tiny_cohere])
def test_logits_and_embeddings_are_scaled_as_the_family_does_it(
    family, tiny_backbones, make_model
):
    backbones = tiny_backbones(family)
    model = make_model(backbones, opened=False, prefix_tokens=False)
    frames, system_prompt = process(model, backbones, 3)
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    texts = ask(processor.chat, QUESTIONS[:1])
    untouched = backbones.language_model.model
    with torch.inference_mode():
        ours = model(frames, system_prompt, texts).logits
        whole = torch.cat([system_prompt, frames.prompts.ids[0], texts.ids[0]])[None]
        theirs = untouched(whole).logits[:, -texts.ids.shape[1] :]
        embeds = untouched.get_input_embeddings()(torch.arange(4096))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert model.config.embedding_scale == pytest.approx(float(embeds.square().mean().sqrt()))


def _on_cpu():
    from mrmllm_ros.compute import Compute, ComputeSettings

    return Compute.from_settings(ComputeSettings(device="cpu"))


@pytest.mark.parametrize("family", [tiny_llama, tiny_gemma2])
@pytest.mark.parametrize("off", [{}, *OFF])
def test_a_batch_gives_what_the_single_frames_give(off, family, tiny_backbones, make_model):
    backbones = tiny_backbones(family)
    model = make_model(backbones, **off)
    counts, questions = (4, 0, 1, 9), (*QUESTIONS, "")
    with torch.inference_mode():
        together = forward(model, backbones, counts, questions)
        frames, system_prompt = process(model, backbones, *counts)
        prefilled = model.prefill(frames, model.prefill_system_prompt(system_prompt))
        for i, (count, question) in enumerate(zip(counts, questions, strict=True)):
            alone = forward_one(model, backbones, i, count, question)
            length = alone.logits.shape[1]
            torch.testing.assert_close(
                together.logits[i : i + 1, :length], alone.logits, atol=2e-5, rtol=1e-4
            )
            if model.head is not None:
                for name in ("scores", "edge_shifts", "novelty"):
                    torch.testing.assert_close(
                        getattr(together.perception, name)[i : i + 1, :count],
                        getattr(alone.perception, name),
                        atol=2e-5,
                        rtol=1e-4,
                    )
                output = model.predict_objects(prefilled.objects, frames.objects)
                torch.testing.assert_close(
                    output.scores, together.perception.scores, atol=2e-5, rtol=1e-4
                )


def test_texts_about_a_frame_do_not_see_each_other(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones)
    frames, system_prompt = process(model, backbones, 3)
    chat = MrMllmProcessor(model.config, backbones, PromptSettings()).chat
    with torch.inference_mode():
        together = model(frames, system_prompt, ask_all(chat, [QUESTIONS])).logits[0]
        alone = [model(frames, system_prompt, ask(chat, [q])).logits[0] for q in QUESTIONS]
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=1e-4)


def test_only_the_logits_mask_logits_are_given(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones)
    frames, system_prompt = process(model, backbones, 3)
    texts = ask(MrMllmProcessor(model.config, backbones, PromptSettings()).chat, QUESTIONS[:1])
    logits_mask = torch.zeros_like(texts.ids, dtype=torch.bool)
    logits_mask[0, 2:4] = True
    with torch.inference_mode():
        some = model(frames, system_prompt, texts, logits_mask).logits
        every = model(frames, system_prompt, texts).logits
    torch.testing.assert_close(some, every[0, 2:4])


def test_without_texts_objects_are_perceived_and_nothing_is_read(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones)
    frames, system_prompt = process(model, backbones, 3)
    texts = ask(MrMllmProcessor(model.config, backbones, PromptSettings()).chat, QUESTIONS[:1])
    with torch.inference_mode():
        looked, read = model(frames, system_prompt, None), model(frames, system_prompt, texts)
    assert looked.logits is None
    assert looked.perception is None
    assert torch.equal(looked.without_language_model.scores, read.without_language_model.scores)
    assert not torch.equal(read.perception.scores, read.without_language_model.scores)


@pytest.mark.parametrize("off", ["query_fusion", "prefix_tokens"])
def test_a_mechanism_that_is_switched_off_for_a_while_is_left_out_and_comes_back(
    off, tiny_backbones, make_model
):
    backbones = tiny_backbones()
    model = make_model(backbones)
    with torch.inference_mode():
        before = forward(model, backbones, (3,), QUESTIONS[:1]).logits
        with model.without(off):
            without = forward(model, backbones, (3,), QUESTIONS[:1]).logits
        after = forward(model, backbones, (3,), QUESTIONS[:1]).logits
    assert torch.equal(before, after)
    assert not torch.equal(before, without)


def test_scenes_without_an_image_are_read_beside_those_with_one(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones)
    for no_image_embedding in (
        model.object_queries.no_image_embedding,
        model.fusion.no_image_embedding,
    ):
        torch.nn.init.normal_(no_image_embedding)
    frames, system_prompt = process(model, backbones, 3, 3)
    frames = dataclasses.replace(frames, has_image=torch.tensor([True, False]))
    other = dataclasses.replace(frames, pixel_values=frames.pixel_values.flip(0))
    with torch.inference_mode():
        one, two = (
            model(frames, system_prompt, None).without_language_model,
            model(other, system_prompt, None).without_language_model,
        )
    assert torch.equal(one.scores[1], two.scores[1])
    assert not torch.equal(one.scores[0], two.scores[0])


def forward_one(model, backbones, i, count, question):
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    frames = make_frames(processor, [make_image(i)], [make_perception(count, i)])
    return model(frames, processor.chat.system_prompt_ids, ask(processor.chat, [question]))


@pytest.fixture
def lengths(tiny_backbones, make_model):
    """Function that counts what is read of a frame with three objects, by switches."""

    def read(**switches):
        backbones = tiny_backbones()
        model = make_model(backbones, **switches)
        frames, system_prompt = process(model, backbones, 3)
        with torch.inference_mode():
            prefilled = model.prefill(frames, model.prefill_system_prompt(system_prompt))
        read_length = prefilled.attention_mask.shape[1] - len(system_prompt)
        return model, frames, prefilled, read_length

    return read


def test_the_frame_is_read_as_text_then_scene_queries_then_object_queries(lengths):
    model, frames, prefilled, length = lengths()
    assert length == frames.prompts.ids.shape[1] + model.config.scene_queries + 3
    assert prefilled.past_key_values.get_seq_length() == prefilled.attention_mask.shape[1]
    assert prefilled.objects.tokens.shape == (1, 3, model.config.text_hidden_size)


def test_without_query_fusion_there_are_no_scene_queries_and_no_image(lengths):
    model, frames, _, length = lengths(query_fusion=False)
    assert length == frames.prompts.ids.shape[1] + 3
    assert frames.pixel_values is None
    assert not [name for name in model.trained_state() if name.startswith("fusion.")]


def test_without_prefix_tokens_only_the_text_is_read(lengths):
    model, frames, prefilled, length = lengths(prefix_tokens=False)
    assert length == frames.prompts.ids.shape[1]
    assert prefilled.objects.tokens.shape == (1, 3, model.config.text_hidden_size)
    assert prefilled.objects.hidden_states is None


def test_without_the_prompt_only_the_query_tokens_are_read(lengths):
    model, frames, _, length = lengths(perception_prompt=False)
    assert frames.prompts.ids.shape[1] == 0
    assert length == model.config.scene_queries + 3
    # Which objects there are, and by which numbers, the tokens tell.
    assert frames.prompts.citable == ({1, 2},)


def test_without_the_head_nothing_is_said_of_objects_and_the_tokens_stay(lengths):
    model, frames, prefilled, length = lengths(perception_outputs=[])
    assert prefilled.objects is None
    assert length == frames.prompts.ids.shape[1] + model.config.scene_queries + 3
    assert not [name for name in model.trained_state() if name.startswith("head.")]


def test_with_every_mechanism_off_nothing_is_trained_and_nothing_read(lengths):
    model, _, prefilled, length = lengths(**dict(ChainMap(*OFF)))
    assert length == 0
    assert model.trained_state() == {}
    assert prefilled.objects is None


@pytest.mark.parametrize(
    ("off", "image_matters", "features_matter"),
    [({}, True, True), ({"query_fusion": False}, False, True)],
)
def test_the_image_and_the_features_reach_language_and_perception(
    off, image_matters, features_matter, tiny_backbones, make_model
):
    backbones = tiny_backbones()
    model = make_model(backbones, **off)
    frames, system_prompt = process(model, backbones, 3)
    other_image, _ = process(model, backbones, 3, image_seed=7)
    other_features = dataclasses.replace(
        frames, objects=dataclasses.replace(frames.objects, features=-frames.objects.features)
    )
    texts = ask(MrMllmProcessor(model.config, backbones, PromptSettings()).chat, QUESTIONS[:1])
    with torch.inference_mode():
        first, image, features = (
            model(batch, system_prompt, texts) for batch in (frames, other_image, other_features)
        )
    for other, matters in ((image, image_matters), (features, features_matter)):
        assert torch.equal(first.logits, other.logits) != matters
        assert torch.equal(first.perception.scores, other.perception.scores) != matters


def test_features_are_pooled_from_the_image_where_the_detector_gives_none(
    tiny_backbones, make_model
):
    backbones = tiny_backbones(width=0)
    model = make_model(backbones)
    assert model.config.detector == ""
    assert model.config.perception_hidden_size == backbones.visual_encoder.width
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    frames = make_frames(processor, [make_image()], [make_perception(3, width=0)])
    with torch.inference_mode():
        prefilled = model.prefill(
            frames, model.prefill_system_prompt(processor.chat.system_prompt_ids)
        )
    assert prefilled.objects.hidden_states.isfinite().all()


def losses(model, backbones):
    output = forward(model, backbones, (4, 2), QUESTIONS[:2])
    language = output.logits.logsumexp(-1).mean()
    perception = output.perception
    outputs = (
        perception.scores.sum()
        + perception.edge_shifts.square().sum()
        + perception.label_logits.softmax(-1)[..., 0].sum()
        + perception.attribute_logits["color"].square().sum()
        + perception.novelty.sum()
    )
    return {"language": language, "perception": outputs}


def reached(model, loss):
    """First names of the parts whose every weight gets a gradient, and those that get none."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    full, none = {}, {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            part = "lora" if "lora" in name else name.split(".")[0]
            # What stands for an image has no say where there is one.
            part = "no_image" if name.endswith("no_image_embedding") else part
            got = weight.grad is not None and bool(weight.grad.abs().sum() > 0)
            full[part] = full.get(part, True) and got
            none[part] = none.get(part, True) and not got
    return {k for k, v in full.items() if v}, {k for k, v in none.items() if v}


def test_each_loss_reaches_every_part_that_it_should_and_no_frozen_one(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones, lora_rank=4)
    found = {name: reached(model, loss) for name, loss in losses(model, backbones).items()}
    joined = {"object_queries", "query_tokens", "fusion"}
    full, none = found["language"]
    assert full >= joined
    assert none == {"head", "no_image"}
    full, none = found["perception"]
    assert full >= {*joined, "head"}
    assert none == {"no_image"}
    for frozen in (backbones.visual_encoder, backbones.language_model.model):
        for name, weight in frozen.named_parameters():
            assert weight.requires_grad == ("lora" in name)
            assert "lora" in name or weight.grad is None


def test_lora_gets_a_gradient_from_both_losses(tiny_backbones, make_model):
    backbones = tiny_backbones()
    model = make_model(backbones, lora_rank=4)
    for loss in losses(model, backbones).values():
        _, none = reached(model, loss)
        assert "lora" not in none


def test_merged_adapters_give_the_same(tiny_backbones, make_model, tmp_path):
    backbones = tiny_backbones()
    model = make_model(backbones, lora_rank=4)
    merged = tiny_backbones()
    merge_adapters(merged.language_model.model, model.config, model.trained_state())
    merged.language_model.has_adapters = True
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        before = forward(model, backbones, (3,), QUESTIONS[:1]).logits
        loaded = MrMllm.from_pretrained(tmp_path, merged)
        after = forward(loaded, merged, (3,), QUESTIONS[:1]).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_holds_trained_weights_only(tiny_backbones, make_model, tmp_path):
    model = make_model(tiny_backbones(), lora_rank=4)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert set(stored) == set(model.trained_state())
    assert any("lora" in name for name in stored)
    assert not any(name.startswith("visual_encoder") for name in stored)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["language_model"] == "tiny"
    assert config["visual_encoder"] == "efficientnet-lite0"
    assert config["visual_encoder_revision"] == model.visual_encoder.revision != ""


def test_saving_and_loading_gives_the_same_bit_for_bit(tiny_backbones, make_model, tmp_path):
    model = make_model(tiny_backbones(), lora_rank=4)
    model.save_pretrained(tmp_path)
    loaded = MrMllm.from_pretrained(tmp_path, tiny_backbones())
    outputs = []
    for each in (model, loaded):
        with torch.inference_mode():
            outputs.append(forward(each, tiny_backbones(), (3, 1), QUESTIONS[:2]))
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert torch.equal(outputs[0].perception.scores, outputs[1].perception.scores)


FRESH = """
import sys
import torch

sys.path.insert(0, "test")
from making import detector_stub, make_frames, make_image, make_perception, open_up
from mrmllm_ros.compute import Compute, ComputeSettings
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.model_settings import LanguageModelSettings
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.model.visual_encoder import VisualEncoder
from mrmllm_ros.model.model_settings import VisualEncoderSettings

step, checkpoint, result = sys.argv[1:]
# How a sum is split among threads may depend on what else the machine does.
compute = Compute.from_settings(ComputeSettings(device="cpu", threads=1))
backbones = Backbones(
    LanguageModel.load(LanguageModelSettings(), compute),
    detector_stub(),
    VisualEncoder.load(VisualEncoderSettings(), compute),
)
if step == "save":
    model = MrMllm(MrMllm.configure(backbones), backbones)
    open_up(model)
    model.save_pretrained(checkpoint)
else:
    model = MrMllm.from_pretrained(checkpoint, backbones)
processor = MrMllmProcessor(model.config, backbones, PromptSettings())
frames = make_frames(processor, [make_image()], [make_perception(3)])
with torch.inference_mode():
    system_prompt = model.prefill_system_prompt(processor.chat.system_prompt_ids)
    prefilled = model.prefill(frames, system_prompt)
torch.save(prefilled.objects.hidden_states.clone(), result)
"""


def test_a_fresh_process_reads_a_frame_alike_bit_for_bit(tmp_path, pytestconfig):
    states = []
    for step in ("save", "load"):
        result = tmp_path / f"{step}.pt"
        subprocess.run(
            [sys.executable, "-c", FRESH, step, str(tmp_path / "checkpoint"), str(result)],
            check=True,
            cwd=pytestconfig.rootpath,
            timeout=250,
        )
        states.append(torch.load(result))
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"language_model": "other-lm"}, ("'other-lm'", "'tiny'")),
        ({"language_model_revision": "9"}, ("revision 9", "revision 1")),
        ({"visual_encoder": "other-encoder"}, ("'other-encoder'", "'efficientnet-lite0'")),
        ({"detector": "other-detector"}, ("'other-detector'", "'stub'")),
    ],
)
def test_a_checkpoint_for_another_backbone_is_refused_with_both_names(
    change, named, tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones()).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError) as error:
        MrMllm.from_pretrained(tmp_path, tiny_backbones())
    assert all(name in str(error.value) for name in named)
    assert str(tmp_path) in str(error.value)


def test_a_checkpoint_without_features_goes_with_any_detector(
    tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones(width=0)).save_pretrained(tmp_path)
    others = dataclasses.replace(tiny_backbones(), detector=detector_stub(PERCEPTION_WIDTH))
    assert MrMllm.from_pretrained(tmp_path, others).config.detector == ""


def test_a_backbone_that_is_needed_and_not_loaded_is_named(tiny_backbones, make_model):
    backbones = tiny_backbones()
    config = make_model(backbones).config
    with pytest.raises(CheckpointError, match="visual encoder 'efficientnet-lite0'"):
        MrMllm(config, Backbones(backbones.language_model, backbones.detector))


@pytest.mark.parametrize("damage", ["missing", "cut", "lacking", "foreign", "misshapen"])
def test_a_damaged_checkpoint_is_named(damage, tiny_backbones, make_model, tmp_path):
    make_model(tiny_backbones()).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "lacking":
        weights.pop("query_tokens.scale")
        save_file(weights, file)
    elif damage == "misshapen":
        save_file(weights | {"head.trust": torch.zeros(2)}, file)
    else:
        save_file(weights | {"more": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        MrMllm.from_pretrained(tmp_path, tiny_backbones())


def test_training_goes_on_from_a_checkpoint_and_names_what_it_lacks(
    tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones(), perception_outputs=[]).save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    model = make_model(tiny_backbones(), opened=False)
    head = model.head.trunk[1].weight.clone()
    missing = model.start_from(tmp_path)
    assert {name.split(".")[0] for name in missing} == {"head"}
    torch.testing.assert_close(model.head.trunk[1].weight, head)
    state = model.trained_state()
    assert all(torch.equal(state[name], weight) for name, weight in saved.items())


def test_training_goes_on_without_what_a_smaller_head_does_not_say(
    tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones()).save_pretrained(tmp_path)
    for outputs in (["novelty"], []):
        model = make_model(tiny_backbones(), perception_outputs=outputs)
        assert model.start_from(tmp_path) == ()


@pytest.mark.parametrize(
    ("choices", "differs"),
    [
        ({"hidden_size": 64}, "fusion"),
        ({"query_fusion": False}, "fusion"),
        ({"lora_alpha": 8}, "lora_alpha"),
    ],
)
def test_training_does_not_go_on_from_a_checkpoint_of_another_model(
    choices, differs, tiny_backbones, make_model, tmp_path
):
    adapters = {"lora_rank": 2, "lora_alpha": 4}
    make_model(tiny_backbones(), **adapters).save_pretrained(tmp_path)
    message = rf"is for another model; it differs in \['{differs}"
    with pytest.raises(CheckpointError, match=message):
        make_model(tiny_backbones(), **adapters | choices).start_from(tmp_path)


def test_a_checkpoint_that_is_nowhere_is_named(tiny_backbones):
    with pytest.raises(CheckpointError, match="/nowhere/checkpoint"):
        MrMllm.from_pretrained("/nowhere/checkpoint", tiny_backbones())


@pytest.mark.parametrize("family", [tiny_llama, tiny_gemma2])
def test_sizes_come_from_the_backbones(family, tiny_backbones, make_model):
    backbones = tiny_backbones(family)
    config = make_model(backbones).config
    text = backbones.language_model.model.config
    assert config.text_hidden_size == text.hidden_size
    assert config.vision_hidden_size == backbones.visual_encoder.width
    assert config.perception_hidden_size == PERCEPTION_WIDTH


@pytest.mark.parametrize("width", [0, PERCEPTION_WIDTH + 1])
def test_a_detector_of_the_same_name_with_other_features_is_refused(
    width, tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones()).save_pretrained(tmp_path)
    others = dataclasses.replace(tiny_backbones(), detector=detector_stub(width))
    with pytest.raises(CheckpointError, match=r"of size 24.*gives (none|25).*detector\.model"):
        MrMllm.from_pretrained(tmp_path, others)
