// The native protocol, as far as the page needs it: one WebSocket for each namespace, calls and channels over it.

export class RefusedError extends Error {}

function randomText() {
  return Array.from(crypto.getRandomValues(new Uint8Array(18)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const guest = { clientIdentifier: `guest:${randomText()}`, clientPasskey: randomText() };

/** Identifier and passkey of an API token; a guest's without one. */
function credentials(token) {
  const match = /^sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})$/.exec(token);
  return match ? { clientIdentifier: match[1], clientPasskey: match[2] } : guest;
}

function asError(serialized) {
  const parts = [serialized.title, serialized.cause, serialized.suggestion].filter(Boolean);
  return new Error(parts.map((part) => part.replace(/[.]?$/, ".")).join(" ") || "The server reported an error.");
}

/** One namespace. A connection that is lost is opened anew by the next call. */
export class Namespace {
  constructor(name, token) {
    this.name = name;
    this.token = token;
    this.opening = null;
    this.calls = new Map();
    this.channels = new Map();
    this.nextId = 0;
  }

  async connect() {
    this.opening ??= this.#open().catch((error) => { this.opening = null; throw error; });
    return this.opening;
  }

  #open() {
    return new Promise((resolve, reject) => {
      const url = new URL(this.name, location.href);
      url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
      const socket = new WebSocket(url);
      let isOpen = false;
      socket.onopen = () => socket.send(JSON.stringify({ authVersion: 1, ...credentials(this.token()) }));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (isOpen) {
          this.#receive(message);
        } else if (message.success) {
          isOpen = true;
          resolve(socket);
        } else {
          reject(new RefusedError(message.error));
        }
      };
      socket.onclose = () => {
        this.opening = null;
        const error = new Error("The connection to the server was lost.");
        reject(error);
        for (const { reject: fail } of this.calls.values()) fail(error);
        for (const { reject: fail } of this.channels.values()) fail(error);
        this.calls.clear();
        this.channels.clear();
      };
    });
  }

  #receive(message) {
    switch (message.type) {
      case "rpcResult": case "rpcError": {
        const call = this.calls.get(message.callId);
        this.calls.delete(message.callId);
        if (message.type === "rpcResult") call?.resolve(message.result); else call?.reject(asError(message.error));
        break;
      }
      case "channelSend":
        this.channels.get(message.channelId)?.onPacket(message.message);
        break;
      case "channelClose": case "channelError": {
        const channel = this.channels.get(message.channelId);
        this.channels.delete(message.channelId);
        if (message.type === "channelClose") channel?.resolve(); else channel?.reject(asError(message.error));
        break;
      }
    }
  }

  async call(endpoint, parameter) {
    const socket = await this.connect();
    const callId = this.nextId++;
    return new Promise((resolve, reject) => {
      this.calls.set(callId, { resolve, reject });
      socket.send(JSON.stringify({ type: "rpcCall", endpoint, callId, parameter }));
    });
  }

  /** Open a channel: `done` settles with its end, `send` sends a packet. */
  async channel(endpoint, creationParameter, onPacket) {
    const socket = await this.connect();
    const channelId = this.nextId++;
    const done = new Promise((resolve, reject) => {
      this.channels.set(channelId, { resolve, reject, onPacket });
      socket.send(JSON.stringify({ type: "channelCreate", endpoint, channelId, creationParameter }));
    });
    const send = (message) => {
      if (this.channels.has(channelId)) socket.send(JSON.stringify({ type: "channelSend", channelId, message }));
    };
    return { done, send };
  }

  async close() {
    const socket = await this.opening?.catch(() => null);
    socket?.close();
  }
}
