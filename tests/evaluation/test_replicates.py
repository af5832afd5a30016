import numpy as np
import pytest

from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.replicates import average_over_seeds, group_by_experiment, load_replicates, unique_labels
from genir.evaluation.results import MeasureValue, write_values


def config_of(folder, text):
    (folder / "c.yaml").write_text(f"collection: {{path: x}}\n{text}\n")
    return load_config(folder / "c.yaml")


def values(run, numbers):
    return [MeasureValue("test", run, f"q{place}", False, "RR@10", float(x)) for place, x in enumerate(numbers)]


def test_a_query_gets_the_mean_over_its_seeds_for_runs_that_all_folders_have(tmp_path):
    numbers = np.random.default_rng(0).random((3, 20))
    folders = [tmp_path / str(seed) for seed in range(3)]
    for folder, line in zip(folders, numbers, strict=True):
        more = values("only here", line) if folder.name == "0" else []
        write_values(values("sft", line) + more, folder / "evaluation" / "per_query.tsv")
    found = load_replicates(config_of(tmp_path, "evaluate: {measures: [RR@10]}"), folders)
    assert found.keys() == {"sft"}
    mean = average_over_seeds("all/sft", found["sft"])
    np.testing.assert_allclose([value.value for value in mean], numbers.mean(0))
    assert {value.run for value in mean} == {"all/sft"}


def test_seeds_measured_on_different_queries_raise_an_error():
    with pytest.raises(GenirError, match="a: the runs of different seeds were measured on different queries"):
        average_over_seeds("a", [values("a", [1, 2]), values("a", [1, 2, 3])])


def test_folders_that_differ_only_in_seed_location_and_measures_are_one_experiment(tmp_path, capsys):
    def run(name, text):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(f"collection: {{path: x}}\n{text}")
        return folder

    a, b = run("a", "seed: 1\n"), run("b", "seed: 2\nthreads: 1\nruns_dir: y\nevaluate: {bootstrap: 500}\n")
    c, d = run("c", "sft: {batch_size: 7}\n"), run("d", "seed: 2\nsft: {batch_size: 7}\n")
    assert group_by_experiment([a, b]) == {"": [a, b]}
    assert capsys.readouterr().out == ""
    assert group_by_experiment([a, c, b, d]) == {"a/": [a, b], "c/": [c, d]}
    assert "a/ and c/ are different experiments: their settings differ in sft.batch_size\n" in capsys.readouterr().out
    e = run("e", "irpo: {}\nsft: {batch_size: 7, max_tokens: 8}\nmodel: {size: mini}\n")
    assert group_by_experiment([e, a]) == {"e/": [e], "a/": [a]}
    assert "differ in irpo, model.size, sft.batch_size and 1 more" in capsys.readouterr().out
    f = run("f", "seed: 2\nthreads: 3\n")
    with pytest.raises(GenirError, match=r"b and .*f have the same settings and the same seed \(2\)"):
        group_by_experiment([a, b, f])


def test_labels_of_folders_with_the_same_name_include_parent_folders(tmp_path):
    assert unique_labels([tmp_path / "a", tmp_path / "b"]) == ["a/", "b/"]
    assert unique_labels([tmp_path / x / "squad" for x in ("one", "two")]) == ["one/squad/", "two/squad/"]
    assert unique_labels([tmp_path / x / "runs" / "squad" for x in ("one", "two")]) == [
        "one/runs/squad/",
        "two/runs/squad/",
    ]
    with pytest.raises(GenirError, match="a: this run folder is given twice"):
        unique_labels([tmp_path / "a", tmp_path / "b", tmp_path / "b" / ".." / "a"])


def test_experiments_in_folders_with_the_same_name_get_different_labels(tmp_path):
    folders = []
    for where, text in (("one", "seed: 1"), ("other", "sft: {batch_size: 7}"), ("two", "seed: 2")):
        folder = tmp_path / where / "squad"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(f"collection: {{path: x}}\n{text}\n")
        folders.append(folder)
    one, other, two = folders
    assert group_by_experiment(folders) == {"one/squad/": [one, two], "other/squad/": [other]}
