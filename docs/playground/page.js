import { Nets, file } from "./client.js";
import { describe, drawNet } from "./drawing.js";
import { limited, listen, mark } from "./hand.js";
import * as measures from "./measures.js";
import { paintGradient, paintHeat, paintNothing, paintOverlay, paintScene, paintSigned } from "./pictures.js";
import { SIDE, compose, decodeCutout, normalise, tagMask } from "./scene.js";
import { BACKGROUNDS, SITUATIONS } from "./situations.js";

const FLUENT = 100; // milliseconds: a way back that takes longer waits until the hand rests
const $ = (id) => document.getElementById(id);
const about = JSON.parse(new TextDecoder().decode(await file("playground.json")));
const nets = new Nets(about.nets);
const stages = Object.fromEntries(Object.entries(SITUATIONS).filter(([, { net }]) => about.nets[net]));
nets.prepare(stageNow().net, "full").catch(() => {}); // while the cut-outs come; what fails is asked for again, and said then
const cutouts = new Map(await Promise.all(about.cutouts.map(async (name) => [name, await decodeCutout(await file(`cutouts/${name}`))])));
const state = { net: "", target: 0, layer: null, guided: 0, objects: [], chosen: 0, background: "meadow", tag: null };
const timings = [];
let markLayer = () => {};
let covered = false; // whether the maps wait for a guess
let slow = false; // whether the last way back took too long to follow a drag
let dragging = false;
let shown = null; // the scene that is to be seen, and the state that it was made from
let last = null; // the last scene whose maps were computed, with them

const labelOf = (name) => name.replace(/_\d+\.png$/, "").replaceAll("_", " ");
const percent = (share) => `${Math.round(100 * share)}%`;
const current = () => about.nets[state.net];
const object = (name, x, y, size, angle, flip) => ({ name, cutout: cutouts.get(name), x, y, size, angle, flip });

/** The situation that the address names, else the first. */
function stageNow() {
  return stages[location.hash.slice(1)] ?? Object.values(stages)[0];
}

// The scene is painted at once. The net looks at it when it is free: one run is under way at a time, a newer scene waits.

function changed() {
  const now = { ...state, objects: state.objects.map((one) => ({ ...one })) };
  shown = { now, ...compose(BACKGROUNDS[now.background], now.objects, now.tag) };
  $("verdict").textContent = "";
  showScene();
  return update();
}

function showScene() {
  const overlaid = $("overlay").checked && !covered && last?.now.net === shown.now.net;
  if (overlaid) paintOverlay($("scene"), shown.pixels, last.heat);
  else paintScene($("scene"), shown.pixels);
}

let running = null, dirty = false;

/** Have the net look at the scene; the promise ends when nothing newer waits. */
function update() {
  dirty = true;
  running ??= work();
  return running;
}

async function work() {
  while (dirty) {
    dirty = false;
    try {
      await once(shown);
      $("status").textContent = "";
    } catch (error) {
      $("status").textContent = `That did not work: ${error.message}`;
    }
  }
  running = null;
}

async function once(scene) {
  const start = performance.now();
  const { now, pixels } = scene;
  const image = normalise(pixels);
  const forwardOnly = dragging && slow;
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
  showAnswer(run.results.logits, now);
  if (!forwardOnly) {
    const gradient = now.guided ? guided?.results.gradient : run.results.gradient;
    const heat = measures.resize(measures.positive(run.results[`map:${now.layer.step}`]), SIDE);
    last = { ...scene, results: run.results, gradient, heat };
    showMaps();
  }
  const total = performance.now() - start;
  const milliseconds = run.milliseconds + (guided?.milliseconds ?? 0);
  timings.push({ total, net: milliseconds, forwardOnly, guided: Boolean(guided) });
  $("time").textContent = `The last update took ${total.toFixed(0)} ms, ${milliseconds.toFixed(0)} ms of it the net, `
    + (forwardOnly ? "forward only: the maps follow when you let go." : "forward and backward.");
}

function showAnswer(logits, { net }) {
  const shares = measures.softmax(logits);
  const best = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
  $("answer").textContent = `The net says: ${best.map((i) => `${about.nets[net].labels[i]} ${percent(shares[i])}`).join(", ")}`;
}

