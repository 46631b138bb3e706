// Module loader hook: adds one export to the SDK's bundle.
//
// The bundle keeps its Zod schemas in top-level constants (`llmPredictionFragmentSchema`) and exports none of them.
// Their names are the only place where the package still says what TypeScript calls a shape, and some schemas (the load
// and prediction configs, the transport messages) hang on no public object at all.

const BUNDLE = "/@lmstudio/sdk/dist/index.mjs";
const SCHEMA_CONSTANT = /^const ([A-Za-z0-9]+Schema(?:\$\d+)?) =/gm;
const OTHER_INTERNALS = ["globalConfigSchematics", "kvValueTypesLibrary"];

export async function load(url, context, nextLoad) {
  const module = await nextLoad(url, context);
  if (!url.endsWith(BUNDLE)) {
    return module;
  }
  const source = module.source.toString();
  const schemas = [...source.matchAll(SCHEMA_CONSTANT)].map((match) => match[1]);
  const missing = OTHER_INTERNALS.filter((name) => !source.includes(`\nconst ${name} =`));
  if (schemas.length === 0 || missing.length > 0) {
    throw new Error(
      `The bundle ${url} is not built as expected: ${schemas.length} schema constants, missing: ${missing.join(", ")}. ` +
        "See what a new release of @lmstudio/sdk calls them and adapt expose-internals.mjs.",
    );
  }
  const members = [`schemas: { ${schemas.join(", ")} }`, ...OTHER_INTERNALS];
  return { ...module, source: `${source}\nexport const __internals = { ${members.join(", ")} };\n` };
}
