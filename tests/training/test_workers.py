"""Worker processes that prepare batches: the same training as without them, and clear errors."""

import os
import signal

import pytest
import torch

from genir.errors import GenirError
from genir.training.trainer import supervised_loss
from genir.training.workers import count_workers
from tests.helpers.loop import WORDS, rising, run_training, weights


def test_the_setting_counts_and_cpus_need_no_workers():
    assert (count_workers(3), count_workers(0)) == (3, 0)
    assert count_workers(None) == 0 or torch.cuda.is_available()


@pytest.mark.slow
def test_workers_change_neither_the_weights_nor_the_log(make_retriever, tmp_path):
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    runs = [run_training(make_retriever, tmp_path / str(n), measure=rising(), experts=True, workers=n) for n in (0, 2)]
    (alone, log), (helped, same_log) = runs
    assert all(torch.equal(value, weights(helped)[name]) for name, value in weights(alone).items())
    assert [entry.get("loss") for entry in log] == [entry.get("loss") for entry in same_log]
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


@pytest.mark.slow
def test_an_error_of_a_worker_is_the_error_of_the_training(make_retriever, tmp_path):
    def fail(example):
        raise GenirError("corpus.jsonl:3: this file is damaged")

    with pytest.raises(GenirError, match=r"^corpus.jsonl:3: this file is damaged$"):
        run_training(make_retriever, tmp_path, measure=rising(), workers=1, change=fail)


@pytest.mark.slow
def test_a_killed_worker_is_one_clear_error(make_retriever, tmp_path):
    def end_worker(example):
        if example.text == WORDS[0] and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return example

    parent = os.getpid()
    with pytest.raises(GenirError, match=r"a process that prepares batches has ended.*lower the setting workers"):
        run_training(make_retriever, tmp_path, measure=rising(), loss=supervised_loss, workers=1, change=end_worker)
