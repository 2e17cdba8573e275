# SPDX-License-Identifier: Apache-2.0
import huggingface_hub
import pytest

from mrmllm_ros import weights
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import fingerprint, resolve, revision, safe_options


class NamedError(MrmllmError):
    pass


def test_an_embedded_model_is_found_in_its_folder():
    folder = resolve("detector", "nanodet-g", "detector.model", NamedError)
    assert folder == str(weights.locate("nanodet-g"))


def test_an_embedded_model_of_another_kind_is_rejected_with_the_parameter():
    with pytest.raises(NamedError, match=r"^detector\.model: efficientnet-lite0 is a visual enc"):
        resolve("detector", "efficientnet-lite0", "detector.model", NamedError)


def test_an_embedded_model_that_is_not_fetched_is_named_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="mrmllm models fetch nanodet-g"):
        resolve("detector", "nanodet-g", "detector.model", NamedError)


def test_a_folder_is_found_also_in_the_home_folder(monkeypatch, tmp_path):
    (tmp_path / "model").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("~/model", str(tmp_path / "model")):
        assert resolve("detector", name, "x", NamedError) == str(tmp_path / "model")


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~/nowhere"])
def test_a_path_without_a_folder_is_rejected(name):
    with pytest.raises(
        NamedError, match=r"^x\.model: the folder .*nowhere(/model)? does not exist"
    ):
        resolve("detector", name, "x.model", NamedError)


def test_another_name_is_one_of_the_hub():
    assert resolve("detector", "someone/model", "x", NamedError) == "someone/model"


def test_code_of_a_model_is_not_run_and_folders_are_not_searched_online(tmp_path):
    assert safe_options("someone/model") == {"local_files_only": False, "trust_remote_code": False}
    assert safe_options(str(tmp_path)) == {"local_files_only": True, "trust_remote_code": False}


def test_the_fingerprint_of_local_weights_is_their_digest(tmp_path):
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "weights.onnx"
    file.write_bytes(b"one")
    of_file, of_folder = fingerprint(str(file)), fingerprint(str(file.parent))
    assert of_file.startswith("weights.onnx ")
    file.write_bytes(b"two")
    assert fingerprint(str(file)) != of_file
    assert fingerprint(str(file.parent)) != of_folder


def test_the_fingerprint_of_other_models_is_name_and_revision():
    assert fingerprint("nanodet-g") == f"nanodet-g {revision('nanodet-g')}"
    assert fingerprint("some/model") == "some/model "


def test_the_revision_of_an_embedded_model_names_package_and_conversion():
    asset = CATALOG["nanodet-g"]
    assert revision("nanodet-g") == f"{asset.package.version}.{asset.conversion}"


def test_the_revision_of_a_folder_and_of_an_unknown_model_is_unknown(tmp_path):
    assert revision(str(tmp_path)) == ""
    assert revision("mrmllm-test/nowhere") == ""


def test_the_revision_of_a_model_of_the_hub_is_its_commit(tmp_path, monkeypatch):
    cached = tmp_path / "snapshots" / "abc123" / "config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(cached))
    assert revision("someone/model") == "abc123"
