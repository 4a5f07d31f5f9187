"""Python imports this by itself when it starts, in every process of the engine.

It puts the shims of this folder in place, and those of SGLang that KTransformers' fork needs too,
which lie in the next folder of the path. They run in the engine's environment and compute nothing.
"""

import kept_weights
import no_accelerator
import torchvision_schemas
import window

torchvision_schemas.install()
no_accelerator.install()
kept_weights.install()
window.install()
