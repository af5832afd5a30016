"""BEIR folders for tests."""

import json
import os
from pathlib import Path

SUBJECTS = ("owls hunt mice", "tea leaves wither", "glaciers carve valleys", "bridges carry trains")


def write_beir(folder: Path, documents, queries, qrels) -> Path:
    """Write a BEIR folder from rows; qrels: split -> (query, document, grade) rows."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", documents), ("queries", queries)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for split, rows in qrels.items():
        text = "query-id\tcorpus-id\tscore\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


def small_beir(folder: Path) -> Path:
    """Twelve documents over four subjects; three queries each: train, dev, test."""
    documents, queries, qrels = [], [], {"train": [], "dev": [], "test": []}
    for number in range(12):
        words = SUBJECTS[number % 4]
        text = f"{words} in place number{number} while the keyword{number} grows"
        documents.append({"_id": f"d{number}", "title": f"About {words}", "text": text, "url": f"/x/{number}"})
        for split in qrels:
            queries.append({"_id": f"q{number}-{split}", "text": f"where do {words} with keyword{number} {split}"})
            qrels[split].append((f"q{number}-{split}", f"d{number}", 2))
            qrels[split].append((f"q{number}-{split}", f"d{(number + 4) % 12}", 1))
    return write_beir(folder, documents, queries, qrels)


def beir_of_own_queries(folder: Path) -> Path:
    """The twelve documents of `small_beir`, each of which is also a query with the same id and text, as in ArguAna.

    The relevant document of a query is another one with the same subject.
    """
    rows = [json.loads(line) for line in (small_beir(folder) / "corpus.jsonl").read_text().splitlines()]
    queries = [{"_id": row["_id"], "text": f"{row['title']} {row['text']}"} for row in rows]
    judged = [(f"d{number}", f"d{(number + 4) % 12}", 1) for number in range(12)]
    return write_beir(folder, rows, queries, {"train": judged[:4], "dev": judged[4:8], "test": judged[8:]})


def left_behind(tmp_path: Path) -> list[str]:
    """What the prepare stage has left in its run folder."""
    run = tmp_path / "runs" / "c"
    return os.listdir(run) if run.exists() else []
