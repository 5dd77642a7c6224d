// Starts the mock of the provider APIs on a free port and prints its base URL.
//
//     node mock.mjs FIXTURES
//
// The mock makes up ids; here the same ones every time, so that a direct call and a call through
// Tollgate can be compared byte for byte. It ends when its standard input does.
import crypto from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

crypto.randomBytes = (size) => Buffer.alloc(size, 7);
const load = createRequire(join(process.env.TOLLGATE_TEST_NODE_MODULES, "package.json"));
const { LLMock } = load("@copilotkit/aimock");

const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", journalMaxEntries: 100 });
mock.loadFixtureFile(process.argv[2]);
await mock.start();
console.log(`${mock.url}/v1`);
process.stdin.on("end", () => process.exit(0)).resume();
