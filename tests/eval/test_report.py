import html
import json
import re
from html.parser import HTMLParser

import pytest

import eval.compare
import eval.evaluate
import eval.report
from eval.report import escape_tex
from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.contributions import COLUMNS, Contributions, ExpertContribution, write_contributions
from genir.evaluation.trec import write_run
from genir.files import write_json
from indexing.prepare_collection import main as prepare
from tests.helpers.beir import write_beir

HOSTILE = "Is 1 < 2 & *what* | of_this_word `x` [y](z) $x$ <b>bold</b> \\n ## no?"
PIXEL = bytes.fromhex(  # a PNG of one pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


class Page(HTMLParser):
    """Parses an HTML page: its tables as lists of rows of cell texts, and the sources of its images."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.images, self.in_cell = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True
        elif tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag == "br":
            self.handle_data("\n")

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.in_cell:
            self.tables[-1][-1][-1] += data


@pytest.fixture
def config(tmp_path):
    """An evaluated and compared run folder with 20 test queries: sft is better than BM25 on 15 and worse on 5."""
    documents = [{"_id": f"d{i}", "title": f"Title {i}", "text": f"text {i}"} for i in range(20)]
    documents[3]["title"] = HOSTILE
    queries = [{"_id": f"{split}{i}", "text": f"question {i}"} for split in ("train", "test") for i in range(20)]
    queries[23]["text"] = HOSTILE
    qrels = {
        "train": [(f"train{i}", f"d{i}", 1) for i in range(10)],
        "test": [(f"test{i}", f"d{i}", 1) for i in range(20)],
    }
    folder = write_beir(tmp_path / "beir", documents, queries, qrels)
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: {folder}, dev_fraction: 0.3}}\nruns_dir: {tmp_path / 'runs'}\nname: a_b\n"
        "evaluate: {bootstrap: 100, measures: [RR@10, Success@1]}\n"
    )
    config = load_config(tmp_path / "c.yaml")
    prepare(config)

    def ranking(i, place):
        others = [f"d{j}" for j in range(20) if j != i][:9]
        return {d: -float(n) for n, d in enumerate([*others[: place - 1], f"d{i}", *others[place - 1 :]])}

    bm25 = {f"test{i}": ranking(i, 4 if i < 15 else 1) for i in range(20)}
    sft = {f"test{i}": ranking(i, 1 if i < 15 else i - 12) for i in range(20)}
    write_run(bm25, config.run_folder / "baseline" / "bm25.test.trec", "bm25")
    write_json(config.run_folder / "baseline" / "fingerprint.json", {"settings": {}, "measures": {}})
    write_run(sft, config.run_folder / "runs" / "sft.test.trec", "sft")
    eval.evaluate.main(config)
    eval.compare.main(config)
    return config


def read(config):
    eval.report.main(config)
    folder = config.run_folder / "report"
    return (folder / "report.md").read_text(), Page((folder / "report.html").read_text())


def test_the_tables_show_measures_with_intervals_and_significance(config):
    text, page = read(config)
    results = next(table for table in page.tables if table[0][:2] == ["run", "queries"])
    assert results[0] == ["run", "queries", "RR@10", "Success@1"]
    labels = ["bm25", "seen documents", "unseen documents", "sft", "seen documents", "unseen documents"]
    assert [row[0] for row in results[1:]] == labels
    measures = json.loads((config.run_folder / "evaluation" / "measures.json").read_text())["test"]
    tests = json.loads((config.run_folder / "comparison" / "comparison.json").read_text())
    assert any(row["p_holm"] < 0.05 for row in tests)
    for row, (run, part) in zip(
        results[1:], [(run, part) for run in ("bm25", "sft") for part in ("all", "seen", "unseen")], strict=True
    ):
        for name, cell in zip(("RR@10", "Success@1"), row[2:], strict=True):
            mean, low, high = map(float, re.findall(r"\d?\.\d+", cell))
            wanted = measures[run][name][part]
            assert int(row[1]) == wanted["queries"]
            assert (mean, low, high) == pytest.approx([wanted[key] for key in ("mean", "low", "high")], abs=5.1e-4)
            p = next(t["p_holm"] for t in tests if t["measure"] == name)
            assert cell.endswith("†") == ((run, part) == ("sft", "all") and p < 0.05)
    significance = next(table for table in page.tables if "p Holm" in table[0])
    assert len(significance) == 1 + len(tests)
    assert len([line for line in text.splitlines() if line.startswith("| **")]) == 2
    tex = (config.run_folder / "report" / "results.tex").read_text()
    assert tex.count(r"\\") == 1 + 6
    assert f"{measures['sft']['RR@10']['all']['mean']:.3f}".removeprefix("0") in tex


def test_the_examples_are_the_largest_gains_and_losses_with_the_hits_of_both_runs(config):
    _, page = read(config)
    won, lost = [table for table in page.tables if table[0][:2] == ["query", "relevant"]]
    assert [row[0] for row in lost[1:]] == ["question 19", "question 18", "question 17", "question 16", "question 15"]
    assert len(won) == 1 + 5
    assert lost[0] == ["query", "relevant", "sft", "bm25"]
    _, relevant, left, right = lost[1]
    assert relevant == "d19 Title 19"
    assert left.splitlines()[0] == "RR@10 .143"
    assert right.splitlines() == ["RR@10 1.000", "1. d19 Title 19", "2. d0 Title 0", "3. d1 Title 1"]


def test_texts_with_markup_are_shown_literally(config):
    _, page = read(config)
    won = next(table for table in page.tables if table[0][:2] == ["query", "relevant"])
    assert [row[0] for row in won[1:]] == ["question 0", "question 1", "question 2", HOSTILE, "question 4"]
    assert won[4][1] == f"d3 {HOSTILE}"
    assert f"1. d3 {HOSTILE}" in won[4][2].splitlines()


@pytest.mark.parametrize("name", [r"a\b", "a_b & 5% $x$ #1 {x} ~^", "<x> | y"])
def test_latex_shows_a_name_literally(name):
    """Each escape is one of those that LaTeX defines, and what they stand for is the name."""
    signs = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^",
             r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|"}  # fmt: skip
    signs |= {rf"\{sign}": sign for sign in "&%$#_{}"}
    parts = re.findall(r"\\[a-z]+\{\}|\\.|[^\\&%$#_{}~^<>|]", escape_tex(name))
    assert "".join(parts) == escape_tex(name)
    assert "".join(signs.get(part, part) for part in parts) == name


def test_values_of_json_files_are_shown_literally(config):
    write_json(config.run_folder / "stage.json", {HOSTILE: {"seconds": 1, "peak_memory_mb": 2, "finished": HOSTILE}})
    _, page = read(config)
    (stages,) = [table for table in page.tables if table[0][0] == "stage"]
    assert stages[1:] == [[HOSTILE, "1", "2", HOSTILE]]


def test_figures_are_shown_if_they_exist(config):
    assert read(config)[1].images == []
    (config.run_folder / "figures").mkdir()
    for name in ("training.png", "measures.test.png", "gains.test.png"):
        (config.run_folder / "figures" / name).write_bytes(PIXEL)
    text, page = read(config)
    assert len(page.images) == 3
    assert all(image.startswith("data:image/png;base64,") for image in page.images)
    assert re.findall(r"\]\((\.\./figures/.*?)\)", text) == [
        "../figures/measures.test.png", "../figures/gains.test.png", "../figures/training.png"
    ]  # fmt: skip


def test_the_protocol_card_is_shown_with_nested_keys_and_rounded_numbers(config):
    def card_rows():
        page = read(config)[1]
        return page.tables[-2][1:]  # the last table lists the stages

    rows = card_rows()
    assert ["collection", "custom"] in rows
    assert ["documents, count", "20"] in rows
    path = config.run_folder / "evaluation" / "card.json"
    card = json.loads(path.read_text())
    fingerprint = {"settings": {}, "measures": {"test": {"R@1": 0.18941}}}
    write_json(path, card | {"collection": "a|b", "counts": {"documents": 12345}, "ids": [1, 2], "bm25": fingerprint})
    rows = card_rows()
    for row in (["collection", "a|b"], ["counts, documents", "12,345"], ["ids", "1, 2"]):
        assert row in rows
    assert ["bm25, measures, test, R@1", "0.1894"] in rows


def test_certified_shares_have_a_column_and_an_explanation_with_the_cutoff(config):
    assert "Certified" not in read(config)[0]
    write_json(config.run_folder / "evaluation" / "certificates.json", {"test": {"sft": 0.875}})
    text, page = read(config)
    results = next(table for table in page.tables if table[0][:2] == ["run", "queries"])
    assert results[0][-1] == "certified"
    assert [row[-1] for row in results[1:]] == ["", "", "", "87.5%", "", ""]
    assert "Certified: share of queries whose top 10 is proven to be the model's best." in text


def test_the_experts_have_a_section_with_their_table_and_a_sentence_that_are_shown_literally(config):
    text, _ = read(config)
    assert "Experts" not in text
    tex = (config.run_folder / "report" / "results.tex").read_text()
    experts = [
        ExpertContribution("text", 0.82, 1.25, 0.5, 0.891, 0.871),
        ExpertContribution(HOSTILE, 1, None, None, 1, 0),
    ]
    parts = Contributions("test", "RR@10", 20, 20, experts, 0.904, HOSTILE, 0.925)
    write_contributions(parts, config.run_folder / "evaluation" / "experts.json")
    text, page = read(config)
    assert text.index("## Measures") < text.index("## Experts") < text.index("## Largest gains")
    (table,) = [table for table in page.tables if table[0][0] == "part"]
    assert table == [
        list(COLUMNS),
        ["text", "0.820", "1.25", "0.50", ".891", ".871"],
        [HOSTILE, "1.000", "", "", "1.000", ".000"],
        ["model", "", "", "", "", ".904"],
    ]
    shown = (config.run_folder / "report" / "report.html").read_text()
    assert parts.explanation in html.unescape(re.sub(r"<[^>]*>", "", shown))
    assert (config.run_folder / "report" / "results.tex").read_text() == tex


@pytest.mark.slow
def test_significance_tests_of_another_evaluation_are_not_shown(config, capsys):
    assert "† differs from bm25" in read(config)[0]
    assert "without significance" not in capsys.readouterr().out
    path = config.run_folder / "comparison" / "comparison.json"
    rows = json.loads(path.read_text())
    other = load_config(config.run_folder.parent.parent / "c.yaml", ["evaluate.measures=[RR@10,AP]"])
    eval.evaluate.main(other)
    renamed = [row | {"a": f"mine/{row['a']}", "b": f"mine/{row['b']}"} for row in rows]
    for wrong in (rows, renamed, [row | {"difference": 0.5} for row in rows]):
        write_json(path, wrong)
        text, page = read(other if wrong is rows else config)
        assert "†" not in text
        assert "significant" not in text.splitlines()[2]
        assert not [table for table in page.tables if "p Holm" in table[0]]
        assert "dagger" not in (config.run_folder / "report" / "results.tex").read_text()
        assert f"run: genir compare {config.run_folder}, then report again" in capsys.readouterr().out
        eval.evaluate.main(config)
    path.unlink()
    assert "†" not in read(config)[0]


def test_the_result_comes_first_and_how_the_run_was_made_comes_last(config):
    """The first relevant document is at rank 1 for 15 of the 20 queries, and at the ranks 3 to 7 for the others."""
    for name in ("training.png", "measures.test.png", "gains.test.png"):
        (config.run_folder / "figures").mkdir(exist_ok=True)
        (config.run_folder / "figures" / name).write_bytes(PIXEL)
    report = {"documents": 20, "unique_share": 1, "unique_share_before_collisions": 0.5, "collisions": "extend",
              "shared_prefix": [{"neighbours": "1-1", "shared": 1.5}, {"neighbours": "random", "shared": 0.5}],
              "warnings": ["a_warning"]}  # fmt: skip
    write_json(config.run_folder / "docids" / "report.json", report)
    text, page = read(config)
    title, blank, sentence = text.splitlines()[:3]
    mean = (15 + sum(1 / rank for rank in range(3, 8))) / 20
    bm25 = (15 / 4 + 5) / 20
    assert (title, blank) == ("# a\\_b", "")
    assert sentence.startswith(f"**On test (20 queries), SFT reaches RR@10 .{mean * 1000:.0f} ")
    assert f"against .{bm25 * 1000:.0f} for BM25 (difference +.{(mean - bm25) * 1000:.0f}, significant" in sentence
    assert re.findall(r"^## (.*)", text, re.M) == [
        "Measures",
        "Significance",
        "Largest gains of sft over bm25, test",
        "Largest losses of sft against bm25, test",
        "Docids",
        "Training",
        "Protocol card",
        "How this run was made",
    ]
    assert [table[0][0] for table in page.tables] == ["run", "split", "query", "query", "", "stage"]
    assert "shares with its nearest neighbour: 1.50, random documents: 0.50." in text
    assert "- Warning: a\\_warning" in text


def test_a_run_without_evaluation_raises_an_error_that_says_what_to_run(tmp_path):
    (tmp_path / "c.yaml").write_text(f"collection: {{path: x}}\nruns_dir: {tmp_path}\n")
    with pytest.raises(GenirError, match="run evaluate first"):
        eval.report.main(load_config(tmp_path / "c.yaml"))
