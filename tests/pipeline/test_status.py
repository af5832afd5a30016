"""The states of all stages of a run, from its records."""

import pytest

from genir.config import load_config
from genir.files import hash_files, write_json
from genir.pipeline.stage import Stage, execute
from genir.pipeline.status import needs_pseudo_queries, stage_states

PREPARE = Stage("prepare", settings=("collection",), external=("collection.path",), writes=("collection",))
EMBED = Stage("embed", settings=("embed",), reads=("collection",), writes=("embeddings.npy",))
DOCIDS = Stage("docids", settings=("docids",), reads=("collection", "embeddings.npy"), writes=("docids",))


@pytest.fixture
def states(tmp_path):
    """Run three stages, and return a function that finds the states for some overrides: stage -> (state, reason)."""
    (tmp_path / "source").write_text("source")
    (tmp_path / "r.yaml").write_text(f"collection: {{path: {tmp_path / 'source'}}}\nruns_dir: {tmp_path}\n")

    def write(name):
        return lambda config: (config.run_folder / name).write_text(name)

    for stage in (PREPARE, EMBED, DOCIDS):
        execute(stage, write(stage.writes[0]), load_config(tmp_path / "r.yaml"))

    def found(*overrides):
        config = load_config(tmp_path / "r.yaml", overrides)
        return {name: (state, reason) for name, state, reason in stage_states(config)}

    return found


def test_stages_are_listed_in_pipeline_order_with_their_states(states):
    found = states("ddro={}")
    order = "prepare embed docids queries baseline negatives sft ddro retriever search evaluate compare plot report"
    assert list(found) == order.split()
    assert {found[name] for name in ("prepare", "embed", "docids")} == {("up to date", "")}
    assert found["queries"] == ("not needed", "no training mix contains pseudo_queries")
    assert found["sft"] == found["report"] == ("not run", "")


@pytest.mark.parametrize(
    ("mix", "splits", "needed"),
    [
        ("{queries: 1}", ["train"], False),
        ("{queries: 1}", ["test"], True),
        ("{spans: 1}", ["test"], False),
        ("{pseudo_queries: 1}", ["train"], True),
        ("{queries: 1}", [], False),  # not prepared yet
    ],
)
def test_pseudo_queries_are_needed_in_the_place_of_train_queries(tmp_path, mix, splits, needed):
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: x}}\nruns_dir: {tmp_path}\nsft: {{phases: [{{mix: {mix}}}]}}\n"
    )
    for split in splits:
        path = tmp_path / "c" / "collection" / "qrels" / f"{split}.tsv"
        path.parent.mkdir(parents=True)
        path.touch()
    config = load_config(tmp_path / "c.yaml")
    assert needs_pseudo_queries(config) is needed
    (state,) = [state for name, state, _ in stage_states(config) if name == "queries"]
    assert state == ("not run" if needed else "not needed")


def test_a_stage_after_a_stale_one_is_stale_too(states):
    found = states("embed.dimension=7")
    assert found["prepare"][0] == "up to date"
    assert found["embed"] == ("stale", "setting embed.dimension changed from 128 to 7")
    assert found["docids"] == ("stale", "it reads embeddings.npy, which the stage embed will write again")


def test_a_training_stage_with_checkpoints_is_shown_as_unfinished(states, tmp_path):
    (tmp_path / "r" / "checkpoints" / "sft").mkdir(parents=True)
    assert states()["sft"] == ("not run", "interrupted or still running; genir run continues it")


def test_an_edited_retriever_is_shown_as_kept_and_a_damaged_one_as_stale(states, tmp_path):
    retriever = Stage("retriever", reads=("docids",), writes=("retriever",))

    folder = tmp_path / "r" / "retriever"

    def write(text):
        (folder / "docids").write_text(text)
        write_json(folder / "genir.json", {"files": hash_files(folder, "genir.json")})

    folder.mkdir()
    execute(retriever, lambda config: write("trained"), load_config(tmp_path / "r.yaml"))
    assert states()["retriever"] == ("up to date", "")
    (folder / "README.md").write_text("a card that its owner edited")
    assert states()["retriever"] == ("up to date", "")
    write("a document was added")
    assert states()["retriever"] == ("edited", "changed after training; genir train keeps it")
    (folder / "docids").write_text("half")
    assert states()["retriever"] == ("stale", "output retriever was changed")


def test_a_changed_source_and_a_missing_file_are_reasons(states, tmp_path):
    (tmp_path / "source").write_text("another")
    assert states()["prepare"] == ("stale", "input collection.path changed")
    (tmp_path / "r" / "embeddings.npy").unlink()
    assert states()["embed"] == ("stale", "output embeddings.npy is missing")
    assert states()["docids"][1].endswith("embeddings.npy: missing")
