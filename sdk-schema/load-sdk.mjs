// Loads @lmstudio/sdk with its internal schemas exposed.

import { readFileSync } from "node:fs";
import { register } from "node:module";

register("./expose-internals.mjs", import.meta.url);

const NAMESPACES = ["llm", "embedding", "system", "diagnostics", "files", "repository", "plugins", "runtime"];
const SILENT = { info() {}, warn() {}, error() {}, debug() {} };

/** The package's version, its internals and the backend interface of each namespace. */
export async function loadSdk() {
  const { LMStudioClient, __internals } = await import("@lmstudio/sdk");
  // Nothing connects before the first call; the address only keeps the constructor from probing for a local server.
  const client = new LMStudioClient({ baseUrl: "ws://127.0.0.1:1", logger: SILENT });
  const interfaces = Object.fromEntries(NAMESPACES.map((name) => [name, client[`${name}Port`].backendInterface]));
  return { versions: readVersions(), interfaces, ...__internals };
}

function readVersions() {
  const lock = JSON.parse(readFileSync(new URL("package-lock.json", import.meta.url), "utf8"));
  const pinned = ["@lmstudio/sdk", "@lmstudio/lms-isomorphic", "zod", "zod-to-json-schema"];
  return Object.fromEntries(pinned.map((name) => [name, lock.packages[`node_modules/${name}`].version]));
}
