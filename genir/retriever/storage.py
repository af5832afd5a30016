"""What a retriever folder holds: writing it, reading it, and uploading it to the hub."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from genir.docids.table import CodeLayout, DocidTable
from genir.docids.trie import Trie
from genir.embedders import ModelEmbedder, TfidfEmbedder, load_embedder
from genir.errors import GenirError
from genir.files import atomic_folder, hash_files
from genir.model import DocidModel
from genir.retriever.documents import load_documents
from genir.retriever.folder import RetrieverSettings, has_files, read_settings, require_replaceable, write_settings
from genir.retriever.hub import CARD_FILE, SETTINGS_FILE, require_hub_name, upload_folder
from genir.retriever.model_card import make_model_card
from genir.scoring.experts import Experts
from genir.t5.loading import load_t5, silence_transformers
from genir.tokenizer import load_tokenizer, save_tokenizer


class RetrieverParts(NamedTuple):
    """The arguments of `genir.retriever.Retriever`, which describes them."""

    model: DocidModel
    tokenizer: PreTrainedTokenizerBase
    table: DocidTable
    max_tokens: int
    trie: Trie
    embedder: TfidfEmbedder | ModelEmbedder | None
    experts: Experts | None


def read_parts(folder: Path, device: str | torch.device | None, dtype: torch.dtype) -> RetrieverParts:
    """Read a retriever's own folder; raise GenirError if it is damaged, and for a wrong device or type of weights."""
    if dtype not in (torch.float32, torch.bfloat16):
        raise GenirError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype!r}")
    base, softmax_over, max_tokens = read_settings(folder)
    index = load_documents(folder)
    layout = CodeLayout(base, index.table.sizes, index.table.text)
    model = DocidModel(load_t5(str(folder), device), layout, softmax_over)
    nn.Module.to(model.t5, dtype=dtype)
    embedder = load_embedder(folder / "docids" / "embedder")
    tokenizer = load_tokenizer(str(folder))
    return RetrieverParts(model, tokenizer, index.table, max_tokens, index.trie, embedder, index.experts)


def write_parts(parts: RetrieverParts, folder: Path, origin: Path | None, name: str = "FOLDER") -> None:
    """Write a retriever folder and its model card, completely or not at all.

    The card is not among the files that are checked when the folder is loaded, so that users can edit it. origin: the
    folder that the retriever was loaded from, of whose run the card tells if no file has changed since. name: see
    `genir.retriever.model_card.make_model_card`. Raises GenirError if the folder holds anything but a retriever.
    """
    require_replaceable(folder)
    model = parts.model
    with atomic_folder(folder) as new, silence_transformers():
        model.t5.save_pretrained(new)
        save_tokenizer(parts.tokenizer, new)
        parts.table.save(new / "docids")
        parts.trie.save(new / "docids" / "trie.safetensors")
        if parts.embedder is not None:
            parts.embedder.save(new / "docids" / "embedder")
        if parts.experts is not None:
            parts.experts.save(new / "experts")
        files = hash_files(new, SETTINGS_FILE)
        unchanged = origin if origin is not None and has_files(origin, files) else None
        card = make_model_card(parts.table, parts.experts, unchanged, name)
        write_settings(new, RetrieverSettings(model.layout.base, model.softmax_over, parts.max_tokens), files, card)
        (new / CARD_FILE).write_bytes(card.encode())


def push_parts(
    parts: RetrieverParts,
    origin: Path | None,
    name: str,
    private: bool | None,
    branch: str | None,
    token: str | None,
    message: str,
) -> str:
    """Upload a retriever to a repository of the hub; see `genir.retriever.hub.upload_folder`."""
    require_hub_name(name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "retriever"
        write_parts(parts, folder, origin, name)
        return upload_folder(folder, name, private, branch, token, message)
