# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.rendered.furniture import FurnitureLibrary

CATALOG = "PluginFurnitureCatalog.properties"
CUBE = "maker/cube/cube"
FIX = "run `mrmllm models fetch --profile scenes`"


@pytest.fixture
def make_changed(make_library, library_files, tmp_path):
    """Function that writes the library with some files changed or, with None, without them."""

    def make(**changes):
        files = {**library_files, **{PATHS[name]: value for name, value in changes.items()}}
        kept = {path: content for path, content in files.items() if content is not None}
        return make_library(tmp_path, kept)

    return make


PATHS = {
    "catalog": CATALOG,
    "obj": f"{CUBE}.obj",
    "mtl": f"{CUBE}.mtl",
    "texture": "maker/cube/paint.png",
}


def catalog_with(library_files, old, new):
    text = library_files[CATALOG].decode("latin-1")
    assert old in text
    return text.replace(old, new).encode("latin-1")


def cube_of(library):
    return next(each for each in library.models if each.title == "Cube")


def cube_mesh(library):
    return library.mesh(cube_of(library))


class TestModels:
    def test_they_have_the_order_of_the_label_map(self, library, library_entries):
        assert [each.entry for each in library.models] == list(library_entries)

    def test_a_model_has_the_size_of_the_catalog_in_meters(self, library):
        cube = cube_of(library)
        assert cube.size == (0.6, 0.4, 0.8)
        assert cube.top == cube.size[2]
        assert cube.elevation == 0
        assert cube.path == f"{CUBE}.obj"
        assert cube.library == "Scopia"

    def test_its_credit_names_title_creator_and_license(self, library):
        assert cube_of(library).credit == {
            "title": "Cube",
            "creator": "A maker",
            "license": "CC-BY-3.0",
        }

    def test_optional_properties_are_read(self, make_changed, library_files):
        more = b"\nelevation#1=120\ndropOnTopElevation#1=35.5\n"
        cube = cube_of(make_changed(catalog=library_files[CATALOG] + more))
        assert (cube.elevation, cube.top) == (1.2, pytest.approx(0.355))

    def test_a_top_that_carries_nothing_is_the_height(self, make_changed, library_files):
        more = b"\ndropOnTopElevation#1=-1\n"
        assert cube_of(make_changed(catalog=library_files[CATALOG] + more)).top == 0.8

    def test_a_map_without_entries_needs_no_library(self, tmp_path):
        assert FurnitureLibrary(tmp_path, ()).models == ()


class TestMesh:
    def test_it_stands_on_its_base_with_the_size_of_the_catalog(self, library):
        corners = np.concatenate([part.positions for part in cube_mesh(library)])
        assert np.allclose(corners.min(axis=0), [-0.3, -0.2, 0], atol=1e-6)
        assert np.allclose(corners.max(axis=0), [0.3, 0.2, 0.8], atol=1e-6)

    def test_the_front_faces_minus_y(self, library):
        [red] = [part for part in cube_mesh(library) if part.texture is None]
        assert red.color == (1, 0, 0)
        assert np.allclose(red.positions[:, 1], -0.2)
        assert np.allclose(red.normals, [0, -1, 0], atol=1e-6)

    def test_normals_point_outward(self, library):
        for part in cube_mesh(library):
            outward = part.positions - [0, 0, 0.4]
            assert ((outward * part.normals).sum(axis=1) > 0).all()
            assert np.allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-5)

    def test_a_texture_replaces_the_color_of_its_material(self, library):
        [painted] = [part for part in cube_mesh(library) if part.texture is not None]
        assert painted.color == (1, 1, 1)
        assert painted.texture.shape == (8, 8, 3)
        assert painted.texture[0, 0].tolist() == [40, 200, 40]
        assert painted.uv.min() == 0
        assert painted.uv.max() == 1

    def test_a_turned_model_keeps_the_size_of_the_catalog(self, make_changed, library_files):
        # A quarter turn about the vertical axis: the red front becomes a side.
        turned = b"\nmodelRotation#1=0 0 1 0 1 0 -1 0 0\n"
        parts = cube_mesh(make_changed(catalog=library_files[CATALOG] + turned))
        corners = np.concatenate([part.positions for part in parts])
        assert np.allclose(np.ptp(corners, axis=0), [0.6, 0.4, 0.8], atol=1e-6)
        [red] = [part for part in parts if part.texture is None]
        assert np.allclose(red.positions[:, 0], 0.3)

    def test_invisible_materials_are_left_out(self, make_changed, library_files):
        mtl = library_files[f"{CUBE}.mtl"].replace(b"Kd 1 0 0\nd 1", b"Kd 1 0 0\nd 0")
        [painted] = cube_mesh(make_changed(mtl=mtl))
        assert painted.texture is not None

    def test_glass_keeps_its_opacity(self, make_changed, library_files):
        mtl = library_files[f"{CUBE}.mtl"].replace(b"Kd 1 0 0\nd 1", b"Kd 1 0 0\nd 0.3")
        assert {part.opacity for part in cube_mesh(make_changed(mtl=mtl))} == {0.3, 1.0}

    @pytest.mark.parametrize("name", ["mtl", "texture"])
    def test_without_materials_or_textures_the_shape_remains(self, make_changed, name):
        parts = cube_mesh(make_changed(**{name: None}))
        assert sum(len(part.positions) for part in parts) == 36


