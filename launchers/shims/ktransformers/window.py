"""Two questions that KTransformers' fork of SGLang does not answer by itself.

    POST /enginediff/render     a chat request, as /v1/chat/completions takes it: the token ids that
                                it would become, by the engine's own function for that path
    GET  /enginediff/version    of the package: the server itself says 0.0.0.dev0

The fork's /tokenize renders no chats, as SGLang's own has learnt to. Nothing is computed here.
"""

import importlib.metadata

import around_import


def install():
    around_import.after("sglang.srt.entrypoints.http_server", _open)


def _open(server):
    @server.app.post("/enginediff/render")
    async def render(request: server.ChatCompletionRequest, raw_request: server.Request):
        chats = raw_request.app.state.openai_serving_chat
        internal, _ = chats._convert_to_internal_request(request, raw_request)
        return {"tokens": internal.input_ids}

    @server.app.get("/enginediff/version")
    async def version():
        return {"version": importlib.metadata.version("sglang-kt")}
