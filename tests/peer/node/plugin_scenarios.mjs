// Developing plugins, as `lms dev` does it, and using what they offer.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const developed = new Map();

export const PLUGIN_SCENARIOS = {
  /** Register a plugin and run *command* as its process. Each line that it prints is an event "printed". */
  async developPlugin(client, { manifest, command }, emit) {
    const { clientIdentifier, clientPasskey, baseUrl, unregister } = await client.plugins.registerDevelopmentPlugin({
      manifest,
    });
    emit("registered", { clientIdentifier, baseUrl });
    const [program, ...args] = command;
    const child = spawn(program === "node" ? process.execPath : program, args, {
      env: {
        ...process.env,
        LMS_PLUGIN_CLIENT_IDENTIFIER: clientIdentifier,
        LMS_PLUGIN_CLIENT_PASSKEY: clientPasskey,
        LMS_PLUGIN_BASE_URL: baseUrl,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    developed.set(manifest.name, { unregister, child });
    createInterface({ input: child.stdout }).on("line", (line) => emit(line === "ready" ? "ready" : "printed", line));
    const status = await new Promise((resolve) => child.on("close", resolve));
    return { status };
  },

  async endPlugin(_client, { name }) {
    const { unregister, child } = developed.get(name);
    await unregister();
    child.kill();
  },

  /** Use tools of a plugin, one after the other; each result, or {error}. With *abortOn* a status aborts the call. */
  async useTools(client, { plugin, opts, calls }, emit) {
    const session = await client.plugins.pluginTools(plugin, opts);
    try {
      emit("tools", session.tools.map(({ name, description }) => ({ name, description })));
      const results = [];
      for (const { name, params = {}, abortOn } of calls) {
        results.push(await useTool(session, name, params, abortOn, emit));
      }
      return results;
    } finally {
      session[Symbol.dispose]();
    }
  },

  /** `act` of a loaded model with all tools of a plugin. */
  async actWithPlugin(client, { plugin, model, input }, emit) {
    const session = await client.plugins.pluginTools(plugin);
    try {
      const loaded = await client.llm.model(model, { verbose: false });
      const { rounds } = await loaded.act(input, session.tools, {
        onMessage: (message) =>
          emit("message", { text: message.getText(), results: message.getToolCallResults().map((each) => each.content) }),
      });
      return rounds;
    } finally {
      session[Symbol.dispose]();
    }
  },

  /** `respond` of a generator plugin; *cancelAfter* fragments it is cancelled. */
  async generate(client, { plugin, input, cancelAfter }, emit) {
    const prediction = client.plugins.createGeneratorHandle(plugin).respond(input);
    let fragments = 0;
    for await (const { content, reasoningType, tokensCount } of prediction) {
      emit("fragment", { content, reasoningType, tokensCount });
      fragments += 1;
      if (fragments === cancelAfter) {
        prediction.cancel();
      }
    }
    const { content, reasoningContent, nonReasoningContent, pluginIdentifier } = await prediction.result();
    return { content, reasoningContent, nonReasoningContent, pluginIdentifier };
  },

  /** `act` of a generator plugin with the given tools, which `makeTool` made. */
  async generatorAct(client, { plugin, input, tools }, emit) {
    const { rounds } = await client.plugins.createGeneratorHandle(plugin).act(input, tools, {
      onMessage: (message) => emit("message", { role: message.getRole(), text: message.getText() }),
    });
    return rounds;
  },
};

async function useTool(session, name, params, abortOn, emit) {
  const controller = new AbortController();
  const context = {
    callId: 0,
    signal: controller.signal,
    status(text) {
      emit("status", text);
      if (text === abortOn) {
        controller.abort(new Error("Not wanted any more."));
      }
    },
    warn: (text) => emit("warn", text),
  };
  try {
    return await session.tools.find((each) => each.name === name).implementation(params, context);
  } catch (error) {
    return { error: error.message, cause: error.cause?.message ?? error.cause };
  }
}
