# SPDX-License-Identifier: Apache-2.0
import sys

import cv2
import numpy as np
import pytest
from rendered_fixtures import rendered

from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.comparison_sheets import ComparedImages, f1
from mrmllm_ros.evaluation.plots import plot_intervals, plot_precision
from mrmllm_ros.evaluation.predicted_objects import PredictedObjects, predict_objects
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedScenes
from mrmllm_ros.evaluation.report import Figure, SuiteReport, VariantReport
from mrmllm_ros.evaluation.report_folder import require_report, write_report
from mrmllm_ros.evaluation.statistics import Interval
from mrmllm_ros.evaluation.suite_result import EvaluationError

RED, BLUE = (10, 10, 110, 110), (200, 200, 260, 260)
UNDEFINED = Interval(np.nan, np.nan, np.nan)


@pytest.fixture
def images(write_scenes, color_backbones):
    """Scenes of which the detector names the first right, the second wrong, the last empty."""
    objects = [[rendered("cup", RED)], [rendered("vase", RED), rendered("dog", BLUE, "blue")], []]
    folder = write_scenes(*[(each, {}) for each in objects])
    return DetectedScenes(RenderedScenes.read(folder), color_backbones(red="cup"))


@pytest.fixture
def found(images):
    """Objects of the detector, and objects that are all right."""
    right = [image.truth.objects for image in images.scenes.images]
    detector = predict_objects(None, DETECTOR_ALONE, images.examples)
    return detector, PredictedObjects(right, right)


@pytest.fixture
def report(images, found):
    detector, fused = found
    figures = (Figure("AP50", Interval(0.5, 0.4, 0.6)), Figure("AP50 of cup", UNDEFINED))
    return SuiteReport(
        name="rendered detections",
        title="detections",
        scenes=3,
        variants=(
            VariantReport(FULL, figures, fused),
            VariantReport(DETECTOR_ALONE, figures[:1], detector),
        ),
        group="rendered",
        part="detections",
        images=images,
    )


def test_the_folder_has_an_index_with_all_images(report, tmp_path):
    folder = tmp_path / "new" / "report"
    require_report(folder)
    answers = VariantReport(FULL, (Figure("accuracy", Interval(0.5, 0.25, 0.75)),))
    questions = SuiteReport("synthetic", "answers", 7, (answers,), "synthetic")
    write_report([report, questions], folder)
    index = (folder / "index.md").read_text()
    assert "| AP50 | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] |" in index
    assert "| accuracy | 0.500 [0.250, 0.750] |" in index
    files = {path.name for path in folder.iterdir()} - {"index.md"}
    assert files == {
        "rendered_detections_figures.png",
        "rendered_detections_by_label.png",
        "rendered_detections_precision.png",
        "rendered_detections_best.jpg",
        "rendered_detections_worst.jpg",
        "rendered_detections_changed.jpg",
        "synthetic_figures.png",
    }
    for name in files:
        assert f"]({name})" in index
        assert cv2.imread(str(folder / name)).size


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="--report"):
        require_report(tmp_path / "file" / "report")


def test_a_report_without_matplotlib_names_the_fix(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EvaluationError, match="pip install"):
        require_report(tmp_path)


def test_plots_without_values_are_drawn(tmp_path):
    plot_intervals(tmp_path / "a.png", "empty", {"full": {}, "other": {"AP50": UNDEFINED}})
    plot_precision(tmp_path / "b.png", "empty", {"any label": {"full": np.full(101, np.nan)}})
    assert (tmp_path / "a.png").stat().st_size > 0
    assert (tmp_path / "b.png").stat().st_size > 0


def test_images_are_ranked_by_their_f1(images, found):
    compared = ComparedImages.of(images, *found)
    assert compared.detector_f1[:2].tolist() == [1, 0]
    assert compared.fused_f1[:2].tolist() == [1, 1]
    # The image without objects has no F1. Of equal images, that with more objects comes first.
    assert compared.best() == compared.worst() == [1, 0]
    assert compared.changed() == [1]
    same = ComparedImages.of(images, found[0], found[0])
    assert (same.best(1), same.worst(1), same.changed()) == ([0], [1], [])
    sheet = compared.sheet([0, 1])
    assert sheet.shape[1] > 2 * 640
    assert sheet.shape[0] > 2 * 480


def test_f1_counts_labels_and_leaves_out_ignored_objects(make_detections):
    there = make_detections(("cup", 1, RED), ("dog", 1, BLUE))
    truth = TrueObjects(there, ignored=np.array([False, True]))
    assert f1(truth, make_detections()) == 0
    assert f1(truth, make_detections(("cup", 0.5, RED))) == 1
    assert f1(truth, make_detections(("cup", 0.5, RED), ("dog", 0.5, BLUE))) == 1
    assert f1(truth, make_detections(("vase", 0.5, RED))) == 0
    wrong = make_detections(("cup", 0.5, RED), ("cup", 0.5, (400, 300, 450, 350)))
    assert f1(truth, wrong) == pytest.approx(2 / 3)
    assert np.isnan(f1(TrueObjects(make_detections()), make_detections(("cup", 0.5, RED))))


def test_plots_show_negative_differences(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda figure, *_, **__: drawn.append(figure)
    )
    values = {"full": {"a minus b": Interval(-0.4, -0.5, -0.3), "undefined": UNDEFINED}}
    plot_intervals(tmp_path / "a.png", "differences", values)
    [axes] = drawn[0].axes
    assert axes.get_xlim()[0] < -0.5
    assert axes.get_xlim()[1] > 1
