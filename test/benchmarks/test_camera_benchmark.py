# SPDX-License-Identifier: Apache-2.0
"""Operation and counts of the benchmark, not its results."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import camera_benchmark as camera


def test_it_measures_real_nodes_and_accounts_for_every_image(monkeypatch):
    # Each further variant takes the time of loading its models.
    monkeypatch.setattr(camera, "read_variants", lambda: {camera.NODE: {}})
    steps = []
    figures = camera.run(
        camera.Options(
            frames=1,
            rate=20.0,
            seconds=1.5,
            flood_rate_hz=30.0,
            size=(320, 240),
            progress=steps.append,
        )
    )
    assert len(steps) >= 6
    assert figures["size"] == [320, 240]
    subjects = ["raw_detector", "bare_node", "node"]
    for table in ("results", "ratio_to_bare_node", "counts", "first_detection_s"):
        assert list(figures[table]) == subjects
    for row in figures["counts"].values():
        assert row["offered"] == row["processed"] + row["dropped"] == 20
    for row in figures["results"].values():
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["resident_mib"] > row["anonymous_mib"] > 100
    flood = figures["flood"]
    assert flood["processed"] > 0
    assert flood["published"] == flood["processed"] + flood["dropped"]
    assert len(flood["resident_mib"]) == 4
    questions = figures["questions"]
    assert questions["errors"] == []
    for answers in questions["answers"].values():
        assert answers["answered"] > 0
        assert 0 < answers["first_text_s"] <= answers["answer_s"]
