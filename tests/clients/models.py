"""Asks for the list of models with the official SDKs for Python of several providers, as a user
would: only the base URL is set. Reads the plan from standard input, prints one JSON line for each
client: the names it saw, and all it saw of the one it asked for by its name.

plan: [{sdk: "openai" | "azure" | "anthropic" | "gemini", base: an origin, one: a name or null}]"""

import json
import sys

import anthropic
import openai
from google import genai

SECRET = "sk-client-secret"


def openais(base):
    return openai.OpenAI(base_url=f"{base}/v1", api_key=SECRET, max_retries=0)


def azures(base):
    return openai.AzureOpenAI(
        azure_endpoint=base, api_version="2024-10-21", api_key=SECRET, max_retries=0
    )


def anthropics(base):
    return anthropic.Anthropic(base_url=base, api_key=SECRET, max_retries=0)


def geminis(base):
    options = genai.types.HttpOptions(
        base_url=base,
        api_version="v1beta",
        retry_options=genai.types.HttpRetryOptions(attempts=1),
    )
    return genai.Client(api_key=SECRET, http_options=options)


SDKS = {"openai": openais, "azure": azures, "anthropic": anthropics, "gemini": geminis}


def one(sdk, models, name):
    if name is None:
        return None
    if sdk == "gemini":
        return models.get(model=name).model_dump(mode="json", exclude_none=True)
    return models.retrieve(name).model_dump(mode="json", exclude_none=True)


for asked in json.load(sys.stdin):
    sdk = asked["sdk"]
    client = SDKS[sdk](asked["base"])
    names = [model.name if sdk == "gemini" else model.id for model in client.models.list()]
    seen = {"names": names, "one": one(sdk, client.models, asked["one"])}
    print(json.dumps(seen), flush=True)
