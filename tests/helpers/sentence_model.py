"""A tiny model of sentence-transformers in a folder, for what a name of a model stands for."""

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast


def save_random_model(folder, documents, seed=0, size=16):
    """Write a tiny random BERT in the folder layout of sentence-transformers, and return its SentenceTransformer."""
    library = pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    from sentence_transformers.models import Pooling, Transformer

    words = sorted({word for document in documents for word in document.body.lower().split()})
    bert = folder.parent / f"bert of {folder.name}"
    vocabulary = folder.parent / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizerFast(str(vocabulary)).save_pretrained(bert)
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=size,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    torch.manual_seed(seed)
    BertModel(config).save_pretrained(bert)
    model = library.SentenceTransformer(modules=[Transformer(str(bert)), Pooling(size)], device="cpu")
    model.save(str(folder))
    return model
