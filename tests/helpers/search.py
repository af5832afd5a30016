"""Random queries, docids and document scores for tests of decoding, and the scores' definition in plain math."""

import math

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput

from genir.decoding.deadline import Deadline
from genir.scoring.masses import Masses

EOS = 1


class StopsAt(Deadline):
    """A deadline that is reached at a certain check, and counts the checks; without a number, it is never reached."""

    def __init__(self, check=None):
        super().__init__()
        self.checks, self.last = 0, check

    def check(self):
        self.checks += 1
        if self.checks == self.last:
            self.cancel()
        super().check()


def random_queries(count, seed=0, length=7):
    """Token ids and mask [count, length] of queries of unequal lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (count, length), generator=generator)
    lengths = torch.randint(2, length + 1, (count, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return ids * mask, mask


def random_codes(count, sizes, seed):
    """Docids [count, levels] of one code per codebook size; some may be equal."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in sizes], 1)


def random_text_docids(count, longest, seed, vocab_size=20):
    """Docids [count, longest] of unequal lengths that end with EOS, and -1 after it."""
    rng = np.random.default_rng(seed)
    codes = np.full((count, longest), -1)
    for docid, length in zip(codes, rng.integers(1, longest + 1, count), strict=True):
        docid[: length - 1] = rng.integers(2, vocab_size, length - 1) // rng.integers(1, 4)
        docid[: length - 1].clip(2, out=docid[: length - 1])
        docid[length - 1] = EOS
    return codes


def random_log_priors(queries, count, seed, scale=3.0):
    """Log prior masses [queries, count], about half of which are 0, as of documents that no expert matches."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(queries, count)) * scale * (rng.random((queries, count)) < 0.5)
    return scores.astype(np.float32)


def make_masses(trie, log_priors, allowed=None, restricted=None):
    """The masses of documents whose log prior masses are [queries, documents], in docid order; 0 is not a match."""
    keys = np.flatnonzero(log_priors)
    scores = torch.from_numpy(log_priors.ravel()[keys])
    return Masses(trie, len(log_priors), torch.from_numpy(keys), scores, allowed, restricted)


def docids_in_order(codes):
    """The docids of all documents as sorted tuples, without padding."""
    return sorted(tuple(code for code in row if code >= 0) for row in codes.tolist())


def paths_in_order(codes):
    """The sorted docids as tuples, which for documents that share a docid are followed by their numbers."""
    docids = docids_in_order(codes)
    return [(*d, i - docids.index(d)) if docids.count(d) > 1 else d for i, d in enumerate(docids)]


def hugging_face_logits(model, encoded, query, docids):
    """The logits [V] after each prefix of the docids for one query, by the forward pass of transformers."""
    prefixes = sorted({docid[:length] for docid in docids for length in range(len(docid))})
    longest = max(map(len, prefixes))
    tokens = torch.zeros((len(prefixes), longest + 1), dtype=torch.long)
    for row, prefix in zip(tokens, prefixes, strict=True):
        row[1 : len(prefix) + 1] = model.codes_to_tokens(torch.tensor(prefix, dtype=torch.long))
    encoder_outputs = BaseModelOutput(encoded.states[query].expand(len(prefixes), -1, -1))
    mask = encoded.mask[query].expand(len(prefixes), -1)
    logits = model.t5(encoder_outputs=encoder_outputs, attention_mask=mask, decoder_input_ids=tokens).logits
    return {prefix: logits[row, len(prefix)] for row, prefix in enumerate(prefixes)}


def prefix_logps(model, encoded, query, codes, log_priors=None):
    """log p of all prefixes of `paths_in_order` for one query, by the definition of the scores, in plain math.

    log_priors: those of the documents in docid order, which a model with softmax_over "full" does not use; -inf leaves
    a document out.
    """
    paths, masses, children = paths_in_order(codes), {}, {}
    for path, log_prior in zip(paths, [0.0] * len(paths) if log_priors is None else log_priors, strict=True):
        for length in range(len(path) + 1):
            masses[path[:length]] = masses.get(path[:length], 0.0) + math.exp(log_prior)
    for prefix in masses.keys() - {()}:
        children.setdefault(prefix[:-1], []).append(prefix)
    with torch.no_grad():
        logits = {p: x.tolist() for p, x in hugging_face_logits(model, encoded, query, docids_in_order(codes)).items()}
    logps = {(): 0.0}
    for parent in sorted(children, key=len):
        terms = dict.fromkeys(children[parent], 0.0)
        if parent in logits:
            start = model.layout.base + model.layout.offsets[len(parent)]
            terms = {child: logits[parent][start + child[-1]] for child in terms}
        if model.softmax_over == "full":
            total = log_sum_exp(logits[parent]) if parent in logits else 0.0
        else:
            terms = {child: term + log(masses[child]) for child, term in terms.items()}
            total = log_sum_exp(terms.values()) if masses[parent] else 0.0
        logps |= {child: logps[parent] + term - total for child, term in terms.items()}
    return logps


def log(x):
    """Natural logarithm, also of 0."""
    return math.log(x) if x else -math.inf


def log_sum_exp(values):
    """The logarithm of the sum of exp(x) over some numbers x."""
    top = max(values)
    return top + math.log(math.fsum(math.exp(x - top) for x in values))


def plain_logps(model, codes, encoded, log_priors=None):
    """log p [B, N] of all documents in docid order, in plain math; log_priors [B, N]."""
    rows = []
    for query in range(len(encoded.states)):
        logps = prefix_logps(model, encoded, query, codes, None if log_priors is None else log_priors[query].tolist())
        rows.append([logps[path] for path in paths_in_order(codes)])
    return torch.tensor(rows)


def brute_force(model, codes, encoded, log_priors=None):
    """Score every document, then sort: leaves and scores, best first, [B, N] each; see `plain_logps`."""
    order = plain_logps(model, codes, encoded, log_priors).sort(dim=1, descending=True, stable=True)
    return order.indices, order.values


def assert_same_ranking(result, leaves, scores):
    """The leaves must be the same in the same order, but those whose scores differ by rounding may change places."""
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
    for got, expected, values in zip(result.leaves.tolist(), leaves.tolist(), scores.tolist(), strict=True):
        for rank, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert a == b or min(abs(values[rank] - x) for i, x in enumerate(values) if i != rank) < 1e-4
