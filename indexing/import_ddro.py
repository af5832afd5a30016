"""import-ddro: convert a published DDRO model and its docids (arXiv 2504.05181) to a retriever folder."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from genir.checks import is_valid_id, parse_int
from genir.config import TextConfig
from genir.console import console
from genir.docids.table import CodeLayout, Codes, DocidTable
from genir.docids.text import pad_docids
from genir.errors import GenirError, error_at
from genir.files import numbered_lines
from genir.model import DocidModel
from genir.pipeline.command import run_command
from genir.retriever import Retriever, require_replaceable
from genir.t5.loading import load_t5, untie
from genir.tokenizer import load_tokenizer

BASE = 32_128
"""Size of T5's own vocabulary; with K codes per level, code c of level m (from 0) is the token BASE + K * m + c."""
PAD, END = 0, 1
"""T5's padding and end-of-sequence tokens."""
QUERY_TOKENS = 64
"""Number of tokens to which the queries of DDRO's models are truncated."""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or Hugging Face name of the model, such as kiyam/ddro-...")
    ],
    docids: Annotated[Path, typer.Argument(metavar="DOCIDS", help="Text file with the docids of the model.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Retriever folder to write.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name or folder of the tokenizer, such as t5-base, if MODEL has none."),
    ] = None,
) -> None:
    """Convert a model and docids that the authors of DDRO published to a retriever folder.

    A line of DOCIDS is [doc_id], a tab, and the tokens of the docid, separated by commas. Tokens from 32,128 on are
    codes (PQ: 24 levels of 256 codes); all levels have the same number of codes, which follows from the model's
    vocabulary size. Smaller tokens are text (TU: title and url), ended by token 1. Padding is removed. The lower-case
    ids of MS MARCO documents (d123) are converted to the original ones (D123).

    A score is a sum of log-probabilities over the whole vocabulary, for which these models were trained, without a
    length penalty. To evaluate the model, choose a config with the same collection, let OUT be the folder sft in its
    run folder, and run genir prepare, baseline, search, evaluate, compare and report. No document can be added to a
    retriever with code docids, because the codebooks were not published.
    """
    require_replaceable(out)
    t5 = fix_head(load_t5(model))
    doc_ids, tokens = read_docids(docids)
    table = make_docid_table(docids, doc_ids, tokens, t5.config.vocab_size)
    layout = CodeLayout(0 if table.text else BASE, table.sizes, table.text)
    retriever = Retriever(DocidModel(t5, layout, "full"), load_tokenizer(tokenizer or model), table, QUERY_TOKENS)
    retriever.save_pretrained(out)
    kind = "text" if table.text else f"{len(table.sizes)} x {table.sizes[0]} codes"
    console.print(f"{out}: {len(table):,} documents, {kind}, {table.unique_share:.1%} with a unique docid")


def fix_head(t5: Any) -> Any:
    """Change the output head of a T5 so that every version of transformers saves and loads it in the same way.

    The head becomes either tied, or untied without scaling. T5 divides the decoder's output by sqrt(d_model) if its
    config says that the head is tied to the embeddings. DDRO's training code used a separate head with such a config;
    for such a model the division is moved into the weights of the head. The model is changed in place and returned.
    """
    head = t5.lm_head.weight.detach()
    if t5.lm_head.weight is not t5.shared.weight:
        untie(t5, head * t5.config.d_model**-0.5 if t5.config.scale_decoder_outputs else head)
        t5.config.scale_decoder_outputs = False
    return t5


