"""Has the backend torch_native take SGLang's own absorbed way through multi-head latent attention.

SGLang has no row for torch_native in its table of ways, and takes Triton's: a fresh prompt goes the
un-absorbed way, which wants a backend that is handed keys and values, while torch_native reads them
from the cache, where this architecture keeps latents. GPU backends go the absorbed way in decoding.
"""

import around_import

TABLE = "sglang.srt.models.deepseek_common.attention_backend_handler"


def install():
    around_import.after(TABLE, _add_row)


def _add_row(table):
    table.AttentionBackendRegistry.register("torch_native", lambda *_: table.AttnForwardMethod.MLA)
