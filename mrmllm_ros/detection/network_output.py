# SPDX-License-Identifier: Apache-2.0
"""Raw output of YOLO networks: best classes and non-maximum suppression."""

from __future__ import annotations

from typing import Any

import torch

from mrmllm_ros.detection.boxes import non_max_suppression

# Maximum number of raw objects before non-maximum suppression, which compares all pairs.
_MAX_CANDIDATES = 2000


def best_class_rows(output: torch.Tensor, classes: int) -> torch.Tensor:
    """(N, 6 or more) rows of box, score and class id, and further columns of the output.

    Args:
        output: (4 + classes or more, N) centers and sizes, scores and further values.
        classes: Number of classes.
    """
    scores, class_ids = output[4 : 4 + classes].max(0, keepdim=True)
    center, half = output[:2].T, output[2:4].T / 2
    xyxy = torch.cat([center - half, center + half], 1)
    return torch.cat([xyxy, scores.T, class_ids.T.to(xyxy.dtype), output[4 + classes :].T], 1)


def suppressed_rows(
    output: torch.Tensor, best: torch.Tensor, classes: int, arguments: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply non-maximum suppression to an image.

    Args:
        output: See `best_class_rows`.
        best: (N,) highest score of each column.
        classes: Number of classes.
        arguments: Arguments of the predictor: thresholds and limit.

    Returns:
        (M, 6 or more) rows, see `best_class_rows`, best score first, and their (M,) columns.
    """
    [columns] = torch.where(best > arguments.conf)
    columns = columns[best[columns].argsort(descending=True, stable=True)[:_MAX_CANDIDATES]]
    rows = best_class_rows(output[:, columns], classes)
    values = rows[:, :6].float().cpu().numpy()
    kept = non_max_suppression(
        values[:, :4],
        values[:, 4],
        arguments.iou,
        None if arguments.agnostic_nms else values[:, 5],
    )[: arguments.max_det]
    return rows[kept], columns[kept]


def best_scores(output: torch.Tensor, classes: int | None) -> torch.Tensor:
    """(B, N) highest score of each object; NaN if one of its scores is NaN.

    Args:
        output: (B, 4 + classes or more, N), or (B, N, 6 or more) if `classes` is None.
        classes: Number of classes with a score; None if only the best class has a score.
    """
    return output[..., 4] if classes is None else output[:, 4 : 4 + classes].amax(1)
