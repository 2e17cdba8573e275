# SPDX-License-Identifier: Apache-2.0
"""A tiny furniture library, one renderer for all tests, and models without files."""

import zipfile

import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.furniture import FurnitureLibrary, FurnitureModel
from mrmllm_ros.datasets.rendered.image_effects import EffectSettings
from mrmllm_ros.datasets.rendered.model_map import ModelEntry, read_model_map
from mrmllm_ros.datasets.rendered.renderer import Renderer, RenderError
from mrmllm_ros.datasets.rendered.scene_renderer import SceneRenderer, SceneSettings

RESOLUTION = (320, 240)
CATALOG = "PluginFurnitureCatalog.properties"

# Name: noun, role, width, depth and height in centimeters, whether it carries things.
MODELS = {
    "cube": ("box", "floor", (60, 40, 80), False),
    "cupboard": ("cabinet", "wall_floor", (80, 50, 90), True),
    "fridge": ("refrigerator", "wall_floor", (70, 60, 170), False),
    "glazing": ("window", "opening", (90, 10, 100), False),
    "mug": ("cup", "surface", (8, 8, 10), False),
    "stool": ("chair", "seat", (40, 40, 50), False),
    "table": ("dining table", "floor", (140, 80, 75), True),
}

# A cube of two units whose front (z = 1) has the material `red`, the rest `painted`.
OBJ = """mtllib cube.mtl
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl red
f 1/1 2/2 3/3
f 1/1 3/3 4/4
usemtl painted
f 6/1 5/2 8/3
f 6/1 8/3 7/4
f 5/1 1/2 4/3
f 5/1 4/3 8/4
f 2/1 6/2 7/3
f 2/1 7/3 3/4
f 4/1 3/2 7/3
f 4/1 7/3 8/4
f 5/1 6/2 2/3
f 5/1 2/3 1/4
"""
MTL = """newmtl red
Kd 1 0 0
d {opacity}
newmtl painted
Kd 0 0 0
d {opacity}
map_Kd paint.png
"""


def _properties():
    lines = []
    for number, (name, (_, _, size, _)) in enumerate(MODELS.items(), start=1):
        values = {"id": f"maker#{name}", "name": name.title(), "creator": "A maker"}
        values |= dict(zip(("width", "depth", "height"), size, strict=True))
        values |= {"model": f"/maker/{name}/cube.obj"}
        lines += [f"{key}#{number}={value}" for key, value in values.items()]
    return "\n".join(lines)


def _paint():
    image = np.full((8, 8, 3), (40, 200, 40), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="session")
def label_map():
    """The label map of the package, which takes long to read."""
    return read_model_map()


@pytest.fixture(scope="session")
def library_files():
    """Contents of the tiny library by the paths in its archive."""
    files = {CATALOG: _properties().encode("latin-1")}
    for name in MODELS:
        files[f"maker/{name}/cube.obj"] = OBJ.encode()
        opacity = 0.1 if name == "glazing" else 1
        files[f"maker/{name}/cube.mtl"] = MTL.format(opacity=opacity).encode()
        files[f"maker/{name}/paint.png"] = _paint()
    return files


@pytest.fixture(scope="session")
def make_entry():
    """Function that makes an entry of the label map."""

    def make(noun, role="floor", carries=False, **changes):
        values = {
            "key": f"Scopia/{noun}",
            "noun": noun,
            "family": f"a {noun}",
            "role": role,
            "places": ("kitchen",),
            "split": "train",
            "carries": carries,
        }
        return ModelEntry(**(values | changes))

    return make


@pytest.fixture(scope="session")
def library_entries(make_entry):
    return tuple(
        make_entry(noun, role, carries, key=f"Scopia/{name}")
        for name, (noun, role, _, carries) in MODELS.items()
    )


@pytest.fixture(scope="session")
def make_library(library_entries):
    """Function that writes a library to a folder and opens it."""

    def make(folder, files, entries=library_entries):
        with zipfile.ZipFile(folder / "Scopia.sh3f", "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        return FurnitureLibrary(folder, entries)

    return make


@pytest.fixture(scope="session")
def library(make_library, library_files, tmp_path_factory):
    """The tiny library."""
    return make_library(tmp_path_factory.mktemp("library"), library_files)


@pytest.fixture(scope="session")
def make_model(make_entry):
    """Function that makes a model without a file."""

    def make(noun, role="floor", size=(0.5, 0.5, 0.5), carries=False, **changes):
        values = {
            "entry": make_entry(noun, role, carries),
            "title": noun,
            "creator": "A maker",
            "license": "CC0-1.0",
            "path": "",
            "size": size,
            "elevation": 0.0,
            "top": size[2],
            "rotation": np.eye(3),
        }
        return FurnitureModel(**(values | changes))

    return make


@pytest.fixture(scope="session")
def renderer():
    """The renderer of all tests."""
    try:
        return Renderer(RESOLUTION)
    except RenderError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def scenes(library, renderer):
    """Renderer of scenes of the tiny library."""
    settings = SceneSettings(resolution_wh=RESOLUTION, effects=EffectSettings(noise=2.0))
    return SceneRenderer(library, [], "train", 3, settings)
