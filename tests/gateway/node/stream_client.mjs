// How programs without a library read a stream: chunks of bytes split at line ends, "data: " taken off, up to [DONE].
// Usage: node stream_client.mjs BASE_URL MODEL TEXT. Prints what the model has written.

const [baseUrl, model, text] = process.argv.slice(2);

const response = await fetch(`${baseUrl}/v1/chat/completions`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ model, messages: [{ role: "user", content: text }], stream: true }),
});
if (!response.ok) {
  throw new Error(`${response.status}: ${(await response.json()).error.message}`);
}

const reader = response.body.getReader();
const decoder = new TextDecoder();
let buffer = "";
let isDone = false;

while (!isDone) {
  const { done, value } = await reader.read();
  if (done) break;
  buffer += decoder.decode(value, { stream: true });
  const lines = buffer.split("\n");
  buffer = lines.pop();
  for (const line of lines) {
    if (!line.startsWith("data: ")) continue;
    const data = line.slice(6);
    if (data === "[DONE]") {
      isDone = true;
      break;
    }
    const content = JSON.parse(data).choices[0].delta.content;
    if (content) process.stdout.write(content);
  }
}
if (!isDone) throw new Error("The stream has no end.");
