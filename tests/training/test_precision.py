"""Mixed precision: what is computed in bf16, and what stays in fp32."""

import pytest
import torch

from genir.errors import GenirError
from genir.training.candidate_lists import make_candidate_batch
from genir.training.precision import autocast, uses_bf16
from genir.training.trainer import supervised_loss
from tests.helpers.loop import run_training
from tests.helpers.retrievers import make_documents, with_bm25
from tests.helpers.training import CODES, score_in_groups

CPU = torch.device("cpu")


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_means_bf16_on_gpus_that_have_it(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old GPU")
    assert uses_bf16("auto") == has_bf16
    assert not uses_bf16("fp32")
    if has_bf16:
        assert uses_bf16("bf16")
    else:
        with pytest.raises(GenirError, match="an old GPU does not have bf16; use precision=fp32"):
            uses_bf16("bf16")


def test_auto_means_fp32_on_a_cpu_which_can_compute_in_bf16_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [uses_bf16(x) for x in ("auto", "fp32", "bf16")] == [False, False, True]


def test_in_bf16_probabilities_are_rounded_but_still_sum_to_one_and_weights_have_fp32_gradients(make_retriever):
    retriever = with_bm25(make_retriever(CODES, (3, 4)), make_documents(12))
    texts = ["where do owls hunt", "tea leaves wither"]
    documents = torch.arange(12).expand(2, -1).numpy()
    batch = make_candidate_batch(retriever, texts, documents, 64, torch.zeros(2, dtype=torch.bool))
    found = {}
    for precision in ("fp32", "bf16"):
        with autocast(precision, CPU):
            found[precision] = score_in_groups(retriever, batch)
    assert found["bf16"].dtype == torch.float32
    assert 1e-5 < (found["bf16"] - found["fp32"]).abs().max().item() < 0.2
    torch.testing.assert_close(found["bf16"].logsumexp(1), torch.zeros(2), atol=1e-4, rtol=0)
    found["bf16"].sum().backward()
    gradient = retriever.model.t5.lm_head.weight.grad
    assert gradient.dtype == torch.float32
    assert gradient.any()


def test_training_computes_in_the_precision_of_the_setting(make_retriever, tmp_path):
    found = {}

    def loss(logps, batch):
        found.setdefault(precision, logps.detach())
        return supervised_loss(logps, batch)

    for precision in ("fp32", "bf16"):
        settings = {"steps": 1, "measure": lambda retriever: 0.0, "loss": loss, "precision": precision}
        retriever, _ = run_training(make_retriever, tmp_path / precision, **settings)
        assert retriever.model.t5.dtype == torch.float32
    assert 1e-5 < (found["bf16"] - found["fp32"]).abs().max().item() < 0.2
