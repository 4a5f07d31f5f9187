"""What a verdict holds to show a difference to somebody else, as `levels.reproduction` makes it."""

from __future__ import annotations

from typing import Any


def token(token_id: int, text: str | None, **more: object) -> dict[str, Any]:
    return {"id": token_id, "text": text, **more}


def top(*texts: str) -> list[dict[str, Any]]:
    return [token(100 + i, text, logprob=-0.5 - i) for i, text in enumerate(texts)]


def request(ids: list[int]) -> dict[str, Any]:
    body = {"model": "tiny-moe", "prompt": [ids], "max_tokens": 1, "prompt_logprobs": 5}
    return {"path": "/v1/completions", "body": body}


def rendering(texts: list[str]) -> dict[str, Any]:
    return {
        "case_id": "chat-007",
        "position": 3,
        "expected": [token(i, text) for i, text in enumerate(texts)],
        "found": [token(i + 9, text) for i, text in enumerate(reversed(texts))],
        "expected_length": 40,
        "found_length": 41,
        "request": {"path": "/tokenize", "body": {"messages": [{"content": "".join(texts)}]}},
    }


def reproduction(texts: list[str], ids: list[int]) -> dict[str, Any]:
    return {
        "token": {
            "case_id": "long-017",
            "stratum": "long",
            "position": len(ids) - 1,
            "limit": 0.02,
            "beyond_limit": True,
            "alone": True,
            "token": token(ids[-1], texts[0]),
            "reference_logprob": -0.25,
            "candidate_logprob": -3.5,
            "reference_top": top(*texts),
            "candidate_top": top(*reversed(texts)),
            "token_ids": ids,
            "request": request(ids),
        },
        "rendering": rendering(texts),
        "own": {
            "case_id": "text-003",
            "comparison": "decode",
            "size": 0.4,
            "token_ids": ids,
            "request": request(ids),
        },
        "command": "OMP_NUM_THREADS=1 python -m vllm.entrypoints.openai.api_server --model MODEL",
    }


REPRODUCTION = reproduction([" the", "the", " a", "\n", "<|im_end|>"], list(range(40)))
