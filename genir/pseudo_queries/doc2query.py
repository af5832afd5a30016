"""Pseudo queries by a model that reads a document and writes what might be asked of it: doc2query-T5 (Nogueira and Lin,
2019, "From doc2query to docTTTTTquery"), or any other seq2seq model, which can be trained on one's own queries first.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import DataCollatorForSeq2Seq, PrinterCallback, Trainer, TrainingArguments, set_seed

from genir.config import QueriesConfig
from genir.files import atomic_folder, clear_os_errors
from genir.records import Document
from genir.t5.loading import load_seq2seq, silence_transformers
from genir.tokenizer import load_tokenizer
from genir.training.callbacks import MarkComplete, ShowProgress
from genir.training.checkpoints import last_checkpoint
from genir.training.trainer import use_one_gpu

EVALUATIONS = 10  # of the dev loss, over the whole training


class QueryWriter:
    """A seq2seq model, by Hugging Face name or folder, that writes queries for documents."""

    def __init__(self, name: str, settings: QueriesConfig) -> None:
        self.model = load_seq2seq(name)
        self.tokenizer = load_tokenizer(name)
        self.settings = settings

    @torch.inference_mode()
    def write(self, documents: Sequence[Document], seed: str) -> list[list[str]]:
        """`per_document` sampled queries for each document; the same ones for the same documents and seed."""
        settings = self.settings
        set_seed(zlib.crc32(seed.encode()))
        inputs = self.tokenizer(
            [document.body for document in documents],
            padding=True,
            truncation=True,
            max_length=settings.document_tokens,
            return_tensors="pt",
        ).to(self.model.device)
        with silence_transformers():
            output = self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=True,
                top_k=settings.top_k,
                num_beams=1,
                num_return_sequences=settings.per_document,
                max_new_tokens=settings.query_tokens,
            )
        texts = self.tokenizer.batch_decode(output, skip_special_tokens=True)
        each = settings.per_document
        return [texts[start : start + each] for start in range(0, len(texts), each)]


class Pairs(Dataset[dict[str, Any]]):
    """(query, row of a relevant document) pairs as a model is trained on them: the document in, the query out."""

    def __init__(
        self,
        pairs: Sequence[tuple[str, int]],
        documents: Sequence[Document],
        tokenizer: Any,
        settings: QueriesConfig,
    ) -> None:
        self.pairs = pairs
        self.documents = documents
        self.tokenizer = tokenizer
        self.settings = settings

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        query, row = self.pairs[index]
        document = self.documents[row].body
        read = self.tokenizer(document, truncation=True, max_length=self.settings.document_tokens)
        written = self.tokenizer(query, truncation=True, max_length=self.settings.query_tokens)
        return {"input_ids": read["input_ids"], "labels": written["input_ids"]}


def tune(
    settings: QueriesConfig,
    documents: Sequence[Document],
    train: Sequence[tuple[str, int]],
    dev: Sequence[tuple[str, int]],
    seed: int,
    folder: Path,
    checkpoints: Path,
) -> None:
    """Train `settings.method` for `tune_steps` on the train pairs and leave the weights of the lowest dev loss in
    `folder`; a killed training goes on from its last checkpoint.
    """
    set_seed(seed)
    model, tokenizer = load_seq2seq(settings.method), load_tokenizer(settings.method)
    resume = last_checkpoint(checkpoints)
    every = max(1, settings.tune_steps // EVALUATIONS)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=settings.tune_steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.tune_steps // 10,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
    )
    use_one_gpu(arguments)
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        train_dataset=Pairs(train, documents, tokenizer, settings),
        eval_dataset=Pairs(dev, documents, tokenizer, settings),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ShowProgress("doc2query", "loss"))
    trainer.add_callback(MarkComplete())
    with silence_transformers(), clear_os_errors(checkpoints):
        trainer.train(resume_from_checkpoint=resume)
        with atomic_folder(folder) as new:
            model.save_pretrained(new)
            tokenizer.save_pretrained(new)