/** The masks of the explained class and of all other objects. */
function truth({ now, masks }) {
  const wanted = about.nets[now.net].labels[now.target];
  const ofClass = (right) => masks.filter((_, i) => (labelOf(now.objects[i].name) === wanted) === right);
  return [measures.union(ofClass(true), SIDE * SIDE), measures.union(ofClass(false), SIDE * SIDE)];
}

function numbers(heat, computed) {
  const [mask, other] = truth(computed);
  if (!mask.includes(1)) return { text: "the class is not to be seen in the scene", energy: null, share: null };
  const { energy, share } = measures.measure(heat, mask, other);
  return { text: `energy ${percent(energy)}, share ${percent(share)}`, energy, share };
}

function showMaps() {
  const { now, pixels, results, gradient, heat } = last;
  const step = now.layer.step;
  const { labels, relus } = about.nets[now.net];
  showScene();
  $("parts").hidden = covered || now.layer.kind !== "addition";
  if (covered) {
    for (const id of ["map", "gradient"]) paintNothing($(id));
    $("mapNumbers").textContent = $("gradientNumbers").textContent = "after your guess";
    return;
  }
  const found = last.numbers = { map: numbers(heat, last) };
  paintHeat($("map"), pixels, heat);
  $("mapNumbers").textContent = `at ${now.layer.name}: ${found.map.text}`;
  $("map").setAttribute("aria-label", `Grad-CAM for ${labels[now.target]} ${$("mapNumbers").textContent}`);
  if (gradient) {
    found.gradient = numbers(measures.saliency(gradient), last);
    paintGradient($("gradient"), gradient);
    $("gradientNumbers").textContent = `${now.guided} of ${relus.length} ReLUs guided: ${found.gradient.text}`;
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
  if (last) showMaps();
}

async function answer(guess) {
  await running;
  if (!covered || last?.now !== shown.now) return;
  covered = false;
  $("question").hidden = true;
  showMaps();
  const { heat, now } = last;
  const [mask, other] = truth(last);
  const energy = (where) => measures.measure(heat, where, where).energy;
  const parts = { mask: energy(mask), other: energy(other) };
  if (now.tag !== null) parts.tag = energy(tagMask(true));
  parts.background = 1 - Object.values(parts).reduce((a, b) => a + b);
  const any = heat.some((value) => value > 0);
  const most = any ? Object.keys(parts).reduce((a, b) => (parts[b] > parts[a] ? b : a)) : "nothing";
  const [first, ...others] = Object.entries(parts).map(([part, share]) => [percent(share), GUESSES[part]]);
  const found = [`${first[0]} of the evidence lies ${first[1]}`, ...others.map((one) => one.join(" "))].join(", ");
  $("verdict").textContent = `You said: ${GUESSES[guess]}. ${most === guess ? "Yes" : "No"}: `
    + (any ? `${found}.` : "the map is empty.");
}

// Controls.

function fill(select, pairs) {
  select.replaceChildren(...pairs.map(([text, value]) => new Option(text, value)));
}

function chooseNet(name, layer) {
  if (name !== last?.now.net) $("status").textContent = "Loading the net…";
  state.net = name;
  const { layers, relus } = current();
  state.layer = layers.find((one) => one.name === layer) ?? layers.at(-1);
  state.guided = Math.min(state.guided, relus.length);
  fill($("layer"), layers.map((one) => [`${one.name} (${one.whole ? "" : "part, "}${one.kind})`, one.step]));
  $("guided").max = relus.length;
  markLayer = drawNet($("drawing"), layers, chooseLayer);
}

function chooseLayer(layer) {
  state.layer = layer;
  show();
  changed();
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
  $("asked").textContent = `${current().labels[state.target]} at ${state.layer.name}`;
  for (const button of $("guesses").children) button.hidden = button.value === "tag" && state.tag === null;
  mark($("ring"), $("handle"), one);
  markLayer(state.layer);
  const buttons = $("objects").children; // kept, or one that has the focus would lose it
  while (buttons.length > state.objects.length) buttons[buttons.length - 1].remove();
  state.objects.forEach(({ name }, index) => {
    const button = buttons[index] ?? $("objects").appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = labelOf(name);
    button.setAttribute("aria-pressed", index === state.chosen);
    button.onclick = () => { state.chosen = index; show(); };
  });
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
  Object.assign(one, limited({ ...one, ...values }));
  show();
  changed();
}

function setStage() {
  const stage = stageNow();
  const number = (label) => about.nets[stage.net].labels.indexOf(label);
  const objects = stage.objects.map((one) => object(...one));
  Object.assign(state, { objects, chosen: 0, background: stage.background, guided: stage.guided ?? 0 });
  Object.assign(state, { target: number(stage.class), tag: stage.tag ? number(stage.tag) : null });
  tell(stage);
  for (const link of $("situations").children) {
    if (stages[link.hash.slice(1)] === stage) link.setAttribute("aria-current", true);
    else link.removeAttribute("aria-current");
  }
  chooseNet(stage.net, stage.layer);
  show();
  ask();
  return changed();
}

/** A situation's story; in the course's site with a link to its lesson. */
function tell({ story, lesson }) {
  $("story").textContent = `${story} `;
  if (!$("course")) return;
  const link = document.createElement("a");
  link.href = new URL(`lessons/${lesson}.html`, $("course").href);
  link.textContent = `Lesson ${Number(lesson.slice(0, 2))}`;
  $("story").append(link);
}

/** Choose the object that is seen at a point, else the nearest. */
function pick([x, y]) {
  const inside = (value) => Math.min(SIDE - 1, Math.max(0, Math.floor(value)));
  const seen = shown.masks.findIndex((mask) => mask[inside(y) * SIDE + inside(x)]);
  const distance = (one) => Math.hypot(one.x - x, one.y - y) / one.size;
  const nearest = state.objects.reduce((best, one, i) => (distance(one) < distance(state.objects[best]) ? i : best), 0);
  state.chosen = seen < 0 ? nearest : seen;
  show();
}

function listenToAll() {
  const chosen = () => state.objects[state.chosen];
  for (const form of document.forms) form.onsubmit = (event) => event.preventDefault();
  const set = (values) => { Object.assign(state, values); show(); changed(); };
  $("net").onchange = () => { chooseNet($("net").value, state.layer.name); ask(); set({}); };
  $("class").onchange = () => { ask(); set({ target: Number($("class").value) }); };
  $("layer").onchange = () => chooseLayer(current().layers.find((one) => one.step === Number($("layer").value)));
  $("guided").oninput = () => set({ guided: Number($("guided").value) });
  $("predict").onchange = ask;
  $("overlay").onchange = showScene;
  $("background").onchange = () => set({ background: $("background").value });
  $("tag").onchange = () => set({ tag: $("tag").value === "" ? null : Number($("tag").value) });
  $("cutout").onchange = () => change({ name: $("cutout").value, cutout: cutouts.get($("cutout").value) });
  $("size").oninput = () => change({ size: Number($("size").value) });
  $("angle").oninput = () => change({ angle: Number($("angle").value) });
  $("flip").onclick = () => change({ flip: !chosen().flip });
  $("remove").onclick = () => { state.objects.splice(state.chosen, 1); set({ chosen: 0 }); };
  const inFront = (one) => { state.objects.push(one); set({ chosen: state.objects.length - 1 }); };
  $("front").onclick = () => inFront(...state.objects.splice(state.chosen, 1));
  $("add").onclick = () => inFront(object(about.cutouts[state.objects.length], SIDE / 2, SIDE / 2, 90, 0, false));
  listen($("stage"), $("scene"), $("handle"), {
    chosen, pick, change,
    next: () => { state.chosen = (state.chosen + 1) % state.objects.length; show(); },
    hold: (down) => { dragging = down; if (!down) update(); },
  });
  addEventListener("hashchange", setStage);
}

const { labels } = Object.values(about.nets)[0];
fill($("net"), Object.entries(about.nets).map(([name, { title }]) => [title, name]));
fill($("class"), labels.map((label, i) => [label, i]));
fill($("cutout"), about.cutouts.map((name) => [name.replace(".png", "").replaceAll("_", " "), name]));
fill($("background"), Object.keys(BACKGROUNDS).map((name) => [name, name]));
fill($("tag"), [["none", ""], ...labels.map((label, i) => [label, i])]);
$("situations").replaceChildren(...Object.entries(stages).map(([key, { title }]) => {
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
listenToAll();
await setStage();
/** For the tests: what the page holds, and its own parts. */
globalThis.playground = { state, changed, timings, nets, about, object, computed: () => last, atRest: () => !running && !dragging && last?.now === shown.now };
