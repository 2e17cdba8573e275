# SPDX-License-Identifier: Apache-2.0
"""Convert detections to vision_msgs; import this module only if vision_msgs is installed.

Each detection has one hypothesis. Its `class_id` is the label, since vocabularies are open and
numbers would change; its `score` is the score of the label, after fusion if there was one. `id` is
the track id, empty without tracking.
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
    """Convert detections to 2D boxes in pixels, unrotated.

    The pose of a hypothesis is that of the detection, if known, without covariance.
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
    """Convert the detections with a known pose to 3D boxes.

    Boxes are in meters in the frame of the header; the pose of a hypothesis is the center.
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
    """Make the message with the labels that detections may have.

    Args:
        labels: Values of `class_name`. Their index from 0 is not used elsewhere: `class_id` of a
            hypothesis is the label.
        threshold: Minimum score of reported objects.
    """
    class_map = [VisionClass(class_id=i, class_name=label) for i, label in enumerate(labels)]
    return LabelInfo(class_map=class_map, threshold=threshold)


def _hypothesis(detection: Detection) -> ObjectHypothesisWithPose:
    # An unknown pose is the identity, as is the default of vision_msgs.
    return ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(class_id=detection.label, score=detection.score),
        pose=PoseWithCovariance(pose=detection.pose),
    )


def _box_2d(box: OwnBoundingBox2D) -> BoundingBox2D:
    position = Point2D(x=box.center_x, y=box.center_y)
    return BoundingBox2D(center=Pose2D(position=position), size_x=box.size_x, size_y=box.size_y)
