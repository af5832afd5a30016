"""The model card of a retriever: README.md with the metadata that the Hugging Face hub reads.

A card says what the retriever ranks and how to use it. For a retriever that was loaded from a run folder and has not
changed since, it also has the collection, the protocol and the measures of the run, unless these belong to an earlier
training.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.config import Config, load_config
from genir.docids.table import DocidTable
from genir.errors import GenirError
from genir.evaluation.headline import DISPLAY_NAMES, format_value
from genir.evaluation.protocol_card import CUSTOM, read_card
from genir.files import content_hash, read_json
from genir.pipeline.staleness import load_hashes, load_records
from genir.retriever.hub import is_hub_name
from genir.scoring.experts import Experts

PIPELINE_TAG = "text-ranking"
_LICENCE = (
    "No licence is stated. The owner of this repository chooses one, which the terms of the documents and of the base "
    "model must permit, and adds it to the metadata as `license`."
)


def make_model_card(table: DocidTable, experts: Experts | None, origin: Path | None, name: str) -> str:
    """Compose the model card.

    origin: the folder that the retriever was loaded from, if it has not changed since. name: what
    `Retriever.from_pretrained` takes to load it.
    """
    config = None if origin is None else _load_config_of_run(origin)
    parts = [
        f"---\n{_metadata(config)}\n---\n",
        "# Generative retriever\n",
        _describe(table, experts, config),
        _describe_use(name),
        *(() if config is None or origin is None else _describe_results(config, origin.name)),
        f"## Licence\n\n{_LICENCE}",
    ]
    return "\n".join(parts) + "\n"


def _load_config_of_run(folder: Path) -> Config | None:
    """Load the config of the run whose folder a retriever's own folder lies in; None if there is none."""
    try:
        return load_config(folder.resolve().parent)
    except GenirError:
        return None


def _metadata(config: Config | None) -> str:
    from huggingface_hub import ModelCardData

    base = None if config is None else config.model.pretrained
    path = "" if config is None else config.collection.path
    return ModelCardData(
        library_name="genir",
        pipeline_tag=PIPELINE_TAG,
        tags=["genir", "generative-retrieval"],
        base_model=base if base and not Path(base).exists() else None,
        datasets=[path.removeprefix("hf:")] if path.startswith("hf:") and is_hub_name(path[3:]) else None,
    ).to_yaml()


def _describe(table: DocidTable, experts: Experts | None, config: Config | None) -> str:
    builder = table.settings.get("docids", {}).get("builder", "imported")
    base = "" if config is None or config.model.pretrained is None else f" from `{Path(config.model.pretrained).name}`"
    weights = {} if experts is None else experts.weights
    listed = ", ".join(f"{name} (weight {weight:.3g})" for name, weight in weights.items())
    return (
        f"A T5{base} that reads a query and generates the identifier (docid) of a document that answers it, made with "
        f"genir. It ranks {len(table):,} documents, whose {builder} docids have at most {table.codes.shape[1]} codes."
        + (f" The scores include those of the experts {listed}." if listed else "")
        + "\n"
    )


def _describe_use(name: str) -> str:
    return (
        "## How to use\n\n"
        "```python\nfrom genir import Retriever\n\n"
        f'retriever = Retriever.from_pretrained("{name}")\n'
        'print(retriever.search("what do you want to know", k=10))\n```\n\n'
        "or on the command line:\n\n"
        f'    genir search {name} --query "what do you want to know"\n'
    )


def _describe_results(config: Config, stage: str) -> Iterator[str]:
    """Yield the sections about the collection and the measures, if the retriever was evaluated."""
    run = config.run_folder
    run_name = config.training_stages[-1] if stage == "retriever" else stage
    if not _was_evaluated(run, stage, run_name):
        return
    measures, card = read_json(run / "evaluation" / "measures.json"), read_card(run)
    yield "## Collection and protocol\n"
    documents = card["documents"]
    yield f"{_name_collection(card)}, {documents['count']:,} documents (ids: SHA-256 `{documents['sha256']}`).\n"
    yield from _table(
        ("split", "judged queries", "judgments", "SHA-256 of the judgments"),
        (
            (name, f"{entry['queries']:,}", f"{entry['judgments']:,}", f"`{entry['judgments_sha256']}`")
            for name, entry in card["splits"].items()
        ),
    )
    yield "\n## Measures\n\nMeans over the queries with 95 % bootstrap confidence intervals.\n"
    names = config.evaluate.measures
    yield from _table(
        ("split", "run", *names),
        (
            (split, DISPLAY_NAMES.get(row, row), *(_format_interval(runs[row][name]["all"]) for name in names))
            for split, runs in measures.items()
            for row in ("bm25", "experts", run_name)
            if row in runs
        ),
    )
    yield ""


def _was_evaluated(run: Path, stage: str, run_name: str) -> bool:
    """Whether RUN/evaluation was computed from run files that the retriever in RUN/STAGE has written.

    run_name: the training stage that the retriever comes from. The records of the run are compared with its files.
    """
    records, hashes = load_records(run / "stage.json"), load_hashes(run / ".hashes.json")
    try:
        expected = {
            run_name: records["search"]["inputs"][f"{run_name}?"],
            "runs": records["evaluate"]["inputs"]["runs"],
            "evaluation": records["evaluate"]["outputs"]["evaluation"],
        }
        if stage == "retriever":  # a copy of RUN/run_name
            expected[stage] = records[stage]["outputs"][stage]
            if records[stage]["inputs"][run_name] != expected[run_name]:
                return False
    except KeyError:
        return False
    return all((run / name).is_dir() and content_hash(run / name, hashes) == expected[name] for name in expected)


def _name_collection(card: Mapping[str, Any]) -> str:
    """The name of the collection, without the path of a folder, which is nobody else's business."""
    source = str(card.get("source", ""))
    is_public = source.startswith("irds:") or (source.startswith("hf:") and is_hub_name(source[3:]))
    return f"`{card['collection']}`" if card["collection"] != CUSTOM else f"`{source}`" if is_public else "A collection"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    for number, row in enumerate([head, *rows]):
        cells = [cell.replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"|{'---|' * len(cells)}"


def _format_interval(interval: Mapping[str, float]) -> str:
    return f"{format_value(interval['mean'])} [{format_value(interval['low'])}, {format_value(interval['high'])}]"
