// What hands do to the scene: a finger or the mouse moves an object, two fingers or the handle turn and scale it, and keys.
import { SIDE } from "./scene.js";

export const SIZES = [30, 220];
const EDGE = 7; // pixels of the scene that the handle stays away from its edge
const within = (value, low, high) => Math.min(high, Math.max(low, value));
const arm = ([x, y], [endX, endY]) => ({ length: Math.max(1, Math.hypot(endX - x, endY - y)), angle: Math.atan2(endY - y, endX - x) });

/** An object within its limits: the centre in the scene, the angle in whole degrees from -180 to 180. */
export function limited(one) {
  const x = within(one.x, 0, SIDE), y = within(one.y, 0, SIDE), size = within(one.size, ...SIZES);
  const angle = Math.round(one.angle), turns = Math.abs(angle) <= 180 ? 0 : Math.round(angle / 360);
  return { ...one, x, y, size, angle: angle - 360 * turns };
}

/** Where an object comes to when a point of it is brought to another place, or two points are brought to two others. */
export function brought({ x, y, size, angle }, [from, fromOther], [to, toOther]) {
  let scale = 1, turn = 0;
  if (fromOther) {
    const before = arm(from, fromOther), now = arm(to, toOther);
    scale = within(size * now.length / before.length, ...SIZES) / size;
    turn = now.angle - before.angle;
  }
  const across = x - from[0], down = y - from[1];
  return {
    x: to[0] + scale * (Math.cos(turn) * across - Math.sin(turn) * down),
    y: to[1] + scale * (Math.sin(turn) * across + Math.cos(turn) * down),
    size: size * scale,
    angle: angle + turn * 180 / Math.PI,
  };
}

/** Put ring and handle at an object; the handle at the one of the object's four corners that lies furthest inside. */
export function mark(ring, handle, one) {
  ring.hidden = handle.hidden = !one;
  if (!one) return;
  const corner = (quarter) => {
    const angle = (one.angle + 90 * quarter - 45) * Math.PI / 180;
    return [one.x + one.size / 2 * Math.cos(angle), one.y + one.size / 2 * Math.sin(angle)];
  };
  const outside = (place) => Math.max(0, ...place.map((value) => Math.abs(value - within(value, EDGE, SIDE - EDGE))));
  const [x, y] = [0, 1, 2, 3].map(corner).reduce((best, place) => (outside(place) < outside(best) ? place : best));
  const percent = (value) => `${100 * value / SIDE}%`;
  Object.assign(ring.style, { left: percent(one.x), top: percent(one.y), width: percent(one.size) });
  Object.assign(handle.style, { left: percent(within(x, EDGE, SIDE - EDGE)), top: percent(within(y, EDGE, SIDE - EDGE)) });
}

/**
 * Listen to pointers on the stage and to keys on its scene.
 *
 * chosen(): the chosen object or undefined. pick(point): choose the object there. next(): choose the next one.
 * change(values): change the chosen object. hold(whether): whether a pointer is down.
 */
export function listen(stage, scene, handle, { chosen, pick, next, change, hold }) {
  const fingers = new Map(); // where each pointer is that is down
  let pivot = null; // where the object stays, if the handle is dragged
  let grip = null; // object and points when the last pointer came or went
  const points = () => (pivot ? [pivot, ...fingers.values()].slice(0, 2) : [...fingers.values()]);
  const grasp = () => { grip = { one: { ...chosen() }, from: points() }; };
  const at = ({ clientX, clientY }) => {
    const box = stage.getBoundingClientRect();
    return [(clientX - box.left) / box.width * SIDE, (clientY - box.top) / box.height * SIDE];
  };
  const release = ({ pointerId }) => {
    if (!fingers.delete(pointerId)) return;
    if (fingers.size) grasp();
    else hold(false);
  };
  stage.onpointerdown = (event) => {
    if (event.button || fingers.size === 2) return;
    if (!fingers.size) {
      if (event.target !== handle) pick(at(event));
      if (!chosen()) return;
      pivot = event.target === handle ? [chosen().x, chosen().y] : null;
    }
    fingers.set(event.pointerId, at(event));
    stage.setPointerCapture(event.pointerId);
    grasp();
    hold(true);
  };
  stage.onpointermove = (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, at(event));
    change(brought(grip.one, grip.from, points()));
  };
  stage.onpointerup = stage.onpointercancel = release;
  scene.onkeydown = (event) => {
    const one = chosen();
    if (!one || fingers.size || event.ctrlKey || event.altKey || event.metaKey) return;
    const by = event.shiftKey ? 12 : 3;
    const keys = {
      ArrowLeft: () => change({ x: one.x - by }), ArrowRight: () => change({ x: one.x + by }),
      ArrowUp: () => change({ y: one.y - by }), ArrowDown: () => change({ y: one.y + by }),
      "+": () => change({ size: one.size + 4 }), "=": () => change({ size: one.size + 4 }), "-": () => change({ size: one.size - 4 }),
      "[": () => change({ angle: one.angle - 5 }), "]": () => change({ angle: one.angle + 5 }),
      n: next,
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  };
}
