"""Self-attention keys and values of what T5's decoder has written: kept once, whoever goes on from there."""

from torch import Tensor
from transformers import T5ForConditionalGeneration

from genir.attention import blocks


class Past:
    """Self-attention keys and values of every decoder token run so far, a row each in every layer. Nothing is ever
    reordered: a partial docid names the rows of its tokens.
    """

    def __init__(self, t5: T5ForConditionalGeneration) -> None:
        attention = blocks(t5)[0].layer[0].SelfAttention
        self.size = 0
        self._shape = (attention.n_heads, attention.key_value_proj_dim)
        self._layers = [t5.shared.weight.new_empty((0, 2 * attention.inner_dim)) for _ in blocks(t5)]

    @property
    def nbytes(self) -> int:
        """Bytes of its room."""
        return sum(layer.nbytes for layer in self._layers)

    def fits(self, t5: T5ForConditionalGeneration) -> bool:
        """Whether it is of a model's type and on its device."""
        return self._layers[0].dtype == t5.dtype and self._layers[0].device == t5.device

    def reserve(self, count: int) -> range:
        """Row numbers for `count` more tokens. Room at least doubles, so that it is seldom made."""
        rows = range(self.size, self.size + count)
        self.size = rows.stop
        if self.size > len(self._layers[0]):
            for number, layer in enumerate(self._layers):
                self._layers[number] = layer.new_empty((max(self.size, 2 * len(layer)), layer.shape[1]))
                self._layers[number][: len(layer)] = layer
        return rows

    def write(self, number: int, rows: range, keys: Tensor, values: Tensor) -> None:
        """Keep keys, values [n, T, H * E] of a layer at reserved rows."""
        kept = self._layers[number][rows.start : rows.stop]
        middle = kept.shape[1] // 2
        kept[:, :middle] = keys.reshape(-1, middle)
        kept[:, middle:] = values.reshape(-1, middle)

    def read(self, number: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [n, H, T, E] of a layer at rows [n, T]."""
        found = self._layers[number].index_select(0, rows.flatten()).view(*rows.shape, 2, *self._shape)
        keys, values = found.permute(2, 0, 3, 1, 4)
        return keys, values
