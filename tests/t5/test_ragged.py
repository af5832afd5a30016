import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.t5.ragged import RaggedLayout

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any)


@pytest.mark.slow
@settings(deadline=None)
@given(LENGTHS, st.booleans())
def test_padding_puts_the_rows_of_each_query_into_its_line_and_unpadding_restores_them(lengths, as_tensor):
    layout = RaggedLayout.from_lengths(lengths, torch.tensor(lengths) if as_tensor else CPU)
    rows = torch.arange(1, sum(lengths) + 1)
    padded = layout.pad(rows, -7)
    assert padded.shape == (len(lengths), max(lengths))
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    for line, start, length in zip(padded.tolist(), starts, lengths, strict=True):
        assert line == [*rows[start : start + length].tolist(), *[-7] * (max(lengths) - length)]
    assert torch.equal(layout.unpad(padded), rows)
    assert layout.query.tolist() == [i for i, length in enumerate(lengths) for _ in range(length)]


@given(LENGTHS)
def test_rows_of_more_dimensions_are_padded_with_zeros(lengths):
    layout = RaggedLayout.from_lengths(lengths, CPU)
    rows = torch.randint(1, 9, (sum(lengths), 2, 3))
    padded = layout.pad(rows)
    assert padded.shape == (len(lengths), max(lengths), 2, 3)
    assert (padded != 0).sum() == rows.numel()
    assert torch.equal(layout.unpad(padded), rows)


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_uniform_layout_is_that_of_equal_lengths(num_queries, width):
    uniform, general = (
        RaggedLayout.uniform(num_queries, width, CPU),
        RaggedLayout.from_lengths([width] * num_queries, CPU),
    )
    assert torch.equal(uniform.query, general.query)
    assert torch.equal(uniform.column, general.column)
    assert uniform[2:] == general[2:] == (num_queries, width, True)
