# SPDX-License-Identifier: Apache-2.0
from zipfile import BadZipFile

import numpy as np
import pytest

from mrmllm_ros.model.label_knowledge import SHIPPED, LabelKnowledge
from mrmllm_ros.model.label_scorer import LabelScorer
from mrmllm_ros.model.label_table import (
    OTHER_KINDS,
    ContinuationScores,
    LabelTable,
    probabilities,
    string_matches,
)
from mrmllm_ros.model.region_classifier import region_classifier

NAMES = ("Windsor tie", "teddy, teddy bear", "carton", "minivan")
LABELS = ("tie", "bear", "teddy bear", "car")


def scores_of(names, **rows):
    """Scores of some kinds; those of the other kinds are 0."""
    kinds = (*rows, *OTHER_KINDS)
    values = np.zeros((len(kinds), len(names)), np.float32)
    for row, kind in zip(values, rows, strict=False):
        row[:] = rows[kind]
    return ContinuationScores(tuple(names), kinds, values)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("Windsor tie", {"tie"}),
        ("bow tie, bow-tie, bowtie", {"tie"}),
        ("teddy, teddy bear", {"bear", "teddy bear"}),
        ("polar bear", {"bear"}),
        ("bear cat", set()),
        ("carton", set()),
        ("oscar", set()),
        ("freight car", {"car"}),
        ("car, auto", {"car"}),
        ("streetcar,car wheel", set()),
        ("CAR", {"car"}),
        ("bear-tie", {"tie"}),
        ("", set()),
    ],
)
def test_a_name_matches_the_labels_that_one_of_its_synonyms_ends_with(name, labels):
    found = string_matches(LABELS, [name])
    assert found.shape == (4, 1)
    assert {label for label, [match] in zip(LABELS, found, strict=True) if match} == labels


def test_a_label_may_have_capitals_and_hyphens():
    assert string_matches(["T-shirt", "Teddy Bear"], ["t-shirt", "teddy bear"]).tolist() == [
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize(("labels", "names"), [((), NAMES), (LABELS, ()), ((), ())])
def test_without_labels_or_names_nothing_matches(labels, names):
    assert string_matches(labels, names).shape == (len(labels), len(names))
    table = LabelTable.of_scores(labels, ContinuationScores.empty(names))
    assert table.values.shape == (len(labels), len(names))


def test_without_scores_a_table_has_string_matches_alone():
    table = LabelTable.of_scores(LABELS, ContinuationScores.empty(NAMES))
    assert table.labels == LABELS
    assert table.values.dtype == np.float32
    np.testing.assert_array_equal(table.values, string_matches(LABELS, NAMES))


def test_string_matches_and_scores_are_averaged():
    scores = scores_of(NAMES, car=[-9, -8, -7, -1], tie=[-1, -9, -9, -9])
    table = LabelTable.of_scores(["tie", "car"], scores)
    expected = (string_matches(["tie", "car"], NAMES) + probabilities(["tie", "car"], scores)) / 2
    np.testing.assert_allclose(table.values, expected)
    [tie, car] = table.values
    assert tie[0] > 0.5
    assert 0 < car[3] <= 0.5
    assert car.argmax() == 3


def test_a_label_without_scores_does_not_change_the_others():
    scores = scores_of(NAMES, car=[-9, -8, -7, -1])
    [tie, car] = LabelTable.of_scores(["tie", "car"], scores).values
    [alone] = LabelTable.of_scores(["car"], scores).values
    np.testing.assert_array_equal(tie, string_matches(["tie"], NAMES)[0])
    np.testing.assert_array_equal(car, alone)


def test_other_kinds_have_a_share_of_every_name():
    values = probabilities(["car", "tie"], scores_of(NAMES, car=[0.0] * 4, tie=[0.0] * 4))
    np.testing.assert_allclose(values, 1 / (2 + len(OTHER_KINDS)), rtol=1e-6)
    values = probabilities(["car", "tie"], scores_of(NAMES, car=[-4, -3, -2, 3], tie=[0] * 4))
    assert (values.sum(0) < 1).all()
    assert (values > 0).all()


def test_a_label_that_is_one_of_the_other_kinds_competes_once():
    values = probabilities(["animal"], scores_of(NAMES))
    np.testing.assert_allclose(values, 1 / len(OTHER_KINDS), rtol=1e-6)


def test_a_label_that_follows_every_name_loses_most_of_its_score():
    values = probabilities(["car", "tie"], scores_of(NAMES, car=[4, 4, 4, 4], tie=[0, 0, 0, 4]))
    assert (values[0, :3] < 0.4).all()
    assert values[1, 3] > 0.9


def test_large_scores_do_not_overflow():
    values = probabilities(["car"], scores_of(NAMES, car=[-900, 0, 0, 900]))
    assert np.isfinite(values).all()
    assert values[0, 3] == pytest.approx(1)


def test_the_table_of_a_classifier_of_the_labels_is_the_identity():
    table = LabelTable.identity(["cup", "bus"])
    assert table.labels == ("cup", "bus")
    assert table.values.tolist() == [[1, 0], [0, 1]]


def test_scores_are_read_as_they_are_written_in_half_precision(tmp_path):
    random = np.random.default_rng(0)
    names = ("crane", "crane", "café, coffeehouse")
    values = random.normal(-12, 5, (2, 3)).astype(np.float32)
    path = tmp_path / "scores.tmp"
    ContinuationScores(names, ("cup", "自行车"), values).write(path)
    read = ContinuationScores.read(path)
    assert (read.names, read.kinds) == (names, ("cup", "自行车"))
    assert read.values.dtype == np.float32
    np.testing.assert_array_equal(read.values, values.astype(np.float16))


def test_no_scores_can_be_written_and_read(tmp_path):
    ContinuationScores.empty(NAMES).write(tmp_path / "empty.npz")
    read = ContinuationScores.read(tmp_path / "empty.npz")
    assert (read.names, read.kinds, read.values.shape) == (NAMES, (), (0, 4))


def test_kinds_can_be_added_selected_and_looked_up():
    first = ContinuationScores(("a", "b"), ("cup",), np.array([[1, 2]], np.float32))
    second = ContinuationScores(("a", "b"), ("bus", "dog"), np.array([[3, 4], [5, 6]], np.float32))
    both = first + second
    assert both.kinds == ("cup", "bus", "dog")
    assert both.take(("dog", "cup")).values.tolist() == [[5, 6], [1, 2]]
    assert both.take(()).values.shape == (0, 2)
    assert both.missing(("door", "cup", "door", "box")) == ("door", "box")


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (2,), (2, 4, 1)])
def test_values_of_another_shape_are_rejected(shape, tmp_path):
    values = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=r"expected \(2, 4\)"):
        ContinuationScores(NAMES, ("cup", "bus"), values)
    np.savez(tmp_path / "wrong.npz", names=np.array(NAMES), kinds=["cup", "bus"], values=values)
    with pytest.raises(ValueError, match=r"expected \(2, 4\)"):
        ContinuationScores.read(tmp_path / "wrong.npz")


