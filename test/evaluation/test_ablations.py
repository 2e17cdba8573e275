# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from making import LABELS, detector_stub, make_image, make_perception

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.detection.detector import FixedVocabularyError
from mrmllm_ros.evaluation import ablations
from mrmllm_ros.evaluation.ablations import (
    ANSWER_VARIANTS,
    DETECTION_VARIANTS,
    DETECTOR_ALONE,
    EMBEDDINGS,
    FULL,
    LABEL_TABLES,
    NO_LANGUAGE_MODEL,
    NO_VISUAL_LABELS,
    STRING_MATCH,
    SWITCHES,
    UNTRAINED,
    VARIANTS,
    Ablation,
    EvaluatedModels,
)
from mrmllm_ros.evaluation.batched_inference import answer_questions
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.label_table import LabelTable
from mrmllm_ros.model.model_settings import MrMllmSettings
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.model.region_classifier import RegionClassifier
from mrmllm_ros.weights import WeightsError

QUESTIONS = ("Is there a dog?", "How many people are there?", "")


@pytest.fixture(scope="module")
def make_ablation(load_tiny, make_answerer, tmp_path_factory):
    """Function that makes the ablation of a model trained with some choices."""

    def make(**choices):
        folder = tmp_path_factory.mktemp("checkpoint")
        make_answerer(Backbones(load_tiny(), detector_stub()), **choices).model.save_pretrained(
            folder
        )
        return Ablation(
            EvaluatedModels(
                backbones=Backbones(load_tiny(), detector_stub()),
                trained=MrMllmSettings(str(folder)),
                prompt=PromptSettings(),
                load_language_model=load_tiny,
            )
        )

    return make


@pytest.fixture(scope="module")
def ablation(make_ablation):
    return make_ablation(lora_rank=2)


@pytest.fixture
def make_fusing(load_tiny):
    """Function that makes the ablation of a model without head, with label fusion."""

    def make():
        models = EvaluatedModels(
            backbones=Backbones(load_tiny(), detector_stub()),
            trained=MrMllmSettings(""),
            prompt=PromptSettings(),
            load_language_model=load_tiny,
            load_label_fusion=lambda backbones: LabelFusion(
                backbones.detector, FakeClassifier(), FakeKnowledge(), 16
            ),
        )
        return Ablation(models)

    return make


class FakeClassifier(RegionClassifier):
    """Calls every region a police dog."""

    names = ("police dog", "minibus")

    def classify(self, images, regions, step):
        return [np.tile(np.float32([1, 0]), (len(boxes), 1)) for boxes in regions]


class FakeKnowledge:
    """Every name means every label a little."""

    def table(self, labels):
        return LabelTable(tuple(labels), np.full((len(labels), 2), 0.125, np.float32))

    def missing(self, labels):
        return ()


def read(answerer):
    [encoded] = answerer.encode([make_image()], [make_perception(5)])
    return encoded


def scores_of(answerer):
    return read(answerer).enriched.fused.scores.tolist()


def texts_of(answerer):
    return answer_questions(answerer, read(answerer), QUESTIONS, 8)


def what_questions_start_from(answerer):
    """Number of tokens."""
    return read(answerer).prefilled().attention_mask.shape[1]


def test_every_variant_is_one_of_answers_or_of_detections():
    assert set(VARIANTS) == {*ANSWER_VARIANTS, *DETECTION_VARIANTS}
    assert ANSWER_VARIANTS[0] == DETECTION_VARIANTS[0] == FULL


def test_each_switch_makes_a_difference_and_is_on_again_afterwards(ablation):
    with ablation.answerer(FULL) as answerer:
        start, scores = what_questions_start_from(answerer), scores_of(answerer)
    for variant in ablation.variants(tuple(SWITCHES)):
        with ablation.answerer(variant) as answerer:
            if variant in ANSWER_VARIANTS:
                assert what_questions_start_from(answerer) != start, variant
            if variant in DETECTION_VARIANTS:
                assert scores_of(answerer) != scores, variant
    with ablation.answerer(FULL) as answerer:
        assert (what_questions_start_from(answerer), scores_of(answerer)) == (start, scores)


