import pytest

from genir.config import load_config


@pytest.fixture
def load_text(tmp_path):
    """Return a function that loads a config from YAML text and overrides."""

    def load(text, *overrides):
        (tmp_path / "c.yaml").write_text(text)
        return load_config(tmp_path / "c.yaml", overrides)

    return load
