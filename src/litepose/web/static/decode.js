// From a network's maps to people: the mode "fast" of codecs/ae.py of the Python package, for one pass over a picture.
// One thing differs: equal peaks of one keypoint come in the order of their cells, not in torch.topk's.

import { group, rint } from "./grouping.js";
import { withoutDoubles } from "./likeness.js";

/**
 * Return the people, best first: [{score, keypoints: [[x, y, score], ...]}], in pixels of the network input.
 * outputs: the network's maps in the spec's order, [{data: Float32Array, dims: [1, C, h, w]}].
 * spec: a model's pose spec. size: [w, h] of the input.
 */
export function decode(outputs, spec, size) {
  const { codec, skeleton } = spec;
  const count = skeleton.keypoints.length;
  const heat = mergeHeatmaps(outputs, codec, count);
  const tags = tagMaps(outputs, codec, count);
  const candidates = heat.maps.map((map, keypoint) =>
    findPeaks(map, heat.width, heat.height, codec).map(([cell, score]) => {
      const x = cell % heat.width;
      const y = (cell - x) / heat.width;
      return { x, y, score, tag: tagAt(tags, keypoint, x, y, heat) };
    }));
  const people = group(candidates, {
    maxPeople: codec.max_people, tagThreshold: codec.tag_threshold, ignoreTooMuch: codec.ignore_too_much,
  });
  const scores = people.map((rows) => meanHeat(rows, count));
  if (codec.refine) people.forEach((rows) => fillIn(rows, heat, tags, count));
  const cell = [size[0] / heat.width, size[1] / heat.height];
  const everybody = people.map((rows, i) => {
    const keypoints = places(rows, heat, count, cell);
    return { score: scores[i], keypoints, area: areaOf(keypoints) };
  });
  const stay = new Set(withoutDoubles(everybody, { threshold: codec.nms_threshold ?? 1, skeleton, foundAlone: true }));
  return everybody
    .filter((one) => stay.has(one))
    .map(({ score, keypoints }) => ({ score, keypoints }))
    .sort((a, b) => b.score - a.score);
}

/** The area of the box around the found keypoints. */
function areaOf(keypoints) {
  const found = keypoints.filter((one) => one[2] > 0);
  const [xs, ys] = [found.map(([x]) => x), found.map(([, y]) => y)];
  return found.length ? (Math.max(...xs) - Math.min(...xs)) * (Math.max(...ys) - Math.min(...ys)) : 0;
}

/** Average the heatmaps of all outputs at the last output's size. */
function mergeHeatmaps(outputs, codec, count) {
  const [height, width] = outputs.at(-1).dims.slice(2);
  const parts = outputs.filter((_, i) => codec.heatmap_outputs[i]);
  const maps = [];
  for (let keypoint = 0; keypoint < count; keypoint++) {
    const merged = new Float32Array(width * height);
    for (const { data, dims } of parts) {
      const area = dims[2] * dims[3];
      const map = data.subarray(keypoint * area, (keypoint + 1) * area);
      addResized(merged, map, dims[3], dims[2], width, height, 1 / parts.length);
    }
    maps.push(merged);
  }
  return { maps, width, height };
}

/** Add a map, enlarged bilinearly with half-pixel centres, times a share. */
function addResized(target, map, width, height, newWidth, newHeight, share) {
  if (width === newWidth && height === newHeight) {
    for (let i = 0; i < target.length; i++) target[i] += map[i] * share;
    return;
  }
  const across = taps(width, newWidth);
  const down = taps(height, newHeight);
  const lines = new Float32Array(2 * newWidth);
  for (let y = 0, at = 0; y < newHeight; y++) {
    const [top, bottom, below] = [down.low[y] * width, down.high[y] * width, down.share[y]];
    for (let x = 0; x < newWidth; x++) {
      const [left, right, beside] = [across.low[x], across.high[x], across.share[x]];
      lines[x] = map[top + left] * (1 - beside) + map[top + right] * beside;
      lines[newWidth + x] = map[bottom + left] * (1 - beside) + map[bottom + right] * beside;
    }
    for (let x = 0; x < newWidth; x++, at++) {
      target[at] += (lines[x] * (1 - below) + lines[newWidth + x] * below) * share;
    }
  }
}

/** Between which two of `length` cells each of `enlarged` ones lies, and the share of the second. */
function taps(length, enlarged) {
  const low = new Int32Array(enlarged);
  const high = new Int32Array(enlarged);
  const share = new Float32Array(enlarged);
  for (let i = 0; i < enlarged; i++) {
    const at = Math.min(Math.max((i + 0.5) * (length / enlarged) - 0.5, 0), length - 1);
    low[i] = Math.floor(at);
    high[i] = Math.min(low[i] + 1, length - 1);
    share[i] = at - low[i];
  }
  return { low, high, share };
}

