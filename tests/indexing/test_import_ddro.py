"""Small models and docids in the layout that DDRO published; scores are compared with Hugging Face's forward pass."""

import json

import numpy as np
import pytest
import torch
import typer
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration
from typer.testing import CliRunner

import genir.search
from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.trec import read_run
from genir.records import Document
from genir.retriever import Retriever
from genir.t5.loading import silence_transformers, untie
from indexing.import_ddro import command, make_docid_table, read_docids, restore_original_id
from indexing.prepare_collection import main as prepare

BASE, VOCAB_SIZE = 32_128, 38_272
QUERIES = ["owls hunt mice", "where do tea leaves wither one two"]


@pytest.fixture(scope="module")
def published(tmp_path_factory, tokenizer):
    """Folders of tiny T5 models of the original shape with DDRO's vocabulary size, by the kind of their head.

    tied and untied: as the config says. separate: untied weights with a config that says tied, as DDRO trained them.
    """

    def save(kind):
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=VOCAB_SIZE, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
        t5 = T5ForConditionalGeneration(config)
        if kind != "tied":
            untie(t5, torch.randn(VOCAB_SIZE, 16) * 0.5)
        with silence_transformers():
            t5.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        about = json.loads((folder / "config.json").read_text())
        about.pop("scale_decoder_outputs", None)
        about["tie_word_embeddings"] = kind != "untied"
        (folder / "config.json").write_text(json.dumps(about))
        return folder

    return {kind: save(kind) for kind in ("untied", "separate", "tied")}


def pq_lines(count=12, levels=24):
    codes = np.random.default_rng(0).integers(0, 256, (count, levels))
    codes[1, :23] = codes[0, :23]
    codes[5] = codes[4]
    return [f"[d{i}]\t{','.join(str(BASE + 256 * m + c) for m, c in enumerate(row))}" for i, row in enumerate(codes)]


def tu_lines():
    return [
        "[100]\t0,45,7,98,1,0,0",
        "[101]\t45,7,1",
        "[102]\t12,13,14,15,1",
        "[103]\t45,7",
        "[ABC]\t9,45,5,6,5,6,5,6,5,6,5,6,5,6",
    ]


