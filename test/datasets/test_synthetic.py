# SPDX-License-Identifier: Apache-2.0
import re
from itertools import combinations

import numpy as np
import pytest

from mrmllm_ros.datasets.questions.vocabulary import (
    HELD_OUT_NOUNS,
    TRAIN_NOUNS,
    overlap,
    vocabulary,
)
from mrmllm_ros.datasets.synthetic import MAX_CANDIDATES, MAX_OBJECTS, synthetic_example
from mrmllm_ros.model.citations import cited_ids
from mrmllm_ros.model.prompt import PERHAPS_THRESHOLD


@pytest.fixture(scope="module", params=["train", "evaluation"])
def split(request):
    return request.param


@pytest.fixture(scope="module")
def examples(split):
    return [synthetic_example(seed, split, 8) for seed in range(100)]


def test_a_seed_gives_one_example(split):
    first, second, other = (synthetic_example(seed, split, 8) for seed in (3, 3, 4))
    np.testing.assert_array_equal(
        first.perception.candidates.xyxy, second.perception.candidates.xyxy
    )
    np.testing.assert_array_equal(first.targets.xyxy, second.targets.xyxy)
    assert first.attributes == second.attributes
    assert first.questions == second.questions != other.questions


def test_splits_differ_for_one_seed():
    trained, kept = (synthetic_example(3, split, 8) for split in ("train", "evaluation"))
    assert trained.questions != kept.questions


def test_only_evaluation_shows_held_out_nouns(examples, split):
    labels = {label for e in examples for label in e.perception.candidates.labels}
    labels |= {label for e in examples for label in e.targets.labels if label}
    if split == "train":
        assert not labels & set(HELD_OUT_NOUNS)
    else:
        assert labels & set(HELD_OUT_NOUNS)
        assert labels & set(TRAIN_NOUNS)


def test_labels_of_a_scene_are_unambiguous(split):
    for seed in range(300):
        listed = synthetic_example(seed, split, 0).perception.candidates.labels
        pairs = combinations(dict.fromkeys(listed), 2)
        assert not [pair for pair in pairs if overlap(*pair)], seed


def test_only_training_has_invented_labels(examples, split):
    labels = {label for e in examples for label in e.perception.candidates.labels}
    assert bool(labels - set(vocabulary("evaluation"))) == (split == "train")


def test_all_parts_have_the_same_length(examples):
    for example in examples:
        count = len(example.perception.candidates)
        assert count <= MAX_CANDIDATES
        assert len(example.attributes) == len(example.targets.labels) == count
        assert example.visual is None


def test_targets_are_near_their_candidates(examples):
    for example in examples:
        targets, boxes = example.targets, example.perception.candidates.xyxy
        objects = targets.scores == 1
        assert objects.sum() <= MAX_OBJECTS
        assert np.isnan(targets.xyxy[~objects]).all()
        assert [bool(label) for label in targets.labels] == objects.tolist()
        sides = np.tile(targets.xyxy[:, 2:] - targets.xyxy[:, :2], 2)[objects]
        assert (np.abs(targets.xyxy[objects] - boxes[objects]) <= 0.4 * sides + 1e-3).all()


def test_the_detector_is_mostly_right_and_sometimes_wrong(examples):
    scores = np.concatenate([e.perception.candidates.scores for e in examples])
    true = np.concatenate([e.targets.scores for e in examples]) == 1
    assert np.median(scores[true]) > 0.5 > 0.3 > np.median(scores[~true])
    assert (scores[true] < 0.3).any()
    assert (scores[~true] > 0.3).any()
    labels = [
        (said, meant)
        for e in examples
        for said, meant in zip(e.perception.candidates.labels, e.targets.labels, strict=True)
        if meant
    ]
    right = np.mean([said == meant for said, meant in labels])
    assert 0.9 < right < 1


def test_wrong_candidates_are_novel(examples):
    for example in examples:
        pairs = zip(example.perception.candidates.labels, example.targets.labels, strict=True)
        wrong = [said != meant for said, meant in pairs]
        assert example.targets.novelty.tolist() == wrong


def test_questions_are_about_reported_and_doubtful_objects(examples):
    guesses = 0
    for example in examples:
        doubtful = example.perception.doubtful(PERHAPS_THRESHOLD)
        for item in example.questions:
            cited = set(cited_ids(item.answer))
            assert cited == set(item.truth.cited or ())
            if "perhaps" in item.answer.lower():
                guesses += 1
                assert cited <= doubtful.keys(), item
            else:
                assert max(cited, default=0) <= example.perception.reported, item
    assert 0.02 < guesses / sum(len(example.questions) for example in examples) < 0.2


def test_no_answer_denies_a_doubtful_object(examples):
    for example in examples:
        doubtful = example.perception.doubtful(PERHAPS_THRESHOLD).values()
        for item in example.questions:
            if re.match(r"No, I do not see|I do not see|I see no ", item.answer):
                named = [x for x in doubtful if re.search(rf"\b{re.escape(x)}\b", item.answer)]
                assert not named, item


def test_distances_are_known_for_all_or_none_and_sometimes_for_some(examples):
    candidates = [e.perception.candidates for e in examples if len(e.attributes) > 3]
    known = [(~np.isnan(c.distances_m)).tolist() for c in candidates]
    shares = np.array([np.mean(each) for each in known])
    assert 0.2 < np.mean(shares == 0) < 0.95
    assert np.mean(shares == 1) > 0.05
    some = shares[(shares > 0) & (shares < 1)]
    assert 0 < len(some) < 0.25 * len(shares)


def test_scenes_differ_in_size(examples):
    counts = [e.perception.reported for e in examples]
    assert min(counts) <= 1
    assert max(counts) >= 10
