# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.average_precision import (
    AveragePrecision,
    Matches,
    TrueObjects,
)
from mrmllm_ros.evaluation.statistics import bootstrap

BOX, OTHER, FAR = (10, 10, 110, 110), (200, 200, 300, 300), (400, 300, 450, 350)


@pytest.fixture
def score(make_detections):
    """Function that gives AP50 and AP of lists of images, each a list of objects."""

    def score(truth, found, crowd=None):
        flags = crowd or [None] * len(truth)
        matches = Matches(
            [
                TrueObjects(make_detections(*[(x, 1, box) for x, box in each]), flag)
                for each, flag in zip(truth, flags, strict=True)
            ],
            [make_detections(*each) for each in found],
        )
        every = np.arange(len(truth))[None]
        return tuple(matches.average_precision(every, kind)[0] for kind in ("AP50", "AP"))

    return score


def test_perfect_detections_are_one_and_none_are_zero(score):
    truth = [[("dog", BOX), ("car", OTHER)]]
    found = [[("dog", 0.9, BOX), ("car", 0.8, OTHER)]]
    assert score(truth, found) == pytest.approx((1, 1))
    assert score(truth, [[]]) == (0, 0)


def test_a_wrong_box_counts_by_its_score(score):
    truth = [[("dog", BOX)]]
    assert score(truth, [[("dog", 0.9, BOX), ("dog", 0.1, FAR)]])[0] == pytest.approx(1)
    assert score(truth, [[("dog", 0.1, BOX), ("dog", 0.9, FAR)]])[0] == pytest.approx(0.5)


def test_a_second_box_of_the_same_object_is_wrong(score):
    truth = [[("dog", BOX), ("dog", OTHER)]]
    found = [[("dog", 0.9, BOX), ("dog", 0.8, BOX), ("dog", 0.7, OTHER)]]
    # Precision 1 up to a recall of one half (51 of 101 points), then 2/3.
    assert score(truth, found)[0] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_worse_box_costs_at_stricter_overlaps_only(score):
    # An overlap of 0.6: right up to there, which is 3 of the 10 overlaps.
    ap50, ap = score([[("dog", (0, 0, 100, 100))]], [[("dog", 0.9, (0, 0, 100, 60))]])
    assert ap50 == pytest.approx(1)
    assert ap == pytest.approx(0.3)


def test_present_classes_have_equal_weight(score):
    truth = [[("dog", BOX), ("dog", OTHER), ("car", FAR)]]
    found = [[("dog", 0.9, BOX), ("dog", 0.8, OTHER), ("bus", 0.9, FAR)]]
    assert score(truth, found) == pytest.approx((0.5, 0.5))


def test_detections_in_a_crowd_do_not_count(score):
    truth = [[("person", BOX), ("person", (200, 200, 400, 400))]]
    found = [[("person", 0.5, BOX), ("person", 0.9, (210, 210, 260, 300))]]
    assert score(truth, found)[0] == pytest.approx(51 / 101 / 2)
    assert score(truth, found, [np.array([False, True])]) == pytest.approx((1, 1))


@pytest.mark.parametrize("found", [[], [("dog", 0.9, BOX)]])
def test_it_is_undefined_without_objects(score, found):
    assert np.isnan(score([[]], [found])).all()


@pytest.fixture
def make_images(make_detections):
    """Function that makes random truths, some of them crowds or ignored, and detections."""

    def make(count, crowds=False):
        rng = np.random.default_rng(3)

        def objects(number):
            corners = rng.uniform(0, 300, (number, 2)).round()
            boxes = np.hstack([corners, corners + rng.uniform(20, 160, (number, 2)).round()])
            labels, scores = (
                rng.choice(["dog", "car", "bus"], number),
                rng.uniform(0.05, 1, number),
            )
            return list(zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True))

        truth, found = [], []
        for _ in range(count):
            there = objects(5)
            seen = [
                (x, s, np.array(b) + np.tile(rng.normal(0, 6, 2), 2).round()) for x, s, b in there
            ]
            crowd = rng.random(5) < 0.3 if crowds else None
            truth.append(TrueObjects(make_detections(*there), crowd))
            found.append(make_detections(*seen, *objects(4)))
        return truth, found

    return make


