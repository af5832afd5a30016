"""Loading and saving Hugging Face models, whose heads must stay tied or separate."""

import json

import pytest
import torch
import transformers
from transformers import AutoModelForSeq2SeqLM, BartConfig, BartForConditionalGeneration, T5Config
from transformers import T5ForConditionalGeneration as T5

from genir.errors import GenirError
from genir.t5.loading import load_seq2seq, load_t5, set_dropout, silence_transformers, untie
from tests.helpers.models import make_model

CONFIG = {"vocab_size": 30, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}


def logits(t5):
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        return t5.train(False)(input_ids=ids, labels=torch.tensor([[5, 6]])).logits


def test_an_untied_head_is_saved_and_loaded_as_a_separate_tensor(tmp_path):
    t5 = T5(T5Config(**CONFIG, decoder_start_token_id=0))
    head = torch.randn(30, 8)
    untie(t5, head)
    expected = logits(t5)
    t5.save_pretrained(tmp_path)
    for loaded in (load_t5(str(tmp_path)), AutoModelForSeq2SeqLM.from_pretrained(tmp_path)):
        assert loaded.lm_head.weight is not loaded.shared.weight
        assert torch.equal(loaded.lm_head.weight, head)
        torch.testing.assert_close(logits(loaded), expected)


@pytest.mark.parametrize("v10", [True, False])
def test_a_model_that_is_loaded_and_saved_again_stays_tied_or_untied(tmp_path, v10):
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


def test_a_model_is_loaded_in_fp32_and_evaluation_mode(tmp_path):
    make_model((3,)).t5.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = load_seq2seq(str(tmp_path), "cpu")
    assert loaded.dtype == torch.float32
    assert not loaded.training


def test_a_missing_model_is_a_one_line_error(tmp_path):
    with pytest.raises(GenirError, match="nothing: cannot be loaded as a seq2seq model") as error:
        load_t5(str(tmp_path / "nothing"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", 7.5, "", "meta"])
def test_a_device_that_cannot_be_used_is_a_one_line_error(tmp_path, device):
    make_model((3, 4)).t5.save_pretrained(tmp_path)
    with pytest.raises(GenirError, match=r"the device .* cannot be used: ") as error:
        load_t5(str(tmp_path), device)
    assert "\n" not in str(error.value)


def test_a_damaged_model_file_is_a_one_line_error_that_names_it(tmp_path):
    make_model((3,)).t5.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(GenirError, match=r"model\.safetensors: damaged") as error:
        load_t5(str(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_layers": 2}, "its weights lack 8 tensors of its config.json, such as encoder.block.1.layer"),
        ({"num_decoder_layers": 2}, "its weights lack 13 tensors of its config.json, such as decoder.block.1.layer"),
        ({"d_ff": 16}, "its weights do not have the shapes of its config.json"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_an_error(tmp_path, change, words):
    """transformers alone would initialise the missing weights at random, with a warning."""
    T5(T5Config(**CONFIG, decoder_start_token_id=0)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(GenirError, match=words):
        load_seq2seq(str(tmp_path))


def test_weights_of_more_layers_than_the_config_has_are_an_error(tmp_path):
    T5(T5Config(**CONFIG | {"num_layers": 2}, decoder_start_token_id=0)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_layers": 1}))
    with pytest.raises(GenirError, match="its weights have 8 tensors of layers that its"):
        load_seq2seq(str(tmp_path))


def test_code_in_a_model_folder_is_not_run(tmp_path):
    T5(T5Config(**CONFIG, decoder_start_token_id=0)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    names = {"AutoConfig": "code.MyConfig", "AutoModelForSeq2SeqLM": "code.MyModel"}
    (tmp_path / "config.json").write_text(json.dumps(config | {"auto_map": names, "model_type": "mine"}))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with pytest.raises(GenirError, match="cannot be loaded as a seq2seq model"):
        load_seq2seq(str(tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_model_other_than_a_t5_is_an_error(tmp_path):
    config = BartConfig(
        vocab_size=30, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    assert isinstance(load_seq2seq(str(tmp_path)), BartForConditionalGeneration)
    with pytest.raises(GenirError, match="is a BartForConditionalGeneration, but a T5 is needed"):
        load_t5(str(tmp_path))


def test_dropout_is_set_in_every_layer_and_in_attention_weights():
    t5 = make_model((3,)).t5.train()
    ids = torch.tensor([[3, 4, 5]])

    def outputs(rate):
        set_dropout(t5, rate)
        return [t5(input_ids=ids, labels=ids).logits for _ in range(2)]

    assert not torch.equal(*outputs(0.5))
    assert torch.equal(*outputs(0.0))
    for attention in (block.layer[0].SelfAttention for block in (*t5.encoder.block, *t5.decoder.block)):
        set_dropout(t5, 0.25)
        assert attention.dropout == t5.config.dropout_rate == 0.25


@pytest.mark.parametrize("bars", [True, False])
def test_the_log_level_and_progress_bars_of_transformers_are_restored(bars):
    log = transformers.logging
    before = log.get_verbosity(), log.is_progress_bar_enabled()
    (log.enable_progress_bar if bars else log.disable_progress_bar)()
    log.set_verbosity_info()
    try:
        with pytest.raises(ValueError, match="inside"), silence_transformers():
            assert log.get_verbosity() == log.ERROR
            assert not log.is_progress_bar_enabled()
            raise ValueError("inside")
        assert (log.get_verbosity(), log.is_progress_bar_enabled()) == (log.INFO, bars)
    finally:
        log.set_verbosity(before[0])
        (log.enable_progress_bar if before[1] else log.disable_progress_bar)()
