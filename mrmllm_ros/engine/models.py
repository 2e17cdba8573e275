# SPDX-License-Identifier: Apache-2.0
"""Load the models that the settings select."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.detector import Detector, load_detector
from mrmllm_ros.engine.engine_settings import Settings


@dataclass(frozen=True)
class Models:
    """Loaded detector and answerer.

    Attributes:
        detector: Detects objects.
        answerer: Enriches detections and answers questions; None for detection only.
    """

    detector: Detector
    answerer: Answerer | None

    @classmethod
    def load(cls, settings: Settings) -> Models:
        """Load the models onto the selected device.

        Raises:
            SettingsError: If the device does not exist.
            DetectorError: If the detector cannot be loaded.
            MrmllmError: If the answerer cannot be loaded, see `load_answerer`.
        """
        compute = Compute.from_settings(settings.compute)
        detector = load_detector(settings.detector, compute)
        if settings.answerer == "none":
            return cls(detector, None)
        # Imports transformers, which a detector alone does not need.
        from mrmllm_ros.engine.answerer_loading import load_answerer

        return cls(detector, load_answerer(settings, compute, detector))
