# SPDX-License-Identifier: Apache-2.0
"""The node's detector, run by ultralytics alone: what a node without this package would do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from ultralytics.engine.results import Results

    from mrmllm_ros.engine.engine_settings import Settings


@dataclass(frozen=True)
class PlainDetector:
    """Model file and arguments of `ultralytics.YOLO.predict`.

    Attributes:
        path: Model file.
        conf: Minimum score of objects.
        iou: IoU threshold of non-maximum suppression.
        max_det: Maximum number of objects.
        device: Device of the model.
        quantize: Bits of the weights; None to keep them.
        threads: Number of CPU threads of PyTorch and of ONNX Runtime; 0 keeps their defaults.
    """

    path: str
    conf: float
    iou: float
    max_det: int
    device: str
    quantize: int | None
    threads: int

    @classmethod
    def from_settings(cls, settings: Settings) -> PlainDetector:
        """Take file, thresholds, device and threads from the settings of the node.

        Raises:
            BenchmarkError: If the node uses another library than ultralytics.
        """
        # Imported here, so that the bare node loads no library of this package's models.
        from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
        from mrmllm_ros.compute import Compute
        from mrmllm_ros.detection.ultralytics_detector import model_path, quantization

        detector = settings.detector
        if detector.backend != "ultralytics":
            raise BenchmarkError(
                f"the raw detector cannot be measured with detector.backend {detector.backend}; "
                "set it to ultralytics"
            )
        compute = Compute.from_settings(settings.compute)
        return cls(
            path=str(model_path(detector.model)),
            conf=detector.score_threshold,
            iou=detector.iou_threshold,
            max_det=detector.max_detections,
            device=str(compute.device),
            quantize=quantization(compute),
            threads=compute.threads,
        )

    @classmethod
    def from_json(cls, text: str) -> PlainDetector:
        """Read what `to_json` returns."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the attributes as an argument of a command."""
        return json.dumps(asdict(self))

    def load(self) -> Callable[[np.ndarray], Results]:
        """Load the model; returns a function from an (H, W, 3) uint8 BGR image to its objects."""
        import ultralytics

        model = ultralytics.YOLO(self.path, task="detect")
        arguments = {
            name: getattr(self, name) for name in ("conf", "iou", "max_det", "device", "quantize")
        }

        def predict(image: np.ndarray) -> Results:
            [result] = model.predict(image, verbose=False, **arguments)
            return result

        if self.threads:
            _warm_up(predict)
            _limit_threads(model.predictor.model, self.path, self.threads)
        _warm_up(predict)
        return predict


def _warm_up(predict: Callable[[np.ndarray], Results]) -> None:
    import numpy as np

    predict(np.zeros((480, 640, 3), np.uint8))


def _limit_threads(network: Any, path: str, threads: int) -> None:
    """Limit the threads of PyTorch and of an ONNX model; `predict` has no argument for them."""
    import torch

    torch.set_num_threads(threads)
    if Path(path).suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        loaded = network.backend
        network.backend = type(loaded)(path, loaded.device, loaded.fp16, session_options=options)
