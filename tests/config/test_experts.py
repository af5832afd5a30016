from typing import get_args

import pytest
from pydantic import ValidationError

from genir.config import Mix, load_config
from genir.config.experiment import Config
from genir.config.experts import BM25ExpertConfig, ExpertsConfig, LexicalExpertConfig
from genir.config.training import TrainingPhase


def make(**values):
    return Config.model_validate({"name": "x", "collection": {"path": "y"}} | values)


def test_bm25_takes_part_by_default_with_parameters_that_are_fitted():
    config = make()
    assert config.uses_experts
    for section in ("text", "title", "characters"):
        assert getattr(config.experts.lexical, section) == BM25ExpertConfig(k1=None, b=None, weight=None)
    assert config.model.softmax_over == "trie"


@pytest.mark.parametrize("experts", [None, {"lexical": None}])
def test_experts_can_be_left_out(experts):
    assert not make(experts=experts).uses_experts
    assert not make(experts=experts, model={"softmax_over": "full"}).uses_experts


@pytest.mark.parametrize("experts", [{}, {"lexical": {}}, {"lexical": {"text": {"weight": 2.0}, "title": None}}])
def test_experts_need_a_softmax_over_the_trie(experts):
    assert make(experts=experts, model={"softmax_over": "trie"}).uses_experts
    with pytest.raises(ValidationError, match=r"experts need model\.softmax_over=trie; with full, set experts=null"):
        make(experts=experts, model={"softmax_over": "full"})


def test_the_old_softmax_over_the_codebook_of_a_level_is_an_error_that_names_the_key():
    with pytest.raises(ValidationError, match=r"model\.softmax_over\n.*'trie' or 'full'"):
        make(model={"softmax_over": "level"})


@pytest.mark.parametrize("weight", [-0.1, 1001, "1", True, float("nan")])
def test_a_weight_is_a_number_from_zero_to_a_thousand(weight):
    assert BM25ExpertConfig(weight=0.0).weight == 0
    with pytest.raises(ValidationError, match="weight"):
        BM25ExpertConfig(weight=weight)


def test_the_expert_for_the_text_cannot_be_left_out_alone():
    with pytest.raises(ValidationError, match="text"):
        LexicalExpertConfig(text=None)


def test_unknown_experts_are_errors():
    with pytest.raises(ValidationError, match="sparse"):
        ExpertsConfig(sparse={})


@pytest.mark.parametrize("method", ["tfidf", "vectors.npy", "minilm", "some/model"])
def test_vectors_are_an_expert_if_a_model_computes_them(method):
    lexical_off = {"lexical": None}
    is_model = method in ("minilm", "some/model")
    assert (make(embed={"method": method}).dense_expert is not None) == is_model
    assert make(embed={"method": method}, experts=lexical_off).uses_experts == is_model
    assert make(embed={"method": method}, experts={"dense": None}).dense_expert is None
    assert make(embed={"method": method}, experts=None).dense_expert is None


def test_all_kinds_of_examples_are_trained_with_experts_unless_the_phase_says_otherwise():
    assert {*TrainingPhase().experts_for} == {*get_args(Mix)}
    assert TrainingPhase(experts_for=[]).experts_for == []
    with pytest.raises(ValidationError, match="experts_for"):
        TrainingPhase(experts_for=["documents"])


def test_configs_that_repeat_ddro_have_its_softmax_and_each_has_a_counterpart_with_experts(root):
    """Both have the same collection, docids, model and baseline, so that the scores and the training differ alone."""
    configs = {path.stem: load_config(path) for path in sorted((root / "configs").glob("*.yaml"))}
    published = {name: config for name, config in configs.items() if config.collection.published}
    repeated = {name for name in published if not name.endswith("-experts")}
    assert len(repeated) == 8
    assert published.keys() == repeated | {f"{name}-experts" for name in repeated}
    for name in repeated:
        config, counterpart = published[name], published[f"{name}-experts"]
        assert (config.model.softmax_over, config.uses_experts) == ("full", False)
        assert (counterpart.model.softmax_over, counterpart.uses_experts) == ("trie", True)
        assert counterpart.dense_expert is None
        for section in ("collection", "embed", "docids", "queries", "baseline", "evaluate"):
            assert getattr(config, section) == getattr(counterpart, section)
        assert config.model == counterpart.model.model_copy(update={"softmax_over": "full"})
