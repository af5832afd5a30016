"""Log-probabilities of docids against Hugging Face's logits, and building models with a docid vocabulary."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
def test_log_probabilities_equal_hugging_face_logits_normalised_token_by_token(v10):
    model = make_model(SIZES, v10=v10)
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
                    total += logits[level, token].item() - math.log(sum(map(math.exp, logits[level].tolist())))
                assert logps[b, n].item() == pytest.approx(total, abs=1e-5)


def test_docids_of_one_code_have_the_same_log_probabilities_together_and_alone():
    """Together they share one decoder input per query."""
    model = make_model((9,))
    ids, mask = make_inputs()
    codes = torch.arange(9).view(1, 9, 1).expand(3, -1, -1)
    with torch.no_grad():
        encoded = model.encode(ids, mask)
        together = model.sequence_logps(encoded, codes)
        alone = torch.cat([model.sequence_logps(encoded, codes[:, n : n + 1]) for n in range(9)], 1)
    torch.testing.assert_close(together, alone)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([1, 3, 100]), st.sampled_from([0.0, 0.05, 1.0]))
def test_logits_of_children_are_those_of_the_head_however_few_of_the_codebook_they_are(seed, nodes, size, share):
    """Either all logits of the level are computed, or only those of the children."""
    model = make_model((2, size), seed=seed % 3)
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(nodes, 16, generator=generator)
    is_child = torch.rand(nodes, size, generator=generator) < share
    is_child[:, -1] = True
    parent, codes = is_child.nonzero().T
    with torch.no_grad():
        logits = model.child_logits(states, 1, parent, codes)
        expected = (states @ model.t5.lm_head.weight[22:].T)[parent, codes]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


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


def test_codes_chosen_at_mixed_levels_have_the_log_probabilities_of_their_levels(monkeypatch):
    monkeypatch.setattr("genir.model._HEAD_CHUNK", 4)
    model = make_model(SIZES)
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
    assert model.layout == CodeLayout(0, (21, 21), True)
    assert all(
        torch.equal(a, b) for a, b in zip(model.t5.parameters(), load_t5(str(tmp_path)).parameters(), strict=True)
    )


def test_a_vocabulary_that_is_too_small_for_the_docids_is_refused():
    t5 = make_model((4,)).t5
    with pytest.raises(GenirError, match="the model has 24 tokens, but its docids need 25"):
        DocidModel(t5, CodeLayout(20, (5,)))
