import json
import math

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from genir.config import ModelConfig
from genir.errors import GenirError
from genir.model import new_model
from genir.t5.loading import load_t5
from genir.tokenizer import load_tokenizer, train_tokenizer

SIZES = (4, 3, 5)


def inputs(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (count, 6), generator=generator)
    mask = (torch.arange(6) < torch.tensor([[6], [3], [4]][:count])).long()
    return ids * mask, mask


def all_codes():
    return torch.cartesian_prod(*(torch.arange(size) for size in SIZES))


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_logps_equal_hugging_face_s_logits_normalised_token_by_token(make_model, v10, softmax_over):
    model = make_model(SIZES, softmax_over, v10)
    ids, mask = inputs()
    codes = torch.tensor([[[0, 1, 2], [3, 2, 4]], [[1, 0, 0], [1, 0, 1]], [[2, 2, 2], [0, 0, 0]]])
    with torch.no_grad():
        got = model.sequence_logps(model.encode(ids, mask), codes)
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
                assert got[b, n].item() == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_lists_run_in_chunks_have_the_same_log_probs_and_gradients(make_model, softmax_over):
    model = make_model(SIZES, softmax_over)
    ids, mask = inputs()
    codes = all_codes()[torch.randperm(60, generator=torch.Generator().manual_seed(0))[:21]].view(3, 7, 3)
    weight = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    found = []
    for candidate_chunk in (None, 1, 3):
        model.t5.zero_grad()
        logps = model.sequence_logps(model.encode(ids, mask), codes, candidate_chunk)
        (weight * logps.exp()).sum().backward()
        found.append((logps.detach(), {name: p.grad.clone() for name, p in model.t5.named_parameters()}))
    for logps, gradients in found[1:]:
        torch.testing.assert_close(logps, found[0][0])
        torch.testing.assert_close(gradients, found[0][1])


@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_docids_of_one_code_share_one_decoder_input(make_model, softmax_over):
    """Scored together, as here, or each alone."""
    model = make_model((9,), softmax_over)
    ids, mask = inputs()
    codes = torch.arange(9).view(1, 9, 1).expand(3, -1, -1)
    with torch.no_grad():
        encoded = model.encode(ids, mask)
        together = model.sequence_logps(encoded, codes)
        alone = torch.cat([model.sequence_logps(encoded, codes[:, n : n + 1]) for n in range(9)], 1)
    torch.testing.assert_close(together, alone)


def test_level_normalisation_makes_all_code_sequences_sum_to_one(make_model):
    model = make_model(SIZES)
    ids, mask = inputs()
    codes = all_codes().expand(3, -1, -1)
    with torch.no_grad():
        logps = model.sequence_logps(model.encode(ids, mask), codes)
    assert logps.exp().sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_padding_changes_nothing(make_model):
    model = make_model(SIZES)
    ids, mask = inputs()
    codes = all_codes()[:7].expand(3, -1, -1)
    with torch.no_grad():
        together = model.sequence_logps(model.encode(ids, mask), codes)
        alone = [
            model.sequence_logps(model.encode(ids[b : b + 1, :n], mask[b : b + 1, :n]), codes[:1])
            for b, n in enumerate(mask.sum(1).tolist())
        ]
    torch.testing.assert_close(together, torch.cat(alone))


def test_an_untied_model_saves_and_loads_as_a_plain_hugging_face_model(tmp_path):
    tokenizer = train_tokenizer(["owls hunt mice at night", "tea leaves wither"], 300)
    model = new_model(ModelConfig(size="tiny"), tokenizer, SIZES)
    model.t5.save_pretrained(tmp_path)
    ids = torch.tensor([tokenizer("owls hunt")["input_ids"]])
    wanted = model.t5.train(False)(input_ids=ids, labels=torch.tensor([[5, 6]])).logits
    for loaded in (load_t5(str(tmp_path)), AutoModelForSeq2SeqLM.from_pretrained(tmp_path)):
        assert loaded.lm_head.weight is not loaded.shared.weight
        torch.testing.assert_close(loaded(input_ids=ids, labels=torch.tensor([[5, 6]])).logits, wanted)
    config = load_t5(str(tmp_path)).config
    assert not config.scale_decoder_outputs
    assert config.dropout_rate == 0.0


@pytest.mark.parametrize("v10", [True, False])
def test_a_model_that_is_loaded_and_saved_again_says_whether_its_head_is_tied(tmp_path, make_model, v10):
    """T5Config calls every loaded model tied; transformers before 5 would then read the head as the embeddings."""
    t5 = make_model((3,), v10=v10).t5
    for name in ("once", "twice", "thrice"):
        t5.save_pretrained(tmp_path / name)
        assert json.loads((tmp_path / name / "config.json").read_text())["tie_word_embeddings"] == v10
        again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / name)
        assert (again.lm_head.weight is again.shared.weight) == v10
        assert again.config.scale_decoder_outputs == v10
        torch.testing.assert_close(again.lm_head.weight, t5.lm_head.weight)
        t5 = load_t5(str(tmp_path / name))


@pytest.mark.parametrize("v10", [True, False])
def test_a_pretrained_model_keeps_what_it_knew_and_gets_code_tokens(tmp_path, make_model, v10):
    old = make_model((1,), v10=v10).t5
    old.save_pretrained(tmp_path)
    tokenizer = train_tokenizer(["a b"], 300)
    model = new_model(ModelConfig(pretrained=str(tmp_path)), tokenizer, SIZES)
    assert model.layout.base == 21
    assert model.t5.config.vocab_size == 21 + sum(SIZES) == len(model.t5.shared.weight)
    assert (model.t5.lm_head.weight is model.t5.shared.weight) == v10
    ids, mask = inputs()
    labels = torch.tensor([[4, 5]] * 3)
    new = model.t5.train(False)(input_ids=ids, attention_mask=mask, labels=labels).logits[..., :21]
    torch.testing.assert_close(new, old(input_ids=ids, attention_mask=mask, labels=labels).logits)
    with torch.no_grad():
        assert model.sequence_logps(model.encode(ids, mask), all_codes()[:2].expand(3, -1, -1)).isfinite().all()


def test_names_that_lead_nowhere_are_one_line(tmp_path):
    for load in (load_t5, load_tokenizer):
        with pytest.raises(GenirError, match="cannot be loaded") as error:
            load(str(tmp_path / "nothing"))
        assert "\n" not in str(error.value)


def test_the_official_t5_tokenizer_pads_right_and_ends_with_eos(root):
    folder = root.parent / "shared" / "data" / "t5-tokenizer"
    if not folder.exists():
        pytest.skip("the T5 tokenizer of ../shared/data is not here")
    from genir.tokenizer import tokenize

    batch = tokenize(load_tokenizer(str(folder)), ["who wrote this", "a much longer question about owls"], 8)
    assert batch["input_ids"].shape[1] <= 8
    assert (batch["input_ids"] == 1).sum(1).tolist() == [1, 1]
    assert batch["attention_mask"][0].tolist() == sorted(batch["attention_mask"][0].tolist(), reverse=True)


def test_only_t5_is_taken(tmp_path):
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=30, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(GenirError, match="BartForConditionalGeneration, but a T5"):
        load_t5(str(tmp_path))
