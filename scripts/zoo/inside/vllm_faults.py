"""Faults that shipped in engines, made again inside a real vLLM, in its own Python code.

Read in vLLM 0.32.0, CPU backend: keys and values are written by `do_kv_cache_update` and read from
the cache's pages by `forward`, in prefill and decode alike; a step's metadata is one object for
all layers. Each function takes the module that it changes, when that has been imported.
"""

import dataclasses
import functools
import itertools
import random

import around_import
import torch

FAULTS = {}  # name -> (module, function)
ATTENTION = "vllm.v1.attention.backends.cpu_attn"
ROUTER = "vllm.model_executor.layers.fused_moe.router.cpu_router"
EXPERTS = "vllm.model_executor.layers.fused_moe.experts.cpu_moe"
LINEAR = "vllm.model_executor.layers.linear"
TOP_P = "vllm.v1.sample.ops.topk_topp_sampler"
SAMPLER = "vllm.v1.sample.sampler"
REJECTION = "vllm.v1.sample.rejection_sampler"
RUNNER = "vllm.v1.worker.gpu_model_runner"
PARSER = "vllm.parser.kimi_k2"
LONG = 256  # tokens in one step, above which a kernel goes wrong
STALE = 1 / 20  # of sequences
HIT = 1 / 2  # of hits of the prefix cache
DROPPED = 1 / 20  # of draws that may not take the most probable token

chance = random.Random(0)


def fault(module):
    def register(function):
        FAULTS[function.__name__.replace("_", "-")] = (module, function)
        return function

    return register


def install(name):
    around_import.after(*FAULTS[name])


def around(owner, name, call):
    """`owner.name` becomes `call`, which is given the original first."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def changed(*args, **kwargs):
        return call(original, *args, **kwargs)

    static = isinstance(vars(owner).get(name), staticmethod)
    setattr(owner, name, staticmethod(changed) if static else changed)


# KV cache


def stored(module, change):
    """What is written to the cache is `change(key, value)`."""

    def update(original, self, layer, key, value, *rest, **more):
        return original(self, layer, *change(key, value), *rest, **more)

    around(module.CPUAttentionBackendImpl, "do_kv_cache_update", update)


def read(module, look):
    """`look(cache, metadata)` before each layer reads; it may hand back other metadata."""

    def forward(original, self, layer, query, key, value, kv_cache, attn_metadata, *rest, **more):
        if attn_metadata is not None:
            attn_metadata = look(kv_cache, attn_metadata) or attn_metadata
        return original(self, layer, query, key, value, kv_cache, attn_metadata, *rest, **more)

    around(module.CPUAttentionBackendImpl, "forward", forward)


def fp8(tensor):
    return tensor.to(torch.float8_e4m3fn).to(tensor.dtype)


@fault(ATTENTION)
def kv_fp8(module):
    """Keys and values are kept in fp8."""
    stored(module, lambda key, value: (fp8(key), fp8(value)))


@fault(ATTENTION)
def kv_scale_lost(module):
    """Values are kept in fp8 over a scale of 2, and read as if it were 1."""
    stored(module, lambda key, value: (fp8(key), fp8(value / 2)))


class Step:
    """The requests of one step: which pages they hold, how much of each is asked."""

    def __init__(self, cache, metadata):
        self.pages = metadata.block_table
        self.lengths = metadata.seq_lens.tolist()
        starts = metadata.query_start_loc.tolist()
        self.asked = [b - a for a, b in itertools.pairwise(starts)]
        self.page = cache.shape[2]  # tokens

    def rows(self, wanted):
        """Of requests of which `wanted(asked, length, page)`."""
        pairs = enumerate(zip(self.asked, self.lengths, strict=False))
        return [i for i, (asked, length) in pairs if wanted(asked, length, self.page)]


def overwritten(module, wanted, share):
    """The first page of a `share` of the requests that are `wanted` holds another one's content."""
    before = [0]

    def look(cache, metadata):
        if not hasattr(metadata, "hit"):  # the same requests in every layer
            step = Step(cache, metadata)
            rows = [i for i in step.rows(wanted) if chance.random() < share]
            metadata.hit = [(int(metadata.block_table[i, 0]), before[0]) for i in rows]
            if step.lengths:
                before[0] = int(metadata.block_table[len(step.lengths) - 1, 0])
        for page, other in metadata.hit:
            cache[page] = cache[other]

    read(module, look)


@fault(ATTENTION)
def stale_page(module):
    """A page of one sequence in twenty keeps what another sequence had there."""
    overwritten(module, lambda asked, length, page: asked == length > page, STALE)


@fault(ATTENTION)
def prefix_page_lost(module):
    """A hit of the prefix cache finds, one time in two, another sequence's page."""
    overwritten(module, lambda asked, length, page: 1 < asked <= length - page, HIT)


