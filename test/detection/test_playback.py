# SPDX-License-Identifier: Apache-2.0
import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.detection.playback import frames, image_files, readable_frames, recorded_frames


def uniform(value):
    return np.full((48, 64, 3), value, np.uint8)


def values(path):
    """Brightness of each frame, rounded to tens."""
    return [round(float(frame.mean()), -1) for frame in frames(path)]


@pytest.fixture
def folder(tmp_path):
    """Images that were not written in order of their names, and another file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, value in (("c.PNG", 30), ("a.png", 10), ("b.bmp", 20), ("d.jpg", 40)):
        cv2.imwrite(str(folder / name), uniform(value))
    (folder / "0.txt").write_text("not an image, and not played")
    (folder / "inner").mkdir()
    return folder


@pytest.fixture(params=[("clip.avi", "MJPG"), ("clip.mp4", "mp4v")], ids=["avi", "mp4"])
def video(request, tmp_path):
    name, codec = request.param
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    for value in (50, 100, 150, 200):
        writer.write(uniform(value))
    writer.release()
    return path


def test_an_image_is_one_frame_of_its_pixels(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    [frame] = frames(tmp_path / "image.png")
    np.testing.assert_array_equal(frame, image)


def test_a_folder_is_played_in_the_order_of_the_names(folder):
    assert values(folder) == [10, 20, 30, 40]


def test_a_video_is_played_from_the_first_to_the_last_frame(video):
    assert values(video) == [50, 100, 150, 200]


def test_frames_are_bgr_bytes_of_three_channels(video, folder):
    for path in (video, folder):
        for frame in frames(path):
            assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)


def test_frames_are_read_one_at_a_time(folder):
    (folder / "d.jpg").write_text("damaged")
    source = frames(folder)
    assert [round(float(next(source).mean())) for _ in range(3)] == [10, 20, 30]
    with pytest.raises(ImageError, match=r"d\.jpg"):
        next(source)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(ImageError, match=f"the folder {tmp_path} holds no images"):
        next(frames(tmp_path))


@pytest.mark.parametrize("name", ["missing", "missing.png", "missing.mp4"])
def test_what_is_missing_is_named(name, tmp_path):
    with pytest.raises(ImageError, match=rf"{tmp_path}/{name}"):
        next(frames(tmp_path / name))


@pytest.mark.parametrize("name", ["text.png", "text.mp4", "text"])
def test_what_is_neither_image_nor_video_is_named(name, tmp_path):
    (tmp_path / name).write_text("neither")
    with pytest.raises(ImageError, match=rf"{tmp_path}/{name}"):
        next(frames(tmp_path / name))


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ImageError, match=f"cannot read the folder {tmp_path}: Permission denied"):
        frames(tmp_path)


def test_a_name_that_no_file_can_have_is_named():
    path = Path("/" + "x" * 300)
    with pytest.raises(ImageError, match=f"there is no file or folder {path}"):
        next(frames(path))


def test_each_frame_comes_with_its_file(folder, video):
    assert [frame.path.name for frame in recorded_frames(folder)] == [
        "a.png",
        "b.bmp",
        "c.PNG",
        "d.jpg",
    ]
    assert {frame.path for frame in recorded_frames(video)} == {video}


def test_a_video_without_frames_is_named(tmp_path):
    path = tmp_path / "empty.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48)).release()
    with pytest.raises(ImageError, match=r"cannot decode any image of the video .*empty\.avi"):
        next(frames(path))


def test_a_video_that_is_cut_off_is_played_up_to_there(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    noise = np.random.default_rng(0)
    for _ in range(20):
        writer.write(noise.integers(0, 256, (120, 160, 3), np.uint8))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 5 < len(list(frames(path))) < 15


def test_unreadable_images_of_a_folder_are_reported_and_skipped(folder):
    (folder / "a.png").write_text("no image")
    (folder / "e.png").symlink_to("nowhere.png")
    told = []
    played = [round(float(frame.mean()), -1) for frame in readable_frames(folder, told.append)]
    assert played == [20, 30, 40]
    assert [name in str(error) for name, error in zip(("a.png", "e.png"), told, strict=True)]


def test_an_unreadable_file_on_its_own_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ImageError, match=r"a\.png"):
        list(readable_frames(tmp_path / "a.png", lambda error: None))


def test_folders_are_no_images_whatever_their_names(folder):
    (folder / "e.png").mkdir()
    assert [file.name for file in image_files(folder)] == ["a.png", "b.bmp", "c.PNG", "d.jpg"]


def test_a_video_whose_name_is_not_utf8_is_rejected(video):
    path = video.rename(video.with_name(os.fsdecode(b"caf\xe9.avi")))
    with pytest.raises(ImageError, match=r"caf\\udce9\.avi: .* must be UTF-8"):
        list(frames(path))
