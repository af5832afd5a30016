"""The kinds of inputs that the mutation campaign changes, each with the command that reads them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.campaigns.mutators import CHANGED, DAMAGE, TEXT, VECTORS, Expected, Mutator, expect, json_lines, table
from tests.campaigns.workspace import DENSE

RUN = "runs/small"


class Mutated(NamedTuple):
    """A changed workspace: the command to run, what must follow, and words of which an error must contain one."""

    command: tuple[str, ...]
    expected: Expected
    words: tuple[str, ...]


class Files(NamedTuple):
    """Files that a command reads in a workspace in the state `state`.

    patterns: the files, as globs relative to the workspace. result: what the command writes there; if it is empty, its
    output is its result. share: the fraction of all trials, relative to the other kinds of inputs. names: what an error
    may name instead of a file or its folder.
    """

    state: str
    patterns: tuple[str, ...]
    mutators: Sequence[Mutator]
    command: tuple[str, ...]
    result: str = ""
    share: float = 1
    names: tuple[str, ...] = ()

    def list_cases(self, workspace: Path) -> list[tuple[str, str]]:
        """List (path, name of a mutator) for all files and mutators."""
        found = {path for pattern in self.patterns for path in workspace.glob(pattern) if path.is_file()}
        paths = sorted(path.relative_to(workspace).as_posix() for path in found)
        return [(path, mutator.name) for path in paths for mutator in self.mutators]

    def apply(self, workspace: Path, case: tuple[str, str], rng: Random) -> Mutated:
        """Change a file of a workspace."""
        path = workspace / case[0]
        mutator = next(mutator for mutator in self.mutators if mutator.name == case[1])
        contents = mutator.apply(rng, path.read_bytes())
        path.unlink()
        if contents is not None:
            path.write_bytes(contents)
        words = (path.name, path.parent.name, f"'{path.stem}'", *self.names)
        return Mutated(self.command, mutator.expected, words)


class Settings(NamedTuple):
    """Settings with values that must be refused, given on the command line."""

    state: str
    command: tuple[str, ...]
    result: str = ""
    share: float = 1

    def list_cases(self, workspace: Path) -> list[tuple[str, str]]:
        """List (dotted name, text of a value) for all settings."""
        from genir.config import load_config

        values = load_config(workspace / "small.yaml").model_dump(mode="json")
        return [(key, text) for key, value in flatten(values) for text in wrong_values(value)] + [
            (f"{key}x", "1") for key, _ in flatten(values) if not key[-1].isdigit()
        ]

    def apply(self, workspace: Path, case: tuple[str, str], rng: Random) -> Mutated:
        """Add the setting to the command."""
        key = [part for part in case[0].split(".") if not part.isdigit()][-1]
        return Mutated((*self.command, "=".join(case)), "refused", (key,))


def flatten(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values of all settings that are neither sections nor lists."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from flatten(value, f"{name}.{key}".lstrip("."))
    elif values is not None:
        yield name, values


def wrong_values(value: Any) -> list[str]:
    """YAML texts that are no valid value of a setting with the given valid value."""
    structures = ["[[1]]", "{a: 1}"]
    if isinstance(value, bool):
        return [*structures, "maybe", "7", ".nan"]
    if isinstance(value, int):
        return [*structures, "-1", ".nan", ".inf", "1.5", "010", "1:30", "yes", "1_000", str(10**18), "1e400", "a word"]
    if isinstance(value, float):
        return [*structures, "-1", ".nan", ".inf", "-.inf", "1:30", "yes", "1e300", "a word"]
    return [*structures, "5", "no", ".inf"]


DOCUMENT = json_lines(ids=["_id"], texts=["text"])
TREC = expect("any", ["delete", "empty"], table(" ", ids=[0, 2], numbers=[3, 4], known=False))
JUDGMENTS = expect("any", ["delete"], table("\t", ids=[0, 1], numbers=[2], known=True))  # a dev split can be carved
UNTIL_NEGATIVES = ("run", "small.yaml", "--until", "negatives")
INPUTS: dict[str, Files | Settings] = {
    "collection": Files(
        "new", ("beir/corpus.jsonl", "beir/queries.jsonl"), DOCUMENT, ("prepare", "small.yaml"), f"{RUN}/collection", 3
    ),
    "compressed collection": Files(
        "new", ("compressed/*.gz",), DAMAGE, ("prepare", "small.yaml", "collection.path=compressed"),
        f"{RUN}/collection",
    ),
    "judgments": Files("new", ("beir/qrels/*.tsv",), JUDGMENTS, ("prepare", "small.yaml"), f"{RUN}/collection", 2),
    "collection without train queries": Files(
        "new", ("untrained/*.jsonl", "untrained/qrels/test.tsv"), expect("any", ["delete", "empty"], TEXT),
        ("run", "small.yaml", "collection.path=untrained", "--until", "train"), f"{RUN}/retriever",
    ),
    "settings": Settings("new", ("prepare", "small.yaml"), share=5),
    "config file": Files("new", ("small.yaml",), CHANGED, ("prepare", "small.yaml")),
    "vectors": Files(
        "prepared", ("vectors.npy",), VECTORS, ("embed", "small.yaml", "embed.method=vectors.npy"),
        f"{RUN}/embeddings.npy",
    ),
    "pseudo queries": Files(
        "prepared", ("queries.jsonl",), json_lines(ids=["doc_id"], texts=["text"]),
        ("queries", "small.yaml", "queries.method=queries.jsonl"), f"{RUN}/pseudo_queries",
    ),
    "teacher": Files(
        "trained", ("teacher.jsonl",),
        expect("noticed", ["empty"], json_lines(ids=["query_id", "doc_id"], numbers=["score"])),
        ("train", "small.yaml", "ddro.teacher=teacher.jsonl"), f"{RUN}/ddro",
    ),
    "documents to add": Files(
        "trained", ("new.jsonl",), DOCUMENT, ("docids", RUN, "--add", "new.jsonl"), f"{RUN}/retriever", 2
    ),
    "documents to remove": Files(
        "trained", ("gone.txt",), table(" ", ids=[0], numbers=[], known=True)[:9],
        ("docids", RUN, "--remove", "gone.txt"), f"{RUN}/retriever",
    ),
    "run files": Files(
        "foreign", (f"{RUN}/runs/own.test.trec",), TREC, ("evaluate", "small.yaml"), f"{RUN}/evaluation", 2
    ),
    "retriever folder": Files(
        "trained", (f"{RUN}/retriever/**/*",), DAMAGE, ("search", RUN, "--query", "owls hunt mice"), share=5
    ),
    "retriever folder with a dense expert": Files(
        "dense", (f"{RUN}/retriever/experts/**/*",), DAMAGE, ("search", RUN, "--query", "owls hunt mice"), share=2
    ),
    "model of the dense expert": Files(
        "dense", ("model/**/*",), CHANGED, ("search", RUN, "--query", "owls hunt mice"), share=2,
        names=("embed.method model",),
    ),
    "files of the dense expert, genir run": Files(
        "dense", (f"{RUN}/embedder/*", f"{RUN}/embeddings.npy", f"{RUN}/sentences/*"), DAMAGE,
        ("run", "small.yaml", DENSE, "--until", "train"), RUN,
    ),
    "checkpoints": Files("interrupted", (f"{RUN}/checkpoints/**/*",), DAMAGE, ("train", "small.yaml"), RUN, 2),
    "files of the stages before training, genir run": Files(
        "prepared",
        tuple(f"{RUN}/{name}" for name in ("collection/**/*", "docids/**/*", "embedder/*", "embeddings.npy", "*.json",
                                           ".hashes.json", "negatives/*", "baseline/*", "pseudo_queries/*")),
        DAMAGE, UNTIL_NEGATIVES, RUN, 4,
    ),
    "files of the stages before training, genir train": Files(
        "prepared", tuple(f"{RUN}/{name}/**/*" for name in ("collection", "docids", "negatives", "pseudo_queries")),
        DAMAGE, ("train", "small.yaml"), f"{RUN}/sft",
    ),
    "files of the evaluation": Files(
        "finished",
        tuple(f"{RUN}/{name}" for name in ("runs/*", "baseline/*", "collection/**/*", "docids/docids.json")),
        DAMAGE, ("evaluate", "small.yaml"), f"{RUN}/evaluation",
    ),
    "results": Files(
        "finished", (f"{RUN}/evaluation/*", f"{RUN}/comparison/*"), CHANGED, ("report", "small.yaml")
    ),
    "values per query": Files(
        "finished", (f"{RUN}/evaluation/per_query.tsv",),
        (*CHANGED, *table("\t", ids=[], numbers=[5], known=False)[len(TEXT) :]),
        ("compare", "small.yaml"), f"{RUN}/comparison",
    ),
    "config and records of a run": Files(
        "finished", (f"{RUN}/config.yaml", f"{RUN}/*.json"), CHANGED, ("status", RUN)
    ),
}  # fmt: skip
"""Name -> kind of input."""
SAMPLE = ("collection", "judgments", "settings", "vectors", "documents to add", "retriever folder")
"""The kinds of inputs of the sample in `make test`."""
