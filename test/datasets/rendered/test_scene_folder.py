# SPDX-License-Identifier: Apache-2.0
import json
import signal
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.coco import read_coco
from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.rendered import scene_folder, scene_sources
from mrmllm_ros.datasets.rendered.ground_truth import VisibleObject, annotate
from mrmllm_ros.datasets.rendered.renderer import RenderError
from mrmllm_ros.datasets.rendered.scene_folder import write_scenes
from mrmllm_ros.datasets.rendered.scene_renderer import Frame, SceneSettings
from mrmllm_ros.datasets.rendered.scene_sources import SourceSettings

SIZE = (48, 64)
CREDIT = {"title": "Cup", "creator": "A maker", "license": "CC0-1.0"}


def make_frame(number, index=0, depth=True):
    """A gray image with a red cup, farther away in each scene."""
    image = np.full((*SIZE, 3), 128, np.uint8)
    visible = np.zeros(SIZE, bool)
    visible[10:30, 20:40] = True
    image[visible] = (20, 20, 220)
    found = VisibleObject(
        instance=1,
        noun="cup",
        family="a cup",
        model="Scopia/cup",
        visible=visible,
        own_pixels=400,
        all_pixels=500,
    )
    meters = np.where(visible, np.float32(1.5 + number), np.float32(0))
    points = np.array([[0.0, 0.0, 1.5 + number]])
    return Frame(
        image=image,
        depth=meters if depth else None,
        entry={"place": "kitchen", "scene": number, "stamp": 0.1 * index},
        objects=[{"noun": "cup", **annotate(found, image, points)}],
        credits={"Scopia/cup": CREDIT},
    )


class Source:
    """Source of scenes that counts its calls and fails at some numbers."""

    def __init__(self):
        self.numbers = []
        self.failing = set()
        self.frames = 1
        self.depth = True

    def __call__(self, number):
        self.numbers.append(number)
        if number in self.failing:
            raise RenderError(f"scene {number} failed")
        return [make_frame(number, index, self.depth) for index in range(self.frames)]


@pytest.fixture
def source(monkeypatch, label_map):
    fake = Source()
    monkeypatch.setattr(scene_sources, "read_model_map", lambda: label_map)
    monkeypatch.setattr(SourceSettings, "create", lambda settings: fake)
    return fake


@pytest.fixture
def lines():
    """Lines of progress."""
    return []


@pytest.fixture
def render(tmp_path, lines, source):
    """Function that writes scenes of a seed with the fake source."""

    def run(count, seed=5, kind="rooms", workers=1):
        settings = SourceSettings(kind=kind, split="tuning", seed=seed, scene=SceneSettings())
        return write_scenes(tmp_path / "scenes", settings, count, workers, lines.append)

    return run


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "scenes"


def read(folder, name="annotations.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestContract:
    def test_annotations_read_as_coco(self, render, folder):
        assert render(3) == 3
        dataset = read_coco(folder, folder / "annotations.json")
        assert [image.name for image in dataset.images] == [
            f"images/{number:06}.jpg" for number in range(3)
        ]
        for image in dataset.images:
            assert image.objects.labels == ("cup",)
            assert image.objects.xyxy.tolist() == [[20, 10, 40, 30]]
            assert image.objects.resolution_wh == (64, 48)
        assert "dining table" in dataset.labels

    def test_fields_are_those_of_the_format(self, render, folder):
        render(2)
        content = read(folder)
        assert set(content) == {"info", "categories", "images", "annotations"}
        assert content["info"]["seed"] == 5
        assert content["info"]["split"] == "tuning"
        assert content["info"]["version"] == scene_folder.VERSION
        assert content["images"][1] == {
            "id": 1,
            "file_name": "images/000001.jpg",
            "width": 64,
            "height": 48,
            "depth_file": "depth/000001.png",
            "place": "kitchen",
            "scene": 1,
            "stamp": 0.0,
        }
        names = {each["id"]: each["name"] for each in content["categories"]}
        assert len(set(names.values())) == len(names)
        for number, each in enumerate(content["annotations"]):
            assert set(each) == {
                "id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd",
                "occlusion", "truncation", "distance", "visible_3d", "color", "family", "model",
                "instance",
            }  # fmt: skip
            assert (each["id"], each["image_id"]) == (number + 1, number)
            assert names[each["category_id"]] == "cup"
            assert each["color"] == "red"
            assert each["truncation"] == 0.2

    def test_depth_is_in_millimeters(self, render, folder):
        render(2)
        depth = cv2.imread(str(folder / "depth/000001.png"), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        assert (depth[20, 30], depth[0, 0]) == (2500, 0)

    def test_depth_beyond_16_bits_is_the_largest_value(self, render, folder):
        render(80)
        depth = cv2.imread(str(folder / "depth/000079.png"), cv2.IMREAD_UNCHANGED)
        assert depth.max() == 65535

    def test_images_without_depth_have_no_depth_file(self, render, folder, source):
        source.depth = False
        render(1)
        assert "depth_file" not in read(folder)["images"][0]
        assert list((folder / "depth").iterdir()) == []

    def test_credits_name_each_model_once(self, render, folder):
        render(3)
        assert read(folder, "credits.json") == {"Scopia/cup": CREDIT}

    def test_frames_of_a_scene_have_images_in_sequence(self, render, folder, source):
        source.frames = 3
        assert render(2) == 6
        content = read(folder)
        assert [image["id"] for image in content["images"]] == list(range(6))
        assert [image["scene"] for image in content["images"]] == [0, 0, 0, 1, 1, 1]
        assert [each["image_id"] for each in content["annotations"]] == list(range(6))

    def test_context_scenes_have_their_labels_too(self, render, folder):
        render(1)
        rooms = {each["name"] for each in read(folder)["categories"]}
        settings = SourceSettings(kind="context", split="train", seed=0, scene=SceneSettings())
        assert {"paint can", "globe"} <= set(settings.labels()) - rooms


class TestResume:
    def test_only_missing_scenes_are_made(self, render, source, folder, lines):
        render(3)
        before = contents(folder)
        (folder / "scenes/000001.json").unlink()
        source.numbers.clear()
        render(3)
        assert source.numbers == [1]
        assert contents(folder) == before
        assert "2 of 3 scenes exist already" in lines

    def test_a_complete_folder_needs_no_source(self, render, folder, monkeypatch):
        render(2)
        (folder / "annotations.json").unlink()
        monkeypatch.setattr(SourceSettings, "create", lambda settings: pytest.fail("created"))
        assert render(2) == 2
        assert len(read(folder)["images"]) == 2

    def test_a_larger_count_continues(self, render, source, folder):
        render(2)
        source.numbers.clear()
        assert render(4) == 4
        assert source.numbers == [2, 3]
        assert len(read(folder)["images"]) == 4

    def test_a_smaller_count_keeps_the_files_of_the_rest(self, render, folder):
        render(3)
        assert render(1) == 1
        assert len(read(folder)["images"]) == 1
        assert render(3) == 3

    @pytest.mark.parametrize(
        ("changes", "difference"),
        [({"seed": 6}, "seed 5, not 6"), ({"kind": "context"}, "kind rooms, not context")],
    )
    def test_other_settings_are_rejected(self, render, source, folder, changes, difference):
        render(1)
        before = contents(folder)
        with pytest.raises(DataError, match=rf"of other settings \({difference}\); name"):
            render(1, **changes)
        assert contents(folder) == before

    def test_a_folder_without_scenes_takes_other_settings(self, render, source, folder):
        source.failing = {0}
        with pytest.raises(RenderError):
            render(1)
        source.failing.clear()
        assert render(1, kind="cutouts") == 1
        assert read(folder, "settings.json")["kind"] == "cutouts"

    def test_scenes_of_another_version_are_rejected(self, render, monkeypatch):
        render(1)
        monkeypatch.setattr(scene_folder, "VERSION", scene_folder.VERSION + 1)
        with pytest.raises(DataError, match="has scenes of other settings"):
            render(1)

    @pytest.mark.parametrize("name", ["settings.json", "scenes/000000.json"])
    def test_a_damaged_file_is_named(self, render, folder, name):
        render(1)
        (folder / name).write_text("{", encoding="utf-8")
        with pytest.raises(DataError, match=rf"{name} is not JSON: .*; remove it and render"):
            render(1)


class TestFailure:
    def test_a_failing_source_leaves_no_half_scene(self, render, source, folder):
        source.failing = {1}
        with pytest.raises(RenderError, match="scene 1 failed"):
            render(3)
        assert set(contents(folder)) == {
            "settings.json",
            "scenes/000000.json",
            "images/000000.jpg",
            "depth/000000.png",
        }
        source.failing.clear()
        assert render(3) == 3

    def test_a_source_that_cannot_start_leaves_no_scene(self, render, folder, monkeypatch):
        def fail(settings):
            raise RenderError("no OpenGL")

        monkeypatch.setattr(SourceSettings, "create", fail)
        with pytest.raises(RenderError, match="no OpenGL"):
            render(3, workers=2)
        assert set(contents(folder)) == {"settings.json"}

    def test_a_process_that_ends_is_an_error_with_a_fix(self, render, monkeypatch):
        class Pool:
            def __init__(self, *_):
                pass

            def submit(self, *_):
                future = Future()
                future.set_exception(BrokenProcessPool("terminated abruptly"))
                return future

            def shutdown(self, cancel_futures):
                assert cancel_futures

        monkeypatch.setattr(scene_folder, "ProcessPoolExecutor", Pool)
        with pytest.raises(RenderError, match=r"terminated abruptly; .* use fewer workers"):
            render(3, workers=2)

    def test_an_interrupt_ends_the_processes_without_their_tracebacks(self, render, monkeypatch):
        handlers, ended = [], []

        class Process:
            def terminate(self):
                ended.append(self)

        class Pool:
            def __init__(self, *_):
                pass

            def submit(self, *_):
                handlers.append(signal.getsignal(signal.SIGINT))
                processes.append(Process())
                future = Future()
                future.set_exception(KeyboardInterrupt())
                return future

            def shutdown(self, cancel_futures):
                assert cancel_futures

        another = Process()
        processes = [another]
        monkeypatch.setattr(scene_folder, "ProcessPoolExecutor", Pool)
        monkeypatch.setattr(scene_folder, "active_children", lambda: list(processes))
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            render(2, workers=2)
        assert handlers == [signal.SIG_IGN] * 2
        assert signal.getsignal(signal.SIGINT) == before
        assert len(ended) == 2
        assert another not in ended


class TestProgress:
    def test_the_last_scene_is_reported(self, render, lines):
        render(4)
        assert lines[-1].startswith("4 of 4 scenes, ")

    def test_existing_scenes_are_counted_and_do_not_change_the_rate(
        self, render, lines, monkeypatch
    ):
        render(2)
        lines.clear()
        clock = iter([0.0, 10.0, 20.0, 30.0])
        monkeypatch.setattr(time, "monotonic", lambda: next(clock))
        render(5)
        assert lines[1:] == [
            "3 of 5 scenes, 0.10 a second, 20 s left",
            "4 of 5 scenes, 0.10 a second, 10 s left",
            "5 of 5 scenes, 0.10 a second, 0 s left",
        ]

    def test_few_lines_are_printed(self, render, lines, monkeypatch):
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)
        render(20)
        assert len(lines) == 1
