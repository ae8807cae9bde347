// From a picture's pixels to the network's input, as predictor.py and geometry.py of the Python package do it.

const MAX_ASPECT = 8;
export const MIN_ZOOM = 1 / 3; // of a picture's plan: sampled more sparsely, thin limbs would be lost
export const MIN_CROP_ZOOM = 0.2;

const roundUp = (value, multiple) => Math.ceil(value / multiple) * multiple;

/**
 * Return how a picture of [w, h] becomes an input: {size: [w, h], zoom, dx, dy}; input = zoom * picture + (dx, dy).
 * shortSide: of the input; at the model's own, the model's own rule counts, else the picture is letterboxed.
 * heightMultiple: of which the input's height is a multiple.
 */
export function plan([width, height], spec, shortSide, heightMultiple) {
  const own = Math.min(...spec.input.size);
  const aspect = Math.max(width, height) / Math.min(width, height);
  if (spec.input.resize === "short_side" && shortSide === own && aspect <= MAX_ASPECT) {
    return higherHRNet(width, height, own);
  }
  const stride = spec.input.stride;
  const long = shortSide * Math.min(aspect, MAX_ASPECT);
  const nearest = (value, multiple) => Math.max(1, Math.round(value / multiple)) * multiple;
  const size = width >= height
    ? [nearest(long, stride), roundUp(shortSide, heightMultiple)]
    : [roundUp(shortSide, stride), nearest(long, heightMultiple)];
  const zoom = Math.min(size[0] / width, size[1] / height);
  const middle = (side, length) => 0.5 * (side - 1) - zoom * 0.5 * (length - 1);
  return { size, zoom, dx: middle(size[0], width), dy: middle(size[1], height) };
}

function higherHRNet(width, height, inputSize) {
  const short = roundUp(inputSize, 64);
  const long = roundUp(Math.floor((short / Math.min(width, height)) * Math.max(width, height)), 64);
  const size = width < height ? [short, long] : [long, short];
  const zoom = short / Math.min(width, height);
  const centre = (length) => Math.floor(length / 2 + 0.5);
  return { size, zoom, dx: size[0] / 2 - zoom * centre(width), dy: size[1] / 2 - zoom * centre(height) };
}

/** Return points of the input in picture pixels. */
export function toPicture(people, { zoom, dx, dy }) {
  return people.map((person) => ({
    ...person,
    keypoints: person.keypoints.map(([x, y, score]) => [(x - dx) / zoom, (y - dy) / zoom, score]),
  }));
}

/** Return to what [w, h] a picture is to be shrunk by averaging first, or null. */
export function shrunkSize([width, height], { zoom }, minZoom = MIN_ZOOM) {
  if (zoom >= minZoom) return null;
  const factor = Math.trunc(1 / zoom);
  return [Math.max(1, Math.floor(width / factor)), Math.max(1, Math.floor(height / factor))];
}

/** Return the plan for a picture that was shrunk to `small` first. */
export function planOfShrunk(made, [width, height], small) {
  const [sx, sy] = [width / small[0], height / small[1]];
  return {
    ...made,
    zoomX: made.zoom * sx, zoomY: made.zoom * sy,
    dx: made.dx + made.zoom * (0.5 * sx - 0.5), dy: made.dy + made.zoom * (0.5 * sy - 0.5),
  };
}

/** Return RGBA pixels averaged over areas to a smaller size: {data, width, height}. */
export function shrink({ data, width, height }, [newWidth, newHeight]) {
  const across = shares(width, newWidth);
  const down = shares(height, newHeight);
  const result = new Uint8ClampedArray(newWidth * newHeight * 4);
  const line = new Float32Array(width * 3);
  for (let y = 0; y < newHeight; y++) {
    line.fill(0);
    for (let k = down.start[y]; k < down.start[y + 1]; k++) {
      const [from, part] = [down.cell[k] * width * 4, down.part[k]];
      for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) line[x * 3 + c] += part * data[from + x * 4 + c];
    }
    for (let x = 0; x < newWidth; x++) {
      const at = (y * newWidth + x) * 4;
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = across.start[x]; k < across.start[x + 1]; k++) sum += across.part[k] * line[across.cell[k] * 3 + c];
        result[at + c] = sum;
      }
      result[at + 3] = 255;
    }
  }
  return { data: result, width: newWidth, height: newHeight };
}

/** What part each old cell has in each new one. */
function shares(length, shrunk) {
  const scale = length / shrunk;
  const [start, cell, part] = [[0], [], []];
  for (let i = 0; i < shrunk; i++) {
    const [from, to] = [i * scale, (i + 1) * scale];
    for (let j = Math.floor(from); j < Math.min(Math.ceil(to - 1e-9), length); j++) {
      cell.push(j);
      part.push((Math.min(to, j + 1) - Math.max(from, j)) / scale);
    }
    start.push(cell.length);
  }
  return { start, cell, part };
}

/** Return the network's input of RGBA pixels: Float32Array of 3 x h x w, sampled bilinearly, black around the picture. */
export function toTensor({ data, width, height }, made, spec) {
  const [newWidth, newHeight] = made.size;
  const [zoomX, zoomY] = [made.zoomX ?? made.zoom, made.zoomY ?? made.zoom];
  const area = newWidth * newHeight;
  const tensor = new Float32Array(3 * area);
  const channels = spec.input.colour === "RGB" ? [0, 1, 2] : [2, 1, 0];
  const scale = spec.input.std.map((std) => 1 / (255 * std));
  const offset = spec.input.mean.map((mean, i) => mean / spec.input.std[i]);
  const columns = places(newWidth, zoomX, made.dx);
  const rows = places(newHeight, zoomY, made.dy);
  for (let y = 0, at = 0; y < newHeight; y++) {
    const [row, below] = [rows.low[y], rows.share[y]];
    const [topIn, bottomIn] = [row >= 0 && row < height, row + 1 >= 0 && row + 1 < height];
    for (let x = 0; x < newWidth; x++, at++) {
      const [column, beside] = [columns.low[x], columns.share[x]];
      const [leftIn, rightIn] = [column >= 0 && column < width, column + 1 >= 0 && column + 1 < width];
      const first = (row * width + column) * 4;
      for (let c = 0; c < 3; c++) {
        const i = first + channels[c];
        const top = (topIn && leftIn ? data[i] * (1 - beside) : 0) + (topIn && rightIn ? data[i + 4] * beside : 0);
        const bottom = (bottomIn && leftIn ? data[i + width * 4] * (1 - beside) : 0)
          + (bottomIn && rightIn ? data[i + width * 4 + 4] * beside : 0);
        const value = top * (1 - below) + bottom * below;
        let pixel = Math.round(value);
        if (pixel - value === 0.5 && pixel % 2) pixel--; // halves to even, as OpenCV rounds them
        tensor[c * area + at] = pixel * scale[c] - offset[c];
      }
    }
  }
  return tensor;
}

/** Where each of `length` input cells lies in the picture: the lower pixel and the share of the next. */
function places(length, zoom, shift) {
  const low = new Int32Array(length);
  const share = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    const at = (i - shift) / zoom;
    low[i] = Math.floor(at);
    share[i] = at - low[i];
  }
  return { low, share };
}
