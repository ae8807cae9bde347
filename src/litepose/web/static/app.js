// The page: where pictures come from, what is shown, what can be set. The people are found in worker.js.

import { draw } from "./drawing.js";

const SIDES = [128, 160, 192, 224, 256];
const AVERAGED = 30; // frames of which the figures are medians
const WANTED_CAMERA = { width: { ideal: 640 }, height: { ideal: 480 } };
const at = (id) => document.getElementById(id);
const base = new URL(".", import.meta.url);
// Threads and memory of WebAssembly fail on some versions of iOS: one thread, unless asked for.
const isIOS = /iPad|iPhone|iPod/.test(navigator.userAgent)
  || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);

const state = {
  list: null, worker: null, waiting: new Map(), number: 0, skeleton: null,
  source: null, stream: null, facing: "environment", address: null, run: 0, times: [],
};
window.litepose = { latest: null, ready: false }; // for tests and the curious

function say(text, problem = false) {
  at("status").textContent = text;
  at("status").classList.toggle("problem", problem);
}

/** Ask the worker; resolves with its answer. */
function ask(message, transfer = []) {
  return new Promise((resolve, reject) => {
    const id = ++state.number;
    state.waiting.set(id, { resolve, reject });
    state.worker.postMessage({ ...message, id }, transfer);
  });
}

function startWorker() {
  state.worker?.terminate();
  for (const { reject } of state.waiting.values()) reject(new Error("settings changed"));
  state.waiting.clear();
  state.worker = new Worker(new URL("worker.js", base), { type: "module" });
  const failed = (text) => {
    for (const { reject } of state.waiting.values()) reject(new Error(text));
    state.waiting.clear();
  };
  state.worker.addEventListener("error", (event) => failed(event.message || "the worker cannot start"));
  state.worker.addEventListener("message", ({ data }) => {
    const asked = state.waiting.get(data.id);
    if (!asked) return;
    state.waiting.delete(data.id);
    if (data.kind === "problem") asked.reject(new Error(data.text));
    else asked.resolve(data);
  });
}

/** Return the model that is set, and the one whose people it gets boxes of, or null. */
function chosen() {
  const named = (wanted) => state.list.models.find(({ name }) => name === wanted);
  const model = named(at("model").value);
  return { model, finder: model.boxes_of ? named(model.boxes_of) : null };
}

/** Open the model and the engine that are set. */
async function open({ restart }) {
  window.litepose.ready = false;
  if (restart || !state.worker) startWorker();
  const { model, finder } = chosen();
  say(`Opening ${model.name} ...`);
  try {
    const engine = at("engine").value;
    await ask({ kind: "open", model, finder, engine, threads: Number(at("threads").value), base: base.href });
    state.skeleton = model.spec.skeleton;
    state.times = [];
    window.litepose.ready = true;
    const boxes = finder ? ` in the boxes of ${finder.name}` : "";
    say(`${model.name}${boxes}, ${((model.bytes + (finder?.bytes ?? 0)) / 1e6).toFixed(1)} MB, ready`);
  } catch (error) {
    if (error.message !== "settings changed") say(`${model.name} cannot be opened: ${error.message}`, true);
  }
}

/** End what is shown. */
function stop() {
  state.run++;
  state.stream?.getTracks().forEach((track) => track.stop());
  state.stream = null;
  at("video").pause();
  at("video").srcObject = null;
  at("video").removeAttribute("src");
  if (state.address) URL.revokeObjectURL(state.address);
  state.address = null;
  state.source = null;
  state.times = [];
  for (const id of ["video", "photo", "turn"]) at(id).hidden = true;
  for (const id of ["people", "fps", "pre", "network", "decode"]) at(id).textContent = "-";
  at("invitation").hidden = false;
  at("stop").disabled = true;
  at("stage").classList.remove("mirrored");
  at("overlay").getContext("2d").clearRect(0, 0, at("overlay").width, at("overlay").height);
}

function begin(source) {
  state.source = source;
  at(source === "photo" ? "photo" : "video").hidden = false;
  at("invitation").hidden = true;
  at("stop").disabled = false;
  return ++state.run;
}

async function openCamera() {
  stop();
  if (!navigator.mediaDevices?.getUserMedia) {
    say("A camera needs https or localhost, and a browser that knows getUserMedia.", true);
    return;
  }
  try {
    state.stream = await navigator.mediaDevices.getUserMedia({
      audio: false, video: { facingMode: state.facing, ...WANTED_CAMERA },
    });
  } catch (error) {
    say(`No camera: ${error.message || error.name}`, true);
    return;
  }
  const settings = state.stream.getVideoTracks()[0].getSettings();
  at("stage").classList.toggle("mirrored", settings.facingMode === "user"); // the drawing alone, never the picture
  at("video").srcObject = state.stream;
  await play(begin("camera"));
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
  at("turn").hidden = cameras.length < 2;
}

async function openFile(file) {
  stop();
  state.address = URL.createObjectURL(file);
  if (file.type.startsWith("video/")) {
    at("video").src = state.address;
    at("video").loop = true;
    await play(begin("video"));
    return;
  }
  try {
    await load(at("photo"), state.address);
  } catch {
    stop();
    say(`${file.name} is neither a photo nor a video that this browser reads.`, true);
    return;
  }
  begin("photo");
  await findInPhoto();
}

