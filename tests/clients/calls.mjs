// Makes the calls of a plan with the official SDK for Node, as a user would: only the base URL is
// set. Reads the plan from standard input, prints one JSON line per call: what the caller saw.
//
// plan: {bases: {CHANNEL: URL}, concurrency, retries (of the SDK's own), calls: [{n, channel, api, model, prompt, stream,
//        include_usage (true, false or null: not said), how: "parsed" | "raw" | "abort"}]}
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";

const load = createRequire(join(process.env.TOLLGATE_TEST_NODE_MODULES, "package.json"));
const OpenAI = load("openai");

const plan = JSON.parse(await readAll(process.stdin));
const clients = Object.fromEntries(
  Object.entries(plan.bases).map(([channel, baseURL]) => [
    channel,
    new OpenAI.OpenAI({ baseURL, apiKey: "sk-client-secret", maxRetries: plan.retries, timeout: 60_000 }),
  ]),
);

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");

const resources = {
  chat: (client) => client.chat.completions,
  completions: (client) => client.completions,
  responses: (client) => client.responses,
  embeddings: (client) => client.embeddings,
};

function body({ api, model, prompt, stream, include_usage }) {
  const asked = include_usage === null ? {} : { stream_options: { include_usage } };
  const streaming = stream ? { stream, ...(api === "responses" ? {} : asked) } : {};
  switch (api) {
    case "chat":
      return { model, messages: [{ role: "user", content: prompt }], ...streaming };
    case "completions":
      return { model, prompt, ...streaming };
    case "responses":
      return { model, input: prompt, ...streaming };
    case "embeddings":
      return { model, input: prompt };
  }
}

// The text and the usage that an answer, or one event of a stream, holds.
function read(api, value) {
  switch (api) {
    case "chat":
      return { text: value.choices?.[0]?.message?.content ?? value.choices?.[0]?.delta?.content, usage: value.usage };
    case "completions":
      return { text: value.choices?.[0]?.text, usage: value.usage };
    case "responses":
      return value.type
        ? { text: value.type === "response.output_text.delta" ? value.delta : "", usage: value.response?.usage }
        : { text: value.output_text, usage: value.usage };
    case "embeddings":
      return { text: JSON.stringify(value.data?.[0]?.embedding), usage: value.usage };
  }
}

async function run(call, seen) {
  const resource = resources[call.api](clients[call.channel]);
  const request = resource.create(body(call), { headers: { "x-tollgate-tags": `n=${call.n}` } });
  if (call.how === "raw") {
    const response = await request.asResponse();
    seen.status = response.status;
    seen.sha256 = sha256(new Uint8Array(await response.arrayBuffer()));
    return;
  }
  const { data, response } = await request.withResponse();
  seen.status = response.status;
  if (!call.stream) {
    Object.assign(seen, read(call.api, data), { sha256: sha256(JSON.stringify(data)) });
    return;
  }
  seen.text = "";
  const events = [];
  for await (const event of data) {
    events.push(JSON.stringify(event));
    const { text, usage } = read(call.api, event);
    seen.text += text ?? "";
    seen.usage = usage ?? seen.usage;
    seen.sha256 = sha256(...events);
    if (call.how === "abort" && events.length === 2) {
      data.controller.abort();
      break;
    }
  }
}

async function observe(call) {
  const seen = { n: call.n, status: null, text: null, usage: null, sha256: null, error: null };
  try {
    await run(call, seen);
  } catch (error) {
    seen.status = error.status ?? seen.status;
    seen.error = { type: error.constructor.name, code: error.code ?? null, body: error.error ?? null };
  }
  console.log(JSON.stringify(seen));
}

const waiting = [...plan.calls];
const worker = async () => {
  for (let call = waiting.shift(); call; call = waiting.shift()) await observe(call);
};
await Promise.all(Array.from({ length: plan.concurrency }, worker));