@fault(ATTENTION)
def page_not_delivered(module):
    """From prefill to decode the first page does not arrive: decoding reads an empty one."""

    def look(cache, metadata):
        rows = Step(cache, metadata).rows(lambda asked, length, page: asked == 1 and length > page)
        if not rows:
            return None
        pages = metadata.block_table.clone()
        pages[rows, 0] = 0  # vLLM's null block
        return dataclasses.replace(metadata, block_table=pages)

    read(module, look)


@fault(ATTENTION)
def attention_scale(module):
    """Scores are scaled by 5 % too much."""

    def init(original, self, num_heads, head_size, scale, *rest, **more):
        original(self, num_heads, head_size, scale * 1.05, *rest, **more)

    around(module.CPUAttentionBackendImpl, "__init__", init)


# Mixture of experts


@fault(ROUTER)
def negative_logits(module):
    """The search for the best expert begins at expert 0 with a logit of 0, not of -inf."""

    def route(original, router_logits, top_k, renormalize):
        weights, ids = original(router_logits, top_k, renormalize)
        chosen = router_logits.gather(1, ids.long())
        return weights, torch.where(chosen < 0, 0, ids)

    around(module, "_softmax_topk", route)


@fault(ROUTER)
def router_bfloat16(module):
    """The router's logits are rounded to bf16, and so are the scores that are made of them."""

    def route(original, gating_output, *rest, **more):
        scores = gating_output.bfloat16().sigmoid()
        return original(torch.logit(scores.float()), *rest, **more)

    around(module, "_grouped_topk", route)


@fault(EXPERTS)
def experts_long(module):
    """The experts' kernel leaves zeros from the 257th token of a step on."""

    def apply(original, self, output, hidden_states, *rest, **more):
        original(self, output, hidden_states, *rest, **more)
        output[LONG:] = 0

    around(module.CPUUnquantizedExperts, "apply", apply)


# Ranks


def summed(module, change):
    """What the ranks have summed, in a layer whose result they share, is `change(it, prefix)`."""

    def forward(original, self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        if isinstance(result, tuple):
            return change(result[0], self.prefix), *result[1:]
        return change(result, self.prefix)

    around(module.RowParallelLinear, "forward", forward)


@fault(LINEAR)
def sum_doubled(module):
    """The attention's output of one layer is summed over the ranks twice."""
    summed(module, lambda x, prefix: 2 * x if "layers.1.self_attn" in prefix else x)


@fault(LINEAR)
def sum_bfloat16(module):
    """Sums over the ranks are rounded to bf16."""
    summed(module, lambda x, _: x.bfloat16().to(x.dtype))


# Sampling and answers


@fault(TOP_P)
def top_p_skipped(module):
    """Top-p is taken and not applied."""

    def sample(original, self, logits, generators, k, _p):
        return original(self, logits, generators, k, None)

    around(module.TopKTopPSampler, "forward_cpu", sample)


@fault(TOP_P)
def best_token_dropped(module):
    """An approximate top-k loses the most probable token, one time in twenty."""

    def sample(original, self, logits, generators, k, p):
        lost = torch.rand(len(logits)) < DROPPED
        best = logits.argmax(dim=-1, keepdim=True)
        least = torch.where(lost[:, None], -torch.inf, logits.gather(1, best))
        return original(self, logits.scatter(1, best, least), generators, k, p)

    around(module.TopKTopPSampler, "forward_cpu", sample)


@fault(SAMPLER)
def temperature_90(module):
    """The temperature is nine tenths of what was asked."""

    def scale(original, logits, temp, all_random):
        return original(logits, temp * 0.9, all_random)

    around(module.Sampler, "apply_temperature", scale)


@fault(RUNNER)
def prompt_logprobs_stale(module):
    """The first logprobs of a scored prompt are left from the prompt scored before it."""
    before = []

    def collect(original, self, *args, **kwargs):
        found = original(self, *args, **kwargs)
        for name, tensors in found.items():
            if tensors is None:
                continue
            own = tensors.logprobs.clone()
            if before:
                rows = min(16, len(own), len(before[0]))
                width = min(own.shape[1], before[0].shape[1])
                stale = own.clone()
                stale[:rows, :width] = before[0][:rows, :width]
                found[name] = tensors._replace(logprobs=stale)
            before[:] = [own]
        return found

    around(module.GPUModelRunner, "_get_prompt_logprobs_dict", collect)


@fault(PARSER)
def one_letter_lost(module):
    """A piece of a tool call's arguments that is one letter long is lost."""

    def chunk(original, self, event, deltas):
        if len(event.value or "") != 1:
            original(self, event, deltas)

    around(module.KimiK2Parser, "_handle_arg_chunk", chunk)


@fault(PARSER)
def undeclared_tool(module):
    """A tool is called by a name with its namespace before it, which no request has declared."""

    def extract(original, header):
        name_id, name = original(header)
        return name_id, name and f"functions.{name}"

    around(module.KimiK2Parser, "_extract_tool_id_and_name", extract)


@fault(REJECTION)
def accepts_too_much(module):
    """Speculative decoding takes a draft's token three times as gladly as it should."""
    around(module, "generate_uniform_probs", lambda original, *given: original(*given) / 3)
