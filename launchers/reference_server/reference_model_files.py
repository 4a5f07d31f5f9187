"""What the server itself reads from a model folder: config.json and the ids that end an answer."""

import json
from dataclasses import dataclass
from pathlib import Path

from checkpoint_config import read_language_config


class ModelFolderError(ValueError):
    """The folder does not hold a model that this server can serve; says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What a request must respect."""

    vocabulary_size: int
    max_length: int  # tokens of a prompt and its answer together
    end_ids: frozenset[int]  # empty: nothing ends an answer early


def read_limits(folder: Path) -> ModelLimits:
    """Read config.json and, if there is one, generation_config.json.

    Raises ModelFolderError if config.json, the safetensors, or a key is not there.
    """
    if not (folder / "config.json").is_file():
        raise ModelFolderError(f"{folder}: no config.json; expected a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        raise ModelFolderError(f"{folder}: no *.safetensors; expected the model's weights")
    config = read_language_config(folder).keys
    for key in ("vocab_size", "max_position_embeddings"):
        if key not in config:
            raise ModelFolderError(f"{folder}/config.json: {key} is missing")
    return ModelLimits(
        vocabulary_size=config["vocab_size"],
        max_length=config["max_position_embeddings"],
        end_ids=_end_ids(folder, config),
    )


def _end_ids(folder: Path, config: dict) -> frozenset[int]:
    """generation_config.json decides if it names eos_token_id, else config.json."""
    path = folder / "generation_config.json"
    generation = json.loads(path.read_text()) if path.is_file() else {}
    found = generation.get("eos_token_id", config.get("eos_token_id"))
    if found is None:
        return frozenset()
    return frozenset(found if isinstance(found, list) else [found])
