# SPDX-License-Identifier: Apache-2.0
"""Folders of rendered scenes with drawn depth: screens that face the camera, before a wall."""

import json
from dataclasses import dataclass

import cv2
import numpy as np

SIZE_WH = (160, 120)
FOCAL = 150.0
CENTER = (np.array(SIZE_WH) - 1) / 2
WALL_M = 4.0
# Optical frame (z forward) of a camera that looks along y of the room.
LEVEL = [-np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)]


@dataclass(frozen=True)
class Screen:
    """Flat object: center and size in the room, in meters; y is the distance from the origin."""

    center: tuple[float, float, float]
    size: tuple[float, float] = (0.6, 0.4)
    instance: int = 1


SCREEN = Screen((0.0, 2.0, 0.0))


def write(folder, frames, stamps=None, **camera):
    """Write a folder.

    Args:
        folder: Folder to create.
        frames: Position of the camera in the room and screens of each image.
        stamps: Stamp of each image in seconds.
        camera: Replaced fields of camera_info.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    images, annotations = [], []
    for number, (position, screens) in enumerate(frames):
        depth, owners = draw(position, screens)
        names = {"file_name": f"images/{number:06}.jpg", "depth_file": f"depth/{number:06}.png"}
        bgr = np.full((*depth.shape, 3), 40 * number % 256, np.uint8)
        cv2.imwrite(str(folder / names["file_name"]), bgr)
        cv2.imwrite(str(folder / names["depth_file"]), (depth * 1000).round().astype(np.uint16))
        k = [FOCAL, 0, CENTER[0], 0, FOCAL, CENTER[1], 0, 0, 1]
        image = {
            **names,
            "id": number,
            "width": SIZE_WH[0],
            "height": SIZE_WH[1],
            "camera_info": {"k": k, "d": [0.0] * 5, "distortion_model": "plumb_bob"} | camera,
            "camera_pose": {"position": list(position), "orientation": LEVEL},
        }
        images.append(image if stamps is None else image | {"stamp": stamps[number]})
        annotations += [
            annotate(depth, owners == index, screen)
            | {"id": len(annotations) + index, "image_id": number}
            for index, screen in enumerate(screens)
            if (owners == index).any()
        ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "tv"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def draw(position, screens):
    """(H, W) depth in meters and (H, W) index of the screen of each pixel, -1 for the wall."""
    depth = np.full(SIZE_WH[::-1], WALL_M)
    owners = np.full(depth.shape, -1)
    for index, screen in enumerate(screens):
        right, forward, up = np.subtract(screen.center, position)
        middle = np.array([right, -up]) / forward * FOCAL + CENTER + 0.5
        half = np.array(screen.size) / forward * FOCAL / 2
        corners = np.round([middle - half, middle + half]).astype(int).clip(0, SIZE_WH)
        (left, top), (right, bottom) = corners
        region = slice(top, bottom), slice(left, right)
        nearer = depth[region] > forward
        depth[region][nearer], owners[region][nearer] = forward, index
    return depth, owners


def annotate(depth, mask, screen):
    """Annotation of the visible pixels of an object."""
    rows, columns = np.nonzero(mask)
    z = depth[mask]
    points = np.stack([*((np.stack([columns, rows]) - CENTER[:, None]) / FOCAL * z), z], 1)
    low, high = points.min(0), points.max(0)
    pixels = mask.T.ravel()
    changes = np.flatnonzero(np.diff(pixels, prepend=False))
    whole = np.prod(np.array(screen.size) / z[0] * FOCAL)
    left, top = columns.min(), rows.min()
    return {
        "category_id": 1,
        "bbox": [int(v) for v in (left, top, columns.max() + 1 - left, rows.max() + 1 - top)],
        "area": len(z),
        "segmentation": {
            "size": list(mask.shape),
            "counts": np.diff(changes, prepend=0, append=pixels.size).tolist(),
        },
        "iscrowd": 0,
        "occlusion": max(0.0, 1 - len(z) / whole),
        "truncation": 0.0,
        "distance": float(np.linalg.norm((low + high) / 2)),
        "visible_3d": {"center": ((low + high) / 2).tolist(), "size": (high - low).tolist()},
        "instance": screen.instance,
    }
