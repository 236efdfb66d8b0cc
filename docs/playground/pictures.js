// Numbers to colours, on the visible canvases only.
import { SIDE } from "./scene.js";

const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const SIGNED = [[33, 82, 168], [128, 166, 214], [246, 246, 246], [226, 146, 120], [178, 24, 43]];

/** 256 colours along a ramp, three bytes each. */
function table(ramp) {
  return Uint8Array.from({ length: 768 }, (_, i) => {
    const place = Math.floor(i / 3) / 255 * (ramp.length - 1);
    const index = Math.min(ramp.length - 2, Math.floor(place));
    return ramp[index][i % 3] + (ramp[index + 1][i % 3] - ramp[index][i % 3]) * (place - index);
  });
}
const heatTable = table(HEAT), signedTable = table(SIGNED);

/** Paint a canvas by a function from the number of a pixel and of a channel to a value, 0 to 255. */
function paint(canvas, value) {
  const image = new ImageData(SIDE, SIDE);
  for (let at = 0; at < SIDE * SIDE; at++) {
    for (let k = 0; k < 3; k++) image.data[4 * at + k] = value(at, k);
    image.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const grey = (pixels, at) => 0.3 * pixels[4 * at] + 0.59 * pixels[4 * at + 1] + 0.11 * pixels[4 * at + 2];
const within = (value, low, high) => Math.min(high, Math.max(low, value));
const highest = (map) => map.reduce((a, b) => Math.max(a, b), 0) || 1;

/** The scene as it is. */
export function paintScene(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
}

/** Nothing yet. */
export const paintNothing = (canvas) => paint(canvas, () => 128);

/** A map over the grey scene, from 0 to its own maximum. */
export function paintHeat(canvas, pixels, heat) {
  const scale = 255 / highest(heat);
  paint(canvas, (at, k) => 0.62 * heatTable[3 * Math.round(Math.max(0, heat[at]) * scale) + k] + 0.38 * grey(pixels, at));
}

/** A map over the scene in colour: the more evidence, the less of the scene. */
export function paintOverlay(canvas, pixels, heat) {
  const limit = highest(heat);
  paint(canvas, (at, k) => {
    const value = Math.max(0, heat[at]) / limit;
    return 0.7 * value * heatTable[3 * Math.round(255 * value) + k] + (1 - 0.7 * value) * pixels[4 * at + k];
  });
}

/** A signed map over the grey scene, between -limit and limit. */
export function paintSigned(canvas, pixels, map, limit) {
  const place = (at) => Math.round(127.5 + 127.5 * within(map[at] / limit, -1, 1));
  paint(canvas, (at, k) => 0.75 * signedTable[3 * place(at) + k] + 0.25 * grey(pixels, at));
}

/** A gradient (3, side, side) around grey; a few outliers are cut off. */
export function paintGradient(canvas, gradient) {
  const count = SIDE * SIDE;
  const some = Float32Array.from({ length: Math.floor(gradient.length / 11) }, (_, i) => Math.abs(gradient[11 * i])).sort();
  const limit = some[Math.floor(some.length * 0.995)] || 1;
  paint(canvas, (at, k) => 127.5 + 127.5 * within(gradient[k * count + at] / limit, -1, 1));
}
