// Gives every shape that becomes a Python name its name.
//
// In order: the entry of names.json for the derived name, else the derived name. Derived names are
//   llmPredictionFragmentSchema          -> LlmPredictionFragment                (the SDK's constant)
//   llm, channel predict, toClientPacket -> LlmChannelPredictToClientPacket      (the endpoint)
//   a member of a tagged union           -> the union's name + its tag
//   a property of a named shape          -> the shape's name + the property

const WRAPPERS = { ZodOptional: "innerType", ZodNullable: "innerType", ZodDefault: "innerType", ZodEffects: "schema" };

export const pascal = (text) =>
  text
    .split(/[^A-Za-z0-9]+/)
    .filter(Boolean)
    .map((word) => word[0].toUpperCase() + word.slice(1))
    .join("");

/** The schema below optional, nullable, default and effect wrappers. */
export function unwrap(schema) {
  const inner = WRAPPERS[schema._def.typeName];
  return inner === undefined ? schema : unwrap(schema._def[inner]);
}

export const unionOptions = (schema) =>
  schema._def.options instanceof Map ? [...schema._def.options.values()] : schema._def.options;

/** The literal string that tells the members of a union apart, or undefined. */
export function tagOf(schema, property) {
  const literal = unwrap(schema)._def.shape?.()[property];
  return literal?._def.typeName === "ZodLiteral" ? literal._def.value : undefined;
}

export class Namer {
  /** @param constants name of the SDK's constant -> schema; @param renames derived name -> Python name */
  constructor(constants, renames) {
    this.renames = renames;
    this.usedRenames = new Set();
    this.names = new Map(); // schema._def -> name
    this.schemas = new Map(); // name -> schema
    this.anonymous = new Set(); // names of shapes that the SDK gives no constant
    this.constants = new Map(); // schema._def -> name
    for (const [constant, schema] of Object.entries(constants)) {
      const name = pascal(constant.replace(/Schema(\$\d+)?$/, ""));
      if (schema?._def !== undefined) {
        this.constants.set(schema._def, name);
      }
    }
  }

  /** Names the shape and everything below it; a shape that is seen again keeps its first name. */
  visit(schema, derivedName) {
    const core = unwrap(schema);
    const constant = this.constantName(schema);
    if (this.names.has(core._def)) {
      return;
    }
    if (constant !== undefined ? isWorthAName(core) : isAlwaysNamed(core)) {
      this.assign(core, constant ?? derivedName);
      if (constant === undefined) {
        this.anonymous.add(this.names.get(core._def));
      }
    }
    this.visitMembers(core, this.names.get(core._def) ?? derivedName);
  }

  /** The SDK's name for the schema, or for the outermost of the schemas it wraps that has one. */
  constantName(schema) {
    const inner = WRAPPERS[schema._def.typeName];
    return this.constants.get(schema._def) ?? (inner === undefined ? undefined : this.constantName(schema._def[inner]));
  }

  visitMembers(schema, name) {
    const def = schema._def;
    switch (def.typeName) {
      case "ZodObject":
        for (const [property, member] of Object.entries(def.shape())) {
          this.visit(member, name + pascal(property));
        }
        break;
      case "ZodArray":
        this.visit(def.type, name);
        break;
      case "ZodRecord":
      case "ZodMap":
        this.visit(def.valueType, name);
        if (def.keyType !== undefined) {
          this.visit(def.keyType, `${name}Key`);
        }
        break;
      case "ZodTuple":
        def.items.forEach((item, index) => this.visit(item, `${name}${index}`));
        break;
      case "ZodDiscriminatedUnion":
        for (const option of unionOptions(schema)) {
          this.visit(option, name + pascal(String(tagOf(option, def.discriminator))));
        }
        break;
      case "ZodUnion":
        for (const option of unionOptions(schema)) {
          this.visit(option, name);
        }
        break;
    }
  }

  assign(schema, derivedName) {
    const name = this.renames[derivedName] ?? derivedName;
    if (this.renames[derivedName] !== undefined) {
      this.usedRenames.add(derivedName);
    }
    const other = this.schemas.get(name);
    if (other !== undefined && !isUnionOfJust(other, schema)) {
      throw new Error(
        `Two different shapes would be named ${name} (the second one is derived as ${derivedName}). ` +
          `Give ${derivedName} a name of its own under "rename" in names.json.`,
      );
    }
    this.names.set(schema._def, name);
    this.schemas.set(name, schema);
  }

  /** Fails on an entry of names.json that no shape asked for: it is a typing error or the SDK has changed. */
  checkAllRenamesUsed() {
    const unused = Object.keys(this.renames).filter((name) => !this.usedRenames.has(name));
    if (unused.length > 0) {
      throw new Error(`names.json renames shapes that do not exist: ${unused.join(", ")}. Remove or correct them.`);
    }
  }
}

/** A union of one member is that member: both may have one name. */
function isUnionOfJust(union, member) {
  const options = union._def.typeName === "ZodDiscriminatedUnion" ? unionOptions(union) : [];
  return options.length === 1 && options[0]._def === member._def;
}

function isAlwaysNamed(schema) {
  const { typeName } = schema._def;
  return typeName === "ZodObject" || typeName === "ZodDiscriminatedUnion" || typeName === "ZodEnum";
}

/** A constant such as `z.string()` adds nothing to `str`; one with checks does. */
function isWorthAName(schema) {
  const { typeName, checks } = schema._def;
  if (typeName === "ZodAny" || typeName === "ZodBoolean") {
    return false;
  }
  return (typeName !== "ZodString" && typeName !== "ZodNumber") || checks.length > 0;
}
