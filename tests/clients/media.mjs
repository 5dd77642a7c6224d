// Makes the calls of a plan (see calls.mjs) with the official SDK for Node: images, audio,
// moderations, files, batches, and responses in the background. `api` names the method, `prompt` the
// answer that the upstream shall give. In the plan's order: some calls ask for what others made.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";

const load = createRequire(join(process.env.TOLLGATE_TEST_NODE_MODULES, "package.json"));
const { OpenAI, toFile, APIError } = load("openai");

const upload = (name = "a.wav") => toFile(Buffer.alloc(100_000, "RIFF"), name);
const omit = ({ prompt, ...rest }) => rest;

const methods = {
  "images.generate": (client, body, options) => client.images.generate(body, options),
  "images.edit": async (client, body, options) =>
    client.images.edit({ ...body, image: await upload("a.png") }, options),
  transcriptions: async (client, body, options) =>
    client.audio.transcriptions.create({ ...omit(body), file: await upload() }, options),
  translations: async (client, body, options) =>
    client.audio.translations.create({ ...omit(body), file: await upload() }, options),
  speech: (client, body, options) =>
    client.audio.speech.create({ ...omit(body), input: body.prompt, voice: "alloy" }, options),
  moderations: (client, body, options) =>
    client.moderations.create({ model: body.model, input: body.prompt }, options),
  files: async (client, body, options) =>
    client.files.create({ file: await upload("a.jsonl"), purpose: "batch" }, options),
  "batches.create": (client, body, options) =>
    client.batches.create(
      { input_file_id: "file-1", endpoint: "/v1/responses", completion_window: "24h" },
      options,
    ),
  "batches.list": async (client, body, options) => (await client.batches.list({}, options)).data,
  "batches.retrieve": (client, body, options) => client.batches.retrieve("batch_golden", options),
  "responses.create": (client, body, options) =>
    client.responses.create({ model: body.model, input: body.prompt, background: true }, options),
  "responses.retrieve": (client, { stream }, options) =>
    client.responses.retrieve("resp_golden", stream ? { stream } : {}, options),
  "responses.cancel": (client, body, options) => client.responses.cancel("resp_elsewhere", options),
};

async function dump(value) {
  if (value?.arrayBuffer) {
    const bytes = new Uint8Array(await value.arrayBuffer());
    return createHash("sha256").update(bytes).digest("hex");
  }
  return JSON.parse(JSON.stringify(value));
}

const plan = JSON.parse(await readAll(process.stdin));
const clients = Object.fromEntries(
  Object.entries(plan.bases).map(([channel, baseURL]) => [
    channel,
    new OpenAI({ baseURL, apiKey: "sk-client-secret", maxRetries: 0, timeout: 60_000 }),
  ]),
);

for (const call of plan.calls) {
  const seen = { n: call.n, answer: null, error: null };
  const body = { model: call.model, prompt: call.prompt };
  if (call.stream) body.stream = true;
  if (call.how !== "parsed") body.response_format = call.how;
  const headers = { "x-tollgate-tags": `n=${call.n}`, "x-case": call.prompt };
  try {
    const answer = await methods[call.api](clients[call.channel], body, { headers });
    if (call.stream) {
      seen.answer = [];
      for await (const event of answer) seen.answer.push(await dump(event));
    } else {
      seen.answer = await dump(answer);
    }
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    seen.error = { status: error.status, code: error.code, body: error.error };
  }
  console.log(JSON.stringify(seen));
}
