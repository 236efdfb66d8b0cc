// What cam computes of maps after the net has run; the same formulas, in float64 where numpy has it.

/** Bilinear interpolation of a square map to side x side, half-pixel centres, edges held: `cam.resize_map`. */
export function resize(map, side) {
  const cells = Math.round(Math.sqrt(map.length));
  const weights = Array.from({ length: side }, (_, pixel) => {
    const centre = Math.min(cells - 1, Math.max(0, (pixel + 0.5) / side * cells - 0.5));
    const first = Math.min(Math.floor(centre), Math.max(0, cells - 2));
    return { first, next: Math.min(first + 1, cells - 1), part: centre - first };
  });
  const out = new Float32Array(side * side);
  weights.forEach((row, y) => weights.forEach((column, x) => {
    const along = (line) => map[line * cells + column.first] * (1 - column.part) + map[line * cells + column.next] * column.part;
    out[y * side + x] = along(row.first) * (1 - row.part) + along(row.next) * row.part;
  }));
  return out;
}

/** The positive part: the last step of Grad-CAM. */
export const positive = (map) => map.map((value) => Math.max(0, value));

/** max over channels of |gradient|: `cam.saliency`. */
export function saliency(gradient) {
  const count = gradient.length / 3;
  return Float32Array.from({ length: count }, (_, at) => Math.max(
    Math.abs(gradient[at]), Math.abs(gradient[count + at]), Math.abs(gradient[2 * count + at])));
}

/** {energy, share} of a map of the scene's size: `metrics.energy_in_mask` and `metrics.share_on_object`. */
export function measure(heat, mask, other) {
  let all = 0, on = 0, off = 0;
  for (let at = 0; at < heat.length; at++) {
    const value = Math.max(0, heat[at]);
    all += value;
    if (mask[at]) on += value;
    if (other[at]) off += value;
  }
  return { energy: all > 0 ? on / all : 0, share: on + off > 0 ? on / (on + off) : 0 };
}

/** Where one of the masks is 1. */
export function union(masks, length) {
  const out = new Uint8Array(length);
  for (const mask of masks) mask.forEach((value, at) => { if (value) out[at] = 1; });
  return out;
}

export function softmax(logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((value) => value / sum);
}
