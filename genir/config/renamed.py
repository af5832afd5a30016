"""Settings that had other names in earlier versions: their new names, for error messages and for stored docid tables."""

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
"""Section -> old key -> new key."""


def renamed_key(section: str, key: str) -> str | None:
    """The new name of an old key of a section, as a dotted key; None where the key was never one."""
    new = RENAMED.get(section, {}).get(key)
    return None if new is None else f"{section}.{new}".lstrip(".")


def update_docid_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The docids section that a docid table was stored with, in the names of this version."""
    names = RENAMED["docids"]
    return {names.get(key, key): value for key, value in settings.items()}
