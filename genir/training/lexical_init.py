"""Initialise a new T5 as a lexical retriever, so that training refines BM25 instead of discovering it.

A T5 of random weights spends a small machine's whole budget on learning which words belong to which document. Here the
weights are set so that, before the first step, log p(docid | query) ranks as BM25 over the model's own tokens does:

1. The BM25 matrix X [V, N] (weight of token t in document d) is factored, X = E H^T, of rank at most D - 1.
2. Token t's embedding is E_t scaled to one length (the encoder's final norm would do so anyway), and its lost length
   is kept as log |E_t| in the last dimension.
3. The last decoder layer's cross-attention reads that dimension: softmax(log |E_t|) weights each token by |E_t|, so the
   attended sum is the query's sum of E_t up to scale. Values and output projections start as the identity.
4. Every other residual branch starts near zero: at first it adds nothing, and it learns from there.
5. The head of code c at level m is the mean, over the documents with that code, of what the levels before it leave
   of H_d: the residual quantisation that the docids imply, whichever builder made them. For atomic docids it is H_d.

Shapes: V text tokens, N documents, D model width, L levels.
"""

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from genir.docids.order import Array
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.model import DocidModel
from genir.words import split_special_tokens

K1, B = 0.9, 0.4  # Anserini's default parameters of BM25
EMBEDDING_SCALE = 0.1  # root mean square of an embedding: small enough for Adam to move it
BRANCH_SCALE = 0.02  # factor on the output weights of the other residual branches
ATTENTION_GAIN = 10.0  # size of the attended sum relative to the decoder's own state
HEAD_SCALE = 1.5  # mean length of a document's head vector, which sets how sharp the first softmax is


def initialise_from_bm25(
    model: DocidModel, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], codes: Array, seed: int
) -> None:
    """Set the weights of a new `model` in place, so that it ranks as BM25 does.

    texts: the N documents, in the order of `codes` [N, L]. seed: the seed of the randomised SVD. Raises
    GenirError if no document contains a token.
    """
    width = model.t5.config.d_model
    matrix = compute_bm25_matrix(count_tokens(tokenizer, texts, len(tokenizer)))
    if not matrix.nnz:
        raise GenirError("the documents contain no words, so no model can be trained to find them; check the corpus")
    rank = min(width - 1, *matrix.shape)
    left, values, right = randomized_svd(matrix, rank, n_iter=4, random_state=seed)
    tokens = torch.from_numpy(left * np.sqrt(values)).float()
    documents = torch.from_numpy(right.T * np.sqrt(values)).float()
    with torch.no_grad():
        _set_embeddings(model, tokens)
        _scale_down_branches(model)
        _set_attention(model)
        head = model.t5.lm_head.weight
        documents = documents * (HEAD_SCALE / documents.norm(dim=1).mean())
        head[:, -1] = 0
        head[model.layout.base :, :rank] = compute_code_vectors(documents, torch.from_numpy(codes).long(), model.layout)
        head[model.layout.base :, rank:] = 0


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], vocab_size: int) -> sparse.csr_matrix:
    """Count the occurrences of each token in each document: [N, V], without special tokens."""
    tokens = array("i")
    lengths = []
    for text in texts:
        plain = split_special_tokens(tokenizer, [text])[0]
        ids = tokenizer(plain, add_special_tokens=False, verbose=False)["input_ids"]
        tokens.extend(ids)
        lengths.append(len(ids))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ones = np.ones(len(tokens), np.float32)
    counts = sparse.csr_matrix((ones, np.asarray(tokens), starts), shape=(len(lengths), vocab_size))
    counts.sum_duplicates()
    return counts


def compute_bm25_matrix(counts: sparse.csr_matrix) -> sparse.csc_matrix:
    """Compute BM25 weights [V, N] from counts [N, V], with Lucene's idf, log(1 + (N - df + 0.5) / (df + 0.5)).

    The result shares the indices of the counts, since a million documents have about a gigabyte of them.
    """
    total, vocab_size = counts.shape
    frequency = np.bincount(counts.indices, minlength=vocab_size)
    idf = np.log1p((total - frequency + 0.5) / (frequency + 0.5))
    length = np.asarray(counts.sum(1, dtype=np.float64)).ravel()
    norm = K1 * (1 - B + B * length / max(length.mean(), 1e-9))
    weights = np.repeat(norm, np.diff(counts.indptr))
    weights += counts.data
    np.divide(counts.data, weights, out=weights)
    weights *= idf[counts.indices]
    return sparse.csr_matrix((weights, counts.indices, counts.indptr), shape=counts.shape).T


