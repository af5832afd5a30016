"""Changes to the contents of a file, each with what a command that reads the file must do about it."""

import io
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal, NamedTuple

import numpy as np

Expected = Literal["refused", "noticed", "harmless", "any"]
"""What must follow: an error; an error or a warning, unless the result is the same; the same result; no traceback."""
Change = Callable[[Random, bytes], bytes | None]
"""(Random generator, contents) -> changed contents; None deletes the file."""


class Mutator(NamedTuple):
    """A named change of a file, and what must follow."""

    name: str
    expected: Expected
    apply: Change


def flip_bit(rng: Random, data: bytes) -> bytes:
    """Flip one bit."""
    if not data:
        return b"\x01"
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: Random, data: bytes) -> bytes:
    """Keep a random part from the start."""
    return data[: rng.randrange(max(1, len(data)))]


def zero_block(rng: Random, data: bytes) -> bytes:
    """Replace a block by zeros, as after a power failure."""
    start = rng.randrange(max(1, len(data)))
    length = min(4096, len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def on_line(change: Callable[[Random, str], str]) -> Change:
    """Apply a change to a random line of a text, but not to its header."""

    def apply(rng: Random, data: bytes) -> bytes:
        lines = data.decode().splitlines()
        number = rng.randrange(1, len(lines)) if len(lines) > 1 else 0
        lines[number] = change(rng, lines[number])
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")

    return apply


def on_column(column: int, values: Sequence[str], separator: str) -> Change:
    """Replace a column of a random line by one of some values."""

    def change(rng: Random, line: str) -> str:
        parts = line.split(separator)
        parts[column] = rng.choice(values)
        return separator.join(parts)

    return on_line(change)


def on_value(key: str, values: Sequence[Any]) -> Change:
    """Replace the value of a key in a random JSON line by one of some values; "MISSING" removes the key."""

    def change(rng: Random, line: str) -> str:
        record = json.loads(line)
        record[key] = rng.choice(values)
        if record[key] == "MISSING":
            del record[key]
        return json.dumps(record)

    return on_line(change)


def repeat_line(rng: Random, data: bytes) -> bytes:
    """Append a copy of a line."""
    return data + rng.choice(data.splitlines(keepends=True)[1:])


def repeat_key(rng: Random, line: str) -> str:
    """Give the first key of a JSON object a second time, with another value."""
    key = next(iter(json.loads(line)))
    return f'{line[:-1]}, "{key}": "other{rng.randrange(99)}"}}'


def insert(text: bytes) -> Change:
    """Insert bytes at a random position of a random line, inside of its first word."""

    def apply(rng: Random, data: bytes) -> bytes:
        places = [match.start() + 1 for match in re.finditer(rb"\w\w", data)]
        place = rng.choice(places[len(places) // 2 :])
        return data[:place] + text + data[place:]

    return apply


DAMAGE = (
    Mutator("flip a bit", "noticed", flip_bit),
    Mutator("truncate", "noticed", truncate),
    Mutator("zero a block", "noticed", zero_block),
    Mutator("empty", "noticed", lambda rng, data: b""),
    Mutator("delete", "noticed", lambda rng, data: None),
    Mutator("append bytes", "noticed", lambda rng, data: data + rng.randbytes(9)),
)
"""Damage to a file that genir wrote."""
CHANGED = tuple(Mutator(name, "any", apply) for name, _, apply in DAMAGE)
"""The same damage, where users may change the file too."""
TEXT = (
    Mutator("byte order mark", "harmless", lambda rng, data: b"\xef\xbb\xbf" + data),
    Mutator("CRLF", "harmless", lambda rng, data: data.replace(b"\n", b"\r\n")),
    Mutator("blank lines at the end", "harmless", lambda rng, data: data + b"\n\n"),
    Mutator("invalid UTF-8", "refused", insert(b"\xff")),
    Mutator("flip a bit", "any", flip_bit),
    Mutator("truncate", "any", truncate),
    Mutator("zero a block", "any", zero_block),
    Mutator("delete", "refused", lambda rng, data: None),
    Mutator("empty", "refused", lambda rng, data: b""),
)
"""Changes of any text file."""
NOT_A_STRING = [5, None, True, ["a"], {"a": 1}, 1.5, "MISSING"]
NOT_AN_ID = [*NOT_A_STRING, "", "two words", "nul\0", "tab\t", "line\n", "\ud800", "\x1b[31m"]
NOT_A_SCORE = ["1", None, True, [1], float("nan"), float("inf"), "MISSING"]


def json_lines(ids: Sequence[str], texts: Sequence[str] = (), numbers: Sequence[str] = ()) -> tuple[Mutator, ...]:
    """Changes of a file of JSON objects with the given keys for ids, texts and numbers."""
    return (
        *TEXT,
        Mutator("cut the last line", "refused", lambda rng, data: data[: -rng.randrange(2, 20)]),
        Mutator("raw NUL", "refused", insert(b"\0")),
        Mutator("deep JSON", "refused", on_line(lambda rng, line: "[" * 100_000)),
        Mutator("not an object", "refused", on_line(lambda rng, line: rng.choice(["5", "[]", "null", '"x"', "{"]))),
        Mutator("key twice", "refused", on_line(repeat_key)),
        Mutator("huge number", "refused", on_line(lambda rng, line: f'{line[:-1]}, "n": {"9" * 5000}}}')),
        *(Mutator(f"no id in {key}", "refused", on_value(key, NOT_AN_ID)) for key in ids),
        *(Mutator(f"no text in {key}", "refused", on_value(key, NOT_A_STRING)) for key in texts),
        *(Mutator(f"no number in {key}", "refused", on_value(key, NOT_A_SCORE)) for key in numbers),
    )


def table(separator: str, ids: Sequence[int], numbers: Sequence[int], known: bool) -> tuple[Mutator, ...]:
    """Changes of a text file with columns; `ids` and `numbers` are those that hold ids and numbers.

    known: whether all ids must be known.
    """
    odd = ["x", "", "1_000", "\u0661", "nan", "inf", "0x1", "1e999", "true"]
    return (
        *TEXT,
        Mutator("missing column", "refused", on_line(lambda rng, line: line.rpartition(separator)[0])),
        Mutator("additional column", "refused", on_line(lambda rng, line: f"{line}{separator}1")),
        Mutator("line twice", "refused", repeat_line),
        *(
            Mutator(f"unknown id in column {n}", "refused" if known else "any", on_column(n, ["no"], separator))
            for n in ids
        ),
        *(Mutator(f"no number in column {n}", "refused", on_column(n, odd, separator)) for n in numbers),
    )


def expect(expected: Expected, names: Sequence[str], mutators: Sequence[Mutator]) -> tuple[Mutator, ...]:
    """Return the mutators; what must follow those of the given names is `expected`."""
    return tuple(mutator._replace(expected=expected) if mutator.name in names else mutator for mutator in mutators)


def array(change: Callable[[Random, Any], Any], pickled: bool = False) -> Change:
    """Change the array of a .npy file."""

    def apply(rng: Random, data: bytes) -> bytes:
        handle = io.BytesIO()
        np.save(handle, change(rng, np.load(io.BytesIO(data))), allow_pickle=pickled)
        return handle.getvalue()

    return apply


def _put(value: float) -> Change:
    def change(rng: Random, vectors: Any) -> Any:
        vectors = vectors.astype(np.float64)
        vectors[rng.randrange(len(vectors)), 0] = value
        return vectors

    return array(change)


def _zip(rng: Random, data: bytes) -> bytes:
    handle = io.BytesIO()
    np.savez(handle, np.load(io.BytesIO(data)))
    return handle.getvalue()


VECTORS = (
    Mutator("truncate", "refused", truncate),
    Mutator("delete", "refused", lambda rng, data: None),
    Mutator("flip a bit of the header", "any", lambda rng, data: flip_bit(rng, data[:128]) + data[128:]),
    Mutator("flip a bit of a vector", "any", lambda rng, data: data[:128] + flip_bit(rng, data[128:])),
    Mutator("not finite", "refused", _put(float("nan"))),
    Mutator("infinite", "refused", _put(float("-inf"))),
    Mutator("too large for float32", "refused", _put(1e300)),
    Mutator("a row less", "refused", array(lambda rng, vectors: vectors[1:])),
    Mutator("width 0", "refused", array(lambda rng, vectors: vectors[:, :0])),
    Mutator("one dimension", "refused", array(lambda rng, vectors: vectors.ravel())),
    Mutator("integers", "refused", array(lambda rng, vectors: vectors.astype(np.int64))),
    Mutator("objects", "refused", array(lambda rng, vectors: vectors.astype(object), pickled=True)),
    Mutator("complex numbers", "refused", array(lambda rng, vectors: vectors.astype(np.complex64))),
    Mutator("npz", "refused", _zip),
    Mutator("Fortran order", "harmless", array(lambda rng, vectors: np.asfortranarray(vectors))),
)
"""Changes of a .npy file of vectors."""
