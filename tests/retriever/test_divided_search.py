"""Searches that are divided over processes; `tests/test_processes.py` compares those of two processes with one."""

import numpy as np

from genir.retriever.divided_search import search_over_processes


def test_the_results_of_a_single_process_are_those_of_search_many(make_retriever):
    retriever = make_retriever(np.array([[i // 4, i % 4] for i in range(12)]), (3, 4))
    queries = [f"owls {i}" for i in range(7)]
    allowed = ["d1", "d5", "d7", "d11"]
    found = search_over_processes(retriever, queries, 3, 5, batch_size=2, allowed=allowed)
    assert found == retriever.search_many(queries, 3, 5, allowed, batch_size=2)
    assert search_over_processes(retriever, [], 3, 5) == []
