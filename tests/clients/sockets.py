"""Holds the conversations of a plan over WebSockets with the official SDK for Python, as a user
would: only the base URL is set. Reads the plan from standard input, prints one JSON line per base:
every event that the caller saw. The plan is described in sockets.mjs."""

import asyncio
import json
import sys

import openai


async def realtime(client, model, prompts, events):
    async with client.realtime.connect(model=model) as connection:
        for prompt in prompts:
            content = [{"type": "input_text", "text": prompt}]
            item = {"type": "message", "role": "user", "content": content}
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            while events[-1:] == [] or events[-1]["type"] != "response.done":
                events.append((await connection.recv()).to_dict())
            events.append({"type": "answered"})


async def responses(client, model, prompts, events):
    async with client.responses.connect() as connection:
        for prompt in prompts:
            await connection.response.create(model=model, input=prompt)
            ends = ("response.completed", "error")
            while events[-1:] == [] or events[-1]["type"] not in ends:
                events.append((await connection.recv()).to_dict())
            events.append({"type": "answered"})


async def main():
    plan = json.load(sys.stdin)
    talk = {"realtime": realtime, "responses": responses}[plan["api"]]
    for base in plan["bases"]:
        client = openai.AsyncOpenAI(base_url=base, api_key="sk-client-secret", timeout=60)
        events = []
        await asyncio.wait_for(talk(client, plan["model"], plan["prompts"], events), 60)
        print(json.dumps(events), flush=True)


asyncio.run(main())
