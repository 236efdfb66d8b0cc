import { Nets, file } from "./client.js";
import { describe, drawNet } from "./drawing.js";
import * as measures from "./measures.js";
import { paintGradient, paintHeat, paintNothing, paintOverlay, paintSigned } from "./pictures.js";
import { SIDE, compose, decodeCutout, normalise, tagMask } from "./scene.js";
import { BACKGROUNDS, SITUATIONS } from "./situations.js";

const FLUENT = 100; // milliseconds: a way back that takes longer waits until the hand rests
const $ = (id) => document.getElementById(id);
const about = JSON.parse(new TextDecoder().decode(await file("playground.json")));
const nets = new Nets(about.nets);
const cutouts = new Map();
const state = { net: "", target: 0, layer: null, guided: 0, objects: [], chosen: 0, background: "meadow", tag: null };
let markLayer = () => {};
let covered = false; // whether the maps wait for a guess
let slow = false; // whether the last way back took too long to follow a drag
let last = null; // what was computed for the last scene

const labelOf = (name) => name.replace(/_\d+\.png$/, "").replaceAll("_", " ");
const percent = (share) => `${Math.round(100 * share)} %`;
const current = () => about.nets[state.net];

async function cutout(name) {
  if (!cutouts.has(name)) cutouts.set(name, file(`cutouts/${name}`).then(decodeCutout));
  return cutouts.get(name);
}

async function object(name, x, y, size, angle, flip) {
  return { name, cutout: await cutout(name), x, y, size, angle, flip };
}

// What the net says of the scene as it is now: one run is under way at a time, and a newer scene waits.

let busy = false, dirty = false, dragging = false;

async function update() {
  dirty = true;
  if (busy) return;
  busy = true;
  try {
    while (dirty) {
      dirty = false;
      await once();
    }
  } catch (error) {
    $("status").textContent = `That did not work: ${error.message}`;
  } finally {
    busy = false;
  }
}

async function once() {
  const start = performance.now();
  const now = { ...state, objects: state.objects.slice() };
  const { pixels, masks } = compose(BACKGROUNDS[now.background], now.objects, now.tag);
  const image = normalise(pixels);
  const forwardOnly = dragging && slow;
  if (!last || forwardOnly || !$("overlay").checked || covered) paintScene(pixels);
  let run, guided = null;
  if (forwardOnly) {
    run = await nets.forward(now.net, image);
  } else {
    const step = now.layer.step;
    const outputs = ["logits", "gradient", `map:${step}`];
    if (now.layer.kind === "addition") outputs.push(`branch:${step}`, `shortcut:${step}`);
    run = await nets.full(now.net, image, now.target, 0, outputs); // maps need plain rules
    slow = run.milliseconds > FLUENT;
    // A guided gradient needs a run of its own, and waits for the hand to rest.
    if (now.guided && !dragging) guided = await nets.full(now.net, image, now.target, now.guided, ["gradient"]);
  }
  showAnswer(run.results.logits);
  if (!forwardOnly) {
    const gradient = now.guided ? guided?.results.gradient : run.results.gradient;
    last = { now, pixels, masks, results: run.results, gradient };
    showMaps();
  }
  const total = performance.now() - start;
  const milliseconds = run.milliseconds + (guided?.milliseconds ?? 0);
  timings.push({ total, net: milliseconds, forwardOnly, guided: Boolean(guided) });
  $("time").textContent = `The last update took ${total.toFixed(0)} ms, ${milliseconds.toFixed(0)} ms of it the net, `
    + (forwardOnly ? "forward only: the maps follow when you let go." : "forward and backward.");
  $("status").textContent = "";
}

function paintScene(pixels) {
  $("scene").getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
}

function showAnswer(logits) {
  const shares = measures.softmax(logits);
  const best = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
  $("answer").textContent = `The net says: ${best.map((i) => `${current().labels[i]} ${percent(shares[i])}`).join(", ")}`;
}