class TestErrors:
    @pytest.fixture
    def folder(self, library, tmp_path):
        (tmp_path / "Scopia.sh3f").write_bytes((library.folder / "Scopia.sh3f").read_bytes())
        return tmp_path

    def test_a_missing_library_is_named_with_the_command(self, library_entries, tmp_path):
        with pytest.raises(DataError, match=rf"cannot read .*Scopia\.sh3f: .*; {FIX}"):
            _ = FurnitureLibrary(tmp_path, library_entries).models

    @pytest.mark.parametrize("damage", ["empty", "cut"])
    def test_a_file_that_is_no_archive_is_named(self, library_entries, folder, damage):
        path = folder / "Scopia.sh3f"
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:500])
        with pytest.raises(DataError, match=rf"cannot read .*Scopia\.sh3f: .*; {FIX}"):
            _ = FurnitureLibrary(folder, library_entries).models

    def test_damaged_content_is_named(self, library_entries, folder):
        path = folder / "Scopia.sh3f"
        data = path.read_bytes()
        path.write_bytes(data.replace(b"v -1 -1 1", b"v -9 -9 9", 1))
        library = FurnitureLibrary(folder, library_entries)
        with pytest.raises(DataError, match=rf"cannot read {CUBE}\.obj in .*CRC.*; {FIX}"):
            cube_mesh(library)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("obj", None, rf"cannot read {CUBE}\.obj in .*Scopia\.sh3f: "),
            ("obj", b"", rf"{CUBE}\.obj"),
            ("obj", b"v 0 0 0\nv 1 0 0\n", rf"{CUBE}\.obj"),
            ("obj", b"v 0 0 0\nf 1 2 3\n", rf"{CUBE}\.obj"),
            ("obj", b"\x00\xff\xfe not a mesh", rf"{CUBE}\.obj"),
            ("catalog", None, rf"cannot read {CATALOG} in "),
            ("catalog", b"", "which is not in the library Scopia"),
        ],
    )
    def test_a_missing_or_wrong_file_is_named(self, make_changed, name, value, message):
        with pytest.raises(DataError, match=message):
            cube_mesh(make_changed(**{name: value}))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("width#1=60\n", "", "the catalog of Scopia is wrong: cube: 'width'"),
            ("width#1=60", "width#1=wide", "the catalog of Scopia is wrong: cube: .*'wide'"),
            ("creator#1=A maker\n", "", "the catalog of Scopia is wrong: cube: 'creator'"),
        ],
    )
    def test_a_wrong_property_is_named(self, make_changed, library_files, old, new, message):
        with pytest.raises(DataError, match=message):
            _ = make_changed(catalog=catalog_with(library_files, old, new)).models

    def test_a_library_without_a_known_license_is_rejected(self, folder, make_entry):
        (folder / "Scopia.sh3f").rename(folder / "Unknown.sh3f")
        entry = make_entry("box", key="Unknown/cube")
        with pytest.raises(DataError, match="the license of the library Unknown is unknown"):
            _ = FurnitureLibrary(folder, (entry,)).models
