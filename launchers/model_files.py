"""What a model folder holds: which files can change an output, and their sha256.

Files of the folder itself count, and shards that a safetensors index names; other subfolders hold
copies in other formats or pictures, and no engine of ours reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import ConfigError
from launchers import hash_cache, parallel_hash, weight_files
from launchers.hash_cache import HashCache
from launchers.parallel_hash import Announce

CHANGES_OUTPUTS = re.compile(r".*\.(safetensors|json|jinja|model|tiktoken|py)")


def silent(_line: str) -> None:
    """Announces nothing."""


def require_model(folder: Path) -> None:
    """Raises ConfigError unless `folder` is a model folder with configuration and all weights."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such model folder")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: holds no config.json; it is not a model folder")
    if not any(folder.glob("*.safetensors")) and not weight_files.named_by_indexes(folder):
        raise ConfigError(f"{folder}: holds no weights (*.safetensors)")
    weight_files.require_all(folder)


def names(folder: Path) -> list[str]:
    """The files of a model folder that can change an output, in order; those there by name."""
    own = {p.name for p in folder.iterdir() if CHANGES_OUTPUTS.fullmatch(p.name)}
    return sorted(own | weight_files.named_by_indexes(folder))


def hash_files(folder: Path, announce: Announce = silent) -> dict[str, str]:
    """sha256 of each file of a model folder that can change an output. Raises ConfigError."""
    require_model(folder)
    return hash_names(folder, names(folder), announce)


def hash_names(folder: Path, chosen: Sequence[str], announce: Announce = silent) -> dict[str, str]:
    """sha256 of these files of the folder: from the cache, or read, several at once.

    Raises ConfigError where one cannot be read, changes meanwhile, or is not whole.
    """
    cache = hash_cache.opened()
    known = {name: _known(folder / name, cache) for name in chosen}
    unread = [folder / name for name, sha256 in known.items() if sha256 is None]
    hashed = parallel_hash.hash_all(unread, cache, title=folder.name, announce=announce)
    return {name: sha256 or hashed[folder / name] for name, sha256 in known.items()}


def _known(path: Path, cache: HashCache) -> str | None:
    """The file's hash where it was read before; else None, and the file is whole."""
    try:
        sha256 = cache.get(hash_cache.state_of(path, path.stat()))
        if sha256 is None and path.suffix == ".safetensors":
            weight_files.require_whole(path)
    except OSError as error:  # a link to nothing, say
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return sha256


def latent_attention(folder: Path) -> bool:
    """Whether a model's attention is MLA, as its config.json says."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return "kv_lora_rank" in config.get("text_config", config)  # of a multimodal model
