"""Makes the calls of a plan with the official SDKs for Python of several providers, as a user would:
only the base URL is set. The plan is described in calls.mjs; `api` names the surface, and a base is
an origin. Prints one JSON line per call: what the caller saw."""

import asyncio
import hashlib
import json
import sys

import anthropic
import openai
from google import genai

SECRET = "sk-client-secret"
SECONDS = 60


def headers(call):
    return {"x-tollgate-tags": f"n={call['n']}"}


class Anthropic:
    def __init__(self, origin, retries):
        self.client = anthropic.AsyncAnthropic(
            base_url=origin, api_key=SECRET, max_retries=retries, timeout=SECONDS
        )

    async def answer(self, call):
        return await self.client.messages.create(**self.arguments(call))

    async def events(self, call):
        async for event in await self.client.messages.create(**self.arguments(call), stream=True):
            yield event

    def arguments(self, call):
        messages = [{"role": "user", "content": call["prompt"]}]
        return {
            "model": call["model"],
            "max_tokens": 100,
            "messages": messages,
            "extra_headers": headers(call),
        }

    def failure(self, error):
        if isinstance(error, anthropic.APIStatusError):
            return error.status_code, error.body, error.message
        return None, None, None


class Gemini:
    def __init__(self, origin, retries):
        options = genai.types.HttpOptions(
            base_url=origin,
            api_version="v1beta",
            timeout=SECONDS * 1000,
            retry_options=genai.types.HttpRetryOptions(attempts=1 + retries),
        )
        self.client = genai.Client(api_key=SECRET, http_options=options).aio

    async def answer(self, call):
        return await self.client.models.generate_content(**self.arguments(call))

    async def events(self, call):
        stream = await self.client.models.generate_content_stream(**self.arguments(call))
        async for event in stream:
            yield event

    def arguments(self, call):
        options = genai.types.HttpOptions(headers=headers(call))
        config = genai.types.GenerateContentConfig(http_options=options)
        return {"model": call["model"], "contents": call["prompt"], "config": config}

    def failure(self, error):
        if isinstance(error, genai.errors.APIError):
            return error.code, error.details, f"{error.status}: {error.message}"
        return None, None, None


class OpenAI:
    def __init__(self, client):
        self.client = client

    async def answer(self, call):
        return await self.client.chat.completions.create(**self.arguments(call))

    async def events(self, call):
        stream = await self.client.chat.completions.create(
            **self.arguments(call), stream=True, stream_options={"include_usage": True}
        )
        async for event in stream:
            yield event

    def arguments(self, call):
        messages = [{"role": "user", "content": call["prompt"]}]
        return {"model": call["model"], "messages": messages, "extra_headers": headers(call)}

    def failure(self, error):
        if isinstance(error, openai.APIStatusError):
            return error.status_code, error.body, error.code
        return None, None, None


def azure(origin, retries):
    return OpenAI(
        openai.AsyncAzureOpenAI(
            azure_endpoint=origin,
            api_version="2024-10-21",
            api_key=SECRET,
            max_retries=retries,
            timeout=SECONDS,
        )
    )


def openrouter(origin, retries):
    return OpenAI(
        openai.AsyncOpenAI(
            base_url=f"{origin}/api/v1", api_key=SECRET, max_retries=retries, timeout=SECONDS
        )
    )


SURFACES = {
    "messages": Anthropic,
    "gemini": Gemini,
    "azure": azure,
    "openrouter": openrouter,
}


def dump(value):
    """All that the SDK made of an answer or event, but for the headers it keeps beside it."""
    exclude = {"sdk_http_response"} if isinstance(value, genai._common.BaseModel) else None
    return value.model_dump(mode="json", exclude=exclude)


async def observe(call, client):
    seen = {"n": call["n"], "answer": None, "events": 0, "error": None}
    try:
        if call["stream"]:
            digest = hashlib.sha256()
            async for event in client.events(call):
                seen["events"] += 1
                seen["answer"] = dump(event)
                digest.update(json.dumps(seen["answer"], sort_keys=True).encode())
                seen["digest"] = digest.hexdigest()
        else:
            seen["answer"] = dump(await client.answer(call))
    except (anthropic.AnthropicError, openai.OpenAIError, genai.errors.APIError) as error:
        status, body, said = client.failure(error)
        seen["error"] = {
            "type": type(error).__name__,
            "status": status,
            "body": body,
            "said": said,
        }
    print(json.dumps(seen), flush=True)


async def main():
    plan = json.load(sys.stdin)
    pairs = {(call["channel"], call["api"]) for call in plan["calls"]}
    clients = {
        (channel, api): SURFACES[api](plan["bases"][channel], plan["retries"]) for channel, api in pairs
    }
    waiting = iter(plan["calls"])

    async def worker():
        for call in waiting:
            await observe(call, clients[call["channel"], call["api"]])

    await asyncio.gather(*(worker() for _ in range(plan["concurrency"])))


asyncio.run(main())
