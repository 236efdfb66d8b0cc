// Files, and the worker that runs the nets.
import { inflate } from "./scene.js";

/** The bytes of a file of the playground: from beside the page, or from within it where it is one file. */
export async function file(name) {
  const inside = document.getElementById(`file:${name}`);
  if (inside) {
    const text = atob(inside.textContent);
    return inflate([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], "gzip");
  }
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** One worker; one question at a time is answered, in order. */
export class Nets {
  #waiting = new Map();
  #next = 0;
  #ready = new Map();
  #files = new Map();
  #started = null;

  /** nets: what playground.json says of each. */
  constructor(nets) {
    this.nets = nets;
    const inside = globalThis.workerAddress; // where the playground is one file
    this.worker = inside ? new Worker(inside) : new Worker("net.js", { type: "module" });
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || "the worker could not be started"));
    };
  }

  #ask(question) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...question });
    });
  }

  /** Load a net's graph, "forward" or "full", unless it is loaded. */
  prepare(net, kind) {
    const name = `${net}/${kind}`;
    if (!this.#ready.has(name)) {
      const loading = this.#load(net, kind, name);
      loading.catch(() => this.#ready.delete(name));
      this.#ready.set(name, loading);
    }
    return this.#ready.get(name);
  }

  async #load(net, kind, name) {
    const about = this.nets[net];
    this.#started ??= this.#file("vendor/ort.wasm.gz.bin").then((packed) => inflate([packed], "gzip")).then((wasm) => this.#ask({ start: wasm }));
    this.#started.catch(() => { this.#started = null; });
    const [graph, shared, patch] = await Promise.all(
      [this.#file(about[kind]), this.#file(about.weights), about.patch && this.#file(about.patch), this.#started]);
    const weights = shared.slice();
    if (patch) weights.set(patch, about.offset);
    await this.#ask({ prepare: name, graph, weights, location: about.location });
  }

  #file(name) {
    if (!this.#files.has(name)) {
      const loading = file(name);
      loading.catch(() => this.#files.delete(name));
      this.#files.set(name, loading);
    }
    return this.#files.get(name);
  }

  /** {milliseconds, results} of the logits alone. */
  async forward(net, image) {
    await this.prepare(net, "forward");
    return this.#ask({ run: `${net}/forward`, image, outputs: ["logits"] });
  }

  /** {milliseconds, results} of a class, with so many ReLUs guided, the last ones first. */
  async full(net, image, target, guided, outputs) {
    await this.prepare(net, "full");
    const { labels, relus } = this.nets[net];
    const weights = new Float32Array(labels.length);
    weights[target] = 1;
    const floor = new Float32Array(relus.length).fill(-3e38);
    floor.fill(0, relus.length - guided);
    return this.#ask({ run: `${net}/full`, image, weights, floor, outputs });
  }
}
