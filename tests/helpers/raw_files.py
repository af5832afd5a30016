"""Raw files of published collections."""

import gzip


def table(rows, end="\n"):
    return "".join("\t".join(row) + end for row in rows).encode()


def write_raw(folder, files, end="\n"):
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        content = table(rows, end)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder
