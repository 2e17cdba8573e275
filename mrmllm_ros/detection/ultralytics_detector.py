# SPDX-License-Identifier: Apache-2.0
"""YOLO-family detectors of ultralytics, which is licensed AGPL-3.0."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import ultralytics
from ultralytics.nn.backends.base import BaseBackend
from ultralytics.nn.tasks import WorldModel, YOLOEModel
from ultralytics.utils import WEIGHTS_DIR, nms, ops

from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import (
    Detector,
    DetectorError,
    DetectorSettings,
    LabelScores,
    Perception,
    VocabularyError,
    unique_labels,
)
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.detection.raw_objects import BAD_SCORE, RawObjects, class_labels
from mrmllm_ros.detection.roi_features import pool_boxes
from mrmllm_ros.environment import expand
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import loading, resolve, revision

if TYPE_CHECKING:
    from ultralytics.engine.predictor import BasePredictor
    from ultralytics.engine.results import Results

    from mrmllm_ros.compute import Compute

SUFFIXES = (".onnx", ".pt", ".engine")
TASKS_WITH_BOXES = ("detect", "segment", "pose")

# Maximum number of raw objects per image, so that unusable objects do not replace usable ones.
_MAX_RAW_OBJECTS = 300
# Threads of ONNX Runtime wait actively for this time, in microseconds, before they sleep. This
# bridges the gaps between the operators of an image. With the default they wait between images
# too, and take the processor from the answerer.
_SPIN_DURATION_US = "20"


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
                self._predictor = _make_predictor(model, settings, compute)
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
        arguments.max_det = _MAX_RAW_OBJECTS
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

    def _perception(self, result: Results, feature_maps: list[torch.Tensor]) -> Perception:
        height, width = result.orig_shape
        resolution_wh = (width, height)
        # Only the boxes of RT-DETR have not been checked by `construct_result`.
        checked = _raw_objects(result.boxes.data).check(result.names, resolution_wh)
        indices = checked.indices[: self._predictor.max_detections]
        candidates = checked.detections.take(np.arange(len(indices)))
        if result.masks is not None:
            masks = result.masks.data[indices].byte().cpu().numpy()
            candidates = replace(
                candidates,
                masks=tuple(
                    mask_in_image(mask, box, resolution_wh)
                    for mask, box in zip(masks, candidates.xyxy, strict=True)
                ),
            )
        scores = result.class_scores
        return Perception.ranked(
            candidates,
            self._score_threshold,
            self._features(candidates, feature_maps) if feature_maps else None,
            result.dropped + checked.dropped,
            None if scores is None else LabelScores.of_classes(result.names, scores[indices]),
        )

    def _features(self, candidates: Detections, feature_maps: list[torch.Tensor]) -> torch.Tensor:
        """(K, d_p) features of the candidates, concatenated from all levels of the network."""
        input_wh = self._predictor.input_wh
        xyxy = to_letterbox(
            candidates.xyxy, candidates.resolution_wh, input_wh, self._predictor.scale_fill
        )
        boxes = torch.from_numpy(xyxy).to(feature_maps[0].device)
        pooled = [pool_boxes(level, boxes, input_wh[0] / level.shape[3]) for level in feature_maps]
        return torch.cat(pooled, dim=1)

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


def _task(path: Path) -> str | None:
    """Task in the metadata of the file; None for .pt files, which set it when loaded."""
    if path.suffix == ".pt":
        return None
    return BaseBackend.read_metadata(path).get("task", "detect")


def _raw_objects(rows: torch.Tensor, xyxy: torch.Tensor | None = None) -> RawObjects:
    """Raw objects from (N, 6 or more) rows of box, score and class id.

    Args:
        rows: Output of ultralytics.
        xyxy: (N, 4) boxes in pixels of the image, if those of the rows are not.
    """
    boxes = rows[:, :4] if xyxy is None else xyxy
    return RawObjects(*(column.cpu().numpy() for column in (boxes, rows[:, 4], rows[:, 5])))


def _unclipped(
    xyxy: torch.Tensor, input_hw: tuple[int, int], image_hw: tuple[int, int]
) -> torch.Tensor:
    """Transform (N, 4) boxes from the network's input to the image without clipping."""
    corners = xyxy.reshape(-1, 2)
    # ultralytics clips corners, but not centers.
    points = ops.scale_boxes(input_hw, torch.cat([corners, corners], 1), image_hw, xywh=True)
    return points[:, :2].reshape(-1, 4)


