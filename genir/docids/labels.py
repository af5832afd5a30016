"""Docids in readable form: the text of text docids, and the codes of all others joined by hyphens."""

from collections.abc import Sequence
from typing import Any

END = "(end)"
"""What is written for the end-of-sequence token where nothing else follows."""
SPACE = "␣"
"""What is written for a token that only separates words."""


class DocidLabels:
    """Writes docids and parts of them as text.

    tokenizer: that of the model if docids consist of text tokens; None for codes.
    """

    def __init__(self, tokenizer: Any = None) -> None:
        self._tokenizer = tokenizer
        self._hidden = set() if tokenizer is None else {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    def write(self, codes: Sequence[int]) -> str:
        """A docid, or its first codes, such as 3-17 or "barn owl"; an empty text if there are no codes."""
        if self._tokenizer is None:
            return "-".join(map(str, codes))
        return self._decode(codes) or self._name_blank(codes)

    def write_rest(self, codes: Sequence[int], start: int) -> str:
        """What a docid has after its first `start` codes; it begins with an ellipsis if it continues a word."""
        if self._tokenizer is None:
            return self.write(codes[start:])
        before, text = self._decode(codes[:start]), self._decode(codes)
        if not text.startswith(before):  # the tokenizer writes tokens in another way before others
            return self.write(codes[start:])
        rest = text[len(before) :]
        if before and rest and not rest[0].isspace():
            return f"…{rest}"
        return rest.strip() or self._name_blank(codes[start:])

    def _name_blank(self, codes: Sequence[int]) -> str:
        """A name for codes that have no visible text."""
        return "" if not codes else END if codes[-1] in self._hidden else SPACE

    def _decode(self, codes: Sequence[int]) -> str:
        tokens = [code for code in codes if code not in self._hidden]
        return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False)).strip()
