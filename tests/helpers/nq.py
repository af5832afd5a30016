"""Examples of Natural Questions in the two official formats."""

import gzip
import json
from pathlib import Path

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz0123456789'.,!?()-",
    "##s",
    "##n",
    *(f"##{letter}" for letter in "abcdefghijklmopqrtuvwxyz0123456789"),
]
"""A vocabulary of BERT's tokenizer in which every lower-case word and number is a sequence of known tokens."""


def page_url(name: str) -> str:
    return f"https://en.wikipedia.org//w/index.php?title={name}&amp;oldid=814071202"


def simplified_example(
    number, title, question="who is it", body="<P> First words . </P> Then more <Ul> <Li> links </Li> </Ul>"
):
    """An example in the format of the train file; without a title the page has no heading either."""
    heading = f"{title} - wikipedia <H1> {title} </H1> " if title else ""
    return {
        "document_text": heading + body,
        "question_text": question,
        "example_id": number,
        "document_url": page_url(title.replace(" ", "_") or "Named_by_url"),
        "annotations": [{"yes_no_answer": "NONE", "long_answer": {"start_token": -1}, "short_answers": []}],
    }


def original_example(number, title, question="when was it"):
    """An example in the format of the dev file."""
    tokens = f"<H1> {title} </H1> <P> Of the dev file . </P> Rest".split()
    return {
        "document_title": title,
        "document_tokens": [{"token": t, "html_token": t[0] == "<", "start_byte": 0, "end_byte": 1} for t in tokens],
        "document_html": "<html>",
        "question_text": question,
        "example_id": number,
        "document_url": page_url(title.replace(" ", "_")),
        "annotations": [],
    }


TRAIN = [
    simplified_example(11, "Owls"),
    simplified_example(12, "Do n't Look Back", "who sang don't look back"),
    simplified_example(13, "owls", "where do owls live", "<P> Another text of the same page </P>"),
    simplified_example(14, "", "a page without a heading", "no paragraph either , <Table> <Tr> cells </Tr> </Table>"),
    simplified_example(15, "Tea ( drink )"),
]
DEV = [
    original_example(21, "Don't Look Back"),
    original_example(22, "Café"),
    original_example(23, "cafe"),
    original_example(24, "Tea (drink)"),
]


def write_nq(folder: Path, train=TRAIN, dev=DEV) -> Path:
    """Write the three raw files."""
    folder.mkdir(exist_ok=True)
    for name, examples in (("simplified-nq-train", train), ("nq-dev-all", dev)):
        text = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    write_vocabulary(folder)
    return folder


def write_vocabulary(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return path
