# SPDX-License-Identifier: Apache-2.0
"""Write scenes as a folder: images, depth, and annotations in COCO's format.

Each scene has a file in `scenes/` that is written last, so an interrupted run continues with the
first scene that is missing. `annotations.json` joins these files when all scenes are complete.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.atomic_files import atomic_file
from mrmllm_ros.datasets.data_errors import DataError, parse_json, read_text
from mrmllm_ros.datasets.rendered.renderer import RenderError
from mrmllm_ros.datasets.rendered.scene_renderer import Frame
from mrmllm_ros.datasets.rendered.scene_sources import SceneSource, SourceSettings
from mrmllm_ros.detection.images import encode_image
from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS

CREDITS = "credits.json"
VERSION = 1  # increment when the same settings give other scenes

_SETTINGS = "settings.json"
_SCENES = "scenes"
_QUALITY = 95
_PROGRESS_S = 5.0

_source: SceneSource | None = None  # of a worker process


def write_scenes(
    folder: Path,
    settings: SourceSettings,
    count: int,
    workers: int,
    progress: Callable[[str], None],
) -> int:
    """Write scenes that are missing in a folder, and its annotations.

    Args:
        folder: Output folder, created if missing.
        settings: What the scenes are.
        count: Number of scenes.
        workers: Number of processes.
        progress: Called with progress lines.

    Returns:
        Number of images in the folder.

    Raises:
        DataError: If the folder has scenes of other settings.
        MrmllmError: If models or OpenGL are missing.
    """
    _prepare(folder, settings)
    missing = [n for n in range(count) if not _scene_file(folder, n).exists()]
    if len(missing) < count:
        progress(f"{count - len(missing)} of {count} scenes exist already")
    if missing:
        counter = _Counter(count, len(missing), progress)
        _write_missing(folder, settings, missing, min(workers, len(missing)), counter)
    return _join(folder, settings, count)


def _prepare(folder: Path, settings: SourceSettings) -> None:
    for name in ("images", "depth", _SCENES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # As JSON reads it: lists instead of tuples.
    described = json.loads(json.dumps({"version": VERSION, **asdict(settings)}))
    path = folder / _SETTINGS
    if path.exists() and (existing := _load(path)) != described and _has_scenes(folder):
        raise DataError(
            f"{folder} has scenes of other settings ({_difference(existing, described)}); name "
            "another folder or remove this one"
        )
    _write(path, _dump(described))


def _has_scenes(folder: Path) -> bool:
    return any((folder / _SCENES).glob("*.json"))


def _difference(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Describe settings that differ, such as "seed 1, not 2"."""
    before, after = _flat(existing), _flat(wanted)
    return "; ".join(
        f"{name} {before.get(name)}, not {after.get(name)}"
        for name in after
        if before.get(name) != after.get(name)
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return flat


def _write_missing(
    folder: Path,
    settings: SourceSettings,
    numbers: Sequence[int],
    workers: int,
    counter: _Counter,
) -> None:
    source = settings.create()  # fails here, with a clear error, if something is missing
    if workers == 1:
        for number in numbers:
            _write_scene(folder, source, number)
            counter.add()
        return
    del source
    # Mesa would otherwise start a thread for each core in each process.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (settings,))
    others = active_children()
    try:
        with _ignoring_interrupts():  # the processes, which start here, inherit this
            tasks = [pool.submit(_work, folder, number) for number in numbers]
        for task in as_completed(tasks):
            task.result()
            counter.add()
    except BrokenProcessPool as error:
        raise RenderError(
            f"a rendering process ended: {error}; if memory is short, use fewer workers"
        ) from error
    except KeyboardInterrupt:
        # Each process has several scenes to do. A scene without its file is made again.
        for process in active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(settings: SourceSettings) -> None:
    global _source
    _source = settings.create()


def _work(folder: Path, number: int) -> None:
    assert _source is not None
    _write_scene(folder, _source, number)


class _Counter:
    """Reports the number of finished scenes and the time left."""

    def __init__(self, total: int, missing: int, progress: Callable[[str], None]) -> None:
        self._total = total
        self._progress = progress
        self._done = self._existing = total - missing
        self._start = self._reported = time.monotonic()

    def add(self) -> None:
        """Count a scene."""
        self._done += 1
        now = time.monotonic()
        if now - self._reported < _PROGRESS_S and self._done < self._total:
            return
        self._reported = now
        rate = (self._done - self._existing) / max(now - self._start, 1e-9)
        left = (self._total - self._done) / rate
        listed = f"{left:.0f} s" if left < 60 else f"{left / 60:.0f} min"
        self._progress(f"{self._done} of {self._total} scenes, {rate:.2f} a second, {listed} left")


def _write_scene(folder: Path, source: SceneSource, number: int) -> None:
    frames = source(number)
    images, annotations = [], []
    for index, frame in enumerate(frames):
        image_id = number * len(frames) + index
        entry = {"id": image_id, **_write_images(folder, frame, image_id), **frame.entry}
        images.append(entry)
        annotations += [{"image_id": image_id, **each} for each in frame.objects]
    credits = {key: value for frame in frames for key, value in frame.credits.items()}
    content = {"images": images, "annotations": annotations, "credits": credits}
    _write(_scene_file(folder, number), _dump(content))


def _write_images(folder: Path, frame: Frame, image_id: int) -> dict[str, Any]:
    """Write color and depth; returns the fields of the image's entry about them."""
    height, width = frame.image.shape[:2]
    fields: dict[str, Any] = {
        "file_name": f"images/{image_id:06}.jpg",
        "width": width,
        "height": height,
    }
    _write(folder / fields["file_name"], encode_image(frame.image, ".jpg", _QUALITY))
    if frame.depth is not None:
        fields["depth_file"] = f"depth/{image_id:06}.png"
        millimeters = np.round(frame.depth * 1000).clip(0, 65535).astype(np.uint16)
        _write(folder / fields["depth_file"], encode_image(millimeters, ".png"))
    return fields


def _join(folder: Path, settings: SourceSettings, count: int) -> int:
    """Write the annotations of all scenes; returns the number of images."""
    labels = settings.labels()
    category_ids = {label: index + 1 for index, label in enumerate(labels)}
    images: list[Mapping[str, Any]] = []
    annotations: list[Mapping[str, Any]] = []
    credits: dict[str, Any] = {}
    for scene in _scenes(folder, count):
        images += scene["images"]
        for each in scene["annotations"]:
            entry = {key: value for key, value in each.items() if key != "noun"}
            category = category_ids[each["noun"]]
            annotations.append({"id": len(annotations) + 1, "category_id": category, **entry})
        credits |= scene["credits"]
    content = {
        "info": {
            "description": f"scenes of mrmllm_ros, kind {settings.kind}",
            "version": VERSION,
            "seed": settings.seed,
            "split": settings.split,
        },
        "categories": [{"id": index, "name": label} for label, index in category_ids.items()],
        "images": images,
        "annotations": annotations,
    }
    _write(folder / CREDITS, _dump(dict(sorted(credits.items())), indent=1))
    _write(folder / ANNOTATIONS, _dump(content))
    return len(images)


def _scenes(folder: Path, count: int) -> Iterator[Mapping[str, Any]]:
    for number in range(count):
        yield _load(_scene_file(folder, number))


def _scene_file(folder: Path, number: int) -> Path:
    return folder / _SCENES / f"{number:06}.json"


def _load(path: Path) -> Any:
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}; remove it and render again") from error


def _dump(content: Any, indent: int | None = None) -> bytes:
    return json.dumps(content, indent=indent, ensure_ascii=False).encode("utf-8")


def _write(path: Path, data: bytes) -> None:
    with atomic_file(path) as written:
        written.write_bytes(data)
