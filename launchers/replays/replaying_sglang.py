"""What SGLang and KTransformers' fork of it have in common: how their server drives the parsers."""

import time
from types import SimpleNamespace

import replaying
from sglang.srt.entrypoints.openai.protocol import ChatCompletionRequest
from sglang.srt.entrypoints.openai.serving_chat import OpenAIServingChat

NAME = "replayed"
CONTEXT = 5  # prompt tokens that are decoded together with the first ones of the answer


def main(version, manager, templates, detokenizer):
    """`manager(argv)`: a tokenizer manager; `templates(manager)`: its template manager;
    `detokenizer(manager)`: one for one answer."""
    replaying.main(version, lambda request: Server(request, manager, templates, detokenizer))


class Server:
    def __init__(self, request, manager, templates, detokenizer):
        self.request = request
        self.manager = manager(request["argv"])
        self.detokenizer = detokenizer
        self.tokenizer = self.manager.tokenizer
        self.end = self.tokenizer.eos_token_id
        self.serving = OpenAIServingChat(self.manager, templates(self.manager))

    async def answer(self, stream, prompt, ids, pieces):
        fields = replaying.chat(self.request, stream, pieces is not None)
        request = ChatCompletionRequest(**fields)
        self.serving._process_messages(request, False)  # it may want special tokens kept
        parts = replaying.split(ids, pieces or [len(ids)])
        outputs = list(self.outputs(request, prompt, parts, stream["finish"]))
        if pieces is None:
            answer = self.serving._build_chat_response(request, outputs, int(time.time()))
            return replaying.of_message(answer.choices[0].message.model_dump())
        self.manager.generate_request = lambda *_: generated(outputs)
        collected = replaying.Collected()
        async for event in self.serving._generate_chat_stream(None, request, None):
            collected.take(event)
        return collected.answer()

    def outputs(self, request, prompt, pieces, finish):
        """What the tokenizer manager gives its server: all text so far, for each piece."""
        detokenizer = self.detokenizer(self.manager)
        context = prompt[-CONTEXT:]
        text, count = "", 0
        for ids, last in pieces:
            reason = self.reason(finish, count + len(ids)) if last else None
            batch = SimpleNamespace(
                rids=[NAME],
                decoded_texts=[""],
                decode_ids=[[*context, *ids] if count == 0 else ids],
                read_offsets=[len(context)],
                finished_reasons=[reason],
                skip_special_tokens=[request.skip_special_tokens],
                spaces_between_special_tokens=[True],
                no_stop_trim=[False],
            )
            (new,) = detokenizer._decode_batch_token_id_output(batch)
            text, count = text + new, count + len(ids)
            counts = {"prompt_tokens": len(prompt), "completion_tokens": count, "cached_tokens": 0}
            known = {"id": NAME, "weight_version": "", "finish_reason": reason, **counts}
            yield {"text": text, "output_ids": ids, "meta_info": known}

    def reason(self, finish, count):
        if finish == "length":
            return {"type": "length", "length": count}
        return {"type": "stop", "matched": self.end}


async def generated(outputs):
    for output in outputs:
        yield output
