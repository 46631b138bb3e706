// A plugin, as `lms dev` would start it: everything it can offer, each thing in its simplest form.

import { LMStudioClient, createConfigSchematics, rawFunctionTool, text, tool } from "@lmstudio/sdk";
import { z } from "zod";

const { LMS_PLUGIN_CLIENT_IDENTIFIER, LMS_PLUGIN_CLIENT_PASSKEY, LMS_PLUGIN_BASE_URL } = process.env;
const logger = { debug() {}, info() {}, warn: console.error, error: console.error };
const client = new LMStudioClient({
  clientIdentifier: LMS_PLUGIN_CLIENT_IDENTIFIER,
  clientPasskey: LMS_PLUGIN_CLIENT_PASSKEY,
  baseUrl: LMS_PLUGIN_BASE_URL,
  logger,
});
const host = client.plugins.getSelfRegistrationHost();

const schematics = createConfigSchematics()
  .field("greeting", "string", { displayName: "Greeting" }, "Hello")
  .build();
const globalSchematics = createConfigSchematics()
  .field("key", "string", { displayName: "Key", isProtected: true }, "none")
  .build();

const untilAborted = (signal) =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

async function toolsProvider(ctl) {
  const greeting = ctl.getPluginConfig(schematics).get("greeting");
  if (greeting === "fail") {
    throw Object.assign(new Error("There are no tools today."), { cause: "It is Sunday." });
  }
  return [
    tool({
      name: "greet",
      description: text`Greets somebody.`,
      parameters: { name: z.string() },
      implementation({ name }, { status, warn }) {
        status("Looking up the name.");
        warn("It is early.");
        return { greeting: `${greeting}, ${name}!`, key: ctl.getGlobalPluginConfig(globalSchematics).get("key") };
      },
    }),
    tool({
      name: "where",
      description: "Says where it works.",
      parameters: {},
      implementation: () => ctl.getWorkingDirectory(),
    }),
    tool({
      name: "nothing",
      description: "Returns nothing.",
      parameters: {},
      implementation() {},
    }),
    rawFunctionTool({
      name: "wait",
      description: "Waits until it is stopped.",
      parametersJsonSchema: { type: "object", properties: {} },
      async implementation(_params, { status, signal }) {
        status("Waiting.");
        signal.addEventListener("abort", () => console.log("aborted wait"));
        await untilAborted(signal);
      },
    }),
    tool({
      name: "exit",
      description: "Ends the plugin.",
      parameters: {},
      implementation: () => process.exit(3),
    }),
  ];
}

async function preprocess(ctl, message) {
  const status = ctl.createStatus({ status: "loading", text: "Shouting" });
  const history = await ctl.pullHistory();
  if (message.getText() === "fail") {
    throw new Error("I have no voice.");
  }
  if (message.getText() === "wait") {
    await untilAborted(ctl.abortSignal);
  }
  status.setState({ status: "done", text: `Shouted after ${history.getLength()} messages` });
  return message.getText().toUpperCase();
}

async function predictionLoop(ctl) {
  const source = await ctl.tokenSource();
  if (await ctl.needsNaming()) {
    await ctl.suggestName("A chat");
  }
  await ctl.setSenderName("Helper");
  const answer = await ctl.requestConfirmToolCall({ callId: 1, name: "greet", parameters: { name: "Ada" } });
  const block = ctl.createContentBlock();
  block.appendText(`${answer.type}: `);
  const prediction = source.respond(await ctl.pullHistory());
  for await (const { content } of prediction) {
    block.appendText(content);
  }
}

async function generate(ctl, history) {
  const last = history.at(-1).getText();
  if (last === "fail") {
    throw Object.assign(new Error("No words."), { suggestion: "Ask for something else." });
  }
  const [first] = ctl.getToolDefinitions();
  if (first !== undefined && history.at(-1).getRole() === "user") {
    ctl.toolCallGenerationStarted({ toolCallId: "call-1" });
    ctl.toolCallGenerationNameReceived(first.function.name);
    ctl.toolCallGenerationArgumentFragmentGenerated('{"a":1}');
    ctl.toolCallGenerationEnded({ type: "function", id: "call-1", name: first.function.name, arguments: { a: 1 } });
    return;
  }
  ctl.fragmentGenerated("Let me see.", { reasoningType: "reasoning", tokenCount: 3 });
  ctl.fragmentGenerated(`You said: ${last}`);
  if (last === "wait") {
    ctl.onAborted(() => console.log("aborted generation"));
    await untilAborted(ctl.abortSignal);
  }
}

await host.setConfigSchematics(schematics);
await host.setGlobalConfigSchematics(globalSchematics);
if (process.argv.includes("--loop")) {
  host.setPredictionLoopHandler(predictionLoop);
} else {
  host.setToolsProvider(toolsProvider);
}
host.setPromptPreprocessor(preprocess);
host.setGenerator(generate);
await host.initCompleted();
console.log("ready");
