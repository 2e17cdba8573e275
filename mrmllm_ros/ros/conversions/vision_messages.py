# SPDX-License-Identifier: Apache-2.0
"""Our detections as messages of vision_msgs; to be imported only where that is installed.

Each detection has one hypothesis. Its `class_id` is the label itself, for vocabularies are open
and numbers would not last; its `score` is the one beside that label, after fusion where there was
any. `id` is the track id, empty where nothing tracks.
"""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import PoseWithCovariance
from vision_msgs.msg import (
    BoundingBox2D,
    BoundingBox3D,
    Detection2D,
    Detection2DArray,
    Detection3D,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

from mrmllm_ros.msg import BoundingBox2D as OwnBoundingBox2D
from mrmllm_ros.msg import Detection, DetectionArray


def detection_2d_array(message: DetectionArray) -> Detection2DArray:
    """Make the message for objects in an image.

    Boxes are pixels, unrotated. The pose of a hypothesis is set where ours is, without covariance.
    """
    return Detection2DArray(
        header=message.header,
        detections=[
            Detection2D(
                header=message.header,
                results=[_hypothesis(detection)],
                bbox=_box_2d(detection.bbox),
                id=detection.track_id,
            )
            for detection in message.detections
        ],
    )


def detection_3d_array(message: DetectionArray) -> Detection3DArray:
    """Make the message for the objects whose pose and size are known; the others are left out.

    Boxes are meters in the frame of the header; the pose of a hypothesis is the box's center.
    """
    return Detection3DArray(
        header=message.header,
        detections=[
            Detection3D(
                header=message.header,
                results=[_hypothesis(detection)],
                bbox=BoundingBox3D(center=detection.pose, size=detection.size),
                id=detection.track_id,
            )
            for detection in message.detections
            if detection.has_pose
        ],
    )


def label_info(labels: Sequence[str], threshold: float) -> LabelInfo:
    """Make the message for the labels that detections may have.

    Args:
        labels: Each is a `class_name`; its number counts from 0 and occurs nowhere else, since
            `class_id` of a hypothesis is the label.
        threshold: Confidence from which on objects are reported.
    """
    class_map = [VisionClass(class_id=i, class_name=label) for i, label in enumerate(labels)]
    return LabelInfo(class_map=class_map, threshold=threshold)


def _hypothesis(detection: Detection) -> ObjectHypothesisWithPose:
    # Ours holds the identity where it is not set, which is the default here too.
    return ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(class_id=detection.label, score=detection.score),
        pose=PoseWithCovariance(pose=detection.pose),
    )


def _box_2d(box: OwnBoundingBox2D) -> BoundingBox2D:
    position = Point2D(x=box.center_x, y=box.center_y)
    return BoundingBox2D(center=Pose2D(position=position), size_x=box.size_x, size_y=box.size_y)
