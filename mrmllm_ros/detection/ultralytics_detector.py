# SPDX-License-Identifier: Apache-2.0
"""YOLO-family detectors of ultralytics, which is licensed AGPL-3.0."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import ultralytics
from ultralytics.nn.backends.base import BaseBackend
from ultralytics.nn.tasks import WorldModel, YOLOEModel
from ultralytics.utils import WEIGHTS_DIR

from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import (
    DeferredFeatures,
    Detector,
    DetectorError,
    DetectorSettings,
    LabelScores,
    Perception,
    VocabularyError,
    unique_labels,
)
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.detection.roi_features import pool_boxes
from mrmllm_ros.detection.ultralytics_predictor import (
    MAX_RAW_OBJECTS,
    ImageObjects,
    make_predictor,
    raw_objects,
)
from mrmllm_ros.environment import expand
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import loading, resolve, revision

if TYPE_CHECKING:
    from ultralytics.engine.predictor import BasePredictor
    from ultralytics.engine.results import Results

    from mrmllm_ros.compute import Compute

SUFFIXES = (".onnx", ".pt", ".engine")
TASKS_WITH_BOXES = ("detect", "segment", "pose")


class UltralyticsDetector(Detector):
    """Any detection, segmentation or pose model of `ultralytics.YOLO`.

    Features are pooled over each box from the input maps of the head of a .pt model, or from a
    second, four-dimensional output of an ONNX model. Other models have no features.

    End-to-end models and RT-DETR return only the best label of an object; other models return
    the scores of all labels.

    YOLO-World and YOLOE .pt models are open-vocabulary detectors. Without their text encoder they
    keep the saved labels.
    """

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        """Load the model and run it once.

        Raises:
            DetectorError: If the model is missing, unreadable or not a detector, or a class has
                no name.
            WeightsError: If an embedded model is missing or damaged.
        """
        path = model_path(settings.model)
        self.name = path.stem
        self.revision = revision(settings.model)
        threads = torch.get_num_threads()
        try:
            with loading("detector", str(path), "detector.model", DetectorError):
                model = ultralytics.YOLO(path, task=_task(path))
                if model.task not in TASKS_WITH_BOXES:
                    raise ValueError(f"its task is {model.task}, which has no boxes")
                self._predictor = make_predictor(
                    model,
                    device=_device(model.model_name, compute),
                    quantize=quantization(compute),
                    threads=compute.threads,
                )
                self.configure(settings)
                [warm_up] = self.detect([np.zeros((480, 640, 3), np.uint8)])
        finally:
            # ultralytics sets it to the number of cores minus one, for the whole process.
            torch.set_num_threads(threads)
        self.labels = tuple(dict.fromkeys(self._predictor.model.names.values()))
        self.feature_width = 0 if warm_up.features is None else warm_up.features.shape[1]
        if _open_vocabulary_network(self._predictor) is not None:
            self._set_initial_vocabulary(settings.initial_labels)

    def configure(self, settings: DetectorSettings) -> None:
        """See `Detector.configure`."""
        self._score_threshold = settings.score_threshold
        arguments = self._predictor.args
        arguments.conf = settings.minimum_score
        arguments.iou = settings.iou_threshold
        arguments.max_det = MAX_RAW_OBJECTS
        self._predictor.max_detections = settings.max_detections

    def detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        """See `Detector.detect`."""
        if not images:
            return []
        results = self._predictor(list(images))
        return [
            self._perception(result, [level[i : i + 1] for level in self._predictor.feature_maps])
            for i, result in enumerate(results)
        ]

    def _perception(
        self, result: Results | ImageObjects, feature_maps: list[torch.Tensor]
    ) -> Perception:
        dropped, indices = result.dropped, slice(None)
        if isinstance(result, ImageObjects):
            candidates = result.detections
        else:
            # Only the boxes of RT-DETR have not been checked by `construct_result`.
            resolution_wh = result.orig_shape[::-1]
            checked = raw_objects(result.boxes.data).check(
                result.names, resolution_wh, self._predictor.max_detections
            )
            dropped, indices = dropped + checked.dropped, checked.indices
            candidates = _with_masks(checked.detections, result, indices)
        scores = result.class_scores
        return Perception.ranked(
            candidates,
            self._score_threshold,
            self._deferred_features(candidates, feature_maps) if feature_maps else None,
            dropped,
            None
            if scores is None
            else LabelScores.of_classes(self._predictor.model.names, scores[indices]),
        )

    def _deferred_features(
        self, candidates: Detections, feature_maps: list[torch.Tensor]
    ) -> DeferredFeatures:
        """Features of the candidates, concatenated from all levels of the network."""
        predictor = self._predictor
        resolution_wh, input_wh = candidates.resolution_wh, predictor.input_wh
        stretched = predictor.scale_fill

        def pool(xyxy: np.ndarray) -> torch.Tensor:
            in_input = to_letterbox(xyxy, resolution_wh, input_wh, stretched)
            boxes = torch.from_numpy(in_input).to(feature_maps[0].device)
            return torch.cat(
                [pool_boxes(level, boxes, input_wh[0] / level.shape[3]) for level in feature_maps],
                dim=1,
            )

        return DeferredFeatures(pool, candidates.xyxy)

    def _set_initial_vocabulary(self, labels: tuple[str, ...]) -> None:
        try:
            unique_labels(labels)
        except VocabularyError as error:
            raise DetectorError(f"detector.vocabulary: {error}") from error
        try:
            self.set_vocabulary(labels)
        except VocabularyError as error:
            logging.getLogger(__name__).warning(
                "%s keeps its %d saved labels: %s", self.name, len(self.labels), error
            )

    def _set_vocabulary(self, labels: tuple[str, ...]) -> None:
        network = _open_vocabulary_network(self._predictor)
        if network is None:
            super()._set_vocabulary(labels)
        embeddings = _embed(network, labels)
        if isinstance(network, YOLOEModel):
            network.set_classes(list(labels), embeddings)
        else:
            network.txt_feats = embeddings
            network.model[-1].nc = len(labels)
        self._predictor.model.backend.names = dict(enumerate(labels))


def quantization(compute: Compute) -> int | None:
    """Value of ultralytics' argument `quantize`: bits of the weights, None to keep them."""
    return 16 if compute.dtype is torch.float16 else None


