// Writes the JSON schema of everything @lmstudio/sdk sends and receives: `node export.mjs <output file>`.

import { readFileSync, writeFileSync } from "node:fs";

import { zodToJsonSchema, ignoreOverride } from "zod-to-json-schema";

import { loadSdk } from "./load-sdk.mjs";
import { Namer, pascal, unionOptions, unwrap } from "./naming.mjs";
import { applySupplement, mergeIdentical } from "./sharing.mjs";

const RPC_SHAPES = ["parameter", "returns"];
const CHANNEL_SHAPES = ["creationParameter", "toClientPacket", "toServerPacket"];
const VOID_TYPES = new Set(["ZodVoid", "ZodUndefined"]);
const COMMENT =
  "Made by sdk-schema/export.mjs from the Zod schemas of the packages below; regenerate with `tox -e sync-sdk-schema`. Never edit.";

const readJson = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));

/** Every endpoint as {namespace, kind, name, serialization, shapes: [[role, shape name, Zod schema]]}. */
function listEndpoints(interfaces) {
  const endpoints = [];
  for (const [namespace, api] of Object.entries(interfaces)) {
    const signals = api.signalEndpoints.size + api.writableSignalEndpoints.size;
    if (signals > 0) {
      throw new Error(`Namespace ${namespace} has ${signals} signal endpoints; the exporter knows rpcs and channels only.`);
    }
    const kinds = [
      ["rpc", api.rpcEndpoints, RPC_SHAPES],
      ["channel", api.channelEndpoints, CHANNEL_SHAPES],
    ];
    for (const [kind, map, roles] of kinds) {
      for (const [name, endpoint] of map) {
        const prefix = pascal(namespace) + pascal(kind) + pascal(name);
        const shapes = roles.map((role) => [role, prefix + pascal(role), endpoint[role]]);
        endpoints.push({ namespace, kind, name, serialization: endpoint.serialization, shapes });
      }
    }
  }
  return endpoints;
}

/** A converter Zod -> JSON schema that writes a reference for every shape the namer knows. */
function makeConverter(namer) {
  const convert = (schema, isDefinition = false) => {
    const root = schema._def;
    const override = (def) => {
      const name = namer.names.get(def);
      if (name !== undefined && !(isDefinition && def === root)) {
        return { $ref: `#/definitions/${name}` };
      }
      switch (def.typeName) {
        case "ZodOptional":
          return convert(def.innerType);
        case "ZodEffects":
          return convert(def.schema);
        case "ZodMap":
          return { type: "array", items: convertPair(def) };
        case "ZodDiscriminatedUnion":
          return {
            anyOf: unionOptions({ _def: def }).map((option) => convert(option)),
            discriminator: { propertyName: def.discriminator },
          };
        default:
          return ignoreOverride;
      }
    };
    const { $schema, ...result } = zodToJsonSchema(schema, {
      $refStrategy: "none",
      removeAdditionalStrategy: "strict",
      override,
      postProcess: dropOpenness,
    });
    return result;
  };
  const convertPair = (def) => ({
    type: "array",
    minItems: 2,
    maxItems: 2,
    items: [convert(def.keyType), convert(def.valueType)],
  });
  return convert;
}

/** Every object ignores members it does not know; saying so at each of them would be noise. */
function dropOpenness(schema) {
  if (schema?.additionalProperties === true) {
    delete schema.additionalProperties;
  }
  return schema;
}

function describeEndpoint(endpoint, convert, definitions) {
  const described = { serialization: endpoint.serialization };
  for (const [role, shapeName, schema] of endpoint.shapes) {
    if (VOID_TYPES.has(unwrap(schema)._def.typeName)) {
      described[role] = null;
      continue;
    }
    definitions[shapeName] ??= convert(schema);
    described[role] = { $ref: `#/definitions/${shapeName}` };
    if (schema.isOptional()) {
      described[role].optional = true;
    }
  }
  return described;
}

function describeKvConfig(schematics, convert) {
  const fields = [...schematics.getFieldsMap().values()].map((field) => ({
    key: field.fullKey,
    valueType: field.valueTypeKey,
    params: field.valueTypeParams,
    default: field.defaultValue,
    schema: convert(field.schema),
  }));
  return { fields, extensionPrefixes: [...schematics.extensionPrefixes] };
}

function visitAll(namer, endpoints, extra, schemas) {
  for (const { shapes } of endpoints) {
    for (const [, shapeName, schema] of shapes) {
      namer.visit(schema, shapeName);
    }
  }
  for (const constant of Object.values(extra).flat()) {
    const schema = schemas[`${constant}Schema`];
    if (schema === undefined) {
      throw new Error(`names.json lists ${constant} under "extra", but the SDK has no constant ${constant}Schema.`);
    }
    namer.visit(schema, pascal(constant));
  }
  namer.checkAllRenamesUsed();
}

function extraNames(extra, schemas, namer) {
  const nameOf = (constant) => namer.names.get(unwrap(schemas[`${constant}Schema`])._def);
  return Object.fromEntries(Object.entries(extra).map(([module, constants]) => [module, constants.map(nameOf)]));
}

async function main(output) {
  const { versions, interfaces, schemas, globalConfigSchematics } = await loadSdk();
  const { rename, extra, identical, coincidence } = readJson("names.json");
  const endpoints = listEndpoints(interfaces);
  const namer = new Namer(schemas, rename);
  visitAll(namer, endpoints, extra, schemas);

  const convert = makeConverter(namer);
  const definitions = {};
  for (const [name, schema] of namer.schemas) {
    definitions[name] = convert(schema, true);
  }
  const described = {};
  for (const endpoint of endpoints) {
    const group = ((described[endpoint.namespace] ??= { rpc: {}, channel: {} })[endpoint.kind] ??= {});
    group[endpoint.name] = describeEndpoint(endpoint, convert, definitions);
  }
  const document = {
    $comment: COMMENT,
    packages: versions,
    endpoints: described,
    extra: extraNames(extra, schemas, namer),
    transport: {
      clientToServer: convert(schemas.clientToServerMessageSchema),
      serverToClient: convert(schemas.serverToClientMessageSchema),
      authenticationResult: convert(schemas.wsAuthenticationResultSchema),
    },
    kvConfig: describeKvConfig(globalConfigSchematics, convert),
    definitions: mergeIdentical(definitions, namer.anonymous, { identical, coincidence }),
  };
  applySupplement(document.definitions, readJson("supplement.json"));
  writeFileSync(output, `${JSON.stringify(document, null, 2)}\n`);
  const shapes = Object.keys(document.definitions).length;
  console.log(`${endpoints.length} endpoints, ${shapes} definitions, ${document.kvConfig.fields.length} config keys`);
}

await main(process.argv[2] ?? new URL("lmstudio-sdk.schema.json", import.meta.url));
