# SPDX-License-Identifier: Apache-2.0
"""YOLO-family detectors through ultralytics, which is licensed AGPL-3.0."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# A robot's node neither installs packages nor asks the network for updates. Read on import.
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")

import numpy as np
import torch
import ultralytics

from mrmllm_ros import weights
from mrmllm_ros.perception.detections import Detections
from mrmllm_ros.perception.detector import (
    Detector,
    DetectorError,
    DetectorSettings,
    Perception,
)
from mrmllm_ros.perception.roi_features import pool_boxes
from mrmllm_ros.weights.catalog import CATALOG

if TYPE_CHECKING:
    from ultralytics.engine.predictor import BasePredictor
    from ultralytics.engine.results import Results

    from mrmllm_ros.compute import Compute

SUFFIXES = (".onnx", ".pt", ".engine")


class UltralyticsDetector(Detector):
    """Any detection model that `ultralytics.YOLO` runs.

    An ONNX model with a second, four-dimensional output gives features: they are pooled from it
    over each box. Other models give none.
    """

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        """Load the model and run it once.

        Raises:
            DetectorError: If the model is missing, of another kind or unreadable.
            WeightsError: If an embedded model is missing or damaged.
        """
        path = model_path(settings.model)
        try:
            model = ultralytics.YOLO(path, task="detect" if path.suffix != ".pt" else None)
            self._predictor = _make_predictor(model, settings, compute)
            self.detect([np.zeros((480, 640, 3), np.uint8)])
        except Exception as error:
            # Each format's own library reports a bad file in its own way, some on many lines.
            reason = " ".join(str(error).split())
            raise DetectorError(
                f"the detector {path} cannot be loaded: {reason}. Name another with the "
                "parameter detector.model"
            ) from error
        self.name = path.stem
        self.labels = tuple(self._predictor.model.names.values())

    def configure(self, settings: DetectorSettings) -> None:
        """Take over thresholds and limits from `settings`."""
        arguments = self._predictor.args
        arguments.conf = settings.score_threshold
        arguments.iou = settings.iou_threshold
        arguments.max_det = settings.max_detections

    def detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        """See `Detector.detect`."""
        if not images:
            return []
        results = self._predictor(list(images))
        maps = self._predictor.feature_map
        return [
            self._perception(result, None if maps is None else maps[i : i + 1])
            for i, result in enumerate(results)
        ]

    def _perception(self, result: Results, feature_map: torch.Tensor | None) -> Perception:
        detections = _detections(result)
        if feature_map is None:
            return Perception(detections)
        input_wh = self._predictor.input_wh
        xyxy = to_letterbox(detections.xyxy, detections.resolution_wh, input_wh)
        boxes = torch.from_numpy(xyxy).to(feature_map.device)
        stride = input_wh[0] / feature_map.shape[-1]
        return Perception(detections, pool_boxes(feature_map, boxes, stride))


def model_path(model: str) -> Path:
    """Path of the model: an embedded one by name, or a file.

    Raises:
        DetectorError: If there is no such file, or ultralytics does not run its kind.
        WeightsError: If an embedded model is missing or damaged.
    """
    if model in CATALOG:
        if CATALOG[model].kind != "detector":
            raise DetectorError(f"detector.model: {model} is a {CATALOG[model].kind}")
        return next(weights.locate(model).glob("*.onnx"))
    path = Path(model).expanduser()
    if path.suffix not in SUFFIXES:
        raise DetectorError(
            f"detector.model: {model!r} is neither an embedded model "
            f"(`mrmllm models list`) nor a {', '.join(SUFFIXES)} file"
        )
    if not path.is_file():
        raise DetectorError(f"detector.model: there is no file {path}")
    return path


def to_letterbox(
    xyxy: np.ndarray, resolution_wh: tuple[int, int], input_wh: tuple[int, int]
) -> np.ndarray:
    """Move boxes from the image into the network's input.

    ultralytics scales the image to fit and centres it.

    Args:
        xyxy: (N, 4) boxes in pixels of the image.
        resolution_wh: Size of the image.
        input_wh: Size of the network's input.

    Returns:
        (N, 4) float32 boxes in pixels of the input.
    """
    image_wh, target_wh = np.array(resolution_wh), np.array(input_wh)
    scale = (target_wh / image_wh).min()
    offset = (target_wh - image_wh * scale) / 2
    return (xyxy * scale + np.tile(offset, 2)).astype(np.float32)


def _detections(result: Results) -> Detections:
    height, width = result.orig_shape
    boxes = result.boxes.cpu().numpy()
    return Detections(
        xyxy=boxes.xyxy.astype(np.float32),
        scores=boxes.conf.astype(np.float32).clip(0, 1),
        labels=tuple(result.names[int(i)] for i in boxes.cls),
        resolution_wh=(width, height),
    ).by_salience()


def _make_predictor(
    model: ultralytics.YOLO, settings: DetectorSettings, compute: Compute
) -> BasePredictor:
    """A predictor that keeps the model's second output, warmed up and ready to be called."""

    class FeaturePredictor(model.task_map[model.task]["predictor"]):
        feature_map: torch.Tensor | None = None
        input_wh: tuple[int, int] = (0, 0)

        def inference(self, im: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            outputs = super().inference(im, *args, **kwargs)
            self.input_wh = (im.shape[3], im.shape[2])
            if self.model.format == "onnx" and isinstance(outputs, (list, tuple)):
                self.feature_map = next((o for o in outputs[1:] if o.ndim == 4), None)
            return outputs

    overrides = {
        "mode": "predict",
        "task": model.task,
        "model": model.model_name,
        "conf": settings.score_threshold,
        "iou": settings.iou_threshold,
        "max_det": settings.max_detections,
        "device": _device(model.model_name, compute),
        "quantize": 16 if compute.dtype is torch.float16 else None,
        "save": False,
        "verbose": False,
    }
    predictor = FeaturePredictor(overrides={**model.overrides, **overrides})
    predictor.setup_model(model=model.model, verbose=False)
    if predictor.model.format == "onnx" and compute.threads:
        _bound_threads(predictor.model.backend, model.model_name, compute.threads)
    return predictor


def _device(path: str, compute: Compute) -> str:
    """The device, or the processor where ONNX Runtime has no CUDA."""
    if Path(path).suffix == ".onnx" and compute.device.type == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            logging.getLogger(__name__).warning(
                "%s runs on the processor: onnxruntime has no CUDA; install onnxruntime-gpu, or "
                "name a .pt or .engine model",
                path,
            )
            return "cpu"
    return str(compute.device)


def _bound_threads(backend: Any, path: str, threads: int) -> None:
    """Open the ONNX session again with a bound on its threads, which ultralytics cannot set."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = backend.session.get_providers()
    provider_options = [backend.session.get_provider_options()[name] for name in providers]
    backend.session = onnxruntime.InferenceSession(
        path, options, providers=list(zip(providers, provider_options, strict=True))
    )