def compute_code_vectors(documents: Tensor, codes: Tensor, layout: CodeLayout) -> Tensor:
    """Compute a vector for each code, so that the vectors of a docid's codes sum to about the document's vector.

    documents: document vectors [N, R]. codes: [N, L]. Returns [sum of the codebook sizes, R]. The vector of a code is
    the mean residual of the documents with that code: their vectors minus the code vectors of the levels before it. The
    levels of text docids share one codebook, for which the result is [V, R]; see `_average_by_token`.
    """
    if layout.text:
        return _average_by_token(documents, codes, layout.vocab_size)
    residual = documents.clone()
    levels = []
    for level, size in enumerate(layout.sizes):
        present = codes[:, level] >= 0
        code = codes[present, level]
        count = torch.bincount(code, minlength=size).clamp(min=1).unsqueeze(1)
        mean = documents.new_zeros(size, documents.shape[1]).index_add_(0, code, residual[present]) / count
        residual[present] -= mean[code]
        levels.append(mean)
    return torch.cat(levels)


def _average_by_token(documents: Tensor, codes: Tensor, vocab_size: int) -> Tensor:
    """Compute the mean document vector over all occurrences of each token in text docids [V, R]."""
    doc_index, level = (codes >= 0).nonzero(as_tuple=True)
    token = codes[doc_index, level]
    count = torch.bincount(token, minlength=vocab_size).clamp(min=1).unsqueeze(1)
    return documents.new_zeros(vocab_size, documents.shape[1]).index_add_(0, token, documents[doc_index]) / count


def _set_embeddings(model: DocidModel, tokens: Tensor) -> None:
    """Step 2: set the token embeddings from the factors `tokens` [V, R].

    The embedding of the decoder's start token is large in the last dimension and 0 in all others, because the
    cross-attention queries of step 3 read that dimension.
    """
    shared = model.t5.shared.weight
    vocab_size, rank = tokens.shape
    length = tokens.norm(dim=1, keepdim=True)
    known = length > 1e-6 * length.max()
    log_length = torch.where(known, length.clamp(min=1e-12).log(), 0)
    centre = log_length[known].median()
    shared.normal_(std=EMBEDDING_SCALE / 10)
    scale = EMBEDDING_SCALE * shared.shape[1] ** 0.5
    shared[:vocab_size, :rank] += torch.where(known, tokens / length.clamp(min=1e-12), 0) * scale
    # A token that no document contains carries no information, so it gets the lowest attention.
    shared[:vocab_size, -1] = torch.where(known, (log_length - centre).clamp(-3, 3), -3)[:, 0] * EMBEDDING_SCALE
    start = model.t5.config.decoder_start_token_id
    shared[start] = 0
    shared[start, -1] = scale
    if not model.layout.text:
        shared[model.layout.base :, -1] = scale  # codes are decoder inputs too


def _scale_down_branches(model: DocidModel) -> None:
    """Step 4: shrink the output weights of all residual branches."""
    for name, weight in model.t5.named_parameters():
        if name.endswith((".o.weight", ".wo.weight")):
            weight.mul_(BRANCH_SCALE)


def _set_attention(model: DocidModel) -> None:
    """Step 3: every head attends by the last dimension; value and output projections start near the identity."""
    blocks: Any = model.t5.decoder.block
    attention = blocks[-1].layer[1].EncDecAttention
    width, heads, inner = model.t5.config.d_model, model.t5.config.num_heads, attention.inner_dim
    attention.q.weight.mul_(0.3)
    attention.k.weight.mul_(0.3)
    attention.k.weight[:, -1] = 0
    for first in range(0, inner, inner // heads):
        attention.q.weight[first] = 0
        attention.k.weight[first] = 0
        attention.q.weight[first, -1] = width**-0.5  # the last component of the normalised decoder state is sqrt(D)
        attention.k.weight[first, -1] = 1
    through = torch.eye(inner, width)
    attention.v.weight.copy_(attention.v.weight * 0.1 + through)
    attention.v.weight[:, -1] = 0
    attention.o.weight.copy_(attention.o.weight * 0.1 + ATTENTION_GAIN * through.T)
