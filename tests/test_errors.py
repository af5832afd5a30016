from pathlib import Path

from genir.errors import GenirError, error_at


def test_an_error_in_a_file_gives_the_path_and_line_as_editors_and_compilers_do():
    error = error_at(Path("a") / "corpus.jsonl", 12, "not valid JSON")
    assert isinstance(error, GenirError)
    assert str(error) == "a/corpus.jsonl:12: not valid JSON"
