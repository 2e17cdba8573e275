# SPDX-License-Identifier: Apache-2.0
"""Accuracy of the localizer on drawn scenes of known positions."""

import json

import cv2
import numpy as np
import pytest
import rgbd_folder
from rgbd_folder import Screen

from mrmllm_ros.benchmarks import localizer_benchmark as localizer
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.cli.main import main
from mrmllm_ros.errors import MrmllmError

# At 2 m, hidden by a third; and whole, at 1 m; in two images each.
FAR, NEAR = Screen((0.0, 2.0, 0.0)), Screen((0.2, 1.0, 0.1), (0.2, 0.4), instance=2)
VIEWS = [((0.0, 0.0, 0.0), [FAR, NEAR]), ((0.05, 0.0, 0.0), [FAR, NEAR])]


def silent(line):
    pass


def change(folder, change_annotation):
    """Change the annotations of a folder."""
    file = folder / "annotations.json"
    content = json.loads(file.read_text())
    content["annotations"] = [change_annotation(entry) for entry in content["annotations"]]
    file.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    return rgbd_folder.write(tmp_path / "scenes", VIEWS)


@pytest.fixture
def sequence(tmp_path):
    """Two sequences of two images; their objects have the same numbers."""
    return rgbd_folder.write(tmp_path / "sequence", VIEWS * 2, [0.0, 0.1, 0.0, 0.1])


def test_objects_have_the_masks_and_positions_of_their_annotations(folder):
    [scene, _] = localizer.read_scenes(folder)
    far, near = scene.objects
    depth = scene.frame.read_depth_mm()
    np.testing.assert_array_equal(near.mask, depth == 1000)
    np.testing.assert_array_equal(far.mask, depth == 2000)
    np.testing.assert_allclose(far.center[2], 2)
    assert far.occlusion > 0.1 > near.occlusion
    assert scene.sequence is None


def test_screens_are_located_with_exact_boxes_and_masks(folder):
    figures = localizer.run(folder, silent)
    assert (figures["images"], figures["objects"]) == (2, 4)
    accuracy = figures["accuracy"]
    for name in localizer.CONDITIONS:
        assert accuracy[name]["objects"] == 4
        assert accuracy[name]["poses"] + accuracy[name]["no_pose"] == 4
        # In small images, masks are assumed to be exact within a pixel.
        assert accuracy[name]["wrong"] == 0 or name == "masks, 2 pixels too large"
    for name in localizer.DETAILED:
        assert accuracy[name]["within_2_percent"] == 4
        assert accuracy[f"{name}, occlusion below 0.1"]["objects"] == 2
        assert accuracy[f"{name}, occlusion 0.1 to 0.5"]["objects"] == 2
        assert accuracy[f"{name}, nearer than 1.5 m"]["objects"] == 2
        assert f"{name}, occlusion above 0.5" not in accuracy
    assert "spread_in_sequences" not in figures


def test_a_position_that_differs_from_the_truth_is_wrong(folder):
    def farther(entry):
        x, y, z = entry["visible_3d"]["center"]
        return entry | {"visible_3d": {"center": [x, y, z * 1.1], "size": [1, 1, 1]}}

    change(folder, farther)
    counts = localizer.run(folder, silent)["accuracy"]["masks"]
    assert (counts["within_2_percent"], counts["wrong"]) == (0, 4)


def test_objects_without_depth_have_no_pose(folder):
    change(folder, lambda entry: entry | {"bbox": [0, 0, 20, 20]})
    without = np.zeros((120, 160), np.uint16)
    for file in (folder / "depth").iterdir():
        cv2.imwrite(str(file), without)
    counts = localizer.run(folder, silent)["accuracy"]["boxes"]
    assert (counts["poses"], counts["no_pose"]) == (0, 4)


def test_crowds_and_objects_to_ignore_are_left_out(folder):
    change(folder, lambda entry: entry | {1: {"ignore": 1}}.get(entry["instance"], {}))
    assert localizer.run(folder, silent)["objects"] == 2


def test_an_object_of_a_sequence_stays_where_it_is_in_the_room(sequence):
    assert [scene.sequence for scene in localizer.read_scenes(sequence)] == [0, 0, 1, 1]
    spreads = localizer.run(sequence, silent)["spread_in_sequences"]
    assert set(spreads) == {"truth", "boxes", "masks"}
    for row in spreads.values():
        assert row["objects"] == 4
        # The camera moves by 50 mm. What is hidden of the far screen changes.
        assert row["median_m"] < 0.03
    assert spreads["masks"] == pytest.approx(spreads["truth"], abs=0.005)


def test_the_command_prints_a_table_or_json(folder, capsys):
    assert main(["benchmark", "localizer", "--folder", str(folder)]) == 0
    table = capsys.readouterr().out
    assert "accuracy" in table
    [row] = [line for line in table.splitlines() if line.startswith("masks  ")]
    assert row.split() == ["masks", "4", "4", "4", "0", "0"]
    assert main(["benchmark", "localizer", "--folder", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["masks"]["poses"] == 4


def test_a_folder_without_positions_is_rejected(folder):
    change(folder, lambda entry: entry | {"visible_3d": None})
    with pytest.raises(BenchmarkError, match=r"no annotation of .* has visible_3d"):
        localizer.run(folder, silent)


@pytest.mark.parametrize(
    "fields",
    [
        {"segmentation": {"counts": [5, 6], "size": [120, 160]}},
        {"segmentation": None},
        {"visible_3d": {"center": [1, 2]}},
    ],
)
def test_a_wrong_annotation_is_named(folder, fields):
    change(folder, lambda entry: entry | fields)
    with pytest.raises(BenchmarkError, match="annotation 0 has no valid segmentation or vis"):
        localizer.run(folder, silent)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MrmllmError, match="there is no folder"):
        localizer.run(tmp_path / "missing", silent)
