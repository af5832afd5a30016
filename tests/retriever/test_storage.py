"""Reading what was written: every part of a retriever comes back. `test_folder.py` has the folder as a whole."""

import numpy as np
import pytest
import torch

from genir.errors import GenirError
from genir.retriever.storage import RetrieverParts, read_parts, write_parts
from tests.helpers.retrievers import growing_retriever


def test_all_parts_come_back(tokenizer, tmp_path):
    retriever, _, _ = growing_retriever(tokenizer, weight=1.5)
    table, trie, experts = retriever.table, retriever.trie, retriever.experts
    write_parts(RetrieverParts(retriever.model, tokenizer, table, 17, trie, None, experts), tmp_path / "r", None)
    parts = read_parts(tmp_path / "r", "cpu", torch.float32)
    for name, tensor in retriever.model.t5.state_dict().items():
        assert torch.equal(parts.model.t5.state_dict()[name], tensor)
    assert (parts.max_tokens, parts.embedder, parts.table.doc_ids) == (17, None, table.doc_ids)
    np.testing.assert_array_equal(parts.table.codes, table.codes)
    np.testing.assert_array_equal(parts.trie.leaf_of, trie.leaf_of)
    assert parts.experts.weights == {"text": 1.5}
    queries = ["owls hunt", "tea"]
    assert list(parts.experts.rank_many(queries, 5)) == list(experts.rank_many(queries, 5))


@pytest.mark.parametrize("dtype", ["float16", torch.int64, None])
def test_a_type_that_weights_cannot_have_is_refused(tmp_path, dtype):
    with pytest.raises(GenirError, match=r"dtype must be torch\.float32 or torch\.bfloat16, got "):
        read_parts(tmp_path, None, dtype)
