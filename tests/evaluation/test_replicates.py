import numpy as np
import pytest

from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.replicates import by_name, experiments_of, labels, mean_over_seeds
from genir.evaluation.results import Value, write_values


def config_of(folder, text):
    (folder / "c.yaml").write_text(f"collection: {{path: x}}\n{text}\n")
    return load_config(folder / "c.yaml")


def values(run, numbers):
    return [Value("test", run, f"q{place}", False, "RR@10", float(x)) for place, x in enumerate(numbers)]


def test_a_query_gets_the_mean_of_its_seeds_for_runs_that_all_have(tmp_path):
    numbers = np.random.default_rng(0).random((3, 20))
    folders = [tmp_path / str(seed) for seed in range(3)]
    for folder, line in zip(folders, numbers, strict=True):
        more = values("only here", line) if folder.name == "0" else []
        write_values(values("sft", line) + more, folder / "evaluation" / "per_query.tsv")
    found = by_name(config_of(tmp_path, "evaluate: {measures: [RR@10]}"), folders)
    assert found.keys() == {"sft"}
    mean = mean_over_seeds("all/sft", found["sft"])
    np.testing.assert_allclose([value.value for value in mean], numbers.mean(0))
    assert {value.run for value in mean} == {"all/sft"}


def test_seeds_of_other_queries_are_refused():
    with pytest.raises(GenirError, match="a: its seeds were not measured on the same queries"):
        mean_over_seeds("a", [values("a", [1, 2]), values("a", [1, 2, 3])])


def test_folders_belong_together_when_only_seed_place_and_measures_differ(tmp_path, capsys):
    def run(name, text):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(f"collection: {{path: x}}\n{text}")
        return folder

    a, b = run("a", "seed: 1\n"), run("b", "seed: 2\nthreads: 1\nevaluate: {bootstrap: 500}\n")
    c, d = run("c", "sft: {batch_size: 7}\n"), run("d", "seed: 2\nsft: {batch_size: 7}\n")
    assert experiments_of([a, b]) == {"": [a, b]}
    assert capsys.readouterr().out == ""
    assert experiments_of([a, c, b, d]) == {"a/": [a, b], "c/": [c, d]}
    assert "a/ and c/ are two experiments: they differ in sft.batch_size\n" in capsys.readouterr().out
    e = run("e", "irpo: {}\nsft: {batch_size: 7, max_tokens: 8}\nmodel: {size: mini}\n")
    assert experiments_of([e, a]) == {"e/": [e], "a/": [a]}
    assert "differ in irpo, model.size, sft.batch_size and 1 more" in capsys.readouterr().out


def test_folders_of_one_name_are_told_apart(tmp_path):
    assert labels([tmp_path / "a", tmp_path / "b"]) == ["a/", "b/"]
    assert labels([tmp_path / x / "squad" for x in ("one", "two")]) == ["one/squad/", "two/squad/"]
    assert labels([tmp_path / x / "runs" / "squad" for x in ("one", "two")]) == ["one/runs/squad/", "two/runs/squad/"]
    with pytest.raises(GenirError, match="a: is given twice"):
        labels([tmp_path / "a", tmp_path / "b", tmp_path / "b" / ".." / "a"])


def test_experiments_in_folders_of_one_name_are_all_there(tmp_path):
    folders = []
    for where, text in (("one", "seed: 1"), ("other", "sft: {batch_size: 7}"), ("two", "seed: 2")):
        folder = tmp_path / where / "squad"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(f"collection: {{path: x}}\n{text}\n")
        folders.append(folder)
    one, other, two = folders
    assert experiments_of(folders) == {"one/squad/": [one, two], "other/squad/": [other]}
