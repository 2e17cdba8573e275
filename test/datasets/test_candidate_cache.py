# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from mrmllm_ros.datasets.candidate_cache import (
    batches,
    compute_candidates,
    fuse_labels,
    half_precision,
)


def test_batches_keep_all_items_in_order():
    made = list(batches(range(9)))
    assert [item for batch in made for item in batch] == list(range(9))
    assert max(map(len, made)) < 9
    assert list(batches([])) == []


def test_no_images_give_no_examples(detector):
    assert list(compute_candidates([], detector, None)) == []


def test_images_are_read_on_demand(detector):
    read = []

    def images():
        for index in range(12):
            read.append(index)
            yield np.zeros((48, 64, 3), np.uint8)

    next(compute_candidates(images(), detector, None))
    assert len(read) < 12


def test_images_of_different_sizes_do_not_affect_each_other(detector, bus_image):
    small = np.ascontiguousarray(bus_image[::2, ::2])
    both = list(compute_candidates([bus_image, small], detector, None))
    [alone] = compute_candidates([small], detector, None)
    assert [each.perception.detections.resolution_wh for each in both] == [
        image.shape[1::-1] for image in (bus_image, small)
    ]
    np.testing.assert_allclose(
        both[1].perception.candidates.scores, alone.perception.candidates.scores, atol=1e-3
    )
    assert both[1].visual is None
    assert not both[1].questions


def test_the_regions_of_each_image_are_named_by_label_fusion(detector, bus_image):
    images = [bus_image, np.zeros((48, 64, 3), np.uint8)]
    named = []

    def classify(images, perceptions):
        named.extend(image.shape for image in images)
        return [np.full((len(each.candidates), 3), 0.25) for each in perceptions]

    bus, black = compute_candidates(images, detector, None, SimpleNamespace(classify=classify))
    assert named == [image.shape for image in images]
    assert bus.region_names.shape == (len(bus.perception.candidates), 3)
    assert black.region_names.shape == (len(black.perception.candidates), 3)
    [without] = compute_candidates([bus_image], detector, None)
    assert without.region_names is None
    # Labels are corrected later, so that an ablation may leave it out.
    assert without.perception.candidates.labels == bus.perception.candidates.labels


def test_fused_labels_take_all_that_belongs_to_a_candidate(detector, bus_image):
    [seen] = compute_candidates([bus_image], detector, None)
    names = np.zeros((len(seen.perception.candidates), 3), np.float32)

    def fuse(perception, of_regions):
        assert of_regions is names
        return perception.take(np.array([1, 0])), np.array([1, 0])

    named = replace(seen, region_names=names)
    fused, order = fuse_labels(named, SimpleNamespace(fuse=fuse))
    assert order.tolist() == [1, 0]
    assert fused.perception.candidates.labels == tuple(
        seen.perception.candidates.labels[i] for i in order
    )
    assert fused.attributes == tuple(seen.attributes[i] for i in order)
    # Labels must not be corrected twice.
    assert fused.region_names is None


def test_half_precision_keeps_the_values(detector, bus_image):
    [seen] = compute_candidates([bus_image], detector, None)
    kept = half_precision(seen)
    assert kept.perception.features.dtype == torch.float16
    torch.testing.assert_close(
        kept.perception.features.float(), seen.perception.features.float(), atol=1e-2, rtol=1e-2
    )
    assert kept.perception.candidates is seen.perception.candidates
    assert kept.visual is None
