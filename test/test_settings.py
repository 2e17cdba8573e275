# SPDX-License-Identifier: Apache-2.0
import doctest
from dataclasses import dataclass

import pytest

from mrmllm_ros import settings
from mrmllm_ros.settings import (
    SettingsError,
    Validated,
    group,
    read_parameter_file,
    setting,
)


@dataclass(frozen=True)
class Camera(Validated):
    rate_hz: float = setting(10.0, "Frames a second.", minimum=0.5, maximum=120.0, live=True)
    buffer: int = setting(3, "Frames kept.", minimum=1)
    transport: str = setting("raw", "How images come.", choices=("raw", "compressed"))
    mirrored: bool = setting(False, "Whether left is right.")


@dataclass(frozen=True)
class Robot(Validated):
    name: str = setting("robot", "What it is called.")
    camera: Camera = group(Camera)


def test_without_values_there_are_the_defaults():
    assert Robot() == Robot(name="robot", camera=Camera(10.0, 3, "raw", False))


@pytest.mark.parametrize("rate_hz", [0.5, 120.0])
def test_the_bounds_themselves_are_allowed(rate_hz):
    assert Camera(rate_hz=rate_hz).rate_hz == rate_hz


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate_hz": 0.49}, "rate_hz: 0.49 is below the minimum of 0.5"),
        ({"rate_hz": 121.0}, "rate_hz: 121.0 is above the maximum of 120.0"),
        ({"rate_hz": float("inf")}, "rate_hz: inf is above the maximum of 120.0"),
        ({"buffer": 0}, "buffer: 0 is below the minimum of 1"),
        ({"transport": "theora"}, "transport: 'theora' is not one of raw, compressed"),
        ({"rate_hz": "10"}, "rate_hz: '10' is not of type float"),
        ({"rate_hz": None}, "rate_hz: None is not of type float"),
        ({"rate_hz": True}, "rate_hz: True is not of type float"),
        ({"buffer": 3.0}, "buffer: 3.0 is not of type int"),
        ({"buffer": True}, "buffer: True is not of type int"),
        ({"mirrored": 1}, "mirrored: 1 is not of type bool"),
        ({"transport": ["raw"]}, r"transport: \['raw'\] is not of type str"),
    ],
)
def test_a_rejected_value_is_named_with_the_reason(values, message):
    with pytest.raises(SettingsError, match=f"^{message}$"):
        Camera(**values)


def test_a_whole_number_is_taken_for_a_float_and_becomes_one():
    rate_hz = Camera(rate_hz=20).rate_hz
    assert (rate_hz, type(rate_hz)) == (20.0, float)


def test_every_setting_is_declared_with_its_dotted_name_default_and_constraint():
    declared = {name: (default, constraint) for name, default, constraint in Robot.declared()}
    assert list(declared) == [
        "name",
        "camera.rate_hz",
        "camera.buffer",
        "camera.transport",
        "camera.mirrored",
    ]
    default, constraint = declared["camera.rate_hz"]
    assert default == 10.0
    assert constraint.description == "Frames a second."
    assert (constraint.minimum, constraint.maximum, constraint.live) == (0.5, 120.0, True)
    assert declared["camera.transport"][1].choices == ("raw", "compressed")
    assert not declared["camera.buffer"][1].live


def test_a_mapping_sets_its_names_and_keeps_the_other_defaults():
    robot = Robot.from_mapping({"camera": {"buffer": 5}})
    assert robot == Robot(camera=Camera(buffer=5))


def test_dotted_names_reach_into_groups():
    robot = Robot.from_dotted({"name": "r2", "camera.buffer": 5, "camera.mirrored": True})
    assert robot == Robot("r2", Camera(buffer=5, mirrored=True))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nmae": "r2"}, r"unknown setting nmae; did you mean name\?; known: camera, name"),
        (
            {"camera": {"rate": 5.0, "age": 1}},
            r"camera: unknown setting age, rate; did you mean rate_hz\?; "
            "known: buffer, mirrored, rate_hz, transport",
        ),
    ],
)
def test_an_unknown_setting_is_answered_with_the_known_ones(values, message):
    with pytest.raises(SettingsError, match=f"^{message}$"):
        Robot.from_mapping(values)


