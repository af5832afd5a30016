import itertools

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import GenirError
from genir.evaluation.measures import measure
from genir.evaluation.trec import break_score_ties, qrels, read_qrels, read_run, write_run
from genir.records import Judgment


@given(st.lists(st.floats(-1e3, 0), max_size=20).map(lambda x: sorted(x, reverse=True)))
def test_scores_without_ties_decrease_strictly_and_change_only_by_rounding(scores):
    got = list(break_score_ties([f"d{i}" for i in range(len(scores))], scores).values())
    assert all(a > b for a, b in itertools.pairwise(got))
    assert got == pytest.approx(scores, rel=1e-5, abs=1e-30)
    assert got == [float(np.float32(score)) for score in got]  # trec_eval reads them as they are


def test_a_run_file_has_the_trec_format_and_reads_back_the_same(tmp_path):
    run = {"q1": {"d1": -0.25, "d2": float(np.float32(-1 / 3))}, "q2": {"ü": -1e-40}}
    run = {query: break_score_ties([*scores], [*scores.values()]) for query, scores in run.items()}
    write_run(run, tmp_path / "x.trec", "sft")
    assert read_run(tmp_path / "x.trec") == run
    score = repr(run["q1"]["d2"])
    assert (tmp_path / "x.trec").read_text().splitlines()[1].split() == ["q1", "Q0", "d2", "2", score, "sft"]


@pytest.mark.parametrize(
    "line",
    [
        "q1 Q0 d1 1 0.5",
        "q1 Q0 d0 2 0.5 sft",
        "q1 Q0 d1 first 0.5 sft",
        "q1 Q0 d1 1.5 0.5 sft",
        *(f"q1 Q0 d1 1 {score} sft" for score in ("high", "nan", "inf", "-inf", "1_000", "٣", "1e999")),
    ],
)
def test_the_error_for_a_malformed_line_names_file_and_line(tmp_path, line):
    (tmp_path / "x").write_text("q1 Q0 d0 1 0.9 sft\n" + line + "\n")
    with pytest.raises(GenirError, match="x:2:"):
        read_run(tmp_path / "x")


def test_a_foreign_run_has_the_measures_of_trec_eval_whatever_its_ranks_ties_and_order(tmp_path):
    """Also with scores that differ by less than single precision can represent."""
    rng = np.random.default_rng(3)
    names = [f"d{d}" for d in range(30)] + ["é", "z", "Z", "10"]
    judged = {f"q{q}": {d: int(rng.integers(0, 3)) for d in names} for q in range(40)}
    lines = [
        f"{query} Q0 {d} {rng.integers(0, 50)} {float(rng.choice([1.0, 2.0, 2.0 + 1e-12, -3.5, 1e300]))!r} x\n"
        for query in judged
        for d in rng.permutation(names)[: rng.integers(1, 34)].tolist()
    ]
    (tmp_path / "x.trec").write_text("".join(lines))
    names_of = {"nDCG@10": "ndcg_cut_10", "RR": "recip_rank", "Success@1": "success_1", "AP": "map"}
    with open(tmp_path / "x.trec") as handle:
        parsed = pytrec_eval.parse_run(handle)
    expected = pytrec_eval.RelevanceEvaluator(judged, {*names_of.values()}).evaluate(parsed)
    found = measure(read_run(tmp_path / "x.trec"), judged, names_of)
    for name, theirs in names_of.items():
        assert found[name] == pytest.approx({query: values[theirs] for query, values in expected.items()}), name


