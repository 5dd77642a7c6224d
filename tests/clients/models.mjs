// Asks for the list of models with the official SDK for Node, as models.py does with those for
// Python. The plan is described there.
import { createRequire } from "node:module";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";

const load = createRequire(join(process.env.TOLLGATE_TEST_NODE_MODULES, "package.json"));
const { OpenAI, AzureOpenAI } = load("openai");

const apiKey = "sk-client-secret";
const sdks = {
  openai: (base) => new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 }),
  azure: (base) => new AzureOpenAI({ endpoint: base, apiVersion: "2024-10-21", apiKey, maxRetries: 0 }),
};

for (const { sdk, base, one } of JSON.parse(await readAll(process.stdin))) {
  const { models } = sdks[sdk](base);
  const names = [];
  for await (const model of models.list()) names.push(model.id);
  console.log(JSON.stringify({ names, one: one && (await models.retrieve(one)) }));
}
