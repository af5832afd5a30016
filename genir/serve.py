"""serve: an HTTP service that searches with a trained retriever."""

from typing import Annotated, Any

import typer

from genir.errors import GenirError
from genir.pipeline.command import run_command
from genir.retriever import Retriever


def create_app(retriever: Retriever) -> Any:
    """Create a FastAPI application that answers GET /search?query=...&k=10, GET /health and GET /docs.

    Parameters that are out of range, and queries that the retriever rejects, are answered with status 422.
    """
    from fastapi import FastAPI, HTTPException, Query

    app = FastAPI(title="genir", description="Generative retrieval")

    @app.get("/search")
    def search(
        query: Annotated[str, Query(min_length=1, max_length=10_000)],
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        exact: bool = False,
    ) -> dict[str, Any]:
        """The k best documents for the query, and whether they are proven to be the model's best (`exact`).

        With exact=true, the search continues until they are proven, however long it takes.
        """
        try:
            hits = retriever.search(query, k, exact=exact)
            return {"query": query, "exact": hits.exact, "hits": [hit._asdict() for hit in hits]}
        except GenirError as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Report that the service is running, and how many documents it searches."""
        return {"documents": len(retriever.table)}

    return app


def command(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or a retriever folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
) -> None:
    """Serve a trained retriever over HTTP; GET /search?query=...&k=10 answers with JSON.

    GET /docs shows interactive documentation, and GET /health reports that the service is running.
    """
    try:
        import fastapi  # noqa: F401 (create_app needs it)
        import uvicorn
    except ImportError:
        raise GenirError("serve needs fastapi and uvicorn; install them: pip install genir[serve]") from None
    uvicorn.run(create_app(Retriever.from_pretrained(folder)), host=host, port=port)


if __name__ == "__main__":
    run_command(command, "serve")
