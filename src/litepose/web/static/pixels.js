// A picture's pixels in the worker, whole or shrunk, and the tensors that networks get of them.

import { planOfShrunk, shrink, shrunkSize, toTensor } from "./picture.js";

const QUICKLY_SHRUNK = 1e6; // pixels of a frame from which on the browser shrinks it
let canvas = null;

export class Pixels {
  /** still: a photo, for which there is time to shrink it as Python does, however large. */
  constructor(bitmap, still) {
    this.bitmap = bitmap;
    this.size = [bitmap.width, bitmap.height];
    this.exact = still || bitmap.width * bitmap.height < QUICKLY_SHRUNK;
    this.read = new Map(); // "WxH" -> {data, width, height}
  }

  /** Return the input of a plan as a Float32Array. minZoom: below it the picture is shrunk by averaging first. */
  tensor(made, spec, minZoom) {
    const small = shrunkSize(this.size, made, minZoom);
    return toTensor(this.at(small ?? this.size), small ? planOfShrunk(made, this.size, small) : made, spec);
  }

  at(size) {
    const key = size.join("x");
    if (!this.read.has(key)) {
      const shrinks = size[0] !== this.size[0] || size[1] !== this.size[1];
      this.read.set(key, shrinks && this.exact ? shrink(this.at(this.size), size) : drawn(this.bitmap, size));
    }
    return this.read.get(key);
  }

  close() {
    this.bitmap.close();
  }
}

function drawn(bitmap, [width, height]) {
  if (!canvas || canvas.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind transparent pictures
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}
