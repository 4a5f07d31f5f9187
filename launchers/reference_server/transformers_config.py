"""The config that Transformers is given where it would not read the folder's own as we do.

Transformers reads int4 only with the compressed-tensors package, knows `kimi_k2` by the name of its
architecture, deepseek_v3, and would load a wrapper with its vision tower.
"""

from checkpoint_config import LanguageModelConfig
from transformers import AutoConfig, PreTrainedConfig

RENAMED = {"kimi_k2": "deepseek_v3"}  # Kimi's model_type: Transformers' name of the architecture


def own_config(language: LanguageModelConfig) -> PreTrainedConfig | None:
    """Of the language model alone, its weights being plain; None: the folder's config.json does."""
    kind = language.keys.get("model_type")
    if language.packing is None and not language.prefix and kind not in RENAMED:
        return None
    return AutoConfig.for_model(**language.keys | {"model_type": RENAMED.get(kind, kind)})