/** The tags of the first output that has some; a single map where all keypoints share one. */
function tagMaps(outputs, codec, count) {
  const which = codec.tag_outputs.indexOf(true);
  const { data, dims } = outputs[which];
  const [height, width] = dims.slice(2);
  const area = width * height;
  const start = codec.heatmap_outputs[which] ? count * area : 0;
  const map = (keypoint) => {
    const from = start + (codec.tag_per_keypoint ? keypoint : 0) * area;
    return data.subarray(from, from + area);
  };
  return { map, width, height };
}

/** Return the bilinear tag at a heatmap cell. */
function tagAt(tags, keypoint, x, y, heat) {
  const map = tags.map(keypoint);
  if (tags.width === heat.width && tags.height === heat.height) return map[y * tags.width + x];
  const f = Math.fround;
  const place = (cell, length, enlarged) =>
    Math.min(Math.max((cell + 0.5) * (length / enlarged) - 0.5, 0), length - 1);
  const [column, row] = [place(x, tags.width, heat.width), place(y, tags.height, heat.height)];
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const [right, bottom] = [Math.min(left + 1, tags.width - 1), Math.min(top + 1, tags.height - 1)];
  const [beside, below] = [f(column - left), f(row - top)];
  const between = (line) =>
    f(f(map[line * tags.width + left] * f(1 - beside)) + f(map[line * tags.width + right] * beside));
  return f(f(between(top) * f(1 - below)) + f(between(bottom) * below));
}

/** Return [cell, heat] of the highest cells that no cell around them exceeds, highest first. */
function findPeaks(map, width, height, codec) {
  const reach = codec.nms_kernel >> 1;
  const peaks = [];
  for (let y = 0, cell = 0; y < height; y++) {
    for (let x = 0; x < width; x++, cell++) {
      const heat = map[cell];
      if (heat > codec.detection_threshold && isPeak(map, width, height, x, y, reach, heat)) peaks.push([cell, heat]);
    }
  }
  peaks.sort((a, b) => b[1] - a[1]);
  return peaks.slice(0, codec.max_people);
}

function isPeak(map, width, height, x, y, reach, heat) {
  const [left, right] = [Math.max(x - reach, 0), Math.min(x + reach, width - 1)];
  const bottom = Math.min(y + reach, height - 1);
  for (let row = Math.max(y - reach, 0); row <= bottom; row++) {
    for (let column = left; column <= right; column++) if (map[row * width + column] > heat) return false;
  }
  return true;
}

/** The mean heat over all keypoints, missing ones as 0. */
function meanHeat(rows, count) {
  let sum = 0;
  for (const row of rows.values()) sum += row.score;
  return Math.fround(sum / count);
}

/** Give missing keypoints the heatmap cell, of those under tag cells, where heat minus rounded tag distance is highest. */
function fillIn(rows, heat, tags, count) {
  let sum = 0;
  for (const row of rows.values()) sum += row.tag;
  const mean = Math.fround(sum / rows.size);
  const [across, down] = [heat.width / tags.width, heat.height / tags.height];
  for (let keypoint = 0; keypoint < count; keypoint++) {
    if (rows.has(keypoint)) continue;
    const [heats, map] = [heat.maps[keypoint], tags.map(keypoint)];
    let best = { worth: -Infinity };
    for (let row = 0, cell = 0; row < tags.height; row++) {
      for (let column = 0; column < tags.width; column++, cell++) {
        const score = heats[row * down * heat.width + column * across];
        const worth = Math.fround(score - rint(Math.abs(Math.fround(map[cell] - mean))));
        if (worth > best.worth) best = { worth, x: column * across, y: row * down, score };
      }
    }
    if (best.score > 0) rows.set(keypoint, best);
  }
}

/** Move keypoints from cells to places in input px: the cell's centre, then a quarter towards the higher neighbour. */
function places(rows, { maps, width, height }, count, cell) {
  const result = [];
  for (let keypoint = 0; keypoint < count; keypoint++) {
    const row = rows.get(keypoint);
    if (!row) {
      result.push([0, 0, 0]);
      continue;
    }
    const at = (x, y) =>
      maps[keypoint][Math.min(Math.max(y, 0), height - 1) * width + Math.min(Math.max(x, 0), width - 1)];
    const { x, y, score } = row;
    const right = at(x + 1, y) > at(x - 1, y) ? 0.75 : 0.25;
    const below = at(x, y + 1) > at(x, y - 1) ? 0.75 : 0.25;
    result.push([(x + right) * cell[0], (y + below) * cell[1], score]);
  }
  return result;
}
