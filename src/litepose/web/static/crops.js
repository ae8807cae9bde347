// The top-down way: a box around each person whom another model found, a crop of each, one person in each crop.
// Ports detectors.PoseDetector, geometry.Warp.box and codecs/heatmap.py of the Python package, for one pass over a crop.

import { withoutDoubles } from "./likeness.js";

const PADDING = 1.25; // a crop is so much larger than its box
const MARGIN = 0.15; // what a box gets on each side: heads, hands and feet end outside the keypoints
const MIN_SCORE = 0.1; // of a person who gets a box

/** Return the boxes of found people that lie in a picture of [w, h]: [{box: [x1, y1, x2, y2], score}]. */
export function boxesOf(people, [width, height]) {
  const boxes = [];
  for (const { score, keypoints } of people) {
    const found = keypoints.filter((one) => one[2] > 0);
    if (score < MIN_SCORE || !found.length) continue;
    const [xs, ys] = [found.map(([x]) => x), found.map(([, y]) => y)];
    const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    const longest = Math.max(right - left, bottom - top);
    if (!(longest > 0)) continue;
    // A side is taken for at least a quarter of the other: keypoints in a row still make a box.
    const [across, down] = [right - left, bottom - top].map((side) => MARGIN * Math.max(side, longest / 4));
    const box = [left - across, top - down, right + across, bottom + down];
    if (box[2] <= 0 || box[3] <= 0 || box[0] >= width || box[1] >= height) continue;
    boxes.push({ box, score: Math.min(Math.max(...keypoints.map((one) => one[2])), 1) });
  }
  return boxes;
}

/** Return how a box becomes a network's input, as `plan` of picture.js does for a picture; with its area in it, px^2. */
export function planOfBox([left, top, right, bottom], spec) {
  const [width, height] = spec.input.size;
  const extent = PADDING * Math.max(right - left, (bottom - top) * (width / height));
  const zoom = width / extent;
  return {
    size: [width, height], zoom, dx: width / 2 - zoom * (left + right) / 2, dy: height / 2 - zoom * (top + bottom) / 2,
    area: (width * height) / zoom ** 2,
  };
}

/** Return the one person of a crop, {score, keypoints: [[x, y, score], ...]} in input px, or null where nothing is. */
export function decodeCrop({ data, dims }, { codec, skeleton }) {
  const [height, width] = dims.slice(2);
  const keypoints = skeleton.keypoints.map((_, i) => {
    const map = data.subarray(i * width * height, (i + 1) * width * height);
    let cell = 0;
    for (let k = 1; k < map.length; k++) if (map[k] > map[cell]) cell = k;
    if (!(map[cell] > 0)) return [-codec.output_stride, -codec.output_stride, 0];
    const [stepX, stepY] = codec.refinement === "quarter" ? quarterStep(map, width, height, cell) : [0, 0];
    const [x, y] = [cell % width, Math.floor(cell / width)];
    return [(x + stepX) * codec.output_stride, (y + stepY) * codec.output_stride, map[cell]];
  });
  const heats = keypoints.map((one) => one[2]);
  if (!heats.some((heat) => heat > 0)) return null;
  const good = heats.filter((heat) => heat > codec.score_threshold);
  return { keypoints, score: good.length ? good.reduce((sum, one) => sum + one, 0) / good.length : 0 };
}

/** A quarter cell towards the higher neighbour on each axis; none near the border. */
function quarterStep(map, width, height, cell) {
  const [x, y] = [cell % width, Math.floor(cell / width)];
  if (x <= 1 || y <= 1 || x >= width - 1 || y >= height - 1) return [0, 0];
  return [Math.sign(map[cell + 1] - map[cell - 1]) / 4, Math.sign(map[cell + width] - map[cell - width]) / 4];
}

/**
 * Return the people of all crops, best first, without those found twice.
 * found: [{person: in picture px, area, score: of the box}], in the order of the boxes.
 */
export function join(found, { codec, skeleton }) {
  const people = found.map(({ person, area, score }) => ({
    score: person.score * score, area,
    keypoints: person.keypoints.map(([x, y, heat]) => [x - codec.bias_px, y - codec.bias_px, heat]),
  }));
  return withoutDoubles(people, { threshold: codec.nms === "hard" ? codec.nms_threshold : 1, skeleton })
    .map(({ score, keypoints }) => ({ score, keypoints }));
}
