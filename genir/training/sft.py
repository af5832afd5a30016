"""The sft stage (supervised fine-tuning): the model learns to generate docids in the phases of a curriculum."""

from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, set_seed

from genir.collection.prepared import PreparedCollection
from genir.config import Config
from genir.console import console, print_note
from genir.docids.table import DocidTable
from genir.docids.trie import Trie
from genir.embedders import load_embedder
from genir.errors import GenirError
from genir.files import remove_folder
from genir.model import build_model
from genir.pipeline.stage import Stage
from genir.processes import run_on_main
from genir.retriever import Retriever
from genir.retriever.folder import read_settings
from genir.tokenizer import load_tokenizer, sample_texts, train_tokenizer
from genir.training.batch_logps import DocumentScorer
from genir.training.checkpoints import prepare_work_folder, save_trained_retriever
from genir.training.dev import make_dev_evaluator
from genir.training.examples import Collator, Example, ExampleStream, read_sources
from genir.training.experts import choose_fitted_queries, make_experts
from genir.training.head_scale import fit_head_scale, silence_head
from genir.training.lexical_init import initialise_from_bm25
from genir.training.seen import find_seen_documents
from genir.training.trainer import TrainingJob, run_phase, supervised_loss


def main(config: Config) -> None:
    """Train the retriever on text -> docid in the phases of sft.phases, and write it to RUN/sft.

    Each phase starts from the weights of the one before it.
    """
    run = config.run_folder
    data = PreparedCollection(run / "collection")
    table = DocidTable.load(run / "docids")
    sections = (config.sft, config.model, config.experts)
    settings: list[Any] = [section and section.model_dump(mode="json") for section in sections]
    settings += [
        config.baseline.model_dump(include={"stemmer"}),
        config.embed.model_dump(include={"method", "sentences"}),
    ]
    inputs = ["collection", "docids"]
    inputs += [path for path in ("embeddings.npy", "embedder", "sentences", "pseudo_queries") if (run / path).exists()]
    external = (config.model.pretrained, config.model.tokenizer)
    work = run_on_main(lambda: prepare_work_folder(config, "sft", settings, inputs, external))
    set_seed(config.seed)
    run_on_main(lambda: _write_initial_retriever(config, data, table, work / "start"))
    initial = Retriever.from_pretrained(work / "start")
    embedder = load_embedder(run / "docids" / "embedder")
    retriever = Retriever(
        initial.model, initial.tokenizer, table, config.sft.max_tokens, initial.trie, embedder, initial.experts
    )
    log: list[dict[str, Any]] = []
    for number in range(1, len(config.sft.phases) + 1):
        log += run_phase(number, work, retriever, partial(_make_job, config, retriever, data, number, work))
    run_on_main(lambda: save_trained_retriever(config, "sft", retriever, log, work))


def _write_initial_retriever(config: Config, data: PreparedCollection, table: DocidTable, folder: Path) -> None:
    """Create the initial retriever in `folder`, if it does not exist or is damaged.

    It is stored because a resumed training run must start from the same weights.
    """
    if not _can_reuse_retriever(folder):
        tokenizer = _choose_tokenizer(config, data, table)
        model = build_model(config.model, tokenizer, table.sizes, table.text)
        is_lexical = config.model.pretrained is None and config.model.init == "bm25"
        if is_lexical:
            initialise_from_bm25(model, tokenizer, (d.body for d in data.documents), table.codes, config.seed)
        trie = Trie.from_codes(table.codes)
        queries = choose_fitted_queries(data, table, config.seed)
        experts = make_experts(config, data, trie, queries)
        retriever = Retriever(model, tokenizer, table, config.sft.max_tokens, trie, experts=experts)
        if is_lexical and experts is not None and queries:
            scale = fit_head_scale(retriever, [Example(q.text, q.doc_indices[0]) for q in queries[:256]])
            console.print(f"the first weights of the head are scaled by {scale:.2f}", style="dim")
        elif is_lexical and experts is not None:
            silence_head(model)
        retriever.save_pretrained(folder)


def _can_reuse_retriever(folder: Path) -> bool:
    """Whether a retriever folder exists and none of its files is damaged; a damaged folder is deleted with a note."""
    if not folder.exists():
        return False
    try:
        read_settings(folder)
    except GenirError as error:
        print_note(f"{str(error).split(';')[0]}; it is computed again")
        remove_folder(folder)
        return False
    return True


def _choose_tokenizer(config: Config, data: PreparedCollection, table: DocidTable) -> PreTrainedTokenizerBase:
    """Load the tokenizer that the config names, or train one on documents and train queries if it names none.

    Text docids consist of tokens, so a model of text docids gets the tokenizer that they were built with.
    """
    name = config.model.tokenizer or config.model.pretrained
    if table.text:
        return load_tokenizer(str(config.run_folder / "docids" / "tokenizer"))
    if name is not None:
        return load_tokenizer(name)
    queries = (query.text for query in data.queries("train"))
    return train_tokenizer(chain(sample_texts(data.documents), queries), config.model.vocab_size)


def _make_job(config: Config, retriever: Retriever, data: PreparedCollection, number: int, work: Path) -> TrainingJob:
    """Prepare the training of phase `number`, counted from 1."""
    settings, phase = config.sft, config.sft.phases[number - 1]
    seed = (config.seed * 1000 + number) % 2**32  # numpy takes 32-bit seeds
    sources = read_sources(config.run_folder, data, retriever.table, phase.mix)
    seen = find_seen_documents(retriever, sources)
    return TrainingJob(
        title=f"sft {number}/{len(settings.phases)}",
        scorer=DocumentScorer(retriever, seen and seen.leaves),
        examples=ExampleStream(
            phase.steps * settings.batch_size, seed, phase.mix, sources, settings, phase.experts_for
        ),
        collator=Collator(retriever, settings.max_tokens),
        loss=supervised_loss,
        evaluate=make_dev_evaluator(config, settings, retriever, data),
        settings=settings,
        steps=phase.steps,
        learning_rate=phase.learning_rate,
        seed=seed,
        checkpoints=work / f"phase-{number}",
        log_folder=config.run_folder / "logs" / f"sft-{number}",
        report_to=config.report_to,
    )


STAGE = Stage(
    "sft",
    settings=("model", "experts", "baseline.stemmer", "embed.method", "embed.sentences", "sft"),
    external=("model.pretrained", "model.tokenizer"),
    reads=("collection", "docids", "embeddings.npy?", "embedder?", "sentences?", "pseudo_queries?"),
    writes=("sft",),
    divided=True,
)
