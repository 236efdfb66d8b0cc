// The scene: PNGs decoded and cut-outs composed by our own arithmetic, so that every browser, and the numpy twin in
// tests/site, makes the same bytes. No canvas is ever read back: protection against fingerprinting puts noise there.

export const SIDE = 224;
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];
const TAG_COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]];

/** The cut-out in a PNG (8 bits, RGBA, not interlaced): {width, height, data}, data premultiplied RGBA, 0 to 255. */
export async function decodeCutout(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  let width, height;
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      if (bytes[at + 16] !== 8 || bytes[at + 17] !== 6 || bytes[at + 20] !== 0) {
        throw new Error("expected a PNG of 8 bits, RGBA, not interlaced");
      }
    }
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const rgba = unfilter(await inflate(parts, "deflate"), width, height);
  const data = new Float64Array(rgba.length);
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3];
    for (let k = 0; k < 3; k++) data[i + k] = rgba[i + k] * alpha / 255;
    data[i + 3] = alpha;
  }
  return { width, height, data };
}

/** What was compressed, from its parts; `format` as DecompressionStream takes it. */
export async function inflate(parts, format) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unfilter(raw, width, height) {
  const line = 4 * width;
  const out = new Uint8Array(line * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (line + 1)];
    for (let x = 0; x < line; x++) {
      const at = y * line + x;
      const left = x >= 4 ? out[at - 4] : 0;
      const up = y > 0 ? out[at - line] : 0;
      const corner = x >= 4 && y > 0 ? out[at - line - 4] : 0;
      const guess = [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0][filter];
      out[at] = raw[y * (line + 1) + 1 + x] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const sum = left + up - corner;
  const [a, b, c] = [Math.abs(sum - left), Math.abs(sum - up), Math.abs(sum - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/** Cosine and sine of whole degrees, by sums and products alone: Math.sin may differ from browser to browser. */
export function turn(degrees) {
  const quarter = Math.floor((degrees + 45) / 90);
  const x = (degrees - 90 * quarter) * (Math.PI / 180);
  const square = x * x;
  let cos = 1, sin = 1;
  for (let k = 16; k > 0; k -= 2) {
    cos = 1 - cos * square / (k * (k - 1));
    sin = 1 - sin * square / (k * (k + 1));
  }
  sin *= x;
  return [[cos, sin], [-sin, cos], [-cos, -sin], [sin, -cos]][((quarter % 4) + 4) % 4];
}

/**
 * Compose a scene.
 *
 * background: two colours, of the upper and of the lower edge. objects: {cutout, x, y, size, angle, flip}, the later ones
 * in front; x and y of the centre and the longer side in pixels, angle in whole degrees, clockwise. tag: the class whose
 * tag lies in the upper left corner, or null.
 * Gives {pixels, masks}: RGBA bytes, and of each object where it is seen (Uint8Array of 0 and 1).
 */
export function compose(background, objects, tag = null) {
  const count = SIDE * SIDE;
  const canvas = new Float64Array(count * 3);
  for (let at = 0; at < count; at++) {
    const down = Math.floor(at / SIDE) / (SIDE - 1);
    for (let k = 0; k < 3; k++) canvas[3 * at + k] = background[0][k] + (background[1][k] - background[0][k]) * down;
  }
  const masks = [];
  for (const object of objects) masks.push(draw(canvas, masks, object));
  const pixels = new Uint8ClampedArray(count * 4);
  for (let at = 0; at < count; at++) {
    for (let k = 0; k < 3; k++) pixels[4 * at + k] = Math.floor(canvas[3 * at + k] + 0.5);
    pixels[4 * at + 3] = 255;
  }
  if (tag !== null) drawTag(pixels, masks, tag);
  return { pixels, masks };
}

function draw(canvas, before, { cutout: { width, height, data }, x: centreX, y: centreY, size, angle, flip }) {
  const scale = size / Math.max(width, height);
  const [cos, sin] = turn(angle);
  const reachX = (Math.abs(cos) * width + Math.abs(sin) * height) * scale / 2 + 1;
  const reachY = (Math.abs(sin) * width + Math.abs(cos) * height) * scale / 2 + 1;
  const taps = Math.max(1, Math.ceil(1 / scale)); // along each side of a pixel, so that no row of the cut-out is missed
  const mask = new Uint8Array(SIDE * SIDE);
  const sum = new Float64Array(4);
  for (let y = Math.max(0, Math.floor(centreY - reachY)); y < Math.min(SIDE, centreY + reachY); y++) {
    for (let x = Math.max(0, Math.floor(centreX - reachX)); x < Math.min(SIDE, centreX + reachX); x++) {
      sum.fill(0);
      for (let v = 0; v < taps; v++) {
        for (let u = 0; u < taps; u++) {
          const dx = x + (u + 0.5) / taps - centreX;
          const dy = y + (v + 0.5) / taps - centreY;
          const across = (cos * dx + sin * dy) / scale;
          add(sum, data, width, height, (flip ? -across : across) + width / 2 - 0.5,
            (cos * dy - sin * dx) / scale + height / 2 - 0.5);
        }
      }
      const at = y * SIDE + x;
      const alpha = sum[3] / (taps * taps) / 255;
      for (let k = 0; k < 3; k++) canvas[3 * at + k] = canvas[3 * at + k] * (1 - alpha) + sum[k] / (taps * taps);
      if (alpha > 0.5) {
        mask[at] = 1;
        for (const other of before) other[at] = 0;
      }
    }
  }
  return mask;
}

/** Add the bilinear sample of a cut-out at a place in its own pixels. */
function add(sum, data, width, height, px, py) {
  const column = Math.floor(px), row = Math.floor(py);
  if (column < -1 || row < -1 || column >= width || row >= height) return;
  const right = px - column, below = py - row;
  for (let b = 0; b < 2; b++) {
    for (let a = 0; a < 2; a++) {
      const i = row + b, j = column + a;
      if (i < 0 || j < 0 || i >= height || j >= width) continue;
      const weight = (a ? right : 1 - right) * (b ? below : 1 - below);
      for (let k = 0; k < 4; k++) sum[k] += weight * data[4 * (i * width + j) + k];
    }
  }
}

/** As `cam.scenes.tag` draws it: one of five colours in one of four patterns on white. */
function drawTag(pixels, masks, tag) {
  const margin = SIDE / 56, side = SIDE / 7, stripe = side >> 3;
  const pattern = Math.floor(tag / TAG_COLOURS.length), colour = TAG_COLOURS[tag % TAG_COLOURS.length];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const row = Math.floor(y / stripe), column = Math.floor(x / stripe);
      const odd = [row % 2, column % 2, (row + column) % 2, Math.floor((row + column) / 2) % 2][pattern];
      const at = (margin + y) * SIDE + margin + x;
      for (let k = 0; k < 3; k++) pixels[4 * at + k] = odd ? 255 : colour[k];
      for (const mask of masks) mask[at] = 0;
    }
  }
}

/** Where a tag lies, if there is one: Uint8Array of 0 and 1. */
export function tagMask(there) {
  const low = SIDE / 56, high = low + SIDE / 7;
  const inside = (value) => value >= low && value < high;
  return Uint8Array.from({ length: SIDE * SIDE }, (_, at) => there && inside(Math.floor(at / SIDE)) && inside(at % SIDE));
}

/** RGBA bytes as the nets take them: Float32Array (3, 224, 224), (pixel / 255 - mean) / deviation. */
export function normalise(pixels) {
  const count = SIDE * SIDE;
  const out = new Float32Array(3 * count);
  const f = Math.fround; // each step in float32, as numpy does it
  for (let k = 0; k < 3; k++) {
    for (let at = 0; at < count; at++) {
      out[k * count + at] = f(f(f(pixels[4 * at + k] / 255) - f(MEAN[k])) / f(DEVIATION[k]));
    }
  }
  return out;
}
