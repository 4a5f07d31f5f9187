"""Lets KTransformers run with no accelerator at all, every expert on the CPU.

Its Python part asks for CUDA streams and events, and for pinned memory, whether there is a GPU or
not. With KT_FORCE_SYNC_SUBMIT and SGLANG_KT_HYBRID_NO_CPU_STREAM nothing runs beside anything else,
so there is nothing that a stream could order, and no device that pinned memory could be copied to.
Where torch is built with CUDA, all is left as it is.
"""

import functools

import around_import

PINNABLE = ("empty", "full", "zeros")


class NoStream:
    """A stream, an event, and the block inside which a stream is the current one."""

    cuda_stream = 0  # the handle of the default stream

    def __init__(self, *arguments, **named):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def wait_stream(self, stream):
        pass

    def wait_event(self, event):
        pass

    def record(self, stream=None):
        pass

    def synchronize(self):
        pass


def install():
    around_import.before("sglang", _replace)


def _replace():
    import torch

    if torch.version.cuda is not None:
        return
    torch.cuda.Stream = torch.cuda.Event = NoStream
    torch.cuda.stream = lambda stream: stream
    torch.cuda.current_stream = lambda device=None: NoStream()
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.get_device_capability = lambda device=None: (0, 0)  # asked while it is imported
    torch.Tensor.record_stream = lambda tensor, stream: None
    for name in PINNABLE:
        setattr(torch, name, _unpinned(getattr(torch, name)))


def _unpinned(make):
    """`make`, its memory never pinned."""

    @functools.wraps(make)
    def made(*arguments, pin_memory=False, **named):
        return make(*arguments, **named)

    return made
