"""Makes the calls of a plan with the official SDK for Python, as a user would: only the base URL
is set. Reads the plan from standard input, prints one JSON line per call: what the caller saw.
The plan is described in calls.mjs."""

import asyncio
import hashlib
import json
import sys

import openai


def body(call):
    common = {"model": call["model"]}
    if call["stream"]:
        common["stream"] = True
        if call["include_usage"] is not None and call["api"] != "responses":
            common["stream_options"] = {"include_usage": call["include_usage"]}
    prompt = call["prompt"]
    return common | {
        "chat": {"messages": [{"role": "user", "content": prompt}]},
        "completions": {"prompt": prompt},
        "responses": {"input": prompt},
        "embeddings": {"input": prompt},
    }[call["api"]]


def resource(client, api):
    return {
        "chat": client.chat.completions,
        "completions": client.completions,
        "responses": client.responses,
        "embeddings": client.embeddings,
    }[api]


def read(api, value):
    """The text and the usage that an answer, or one event of a stream, holds."""
    usage = getattr(value, "usage", None)
    if api == "chat":
        choice = value.choices[0] if value.choices else None
        part = getattr(choice, "message", None) or getattr(choice, "delta", None)
        return getattr(part, "content", None), usage
    if api == "completions":
        return (value.choices[0].text if value.choices else None), usage
    if api == "embeddings":
        return json.dumps(value.data[0].embedding), usage
    kind = getattr(value, "type", None)
    if kind is None:
        return value.output_text, usage
    text = value.delta if kind == "response.output_text.delta" else ""
    return text, getattr(getattr(value, "response", None), "usage", None)


async def run(call, client, seen):
    create = resource(client, call["api"])
    arguments = body(call) | {"extra_headers": {"x-tollgate-tags": f"n={call['n']}"}}
    digest = hashlib.sha256()
    if call["how"] == "raw":
        async with create.with_streaming_response.create(**arguments) as response:
            seen["status"] = response.status_code
            async for piece in response.iter_bytes():
                digest.update(piece)
        seen["sha256"] = digest.hexdigest()
        return
    if not call["stream"]:
        raw = await create.with_raw_response.create(**arguments)
        seen["status"] = raw.status_code
        text, usage = read(call["api"], raw.parse())
        seen.update(text=text, usage=usage and usage.to_dict())
        seen["sha256"] = hashlib.sha256(raw.content).hexdigest()
        return
    stream = await create.create(**arguments)
    seen.update(status=stream.response.status_code, text="")
    count = 0
    async for event in stream:
        digest.update(event.model_dump_json().encode())
        text, usage = read(call["api"], event)
        seen["text"] += text or ""
        seen["usage"] = usage.to_dict() if usage else seen["usage"]
        seen["sha256"] = digest.hexdigest()
        count += 1
        if call["how"] == "abort" and count == 2:
            await stream.close()
            break


async def observe(call, client):
    seen = dict.fromkeys(["status", "text", "usage", "sha256", "error"]) | {"n": call["n"]}
    try:
        await run(call, client, seen)
    except openai.APIError as error:
        seen["status"] = getattr(error, "status_code", seen["status"])
        seen["error"] = {"type": type(error).__name__, "code": error.code, "body": error.body}
    except Exception as error:  # the HTTP library's own, when a stream breaks
        seen["error"] = {"type": type(error).__name__, "code": None, "body": None}
    print(json.dumps(seen), flush=True)


async def main():
    plan = json.load(sys.stdin)
    clients = {
        channel: openai.AsyncOpenAI(
            base_url=base, api_key="sk-client-secret", max_retries=plan["retries"], timeout=60
        )
        for channel, base in plan["bases"].items()
    }
    waiting = iter(plan["calls"])

    async def worker():
        for call in waiting:
            await observe(call, clients[call["channel"]])

    await asyncio.gather(*(worker() for _ in range(plan["concurrency"])))


asyncio.run(main())
