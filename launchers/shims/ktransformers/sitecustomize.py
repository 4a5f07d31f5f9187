"""Python imports this by itself when it starts, in every process of the engine.

It puts the shims of this folder in place, and the one that KTransformers' fork shares with SGLang.
They run in the engine's environment and compute nothing. On a node with GPUs a pin can name this
folder alone: the window opens, and what stands in for an accelerator stays away.
"""

import kept_weights
import no_accelerator
import torchvision_schemas
import window

torchvision_schemas.install()
no_accelerator.install()
kept_weights.install()
window.install()
