"""A training of a few steps on six documents, without a run folder, for tests of the training loop."""

import numpy as np

from genir.config import SFTConfig
from genir.records import Document
from genir.training.batch_logps import DocumentScorer
from genir.training.examples import Collator, ExampleSources, ExampleStream, LabelledQuery
from genir.training.trainer import TrainingJob, supervised_loss, train
from tests.helpers.retrievers import with_bm25

WORDS = ["owl", "tea", "ice", "rail", "moss", "clock"]
DOCUMENTS = [Document(f"d{i}", word, f"{word} stands alone") for i, word in enumerate(WORDS)]
CODES = np.array([[i // 3, i % 3] for i in range(6)])


def make_job(
    make_retriever,
    folder,
    steps=12,
    measure=None,
    loss=supervised_loss,
    experts=False,
    codes=CODES,
    change=None,
    **settings,
):
    """Return a retriever, and a job that trains it on one query for each document.

    experts: whether the retriever has BM25 as an expert. change: a function of each example that is drawn.
    """
    retriever = make_retriever(codes, (2, 3))
    if experts:
        retriever = with_bm25(retriever, DOCUMENTS)
    settings = SFTConfig(batch_size=8, eval_steps=4, warmup_steps=2, embedding_lr_multiplier=1.0, **settings)
    queries = [LabelledQuery(word, (i,), (1,)) for i, word in enumerate(WORDS)]
    sources = ExampleSources(DOCUMENTS, queries, [])
    examples = ExampleStream(steps * 8, 1, {"queries": 1.0}, sources, settings, ("queries",))
    collate = Collator(retriever, 16)
    return retriever, TrainingJob(
        title="test",
        scorer=DocumentScorer(retriever),
        examples=examples,
        collator=collate if change is None else lambda examples: collate([change(example) for example in examples]),
        loss=loss,
        evaluate=lambda: {"RR@10": measure(retriever)},
        settings=settings,
        steps=steps,
        learning_rate=0.01,
        seed=1,
        checkpoints=folder / "checkpoints",
        log_folder=folder / "log",
    )


def run_training(make_retriever, folder, **arguments):
    """Train a new retriever; return it and the log."""
    retriever, job = make_job(make_retriever, folder, **arguments)
    return retriever, train(job)


def rising():
    """Return a dev measure that always increases, so that the last weights are the best ones."""
    calls = iter(range(100))
    return lambda retriever: next(calls) / 100


def weights(retriever):
    return {name: value.clone() for name, value in retriever.model.t5.state_dict().items()}
