from typing import get_args

from genir.bm25 import BACKENDS, BM25, open_index
from genir.config import BaselineConfig
from genir.records import Document


def test_every_back_end_of_the_config_has_an_index_class():
    assert set(BACKENDS) == set(get_args(BaselineConfig.model_fields["backend"].annotation))


def test_the_default_back_end_is_the_index_that_users_import():
    index = open_index([Document("a", "owls", "hunt mice"), Document("b", "tea", "leaves")], BaselineConfig())
    assert isinstance(index, BM25)
    assert [doc_id for doc_id, _ in index.search_many(["mouse mice"], 2)[0]] == ["a"]
