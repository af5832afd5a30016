"""Searches of many clients at once: the results of single searches, errors of one client, deadlines, the end."""

import asyncio
import threading

import pytest

from genir.errors import GenirError, SearchTimeout
from genir.retriever import Retriever
from genir.serving.errors import ClientDisconnected, ShuttingDown
from genir.serving.metrics import Metrics
from genir.serving.reloading import ServedRetriever
from genir.serving.searching import Searcher, SearchOptions
from genir.serving.settings import ServiceSettings
from tests.helpers.beir import SUBJECTS


class Client:
    """A request whose client disconnects when that is asked for."""

    def __init__(self):
        self.disconnected = asyncio.Event()

    async def receive(self):
        await self.disconnected.wait()
        return {"type": "http.disconnect"}


class Observed(Retriever):
    """A retriever that remembers its batches, fails for the query "fail", and can be stopped."""

    def search_many(self, queries, *arguments, timeout, **options):
        self.batches.append(queries)
        if "fail" in queries:
            raise ZeroDivisionError
        while not self.may_run.wait(0.01):
            timeout.check()
        return super().search_many(queries, *arguments, timeout=timeout, **options)


@pytest.fixture
def observed(owls):
    retriever = Observed(owls.model, owls.tokenizer, owls.table, experts=owls.experts)
    retriever.batches, retriever.may_run = [], threading.Event()
    return retriever


def make_searcher(retriever, **settings):
    return Searcher(ServedRetriever(retriever), ServiceSettings(**settings), Metrics())


def test_searches_that_run_together_have_the_results_of_single_ones(observed, owls):
    some = ["owls-03", "owls-17", "owls-08", "owls-30"]
    texts = (SUBJECTS * 3)[:12]
    plain, exact = (10, None, False, None), (10, None, True, None)
    others = [(3, None, False, None), (10, 2, False, None), (10, None, False, some), (30, 30, False, None)]
    options = [SearchOptions.of(*given) for given in [plain, exact, *others, (10, 60, False, None)]]
    asked = [(text, options[i % len(options)]) for i, text in enumerate(texts * 3)]

    async def run():
        searcher = make_searcher(observed)
        single = asyncio.gather(*(searcher.search(Client(), [text], option) for text, option in asked))
        many = searcher.search(Client(), texts, options[0])
        observed.may_run.set()
        return await single, await many

    single, many = asyncio.run(run())
    found = [done.result for [done] in single] + [done.result for done in many]
    for (text, option), hits in zip([*asked, *((text, options[0]) for text in texts)], found, strict=True):
        expected = owls.search(text, option.k, option.beams, option.allowed, option.exact)
        assert [hit.docid for hit in hits] == [hit.docid for hit in expected]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-5)
        assert (hits.query, hits.exact) == (text, expected.exact)
    assert max(len(batch) for batch in observed.batches) > 3


def test_a_query_that_fails_fails_only_for_its_client(observed):
    async def run():
        searcher = make_searcher(observed)
        first = asyncio.ensure_future(searcher.search(Client(), ["first"], SearchOptions.of(1, None, False, None)))
        while not observed.batches:
            await asyncio.sleep(0.001)
        options = SearchOptions.of(1, None, False, None)
        calls = [searcher.search(Client(), [query], options) for query in ("owls", "fail", "fox")]
        rest = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
        observed.may_run.set()
        return await first, await rest

    _, [owls, failed, fox] = asyncio.run(run())
    assert ["owls", "fail", "fox"] in observed.batches
    assert isinstance(failed, ZeroDivisionError)
    assert (owls[0].result.query, fox[0].result.query) == ("owls", "fox")


def test_an_exact_search_keeps_no_other_search_waiting(observed):
    async def run():
        searcher = make_searcher(observed)
        long = [
            asyncio.ensure_future(searcher.search(Client(), ["owls"], SearchOptions.of(1, beams, exact, None)))
            for beams, exact in [(None, True), (61, False)]
        ]
        while len(observed.batches) < 2:
            await asyncio.sleep(0.001)
        observed.search_many = super(Observed, observed).search_many
        found = await searcher.search(Client(), ["foxes"], SearchOptions.of(1, None, False, None))
        ranked = await searcher.call(Client(), lambda retriever, deadline: retriever.rank("foxes", ["owls-01"]))
        is_running = not any(search.done() for search in long)
        observed.may_run.set()
        await asyncio.gather(*long)
        return found, ranked, is_running

    found, ranked, is_running = asyncio.run(run())
    assert len(found[0].result) == len(ranked.result) == 1
    assert is_running


def test_searches_end_at_their_deadline_with_their_client_and_with_the_service(observed):
    options = SearchOptions.of(1, None, False, None)

    async def run():
        searcher = make_searcher(observed, timeout=60)
        gone = Client()
        disconnected, ended = (
            asyncio.ensure_future(searcher.search(client, ["x"], options)) for client in (gone, Client())
        )
        with pytest.raises(SearchTimeout, match=r"stopped after 0\.02 s"):
            await searcher.search(Client(), ["x"], options, 20)
        with pytest.raises(SearchTimeout, match=r"stopped after 0\.02 s"):
            await make_searcher(observed, timeout=0.02).search(Client(), ["x"], options, 60_000)
        gone.disconnected.set()
        with pytest.raises(ClientDisconnected):
            await disconnected
        ended.cancel()  # as uvicorn does
        with pytest.raises(ShuttingDown):
            await ended

    asyncio.run(run())


def test_unknown_documents_and_wrong_timeouts_are_refused(owls):
    async def run():
        with pytest.raises(GenirError, match="no document 'nowhere'"):
            await make_searcher(owls).search(Client(), ["x"], SearchOptions.of(1, None, False, ["owls-01", "nowhere"]))

    asyncio.run(run())
    with pytest.raises(GenirError, match="positive number of seconds"):
        make_searcher(owls, timeout=0)
