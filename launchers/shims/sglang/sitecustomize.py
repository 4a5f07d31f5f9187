"""Python imports this by itself when it starts, in every process of the engine.

It puts the shims of this folder in place. They run in the engine's environment, and compute
nothing: they let SGLang's own pure-torch path load where its GPU kernels are not installed.
"""

import absorbed_mla
import torchvision_schemas

torchvision_schemas.install()
absorbed_mla.install()
