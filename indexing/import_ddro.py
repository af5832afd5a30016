"""import-ddro: DDRO's published models and docid tables (arXiv 2504.05181) as a retriever folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from genir.config import TextConfig
from genir.console import console
from genir.docids.table import CodeLayout, DocidTable
from genir.docids.text import padded
from genir.errors import GenirError, error_at
from genir.files import numbered_lines
from genir.model import DocidModel
from genir.pipeline.command import run_command
from genir.retriever import Retriever, require_replaceable
from genir.t5.loading import load_t5, untie
from genir.tokenizer import load_tokenizer

BASE = 32_128  # rows of T5's own vocabulary; code c of level m is token BASE + K * m + c
PAD, END = 0, 1
QUERY_TOKENS = 64  # that DDRO's models read


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder or Hugging Face name, kiyam/ddro-...")],
    docids: Annotated[Path, typer.Argument(metavar="DOCIDS", help="The text file of its docids.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The retriever folder to write.")],
    tokenizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where MODEL has no tokenizer: t5-base, or a folder.")
    ] = None,
) -> None:
    """Make a retriever folder of a model and a docid table that DDRO's authors published.

    A line of DOCIDS is [doc_id], a tab, and the model's tokens joined by commas. Tokens from 32,128 on are codes (PQ:
    24 of 256; each level has as many, the vocabulary says how many); others are text (TU: title and url), ended by
    token 1. Padding is dropped. MS MARCO's lower-cased ids (d123) become its own (D123).

    Scores are sums of log-probabilities over the whole vocabulary, as these models were trained, without a length
    penalty. To measure the model, let OUT be RUN/sft of a config with the same collection, then run genir prepare,
    baseline, search, evaluate, compare and report. No document can be added to tables of codes: their codebooks were
    not published.
    """
    require_replaceable(out)
    t5 = own_head(load_t5(model))
    doc_ids, tokens = read_docids(docids)
    table = docid_table(docids, doc_ids, tokens, t5.config.vocab_size)
    layout = CodeLayout(0 if table.text else BASE, table.sizes, table.text)
    retriever = Retriever(DocidModel(t5, layout, "full"), load_tokenizer(tokenizer or model), table, QUERY_TOKENS)
    retriever.save_pretrained(out)
    kind = "text" if table.text else f"{len(table.sizes)} x {table.sizes[0]} codes"
    console.print(f"{out}: {len(table):,} documents, {kind}, {table.unique_share:.1%} with a docid of their own")


def own_head(t5: Any) -> Any:
    """The model with its head as transformers saves and reads it in every version: tied, or untied and unscaled.

    T5 divides the decoder's output by sqrt(d_model) where its config calls the head tied. DDRO's training code made a
    head of its own under such a config; there the division becomes part of the head.
    """
    head = t5.lm_head.weight.detach()
    if t5.lm_head.weight is not t5.shared.weight:
        untie(t5, head * t5.config.d_model**-0.5 if t5.config.scale_decoder_outputs else head)
        t5.config.scale_decoder_outputs = False
    return t5


def read_docids(path: Path) -> tuple[list[str], list[list[int]]]:
    """doc_ids and the tokens of each, without padding and what stands after the end; a bad line raises GenirError."""
    if not path.is_file():
        raise GenirError(f"{path}: no such file; it is one of the docid files published with the models")
    found: dict[str, list[int]] = {}
    for line, text in numbered_lines(path):
        name, _, docid = text.partition("\t")
        try:
            tokens = [token for token in map(int, docid.split(",")) if token != PAD]
        except ValueError:
            raise error_at(path, line, f"{text[:40]!r} is not [doc_id], a tab, and tokens joined by commas") from None
        doc_id = original_id(name)
        tokens = tokens[: tokens.index(END)] if END in tokens else tokens
        if doc_id in found or not tokens or not doc_id:
            raise error_at(
                path, line, f"document {doc_id!r} " + ("is there twice" if doc_id in found else "has no docid")
            )
        found[doc_id] = tokens
    if not found:
        raise GenirError(f"{path}: no docids in it")
    return list(found), list(found.values())


def original_id(name: str) -> str:
    """[d123] -> D123, as MS MARCO spells its ids; [45] -> 45."""
    bare = name.strip().removeprefix("[").removesuffix("]")
    return bare.upper() if bare[:1] == "d" and bare[1:].isdigit() else bare


def docid_table(path: Path, doc_ids: Sequence[str], tokens: Sequence[Sequence[int]], vocabulary: int) -> DocidTable:
    """The table of codes, or of text; a docid that does not fit the others or the model raises GenirError."""
    text = tokens[0][0] < BASE
    for line, docid in enumerate(tokens, 1):
        if max(docid) >= vocabulary:
            raise error_at(
                path, line, f"token {max(docid)}, but the model has {vocabulary}: they do not belong together"
            )
        if any((token < BASE) != text for token in docid):
            raise error_at(path, line, f"mixes codes (tokens from {BASE} on) and text with what stands before")
    titles = [""] * len(doc_ids)
    if text:
        codes = padded([[*docid, END] for docid in tokens])
        settings = {"docids": TextConfig(source="title_url", collisions="share").model_dump()}
        return DocidTable(doc_ids, titles, codes, (vocabulary,) * codes.shape[1], settings, text=True)
    levels = len(tokens[0])
    size = (vocabulary - BASE) // levels
    return DocidTable(doc_ids, titles, level_codes(path, tokens, levels, size), (size,) * levels)


def level_codes(path: Path, tokens: Sequence[Sequence[int]], levels: int, size: int) -> NDArray[np.int32]:
    """Tokens -> codes [N, levels], each below `size`; one out of its level raises GenirError."""
    for line, docid in enumerate(tokens, 1):
        if len(docid) != levels:
            raise error_at(path, line, f"{len(docid)} codes, but the docids before have {levels}")
    codes = np.asarray(tokens, np.int32) - BASE - size * np.arange(levels, dtype=np.int32)
    wrong = np.flatnonzero(((codes < 0) | (codes >= size)).any(1))
    if len(wrong):
        raise error_at(path, int(wrong[0]) + 1, f"a code lies outside its level, of {levels} with {size} codes each")
    return codes


if __name__ == "__main__":
    run_command(command, "import-ddro")
