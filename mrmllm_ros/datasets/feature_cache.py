# SPDX-License-Identifier: Apache-2.0
"""Features of images on disk, so that only the first run computes them.

`$MRMLLM_HOME/cache/features` has a folder for each configuration of the frozen models and of the
views, and in it one file for each image. The total size is limited; the folders that were not used
for the longest time are removed first.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from mrmllm_ros.atomic_files import atomic_file
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import LabelScores, Perception
from mrmllm_ros.environment import cache_folder
from mrmllm_ros.weights.download import folder_size

# Increment when the same configuration gives other features or other files.
_VERSION = 1
_SUFFIX = ".npz"
_FULL = "they reach feature_cache_gb"
# Exceptions of damaged files.
_DAMAGED = (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewFeatures:
    """Outputs of the frozen models, and colors, for a view.

    Attributes:
        example: Candidates, measured colors and tokens, in half precision; without questions and
            targets.
        novelty: Novelty of the view, 0 to 1.
        colors: Measured colors of the M true objects in the clean view; empty if unknown.
        depths_m: (K,) float32 measured depth of the candidates in meters, NaN if unknown.
    """

    example: Example
    novelty: float
    colors: tuple[str, ...]
    depths_m: np.ndarray


class FeatureCache:
    """Files of features with one configuration.

    Attributes:
        folder: Folder of the files.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        limit_bytes: float,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Open the cache and remove folders of other configurations if it is too large.

        Args:
            configuration: All that the features depend on beside the images, as JSON values.
            limit_bytes: Maximum size of all configurations together.
            progress: Called with a line for each problem.
        """
        self._configuration = digest_of({"version": _VERSION, **configuration})
        self._progress = progress or (lambda line: None)
        root = cache_folder() / "features"
        self.folder = root / self._configuration
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            os.utime(self.folder)  # the time of the last use
            self._free = limit_bytes - _prune(root, self.folder, limit_bytes)
        except OSError as error:
            self._stop(error)
        else:
            if self._free <= 0:
                self._stop(_FULL)

    def read(self, image: str) -> list[ViewFeatures] | None:
        """Features of the views of an image; None if they have to be computed.

        Args:
            image: Digest of the image and its annotations.
        """
        path = self._path(image)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                described = json.loads(bytes(arrays["description"]))
                if described["key"] != [self._configuration, image]:
                    raise ValueError("it holds the features of another image")
                views = enumerate(described["views"])
                return [_unpacked(arrays, f"{i}.", values) for i, values in views]
        except _DAMAGED as error:
            self._progress(f"{path} is damaged and is computed again: {error}")
            return None

    def write(self, image: str, views: Sequence[ViewFeatures]) -> None:
        """Keep the features of the views of an image, if the limit and the disk allow it."""
        arrays: dict[str, np.ndarray] = {}
        packed = [_packed(arrays, f"{i}.", each) for i, each in enumerate(views)]
        description = {"key": [self._configuration, image], "views": packed}
        arrays["description"] = np.frombuffer(json.dumps(description).encode(), np.uint8)
        buffer = BytesIO()
        np.savez(buffer, **arrays)
        if 0 < self._free < buffer.tell():
            self._stop(_FULL)
        if self._free <= 0:
            return
        try:
            with atomic_file(self._path(image)) as written:
                written.write_bytes(buffer.getbuffer())
            self._free -= buffer.tell()
        except OSError as error:
            self._stop(error)

    def _path(self, image: str) -> Path:
        return self.folder / f"{image}{_SUFFIX}"

    def _stop(self, reason: object) -> None:
        self._free = 0.0
        self._progress(f"further features are not kept in {self.folder}: {reason}")


def digest_of(values: Any) -> str:
    """Digest of JSON values, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def _prune(root: Path, kept: Path, limit_bytes: float) -> int:
    """Remove the folders that were used first until the limit is kept; returns the bytes left."""
    sizes = {path: folder_size(path) for path in root.iterdir() if path.is_dir()}
    others = sorted(sizes.keys() - {kept}, key=lambda path: path.stat().st_mtime)
    for path in others:
        if sum(sizes.values()) <= limit_bytes:
            break
        shutil.rmtree(path, ignore_errors=True)
        del sizes[path]
    return sum(sizes.values())


def _packed(arrays: dict[str, np.ndarray], prefix: str, view: ViewFeatures) -> dict[str, Any]:
    """Add the arrays of a view; returns its other values."""
    example, perception = view.example, view.example.perception
    candidates, scores = perception.candidates, perception.label_scores
    optional = {
        "features": None if perception.features is None else perception.features.numpy(),
        "visual": None if example.visual is None else example.visual.numpy(),
        "label_scores": None if scores is None else scores.scores,
        "region_names": example.region_names,
    }
    named = {"xyxy": candidates.xyxy, "scores": candidates.scores, "depths_m": view.depths_m}
    named |= {name: array for name, array in optional.items() if array is not None}
    arrays |= {f"{prefix}{name}": array for name, array in named.items()}
    return {
        "labels": candidates.labels,
        "resolution_wh": candidates.resolution_wh,
        "score_threshold": perception.score_threshold,
        "score_labels": None if scores is None else scores.labels,
        "attributes": [dict(each) for each in example.attributes],
        "novelty": view.novelty,
        "colors": view.colors,
    }


def _unpacked(arrays: Mapping[str, np.ndarray], prefix: str, values: Any) -> ViewFeatures:
    """The inverse of `_packed`.

    Raises:
        KeyError, TypeError, ValueError: If a part is missing or has another shape.
    """

    def array(name: str) -> np.ndarray | None:
        return arrays.get(prefix + name)

    def tensor(name: str) -> torch.Tensor | None:
        found = array(name)
        return None if found is None else torch.from_numpy(found)

    width, height = values["resolution_wh"]
    candidates = Detections(
        xyxy=arrays[f"{prefix}xyxy"],
        scores=arrays[f"{prefix}scores"],
        labels=tuple(values["labels"]),
        resolution_wh=(width, height),
    )
    scores = array("label_scores")
    label_scores = None if scores is None else LabelScores(tuple(values["score_labels"]), scores)
    perception = Perception(
        candidates,
        values["score_threshold"],
        box_features=tensor("features"),
        label_scores=label_scores,
    )
    return ViewFeatures(
        example=Example(
            perception=perception,
            attributes=tuple(values["attributes"]),
            questions=(),
            visual=tensor("visual"),
            region_names=array("region_names"),
        ),
        novelty=values["novelty"],
        colors=tuple(values["colors"]),
        depths_m=arrays[f"{prefix}depths_m"],
    )
