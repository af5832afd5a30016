import shutil

import pytest

from genir.files import resources


@pytest.mark.parametrize("name", ["configs/quickstart.yaml", "data/sources.yaml", "indexing/build_docids.py"])
def test_in_a_checkout_resources_are_files_of_the_repository(root, name):
    assert resources.resource_path(name) == root / name
    assert resources.resource_path(name).is_file()


def test_in_a_wheel_resources_are_files_of_the_package(root, tmp_path, monkeypatch):
    """An installed package has no folders beside it; genir/stages holds them instead."""
    package = tmp_path / "genir"
    shutil.copytree(root / "genir" / "files", package / "files")
    shutil.copytree(root / "configs", package / "stages" / "configs")
    monkeypatch.setattr(resources, "__file__", str(package / "files" / "resources.py"))
    found = resources.resource_path("configs/quickstart.yaml")
    assert found.read_bytes() == (root / "configs" / "quickstart.yaml").read_bytes()
    assert package in found.parents
