# SPDX-License-Identifier: Apache-2.0
"""What the measurements of the fusion model have in common: the model and a real frame."""

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
from mrmllm_ros.engine.models import Settings
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.visual_encoder import VisualEncoder
from mrmllm_ros.weights import locate

# A frame of the sample video with more than fifty candidates at the lowest threshold.
_SAMPLE_FRAME = 650
_LEAST_THRESHOLD = 0.01
_MOST_CANDIDATES = 300


class BenchmarkError(MrmllmError):
    """A measurement cannot be made of what was given."""


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        settings: Which models; the detector gives every candidate that it can.
        image: Image file; None for a frame of the sample video.
        rounds: How often everything is measured, in turns.
        progress: Called with a line at each step.
    """

    settings: Settings = field(default_factory=lambda: Settings.from_parameters({}))
    image: Path | None = None
    rounds: int = 5
    progress: Callable[[str], None] = field(default=print)

    def frame(self) -> np.ndarray:
        """(H, W, 3) uint8 in BGR order."""
        if self.image is not None:
            images = readable_frames(self.image, lambda e: self.progress(f"skipped: {e}"))
            if (image := next(images, None)) is None:
                raise BenchmarkError(f"no image in {self.image} can be read; name another one")
            return image
        video = frames(locate("vtest") / "vtest.avi")
        return next(islice(video, _SAMPLE_FRAME, None))


@dataclass(frozen=True, eq=False)
class Fusion:
    """The fusion model and a real frame for it.

    Without a checkpoint every mechanism is on and the weights are random, which changes its words
    and not its speed.
    """

    answerer: MrMllmAnswerer
    language_model: LanguageModel
    image: np.ndarray
    candidates: Perception

    @classmethod
    def load(cls, options: Options) -> Fusion:
        """Load the models and look at the frame."""
        settings, image = options.settings, options.frame()
        compute = Compute.from_settings(settings.compute)
        every = replace(
            settings.detector,
            candidate_threshold=_LEAST_THRESHOLD,
            max_detections=_MOST_CANDIDATES,
        )
        detector = load_detector(every, compute)
        language_model = LanguageModel.load(settings.language_model, compute)
        encoder = VisualEncoder.load(settings.visual_encoder, compute)
        backbones = Backbones(language_model, detector, encoder)
        if settings.trained.checkpoint:
            answerer = MrMllmAnswerer.load(settings.trained, settings.prompt, backbones)
        else:
            torch.manual_seed(0)
            model = MrMllm(MrMllm.configure(backbones, prompt_examples=True), backbones)
            answerer = MrMllmAnswerer(model, backbones, settings.prompt)
        [candidates] = detector.detect([image])
        return cls(answerer, language_model, image, candidates)

    def perception(self, objects: int) -> Perception:
        """The frame with this many objects, all of them reported.

        Raises:
            BenchmarkError: If the detector finds fewer.
        """
        found = len(self.candidates.candidates)
        if found < objects:
            raise BenchmarkError(
                f"the detector finds {found} candidates in the image, {objects} are needed; name "
                "another with --image"
            )
        features = self.candidates.features
        return Perception(
            self.candidates.candidates.take(np.arange(objects)),
            score_threshold=0.0,
            features=None if features is None else features[:objects],
        )


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Median and quartiles, in milliseconds."""
    low, median, high = np.percentile(np.array(seconds) * 1e3, [25, 50, 75])
    return {
        "median": round(float(median), 2),
        "quartiles": [round(low.item(), 2), round(high.item(), 2)],
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Of the medians."""
    return round(float(np.median(ours) / np.median(theirs)), 3)


def wait_for(device: torch.device) -> None:
    """Let a GPU finish what it was given, so that a clock read now tells."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def weights_mib(*modules: torch.nn.Module) -> float:
    """Size of the weights, each counted once."""
    weights = {id(weight): weight for module in modules for weight in module.parameters()}
    return _mib(sum(weight.nbytes for weight in weights.values()))


def cache_mib(cache: DynamicCache) -> float:
    """Size of cached keys and values."""
    return _mib(sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers))


def _mib(size: int) -> float:
    return round(size / 2**20, 1)
