"""A retriever in the real LangChain: every way of calling it gives the hits of the retriever."""

import asyncio

import pytest

from genir.errors import GenirError
from tests.helpers.retrievers import growing_retriever

pytest.importorskip("langchain_core", reason="needs the extra langchain")
QUERIES = ["owls hunt", "tea leaves wither", "bridges carry trains"]


@pytest.fixture(scope="module")
def parts(tokenizer):
    from genir.integrations.langchain import GenirRetriever

    retriever, documents, _ = growing_retriever(tokenizer, weight=2.0)
    texts = {document.id: document.text for document in documents}
    return retriever, GenirRetriever(retriever=retriever, texts=texts, k=4), texts


def test_every_call_returns_the_hits_as_documents(parts):
    retriever, chained, texts = parts
    expected = retriever.search_many(QUERIES, k=4)

    async def call():
        return [await chained.ainvoke(QUERIES[0]), *(await chained.abatch(QUERIES[1:]))]

    for found in ([chained.invoke(query) for query in QUERIES], chained.batch(QUERIES), asyncio.run(call())):
        for documents, hits in zip(found, expected, strict=True):
            assert [document.id for document in documents] == [hit.doc_id for hit in hits]
            assert [document.page_content for document in documents] == [texts[hit.doc_id] for hit in hits]
            for document, hit in zip(documents, hits, strict=True):
                assert document.metadata["score"] == pytest.approx(hit.score, abs=1e-5)
                rest = {"doc_id": hit.doc_id, "title": hit.title, "rank": hit.rank, "docid_text": hit.docid_text}
                rest["docid"] = list(hit.docid)
                assert {name: document.metadata[name] for name in rest} == rest


def test_it_is_a_part_of_a_chain_and_its_documents_can_be_serialised(parts):
    from langchain_core.load import dumps, loads
    from langchain_core.runnables import RunnableLambda

    _, chained, _ = parts
    chain = chained | RunnableLambda(lambda documents: "; ".join(document.page_content for document in documents))
    documents = chained.invoke(QUERIES[0])
    assert chain.invoke(QUERIES[0]) == "; ".join(document.page_content for document in documents)
    assert loads(dumps(documents[0]), allowed_objects="core") == documents[0]


def test_without_texts_the_content_is_the_title_and_a_missing_text_is_an_error(parts):
    from genir.integrations.langchain import GenirRetriever

    retriever, _, texts = parts
    documents = GenirRetriever(retriever=retriever, k=2).invoke(QUERIES[0])
    assert [document.page_content for document in documents] == [document.metadata["title"] for document in documents]
    first = documents[0].id
    del texts[first]
    with pytest.raises(GenirError, match=f"texts has no text of document '{first}'"):
        GenirRetriever(retriever=retriever, k=2, texts=texts).invoke(QUERIES[0])
    with pytest.raises(GenirError, match="the query is empty"):
        GenirRetriever(retriever=retriever).invoke(" ")


def test_wrong_arguments_are_errors_at_once(parts):
    from genir.integrations.langchain import GenirRetriever

    for wrong in ({"k": 0}, {"beams": 0}, {"beam": 50}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GenirRetriever(retriever=parts[0], **wrong)
