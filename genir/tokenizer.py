"""The text tokenizer: a pretrained one by name or folder, or one trained on the corpus."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from genir.config import Config
from genir.errors import GenirError
from genir.records import Document


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A unigram language model over pieces (as T5's own), lower-cased and without accents; each input ends with </s>.

    Its pieces fall at stems and endings, so that words of one stem share one: BM25 over them finds more than over
    byte-pair pieces or whole words. Pad is token 0, as in T5. A small corpus yields fewer pieces than `vocabulary`.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        unk_token="<unk>",
        initial_alphabet=list("0123456789"),  # text docids are numbered
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The trainer sums in no fixed order, and gives signs that are in no other piece scores of its lowest one and up, in
    # steps of 1e-4, in no order at all. Round that away and order the pieces: the same texts give the same tokenizer.
    found = json.loads(tokenizer.to_str())["model"]["vocab"][len(special) :]
    lowest = min(score for _, score in found)
    above = lowest + 1e-4 * sum(len(piece) == 1 for piece, _ in found)
    pieces = [(piece, round(lowest if len(piece) == 1 and score < above else score, 4)) for piece, score in found]
    ordered = [(piece, 0.0) for piece in special] + sorted(pieces, key=lambda item: (-item[1], item[0]))
    tokenizer.model = models.Unigram(ordered, unk_id=special.index("<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    make: Any = PreTrainedTokenizerFast  # untyped in transformers
    wrapped: PreTrainedTokenizerBase = make(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    return wrapped


def docid_tokenizer(config: Config, documents: Iterable[Document]) -> PreTrainedTokenizerBase:
    """The tokenizer that text docids are written with: the model's, or a new one trained on the corpus."""
    name = config.model.tokenizer or config.model.pretrained
    if name is not None:
        return load_tokenizer(name)
    return train_tokenizer((document.body for document in documents), config.model.vocab_size)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """`AutoTokenizer.from_pretrained`, with a one-line error when the name leads nowhere."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers and tokenizers raise a dozen kinds
        what = str(error).splitlines()[0] if isinstance(error, (OSError, ValueError)) else repr(error)
        raise GenirError(f"{name}: cannot be loaded as a tokenizer: {what}") from None
    return tokenizer


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> dict[str, Any]:
    """input_ids and attention_mask [B, S] of texts, cut at `max_tokens`, padded on the right."""
    batch = tokenizer(
        list(texts), padding=True, truncation=True, max_length=max_tokens, padding_side="right", return_tensors="pt"
    )
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