def read_docids(path: Path) -> tuple[list[str], list[list[int]]]:
    """Read the doc_ids, and the tokens of their docids without padding and the end-of-sequence token.

    Raises GenirError if the file does not exist or has no docids, and, naming the line, if a line is malformed, has no
    doc_id or docid, or repeats a doc_id.
    """
    if not path.is_file():
        raise GenirError(f"{path}: no such file; give one of the docid files that were published with the models")
    docids: dict[str, list[int]] = {}
    for line, text in numbered_lines(path):
        name, _, numbers = text.partition("\t")
        try:
            tokens = [token for number in numbers.split(",") if (token := parse_int(number.strip())) != PAD]
            if min(tokens, default=0) < 0:
                raise ValueError
        except ValueError:
            message = f"{text[:40]!r} is not [doc_id], a tab, and tokens separated by commas"
            raise error_at(path, line, message) from None
        doc_id = restore_original_id(name)
        tokens = tokens[: tokens.index(END)] if END in tokens else tokens
        if not is_valid_id(doc_id):
            raise error_at(
                path, line, f"{doc_id!r} is not a doc_id: a string without white space and control characters"
            )
        if not tokens:
            raise error_at(path, line, f"document {doc_id!r} has no docid")
        if doc_id in docids:
            raise error_at(path, line, f"document {doc_id!r} occurs twice; remove one of the two lines")
        docids[doc_id] = tokens
    if not docids:
        raise GenirError(f"{path}: the file has no docids")
    return list(docids), list(docids.values())


def restore_original_id(name: str) -> str:
    """Return a doc_id in the form that its collection uses: [d123] -> D123 (MS MARCO documents), [45] -> 45."""
    doc_id = name.strip().removeprefix("[").removesuffix("]")
    return doc_id.upper() if doc_id[:1] == "d" and doc_id[1:].isdigit() else doc_id


def make_docid_table(
    path: Path, doc_ids: Sequence[str], tokens: Sequence[Sequence[int]], vocab_size: int
) -> DocidTable:
    """Make the table of code docids, or of text docids, for a model with `vocab_size` tokens.

    path: the file of the docids, for error messages. Raises GenirError, naming the line, if a docid does not match the
    model or the docids before it.
    """
    text = tokens[0][0] < BASE
    for line, docid in enumerate(tokens, 1):
        if max(docid) >= vocab_size:
            raise error_at(
                path, line, f"token {max(docid)}, but the model has {vocab_size} tokens; give the docids of this model"
            )
        if any((token < BASE) != text for token in docid):
            raise error_at(
                path,
                line,
                f"this docid has both codes (tokens from {BASE} on) and text tokens, or another kind than line 1",
            )
    titles = [""] * len(doc_ids)
    if text:
        codes = pad_docids([[*docid, END] for docid in tokens])
        settings = {"docids": TextConfig(source="title_url", collisions="share").model_dump()}
        return DocidTable.from_codes(
            Codes(codes, (vocab_size,) * codes.shape[1]), doc_ids=doc_ids, titles=titles, settings=settings, text=True
        )
    levels = len(tokens[0])
    size = (vocab_size - BASE) // levels
    return DocidTable.from_codes(
        Codes(convert_to_level_codes(path, tokens, levels, size), (size,) * levels), doc_ids=doc_ids, titles=titles
    )


def convert_to_level_codes(path: Path, tokens: Sequence[Sequence[int]], levels: int, size: int) -> NDArray[np.int32]:
    """Convert tokens to codes [N, levels] from 0 to `size` - 1.

    path: the file of the docids, for error messages. Raises GenirError, naming the line, if a docid has another number
    of codes, or a code of another level.
    """
    for line, docid in enumerate(tokens, 1):
        if len(docid) != levels:
            raise error_at(path, line, f"this docid has {len(docid)} codes, but those before it have {levels}")
    codes = np.asarray(tokens, np.int32) - BASE - size * np.arange(levels, dtype=np.int32)
    wrong = np.flatnonzero(((codes < 0) | (codes >= size)).any(1))
    if len(wrong):
        raise error_at(
            path, int(wrong[0]) + 1, f"a code is outside its level; there are {levels} levels of {size} codes"
        )
    return codes


if __name__ == "__main__":
    run_command(command, "import-ddro")
