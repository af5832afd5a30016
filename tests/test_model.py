"""Log-probabilities of docids against Hugging Face's logits, and building models with a docid vocabulary."""

import math

import pytest
import torch

from genir.config import ModelConfig
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.model import DocidModel, build_model
from genir.t5.loading import load_t5
from genir.tokenizer import train_tokenizer
from tests.helpers.models import make_model, make_text_model

SIZES = (4, 3, 5)


def make_inputs():
    """Token ids and mask of three queries of 6, 3 and 4 tokens."""
    ids = torch.randint(3, 20, (3, 6), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < torch.tensor([[6], [3], [4]])).long()
    return ids * mask, mask


def all_codes():
    return torch.cartesian_prod(*(torch.arange(size) for size in SIZES))


@pytest.mark.slow
@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_log_probabilities_equal_hugging_face_logits_normalised_token_by_token(v10, softmax_over):
    model = make_model(SIZES, softmax_over, v10)
    ids, mask = make_inputs()
    codes = torch.tensor([[[0, 1, 2], [3, 2, 4]], [[1, 0, 0], [1, 0, 1]], [[2, 2, 2], [0, 0, 0]]])
    with torch.no_grad():
        logps = model.sequence_logps(model.encode(ids, mask), codes)
        for b in range(3):
            for n in range(2):
                labels = model.codes_to_tokens(codes[b, n])[None]
                logits = model.t5(input_ids=ids[b : b + 1], attention_mask=mask[b : b + 1], labels=labels).logits[0]
                total = 0.0
                for level, token in enumerate(labels[0].tolist()):
                    start = model.layout.base + model.layout.offsets[level]
                    among = range(start, start + SIZES[level]) if softmax_over == "level" else range(logits.shape[1])
                    total += logits[level, token].item() - math.log(
                        sum(math.exp(logits[level, other].item()) for other in among)
                    )
                assert logps[b, n].item() == pytest.approx(total, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_candidate_chunks_give_the_same_log_probabilities_and_gradients(softmax_over):
    model = make_model(SIZES, softmax_over)
    ids, mask = make_inputs()
    codes = all_codes()[torch.randperm(60, generator=torch.Generator().manual_seed(0))[:21]].view(3, 7, 3)
    weight = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    results = []
    for candidate_chunk in (None, 1, 3):
        model.t5.zero_grad()
        logps = model.sequence_logps(model.encode(ids, mask), codes, candidate_chunk)
        (weight * logps.exp()).sum().backward()
        results.append((logps.detach(), {name: p.grad.clone() for name, p in model.t5.named_parameters()}))
    for logps, gradients in results[1:]:
        torch.testing.assert_close(logps, results[0][0])
        torch.testing.assert_close(gradients, results[0][1])


@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_docids_of_one_code_have_the_same_log_probabilities_together_and_alone(softmax_over):
    """Together they share one decoder input per query."""
    model = make_model((9,), softmax_over)
    ids, mask = make_inputs()
    codes = torch.arange(9).view(1, 9, 1).expand(3, -1, -1)
    with torch.no_grad():
        encoded = model.encode(ids, mask)
        together = model.sequence_logps(encoded, codes)
        alone = torch.cat([model.sequence_logps(encoded, codes[:, n : n + 1]) for n in range(9)], 1)
    torch.testing.assert_close(together, alone)


def test_with_a_softmax_over_each_level_the_probabilities_of_all_code_sequences_sum_to_one():
    model = make_model(SIZES)
    ids, mask = make_inputs()
    codes = all_codes().expand(3, -1, -1)
    with torch.no_grad():
        logps = model.sequence_logps(model.encode(ids, mask), codes)
    assert logps.exp().sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


@pytest.mark.parametrize("text", [True, False])
def test_padding_of_a_docid_adds_nothing_to_its_log_probability(text):
    """Text docids are padded with -1; a docid of all levels is not changed by a longer one beside it."""
    model = make_text_model(4) if text else make_model((9, 9, 9, 9))
    encoded = model.encode(*make_inputs())
    short, long = torch.tensor([5, 1]), torch.tensor([5, 7, 3, 1])
    together = torch.stack([torch.nn.functional.pad(short, (0, 2), value=-1), long]).expand(3, -1, -1)
    with torch.no_grad():
        logps = model.sequence_logps(encoded, together)
        alone = [model.sequence_logps(encoded, docid.expand(3, 1, -1)) for docid in (short, long)]
    torch.testing.assert_close(logps, torch.cat(alone, 1))


def test_padding_of_queries_changes_nothing():
    model = make_model(SIZES)
    ids, mask = make_inputs()
    codes = all_codes()[:7].expand(3, -1, -1)
    with torch.no_grad():
        together = model.sequence_logps(model.encode(ids, mask), codes)
        alone = [
            model.sequence_logps(model.encode(ids[b : b + 1, :n], mask[b : b + 1, :n]), codes[:1])
            for b, n in enumerate(mask.sum(1).tolist())
        ]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_codes_chosen_at_mixed_levels_have_the_log_probabilities_of_their_levels(softmax_over, monkeypatch):
    monkeypatch.setattr("genir.model._HEAD_CHUNK", 4)
    model = make_model(SIZES, softmax_over)
    generator = torch.Generator().manual_seed(0)
    states, levels = torch.randn(30, 16, generator=generator), torch.randint(0, 3, (30,), generator=generator)
    codes = torch.tensor([int(torch.randint(0, SIZES[level], (1,), generator=generator)) for level in levels])
    with torch.no_grad():
        logps = model.chosen_code_logps(states, levels, codes)
        expected = [model.level_logps(x, m)[c] for x, m, c in zip(states, levels.tolist(), codes, strict=True)]
    torch.testing.assert_close(logps, torch.stack(expected))


def test_the_states_of_a_docid_are_the_sum_of_those_that_predict_its_codes():
    """So a code's logits summed over levels are the head times that sum; padding is left out."""
    model = make_model(SIZES)
    encoded = model.encode(*make_inputs())
    codes = torch.tensor([[[0, 1, 2], [3, 2, -1]]]).expand(3, -1, -1)
    with torch.no_grad():
        total = model.docid_states(encoded, codes)
        states = model.decode(model.precompute_cross_attention(encoded), model.decoder_inputs(codes[..., :-1]))
    torch.testing.assert_close(total[:, 0], states[:, 0].sum(1))
    torch.testing.assert_close(total[:, 1], states[:, 1, :2].sum(1))


def test_tokens_of_codes_follow_the_text_tokens_level_by_level():
    model = make_model(SIZES)
    assert model.codes_to_tokens(torch.tensor([[0, 0, 0], [3, 2, 4], [1, -1, -1]])).tolist() == [
        [20, 24, 27],
        [23, 26, 31],
        [21, 24, 27],
    ]
    assert model.decoder_inputs(torch.tensor([[3, 2]])).tolist() == [[0, 23, 26]]
    assert model.level_tokens(torch.tensor([1, 2]), 1).tolist() == [[25], [26]]


def test_a_model_from_scratch_has_a_separate_head_and_no_dropout_by_default():
    tokenizer = train_tokenizer(["owls hunt mice at night", "tea leaves wither"], 300)
    model = build_model(ModelConfig(size="tiny"), tokenizer, SIZES)
    assert model.layout == CodeLayout(len(tokenizer), SIZES)
    assert model.t5.config.vocab_size == len(tokenizer) + sum(SIZES)
    assert model.t5.lm_head.weight is not model.t5.shared.weight
    assert not model.t5.config.scale_decoder_outputs
    assert model.t5.config.dropout_rate == 0.0


@pytest.mark.parametrize("v10", [True, False])
def test_a_pretrained_model_keeps_its_logits_and_gets_code_tokens(tmp_path, v10):
    old = make_model((1,), v10=v10).t5
    old.save_pretrained(tmp_path)
    tokenizer = train_tokenizer(["a b"], 300)
    model = build_model(ModelConfig(pretrained=str(tmp_path)), tokenizer, SIZES)
    assert model.layout.base == 21
    assert model.t5.config.vocab_size == 21 + sum(SIZES) == len(model.t5.shared.weight)
    assert (model.t5.lm_head.weight is model.t5.shared.weight) == v10
    ids, mask = make_inputs()
    labels = torch.tensor([[4, 5]] * 3)
    new = model.t5.train(False)(input_ids=ids, attention_mask=mask, labels=labels).logits[..., :21]
    torch.testing.assert_close(new, old(input_ids=ids, attention_mask=mask, labels=labels).logits)
    with torch.no_grad():
        assert model.sequence_logps(model.encode(ids, mask), all_codes()[:2].expand(3, -1, -1)).isfinite().all()


def test_a_pretrained_model_with_text_docids_keeps_its_vocabulary(tmp_path):
    make_model((1,)).t5.save_pretrained(tmp_path)
    model = build_model(ModelConfig(pretrained=str(tmp_path)), train_tokenizer(["a b"], 300), (21, 21), text=True)
    assert model.softmax_over == "full"
    assert model.layout == CodeLayout(0, (21, 21), True)
    assert all(
        torch.equal(a, b) for a, b in zip(model.t5.parameters(), load_t5(str(tmp_path)).parameters(), strict=True)
    )


def test_a_vocabulary_that_is_too_small_for_the_docids_is_refused():
    t5 = make_model((4,)).t5
    with pytest.raises(GenirError, match="the model has 24 tokens, but its docids need 25"):
        DocidModel(t5, CodeLayout(20, (5,)), None)