/** Show an image; resolves when its pixels can be read, which in Firefox is later than its decoding. */
async function load(image, address) {
  const loaded = new Promise((resolve, reject) => { [image.onload, image.onerror] = [resolve, reject]; });
  image.src = address;
  await loaded;
  await image.decode();
}

async function play(run) {
  try {
    await at("video").play();
  } catch (error) {
    if (run !== state.run) return;
    stop();
    say(`The video cannot be played: ${error.message}`, true);
    return;
  }
  follow(run);
}

/** Look at the newest frame whenever the worker is free; frames in between are left out. */
function follow(run) {
  const video = at("video");
  let busy = false;
  let last = null;
  const look = async () => {
    if (run !== state.run) return;
    next();
    if (busy || !window.litepose.ready || video.readyState < 2) return;
    busy = true;
    try {
      const bitmap = await createImageBitmap(video);
      if (run === state.run) {
        const found = await find(bitmap, false);
        const now = performance.now();
        if (found && run === state.run) show(found, last === null ? null : now - last);
        last = now;
      }
    } catch (error) {
      if (run === state.run && error.name !== "InvalidStateError") say(error.message, true);
    }
    busy = false;
  };
  const next = () => video.requestVideoFrameCallback ? video.requestVideoFrameCallback(look) : requestAnimationFrame(look);
  next();
}

async function findInPhoto() {
  if (!window.litepose.ready || state.source !== "photo") return;
  const run = state.run;
  try {
    const found = await find(await createImageBitmap(at("photo")), true);
    if (found && run === state.run) show(found, null);
  } catch (error) {
    if (run === state.run) say(error.message, true);
  }
}

async function find(bitmap, still) {
  try {
    return await ask({ kind: "find", bitmap, side: Number(at("side").value), still }, [bitmap]);
  } catch (error) {
    if (error.message === "settings changed") return null;
    throw error;
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

function show(found, between) {
  window.litepose.latest = { ...found, skeleton: state.skeleton };
  redraw();
  state.times.push({ ...found.times, between });
  if (state.times.length > AVERAGED) state.times.shift();
  for (const step of ["pre", "network", "decode"]) {
    const middle = median(state.times.map((one) => one[step]));
    at(step).textContent = `${middle.toFixed(middle < 20 ? 1 : 0)} ms`;
  }
  const gaps = state.times.map((one) => one.between).filter((one) => one !== null);
  at("fps").textContent = gaps.length ? (1000 / median(gaps)).toFixed(1) : "-";
}

function redraw() {
  const found = window.litepose.latest;
  if (!found || !state.source) return;
  const overlay = at("overlay");
  const [width, height] = found.picture;
  if (overlay.width !== width || overlay.height !== height) Object.assign(overlay, { width, height });
  const minScore = Number(at("person-score").value);
  draw(overlay, found.people, found.skeleton, { minScore, minKeypointScore: Number(at("keypoint-score").value) });
  at("people").textContent = found.people.filter(({ score }) => score >= minScore).length;
}

function fill(id, values, chosen) {
  at(id).replaceChildren(...values.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

function fillSides() {
  const { model, finder } = chosen();
  const own = Math.min(...(finder ?? model).spec.input.size);
  const sides = [...new Set([...SIDES, own, state.list.short_side])].sort((a, b) => a - b);
  const note = (side) => side === own ? " (as trained)" : "";
  fill("side", sides.map((side) => [side, `${side} px${note(side)}`]), Math.min(state.list.short_side, own));
}

function fillSettings() {
  fill("model", state.list.models.map(({ name }) => [name, name]), state.list.models[0].name);
  fillSides();
  const engines = state.list.engines.filter((name) => name !== "webgpu" || navigator.gpu);
  const names = { wasm: "WebAssembly", webgpu: "WebGPU (trial)" };
  fill("engine", engines.map((name) => [name, names[name]]), "wasm");
  const most = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  const counts = Array.from({ length: most }, (_, i) => i + 1);
  fill("threads", counts.map((count) => [count, String(count)]), isIOS ? 1 : Math.min(4, Math.max(1, most >> 1)));
  for (const id of ["person-score", "keypoint-score"]) {
    const showValue = () => { at(`${id}-value`).textContent = Number(at(id).value).toFixed(2); };
    at(id).addEventListener("input", () => { showValue(); redraw(); });
    showValue();
  }
}

function listen() {
  const reopen = async (restart) => { await open({ restart }); await findInPhoto(); };
  at("model").addEventListener("change", () => { fillSides(); reopen(false); });
  at("engine").addEventListener("change", () => reopen(true));
  at("threads").addEventListener("change", () => reopen(true));
  at("side").addEventListener("change", () => { state.times = []; findInPhoto(); });
  at("camera").addEventListener("click", openCamera);
  at("turn").addEventListener("click", () => {
    state.facing = state.facing === "user" ? "environment" : "user";
    openCamera();
  });
  at("stop").addEventListener("click", stop);
  at("file").addEventListener("change", () => {
    if (at("file").files.length) openFile(at("file").files[0]);
    at("file").value = "";
  });
}

async function start() {
  if ("serviceWorker" in navigator && globalThis.isSecureContext) {
    navigator.serviceWorker.register(new URL("service-worker.js", base)).catch(() => {}); // the page works without
  }
  try {
    const answer = await fetch(new URL("models.json", base));
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    state.list = await answer.json();
  } catch (error) {
    say(`The list of models cannot be read: ${error.message}`, true);
    return;
  }
  fillSettings();
  listen();
  await open({ restart: false });
}

start();