def test_a_table_with_a_row_too_few_is_rejected():
    with pytest.raises(ValueError, match=r"shape \(3, 4\), expected \(4, 4\)"):
        LabelTable(LABELS, np.zeros((3, 4), np.float32))


def test_a_damaged_file_is_an_error(tmp_path):
    path = tmp_path / "scores.npz"
    scores_of(NAMES).write(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises((OSError, ValueError, BadZipFile)):
        ContinuationScores.read(path)
    np.savez(path, names=np.array(NAMES))
    with pytest.raises(KeyError):
        ContinuationScores.read(path)


@pytest.fixture(scope="module")
def shipped(language_model, visual_encoder):
    """The scores that come with the package for the embedded models."""
    names = region_classifier(visual_encoder).names
    knowledge = LabelKnowledge(language_model, names, lambda: language_model)
    return ContinuationScores.read(SHIPPED / knowledge._file_name)


def test_the_package_has_scores_for_the_embedded_models(shipped, detector, visual_encoder):
    assert shipped.names == region_classifier(visual_encoder).names
    assert len(shipped.names) == 1000
    assert len(detector.labels) == 80
    assert shipped.missing((*detector.labels, *OTHER_KINDS)) == ()
    assert np.isfinite(shipped.values).all()


def test_scores_of_the_package_are_those_of_the_embedded_language_model(shipped, language_model):
    columns = [8, 281, 846]
    names = [shipped.names[column] for column in columns]
    [computed] = LabelScorer(language_model, shipped.kinds, LabelKnowledge.examples).scores(names)
    np.testing.assert_allclose(shipped.values[:, columns], computed, atol=0.05)


@pytest.mark.parametrize(
    ("name", "label"),
    [("Granny Smith", "apple"), ("minivan", "car"), ("Windsor tie", "tie"), ("mouse", "mouse")],
)
def test_with_the_scores_of_the_package_a_name_means_its_label(name, label, shipped, detector):
    table = LabelTable.of_scores(detector.labels, shipped)
    [column] = [i for i, n in enumerate(shipped.names) if n.split(",")[0] == name]
    assert table.labels[table.values[:, column].argmax()] == label


def test_an_animal_that_no_label_names_means_none(shipped, detector):
    table = LabelTable.of_scores(detector.labels, shipped)
    [column] = [i for i, n in enumerate(shipped.names) if n.startswith("tench")]
    assert table.values[:, column].max() < 0.2