def _broken_scores(output: torch.Tensor, classes: int | None) -> list[int]:
    """Number of objects with a NaN score in each image, which every threshold drops.

    Args:
        output: (B, 4 + classes or more, N), or (B, N, 6 or more) if `classes` is None.
        classes: Number of classes with a score; None if only the best class has a score.
    """
    scores = output[..., 4] if classes is None else output[:, 4 : 4 + classes].amax(1)
    return scores.isnan().sum(1).tolist()


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


def _make_predictor(
    model: ultralytics.YOLO, settings: DetectorSettings, compute: Compute
) -> BasePredictor:
    """Create a predictor that keeps feature maps and drops unusable objects."""

    class FeaturePredictor(model.task_map[model.task]["predictor"]):
        feature_maps: tuple[torch.Tensor, ...] = ()
        input_wh: tuple[int, int] = (0, 0)
        max_detections: int = _MAX_RAW_OBJECTS
        has_names: bool = False

        def inference(self, im: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            outputs = super().inference(im, *args, **kwargs)
            self.input_wh = (im.shape[3], im.shape[2])
            # The second output of a segmentation model contains the prototypes of masks.
            has_maps = self.model.format == "onnx" and model.task != "segment"
            if has_maps and isinstance(outputs, (list, tuple)):
                self.feature_maps = tuple(o for o in outputs[1:2] if o.ndim == 4)
            return outputs

        def keep_maps(self, _head: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            # YOLOE appends its text embeddings to the maps.
            self.feature_maps = tuple(level for level in inputs[0] if level.ndim == 4)

        def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Any) -> list[Results]:
            output = preds
            while not isinstance(output, torch.Tensor):
                output = output[0]
            prototypes = self.prototypes(preds)
            classes = self.scored_classes(output, *prototypes)
            # Before post-processing, which changes the output in place.
            broken = _broken_scores(output, classes)
            if not self.has_names:
                self.check_names(classes)
            if classes is None:
                results = super().postprocess(preds, img, orig_imgs)
            else:
                results = self.suppress(output, classes, img, orig_imgs, *prototypes)
            for result, count in zip(results, broken, strict=True):
                result.dropped = getattr(result, "dropped", Counter())
                result.dropped += Counter({BAD_SCORE: count})
                result.class_scores = getattr(result, "class_scores", None)
            return results

        def suppress(
            self, output: torch.Tensor, classes: int, img: torch.Tensor, *args: Any
        ) -> list[Results]:
            """Apply non-maximum suppression and keep the scores of all classes.

            ultralytics' own post-processing keeps only the score of the best class.
            """
            rows, columns = nms.non_max_suppression(
                output,
                self.args.conf,
                self.args.iou,
                agnostic=self.args.agnostic_nms,
                max_det=self.args.max_det,
                nc=classes,
                return_idxs=True,
            )
            results = self.construct_results(rows, img, *args)
            for result, image_output, kept in zip(results, output, columns, strict=True):
                # Without objects, ultralytics returns float columns.
                kept = kept.flatten().long()[result.rows]
                scores = image_output[4 : 4 + classes, kept].T
                result.class_scores = scores.float().cpu().numpy()
            return results

        def construct_result(
            self, pred: torch.Tensor, img: torch.Tensor, orig_img: np.ndarray, *args: Any
        ) -> Results:
            # Before ultralytics clips infinite edges.
            boxes = _unclipped(pred[:, :4], img.shape[2:], orig_img.shape[:2])
            checked = _raw_objects(pred, boxes).check(self.model.names, orig_img.shape[1::-1])
            indices = torch.from_numpy(checked.indices[: self.max_detections]).to(pred.device)
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
        "device": _device(model.model_name, compute),
        "quantize": quantization(compute),
        "save": False,
        "verbose": False,
    }
    predictor = FeaturePredictor(overrides={**model.overrides, **overrides})
    predictor.setup_model(model=model.model, verbose=False)
    if predictor.model.format == "pt":
        # The predictor has a copy of the model, with fused layers.
        predictor.model.backend.model.model[-1].register_forward_pre_hook(predictor.keep_maps)
    if predictor.model.format == "onnx":
        _set_threads(predictor.model, model.model_name, compute.threads)
    return predictor


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


def _set_threads(network: Any, path: str, threads: int) -> None:
    """Reopen an ONNX model with settings of its threads, which ultralytics does not have.

    Args:
        network: Network of the predictor.
        path: Path of the model.
        threads: Number of threads; 0 for ONNX Runtime's default.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Older versions ignore it.
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_DURATION_US)
    loaded = network.backend
    network.backend = type(loaded)(path, loaded.device, loaded.fp16, session_options=options)
    network.backend.names = loaded.names
