"""Run files of other systems, measured as ir-measures measures them itself."""

import re

import ir_measures
import numpy as np
import pytest

from eval import evaluate
from genir.errors import GenirError
from genir.evaluation.trec import write_run


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two run files, a better one and a worse one, and TREC judgments of twelve queries."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name, last in (("good", 2), ("bad", 30)):
        order = {f"q{i}": [f"d{d}" for d in rng.permutation(30)] for i in range(12)}
        for query, doc_ids in order.items():
            doc_ids.remove("d3")
            doc_ids.insert(int(rng.integers(0, last)), "d3")
            order[query] = {doc_id: 30.0 - rank for rank, doc_id in enumerate(doc_ids)}
        write_run(order, tmp_path / f"{name}.trec", name)
    (tmp_path / "qrels.txt").write_text("".join(f"q{i} 0 d3 1\nq{i} 0 d4 0\n" for i in range(12)))
    return tmp_path


def evaluate_files(*names, **options):
    evaluate.command(runs=[*map(evaluate.Path, names)], judged=evaluate.Path("qrels.txt"), **options)


def test_the_table_has_the_means_of_ir_measures_and_the_tests_of_the_differences(files, capsys):
    evaluate_files("good.trec", "bad.trec", measures="RR@10, nDCG@10")
    text = capsys.readouterr().out
    judged = list(ir_measures.read_trec_qrels("qrels.txt"))
    for name in ("good", "bad"):
        run = list(ir_measures.read_trec_run(f"{name}.trec"))
        expected = ir_measures.calc_aggregate([ir_measures.RR @ 10, ir_measures.nDCG @ 10], judged, run)
        line = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
        for measure in expected:
            assert f"{expected[measure]:.3f} [" in line
    assert re.search(r"RR@10 +│ good │ bad │ -0\.\d+ +│ +0 │", text)
    assert not list(files.glob("runs*"))


def test_a_measure_that_is_given_twice_counts_once(files, capsys):
    shown = []
    for measures in ("RR@10", "RR@10,RR@10"):
        evaluate_files("good.trec", "bad.trec", measures=measures)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_queries_that_only_one_file_has_are_noted(files, capsys):
    lines = (files / "good.trec").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("q1 ", "q2 "))]
    (files / "part.trec").write_text("\n".join([*kept, "q99 Q0 d1 1 1.0 x"]))
    evaluate_files("part.trec", measures="RR@10")
    text = " ".join(capsys.readouterr().out.split())
    assert "2 of 12 judged queries have no hits and count as 0" in text
    assert "1 queries without judgments are left out" in text


def test_mistakes_are_named(files):
    (files / "other.trec").write_text("x1 Q0 d1 1 1.0 x\n")
    (files / "broken.trec").write_text("q1 Q0 d1 1 1.0 x\nq1 Q0 d2 x 1.0 x\n")
    for names, words in (
        (["other.trec"], r"other\.trec: none of its queries is judged in qrels\.txt"),
        (["broken.trec"], r"broken\.trec:2: the rank or the score is wrong"),
        (["good.trec", "good.trec"], "--run good.trec is given twice"),
    ):
        with pytest.raises(GenirError, match=words):
            evaluate_files(*names, measures="RR@10")
    with pytest.raises(GenirError, match="'RRR@10' is not a measure"):
        evaluate_files("good.trec", measures="RRR@10")
    for options in ({"config": "c.yaml"}, {"judged": None}):
        with pytest.raises(GenirError, match="--run and --qrels are given together, and without CONFIG"):
            evaluate.command(**{"runs": [files / "good.trec"], "judged": files / "qrels.txt"} | options)
    with pytest.raises(GenirError, match=r"--measures is for --run .*; for CONFIG, give the setting"):
        evaluate.command("c.yaml", measures="RR@10")
    with pytest.raises(GenirError, match="give CONFIG, or a run file and its judgments"):
        evaluate.command()


@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_a_run_file_without_hits_is_an_error(files, text):
    (files / "empty.trec").write_text(text)
    with pytest.raises(GenirError, match=r"empty\.trec: this run file contains no hits"):
        evaluate_files("good.trec", "empty.trec")
