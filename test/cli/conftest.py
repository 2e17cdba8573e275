# SPDX-License-Identifier: Apache-2.0
import cv2
import pytest


@pytest.fixture
def bus_file(bus_image, tmp_path):
    path = tmp_path / "bus.png"
    cv2.imwrite(str(path), bus_image)
    return path


@pytest.fixture
def zidane_file(zidane_image, tmp_path):
    path = tmp_path / "zidane.png"
    cv2.imwrite(str(path), zidane_image)
    return path
