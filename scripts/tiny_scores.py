"""What a tiny model on disk can do, measured on held-out tasks.

Answers are greedy, in fp32, from the checkpoint as saved (so after rounding). An answer is right
when its text and its tool calls both equal the expected ones.
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_tasks
import tiny_tools
import torch
from make_corpus import corpus
from tiny_tasks import Dialogue
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

CASES = 100
BATCH = 20
ANSWER_TOKENS = 112
SAMPLE_TOKENS = 48
CALL = re.compile(r"functions\.(\w+):\d+<\|tool_call_argument_begin\|>(.*?)<\|tool_call_end\|>")
SECTION = "<|tool_calls_section_begin|>"

Answer = tuple[str, list[tuple[str, Any]]]
Maker = Callable[[random.Random], Dialogue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`right` of `cases` held-out prompts, whose mean length is `prompt_tokens`."""

    skill: str
    right: int
    cases: int
    prompt_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropy:
    """Mean entropy of the next token over `positions` of the model's own samples at T = 1."""

    stratum: str
    nats: float
    positions: int


def _ends_in_call(rng: random.Random, *, wanted: bool) -> Dialogue:
    """A tool dialogue whose answer is (or is not) a tool call."""
    while True:
        one = tiny_tools.tool_call(rng, thinking=rng.random() < 0.5)
        if ("tool_calls" in one.messages[-1]) == wanted:
            return one


def _either(task: Callable[..., Dialogue]) -> Maker:
    return lambda rng: task(rng, thinking=rng.random() < 0.5)


def _retrieve(facts: int, sentences: int) -> Maker:
    return lambda rng: tiny_tasks.retrieval(
        rng, facts=facts, sentences=sentences, queries=1, thinking=rng.random() < 0.5
    )


CALLS_NONE = "calls no tool when none fits"
SKILLS: dict[str, Maker] = {
    "arithmetic, thinking": lambda rng: tiny_tasks.arithmetic(rng, thinking=True),
    "arithmetic, not thinking": lambda rng: tiny_tasks.arithmetic(rng, thinking=False),
    "calls the right tool with the right arguments": lambda rng: _ends_in_call(rng, wanted=True),
    "reports a tool's result": lambda rng: _ends_in_call(rng, wanted=False),
    CALLS_NONE: _either(tiny_tools.no_tool_fits),
    "answers plainly when no declared tool fits": _either(tiny_tools.no_tool_fits),
    "writes JSON": _either(tiny_tasks.json_record),
    "short chat": _either(tiny_tasks.chat),
    "retrieves a fact, context of about 512 tokens": _retrieve(14, 32),
    "retrieves a fact, context of about 1500 tokens": _retrieve(24, 110),
}


def answer_of(text: str) -> Answer:
    """Split what follows the generation prompt into its text and its tool calls."""
    spoken = text.split("<|im_end|>")[0].split("</think>")[-1]
    return spoken.split(SECTION)[0], [(name, _parsed(raw)) for name, raw in CALL.findall(spoken)]


def _parsed(arguments: str) -> Any:
    """Arguments that are not JSON stay text, and so equal no expected ones."""
    try:
        return json.loads(arguments)
    except json.JSONDecodeError:
        return arguments


def _right(skill: str, answer: Answer, dialogue: Dialogue) -> bool:
    return not answer[1] if skill == CALLS_NONE else answer == _expected(dialogue)


def _expected(dialogue: Dialogue) -> Answer:
    message = dialogue.messages[-1]
    functions = [call["function"] for call in message.get("tool_calls", [])]
    return message["content"], [(f["name"], json.loads(f["arguments"])) for f in functions]


class Subject:
    """A checkpoint folder, loaded in fp32 to answer prompts."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.padding_side = "left"
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32
        ).eval()

    def prompt(self, messages: list[Any], tools: list[Any] | None, thinking: bool) -> str:
        return self.tokenizer.apply_chat_template(
            messages, tools=tools, thinking=thinking, tokenize=False, add_generation_prompt=True
        )

    def generate(self, prompts: list[str], **how: Any) -> tuple[Any, int]:
        """Give HF's output and the (padded) prompt length."""
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        output = self.model.generate(**batch, return_dict_in_generate=True, **how)
        return output, batch["input_ids"].shape[1]


def score_skill(subject: Subject, skill: str) -> Score:
    rng = random.Random(f"score {skill}")
    dialogues = [SKILLS[skill](rng) for _ in range(CASES)]
    right = tokens = 0
    for start in range(0, CASES, BATCH):
        some = dialogues[start : start + BATCH]
        prompts = [subject.prompt(one.messages[:-1], one.tools, one.thinking) for one in some]
        output, length = subject.generate(prompts, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        texts = subject.tokenizer.batch_decode(output.sequences[:, length:])
        answers = [answer_of(text) for text in texts]
        right += sum(_right(skill, a, one) for a, one in zip(answers, some, strict=True))
        tokens += sum(len(subject.tokenizer.encode(p, add_special_tokens=False)) for p in prompts)
    return Score(skill=skill, right=right, cases=CASES, prompt_tokens=tokens / CASES)


def sample_entropy(subject: Subject, stratum: str) -> Entropy:
    """Over every fourth corpus prompt of one stratum."""
    torch.manual_seed(0)
    prompts = [
        one["text"] or subject.prompt(one["messages"], one["tools"], one["thinking"])
        for one in corpus()
        if one["stratum"] == stratum
    ][::4]
    output, length = subject.generate(
        prompts, max_new_tokens=SAMPLE_TOKENS, do_sample=True, top_k=0, output_logits=True
    )
    logits = torch.stack(output.logits, dim=1)  # (N, T, V)
    entropies = torch.distributions.Categorical(logits=logits).entropy()  # (N, T)
    ended = (output.sequences[:, length:] == subject.tokenizer.eos_token_id).long().cumsum(dim=1)
    live = (ended - (output.sequences[:, length:] == subject.tokenizer.eos_token_id).long()) == 0
    return Entropy(stratum=stratum, nats=entropies[live].mean().item(), positions=int(live.sum()))


def measure(folder: Path) -> tuple[list[Score], list[Entropy]]:
    subject = Subject(folder)
    strata = dict.fromkeys(one["stratum"] for one in corpus())
    with torch.inference_mode():
        scores = [score_skill(subject, skill) for skill in SKILLS]
        return scores, [sample_entropy(subject, stratum) for stratum in strata]
