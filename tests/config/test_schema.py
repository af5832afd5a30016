import pytest

from genir.config import Band, Config, IRPOOptions, PQConfig, SFTConfig, SpanConfig, TrainingPhase
from genir.config.schema import BUILDER_SECTIONS, find_section
from genir.docids import BUILDERS


@pytest.mark.parametrize(
    ("place", "section"),
    [
        ((), Config),
        (("sft",), SFTConfig),
        (("sft", "batch_size"), SFTConfig),
        (("sft", "phases", 0), TrainingPhase),
        (("sft", "phases", "0", "mix"), TrainingPhase),
        (("ddro", "spans", "min_words"), SpanConfig),
        (("irpo", "irpo_options"), IRPOOptions),
        (("negatives", "bands"), Band),
        (("docids", "pq", "levels"), PQConfig),
        (("nonsense",), Config),
    ],
)
def test_a_place_leads_to_its_section_or_to_the_one_that_contains_it(place, section):
    assert find_section(place) is section


def test_every_docid_builder_has_a_section():
    assert set(BUILDER_SECTIONS) == set(BUILDERS)
