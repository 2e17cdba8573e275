# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.plain_detector import PlainDetector
from mrmllm_ros.engine.engine_settings import Settings


@pytest.fixture(scope="module")
def detector():
    return PlainDetector.from_settings(Settings.from_parameters({"compute.device": "cpu"}))


def test_thresholds_are_those_of_the_node():
    detector = PlainDetector.from_settings(
        Settings.from_parameters(
            {
                "detector.score_threshold": 0.4,
                "detector.iou_threshold": 0.5,
                "detector.max_detections": 7,
                "compute.device": "cpu",
            }
        )
    )
    assert (detector.conf, detector.iou, detector.max_det) == (0.4, 0.5, 7)
    assert (detector.device, detector.quantize, detector.threads) == ("cpu", None, 0)
    assert detector.path.endswith(".onnx")


def test_it_is_the_same_after_passing_it_to_a_process(detector):
    assert PlainDetector.from_json(detector.to_json()) == detector


def test_another_backend_is_an_error_that_names_the_fix():
    settings = Settings.from_parameters({"detector.backend": "transformers"})
    with pytest.raises(BenchmarkError, match="set it to ultralytics"):
        PlainDetector.from_settings(settings)


@pytest.mark.parametrize("threads", [0, 1])
def test_the_real_model_finds_nothing_in_a_black_image(detector, threads):
    predict = replace(detector, threads=threads).load()
    assert len(predict(np.zeros((48, 64, 3), np.uint8))) == 0


def test_a_bare_process_loads_no_library_of_the_fusion_model():
    code = (
        "import sys; import mrmllm_ros.benchmarks.raw_detector\n"
        "assert not {'torch', 'transformers', 'timm', 'rclpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