def model_path(model: str) -> Path:
    """Path of an embedded model or a file.

    Raises:
        DetectorError: If the file is missing, or its format is not supported.
        WeightsError: If an embedded model is missing or damaged.
    """
    if model in CATALOG:
        folder = resolve("detector", model, "detector.model", DetectorError)
        return next(Path(folder).glob("*.onnx"))
    path = expand(model)
    if path.suffix not in SUFFIXES:
        raise DetectorError(
            f"detector.model: {model!r} is neither an embedded model "
            f"(`mrmllm models list`) nor a {', '.join(SUFFIXES)} file"
        )
    if not path.is_file():
        raise DetectorError(f"detector.model: there is no file {path}")
    return path


def to_letterbox(
    xyxy: np.ndarray,
    resolution_wh: tuple[int, int],
    input_wh: tuple[int, int],
    stretched: bool = False,
) -> np.ndarray:
    """Transform boxes from the image to the network's input.

    ultralytics scales the image to fit and centers it, or stretches it for RT-DETR.

    Args:
        xyxy: (N, 4) boxes in pixels of the image.
        resolution_wh: Width and height of the image.
        input_wh: Width and height of the network's input.
        stretched: Whether the image is stretched to the input.

    Returns:
        (N, 4) float32 boxes in pixels of the input.
    """
    image_wh, target_wh = np.array(resolution_wh), np.array(input_wh)
    scale = target_wh / image_wh
    if not stretched:
        scale = np.full(2, scale.min())
    offset = (target_wh - image_wh * scale) / 2
    return (xyxy * np.tile(scale, 2) + np.tile(offset, 2)).astype(np.float32)


