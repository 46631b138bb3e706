// Makes one definition out of several that say the same, and applies supplement.json.

const REFERENCE = "#/definitions/";

/** A copy of the schema with every reference replaced as `rename` says. */
function withReferences(schema, rename) {
  if (Array.isArray(schema)) {
    return schema.map((item) => withReferences(item, rename));
  }
  if (schema === null || typeof schema !== "object") {
    return schema;
  }
  const copy = {};
  for (const [key, value] of Object.entries(schema)) {
    const isReference = key === "$ref" && typeof value === "string";
    copy[key] = isReference ? REFERENCE + rename(value.slice(REFERENCE.length)) : withReferences(value, rename);
  }
  return copy;
}

const refTo = (name) => ({ $ref: REFERENCE + name });
const isObjectOrEnum = (schema) => schema.properties !== undefined || schema.enum !== undefined;

class Merger {
  constructor(definitions) {
    this.definitions = definitions;
    this.canonical = new Map();
  }

  finalName(name) {
    const next = this.canonical.get(name);
    return next === undefined || next === name ? name : this.finalName(next);
  }

  /** The definition as text, after the merges so far: equal texts are equal shapes. */
  fingerprint(name) {
    return JSON.stringify(withReferences(this.definitions[name], (other) => this.finalName(other)));
  }

  /** Makes the members aliases of one definition called `name`. */
  merge(name, members) {
    const schema = this.definitions[members[0]];
    for (const member of members) {
      this.canonical.set(member, name);
    }
    this.definitions[name] = schema;
  }

  /** The definitions with all references resolved to the merged shapes; merged names stay as references to them. */
  result() {
    const entries = Object.entries(this.definitions).map(([name, schema]) => {
      const target = this.finalName(name);
      return [name, target === name ? withReferences(schema, (other) => this.finalName(other)) : refTo(target)];
    });
    return Object.fromEntries(entries);
  }
}

/** llm and embedding have a common part: Llm... and Embedding... of the same shape become Model... . */
function mergeModelNamespaces(merger) {
  const pairs = Object.keys(merger.definitions)
    .filter((name) => /^Llm(Rpc|Channel)/.test(name))
    .map((llm) => [llm, llm.replace(/^Llm/, "Embedding"), llm.replace(/^Llm/, "Model")])
    .filter(([, embedding]) => embedding in merger.definitions);
  // A pair may become equal only after what it refers to has been merged.
  for (let open = pairs, before = -1; open.length !== before; ) {
    before = open.length;
    open = open.filter(([llm, embedding, model]) => {
      const same = merger.fingerprint(llm) === merger.fingerprint(embedding);
      if (same && !("$ref" in merger.definitions[llm])) {
        merger.merge(model, [llm, embedding]);
      }
      return !same;
    });
  }
}

function mergeListed(merger, identical) {
  for (const [name, members] of Object.entries(identical)) {
    for (const member of members) {
      if (!(member in merger.definitions)) {
        throw new Error(`names.json: "identical" lists ${member} under ${name}, but no such shape exists.`);
      }
      if (merger.fingerprint(member) !== merger.fingerprint(members[0])) {
        throw new Error(`names.json: ${member} no longer has the shape of ${members[0]}; take it out of ${name}.`);
      }
    }
    if (name in merger.definitions && !members.includes(name)) {
      throw new Error(`names.json: "identical" introduces ${name}, but a shape of that name exists.`);
    }
    merger.merge(name, members);
  }
}

function failOnUnlisted(merger, anonymous, coincidence) {
  const seen = new Map();
  const allowed = new Set(coincidence.map((names) => [...names].sort().join(" ")));
  const unused = new Set(allowed);
  for (const name of new Set([...anonymous].map((each) => merger.finalName(each)))) {
    if (!isObjectOrEnum(merger.definitions[name])) {
      continue;
    }
    const fingerprint = merger.fingerprint(name);
    const other = seen.get(fingerprint);
    const pair = other === undefined ? undefined : [other, name].sort().join(" ");
    if (pair !== undefined && !allowed.has(pair)) {
      throw new Error(
        `${other} and ${name} have the same shape and no common name. Name it under "identical" in names.json, ` +
          `or list the pair under "coincidence" if they only happen to look alike.`,
      );
    }
    unused.delete(pair);
    seen.set(fingerprint, name);
  }
  if (unused.size > 0) {
    throw new Error(`names.json: "coincidence" lists shapes that are not alike: ${[...unused].join("; ")}.`);
  }
}

/**
 * One definition for each shape that several endpoints share; fails on a shared shape without a name.
 *
 * @param anonymous names of the definitions that the SDK itself gives no name
 */
export function mergeIdentical(definitions, anonymous, { identical, coincidence }) {
  const merger = new Merger(definitions);
  mergeModelNamespaces(merger);
  mergeListed(merger, identical);
  failOnUnlisted(merger, anonymous, coincidence);
  return merger.result();
}

/** Puts in what the Zod schemas cannot say; fails on an entry that has become wrong or needless. */
export function applySupplement(definitions, supplement) {
  for (const [name, { replace = {}, add = {} }] of Object.entries(supplement)) {
    const properties = definitions[name]?.properties;
    if (properties === undefined) {
      throw new Error(`supplement.json: there is no object ${name}.`);
    }
    for (const [property, schema] of Object.entries({ ...replace, ...add })) {
      if (property in properties !== property in replace) {
        throw new Error(`supplement.json: ${name}.${property} ${property in add ? "exists already" : "does not exist"}.`);
      }
      if (JSON.stringify(properties[property]) === JSON.stringify(schema)) {
        throw new Error(`supplement.json: ${name}.${property} is the same without the entry; remove it.`);
      }
      properties[property] = schema;
    }
  }
}
