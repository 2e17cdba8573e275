# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from mrmllm_ros.datasets.candidate_cache import batches, compute_candidates, half_precision


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


def test_half_precision_keeps_the_values(detector, bus_image):
    [seen] = compute_candidates([bus_image], detector, None)
    kept = half_precision(seen)
    assert kept.perception.features.dtype == torch.float16
    torch.testing.assert_close(
        kept.perception.features.float(), seen.perception.features.float(), atol=1e-2, rtol=1e-2
    )
    assert kept.perception.candidates is seen.perception.candidates
    assert kept.visual is None
