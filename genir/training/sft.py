"""The sft stage: teach the model to write docids, in the parts of a curriculum."""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, set_seed

from genir.collection.prepared import PreparedCollection
from genir.config import Config, TrainingPhase
from genir.docids.table import CodeLayout, DocidTable
from genir.embedders import load_embedder
from genir.errors import GenirError, error_at
from genir.evaluation.trec import qrels
from genir.files import atomic_folder, numbered_lines, read_json, write_json
from genir.model import DocidModel, new_model
from genir.pipeline.stage import Stage
from genir.retriever import Retriever
from genir.t5.loading import load_t5, silence_transformers
from genir.tokenizer import load_tokenizer, train_tokenizer
from genir.training.checkpoints import finish, work_folder
from genir.training.dev import dev_measures
from genir.training.examples import Collator, Example, ExampleStream, LabelledQuery, labelled_queries
from genir.training.lexical_init import initialise_from_bm25
from genir.training.trainer import Places, fit, negative_log_likelihood


def main(config: Config) -> None:
    """Train the retriever: text -> docid, in the stages of sft.phases, each from the weights of the one before."""
    run = config.run_folder
    data = PreparedCollection(run / "collection")
    table = DocidTable.load(run / "docids")
    settings = config.sft.model_dump(mode="json"), config.model.model_dump(mode="json")
    reads = ["collection", "docids", *(["pseudo_queries"] if (run / "pseudo_queries").exists() else [])]
    work = work_folder(config, "sft", settings, reads)
    set_seed(config.seed)
    model, tokenizer = _starting_point(config, data, table, work / "start")
    embedder = load_embedder(run / "docids" / "embedder")
    retriever = Retriever(model, tokenizer, table, config.sft.max_tokens, embedder=embedder)
    queries = train_queries(data, table)
    log = []
    for number, stage in enumerate(config.sft.phases, 1):
        log += _train_stage(config, retriever, data, queries, stage, number, work)
    finish(config, "sft", retriever, log, work)


def _starting_point(
    config: Config, data: PreparedCollection, table: DocidTable, folder: Path
) -> tuple[DocidModel, PreTrainedTokenizerBase]:
    """Model and tokenizer before the first step; kept in `folder`, since a resumed run must start from the same."""
    if not folder.exists():
        settings = config.model
        name = settings.tokenizer or settings.pretrained
        if table.text:  # the docids are written with its pieces
            tokenizer = load_tokenizer(str(config.run_folder / "docids" / "tokenizer"))
        elif name is not None:
            tokenizer = load_tokenizer(name)
        else:
            queries = (query.text for query in data.queries("train"))
            tokenizer = train_tokenizer(chain((d.body for d in data.documents), queries), settings.vocab_size)
        model = new_model(settings, tokenizer, table.sizes, table.text)
        if settings.pretrained is None and settings.init == "bm25":
            initialise_from_bm25(model, tokenizer, (d.body for d in data.documents), table.codes, config.seed)
        Retriever(model, tokenizer, table, config.sft.max_tokens).save_pretrained(folder)
    return _load(folder, config, table), load_tokenizer(str(folder))


def _load(folder: Path, config: Config, table: DocidTable) -> DocidModel:
    t5 = load_t5(str(folder))
    base = 0 if table.text else t5.config.vocab_size - sum(table.sizes)
    return DocidModel(t5, CodeLayout(base, table.sizes, table.text), config.model.softmax_over)


def train_queries(data: PreparedCollection, table: DocidTable) -> list[LabelledQuery]:
    """The train queries with their relevant documents as rows of the table."""
    texts = {query.id: query.text for query in data.queries("train")}
    return labelled_queries(texts, qrels(data.judgments("train")), table.doc_indices)


def _train_stage(
    config: Config,
    retriever: Retriever,
    data: PreparedCollection,
    queries: Sequence[LabelledQuery],
    stage: TrainingPhase,
    number: int,
    work: Path,
) -> list[dict[str, Any]]:
    """One stage of the curriculum; a finished one is only loaded."""
    settings, done = config.sft, work / f"done-{number}"
    if not done.exists():
        seed = (config.seed * 1000 + number) % 2**32  # what numpy takes
        stream = ExampleStream(
            stage.steps * settings.batch_size,
            seed,
            stage.mix,
            data.documents,
            queries,
            pseudo_queries(config.run_folder, retriever.table) if "pseudo_queries" in stage.mix else [],
            settings,
        )
        log = fit(
            retriever.model,
            stream,
            Collator(retriever.tokenizer, retriever.table.codes, settings.max_tokens),
            negative_log_likelihood,
            dev_measures(config, settings, retriever, data),
            settings,
            stage.steps,
            stage.learning_rate,
            seed,
            Places(work / f"stage-{number}", config.run_folder / "logs" / f"sft-{number}"),
            f"sft {number}/{len(settings.phases)}",
        )
        with atomic_folder(done) as folder, silence_transformers():
            retriever.model.t5.save_pretrained(folder)
            write_json(folder / "log.json", [entry | {"stage": number} for entry in log])
    retriever.model = _load(done, config, retriever.table)
    return list(read_json(done / "log.json"))


def pseudo_queries(run: Path, table: DocidTable) -> list[Example]:
    """What the queries stage left in a run folder; GenirError where it did not run, or not for these documents."""
    path = run / "pseudo_queries" / "queries.jsonl"
    if not path.exists():
        raise GenirError(f"{path}: missing, but a training mix names pseudo_queries; run genir queries CONFIG first")
    examples = []
    for line, text in numbered_lines(path):
        entry = json.loads(text)
        if entry["doc_id"] not in table.doc_indices:
            raise error_at(path, line, f"document {entry['doc_id']!r} has no docid; run the queries stage again")
        examples.append(Example(entry["text"], table.doc_indices[entry["doc_id"]]))
    return examples


STAGE = Stage("sft", settings=("model", "sft"), reads=("collection", "docids", "pseudo_queries?"), writes=("sft",))
