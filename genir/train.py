"""train: teach the model to write docids, and put the retriever together."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, set_seed

from genir.batches import Collator, Example, ExampleStream, LabelledQuery, labelled_queries
from genir.command import run_stage
from genir.config import Config, TrainStage
from genir.console import console
from genir.docids.table import CodeLayout, DocidTable
from genir.errors import GenirError, at
from genir.files import atomic_folder, content_hash, numbered_lines, read_json, write_json
from genir.lexical_start import lexical_start
from genir.model import DocidModel, load_t5, new_model, quiet
from genir.prepared import PreparedCollection
from genir.retriever import Retriever
from genir.runs import measure, qrels
from genir.stage import Stage
from genir.tokenizer import load_tokenizer, train_tokenizer
from genir.trainer import Places, fit, negative_log_likelihood


def main(config: Config) -> None:
    """Train the retriever: text -> docid, in the stages of sft.stages, each from the weights of the one before.

    Dev queries (never test) are searched every sft.eval_steps; they choose the weights and stop a stage early.
    TensorBoard logs are in RUN/logs. A killed training goes on from its last checkpoint to the same weights.
    """
    run = config.run
    data = PreparedCollection(run / "collection")
    table = DocidTable.load(run / "docids")
    work = _work_folder(config)
    set_seed(config.seed)
    model, tokenizer = _starting_point(config, data, table, work / "start")
    retriever = Retriever(model, tokenizer, table, config.sft.max_tokens)
    queries = _queries(data, table)
    log = []
    for number, stage in enumerate(config.sft.stages, 1):
        log += _train_stage(config, retriever, data, queries, stage, number, work)
    retriever.save_pretrained(run / "sft")
    write_json(run / "sft" / "log.json", log)
    retriever.save_pretrained(run / "retriever")
    shutil.rmtree(work)
    best = max(entry[f"eval_{config.sft.metric}"] for entry in log if f"eval_{config.sft.metric}" in entry)
    console.print(f"dev {config.sft.metric} {best:.3f}; the retriever is in {run / 'retriever'}")


def _work_folder(config: Config) -> Path:
    """RUN/checkpoints, emptied when it belongs to other settings or data."""
    work = config.run / "checkpoints"
    parts = [config.sft.model_dump(mode="json"), config.model.model_dump(mode="json"), config.seed]
    parts += [content_hash(config.run / name) for name in ("collection", "docids")]
    wanted = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    mark = work / "belongs_to.json"
    if not mark.exists() or read_json(mark) != wanted:
        shutil.rmtree(work, ignore_errors=True)
        write_json(mark, wanted)
    return work


def _starting_point(
    config: Config, data: PreparedCollection, table: DocidTable, folder: Path
) -> tuple[DocidModel, PreTrainedTokenizerBase]:
    """Model and tokenizer before the first step; kept in `folder`, since a resumed run must start from the same."""
    if not folder.exists():
        settings = config.model
        name = settings.tokenizer or settings.pretrained
        if table.text:  # the docids are written with its pieces
            tokenizer = load_tokenizer(str(config.run / "docids" / "tokenizer"))
        elif name is not None:
            tokenizer = load_tokenizer(name)
        else:
            queries = (query.text for query in data.queries("train"))
            tokenizer = train_tokenizer(chain((d.body for d in data.documents), queries), settings.vocabulary)
        model = new_model(settings, tokenizer, table.sizes, table.text)
        if settings.pretrained is None and settings.lexical_start:
            lexical_start(model, tokenizer, (d.body for d in data.documents), table.codes, config.seed)
        Retriever(model, tokenizer, table, config.sft.max_tokens).save_pretrained(folder)
    return _load(folder, config, table), load_tokenizer(str(folder))


def _load(folder: Path, config: Config, table: DocidTable) -> DocidModel:
    t5 = load_t5(str(folder))
    base = 0 if table.text else t5.config.vocab_size - sum(table.sizes)
    return DocidModel(t5, CodeLayout(base, table.sizes, table.text), config.model.normalize)


def _queries(data: PreparedCollection, table: DocidTable) -> list[LabelledQuery]:
    texts = {query.id: query.text for query in data.queries("train")}
    return labelled_queries(texts, qrels(data.judgments("train")), table.rows)


def _train_stage(
    config: Config,
    retriever: Retriever,
    data: PreparedCollection,
    queries: Sequence[LabelledQuery],
    stage: TrainStage,
    number: int,
    work: Path,
) -> list[dict[str, Any]]:
    """One stage of the curriculum; a finished one is only loaded."""
    settings, done = config.sft, work / f"done-{number}"
    if not done.exists():
        seed = config.seed * 1000 + number
        stream = ExampleStream(
            stage.steps * settings.batch_size,
            seed,
            stage.mix,
            data.documents,
            queries,
            _pseudo_queries(settings.pseudo_queries, retriever.table) if "pseudo_queries" in stage.mix else [],
            settings,
        )
        log = fit(
            retriever.model,
            stream,
            Collator(retriever.tokenizer, retriever.table.codes, settings.max_tokens),
            negative_log_likelihood,
            _dev_measures(config, retriever, data),
            settings,
            stage,
            seed,
            Places(work / f"stage-{number}", config.run / "logs" / f"sft-{number}"),
            f"sft {number}/{len(settings.stages)}",
        )
        with atomic_folder(done) as folder, quiet():
            retriever.model.t5.save_pretrained(folder)
            write_json(folder / "log.json", [entry | {"stage": number} for entry in log])
    retriever.model = _load(done, config, retriever.table)
    return list(read_json(done / "log.json"))


def _dev_measures(config: Config, retriever: Retriever, data: PreparedCollection) -> Any:
    """A function that searches the first dev queries and returns the mean of each measure."""
    queries = data.queries("dev")[: config.sft.eval_queries]
    wanted = {query.id for query in queries}
    judged = {query_id: grades for query_id, grades in qrels(data.judgments("dev")).items() if query_id in wanted}

    k = config.evaluate.cutoff

    def evaluate() -> dict[str, float]:
        hits = retriever.search_many([query.text for query in queries], k, beams=max(k, config.sft.eval_beams))
        ranks = [{hit.doc_id: -float(hit.rank) for hit in found} for found in hits]
        values = measure(dict(zip((q.id for q in queries), ranks, strict=True)), judged, config.evaluate.measures)
        return {name: sum(by_query.values()) / len(by_query) for name, by_query in values.items()}

    return evaluate


def _pseudo_queries(path: str | None, table: DocidTable) -> list[Example]:
    """Lines {"doc_id": ..., "text": ...} of a JSONL file; an unknown document raises GenirError."""
    if path is None:
        raise GenirError("sft.stages: the mix names pseudo_queries, so sft.pseudo_queries must name their file")
    examples = []
    for line, text in numbered_lines(Path(path)):
        try:
            entry = json.loads(text)
            examples.append(Example(str(entry["text"]), table.rows[entry["doc_id"]]))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise at(path, line, f'needs {{"doc_id": a known document, "text": a query}}: {error!r}') from None
    return examples


STAGE = Stage("train", settings=("model", "sft"), reads=("collection", "docids"), writes=("sft", "retriever"))

if __name__ == "__main__":
    run_stage(STAGE, main)
