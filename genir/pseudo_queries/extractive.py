"""Pseudo queries without a model: a document's title, headings, most telling sentences, and keyphrases.

How much a word tells is its TF-IDF, so that what is said here and hardly elsewhere comes first.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest

from genir.docids.tfidf import hashing_vectorizer, idf
from genir.records import Document

BLOCK = 1000  # documents whose words are weighed at once
READ = 20_000  # characters of a text that are looked at
HEADING_WORDS = 8
PHRASE_WORDS = 4
WORD = re.compile(r"\w+")
Weights = Mapping[str, float]
"""lower-case content word of a document -> TF-IDF; stop words and single letters are not in it"""


def text_queries(documents: Iterable[Document], max_words: int) -> Iterator[tuple[str, Iterator[str]]]:
    """(doc_id, what may be asked of it, best first) of each document: the title, then in turn a sentence, a keyphrase
    and a heading.

    A sentence is cut to its `max_words` most telling words, in their order. Headings and keyphrases follow the title,
    without which most of them could be anybody's ("History"). documents is read twice.
    """
    weights = idf(documents)
    hashing = hashing_vectorizer()
    words = hashing.build_analyzer()
    rest = iter(documents)
    while block := list(islice(rest, BLOCK)):
        counts = [Counter(words(f"{document.title} {document.text[:READ]}")) for document in block]
        known = list(dict.fromkeys(chain.from_iterable(counts)))
        columns = hashing.transform(known).indices if known else ()  # each is a text of one word
        telling = dict(zip(known, weights[columns].tolist() if known else (), strict=True))
        for document, count in zip(block, counts, strict=True):
            yield document.id, extract_queries(document, {w: n * telling[w] for w, n in count.items()}, max_words)


def extract_queries(document: Document, weights: Weights, max_words: int) -> Iterator[str]:
    """The queries of one document, best first; the same one may come twice."""
    title = " ".join(document.title.split())
    text = document.text[:READ]
    yield title
    kinds = (
        [shortened(sentence, weights, max_words) for sentence in ranked(sentences(text), weights)],
        [titled(title, phrase) for phrase in ranked(keyphrases(text, weights), weights)],
        [titled(title, heading) for heading in headings(text)],
    )
    yield from (query for turn in zip_longest(*kinds) for query in turn if query is not None)


def sentences(text: str) -> list[str]:
    """Parts of a text that end with a full stop, a sign like it, or the line."""
    return [part for part in re.split(r"(?<=[.!?])\s+|\n+", text) if len(WORD.findall(part)) > PHRASE_WORDS]


def headings(text: str) -> list[str]:
    """Short lines without a sign at their end, where a text has lines; marks such as == and # are taken off."""
    lines = text.split("\n")
    bare = (re.sub(r"^[\s#=*]+|[\s#=*]+$", "", line) for line in lines if len(lines) > 1)
    return [line for line in bare if 0 < len(line.split()) <= HEADING_WORDS and line[-1].isalnum()]


def keyphrases(text: str, weights: Weights) -> list[str]:
    """Runs of content words between stop words and signs, as RAKE takes them (Rose et al., 2010); long ones are cut."""
    found: dict[str, str] = {}
    for fragment in re.split(r"[^\w\s'\u2019-]+|\n", text):
        run: list[str] = []
        for word in [*WORD.findall(fragment), ""]:
            if word.lower() in weights and len(run) < PHRASE_WORDS:
                run.append(word)
            elif run:
                found.setdefault(" ".join(run).lower(), " ".join(run))
                run = [word] if word.lower() in weights else []
    return list(found.values())


def ranked(parts: Sequence[str], weights: Weights) -> list[str]:
    """The parts by the sum of their distinct words' weights, highest first; of equal ones the first."""
    return sorted(parts, key=lambda part: -sum(weights.get(word, 0) for word in {*WORD.findall(part.lower())}))


def shortened(sentence: str, weights: Weights, most: int) -> str:
    """The `most` different words of a sentence that tell most, in their order; a shorter sentence loses nothing."""
    words = WORD.findall(sentence)
    if len(words) <= most:
        return " ".join(words)
    first = {word.lower(): place for place, word in reversed(list(enumerate(words)))}
    best = sorted(first.values(), key=lambda place: (-weights.get(words[place].lower(), 0), place))[:most]
    return " ".join(words[place] for place in sorted(best))


def titled(title: str, part: str) -> str:
    """The title, then the words of the part that it does not say."""
    said = {*WORD.findall(title.lower())}
    return " ".join([title, *(word for word in part.split() if not said >= {*WORD.findall(word.lower())})]).strip()
