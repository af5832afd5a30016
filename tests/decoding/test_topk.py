"""Top-k selection against plain Python, with ties and scores of -inf."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.decoding.topk import TopK, select, topk_mask, true_indices

SCORES = st.sampled_from([-math.inf, -3.0, -2.5, -2.0, -1.0, 0.0])
LINES = st.lists(st.lists(SCORES, min_size=7, max_size=7), min_size=1, max_size=4)


def rank(scores):
    """Indices of the candidates, best first, ties by index; -inf marks padding."""
    return sorted((i for i, score in enumerate(scores) if score > -math.inf), key=lambda i: (-scores[i], i))


def indices(mask):
    return {i for i, chosen in enumerate(mask) if chosen}


@given(LINES, st.integers(1, 9))
def test_the_topk_mask_marks_the_first_of_a_stable_sort(lines, k):
    mask = topk_mask(torch.tensor(lines), k)
    for scores, marked in zip(lines, mask.tolist(), strict=True):
        assert indices(marked) == {*rank(scores)[:k]}


@given(LINES, st.integers(1, 9), st.booleans(), st.data())
def test_the_best_candidates_are_finished_if_complete_and_the_best_of_the_others_continued(
    lines, beams, finish_all, data
):
    complete = [data.draw(st.lists(st.booleans(), min_size=7, max_size=7)) for _ in lines]
    finished, continued = select(torch.tensor(lines), torch.tensor(complete), beams, finish_all)
    for scores, ends, is_finished, is_continued in zip(
        lines, complete, finished.tolist(), continued.tolist(), strict=True
    ):
        ranked = rank(scores)
        assert indices(is_finished) == {i for i in (ranked if finish_all else ranked[:beams]) if ends[i]}
        assert indices(is_continued) == {*[i for i in ranked if not ends[i]][:beams]}


@given(LINES, st.integers(1, 9))
def test_without_complete_candidates_only_the_best_are_continued(lines, beams):
    scores = torch.tensor(lines)
    finished, continued = select(scores, None, beams)
    assert finished is None
    assert torch.equal(continued, select(scores, torch.zeros_like(scores, dtype=torch.bool), beams)[1])


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 5))
def test_true_indices_are_those_of_nonzero(mask, extra):
    mask = torch.tensor(mask)
    expected = mask.nonzero()[:, 0]
    found = true_indices(mask, len(expected) + extra)
    assert len(found) == len(expected) + extra
    assert found[: len(expected)].tolist() == expected.tolist()


@given(
    st.lists(st.lists(SCORES, min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_the_top_k_of_batches_is_that_of_sorting_everything_at_the_end(batches, k, rng):
    """Documents come in batches and in any order; their numbers break ties."""
    numbers = list(range(3 * len(batches)))
    rng.shuffle(numbers)
    top = TopK(1, k, len(numbers), torch.device("cpu"))
    added = []
    for scores in batches:
        leaves = [numbers.pop() for _ in scores]
        top.add(torch.tensor([leaves]), torch.tensor([scores]))
        added += [(-score, leaf) for score, leaf in zip(scores, leaves, strict=True) if score > -math.inf]
    expected = [(leaf, -negative) for negative, leaf in sorted(added)[:k]]
    found = zip(top.leaves[0].tolist(), top.scores[0].tolist(), strict=True)
    assert [(leaf, score) for leaf, score in found if leaf >= 0] == expected
    assert top.remaining.tolist() == [top.k - len(expected)]
    assert top.threshold.tolist() == [expected[-1][1] if len(expected) == top.k else -math.inf]


def test_adding_to_a_copy_does_not_change_the_original():
    top = TopK(1, 2, 5, torch.device("cpu"))
    top.add(torch.tensor([[3]]), torch.tensor([[-1.0]]))
    changed = top.copy()
    changed.add(torch.tensor([[4]]), torch.tensor([[-0.5]]))
    assert changed.leaves.tolist() == [[4, 3]]
    assert top.leaves.tolist() == [[3, -1]]
    assert top.threshold.tolist() == [-math.inf]
