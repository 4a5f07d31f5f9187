"""What of vLLM can be left out, or replaced, to see where a difference comes from.

Read in vLLM 0.32.0: the prefix cache is on unless it is switched off, and off for MLA on a CPU,
whatever is asked; a CPU has one attention backend a kind of model, and takes another name for that
one; without `enforce-eager` a GPU gets graphs and compiled code; `custom_ops` "none" leaves each
operator to PyTorch.
"""

from __future__ import annotations

from launchers.dialect import Toggle
from launchers.model_files import latent_attention
from launchers.pins import LoadedPin


def toggles(loaded: LoadedPin) -> tuple[Toggle, ...]:
    """As `Launcher.toggles`."""
    args, on_cpu = loaded.pin.args, loaded.pin.hardware == "cpu"
    latent = latent_attention(loaded.model_path)
    found: list[Toggle] = []
    if args.get("enable-prefix-caching", True) and not (latent and on_cpu):
        found.append(
            Toggle(name="without the prefix cache", changes=("args.enable-prefix-caching=false",))
        )
    compiled = args.get("compilation-config")
    if compiled is None or (isinstance(compiled, dict) and compiled.get("custom_ops") != ["none"]):
        found.append(
            Toggle(
                name="without its own compiled operators",
                changes=('args.compilation-config.custom_ops=["none"]',),
            )
        )
    if not args.get("enforce-eager", False):
        found.append(
            Toggle(name="without graphs and compilation", changes=("args.enforce-eager=true",))
        )
    if not on_cpu:
        other = "TRITON_MLA" if latent else "TRITON_ATTN"
        if args.get("attention-backend") != other:
            found.append(
                Toggle(
                    name=f"with the attention backend {other}",
                    changes=(f"args.attention-backend={other}",),
                )
            )
    return tuple(found)
