"""Makes the calls of a plan (see calls.mjs) with the official SDK for Python: images, audio,
moderations, files, batches, and responses in the background. `api` names the method, `prompt` the
answer that the upstream shall give. In the plan's order: some calls ask for what others made."""

import hashlib
import io
import json
import sys

import openai


def upload(name="a.wav"):
    file = io.BytesIO(b"RIFF" + bytes(range(256)) * 400)
    file.name = name
    return file


METHODS = {
    "images.generate": lambda client, **common: client.images.generate(**common),
    "images.edit": lambda client, **common: client.images.edit(image=upload("a.png"), **common),
    "transcriptions": lambda client, prompt, **common: client.audio.transcriptions.create(
        file=upload(), **common
    ),
    "translations": lambda client, prompt, **common: client.audio.translations.create(
        file=upload(), **common
    ),
    "speech": lambda client, prompt, **common: client.audio.speech.create(
        input=prompt, voice="alloy", **common
    ),
    "moderations": lambda client, prompt, **common: client.moderations.create(
        input=prompt, **common
    ),
    "files": lambda client, prompt, model, **common: client.files.create(
        file=upload("a.jsonl"), purpose="batch", **common
    ),
    "batches.create": lambda client, prompt, model, **common: client.batches.create(
        input_file_id="file-1",
        endpoint="/v1/responses",
        completion_window="24h",
        **common,
    ),
    "batches.list": lambda client, prompt, model, **common: client.batches.list(**common),
    "batches.retrieve": lambda client, prompt, model, **common: client.batches.retrieve(
        "batch_golden", **common
    ),
    "responses.create": lambda client, prompt, **common: client.responses.create(
        input=prompt, background=True, **common
    ),
    "responses.retrieve": lambda client, prompt, model, **common: client.responses.retrieve(
        "resp_golden", **common
    ),
    "responses.cancel": lambda client, prompt, model, **common: client.responses.cancel(
        "resp_elsewhere", **common
    ),
}


def dump(value):
    if isinstance(value, str):
        return value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return hashlib.sha256(value.content).hexdigest()


def observe(call, client):
    seen = {"n": call["n"], "answer": None, "error": None}
    arguments = {
        "model": call["model"],
        "prompt": call["prompt"],
        "extra_headers": {"x-tollgate-tags": f"n={call['n']}", "x-case": call["prompt"]},
    }
    if call["stream"]:
        arguments["stream"] = True
    if call["how"] != "parsed":
        arguments["response_format"] = call["how"]
    try:
        answer = METHODS[call["api"]](client, **arguments)
        seen["answer"] = [dump(event) for event in answer] if call["stream"] else dump(answer)
    except openai.APIStatusError as error:
        seen["error"] = {"status": error.status_code, "code": error.code, "body": error.body}
    print(json.dumps(seen), flush=True)


plan = json.load(sys.stdin)
clients = {
    channel: openai.OpenAI(base_url=base, api_key="sk-client-secret", max_retries=0, timeout=60)
    for channel, base in plan["bases"].items()
}
for call in plan["calls"]:
    observe(call, clients[call["channel"]])