def test_ranks_that_contradict_the_scores_and_ties_are_noted(tmp_path, capsys):
    lines = [
        "q1 Q0 c 3 9.5 x",
        "q1 Q0 a 1 7.5 x",
        "",
        "q2 Q0 a 1 2 x",
        "q2 Q0 b 2 2 x",
        "q3 Q0 a 0 2 x",
        "q3 Q0 b 0 3 x",
        "",
    ]
    (tmp_path / "x.trec").write_text("\n".join(lines))
    run = read_run(tmp_path / "x.trec")
    assert {query: list(scores) for query, scores in run.items()} == {
        "q1": ["c", "a"],
        "q2": ["b", "a"],
        "q3": ["b", "a"],
    }
    for scores in run.values():
        assert all(a > b for a, b in itertools.pairwise(scores.values()))
    printed = " ".join(capsys.readouterr().out.split())
    assert "the ranks of 1 of 3 queries contradict the scores, which decide" in printed
    assert "1 of 3 queries have tied scores" in printed


def test_qrels_group_judgments_by_query():
    judgments = [Judgment("q1", "a", 2), Judgment("q2", "a", 0), Judgment("q1", "b", 1)]
    assert qrels(judgments) == {"q1": {"a": 2, "b": 1}, "q2": {"a": 0}}


def test_trec_eval_and_ir_measures_read_the_files_and_rank_as_they_say(tmp_path):
    """Also with many documents whose scores differ by less than float32 can represent."""
    rng = np.random.default_rng(0)
    scores = sorted(-rng.random(50) * 1e-3 - 100, reverse=True)
    run = {f"q{q}": break_score_ties([f"d{d}" for d in rng.permutation(50)], scores) for q in range(5)}
    write_run(run, tmp_path / "a.trec", "a")
    judged = {f"q{q}": {f"d{d}": int(rng.integers(0, 3)) for d in range(0, 50, 3)} for q in range(5)}
    (tmp_path / "a.qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q in judged for d, g in judged[q].items()))
    with open(tmp_path / "a.trec") as handle:
        assert pytrec_eval.parse_run(handle) == run
    with open(tmp_path / "a.qrels") as handle:
        assert pytrec_eval.parse_qrel(handle) == judged == read_qrels(tmp_path / "a.qrels")
    read = list(ir_measures.read_trec_run(str(tmp_path / "a.trec")))
    assert [(row.query_id, row.doc_id) for row in read] == [(q, d) for q in run for d in run[q]]
    measures = [ir_measures.parse_measure(name) for name in ("RR", "RR@10", "nDCG@10", "Success@1", "AP")]
    theirs = ir_measures.calc_aggregate(measures, ir_measures.read_trec_qrels(str(tmp_path / "a.qrels")), read)
    ours = measure(run, judged, [str(x) for x in measures])
    assert {str(x): theirs[x] for x in measures} == pytest.approx({x: np.mean([*ours[x].values()]) for x in ours})


def test_judgments_are_read_in_both_formats(tmp_path):
    rows = [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d1", -1)]
    expected = qrels(Judgment(*row) for row in rows)
    (tmp_path / "trec").write_text("".join(f"{q} 0 {d}  {g}\n" for q, d, g in rows) + "\n")
    lines = ["query-id\tcorpus-id\tscore\n", *(f"{q}\t{d}\t{g}\n" for q, d, g in rows)]
    (tmp_path / "beir.tsv").write_text("".join(lines))
    assert read_qrels(tmp_path / "trec") == read_qrels(tmp_path / "beir.tsv") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q1 0 d1 1\nq1 d2 1\n", r":2: expected four columns \(query 0 doc_id grade\), or BEIR's header .*, got 3"),
        ("query-id\tcorpus-id\tscore\nq1 0 d1 1\n", r":2: expected three columns .*, got 1"),
        ("q1 0 d1 1\n\nq1 0 d1 0\n", ":3: document 'd1' is judged twice for query 'q1'"),
        ("q1 0 d1 0.5\n", ":1: the grade is wrong"),
        ("\n", ": this file contains no judgments"),
    ],
)
def test_malformed_judgments_are_reported_with_their_line(tmp_path, text, words):
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(GenirError, match=f"qrels{words}"):
        read_qrels(tmp_path / "qrels")
