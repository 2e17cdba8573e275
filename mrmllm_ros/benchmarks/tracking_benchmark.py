# SPDX-License-Identifier: Apache-2.0
"""How often people change their track id, against where they are known to walk.

The detector and the tracker go over 200 frames of the sample video at its 10 frames a second. The
truth is `vtest_people.json`: the box of each person at every fifth frame, straight lines between
them. Boxes are the embedded detector's where it has one and drawn by hand elsewhere; who is who
was seen by eye, and the eye was a model's. A person behind another or behind the sign is among
the truth; one who leaves the picture and comes back counts as another.
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
# As of the MOT benchmarks: two boxes are of one person from this overlap on.
_SAME_PERSON = 0.5


@dataclass(frozen=True)
class Settings(Validated):
    """The part of the node's settings that matters here."""

    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    tracking: TrackingSettings = group(TrackingSettings)


@dataclass(frozen=True, eq=False)
class Reference:
    """Where people are.

    Attributes:
        first: Number of the first frame.
        last: Number of the last frame.
        people: By description, (N, 5) frame numbers, ascending, and left, top, right, bottom in
            pixels.
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
        """The (4,) box of each person who is in a frame."""
        return {
            name: np.array([np.interp(frame, rows[:, 0], side) for side in rows[:, 1:].T])
            for name, rows in self.people.items()
            if rows[0, 0] <= frame <= rows[-1, 0]
        }


@dataclass
class SwitchCounter:
    """Counts identity switches as CLEAR MOT does (Bernardin and Stiefelhagen, 2008).

    A person stays with their track where the boxes still overlap by half; the others are paired
    with the tracks that are left so that the most, and then the best, overlap. A switch is a
    person paired with another track than the last one, however long ago that was.

    Attributes:
        switches: Number of switches by person.
        present: Number of frames with the person in them.
        tracked: Number of those in which the person had a track.
    """

    switches: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)

    def add(self, people: Mapping[str, np.ndarray], found: Detections) -> None:
        """Count one frame.

        Args:
            people: The (4,) box of each person, left, top, right, bottom.
            found: What was found; objects without track id do not count.
        """
        for name in people:
            self.present[name] = self.present.get(name, 0) + 1
            self.tracked.setdefault(name, 0)
            self.switches.setdefault(name, 0)
        for name, track_id in self._pairs(people, found):
            self.tracked[name] += 1
            self.switches[name] += self._last.get(name, track_id) != track_id
            self._last[name] = track_id

    def _pairs(
        self, people: Mapping[str, np.ndarray], found: Detections
    ) -> Iterator[tuple[str, str]]:
        tracked = found.take(np.flatnonzero([bool(track_id) for track_id in found.track_ids]))
        names = list(people)
        boxes = np.array(list(people.values())).reshape(-1, 4)
        overlaps = box_iou(boxes, tracked.xyxy)
        stays = [[self._last.get(name) == i for i in tracked.track_ids] for name in names]
        # A pair that stays outweighs every pair that is new, and a pair every better overlap.
        weights = overlaps + 1 + np.reshape(stays, overlaps.shape) * 2 * len(names)
        weights[overlaps < _SAME_PERSON] = 0
        for row, column in zip(*linear_sum_assignment(weights, maximize=True), strict=True):
            if weights[row, column] > 0:
                yield names[row], tracked.track_ids[column]


def run(
    params_file: Path | None = None, progress: Callable[[str], None] = print
) -> dict[str, object]:
    """Detect, track and count.

    Args:
        params_file: ROS 2 parameter file that chooses detector and tracking; None for the
            embedded ones.
        progress: Called with a line at each step.

    Raises:
        BenchmarkError: If tracking is switched off.
        MrmllmError: If the model or the video is missing.
    """
    settings = Settings.from_parameter_file(params_file)
    if not settings.tracking.enabled:
        raise BenchmarkError("there is nothing to count: set tracking.enabled to true")
    detector = load_detector(settings.detector, Compute.from_settings(settings.compute))
    tracker = Tracker(settings.tracking, itertools.count(1))
    reference, counter = Reference.read(), SwitchCounter()
    video = frames(locate("vtest") / "vtest.avi")
    progress(f"frames {reference.first} to {reference.last} of vtest.avi")
    for number, image in enumerate(islice(video, reference.first, reference.last + 1)):
        [perception] = detector.detect([image])
        found = tracker.update(perception, number / RATE_HZ).detections
        counter.add(reference.at(reference.first + number), found)
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