/** The masks of the explained class and of all other objects. */
function truth({ now, masks }) {
  const ofClass = (right) => masks.filter((_, i) => (labelOf(now.objects[i].name) === current().labels[now.target]) === right);
  return [measures.union(ofClass(true), SIDE * SIDE), measures.union(ofClass(false), SIDE * SIDE)];
}

function numbers(heat, computed) {
  const [mask, other] = truth(computed);
  if (!mask.includes(1)) return { text: "the class is not in the scene", energy: null, share: null };
  const { energy, share } = measures.measure(heat, mask, other);
  return { text: `energy ${percent(energy)}, share ${percent(share)}`, energy, share };
}

function showMaps() {
  const { now, pixels, results, gradient } = last;
  const step = now.layer.step;
  const heat = measures.resize(measures.positive(results[`map:${step}`]), SIDE);
  $("parts").hidden = covered || now.layer.kind !== "addition";
  if (covered) {
    for (const id of ["map", "gradient"]) paintNothing($(id));
    $("mapNumbers").textContent = $("gradientNumbers").textContent = "after your guess";
    paintScene(pixels);
    return;
  }
  const found = last.numbers = { map: numbers(heat, last) };
  paintHeat($("map"), pixels, heat);
  $("mapNumbers").textContent = `at ${now.layer.name}: ${found.map.text}`;
  $("map").setAttribute("aria-label", `Grad-CAM for ${current().labels[now.target]} ${$("mapNumbers").textContent}`);
  if ($("overlay").checked) paintOverlay($("scene"), pixels, heat);
  else paintScene(pixels);
  if (gradient) {
    found.gradient = numbers(measures.saliency(gradient), last);
    paintGradient($("gradient"), gradient);
    $("gradientNumbers").textContent = `${now.guided} of ${current().relus.length} ReLUs guided: ${found.gradient.text}`;
    $("gradient").setAttribute("aria-label", `Image gradient, ${$("gradientNumbers").textContent}`);
  }
  if (now.layer.kind === "addition") {
    const three = { branch: results[`branch:${step}`], shortcut: results[`shortcut:${step}`], sum: results[`map:${step}`] };
    const limit = Math.max(...Object.values(three).map((map) => map.reduce((a, b) => Math.max(a, Math.abs(b)), 0))) || 1;
    for (const [id, map] of Object.entries(three)) {
      found[id] = numbers(measures.resize(measures.positive(map), SIDE), last);
      paintSigned($(id), pixels, measures.resize(map, SIDE), limit);
      $(`${id}Numbers`).textContent = found[id].text;
      $(id).setAttribute("aria-label", `${id}: ${found[id].text}`);
    }
  }
}

// Predict first.

const GUESSES = {
  mask: "on that animal", other: "on another animal", tag: "on the tag", background: "on the background", nothing: "there is none",
};

function ask() {
  covered = $("predict").checked;
  $("question").hidden = !covered;
  $("verdict").textContent = "";
  $("asked").textContent = `${current().labels[state.target]} at ${state.layer.name}`;
  for (const button of $("guesses").children) button.hidden = button.value === "tag" && state.tag === null;
}

function answer(guess) {
  if (!last || busy) return;
  covered = false;
  $("question").hidden = true;
  showMaps();
  const heat = measures.resize(measures.positive(last.results[`map:${last.now.layer.step}`]), SIDE);
  const [mask, other] = truth(last);
  const tag = tagMask(last.now.tag !== null);
  const energy = (where) => measures.measure(heat, where, where).energy;
  const parts = { mask: energy(mask), other: energy(other), tag: energy(tag) };
  const any = heat.some((value) => value > 0);
  parts.background = any ? 1 - parts.mask - parts.other - parts.tag : 0;
  const most = any ? Object.keys(parts).reduce((a, b) => (parts[b] > parts[a] ? b : a)) : "nothing";
  const all = Object.entries(parts).filter(([part]) => part !== "tag" || last.now.tag !== null);
  $("verdict").textContent = `You guessed: ${GUESSES[guess]}. ${most === guess ? "Yes" : "But no"}: of the evidence `
    + `${all.map(([part, share]) => `${percent(share)} lie ${GUESSES[part]}`).join(", ")}.`;
}

