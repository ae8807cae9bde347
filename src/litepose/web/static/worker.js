// Pictures in, people out, beside the page's own thread: the engine, its models, input and decoding.
// Messages in: {kind: "open", ...} and {kind: "find", ...}; out: the same kind with the same `id`, or "problem".

import { boxesOf, decodeCrop, join, planOfBox } from "./crops.js";
import { decode } from "./decode.js";
import { MIN_CROP_ZOOM, MIN_ZOOM, plan, toPicture } from "./picture.js";
import { Pixels } from "./pixels.js";

const ENGINES = { wasm: "./ort/ort.wasm.min.mjs", webgpu: "./ort/ort.webgpu.min.mjs" };
const KEPT_SESSIONS = 4; // of models and input sizes: a phone that is turned, a photo in between

let ort = null;
let opened = null; // {model, finder: whose people get boxes, null = none is needed, files: name -> bytes, engine}
let sessions = new Map(); // "name WxH" -> session, oldest first

/** Load the engine, once, and the models' files. A worker serves one engine and one number of threads. */
async function open({ model, finder, engine, threads, base }) {
  if (!ort) {
    ort = await import(ENGINES[engine]);
    ort.env.wasm.wasmPaths = new URL("ort/", base).href;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
  }
  const files = new Map();
  for (const one of finder ? [finder, model] : [model]) files.set(one.name, await fetched(one, base));
  await forget(0);
  opened = { model, finder, files, engine };
}

/** Return the bytes of a model's file; refuse a file that is not the one that models.json describes. */
async function fetched(model, base) {
  const answer = await fetch(new URL(model.file, base));
  if (!answer.ok) throw new Error(`${model.file}: HTTP ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (!globalThis.crypto?.subtle) return bytes; // only in secure contexts
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== model.sha256) throw new Error(`${model.file} is damaged or of another version: reload the page`);
  return bytes;
}

async function sessionFor({ name }, [width, height]) {
  const key = `${name} ${width}x${height}`;
  if (!sessions.has(key)) {
    await forget(KEPT_SESSIONS - 1);
    // Known sizes let the engine compute everything once that depends on them alone.
    const session = await ort.InferenceSession.create(opened.files.get(name), {
      executionProviders: [opened.engine], graphOptimizationLevel: "all",
      freeDimensionOverrides: { batch: 1, height, width },
    });
    sessions.set(key, session);
  }
  return sessions.get(key);
}

async function forget(left) {
  while (sessions.size > left) {
    const [key, session] = sessions.entries().next().value;
    sessions.delete(key);
    await session.release();
  }
}

/** The milliseconds of each step; what lies between `begin` and `end` counts. */
class Clock {
  times = { pre: 0, network: 0, decode: 0 };

  begin() {
    this.last = performance.now();
  }

  end(step) {
    const now = performance.now();
    this.times[step] += now - this.last;
    this.last = now;
  }
}

/** Find the people of a picture. */
async function find({ bitmap, side, still }) {
  const { model, finder } = opened;
  const pixels = new Pixels(bitmap, still);
  const clock = new Clock();
  const whole = finder ?? model;
  const made = plan(pixels.size, whole.spec, side, whole.height_multiple);
  const maps = await compute(whole, pixels, made, MIN_ZOOM, clock);
  let people = toPicture(decode(maps, whole.spec, made.size), made);
  if (finder) people = await findInBoxes(model, boxesOf(people, pixels.size), pixels, clock);
  clock.end("decode");
  pixels.close();
  return { people, picture: pixels.size, input: made.size, times: clock.times };
}

/** Find one person in each box, and return them without those found twice. */
async function findInBoxes(model, boxes, pixels, clock) {
  const found = [];
  for (const { box, score } of boxes) {
    clock.end("decode");
    const made = planOfBox(box, model.spec);
    const [map] = await compute(model, pixels, made, MIN_CROP_ZOOM, clock);
    const person = decodeCrop(map, model.spec);
    if (person) found.push({ person: toPicture([person], made)[0], area: made.area, score });
  }
  return join(found, model.spec);
}

/** Return a network's maps of a plan's part of a picture: [{data, dims}] in the spec's order. */
async function compute(model, pixels, made, minZoom, clock) {
  const session = await sessionFor(model, made.size);
  clock.begin();
  const tensor = pixels.tensor(made, model.spec, minZoom);
  const [width, height] = made.size;
  const input = new ort.Tensor("float32", tensor, [1, 3, height, width]);
  clock.end("pre");
  const outputs = await session.run({ image: input });
  const maps = [];
  for (const { name } of model.spec.outputs) maps.push({ data: await outputs[name].getData(), dims: outputs[name].dims });
  for (const one of Object.values(outputs)) one.dispose();
  clock.end("network");
  return maps;
}

let last = Promise.resolve(); // one message after the other

addEventListener("message", ({ data }) => {
  last = last.then(async () => {
    try {
      const result = await (data.kind === "open" ? open(data) : find(data));
      postMessage({ kind: data.kind, id: data.id, ...result });
    } catch (error) {
      postMessage({ kind: "problem", id: data.id, text: String(error?.message ?? error) });
    }
  });
});
