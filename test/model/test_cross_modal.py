# SPDX-License-Identifier: Apache-2.0
import threading
from types import SimpleNamespace

import pytest
import torch
from making import tiny_gemma2, tiny_llama
from torch import nn

from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.cross_modal import (
    GatedInjection,
    Injection,
    PerceptionEmbedding,
    QueryTokens,
    decoder_layers,
    hook_injections,
    injected,
)

WIDTH, LANGUAGE_WIDTH, SCENE_QUERIES, VOCABULARY = 32, 24, 3, 50


def configure(**changes):
    sizes = {
        "language_model": "lm",
        "language_width": LANGUAGE_WIDTH,
        "language_layers": 4,
        "embedding_scale": 0.3,
        "visual_encoder": "eye",
        "visual_width": 12,
        "perception_width": 10,
        "fusion_width": WIDTH,
        "fusion_heads": 4,
        "scene_queries": SCENE_QUERIES,
        "injection_layers": 2,
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


def make_injections(count, width=LANGUAGE_WIDTH, gate=0.5):
    torch.manual_seed(2)
    config = configure(language_width=width)
    injections = nn.ModuleList(GatedInjection(config) for _ in range(count))
    for injection in injections:
        nn.init.constant_(injection.gate, gate)
    return injections.requires_grad_(False)


@pytest.fixture
def injection():
    [injection] = make_injections(1)
    return injection


def inject(injection, hidden, tokens, mask=None):
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
    return injection(hidden, *injection.keys_values(tokens), mask)


def of_tokens(injections, width=LANGUAGE_WIDTH, batch=1, start=0, seed=3):
    """What six query tokens at random are to inject."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, 6, width, generator=generator)
    return Injection.of(injections, tokens, torch.ones(batch, 6, dtype=torch.bool), start)


class Layer(nn.Module):
    def __init__(self, as_tuple):
        super().__init__()
        self.as_tuple = as_tuple

    def forward(self, hidden):
        return (hidden + 1, "weights", None) if self.as_tuple else hidden + 1


class Decoder(nn.Module):
    """What the hooks know of a language model: its layers and how many there are."""

    def __init__(self, count=4, listed=4, as_tuple=False):
        super().__init__()
        text = SimpleNamespace(num_hidden_layers=count)
        self.config = SimpleNamespace(get_text_config=lambda: text)
        self.layers = nn.ModuleList(Layer(as_tuple) for _ in range(listed))

    def get_decoder(self):
        return self

    def forward(self, hidden):
        """Hidden states after each layer, and all that the last layer gave."""
        seen, output = [], None
        for layer in self.layers:
            output = layer(hidden)
            hidden = output[0] if isinstance(output, tuple) else output
            seen.append(hidden)
        return seen, output


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


def test_a_closed_gate_gives_exactly_what_came_in():
    [injection] = make_injections(1, gate=0.0)
    hidden, tokens = torch.randn(2, 5, LANGUAGE_WIDTH), torch.randn(2, 6, LANGUAGE_WIDTH)
    assert torch.equal(inject(injection, hidden, tokens), hidden)


def test_gates_start_closed():
    assert GatedInjection(configure()).gate.item() == 0


@pytest.mark.parametrize("gate", [0.01, -3.0])
def test_an_open_gate_changes_every_position(gate):
    [injection] = make_injections(1, gate=gate)
    hidden, tokens = torch.randn(2, 5, LANGUAGE_WIDTH), torch.randn(2, 6, LANGUAGE_WIDTH)
    changed = (inject(injection, hidden, tokens) - hidden).norm(dim=-1)
    assert (changed > 1e-4).all()


def test_what_is_added_depends_on_hidden_state_and_tokens(injection):
    hidden, tokens = torch.randn(1, 5, LANGUAGE_WIDTH), torch.randn(1, 6, LANGUAGE_WIDTH)
    added = inject(injection, hidden, tokens) - hidden
    assert torch.pdist(added[0]).min() > 1e-4
    for i in range(6):
        others = tokens.clone()
        others[0, i] *= -1
        assert not torch.allclose(inject(injection, hidden, others) - hidden, added, atol=1e-4)


def test_a_hidden_state_need_not_attend_to_the_only_token(injection):
    hidden, tokens = torch.randn(1, 5, LANGUAGE_WIDTH), torch.randn(1, 1, LANGUAGE_WIDTH)
    added = inject(injection, hidden, tokens) - hidden
    # If all attended to it alone, it would tell them all the same.
    assert torch.pdist(added[0]).min() > 1e-4


def test_masked_tokens_do_not_matter(injection):
    hidden, tokens = torch.randn(2, 5, LANGUAGE_WIDTH), torch.randn(2, 6, LANGUAGE_WIDTH)
    mask = torch.tensor([[True, True, False, True, False, True], [True] * 6])
    first = inject(injection, hidden, tokens, mask)
    without = inject(injection, hidden[:1], tokens[:1, mask[0]])
    torch.testing.assert_close(first[:1], without)
    tokens[0, ~mask[0]] += 100
    assert torch.equal(inject(injection, hidden, tokens, mask), first)
    assert not torch.allclose(inject(injection, hidden, tokens)[0], first[0], atol=1e-3)


@pytest.mark.parametrize("count", [0, 6])
def test_with_no_tokens_or_masked_ones_alone_nothing_is_added(count, injection):
    hidden, tokens = torch.randn(2, 5, LANGUAGE_WIDTH), torch.randn(2, count, LANGUAGE_WIDTH)
    mask = torch.zeros(2, count, dtype=torch.bool)
    assert torch.equal(inject(injection, hidden, tokens, mask), hidden)


def test_an_item_of_a_batch_gets_what_it_would_get_alone():
    injections = make_injections(2)
    tokens, hidden = torch.randn(3, 6, LANGUAGE_WIDTH), torch.randn(3, 5, LANGUAGE_WIDTH)
    mask = torch.rand(3, 6) > 0.4
    together = Injection.of(injections, tokens, mask, start=4)
    for i in range(3):
        one = slice(i, i + 1)
        item = together.of_item(i)
        alone = Injection.of(injections, tokens[one], mask[one], start=4)
        assert item.layers is injections
        assert item.start == 4
        for layer, got, expected in zip(
            injections, item.keys_values, alone.keys_values, strict=True
        ):
            torch.testing.assert_close(
                layer(hidden[one], *got, item.mask), layer(hidden[one], *expected, alone.mask)
            )


@pytest.mark.parametrize("as_tuple", [False, True])
def test_the_uppermost_layers_are_reached_whatever_else_they_give(as_tuple):
    decoder, injections = Decoder(as_tuple=as_tuple), make_injections(2)
    hook_injections(decoder, injections)
    hidden = torch.randn(1, 5, LANGUAGE_WIDTH)
    plain, _ = decoder(hidden)
    injection = of_tokens(injections)
    with injected(injection):
        seen, output = decoder(hidden)
    third, fourth = (
        lambda x, i=i: injections[i](x, *injection.keys_values[i], injection.mask)
        for i in range(2)
    )
    assert all(map(torch.equal, seen[:2], plain[:2]))
    assert torch.equal(seen[2], third(plain[2]))
    assert torch.equal(seen[3], fourth(seen[2] + 1))
    assert not torch.equal(seen[2], plain[2])
    if as_tuple:
        assert torch.equal(output[0], seen[3])
        assert output[1:] == ("weights", None)


@pytest.mark.parametrize("start", [0, 3, 5])
def test_positions_before_the_start_are_left_alone(start):
    decoder, injections = Decoder(), make_injections(4)
    hook_injections(decoder, injections)
    hidden = torch.randn(2, 5, LANGUAGE_WIDTH)
    plain = decoder(hidden)[0][-1]
    with injected(of_tokens(injections, batch=2, start=start)):
        seen = decoder(hidden)[0][-1]
    with injected(of_tokens(injections, batch=2)):
        everywhere = decoder(hidden)[0][-1]
    assert seen.shape == hidden.shape
    assert torch.equal(seen[:, :start], plain[:, :start])
    torch.testing.assert_close(seen[:, start:], everywhere[:, start:])
    assert not torch.isclose(everywhere, plain).all(-1).any()


def test_nothing_is_injected_outside_of_the_context_nor_after_an_error():
    decoder, injections = Decoder(), make_injections(2)
    hook_injections(decoder, injections)
    hidden = torch.randn(1, 5, LANGUAGE_WIDTH)
    plain = decoder(hidden)[0][-1]

    def fail():
        with injected(of_tokens(injections)):
            assert not torch.equal(decoder(hidden)[0][-1], plain)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(decoder(hidden)[0][-1], plain)
    with injected(None):
        assert torch.equal(decoder(hidden)[0][-1], plain)


def test_contexts_within_each_other_give_way_and_come_back():
    decoder, injections = Decoder(), make_injections(2)
    hook_injections(decoder, injections)
    hidden = torch.randn(1, 5, LANGUAGE_WIDTH)
    outer, inner = of_tokens(injections, seed=3), of_tokens(injections, seed=4)
    with injected(outer):
        first = decoder(hidden)[0][-1]
        with injected(inner):
            assert not torch.equal(decoder(hidden)[0][-1], first)
        assert torch.equal(decoder(hidden)[0][-1], first)


def test_each_thread_has_its_own_injection_and_one_without_has_none():
    decoder, injections = Decoder(), make_injections(2)
    hook_injections(decoder, injections)
    hidden = torch.randn(1, 5, LANGUAGE_WIDTH)
    given = [None, of_tokens(injections, seed=3), of_tokens(injections, seed=4)]
    expected = []
    for injection in given:
        with injected(injection):
            expected.append(decoder(hidden)[0][-1])
    assert not torch.equal(expected[1], expected[2])
    together, results = threading.Barrier(len(given)), [None] * len(given)

    def work(i):
        if i == 0:
            together.wait(20)
            results[i] = decoder(hidden)[0][-1]
            together.wait(20)
            return
        with injected(given[i]):
            together.wait(20)
            results[i] = decoder(hidden)[0][-1]
            together.wait(20)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(map(torch.equal, results, expected))


def test_another_models_injections_on_the_same_language_model_do_not_act():
    decoder = Decoder()
    one, other = make_injections(2), make_injections(3)
    hook_injections(decoder, one)
    hidden = torch.randn(1, 5, LANGUAGE_WIDTH)
    with injected(of_tokens(one)):
        expected = decoder(hidden)[0][-1]
    hook_injections(decoder, other)
    with injected(of_tokens(one)):
        assert torch.equal(decoder(hidden)[0][-1], expected)
    with injected(of_tokens(other)):
        assert not torch.equal(decoder(hidden)[0][-1], expected)


@pytest.mark.parametrize(("family", "count"), [(tiny_llama, 4), (tiny_gemma2, 2)])
def test_the_layers_of_different_families_are_found_and_reached(family, count):
    torch.manual_seed(0)
    model = family(VOCABULARY).eval().requires_grad_(False)
    width = model.config.hidden_size
    layers = decoder_layers(model)
    assert layers is model.model.layers
    assert len(layers) == count
    injections = make_injections(1, width - width % 8)
    hook_injections(model, injections)
    ids = torch.arange(7)[None]
    plain = model(ids, output_hidden_states=True)
    with injected(of_tokens(injections, width)):
        changed = model(ids, output_hidden_states=True)
    assert not torch.allclose(changed.logits, plain.logits, atol=1e-4)
    for i in range(count):
        assert torch.equal(changed.hidden_states[i], plain.hidden_states[i])


def test_a_model_without_a_list_of_its_layers_is_refused():
    with pytest.raises(ValueError, match=r"^Decoder has no list of 4 decoder layers$"):
        decoder_layers(Decoder(count=4, listed=3))
