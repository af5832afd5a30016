"""Adding documents to a retriever with atomic docids, without training."""

import math

import numpy as np
import pytest
import torch

from genir import Retriever
from genir.bm25 import BM25sIndex
from genir.config import AtomicConfig, BaselineConfig
from genir.docids import BuilderInput, DocidTable
from genir.docids.assign import build_docids
from genir.errors import GenirError
from genir.scoring.experts import Experts
from genir.tokenizer import tokenize
from tests.helpers.models import make_model
from tests.helpers.retrievers import find_all, make_documents, with_bm25


def atomic_retriever(tokenizer, documents, weight=None):
    built, final = build_docids(BuilderInput(documents, np.zeros((len(documents), 0), np.float32)), AtomicConfig(), 0)
    names, settings = [document.id for document in documents], {"docids": AtomicConfig().model_dump()}
    table = DocidTable.from_codes(final, doc_ids=names, titles=names, settings=settings)
    retriever = Retriever(make_model(built.sizes, base=len(tokenizer)), tokenizer, table)
    return retriever if weight is None else with_bm25(retriever, documents, weight)


@pytest.mark.parametrize("weight", [None, 1.5])
def test_a_new_atomic_docid_has_the_mean_logit_of_the_others_and_the_mass_of_its_document(tokenizer, tmp_path, weight):
    documents = make_documents(20)
    retriever = atomic_retriever(tokenizer, documents[:15], weight)
    model, base = retriever.model, len(tokenizer)
    head, embedding = (x.detach().clone() for x in (model.t5.lm_head.weight, model.t5.shared.weight))
    retriever.add(documents[15:18])
    retriever.remove(["d2", "d16"])
    retriever.add(documents[18:])
    assert model.t5.lm_head.weight.equal(head)  # searches of other threads may still use the old model
    retriever.save_pretrained(tmp_path / "r")
    kept = [document for document in documents if document.id not in ("d2", "d16")]
    bm25 = BM25sIndex(kept, BaselineConfig())
    for one in (retriever, Retriever.from_pretrained(tmp_path / "r")):
        assert one.model.t5.lm_head.weight[: base + 15].equal(head)
        assert one.model.t5.shared.weight[: base + 15].equal(embedding)
        for query in ("owls hunt", "nothing known"):
            scores = dict(bm25.search_many([query], 99)[0])
            with torch.no_grad():
                states = one.model.docid_states(
                    one.model.encode(**tokenize(tokenizer, [query], 64)), torch.zeros(1, 1, 1).long()
                )
                logits = (states[0, 0] @ head[base:].T).tolist()
            mean = sum(logits) / 15
            total = {d.id: logits[int(d.id[1:])] if int(d.id[1:]) < 15 else mean for d in kept}
            if weight:
                total = {name: x + weight * scores.get(name, 0) for name, x in total.items()}
            normaliser = math.log(sum(map(math.exp, total.values())))
            found = {hit.doc_id: hit.score for hit in one.search(query, k=99, beams=99)}
            assert found == pytest.approx({name: x - normaliser for name, x in total.items()}, abs=1e-4)


def test_an_addition_that_fails_leaves_the_retriever_as_it_was(tokenizer):
    class FailingExperts(Experts):
        """Experts that cannot take new documents, as those whose embedder cannot be loaded."""

        def extended(self, documents, old, new):
            raise GenirError("cannot be loaded")

    documents = make_documents(12)
    found = atomic_retriever(tokenizer, documents[:9], 1.5)
    experts = FailingExperts(found.experts.indexes, found.experts.weights)
    retriever = Retriever(found.model, tokenizer, found.table, experts=experts)
    before, model = find_all(retriever), retriever.model
    with pytest.raises(GenirError, match="cannot be loaded"):
        retriever.add(documents[9:])
    assert retriever.model is model
    assert len(retriever.table) == 9
    assert find_all(retriever) == before


def test_atomic_docids_cannot_be_added_to_a_softmax_over_the_whole_vocabulary_and_need_no_vectors(tokenizer):
    documents = make_documents(10)
    retriever = atomic_retriever(tokenizer, documents[:9])
    with pytest.raises(GenirError, match=r"docids of this retriever \(atomic\) need no vectors"):
        retriever.add(documents[9:], np.zeros((1, 3), np.float32))
    retriever.model.softmax_over = "full"
    with pytest.raises(GenirError, match="documents cannot be added: the model has not learned codes for them"):
        retriever.add(documents[9:])
    assert len(retriever.table) == 9
