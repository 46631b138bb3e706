// The schemas that @lmstudio/sdk keeps to itself: with the loader hook of sdk-schema, from the package installed here.

import { register } from "node:module";

register("../../../sdk-schema/expose-internals.mjs", import.meta.url);

/** {schemas, globalConfigSchematics, interfaces}: Zod schemas by name, configuration keys, endpoints by namespace. */
export async function loadInternals() {
  const { LMStudioClient, __internals } = await import("@lmstudio/sdk");
  // Nothing connects before the first call.
  const client = new LMStudioClient({ baseUrl: "ws://127.0.0.1:1" });
  const ports = Object.keys(client).filter((member) => member.endsWith("Port"));
  const interfaces = Object.fromEntries(ports.map((member) => [member.slice(0, -4), client[member].backendInterface]));
  return { ...__internals, interfaces };
}