def test_a_value_inside_a_group_is_checked():
    with pytest.raises(SettingsError, match=r"^camera: buffer: 0 is below"):
        Robot.from_dotted({"camera.buffer": 0})


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "parameters.yaml"
        path.write_text(text)
        return path

    return write


def test_a_parameter_file_gives_the_parameters_of_the_node(write):
    path = write(
        "robot_node:\n  ros__parameters:\n    name: r2\n    camera: {buffer: 5}\n"
        "other_node:\n  ros__parameters:\n    name: other\n"
    )
    assert read_parameter_file(path, "robot_node") == {"name": "r2", "camera.buffer": 5}


def test_parameters_for_every_node_count_and_a_namespace_does_not_matter(write):
    path = write(
        "/**:\n  ros__parameters:\n    use: all\n"
        "/front/robot_node:\n  ros__parameters:\n    name: r2\n"
    )
    assert read_parameter_file(path, "robot_node") == {"use": "all", "name": "r2"}
    assert read_parameter_file(path, "node") == {"use": "all"}


@pytest.mark.parametrize("text", ["robot_node:\n", "robot_node:\n  ros__parameters:\n", "{}"])
def test_a_parameter_file_may_have_no_section_of_the_node(text, write):
    assert read_parameter_file(write(text), "robot_node") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a ROS 2 parameter file"),
        ("- 1\n", "is not a ROS 2 parameter file"),
        ("detector: {model: a.onnx}\n", "it has no ros__parameters"),
        ("a: [", "cannot read the parameter file"),
    ],
)
def test_a_file_that_is_not_a_parameter_file_is_named(text, message, write):
    path = write(text)
    with pytest.raises(SettingsError, match=message) as error:
        read_parameter_file(path, "robot_node")
    assert str(path) in str(error.value)


def test_a_missing_parameter_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read the parameter file .*/nowhere\.yaml"):
        read_parameter_file(tmp_path / "nowhere.yaml", "robot_node")


def test_the_example_of_the_documentation_holds():
    example = doctest.DocTestFinder(recurse=False).find(
        settings, globs={"dataclass": dataclass, **vars(settings)}
    )
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    for test in example:
        runner.run(test)
    assert runner.summarize(verbose=False) == (0, 2)


@dataclass(frozen=True)
class Rig(Validated):
    names: tuple[str, ...] = setting(("left",), "Names.")


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), []])
def test_a_list_of_texts_is_kept_as_a_tuple(names):
    assert Rig(names=names).names == tuple(names)
    assert Rig().names == ("left",)


@pytest.mark.parametrize("names", ["ab", [1], ["a", None], None, {"a": 1}])
def test_a_value_that_is_not_a_list_of_strings_is_rejected(names):
    with pytest.raises(SettingsError, match=r"names: .* is not a list of strings"):
        Rig(names=names)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("score_treshold", "detector.score_threshold"),
        ("detectr.model", "detector.model"),
        ("zzz", ""),
    ],
)
def test_an_unknown_parameter_is_named_with_the_most_similar_one(name, meant):
    known = ["detector.model", "use_sim_time", "qos_overrides./image_raw.subscription.depth"]
    [message] = settings.unknown_parameters([*known, name])
    assert f"parameter {name} does not exist" in message
    assert meant in message


@pytest.mark.parametrize("section", ["/**", "/robot/**", "/robot/*", "/**/robot_node"])
def test_sections_for_several_nodes_are_for_the_node(write, section):
    path = write(f"{section}:\n  ros__parameters:\n    name: r2\n")
    assert read_parameter_file(path, "robot_node") == {"name": "r2"}
