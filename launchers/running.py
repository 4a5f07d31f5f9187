"""Configured = running: a pin held against what the engine that it started says of itself. Pure.

An engine may leave a flag unread, correct it, or settle by itself what was left open: a dtype of
`auto`, say, so that the pin's promise is broken although every flag is as pinned. So both are
compared: each flag, what the numerics class implies, and what a request that samples nothing by
itself is sampled with. What the engine does not report is said, and never taken as equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from launchers.pins import OWN, Pin

NONE = "none"  # nothing is quantised
LEFT_OPEN = "auto"  # a flag's value that says nothing
DTYPE_NAMES = {"float": "float32", "half": "float16"}  # as flags may have them -> as torch has them
SAMPLING = "sampling defaults"
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}  # of a class that is nothing but a dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a running engine says of itself. None, or a flag that is absent: it does not say.

    dtypes are named as torch names them, without `torch.`.
    """

    version: str | None = None
    dtype: str | None = None  # of weights and activations
    kv_cache_dtype: str | None = None
    quantization: str | None = None  # of weights: a method, or NONE
    flags: Mapping[str, object] = field(default_factory=dict[str, object])  # `max_model_len`: value
    # Of a request that sends none: API -> names of the pin's [sampling] -> value.
    sampling: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, Mapping[str, object]]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that runs otherwise than the pin says."""

    key: str
    pinned: str
    running: str

    def __str__(self) -> str:
        return f"{self.key}: the pin says {self.pinned}, the engine runs {self.running}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A pin and its running engine, key by key."""

    equal: tuple[str, ...]
    differences: tuple[Difference, ...]
    unreported: tuple[str, ...]


def compare(pin: Pin, reported: Reported) -> Comparison:
    """Every key that the pin fixes falls under one of the three."""
    equal: list[str] = []
    differences: list[Difference] = []
    unreported: list[str] = []
    rows = [*_promises(pin, reported), *_flags(pin, reported), *_sampling(pin, reported)]
    for key, pinned, running in rows:
        if running is _UNREPORTED:
            unreported.append(key)
        elif pinned == running:
            equal.append(key)
        else:
            differences.append(Difference(key=key, pinned=_read(pinned), running=_read(running)))
    return Comparison(
        equal=tuple(equal), differences=tuple(differences), unreported=tuple(unreported)
    )


_UNREPORTED = object()
Row = tuple[str, object, object]  # key, what is pinned, what runs


def _promises(pin: Pin, reported: Reported) -> Iterator[Row]:
    yield "engine.version", pin.engine.version, _or_unreported(reported.version)
    dtype = DTYPES.get(pin.numerics)
    if dtype is not None:
        because = f"(numerics {pin.numerics})"
        yield f"dtype {because}", dtype, _or_unreported(reported.dtype)
        yield f"KV cache dtype {because}", dtype, _or_unreported(reported.kv_cache_dtype)
        yield f"quantisation {because}", NONE, _or_unreported(reported.quantization)


def _flags(pin: Pin, reported: Reported) -> Iterator[Row]:
    for flag, value in pin.args.items():
        if value != LEFT_OPEN:
            name = flag.replace("-", "_")
            running = reported.flags.get(name, _UNREPORTED)
            if name == "dtype":
                value, running = (DTYPE_NAMES.get(dtype, dtype) for dtype in (value, running))
            yield f"args.{flag}", value, running


def _sampling(pin: Pin, reported: Reported) -> Iterator[Row]:
    """A row for each parameter that the engine would sample otherwise; one where there is none.

    The gateway before an enforced pin sends every one of them: the engine's own are not in use.
    """
    if pin.serving.enforced:
        return
    if not reported.sampling:
        yield SAMPLING, None, _UNREPORTED
    pinned = asdict(pin.sampling)
    for api, applied in reported.sampling.items():
        wrong = [name for name, value in applied.items() if value != pinned[name]]
        for name in wrong:
            yield f"sampling.{name} of a {api} that sends none", pinned[name], applied[name]
        if not wrong:
            yield f"{SAMPLING} of a {api}", None, None


def applied(changed: Mapping[str, object]) -> dict[str, object]:
    """All parameters of a request that sends none, where a server changes some of the neutral ones.

    A top-k of -1 is off, as 0 is.
    """
    own = asdict(OWN)
    return own | {
        name: 0 if (name, value) == ("top_k", -1) else value
        for name, value in changed.items()
        if name in own
    }


def _or_unreported(value: str | None) -> object:
    return _UNREPORTED if value is None else value


def _read(value: object) -> str:
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, default=str)