// Controls.

function fill(select, pairs) {
  select.replaceChildren(...pairs.map(([text, value]) => new Option(text, value)));
}

async function chooseNet(name, layer) {
  $("status").textContent = "Loading the net…";
  state.net = name;
  const { layers, relus } = current();
  state.layer = layers.find((one) => one.name === layer) ?? layers.at(-1);
  state.guided = Math.min(state.guided, relus.length);
  fill($("layer"), layers.map((one) => [`${one.name} (${one.whole ? "" : "part, "}${one.kind})`, one.step]));
  $("guided").max = relus.length;
  markLayer = drawNet($("drawing"), layers, chooseLayer);
  show();
}

function chooseLayer(layer) {
  state.layer = layer;
  show();
  update();
}

/** Bring all controls to the state. */
function show() {
  const one = state.objects[state.chosen];
  $("net").value = state.net;
  $("class").value = state.target;
  $("layer").value = state.layer.step;
  $("layer").title = describe(state.layer);
  $("guided").value = $("guidedNumber").textContent = state.guided;
  $("background").value = state.background;
  $("tag").value = state.tag ?? "";
  markLayer(state.layer);
  $("objects").replaceChildren(...state.objects.map((each, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = labelOf(each.name);
    button.setAttribute("aria-pressed", index === state.chosen);
    button.onclick = () => { state.chosen = index; show(); };
    return button;
  }));
  for (const id of ["cutout", "size", "angle", "flip", "front", "remove"]) $(id).disabled = !one;
  $("add").disabled = state.objects.length >= 4;
  if (one) {
    $("cutout").value = one.name;
    $("size").value = one.size;
    $("angle").value = one.angle;
  }
}

/** Change the chosen object. */
function change(values) {
  const one = state.objects[state.chosen];
  if (!one) return;
  const inside = (value, low, high) => Math.min(high, Math.max(low, value));
  Object.assign(one, values);
  one.x = inside(one.x, 0, SIDE);
  one.y = inside(one.y, 0, SIDE);
  one.size = inside(one.size, 30, 220);
  one.angle = ((one.angle + 180) % 360 + 360) % 360 - 180;
  show();
  update();
}

async function setStage(key) {
  const stage = SITUATIONS[key];
  if (!about.nets[stage.net]) return;
  const objects = await Promise.all(stage.objects.map((one) => object(...one)));
  const number = (label) => about.nets[stage.net].labels.indexOf(label);
  Object.assign(state, { objects, chosen: 0, background: stage.background, guided: stage.guided ?? 0 });
  Object.assign(state, { target: number(stage.class), tag: stage.tag ? number(stage.tag) : null });
  $("story").textContent = stage.story;
  for (const link of $("situations").children) {
    if (link.hash === `#${key}`) link.setAttribute("aria-current", true);
    else link.removeAttribute("aria-current");
  }
  await chooseNet(stage.net, stage.layer);
  ask();
  await update();
}

function listen() {
  const chosen = () => state.objects[state.chosen];
  for (const form of document.forms) form.onsubmit = (event) => event.preventDefault();
  $("net").onchange = () => { chooseNet($("net").value, state.layer.name); ask(); update(); };
  $("class").onchange = () => { state.target = Number($("class").value); ask(); update(); };
  $("layer").onchange = () => chooseLayer(current().layers.find((one) => one.step === Number($("layer").value)));
  $("guided").oninput = () => { state.guided = Number($("guided").value); $("guidedNumber").textContent = state.guided; update(); };
  $("predict").onchange = () => { ask(); if (last) showMaps(); };
  $("overlay").onchange = () => { if (last) showMaps(); };
  $("background").onchange = () => { state.background = $("background").value; update(); };
  $("tag").onchange = () => { state.tag = $("tag").value === "" ? null : Number($("tag").value); update(); };
  $("cutout").onchange = async () => change({ name: $("cutout").value, cutout: await cutout($("cutout").value) });
  $("size").oninput = () => change({ size: Number($("size").value) });
  $("angle").oninput = () => change({ angle: Number($("angle").value) });
  $("flip").onclick = () => change({ flip: !chosen().flip });
  $("remove").onclick = () => { state.objects.splice(state.chosen, 1); state.chosen = 0; show(); update(); };
  $("front").onclick = () => {
    state.objects.push(...state.objects.splice(state.chosen, 1));
    state.chosen = state.objects.length - 1;
    change({});
  };
  $("add").onclick = async () => {
    state.objects.push(await object(about.cutouts[state.objects.length], SIDE / 2, SIDE / 2, 90, 0, false));
    state.chosen = state.objects.length - 1;
    change({});
  };
  listenToScene(chosen);
  addEventListener("hashchange", () => { if (SITUATIONS[location.hash.slice(1)]) setStage(location.hash.slice(1)); });
}

