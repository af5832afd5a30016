"""A retriever as a retriever of LangChain."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from genir.errors import GenirError
from genir.retriever import Retriever

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError:
    raise GenirError("genir.integrations.langchain needs LangChain; install the extra langchain of genir") from None


class GenirRetriever(BaseRetriever):
    """Finds the k best documents of a query; the page content of a document is its text.

        retriever = GenirRetriever(retriever=Retriever.from_pretrained("runs/quickstart"), texts=texts, k=5)
        retriever.invoke("who invented the names for types of clouds")[0].page_content

    `ainvoke` searches in a thread, and `batch` and `abatch` in several; all of these are safe. The metadata of a
    document are doc_id, title, score (log p(d | q)), rank (from 1), docid and docid_text.

    retriever: what is searched. texts: doc_id -> text, since a retriever stores no texts; without it, the page content
    is the title. k, beams: see `genir.Retriever.search_many`. Other arguments are an error. Invoking it raises
    GenirError for an empty query, and for a document whose text is missing.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    retriever: Retriever
    texts: Mapping[str, str] | None = None
    k: int = Field(10, ge=1)
    beams: int | None = Field(None, ge=1)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(
                id=hit.doc_id,
                page_content=self._content(hit.doc_id, hit.title),
                metadata=_metadata(hit._asdict()),
            )
            for hit in self.retriever.search(query, self.k, self.beams)
        ]

    def _content(self, doc_id: str, title: str) -> str:
        if self.texts is None:
            return title
        if doc_id not in self.texts:
            raise GenirError(f"texts has no text of document {doc_id!r}; it must have those of all documents")
        return self.texts[doc_id]


def _metadata(hit: Mapping[str, Any]) -> dict[str, Any]:
    return {**hit, "docid": list(hit["docid"])}  # a list survives JSON, to which LangChain serialises documents
