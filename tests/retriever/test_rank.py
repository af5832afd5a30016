"""Ranking given documents, against the scores of a search that finds all of them."""

import pytest

from genir.errors import GenirError, SearchTimeout
from tests.helpers.retrievers import find_all, growing_retriever
from tests.helpers.search import StopsAt

QUERY = "owls hunt mice"


@pytest.mark.parametrize("weight", [None, 1.5])
@pytest.mark.parametrize("softmax_over", ["trie", "full"])
def test_given_documents_get_the_scores_of_a_search_and_its_order(tokenizer, weight, softmax_over):
    retriever, _, _ = growing_retriever(tokenizer, weight)
    retriever.model.softmax_over = softmax_over
    scores = {doc_id: score for (doc_id, _), score in find_all(retriever, QUERY).items()}
    chosen = ["d7", "d2", "d29", "d11"]
    hits = retriever.rank(QUERY, chosen)
    assert [hit.doc_id for hit in hits] == sorted(chosen, key=lambda doc_id: -scores[doc_id])
    assert [hit.score for hit in hits] == pytest.approx([scores[hit.doc_id] for hit in hits], abs=1e-4)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert hits.exact


def test_no_documents_give_no_hits_and_wrong_ones_are_errors(tokenizer):
    retriever, _, _ = growing_retriever(tokenizer)
    assert list(retriever.rank(QUERY, [])) == []
    with pytest.raises(GenirError, match="no document 'nowhere'"):
        retriever.rank(QUERY, ["d1", "nowhere"])
    with pytest.raises(GenirError, match="'d1' is given more than once"):
        retriever.rank(QUERY, ["d1", "d1"])
    with pytest.raises(GenirError, match=r"no document \['d1'\] among"):
        retriever.explain(QUERY, ["d1"])
    with pytest.raises(GenirError, match="doc_ids"):
        retriever.rank(QUERY, "d1")
    with pytest.raises(GenirError, match="empty"):
        retriever.rank(" ", ["d1"])


@pytest.mark.parametrize("weight", [None, 1.5])
def test_ranking_and_explaining_stop_at_their_deadline(tokenizer, weight):
    retriever, _, _ = growing_retriever(tokenizer, weight)
    calls = [
        lambda timeout: retriever.rank(QUERY, ["d7", "d2"], timeout),
        lambda timeout: retriever.explain(QUERY, "d7", timeout=timeout),
        lambda timeout: retriever.explain(QUERY, k=3, timeout=timeout),
    ]
    for call in calls:
        never = StopsAt()
        assert call(never) == call(None) == call(1e6)
        assert never.checks >= 3
        for number in range(1, never.checks + 1):
            deadline = StopsAt(number)
            with pytest.raises(SearchTimeout):
                call(deadline)
            assert deadline.checks == number
        with pytest.raises(SearchTimeout, match="stopped after 1e-09 s"):
            call(1e-9)
        with pytest.raises(GenirError, match="timeout must be a positive number"):
            call(0)
