// Holds the conversations of a plan over WebSockets with the official SDK for Node, as a user would:
// only the base URL is set. Reads the plan from standard input, prints one JSON line per base: every
// event that the caller saw.
//
// plan: {api: "realtime" | "responses", model, prompts, bases: [URL], tls: {cert, key, to} or null}
//
// The SDK speaks Realtime over TLS only. For a direct call to an upstream without, `tls` has the
// script stand before it: the base "tls:" is then that place.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";
import tls from "node:tls";

const load = createRequire(join(process.env.TOLLGATE_TEST_NODE_MODULES, "package.json"));
const { OpenAI } = load("openai");
const { OpenAIRealtimeWS } = load("openai/realtime/ws");
const { ResponsesWS } = load("openai/resources/responses/ws");

const plan = JSON.parse(await readAll(process.stdin));

async function inFront({ cert, key, to }) {
  const { hostname, port, pathname } = new URL(to);
  const options = { cert: readFileSync(cert), key: readFileSync(key) };
  const server = tls.createServer(options, (near) => {
    const far = net.connect(Number(port), hostname);
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, base: `https://localhost:${server.address().port}${pathname}` };
}

const apis = {
  realtime: {
    open: (client) => new OpenAIRealtimeWS({ model: plan.model }, client),
    ask: (socket, prompt) => {
      const content = [{ type: "input_text", text: prompt }];
      socket.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
      socket.send({ type: "response.create" });
    },
    ends: ["response.done"],
  },
  responses: {
    open: (client) => new ResponsesWS(client),
    ask: (socket, prompt) => socket.send({ type: "response.create", model: plan.model, input: prompt }),
    ends: ["response.completed", "error"],
  },
};

async function talk(baseURL) {
  const { open, ask, ends } = apis[plan.api];
  const socket = open(new OpenAI({ baseURL, apiKey: "sk-client-secret" }));
  const events = [];
  let ended = () => {};
  let broken = () => {};
  socket.on("event", (event) => {
    events.push(event);
    if (ends.includes(event.type)) ended();
  });
  // An error event is told here too, and is no failure of this script.
  socket.on("error", (error) => error.error ?? broken(error));
  socket.socket.on("error", (error) => broken(error));
  await new Promise((resolve, reject) => {
    broken = reject;
    socket.socket.on("open", resolve);
  });
  for (const prompt of plan.prompts) {
    const answered = new Promise((resolve, reject) => {
      [ended, broken] = [resolve, reject];
    });
    ask(socket, prompt);
    await answered;
    events.push({ type: "answered" });
  }
  const closed = new Promise((resolve) => socket.socket.on("close", resolve));
  socket.close();
  await closed;
  console.log(JSON.stringify(events));
}

const front = plan.tls && (await inFront(plan.tls));
for (const base of plan.bases) await talk(base === "tls:" ? front.base : base);
front?.server.close();
