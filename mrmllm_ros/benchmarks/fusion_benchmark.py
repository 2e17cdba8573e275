# SPDX-License-Identifier: Apache-2.0
"""Parts that the benchmarks of the fusion model share: loaded models, a frame, statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from transformers import DynamicCache

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.detector import Perception, load_detector
from mrmllm_ros.detection.playback import frames, readable_frames
from mrmllm_ros.engine.answerer_loading import load_label_fusion
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.weights import locate

# A frame of the sample video with more than 50 candidates at the minimum threshold.
_SAMPLE_FRAME = 650
_MIN_THRESHOLD = 0.01
_MAX_CANDIDATES = 300


class BenchmarkError(MrmllmError):
    """A measurement failed or is not possible."""


@dataclass(frozen=True)
class Options:
    """Options of the benchmarks of the fusion model.

    Attributes:
        settings: Settings of the models; the thresholds of the detector are replaced.
        image: Image file; None for a frame of the sample video.
        rounds: Number of measurements.
        progress: Called with a line of text at each step.
    """

    settings: Settings = field(default_factory=lambda: Settings.from_parameters({}))
    image: Path | None = None
    rounds: int = 5
    progress: Callable[[str], None] = field(default=print)

    def frame(self) -> np.ndarray:
        """Read the frame: (H, W, 3) uint8 array in BGR order."""
        if self.image is not None:
            images = readable_frames(self.image, lambda e: self.progress(f"skipped: {e}"))
            if (image := next(images, None)) is None:
                raise BenchmarkError(f"no image in {self.image} can be read; name another one")
            return image
        video = frames(locate("vtest") / "vtest.avi")
        return next(islice(video, _SAMPLE_FRAME, None))


@dataclass(frozen=True, eq=False)
class Fusion:
    """The fusion model and a frame.

    Without a checkpoint the weights are random and every mechanism is on.
    """

    answerer: MrMllmAnswerer
    image: np.ndarray
    candidates: Perception
    label_fusion: LabelFusion | None

    @classmethod
    def load(cls, options: Options) -> Fusion:
        """Load the models and detect the candidates in the frame."""
        settings, image = options.settings, options.frame()
        compute = Compute.from_settings(settings.compute)
        detector_settings = replace(
            settings.detector,
            candidate_threshold=_MIN_THRESHOLD,
            max_detections=_MAX_CANDIDATES,
        )
        detector = load_detector(detector_settings, compute)
        backbones = Backbones.load(
            detector,
            settings.language_model,
            settings.visual_encoder,
            compute,
            settings.trained.source,
        )
        if settings.trained.checkpoint:
            answerer = MrMllmAnswerer.load(settings.trained, settings.prompt, backbones)
        else:
            torch.manual_seed(0)
            model = MrMllm(MrMllm.configure(backbones, prompt_examples=True), backbones)
            answerer = MrMllmAnswerer(model, backbones, settings.prompt)
        [candidates] = detector.detect([image])
        return cls(answerer, image, candidates, load_label_fusion(settings, backbones))

    def perception(self, objects: int) -> Perception:
        """Perception of the frame with a number of objects, all reported.

        Raises:
            BenchmarkError: If the detector finds fewer candidates.
        """
        candidates = len(self.candidates.candidates)
        if candidates < objects:
            raise BenchmarkError(
                f"the image has {candidates} candidates, {objects} are needed; name another image "
                "with --image"
            )
        return replace(self.candidates.take(np.arange(objects)), score_threshold=0.0)


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Median and quartiles in milliseconds."""
    low, median, high = np.percentile(np.array(seconds) * 1e3, [25, 50, 75])
    return {
        "median": round(float(median), 2),
        "quartiles": [round(low.item(), 2), round(high.item(), 2)],
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Ratio of the medians."""
    return round(float(np.median(ours) / np.median(theirs)), 3)


def wait_for(device: torch.device) -> None:
    """Wait for a GPU to finish all work, before time is measured."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def weights_mib(*modules: torch.nn.Module) -> float:
    """Size of weights in MiB; shared weights count once."""
    weights = {id(weight): weight for module in modules for weight in module.parameters()}
    return _mib(sum(weight.nbytes for weight in weights.values()))


def cache_mib(cache: DynamicCache) -> float:
    """Size of a key-value cache in MiB."""
    return _mib(sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers))


def _mib(size: int) -> float:
    return round(size / 2**20, 1)