def test_resampled_images_give_the_result_of_a_new_evaluation(make_images):
    truth, found = make_images(6)
    matches, chosen = Matches(truth, found), np.array([4, 0, 0, 5, 2, 2])
    again = Matches([truth[i] for i in chosen], [found[i] for i in chosen])
    # Other samples of the same call do not matter.
    samples = np.stack([np.arange(6), chosen])
    for kind in ("AP50", "AP"):
        drawn = matches.average_precision(samples, kind)
        assert 0 < drawn[1] < 1
        expected = again.average_precision(np.arange(6)[None], kind)
        assert drawn[1] == pytest.approx(expected[0], abs=1e-9)
    interval = bootstrap(AveragePrecision(matches), 6, samples=50)
    assert interval.low < interval.high


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("area_range", [(0, 1e10), (0, 64**2), (64**2, 1e10)])
def test_it_agrees_with_the_library_of_coco(make_images, crowds, area_range):
    library = pytest.importorskip("faster_coco_eval")
    truth, found = make_images(20, crowds)
    names = ["bus", "car", "dog"]

    def dataset(images, flags):
        rows = [
            {
                "image_id": image,
                "category_id": names.index(label) + 1,
                "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]),
                "score": score,
                "iscrowd": int(flag),
            }
            for image, (each, of_image) in enumerate(zip(images, flags, strict=True), start=1)
            for label, box, score, flag in zip(
                each.labels,
                each.xyxy.astype(float).tolist(),
                each.scores.tolist(),
                of_image,
                strict=True,
            )
        ]
        return {
            "images": [{"id": i + 1, "width": 640, "height": 480} for i in range(len(images))],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
            "annotations": [{**row, "id": i} for i, row in enumerate(rows, start=1)],
        }

    def silent(*words):
        pass

    there = dataset([t.objects for t in truth], [t.is_crowd for t in truth])
    seen = dataset(found, [[False] * len(each) for each in found])
    evaluation = library.COCOeval_faster(
        library.COCO(there, print_function=silent),
        library.COCO(seen, print_function=silent),
        "bbox",
        print_function=silent,
    )
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(area_range)], ["all"]
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    matches, every = Matches(truth, found, area_range), np.arange(20)[None]
    assert matches.average_precision(every, "AP50")[0] == pytest.approx(precision[0].mean())
    assert matches.average_precision(every, "AP")[0] == pytest.approx(precision.mean())
    assert matches.precision_curve() == pytest.approx(precision[0].mean(axis=1))
    for number, name in enumerate(names):
        value = matches.average_precision(every, "AP50", [name])[0]
        assert value == pytest.approx(precision[0, :, number].mean())


def test_an_ignored_object_is_neither_found_nor_missed(make_detections):
    there = make_detections(("dog", 1, BOX), ("dog", 1, OTHER))
    truth = [TrueObjects(there, ignored=np.array([False, True]))]
    for found in ([("dog", 0.5, BOX)], [("dog", 0.5, BOX), ("dog", 0.9, OTHER)]):
        matches = Matches(truth, [make_detections(*found)])
        assert matches.average_precision(np.array([[0]]))[0] == pytest.approx(1)
    # A second box of it is wrong, unlike in a crowd.
    twice = make_detections(("dog", 0.5, BOX), ("dog", 0.9, OTHER), ("dog", 0.8, OTHER))
    assert Matches(truth, [twice]).average_precision(np.array([[0]]))[0] == pytest.approx(0.5)


def test_the_curve_falls_to_zero_where_objects_are_missed(make_detections):
    truth = [TrueObjects(make_detections(("dog", 1, BOX), ("dog", 1, OTHER)))]
    curve = Matches(truth, [make_detections(("dog", 0.5, BOX))]).precision_curve()
    assert curve[:51].tolist() == [1] * 51
    assert curve[51:].tolist() == [0] * 50
    assert np.isnan(Matches([], []).precision_curve()).all()


def test_different_numbers_of_images_are_rejected(make_detections):
    with pytest.raises(ValueError, match="of 1 images, but detections of 0"):
        Matches([TrueObjects(make_detections())], [])
