import pytest

from genir.config.renamed import RENAMED, RENAMED_VALUES, update_docid_settings
from genir.config.schema import BUILDER_SECTIONS, find_section
from genir.errors import GenirError

KEYS = [(section, old, new) for section, names in RENAMED.items() for old, new in names.items()]


def dotted(section, key):
    return f"{section}.{key}".lstrip(".")


def places_of(section):
    """The places of a section, of which the docids section has one for each builder."""
    return [("docids", builder) for builder in BUILDER_SECTIONS] if section == "docids" else [(section,)]


@pytest.mark.parametrize(("section", "old", "new"), KEYS)
def test_an_old_key_is_an_error_that_gives_the_new_one(load_text, section, old, new):
    key = dotted(section, old)
    builder = next((name for name, found in BUILDER_SECTIONS.items() if new in found.model_fields), "rq")
    with pytest.raises(GenirError, match=rf"^'{key}=\[\]': {key} is now called {dotted(section, new)}$"):
        load_text(f"collection: {{path: x}}\ndocids: {{builder: {builder}}}", f"{key}=[]")


@pytest.mark.parametrize(("section", "old", "new"), KEYS)
def test_every_new_key_is_a_setting_and_no_old_key_is(section, old, new):
    *inner, name = new.split(".")
    found = [find_section([*place, *inner]).model_fields for place in places_of(section)]
    assert any(name in fields for fields in found)
    assert not any(old in find_section(place).model_fields for place in places_of(section))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.lexical_start=true", r"model\.lexical_start is now called model\.init; write model\.init=bm25"),
        ("model.lexical_start=false", r"model\.lexical_start is now called model\.init; write model\.init=random"),
        (
            "irpo.positions=model",
            r"irpo\.positions is now called irpo\.irpo_options\.discount_by; write irpo\.irpo_options\.discount_by=pol",
        ),
        ("irpo.positions=reference", r"irpo\.positions is now called irpo\.irpo_options\.discount_by$"),
        ("sft.stages.0.steps=5", r"sft\.stages is now called sft\.phases$"),
        ("queries.method=text", r"queries: the method text is now called extractive; write queries\.method=extractive"),
    ],
)
def test_an_old_value_is_an_error_that_gives_the_new_one(load_text, override, words):
    with pytest.raises(GenirError, match=words):
        load_text("collection: {path: x}", override)


@pytest.mark.parametrize(("section", "name"), [("model", "init"), ("irpo", "irpo_options.discount_by")])
def test_the_new_values_in_the_messages_are_valid(load_text, section, name):
    for value in RENAMED_VALUES[name].values():
        load_text("collection: {path: x}", f"{section}.{name}={value}")


def test_stored_settings_of_docids_are_translated_and_others_are_kept():
    stored = {"builder": "rq", "levels": 3, "codes": 64, "beam": 5}
    assert update_docid_settings(stored) == {"builder": "rq", "levels": 3, "codebook_size": 64, "encoder_beam": 5}
    assert update_docid_settings(update_docid_settings(stored)) == update_docid_settings(stored)
