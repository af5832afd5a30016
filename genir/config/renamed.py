"""Settings that had other names in earlier versions: their new names, for error messages and stored docid tables."""

from collections.abc import Mapping
from typing import Any

_LOOP = {"embedding_rate": "embedding_lr_multiplier"}
_REFINEMENT = _LOOP | {
    "pool": "pool_size",
    "beam": "beam_candidates",
    "mined": "mined_candidates",
    "candidates": "candidates_per_step",
    "at_once": "candidate_chunk",
    "positions": "irpo_options.discount_by",
    "self_term": "irpo_options.self_term",
    "mean_rest": "irpo_options.average_others",
    "normalize_weights": "irpo_options.normalize_weights",
    "floor_coef": "dpop_coef",
    "reanchor": "update_reference",
}
RENAMED: Mapping[str, Mapping[str, str]] = {
    "": {"folder": "runs_dir"},
    "collection": {"build": "published"},
    "docids": {"codes": "codebook_size", "beam": "encoder_beam", "latent": "latent_dim", "hidden": "hidden_dim"},
    "model": {"vocabulary": "vocab_size", "lexical_start": "init", "normalize": "softmax_over"},
    "sft": _LOOP | {"stages": "phases"},
    "ddro": _REFINEMENT,
    "irpo": _REFINEMENT,
}
"""Section -> old key -> new key, both relative to the section. Top-level keys are in the section ""."""
RENAMED_VALUES: Mapping[str, Mapping[str | bool, str]] = {
    "init": {True: "bm25", False: "random"},
    "irpo_options.discount_by": {"model": "policy"},
}
"""New key, relative to its section -> old value -> new value; other values have not changed."""


def explain_renamed(key: str, value: Any) -> str | None:
    """Explain how the setting `key=value` of an earlier version is written now; None if there was no such setting."""
    section, _, name = key.rpartition(".")
    new = RENAMED.get(section, {}).get(name)
    if new is None:
        return None
    values = RENAMED_VALUES.get(new, {})
    new_value = values.get(value) if isinstance(value, str | bool) else None
    new_key = f"{section}.{new}".lstrip(".")
    return f"{key} is now called {new_key}" + (f"; write {new_key}={new_value}" if new_value else "")


def update_docid_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the docids section that is stored with a docid table to the names of this version."""
    names = RENAMED["docids"]
    return {names.get(key, key): value for key, value in settings.items()}
