from pathlib import Path

from genir.errors import GenirError, error_at


def test_an_error_in_a_file_begins_with_path_and_line_as_those_of_compilers_do():
    error = error_at(Path("a") / "corpus.jsonl", 12, "not valid JSON")
    assert isinstance(error, GenirError)
    assert str(error) == "a/corpus.jsonl:12: not valid JSON"
