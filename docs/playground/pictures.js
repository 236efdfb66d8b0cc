// Numbers to colours, on the visible canvases only.
import { SIDE } from "./scene.js";

const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const SIGNED = [[33, 82, 168], [128, 166, 214], [246, 246, 246], [226, 146, 120], [178, 24, 43]];

/** A ramp of colours for 0 to 1. */
function colour(ramp, value) {
  const place = Math.min(1, Math.max(0, value)) * (ramp.length - 1);
  const index = Math.min(ramp.length - 2, Math.floor(place));
  return ramp[index].map((channel, k) => channel + (ramp[index + 1][k] - channel) * (place - index));
}
const heatTable = Array.from({ length: 256 }, (_, i) => colour(HEAT, i / 255));
const signedTable = Array.from({ length: 256 }, (_, i) => colour(SIGNED, i / 255));

/** Paint a canvas by a function from the number of a pixel to red, green and blue. */
export function paint(canvas, pixel) {
  const image = new ImageData(SIDE, SIDE);
  for (let at = 0; at < SIDE * SIDE; at++) image.data.set([...pixel(at), 255], 4 * at);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const grey = (pixels, at) => 0.3 * pixels[4 * at] + 0.59 * pixels[4 * at + 1] + 0.11 * pixels[4 * at + 2];
const mixed = (rgb, other, part) => rgb.map((channel) => part * channel + (1 - part) * other);

/** A map over the grey scene, from 0 to its own maximum. */
export function paintHeat(canvas, pixels, heat) {
  const limit = heat.reduce((a, b) => Math.max(a, b), 0) || 1;
  paint(canvas, (at) => mixed(heatTable[Math.round(255 * Math.max(0, heat[at]) / limit)], grey(pixels, at), 0.62));
}

/** A map over the scene in colour: the more evidence, the less of the scene. */
export function paintOverlay(canvas, pixels, heat) {
  const limit = heat.reduce((a, b) => Math.max(a, b), 0) || 1;
  paint(canvas, (at) => {
    const value = Math.max(0, heat[at]) / limit;
    return heatTable[Math.round(255 * value)].map((channel, k) => 0.7 * value * channel + (1 - 0.7 * value) * pixels[4 * at + k]);
  });
}

/** A signed map over the grey scene, between -limit and limit. */
export function paintSigned(canvas, pixels, map, limit) {
  paint(canvas, (at) => mixed(signedTable[Math.round(127.5 + 127.5 * Math.min(1, Math.max(-1, map[at] / limit)))], grey(pixels, at), 0.75));
}

/** A gradient (3, side, side) around grey; a few outliers are cut off. */
export function paintGradient(canvas, gradient) {
  const count = SIDE * SIDE;
  const sizes = Float32Array.from(gradient, Math.abs).sort();
  const limit = sizes[Math.floor(sizes.length * 0.995)] || 1;
  paint(canvas, (at) => [0, 1, 2].map((k) => 127.5 + 127.5 * Math.min(1, Math.max(-1, gradient[k * count + at] / limit))));
}
