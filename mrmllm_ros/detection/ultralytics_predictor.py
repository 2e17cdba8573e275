# SPDX-License-Identifier: Apache-2.0
"""Predictor of ultralytics that keeps feature maps and the scores of all labels.

ultralytics is licensed AGPL-3.0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from ultralytics.utils import ops

from mrmllm_ros.compute import onnx_session_options
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.network_output import (
    best_scores,
    suppressed_rows,
)
from mrmllm_ros.detection.raw_objects import BAD_SCORE, RawObjects, class_labels

if TYPE_CHECKING:
    import ultralytics
    from ultralytics.engine.predictor import BasePredictor
    from ultralytics.engine.results import Results

# Maximum number of raw objects per image, so that unusable objects do not replace usable ones.
MAX_RAW_OBJECTS = 300


@dataclass(eq=False)
class ImageObjects:
    """Objects of an image without masks, in place of ultralytics' `Results`.

    Attributes:
        detections: Usable objects, at most the maximum number.
        rows: (K,) int64, their indices in the output of non-maximum suppression.
        dropped: Number of unusable objects by reason.
        class_scores: (K, classes) float32, or None if only the best class has a score.
        speed: Times of the stages, set by ultralytics.
    """

    detections: Detections
    rows: torch.Tensor
    dropped: Counter[str]
    class_scores: np.ndarray | None = None
    speed: dict[str, float] = field(default_factory=dict)
    masks: None = None


def make_predictor(
    model: ultralytics.YOLO, *, device: str, quantize: int | None, threads: int
) -> BasePredictor:
    """Create a predictor that keeps feature maps and drops unusable objects.

    Args:
        model: The model.
        device: Device for ultralytics.
        quantize: Value of ultralytics' argument of that name.
        threads: Number of threads of ONNX Runtime; 0 for its default.
    """

    class FeaturePredictor(model.task_map[model.task]["predictor"]):
        feature_maps: tuple[torch.Tensor, ...] = ()
        input_wh: tuple[int, int] = (0, 0)
        max_detections: int = MAX_RAW_OBJECTS
        has_names: bool = False

        def preprocess(self, im: list[np.ndarray]) -> torch.Tensor:
            # Without a graphics processor, one plane after the other takes half the time.
            if self.device.type != "cpu" or self.model.fp16 or im[0].shape[2] != 3:
                return super().preprocess(im)
            return torch.from_numpy(_rgb_planes(self.pre_transform(im)))

        def inference(self, im: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            outputs = super().inference(im, *args, **kwargs)
            self.input_wh = (im.shape[3], im.shape[2])
            # The second output of a segmentation model contains the prototypes of masks.
            has_maps = self.model.format == "onnx" and model.task != "segment"
            if has_maps and isinstance(outputs, (list, tuple)):
                maps = [output for output in outputs[1:2] if output.ndim == 4]
                # The next image overwrites bound outputs.
                is_bound = self.model.backend.use_io_binding
                self.feature_maps = tuple(each.clone() if is_bound else each for each in maps)
            return outputs

        def keep_maps(self, _head: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            # YOLOE appends its text embeddings to the maps.
            self.feature_maps = tuple(level for level in inputs[0] if level.ndim == 4)

        def postprocess(
            self, preds: Any, img: torch.Tensor, orig_imgs: Any
        ) -> list[Results | ImageObjects]:
            output = preds
            while not isinstance(output, torch.Tensor):
                output = output[0]
            prototypes = self.prototypes(preds)
            classes = self.scored_classes(output, *prototypes)
            # Before post-processing, which changes the output in place.
            best = best_scores(output, classes)
            # Every threshold drops NaN.
            broken = best.isnan().sum(1).tolist()
            if not self.has_names:
                self.check_names(classes)
            if classes is None:
                results = super().postprocess(preds, img, orig_imgs)
            else:
                results = self.suppress(output, best, classes, img, orig_imgs, *prototypes)
            for result, count in zip(results, broken, strict=True):
                result.dropped = getattr(result, "dropped", Counter())
                result.dropped += Counter({BAD_SCORE: count})
                result.class_scores = getattr(result, "class_scores", None)
            return results

        def suppress(
            self, output: torch.Tensor, best: torch.Tensor, classes: int, *args: Any
        ) -> list[Results | ImageObjects]:
            """Apply non-maximum suppression and keep the scores of all classes.

            ultralytics' own post-processing keeps only the score of the best class, and imports
            torchvision, which takes two seconds and 150 MiB.
            """
            found = [
                suppressed_rows(*image, classes, self.args)
                for image in zip(output, best, strict=True)
            ]
            results = self.construct_results([rows for rows, _ in found], *args)
            for result, image_output, (_, columns) in zip(results, output, found, strict=True):
                scores = image_output[4 : 4 + classes, columns[result.rows]].T
                result.class_scores = scores.float().cpu().numpy()
            return results

        def construct_result(
            self, pred: torch.Tensor, img: torch.Tensor, orig_img: np.ndarray, *args: Any
        ) -> Results | ImageObjects:
            # Before ultralytics clips infinite edges.
            boxes = _unclipped(pred[:, :4].cpu().numpy(), img.shape[2:], orig_img.shape[:2])
            checked = raw_objects(pred, boxes).check(
                self.model.names, orig_img.shape[1::-1], self.max_detections
            )
            indices = torch.from_numpy(checked.indices).to(pred.device)
            if model.task != "segment":
                return ImageObjects(checked.detections, indices, checked.dropped)
            kept = pred[indices]
            # ultralytics drops objects with an empty mask; the class column carries the positions
            # of the others.
            class_ids = kept[:, 5].clone()
            kept[:, 5] = torch.arange(len(kept))
            result = super().construct_result(kept, img, orig_img, *args)
            positions = result.boxes.cls.long()
            result.boxes.data[:, 5] = class_ids[positions]
            result.rows = indices[positions]
            result.dropped = checked.dropped
            return result

        def prototypes(self, preds: Any) -> tuple[torch.Tensor, ...]:
            """(B, P, h, w) prototypes of masks of a segmentation model; empty for others."""
            if model.task != "segment":
                return ()
            return (preds[0][1] if isinstance(preds[0], tuple) else preds[1],)

        def scored_classes(self, output: torch.Tensor, *prototypes: torch.Tensor) -> int | None:
            """Number of classes with a score; None if only the best class has a score."""
            end_to_end = getattr(self.model, "end2end", False)
            if end_to_end or self.scale_fill or output.shape[-1] == 6:
                return None
            others = sum(masks.shape[1] for masks in prototypes)
            if model.task == "pose":
                others = math.prod(self.model.kpt_shape)
            return output.shape[1] - 4 - others

        def check_names(self, classes: int | None) -> None:
            """Convert the names of classes to labels, see `class_labels`."""
            backend = self.model.backend
            if classes is None and self.model.format == "pt":
                classes = backend.model.model[-1].nc
            # For missing names ultralytics invents 999 of them.
            named = backend.metadata.get("names") if self.model.format != "pt" else backend.names
            backend.names = class_labels(backend.names if named else {}, classes)
            self.has_names = True

    overrides = {
        "mode": "predict",
        "task": model.task,
        "model": model.model_name,
        "device": device,
        "quantize": quantize,
        "save": False,
        "verbose": False,
    }
    predictor = FeaturePredictor(overrides={**model.overrides, **overrides})
    predictor.setup_model(model=model.model, verbose=False)
    # It would import torchvision; the first image warms up the model too.
    predictor.done_warmup = True
    if predictor.model.format == "pt":
        # The predictor has a copy of the model, with fused layers.
        predictor.model.backend.model.model[-1].register_forward_pre_hook(predictor.keep_maps)
    if predictor.model.format == "onnx":
        _set_threads(predictor.model, model.model_name, threads)
    return predictor


def _rgb_planes(images: Sequence[np.ndarray]) -> np.ndarray:
    """Stack images as planes.

    Args:
        images: B arrays (H, W, 3), uint8 in BGR order.

    Returns:
        (B, 3, H, W) float32 R, G, B from 0 to 1.
    """
    stacked = np.empty((len(images), 3, *images[0].shape[:2]), np.float32)
    for planes, image in zip(stacked, images, strict=True):
        for plane, channel in zip(planes[::-1], cv2.split(image), strict=True):
            np.divide(channel, 255, out=plane, dtype=np.float32)
    return stacked


def raw_objects(rows: torch.Tensor, xyxy: np.ndarray | None = None) -> RawObjects:
    """Raw objects from (N, 6 or more) rows of box, score and class id.

    Args:
        rows: Output of ultralytics.
        xyxy: (N, 4) boxes in pixels of the image, if those of the rows are not.
    """
    values = rows[:, :6].cpu().numpy()
    return RawObjects(values[:, :4] if xyxy is None else xyxy, values[:, 4], values[:, 5])


def _unclipped(
    xyxy: np.ndarray, input_hw: tuple[int, int], image_hw: tuple[int, int]
) -> np.ndarray:
    """Transform (N, 4) boxes from the network's input to the image without clipping."""
    corners = xyxy.reshape(-1, 2)
    # ultralytics clips corners, but not centers.
    points = ops.scale_boxes(input_hw, np.hstack([corners, corners]), image_hw, xywh=True)
    return points[:, :2].reshape(-1, 4)


def _set_threads(network: Any, path: str, threads: int) -> None:
    """Reopen an ONNX model with settings of its threads, which ultralytics does not have.

    Args:
        network: Network of the predictor.
        path: Path of the model.
        threads: Number of threads; 0 for ONNX Runtime's default.
    """
    options = onnx_session_options(threads)
    loaded = network.backend
    network.backend = type(loaded)(path, loaded.device, loaded.fp16, session_options=options)
    network.backend.names = loaded.names