def test_the_untrained_language_model_is_as_it_was_before_training(ablation, load_tiny):
    with ablation.answerer(UNTRAINED) as answerer:
        texts, scores = texts_of(answerer), scores_of(answerer)
        assert answerer.state == "untrained"
        assert answerer.model.config.prompt_examples
    assert scores == make_perception(5).candidates.scores.tolist()
    backbones = Backbones(load_tiny(), detector_stub())
    assert texts == texts_of(MrMllmAnswerer.load(MrMllmSettings(""), PromptSettings(), backbones))


def test_mechanisms_that_were_not_trained_are_omitted(ablation, make_ablation):
    # Query fusion is off in all of these, so that no visual encoder is needed.
    assert ablation.variants(DETECTION_VARIANTS) == (
        *(FULL, DETECTOR_ALONE, NO_LANGUAGE_MODEL, "no perception prompt"),
    )
    assert NO_LANGUAGE_MODEL not in make_ablation(head_uses_language_model=False).variants(
        DETECTION_VARIANTS
    )
    without = make_ablation(prefix_tokens=False, perception_outputs=[], lora_rank=2)
    assert without.variants(DETECTION_VARIANTS) == (FULL, "no perception prompt")
    assert without.variants(ANSWER_VARIANTS) == (FULL, "no perception prompt", UNTRAINED)


@pytest.mark.parametrize(
    ("is_fetched", "tables"), [(True, list(LABEL_TABLES)), (False, [STRING_MATCH, EMBEDDINGS])]
)
def test_visual_labels_can_be_switched_off_and_have_other_tables(
    is_fetched, tables, make_fusing, monkeypatch
):
    def locate(name):
        if not is_fetched:
            raise WeightsError(name)

    monkeypatch.setattr(ablations, "locate", locate)
    ablation = make_fusing()
    assert ablation.variants(DETECTION_VARIANTS) == (
        *(FULL, DETECTOR_ALONE, "no perception prompt", NO_VISUAL_LABELS, *tables),
    )
    assert NO_VISUAL_LABELS in ablation.variants(ANSWER_VARIANTS)
    assert UNTRAINED not in ablation.variants(VARIANTS)


def test_without_visual_labels_the_detectors_stay(make_fusing):
    ablation = make_fusing()
    detected = make_perception(5).candidates.scores.tolist()
    with ablation.answerer(FULL) as answerer:
        assert answerer.label_fusion is ablation.label_fusion
        assert scores_of(answerer) != detected
    with ablation.answerer(NO_VISUAL_LABELS) as answerer:
        assert answerer.label_fusion is None
        assert scores_of(answerer) == detected
    for variant in ("no perception prompt", UNTRAINED):
        with ablation.answerer(variant) as answerer:
            assert answerer.label_fusion is ablation.label_fusion


@pytest.mark.parametrize("variant", [STRING_MATCH, EMBEDDINGS])
def test_another_table_is_used_in_its_variant_alone(variant, make_fusing):
    ablation = make_fusing()
    fusion = ablation.label_fusion
    own = fusion.table
    with ablation.answerer(variant) as answerer:
        assert answerer.label_fusion is fusion
        assert fusion.labels == LABELS
        assert fusion.table.values.shape == (len(LABELS), 2)
        dog = fusion.table.values[LABELS.index("dog")]
        assert dog[0] == fusion.table.values.max() > dog[1]
    assert fusion.table is own
    with pytest.raises(RuntimeError), ablation.answerer(variant):
        raise RuntimeError
    assert fusion.table is own


def test_an_unknown_variant_is_an_error(ablation):
    with pytest.raises(ValueError, match="no perception prompt"), ablation.answerer("none"):
        pass


def test_all_variants_choose_from_the_labels_that_are_set(make_fusing):
    ablation = make_fusing()
    ablation.set_vocabulary(["bus", "police dog"])
    for variant in (FULL, NO_VISUAL_LABELS, STRING_MATCH, UNTRAINED):
        with ablation.answerer(variant) as answerer:
            assert answerer.processor.vocabulary == ("bus", "police dog")
    assert ablation.label_fusion.labels == ("bus", "police dog")


def test_the_labels_of_a_model_without_labels_cannot_be_set(make_ablation):
    with pytest.raises(FixedVocabularyError):
        make_ablation(perception_outputs=["score"]).set_vocabulary(["bus"])
