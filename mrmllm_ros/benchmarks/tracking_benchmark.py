# SPDX-License-Identifier: Apache-2.0
"""Identity switches of people, compared with reference tracks.

Detector and tracker process 200 frames of the sample video at 10 frames per second. The reference,
`vtest_people.json`, has the box of each person in every fifth frame; boxes in between are
interpolated linearly. Boxes are those of the embedded detector, missing ones are drawn by hand. A
vision-language model assigned the identities. Occluded people are included; a person who leaves
the image and returns counts as another person.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.compute import Compute, ComputeSettings
from mrmllm_ros.detection.boxes import box_iou
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import DetectorSettings, load_detector
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.detection.tracker import Tracker, TrackingSettings
from mrmllm_ros.settings import Validated, group
from mrmllm_ros.weights import locate

REFERENCE = Path(__file__).parent / "vtest_people.json"
RATE_HZ = 10.0
# Minimum IoU of a person and a track, as in the MOT benchmarks.
_IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class Settings(Validated):
    """Settings of the node that the benchmark uses."""

    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    tracking: TrackingSettings = group(TrackingSettings)


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference tracks of people.

    Attributes:
        first: Number of the first frame.
        last: Number of the last frame.
        people: By person, (N, 5) array of frame number (ascending), left, top, right and bottom
            in pixels.
    """

    first: int
    last: int
    people: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, path: Path = REFERENCE) -> Reference:
        """Read a reference file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        people = {name: np.array(rows, float) for name, rows in content["people"].items()}
        return cls(content["first"], content["last"], people)

    def at(self, frame: int) -> dict[str, np.ndarray]:
        """The (4,) box of each person in a frame."""
        return {
            name: np.array([np.interp(frame, rows[:, 0], side) for side in rows[:, 1:].T])
            for name, rows in self.people.items()
            if rows[0, 0] <= frame <= rows[-1, 0]
        }


@dataclass
class SwitchCounter:
    """Counts identity switches as in CLEAR MOT (Bernardin and Stiefelhagen, 2008).

    A person keeps their track while the IoU is at least 0.5. The others are matched with the
    remaining tracks, first by number of matches, then by IoU. A switch is a match with another
    track than the person's last one.

    Attributes:
        switches: Number of switches by person.
        present: Number of frames with the person.
        tracked: Number of frames in which the person has a track.
    """

    switches: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)

    def add(self, people: Mapping[str, np.ndarray], detections: Detections) -> None:
        """Count a frame.

        Args:
            people: The (4,) box of each person: left, top, right and bottom.
            detections: Tracked objects; objects without track id are ignored.
        """
        for name in people:
            self.present[name] = self.present.get(name, 0) + 1
            self.tracked.setdefault(name, 0)
            self.switches.setdefault(name, 0)
        for name, track_id in self._match(people, detections):
            self.tracked[name] += 1
            self.switches[name] += self._last.get(name, track_id) != track_id
            self._last[name] = track_id

    def _match(
        self, people: Mapping[str, np.ndarray], detections: Detections
    ) -> Iterator[tuple[str, str]]:
        has_track = [bool(track_id) for track_id in detections.track_ids]
        tracked = detections.take(np.flatnonzero(has_track))
        names = list(people)
        boxes = np.array(list(people.values())).reshape(-1, 4)
        ious = box_iou(boxes, tracked.xyxy)
        kept = [[self._last.get(name) == i for i in tracked.track_ids] for name in names]
        # A kept match outweighs all new ones, and a match outweighs every higher IoU.
        weights = ious + 1 + np.reshape(kept, ious.shape) * 2 * len(names)
        weights[ious < _IOU_THRESHOLD] = 0
        for row, column in zip(*linear_sum_assignment(weights, maximize=True), strict=True):
            if weights[row, column] > 0:
                yield names[row], tracked.track_ids[column]


def run(
    params_file: Path | None = None, progress: Callable[[str], None] = print
) -> dict[str, object]:
    """Detect, track and count.

    Args:
        params_file: ROS 2 parameter file with settings of detector and tracking; None for the
            defaults.
        progress: Called with a line of text at each step.

    Raises:
        BenchmarkError: If tracking is disabled.
        MrmllmError: If the model or the video is missing.
    """
    settings = Settings.from_parameter_file(params_file)
    if not settings.tracking.enabled:
        raise BenchmarkError("tracking is disabled; set tracking.enabled to true")
    detector = load_detector(settings.detector, Compute.from_settings(settings.compute))
    tracker = Tracker(settings.tracking, itertools.count(1))
    reference, counter = Reference.read(), SwitchCounter()
    video = frames(locate("vtest") / "vtest.avi")
    progress(f"frames {reference.first} to {reference.last} of vtest.avi")
    for number, image in enumerate(islice(video, reference.first, reference.last + 1)):
        [perception] = detector.detect([image])
        detections = tracker.update(perception, number / RATE_HZ).detections
        counter.add(reference.at(reference.first + number), detections)
    return _figures(reference, counter)


def _figures(reference: Reference, counter: SwitchCounter) -> dict[str, object]:
    switches, people = sum(counter.switches.values()), len(reference.people)
    return {
        "frames": reference.last - reference.first + 1,
        "people": people,
        "identity_switches": switches,
        "identity_switches_per_person": round(switches / people, 2),
        "share_of_people_tracked": round(
            sum(counter.tracked.values()) / sum(counter.present.values()), 3
        ),
        "switches_by_person": counter.switches,
    }
