"""The values that the config accepts and describes are those that the code implements."""

import re
from typing import Any, get_args

from genir.bm25 import BACKENDS
from genir.collection.published import PUBLISHED
from genir.config import BaselineConfig, CollectionConfig, DocidsConfig, Loss, ModelConfig
from genir.docids import BUILDERS
from genir.losses import LOSSES
from genir.model import SIZES


def literal(section: Any, name: str) -> set[str]:
    """The values of a setting whose type is a Literal."""
    return set(get_args(section.model_fields[name].annotation))


def test_the_losses_of_the_config_are_implemented():
    assert set(get_args(Loss)) == set(LOSSES)


def test_the_docid_builders_of_the_config_are_implemented():
    sections = get_args(get_args(DocidsConfig)[0])
    assert set().union(*(literal(section, "builder") for section in sections)) == set(BUILDERS)
    assert [section.model_fields["builder"].default for section in sections] == sorted(BUILDERS)


def test_the_published_collections_that_the_config_names_are_implemented():
    description = CollectionConfig.model_fields["published"].description
    assert description is not None
    listed = re.search(r": (.*)\.? Null", description)
    assert listed is not None
    names = re.split(r", or |, ", listed[1].rstrip("."))
    assert sorted(names) == sorted([*PUBLISHED, "beir/SET"])


def test_the_model_sizes_of_the_config_are_implemented_with_the_described_number_of_layers():
    assert literal(ModelConfig, "size") == set(SIZES)
    description = ModelConfig.model_fields["size"].description or ""
    layers = {name: int(count) for name, count in re.findall(r"(\w+) \((\d+)", description)}
    assert layers == {name: shape["num_layers"] for name, shape in SIZES.items()}
    assert layers == {name: shape["num_decoder_layers"] for name, shape in SIZES.items()}


def test_the_bm25_backends_of_the_config_are_implemented():
    assert literal(BaselineConfig, "backend") == set(BACKENDS)
