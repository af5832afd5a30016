import pytest
from pydantic import TypeAdapter, ValidationError

from genir.config.docids import DocidsConfig
from genir.docids import BUILDERS


def parse(values):
    return TypeAdapter(DocidsConfig).validate_python(values)


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_every_builder_has_a_section_with_defaults(builder):
    section = parse({"builder": builder})
    assert section.builder == builder
    assert section.collisions in ("extend", "reassign", "share")


def test_settings_of_another_builder_are_unknown():
    with pytest.raises(ValidationError, match=r"pq\.branching"):
        parse({"builder": "pq", "branching": 4})


def test_collisions_can_only_be_set_where_a_builder_has_a_choice():
    assert parse({"builder": "rq", "collisions": "reassign"}).collisions == "reassign"
    for values in (
        {"builder": "atomic", "collisions": "extend"},
        {"builder": "kmeans", "collisions": "share"},
        {"builder": "text", "collisions": "reassign"},
    ):
        with pytest.raises(ValidationError, match="collisions"):
            parse(values)
