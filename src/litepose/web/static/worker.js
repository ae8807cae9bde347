// Pictures in, people out, beside the page's own thread: the engine, its models, input and decoding.
// Messages in: {kind: "open", ...} and {kind: "find", ...}; out: the same kind with the same `id`, or "problem".

import { decode } from "./decode.js";
import { plan, planOfShrunk, shrink, shrunkSize, toPicture, toTensor } from "./picture.js";

const ENGINES = { wasm: "./ort/ort.wasm.min.mjs", webgpu: "./ort/ort.webgpu.min.mjs" };
const QUICKLY_SHRUNK = 1e6; // pixels of a frame from which on the browser shrinks it
const KEPT_SESSIONS = 3; // of input sizes: a phone that is turned, a photo in between

let ort = null;
let opened = null; // {model, bytes, engine}
let sessions = new Map(); // "WxH" -> session, oldest first
let canvas = null;

/** Load the engine, once, and a model's file. A worker serves one engine and one number of threads. */
async function open({ model, engine, threads, base }) {
  if (!ort) {
    ort = await import(ENGINES[engine]);
    ort.env.wasm.wasmPaths = new URL("ort/", base).href;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
  }
  const answer = await fetch(new URL(model.file, base));
  if (!answer.ok) throw new Error(`${model.file}: HTTP ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  await check(bytes, model);
  await forget(0);
  opened = { model, bytes, engine };
  return { bytes: bytes.length };
}

/** Refuse a file that is not the one that models.json describes. */
async function check(bytes, model) {
  if (!globalThis.crypto?.subtle) return; // only in secure contexts
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== model.sha256) throw new Error(`${model.file} is damaged or of another version: reload the page`);
}

async function sessionFor([width, height]) {
  const key = `${width}x${height}`;
  if (!sessions.has(key)) {
    await forget(KEPT_SESSIONS - 1);
    // Known sizes let the engine compute everything once that depends on them alone.
    const session = await ort.InferenceSession.create(opened.bytes, {
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

/** Find the people of a picture. still: a photo, for which there is time to shrink it as Python does, however large. */
async function find({ bitmap, side, still }) {
  const { spec, height_multiple: multiple } = opened.model;
  const picture = [bitmap.width, bitmap.height];
  const made = plan(picture, spec, side, multiple);
  const session = await sessionFor(made.size);

  const start = performance.now();
  const small = shrunkSize(picture, made);
  const exact = still || picture[0] * picture[1] < QUICKLY_SHRUNK;
  let pixels = pixelsOf(bitmap, small && !exact ? small : picture);
  if (small && exact) pixels = shrink(pixels, small);
  bitmap.close();
  const tensor = toTensor(pixels, small ? planOfShrunk(made, picture, small) : made, spec);
  const input = new ort.Tensor("float32", tensor, [1, 3, made.size[1], made.size[0]]);

  const prepared = performance.now();
  const outputs = await session.run({ image: input });
  const maps = await Promise.all(spec.outputs.map(async ({ name }) => {
    const one = outputs[name];
    return { data: await one.getData(), dims: one.dims };
  }));
  const computed = performance.now();
  const people = toPicture(decode(maps, spec, made.size), made);
  for (const one of Object.values(outputs)) one.dispose();
  const times = { pre: prepared - start, network: computed - prepared, decode: performance.now() - computed };
  return { people, picture, input: made.size, times };
}

function pixelsOf(bitmap, [width, height]) {
  if (!canvas || canvas.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind transparent pictures
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
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