def run(*arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def hugging_face_logp(folder, tokenizer, query, tokens, scaled):
    """Compute log p(docid | query) from the logits of transformers over the whole vocabulary."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    assert model.config.scale_decoder_outputs == scaled
    with torch.no_grad():
        logits = model(**tokenizer(query, return_tensors="pt"), labels=torch.tensor([tokens])).logits[0]
    return float(logits.log_softmax(-1)[range(len(tokens)), tokens].sum())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "scaled"), [("untied", False), ("separate", True), ("tied", True)])
@pytest.mark.parametrize("docids", ["pq", "tu"])
def test_scores_are_those_of_hugging_face(published, tokenizer, tmp_path, kind, scaled, docids):
    lines = pq_lines() if docids == "pq" else tu_lines()
    (tmp_path / "docids.txt").write_text("\n".join(lines) + "\n")
    done = run(published[kind], tmp_path / "docids.txt", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert ("24 x 256 codes, 83.3%" if docids == "pq" else "text, 60.0%") in done.output
    retriever = Retriever.from_pretrained(tmp_path / "out")
    assert (retriever.model.t5.lm_head.weight is retriever.model.t5.shared.weight) == (kind == "tied")
    wanted = {}
    for line in lines:
        name, _, tokens = line.partition("\t")
        tokens = [token for token in map(int, tokens.split(",")) if token > 1] + ([1] if docids == "tu" else [])
        doc_id = name[1:-1].upper()
        wanted[doc_id] = [hugging_face_logp(published[kind], tokenizer, query, tokens, scaled) for query in QUERIES]
    for number, hits in enumerate(retriever.search_many(QUERIES, k=20, beams=20)):
        assert {hit.doc_id for hit in hits} == wanted.keys()
        for hit in hits:
            assert hit.score == pytest.approx(wanted[hit.doc_id][number], abs=1e-4)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")  # it is a Hugging Face folder too
    assert (loaded.lm_head.weight is loaded.shared.weight) == (kind == "tied")


def test_documents_can_be_added_to_text_docids_but_not_to_code_docids(published, tmp_path):
    for name, lines in (("pq", pq_lines()), ("tu", tu_lines())):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
        run(published["untied"], tmp_path / f"{name}.txt", tmp_path / name)
    new = Document("new", "one two three", "", "")
    with pytest.raises(GenirError, match="imported without its codebooks"):
        Retriever.from_pretrained(tmp_path / "pq").add([new])
    retriever = Retriever.from_pretrained(tmp_path / "tu")
    retriever.add([new])
    assert retriever.table.docid_of(retriever.table.doc_index("new"))[-1] == 1
    assert "new" in {hit.doc_id for hit in retriever.search("one", k=9)}


@pytest.mark.slow
def test_an_imported_retriever_can_be_searched_in_a_run_folder(published, beir, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: {beir}}}\nruns_dir: {tmp_path}\nname: ddro\nsearch: {{k: 12, beams: 12}}\n"
    )
    config = load_config(tmp_path / "c.yaml")
    prepare(config)
    (tmp_path / "docids.txt").write_text("\n".join(pq_lines()) + "\n")
    run(published["untied"], tmp_path / "docids.txt", config.run_folder / "sft")
    genir.search.main(config)
    found = read_run(config.run_folder / "runs" / "sft.test.trec")
    assert len(found) == 12
    assert all(scores.keys() == {f"D{i}" for i in range(12)} for scores in found.values())


def test_doc_ids_are_converted_to_those_of_the_collection():
    assert [restore_original_id(x) for x in ("[d301595]", "[45]", "d7", "[doc7]", "[D12]")] == [
        "D301595",
        "45",
        "D7",
        "doc7",
        "D12",
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["[d1]\t32128,32384", "[d2] 32128"], r"d\.txt:2: '\[d2\] 32128' is not \[doc_id\], a tab, and tokens"),
        (["[d1]\t32128,x"], r"d\.txt:1: .* is not \[doc_id\]"),
        (["[d1]\t32_128"], r"d\.txt:1: .* is not \[doc_id\]"),
        (["[d1]\t5,-6,1"], r"d\.txt:1: .* is not \[doc_id\]"),
        (["[d1]\t32128", "[d1]\t32129"], r"d\.txt:2: document 'D1' occurs twice"),
        (["[]\t32128"], r"d\.txt:1: '' is not a doc_id"),
        (["[d1]\t0,1,0"], r"d\.txt:1: document 'D1' has no docid"),
        ([""], r"d\.txt:1: "),
        ([], r"d\.txt: the file has no docids"),
        (["[d1]\t32128,35200", "[d2]\t5,6,1"], r"d\.txt:2: this docid has both codes"),
        (["[d1]\t5,32128"], r"d\.txt:1: this docid has both codes"),
        (["[d1]\t32128,35200", "[d2]\t32128"], r"d\.txt:2: this docid has 1 codes, but those before it have 2"),
        (
            ["[d1]\t32128,35200", "[d2]\t35199,35199"],
            r"d\.txt:2: a code is outside its level; there are 2 levels of 3072 codes",
        ),
        (["[d1]\t38272"], r"d\.txt:1: token 38272, but the model has 38272"),
        (["[d1]\t5,6,1", "[d2]\t40000"], r"d\.txt:2: token 40000"),
    ],
)
def test_the_error_for_an_invalid_line_names_it(tmp_path, lines, words):
    path = tmp_path / "d.txt"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(GenirError, match=words):
        make_docid_table(path, *read_docids(path), VOCAB_SIZE)


def test_a_folder_of_other_files_is_rejected_before_the_model_is_loaded(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(GenirError, match="out: holds something that is not a retriever"):
        run(tmp_path / "none", tmp_path / "none.txt", tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"


def test_failed_imports_write_nothing(published, tmp_path):
    (tmp_path / "d.txt").write_text("[d1]\t5,x\n")
    for arguments, words in (
        ((published["untied"], tmp_path / "none.txt"), "no such file"),
        ((published["untied"], tmp_path / "d.txt"), "is not"),
        ((tmp_path / "none", tmp_path / "d.txt"), "cannot be loaded"),
    ):
        with pytest.raises(GenirError, match=words):
            run(*arguments, tmp_path / "out")
        assert not (tmp_path / "out").exists()
