from pathlib import Path

import pytest

from genir.collection.base import Collection, require_new_id
from genir.errors import GenirError


class EmptyCollection(Collection):
    name = "here"

    def __init__(self, *splits):
        self.names = splits

    @property
    def splits(self):
        return list(self.names)

    def documents(self):
        return iter(())

    def queries(self):
        return iter(())

    def judgments(self, split):
        return iter(())


def test_a_missing_split_is_reported_with_the_splits_that_exist():
    EmptyCollection("train", "test").require_split("test")
    with pytest.raises(GenirError, match="here: no split 'dev'; there are: train, test"):
        EmptyCollection("train", "test").require_split("dev")
    with pytest.raises(GenirError, match="here: no split 'dev'; there are: none"):
        EmptyCollection().require_split("dev")


def test_an_id_is_accepted_once():
    seen: set[str] = set()
    assert require_new_id("a", seen, "_id", Path("x"), 1) == "a"
    assert require_new_id("ü", seen, "_id", Path("x"), 2) == "ü"
    assert seen == {"a", "ü"}
    with pytest.raises(GenirError, match="x:3: duplicate _id 'a'"):
        require_new_id("a", seen, "_id", Path("x"), 3)


@pytest.mark.parametrize("value", ["", "a b", "a\t", "\u3000", 7, None, "\ud800"])
def test_an_invalid_id_is_reported_with_file_and_line(value):
    seen: set[str] = set()
    with pytest.raises(
        GenirError, match="corpus:9: doc_id must be a non-empty string without white space and control characters, got"
    ):
        require_new_id(value, seen, "doc_id", Path("corpus"), 9)
    assert not seen
