"""The command line as a user types it, each command in a separate process."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from genir.cli import OTHER_PROGRAMS, STAGES
from tests.helpers.processes import read_help, run_genir, run_python
from tests.helpers.small_run import SMALL, write_small_run

pytestmark = pytest.mark.slow  # the first process that imports torch takes seconds


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run over a small collection, by an interpreter that imports everything itself."""
    folder = write_small_run(tmp_path_factory.mktemp("cli"))
    done = start_interpreter("-m", "genir", "run", "small.yaml", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def start_interpreter(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


def test_help_lists_every_stage_in_order(tmp_path):
    text = read_help()
    stages = "run status prepare embed docids queries baseline negatives train search evaluate compare plot report"
    others = "certify serve import-ddro"
    assert re.findall(r"^│ ([a-z][a-z-]+) ", text, re.M) == [*stages.split(), *others.split()]
    assert run_genir("--version", cwd=tmp_path).stdout.startswith("genir ")


@pytest.mark.parametrize("name", ["run", "status", *STAGES, *OTHER_PROGRAMS])
def test_every_command_has_its_own_help(name):
    text = read_help(name)
    assert f"genir {name}" in text
    assert {"serve": "RUN", "import-ddro": "DOCIDS"}.get(name, "CONFIG") in text
    assert len(text.splitlines()) > 12


def test_a_run_writes_everything_and_says_how_to_continue(finished):
    folder, done = finished
    run = folder / "runs" / "small"
    names = {path.name for path in run.iterdir()}
    assert names >= {"collection", "embeddings.npy", "docids", "baseline", "sft", "retriever", "runs", "evaluation",
                     "comparison", "figures", "report", "logs", "stage.json", "config.yaml"}  # fmt: skip
    assert "checkpoints" not in names
    end = done.stdout.split("report.md, report.html, results.tex")[1]
    assert re.search(
        r"^On test \(12 queries\), SFT reaches RR@10 .*, against .* for BM25 \(difference .*p = ", end, re.M
    )
    assert re.findall(r"^│ (\w+) ", end, re.M) == ["run", "bm25", "experts", "sft"][1:]
    for words in ("genir search runs/small --interactive", "genir serve runs/small", "runs/small/report/report.html"):
        assert words in end
    assert done.stdout.count("3 hits") == 3
    measures = json.loads((run / "evaluation" / "measures.json").read_text())["test"]
    assert measures.keys() == {"bm25", "experts", "sft"}
    assert measures["bm25"]["RR@10"]["all"]["mean"] > 0.9
    proven = json.loads((run / "runs" / "sft.test.certified.json").read_text())
    assert proven == {f"q{i}-test": 10 for i in range(12)}  # 12 beams for 12 documents, of which 10 are hits
    assert json.loads((run / "evaluation" / "certificates.json").read_text()) == {"test": {"sft": 1.0}}
    records = json.loads((run / "stage.json").read_text())
    stages = "prepare embed docids baseline negatives sft retriever search evaluate compare plot report"
    assert list(records) == stages.split()
    assert all(record["peak_memory_mb"] > 1 for record in records.values())


def test_a_second_run_skips_every_stage(finished):
    folder, _ = finished
    again = run_genir("run", "small.yaml", *SMALL, cwd=folder).stdout
    assert again.count("up to date") == 12
    elsewhere = run_genir("docids", folder / "runs" / "small", cwd=folder.parent).stdout
    assert "up to date" in elsewhere


def test_status_lists_the_stages_with_reasons(finished):
    folder, _ = finished
    text = run_genir("status", "runs/small", cwd=folder).stdout
    assert text.count("up to date") == 12
    assert "no training mix contains pseudo_queries" in text
    text = run_genir("status", "runs/small", "sft.batch_size=17", "ddro={}", cwd=folder).stdout
    assert re.search(r"│ sft +│ stale +│ setting sft\.batch_size changed from 16 to 17", text)
    assert re.search(r"│ ddro +│ not run", text)
    assert "no such run folder" in run_genir("status", "small.yaml", "name=never", cwd=folder, status=1).stderr


def test_a_run_file_of_the_user_is_measured_too(finished):
    folder, _ = finished
    copy = shutil.copytree(folder / "runs" / "small", folder / "copy")
    shutil.copy(copy / "runs" / "sft.test.trec", copy / "runs" / "own.test.trec")
    text = run_genir("evaluate", copy, cwd=folder).stdout
    assert re.findall(r"^│ (\w+) ", text, re.M)[:4] == ["bm25", "experts", "sft", "own"]


def test_search_answers_single_and_interactive_queries(finished):
    folder, _ = finished
    one = run_genir("search", "runs/small", "--query", "owls hunt mice keyword0", "-k", 2, cwd=folder).stdout
    assert "2 hits" in one
    many = run_genir("search", "runs/small", "--interactive", cwd=folder, text="tea leaves\n[/b]\n\n").stdout
    assert "'tea leaves': 10 hits" in many
    assert "'[/b]': 10 hits" in many


def test_an_interactive_line_that_is_not_utf_8_is_refused_and_the_next_one_answered(finished):
    folder, _ = finished
    done = run_genir("search", "runs/small", "--interactive", cwd=folder, text="\udcff\ntea leaves\n\n")
    assert "not valid UTF-8" in done.stdout
    assert "'tea leaves': 10 hits" in done.stdout


def test_an_interactive_search_without_standard_input_ends(finished):
    folder, _ = finished
    ask = ["-m", "genir", "search", "runs/small", "--interactive"]
    done = start_interpreter(*ask, cwd=folder, preexec_fn=lambda: os.close(0))
    assert (done.returncode, done.stderr) == (0, "")


def test_search_names_a_stage_that_has_not_been_trained(finished):
    folder, _ = finished
    copy = shutil.copytree(folder / "runs" / "small", folder / "untrained")
    done = run_genir("search", copy, "irpo={}", cwd=folder, status=1)
    assert f"irpo has not been trained yet; run: genir train {copy}" in done.stderr


def test_an_exact_search_says_so(finished):
    folder, _ = finished
    text = run_genir("search", "runs/small", "--query", "owls", "--k", 2, "--exact", cwd=folder).stdout
    assert "2 hits, exact" in text


def test_certify_measures_what_each_beam_size_loses(finished):
    folder, _ = finished
    beams = ["--beams", 3, "--beams", 12, "--compare"]
    run_genir("certify", "runs/small", "--split", "test", "--k", 3, *beams, cwd=folder)
    narrow, wide, exact = json.loads((folder / "runs" / "small" / "certificates" / "test.json").read_text())
    assert (narrow["beams"], wide["beams"], exact["beams"]) == (3, 12, "exact")
    assert 0 <= narrow["certified"] <= narrow["same"] <= 1
    assert wide["certified"] == wide["same"] == wide["found"] == exact["certified"] == 1
    assert (folder / "runs" / "small" / "certificates" / "test.png").exists()


def test_runs_of_two_folders_can_be_compared(finished):
    folder, _ = finished
    run_genir("run", "small.yaml", *SMALL, "name=other", "seed=2", "--until", "evaluate", cwd=folder)
    done = run_genir("compare", "runs/small", "--other", "runs/other", cwd=folder)
    rows = json.loads((folder / "runs" / "small" / "comparison_between_runs" / "comparison.json").read_text())
    assert {row["a"] for row in rows} | {row["b"] for row in rows} == {
        "small/bm25", "small/experts", "small/sft", "other/experts", "other/sft"
    }  # fmt: skip
    assert "other/sft" in done.stdout
    run_genir("compare", "runs/small", "--other", "runs/other", "--over-seeds", cwd=folder)
    seeds = json.loads((folder / "runs" / "small" / "comparison_between_runs" / "seeds.json").read_text())
    for row in seeds:
        each = [
            json.loads((folder / "runs" / name / "evaluation" / "measures.json").read_text())
            [row["split"]][row["run"]][row["measure"]]["all"]["mean"]
            for name in ("small", "other")
        ]  # fmt: skip
        assert row["seeds"] == pytest.approx(each)
        assert row["mean"] == pytest.approx(sum(each) / 2)
    assert {row["run"] for row in seeds} == {"bm25", "experts", "sft"}
    done = run_genir("compare", "runs/small", "--over-seeds", cwd=folder, status=1)
    assert "each after --other" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such config file or run folder"),
        (["certify", "runs/small/retriever"], "runs/small/retriever: this is a retriever folder; the command needs a"),
        (["run", "small.yaml", "sft.bach_size=3"], "unknown key sft.bach_size; did you mean batch_size?"),
        (["run", "small.yaml", "evaluate.measures=[RRR@10]", "sft.metric=RRR@10"], "'RRR@10' is not a measure"),
        (["run", "small.yaml", "--until", "lunch"], "unknown stage 'lunch'"),
        (["run", "small.yaml", "collection.path=nowhere"], "collection.path nowhere: no such folder"),
        (["run", "small.yaml", "ddro={teacher: no.jsonl}"], "ddro.teacher no.jsonl: no such file (working directory "),
        (["run", "small.yaml", "embed.method=no.npy"], "embed.method no.npy: no such file (working directory "),
        (
            ["run", "small.yaml", "sft.phases.0.mix={pseudo_queries: 1}", "queries.method=no.jsonl.gz"],
            "no such file (working directory",
        ),
        (["train", "small.yaml", "name=fresh"], "missing; run the stages before this one first"),
        (["search", ".", "--query", "x"], "not a retriever"),
        (
            ["search", ".", "search.kk=3", "--query", "x"],
            "search.kk=3: settings do not apply to the retriever of a folder",
        ),
        (["serve", "./nowhere"], "no such folder"),
    ],
)
def test_a_mistake_is_a_one_line_error_without_a_traceback(finished, arguments, words):
    folder, _ = finished
    done = run_genir(*arguments, cwd=folder, status=1)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_files_of_stages_that_do_not_run_may_be_missing(finished):
    folder, _ = finished
    done = run_genir("run", "small.yaml", "name=vectors", "embed.method=no.npy", "--until", "prepare", cwd=folder)
    assert (folder / "runs" / "vectors" / "collection").exists(), done.stderr


def test_a_program_runs_by_its_path_and_as_a_module(finished, root):
    folder, _ = finished
    for call in ([root / "indexing" / "build_docids.py"], ["-m", "indexing.build_docids"]):
        done = run_python([*call, folder / "small.yaml", f"runs_dir={folder / 'runs'}", *SMALL], root)
        assert "docids: up to date" in done.stdout, done.stderr


def test_output_to_a_full_device_is_a_one_line_error(finished):
    folder, _ = finished
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "genir", "search", "runs/small", "--query", "owls"],
            cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "no space left on the device that the output goes to" in done.stderr
    assert "Traceback" not in done.stderr
