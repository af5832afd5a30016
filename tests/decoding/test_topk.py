import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.decoding.topk import TopK, topk_mask, true_indices

SCORES = st.sampled_from([-math.inf, -3.0, -2.5, -2.0, -1.0, 0.0])


@given(st.lists(st.lists(SCORES, min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 9))
def test_the_best_are_those_of_a_stable_sort(rows, most):
    mask = topk_mask(torch.tensor(rows), most)
    for row, got in zip(rows, mask.tolist(), strict=True):
        order = sorted(range(7), key=lambda i: (-row[i], i))
        wanted = {i for i in order[:most] if row[i] > -math.inf}
        assert {i for i, chosen in enumerate(got) if chosen} == wanted


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 5))
def test_places_are_those_of_nonzero(mask, more):
    mask = torch.tensor(mask)
    wanted = mask.nonzero()[:, 0]
    assert true_indices(mask, len(wanted) + more)[: len(wanted)].tolist() == wanted.tolist()


@given(
    st.lists(st.lists(st.tuples(SCORES, st.integers(1, 3)), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(1, 8),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_finished_keeps_what_sorting_everything_at_the_end_keeps(batches, k, count_documents, rng):
    """Docids come in batches and in any order; their numbers break ties."""
    numbers = list(range(3 * len(batches)))
    rng.shuffle(numbers)
    finished = TopK(1, k, len(numbers), torch.device("cpu"), count_documents)
    every = []
    for batch in batches:
        leaves = [numbers.pop() for _ in batch]
        scores, documents = zip(*batch, strict=True)
        finished.add(torch.tensor([leaves]), torch.tensor([scores]), torch.tensor([documents]))
        every += [(-s, leaf, d) for s, leaf, d in zip(scores, leaves, documents, strict=True) if s > -math.inf]
    wanted, total = [], 0
    for negative, leaf, documents in sorted(every):
        if total < k:
            wanted.append((leaf, -negative))
            total += documents if count_documents else 1
    got = zip(finished.leaves[0].tolist(), finished.scores[0].tolist(), strict=True)
    assert [(leaf, score) for leaf, score in got if leaf >= 0] == wanted
    assert finished.remaining.tolist() == [max(0, k - total)]
    assert finished.threshold.tolist() == [wanted[-1][1] if total >= k else -math.inf]
