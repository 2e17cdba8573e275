# SPDX-License-Identifier: Apache-2.0
"""Operation and counts of the benchmarks, not their results."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mrmllm_ros.benchmarks import answer_benchmark as answer
from mrmllm_ros.benchmarks import enrich_benchmark as enrich
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError, Fusion, Options
from mrmllm_ros.benchmarks.llama_cpp import LlamaCpp
from mrmllm_ros.engine.engine_settings import Settings


@pytest.fixture(scope="module")
def options():
    [folder] = importlib.util.find_spec("ultralytics").submodule_search_locations
    image = Path(folder) / "assets" / "bus.jpg"
    return Options(image=image, rounds=1, progress=lambda line: None)


def test_answers_are_measured_against_plain_generation(options):
    figures = answer.run(options, objects=2, camera_hz=5.0)
    assert figures["objects"] == 2
    assert set(figures["prefill"]) == {"plain", "int8"}
    variants = {"plain", "float warm", "float cold", "int8 warm", "int8 cold"}
    for situation in ("alone", "beside_camera"):
        measured = figures[situation]["answers"]
        assert set(measured) == variants
        for figure in measured.values():
            assert 0 < figure["time_to_first_token_ms"] < figure["latency_ms"]
            assert figure["tokens"] > 2
        ratios = figures[situation]["ratio_to_plain"]["int8 warm"]
        plain, warm = (measured[kind]["tokens_per_s"] for kind in ("plain", "int8 warm"))
        assert ratios["tokens_per_s"] == pytest.approx(warm / plain, rel=0.01)
    assert set(figures["ratio_to_alone"]) == variants
    memory = figures["memory_mib"]
    assert memory["fusion_weights"] > memory["plain_weights"] > 500
    assert memory["prefilled_frame"] > 0


def test_without_llama_cpp_a_gguf_file_is_an_error_with_the_fix(options, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(BenchmarkError, match="pip install llama-cpp-python"):
        LlamaCpp(tmp_path / "model.gguf", 64, 1)


@pytest.fixture(scope="module")
def untrained(options):
    """Options with every mechanism on."""
    return replace(options, settings=Settings.from_parameters({"mrmllm.checkpoint": ""}))


def test_the_fusion_pass_is_measured_by_number_of_objects(untrained):
    figures = enrich.run(untrained, counts=(0, 2))
    assert not figures["trained"]
    none, two = figures["0 objects"], figures["2 objects"]
    assert two["tokens"] > none["tokens"] > 0
    assert two["ratio"] == pytest.approx(
        two["enrich_ms"]["median"] / two["plain_forward_ms"]["median"], rel=0.01
    )


def test_a_frame_with_too_few_objects_is_an_error(untrained):
    with pytest.raises(BenchmarkError, match="--image"):
        enrich.run(untrained, counts=(301,))


def test_a_checkpoint_whose_head_does_not_use_the_language_model_is_an_error(
    untrained, monkeypatch
):
    load = Fusion.load

    def not_reading(options):
        fusion = load(options)
        fusion.answerer.model.config.head_uses_language_model = False
        return fusion

    monkeypatch.setattr(Fusion, "load", not_reading)
    with pytest.raises(BenchmarkError, match="does not use the language model"):
        enrich.run(untrained, counts=(1,))
