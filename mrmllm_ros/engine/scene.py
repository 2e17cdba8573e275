# SPDX-License-Identifier: Apache-2.0
"""Frames, scenes, and the memory of the newest ones."""

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
    # Nodes without models do not import the models' libraries.
    from mrmllm_ros.answering.answerer import EncodedImage


@dataclass(frozen=True, eq=False)
class Frame:
    """Image of a camera.

    Attributes:
        image: (H, W, 3) uint8 array in BGR order; may be read-only.
        camera: Name of the camera.
        frame_id: Coordinate frame of the camera, from the image's header.
        stamp_ns: Stamp of the image's header in nanoseconds; 0 if the driver sets none.
        received_ns: Arrival time of the image on the same clock, in nanoseconds.
    """

    image: np.ndarray
    camera: str
    frame_id: str
    stamp_ns: int
    received_ns: int

    @property
    def captured_ns(self) -> int:
        """The stamp, or the arrival time without a stamp."""
        return self.stamp_ns or self.received_ns


@dataclass(frozen=True, eq=False)
class Scene:
    """Frame with its perception.

    Attributes:
        frame: The frame.
        perception: Tracked detections.
        latency_s: Seconds from the start of decoding to the end of tracking.
        perceived_s: Time of the end of tracking on the monotonic clock.
    """

    frame: Frame
    perception: Perception
    latency_s: float
    perceived_s: float


@dataclass(frozen=True, eq=False)
class EnrichedScene:
    """Scene after the fusion pass.

    Attributes:
        scene: The scene.
        encoded: State of the answerer, from which every question about the scene continues.
        latency_s: Seconds from the start of decoding to the end of the fusion pass.
    """

    scene: Scene
    encoded: EncodedImage
    latency_s: float


class SceneMemory:
    """Newest scene and newest enriched scene of each camera; thread-safe."""

    def __init__(
        self,
        cameras: Sequence[str],
        now_ns: Callable[[], int],
        explain_silence: Callable[[str], str],
    ) -> None:
        """Create an empty memory.

        Args:
            cameras: Names of the cameras.
            now_ns: Clock of the images' stamps, in nanoseconds.
            explain_silence: See `EngineListener.explain_silence`.
        """
        self._cameras = tuple(cameras)
        self._now_ns = now_ns
        self._explain_silence = explain_silence
        self._scenes: dict[str, Scene] = {}
        self._enriched: dict[str, EnrichedScene] = {}
        self._failures: dict[str, str] = {}
        self._changed = Condition()

    def put(self, scene: Scene) -> None:
        """Store the newest scene of a camera."""
        with self._changed:
            self._scenes[scene.frame.camera] = scene
            self._failures.pop(scene.frame.camera, None)
            self._changed.notify_all()

    def put_failure(self, camera: str, reason: str) -> None:
        """Store why the newest image of a camera has no scene."""
        with self._changed:
            self._failures[camera] = reason

    def put_enriched(self, enriched: EnrichedScene) -> None:
        """Store the newest enriched scene of a camera."""
        with self._changed:
            self._enriched[enriched.scene.frame.camera] = enriched
            self._changed.notify_all()

    def scene(self, camera: str) -> Scene | None:
        """The newest scene of a camera, of any age."""
        with self._changed:
            return self._scenes.get(camera)

    def enriched(self, camera: str) -> EnrichedScene | None:
        """The newest enriched scene of a camera, of any age."""
        with self._changed:
            return self._enriched.get(camera)

    def wake(self) -> None:
        """Let `wait_for_recent` check `should_stop` again."""
        with self._changed:
            self._changed.notify_all()

    def resolve_camera(self, name: str) -> str:
        """Name of the camera of a request.

        Args:
            name: Name of a camera; may be empty if there is only one.

        Raises:
            QueryError: If the camera is unknown, or the name is empty and there are several.
        """
        known = f"cameras: {', '.join(self._cameras)}"
        if name in self._cameras:
            return name
        if name:
            raise QueryError(
                ErrorCode.UNKNOWN_CAMERA, f"unknown camera {reprlib.repr(name)}; {known}"
            )
        if len(self._cameras) > 1:
            raise QueryError(ErrorCode.CAMERA_REQUIRED, f"the request names no camera; {known}")
        return self._cameras[0]

    def wait_for_recent(
        self, camera: str, max_age_s: float, until_s: float, should_stop: Callable[[], bool]
    ) -> Scene | EnrichedScene | None:
        """Wait for a scene that is not too old.

        An enriched scene is preferred to a newer one, because it is answered about sooner.

        Args:
            camera: Name of the camera.
            max_age_s: Maximum age of the image in seconds.
            until_s: End of the wait on the monotonic clock.
            should_stop: Ends the wait if true; checked at every change.

        Returns:
            The scene, or None if `should_stop` ended the wait.

        Raises:
            QueryError: If there is no image, or none that is recent enough.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: should_stop() or self._recent(camera, max_age_s) is not None,
                timeout=max(0.0, until_s - time.monotonic()),
            )
            if should_stop():
                return None
            if (recent := self._recent(camera, max_age_s)) is not None:
                return recent
            scene, failure = self._scenes.get(camera), self._failures.get(camera)
        if scene is not None:
            reason = self._explain_stale(scene.frame, max_age_s, failure)
            raise QueryError(ErrorCode.STALE_IMAGE, reason)
        if failure is not None:
            reason = f"all images of camera {camera!r} are unusable, the newest because: {failure}"
            raise QueryError(ErrorCode.NO_IMAGE, reason)
        reason = f"no image has arrived from camera {camera!r}; {self._explain_silence(camera)}"
        raise QueryError(ErrorCode.NO_IMAGE, reason)

    def _explain_stale(self, frame: Frame, max_age_s: float, failure: str | None) -> str:
        now_ns = self._now_ns()
        age_s = (now_ns - frame.captured_ns) / 1e9
        since_arrival_s = (now_ns - frame.received_ns) / 1e9
        # Six digits, because the age may be close to the maximum.
        age, maximum = f"{rounded(abs(age_s), 6)} s", f"{rounded(max_age_s, 6)} s"
        image = f"the newest image of camera {frame.camera!r}"
        if now_ns == 0:
            return (
                "the node's clock is 0: use_sim_time is true and nothing is published on /clock; "
                "play the bag with --clock, start the simulator, or set use_sim_time to false"
            )
        if failure is not None:
            return (
                f"the newest usable image of camera {frame.camera!r} is {age} old; later images "
                f"are unusable, the newest because: {failure}"
            )
        if age_s < 0 or 0 <= since_arrival_s <= max_age_s:
            return (
                f"the stamp of {image} is {age} {'before' if age_s > 0 else 'after'} the node's "
                f"clock, the maximum is {maximum}; synchronize the clocks, or set use_sim_time if "
                "a bag or simulator provides the time"
            )
        return (
            f"{image} is {age} old, the maximum is {maximum}; ask with a larger max_age, or check "
            f"the camera: {self._explain_silence(frame.camera)}"
        )

    def age_s(self, scene: Scene) -> float:
        """Absolute difference of a scene's stamp and the clock in seconds."""
        # A simulated clock may have jumped back.
        return abs(self._now_ns() - scene.frame.captured_ns) / 1e9

    def _recent(self, camera: str, max_age_s: float) -> Scene | EnrichedScene | None:
        enriched, scene = self._enriched.get(camera), self._scenes.get(camera)
        if enriched is not None and self.age_s(enriched.scene) <= max_age_s:
            return enriched
        if scene is not None and self.age_s(scene) <= max_age_s:
            return scene
        return None