function listenToScene(chosen) {
  const scene = $("scene");
  let grip = null;
  const at = (event) => {
    const box = scene.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
  };
  scene.onpointerdown = (event) => {
    if (!state.objects.length) return;
    const [x, y] = at(event);
    const distance = (one) => Math.hypot(one.x - x, one.y - y) / one.size;
    state.chosen = state.objects.reduce((best, one, i) => (distance(one) < distance(state.objects[best]) ? i : best), 0);
    grip = [chosen().x - x, chosen().y - y];
    scene.setPointerCapture(event.pointerId);
    dragging = true;
    show();
  };
  scene.onpointermove = (event) => {
    if (!grip) return;
    const [x, y] = at(event);
    change({ x: x + grip[0], y: y + grip[1] });
  };
  scene.onpointerup = scene.onpointercancel = () => {
    if (!grip) return;
    grip = null;
    dragging = false;
    update();
  };
  scene.onkeydown = (event) => {
    const one = chosen();
    if (!one || event.ctrlKey || event.altKey || event.metaKey) return;
    const by = event.shiftKey ? 12 : 3;
    const moves = {
      ArrowLeft: () => ({ x: one.x - by }), ArrowRight: () => ({ x: one.x + by }),
      ArrowUp: () => ({ y: one.y - by }), ArrowDown: () => ({ y: one.y + by }),
      "+": () => ({ size: one.size + 4 }), "=": () => ({ size: one.size + 4 }), "-": () => ({ size: one.size - 4 }),
      "[": () => ({ angle: one.angle - 5 }), "]": () => ({ angle: one.angle + 5 }),
      n: () => { state.chosen = (state.chosen + 1) % state.objects.length; return {}; },
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    change(moves[event.key]());
  };
}

const timings = [];
const { labels } = Object.values(about.nets)[0];
fill($("net"), Object.entries(about.nets).map(([name, { title }]) => [title, name]));
fill($("class"), labels.map((label, i) => [label, i]));
fill($("cutout"), about.cutouts.map((name) => [name.replace(".png", "").replaceAll("_", " "), name]));
fill($("background"), Object.keys(BACKGROUNDS).map((name) => [name, name]));
fill($("tag"), [["none", ""], ...labels.map((label, i) => [label, i])]);
$("situations").replaceChildren(...Object.entries(SITUATIONS).filter(([, { net }]) => about.nets[net]).map(([key, { title }]) => {
  const link = document.createElement("a");
  link.href = `#${key}`;
  link.textContent = title;
  return link;
}));
$("guesses").replaceChildren(...Object.entries(GUESSES).map(([guess, text]) => {
  const button = document.createElement("button");
  button.type = "button";
  button.value = guess;
  button.textContent = text;
  button.onclick = () => answer(guess);
  return button;
}));
$("overlay").checked = matchMedia("(max-width: 640px)").matches;
listen();
await setStage(SITUATIONS[location.hash.slice(1)] ? location.hash.slice(1) : "forum");
/** For the tests: what the page holds, and its own parts. */
globalThis.playground = { state, update, timings, nets, about, object, setStage, computed: () => last, BACKGROUNDS };
