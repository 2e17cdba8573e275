# SPDX-License-Identifier: Apache-2.0
"""What was seen last, and how old it is."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING

import numpy as np

from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.errors import rounded

if TYPE_CHECKING:
    # What shows or converts scenes need not load the models' libraries.
    from mrmllm_ros.answering.answerer import EncodedImage


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a camera.

    Attributes:
        image: (H, W, 3) uint8 in BGR order.
        camera: Name of the camera.
        frame_id: Coordinate frame of the camera, from the image's header.
        stamp_ns: Stamp of the image's header in nanoseconds; 0 where the driver sets none.
        received_ns: When the image came, in nanoseconds of the same clock.
    """

    image: np.ndarray
    camera: str
    frame_id: str
    stamp_ns: int
    received_ns: int

    @property
    def captured_ns(self) -> int:
        """The stamp, or the time of receipt where there is no stamp."""
        return self.stamp_ns or self.received_ns


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame and what was perceived in it.

    Attributes:
        frame: The frame.
        perception: What the detector found.
        latency_s: From taking up the frame to the end of perception.
        perceived_s: End of perception on the monotonic clock.
    """

    frame: Frame
    perception: Perception
    latency_s: float
    perceived_s: float


@dataclass(frozen=True, eq=False)
class EnrichedScene:
    """A scene and what the answering model has made of it.

    Attributes:
        scene: The scene.
        encoded: What every question about it starts from.
        latency_s: From taking up the frame to the end of the fusion pass.
    """

    scene: Scene
    encoded: EncodedImage
    latency_s: float


def see_the_driver(_: str) -> str:
    """Explain nothing about a camera without a new image."""
    return "see its driver"


class SceneMemory:
    """The newest scene of each camera, and the newest that has been enriched."""

    def __init__(
        self,
        cameras: Sequence[str],
        now_ns: Callable[[], int],
        explain: Callable[[str], str] = see_the_driver,
    ) -> None:
        """Start with nothing seen.

        Args:
            cameras: Names of the cameras.
            now_ns: The clock of the images' stamps, in nanoseconds.
            explain: Says of a camera without a new image where its images should come from, and
                what to do.
        """
        self._cameras = tuple(cameras)
        self._now_ns = now_ns
        self._explain = explain
        self._scenes: dict[str, Scene] = {}
        self._enriched: dict[str, EnrichedScene] = {}
        self._failures: dict[str, str] = {}
        self._changed = Condition()

    def put(self, scene: Scene) -> None:
        """Replace the camera's scene."""
        with self._changed:
            self._scenes[scene.frame.camera] = scene
            self._failures.pop(scene.frame.camera, None)
            self._changed.notify_all()

    def fail(self, camera: str, reason: str) -> None:
        """Remember why the camera's newest image has given no scene."""
        with self._changed:
            self._failures[camera] = reason

    def put_enriched(self, enriched: EnrichedScene) -> None:
        """Replace the camera's enriched scene."""
        with self._changed:
            self._enriched[enriched.scene.frame.camera] = enriched
            self._changed.notify_all()

    def scene(self, camera: str) -> Scene | None:
        """The camera's newest scene, however old."""
        with self._changed:
            return self._scenes.get(camera)

    def enriched(self, camera: str) -> EnrichedScene | None:
        """The camera's newest enriched scene, however old."""
        with self._changed:
            return self._enriched.get(camera)

    def wake(self) -> None:
        """Let every waiting caller look at its `give_up` again."""
        with self._changed:
            self._changed.notify_all()

    def camera(self, name: str) -> str:
        """The camera that a query means.

        Args:
            name: Name of a camera; empty where there is only one.

        Raises:
            QueryError: If there is no such camera, or none is named and there are several.
        """
        known = f"cameras: {', '.join(self._cameras)}"
        if name in self._cameras:
            return name
        if name:
            raise QueryError(
                ErrorCode.UNKNOWN_CAMERA, f"there is no camera {reprlib.repr(name)}; {known}"
            )
        if len(self._cameras) > 1:
            raise QueryError(ErrorCode.CAMERA_REQUIRED, f"name one of several {known}")
        return self._cameras[0]

    def fresh(
        self, camera: str, max_age_s: float, until_s: float, give_up: Callable[[], bool]
    ) -> Scene | EnrichedScene | None:
        """A scene of the camera that is not too old, waiting for one.

        An enriched scene comes before a newer one that is not: questions about it are answered
        sooner.

        Args:
            camera: Name of the camera.
            max_age_s: Greatest age of the image in seconds.
            until_s: When to stop waiting, on the monotonic clock.
            give_up: Looked at whenever something changes; true ends the wait.

        Returns:
            The scene, or None if `give_up` ended the wait.

        Raises:
            QueryError: If no image has come at all, or none that is new enough.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: give_up() or self._newest(camera, max_age_s) is not None,
                timeout=max(0.0, until_s - time.monotonic()),
            )
            if give_up():
                return None
            if (newest := self._newest(camera, max_age_s)) is not None:
                return newest
            scene, failure = self._scenes.get(camera), self._failures.get(camera)
        if scene is None:
            raise QueryError(
                ErrorCode.NO_IMAGE,
                f"no image has come from camera {camera!r}; {self._explain(camera)}"
                if failure is None
                else f"no image of camera {camera!r} could be used, the newest because: {failure}",
            )
        raise QueryError(ErrorCode.STALE_IMAGE, self._why_stale(scene.frame, max_age_s, failure))

    def _why_stale(self, frame: Frame, max_age_s: float, failure: str | None) -> str:
        now_ns, camera = self._now_ns(), frame.camera
        away_s = (now_ns - frame.captured_ns) / 1e9
        received_s = (now_ns - frame.received_ns) / 1e9
        # Six digits, for the age may be hardly more than what is asked for.
        age = f"{rounded(abs(away_s), 6)} s"
        if now_ns == 0:
            return (
                "the node's clock stands at 0: use_sim_time is true and no time has come on "
                "/clock; play the bag with --clock, start the simulator, or set use_sim_time to "
                "false"
            )
        if failure is not None:
            return (
                f"the newest image of camera {camera!r} that could be used is {age} old; later "
                f"ones could not, the last because: {failure}"
            )
        if away_s < 0 or 0 <= received_s <= max_age_s:
            return (
                f"the newest image of camera {camera!r} is stamped {age} "
                f"{'before' if away_s > 0 else 'after'} the time of the node's clock, and at most "
                f"{rounded(max_age_s, 6)} s is asked for; synchronize the clocks, or set "
                "use_sim_time where a bag or a simulator gives the time"
            )
        return (
            f"the newest image of camera {camera!r} is {age} old and at most "
            f"{rounded(max_age_s, 6)} s is asked for; ask with a larger max_age, or check the "
            f"camera: {self._explain(camera)}"
        )

    def age_s(self, scene: Scene) -> float:
        """Age of a scene's image in seconds."""
        # After a simulated clock has jumped back, a scene from the future is as useless as an
        # old one.
        return abs(self._now_ns() - scene.frame.captured_ns) / 1e9

    def _newest(self, camera: str, max_age_s: float) -> Scene | EnrichedScene | None:
        enriched, scene = self._enriched.get(camera), self._scenes.get(camera)
        if enriched is not None and self.age_s(enriched.scene) <= max_age_s:
            return enriched
        if scene is not None and self.age_s(scene) <= max_age_s:
            return scene
        return None