def mask_in_image(
    input_mask: np.ndarray, xyxy: np.ndarray, resolution_wh: tuple[int, int]
) -> Mask:
    """Transform a mask from the network's letterboxed input to the image.

    Args:
        input_mask: (h, w) uint8 mask of the input, 1 inside.
        xyxy: (4,) box of the object in pixels of the image; the mask is cropped to it.
        resolution_wh: Width and height of the image.
    """
    region = clip_boxes(np.hstack([np.floor(xyxy[:2]), np.ceil(xyxy[2:])]), resolution_wh)
    left, top, width, height = (*region[:2].astype(int), *(region[2:] - region[:2]).astype(int))
    if min(width, height) == 0:
        return Mask.empty()
    [in_input] = to_letterbox(region[None], resolution_wh, input_mask.shape[::-1])
    scale = (in_input[2:] - in_input[:2]) / (width, height)
    # Coordinates of warpAffine refer to the centers of pixels.
    to_input = np.column_stack([np.diag(scale), in_input[:2] + (scale - 1) / 2])
    inside = cv2.warpAffine(
        input_mask,
        to_input,
        (int(width), int(height)),
        # Interpolates, and rounds to 0 or 1.
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return Mask(inside.astype(bool), int(left), int(top))


def _with_masks(candidates: Detections, result: Results, indices: np.ndarray) -> Detections:
    """Add the masks of a result, which has the candidates at some indices."""
    if result.masks is None:
        return candidates
    masks = result.masks.data[indices].byte().cpu().numpy()
    return replace(
        candidates,
        masks=tuple(
            mask_in_image(mask, box, candidates.resolution_wh)
            for mask, box in zip(masks, candidates.xyxy, strict=True)
        ),
    )


def _task(path: Path) -> str | None:
    """Task in the metadata of the file; None for .pt files, which set it when loaded."""
    if path.suffix == ".pt":
        return None
    return BaseBackend.read_metadata(path).get("task", "detect")


def _open_vocabulary_network(predictor: BasePredictor) -> WorldModel | YOLOEModel | None:
    """Network of the predictor; None if its labels are fixed."""
    network = getattr(predictor.model, "model", None)
    if not isinstance(network, (WorldModel, YOLOEModel)):
        return None
    head = network.model[-1]
    prompt_free = hasattr(head, "lrpc") or getattr(head, "is_fused", False)
    return None if prompt_free else network


def _embed(network: WorldModel | YOLOEModel, labels: tuple[str, ...]) -> torch.Tensor:
    """(1, L, d) embeddings of the labels by the network's text encoder."""
    _check_text_encoder(network)
    try:
        return network.get_text_pe(list(labels))
    except Exception as error:
        # Exceptions differ between text encoders.
        raise VocabularyError(
            f"the text encoder fails on {', '.join(labels)}: {' '.join(str(error).split())}"
        ) from error


def _check_text_encoder(network: WorldModel | YOLOEModel) -> None:
    """Raise `VocabularyError` if ultralytics would install or download something."""
    if importlib.util.find_spec("clip") is None:
        raise VocabularyError(
            "setting labels needs the Python package clip: "
            "`pip install git+https://github.com/ultralytics/CLIP.git`"
        )
    if isinstance(network, WorldModel):
        folder = WEIGHTS_DIR / "clip"
        paths = [folder / "ViT-B-32.pt"]
        fetch = f"import clip; clip.load('ViT-B/32', download_root='{folder}')"
    else:
        name = "mobileclip2_b.ts" if "mobileclip2" in network.text_model else "mobileclip_blt.ts"
        paths = [Path(name), WEIGHTS_DIR / name]
        fetch = (
            "from ultralytics.utils.downloads import attempt_download_asset; "
            f"attempt_download_asset('{name}')"
        )
    if not any(path.is_file() for path in paths):
        raise VocabularyError(
            f"setting labels needs the text encoder {paths[-1]}; download it with "
            f'`python3 -c "{fetch}"`'
        )


def _device(path: str, compute: Compute) -> str:
    """Device for ultralytics; the CPU for ONNX models if ONNX Runtime does not support CUDA."""
    if Path(path).suffix == ".onnx" and compute.device.type == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            logging.getLogger(__name__).warning(
                "%s runs on the CPU: onnxruntime has no CUDA support; install onnxruntime-gpu, or "
                "name a .pt or .engine model",
                path,
            )
            return "cpu"
    # Distributed training numbers CPU devices.
    return "cpu" if compute.device.type == "cpu" else str(compute.device)
