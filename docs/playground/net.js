// The nets, off the page's own thread. The page sends bytes, so that nothing is fetched here.
//   {start: wasm}                               the runtime's own code, first of all
//   {prepare: name, graph, weights, location}   makes a session ready
//   {run: name, image, weights, floor, outputs} runs it; weights: of the logits, floor: of the ReLUs
// Each answer has the question's id.
import * as ort from "./vendor/ort.mjs";

ort.env.wasm.numThreads = 1; // more need cross-origin isolation, and win little with nets this small
const sessions = new Map();

function start(wasm) {
  ort.env.wasm.wasmBinary = wasm;
  return {};
}

async function prepare({ prepare: name, graph, weights, location }) {
  const options = { logSeverityLevel: 3, externalData: [{ path: location, data: weights }] };
  sessions.set(name, await ort.InferenceSession.create(graph, options));
  return {};
}

async function run({ run: name, image, weights, floor, outputs }) {
  const feeds = { image: new ort.Tensor("float32", image, [1, 3, 224, 224]) };
  if (weights) {
    feeds.class = new ort.Tensor("float32", weights, [1, weights.length]);
    feeds.floor = new ort.Tensor("float32", floor, [floor.length]);
  }
  const start = performance.now();
  const results = await sessions.get(name).run(feeds, outputs);
  const milliseconds = performance.now() - start;
  return { milliseconds, results: Object.fromEntries(Object.entries(results).map(([key, { data }]) => [key, data])) };
}

onmessage = async ({ data }) => {
  try {
    const answer = data.start ? start(data.start) : await (data.prepare ? prepare(data) : run(data));
    postMessage({ id: data.id, ...answer });
  } catch (error) {
    postMessage({ id: data.id, error: String(error) });
  }
};
