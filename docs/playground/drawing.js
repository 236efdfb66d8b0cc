// The net as rows of circles, one for each map, which is also how one chooses a layer.

const KINDS = { Convolution: "convolution", BatchNorm: "batchnorm", ReLU: "relu", Pooling: "pooling", addition: "addition" };

/** Draw a net's layers into `place`; `choose` is called with a layer. Gives a function that marks the chosen one. */
export function drawNet(place, layers, choose) {
  const buttons = new Map();
  const rows = new Map();
  for (const layer of layers) {
    if (!rows.has(layer.row)) rows.set(layer.row, []);
    rows.get(layer.row).push(layer);
  }
  place.replaceChildren(legend());
  for (const row of rows.values()) {
    const line = document.createElement("div");
    const title = document.createElement("span");
    const [channels, height, width] = row.at(-1).shape;
    title.textContent = `${channels} × ${height} × ${width}`;
    line.className = "line";
    line.append(title);
    for (const layer of row) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = `${KINDS[layer.kind]} ${layer.whole ? "whole" : "part"}`;
      button.setAttribute("role", "radio");
      button.title = describe(layer);
      button.setAttribute("aria-label", button.title);
      button.onclick = () => choose(layer);
      buttons.set(layer.step, button);
      line.append(button);
    }
    place.append(line);
  }
  place.onkeydown = (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const now = layers.findIndex((layer) => buttons.get(layer.step) === document.activeElement);
    if (!by || now < 0) return;
    event.preventDefault();
    const next = layers[(now + by + layers.length) % layers.length];
    choose(next);
    buttons.get(next.step).focus();
  };
  return (chosen) => buttons.forEach((button, step) => {
    button.setAttribute("aria-checked", step === chosen.step);
    button.tabIndex = step === chosen.step ? 0 : -1;
  });
}

/** A layer in words. */
export function describe({ name, kind, shape: [channels, height, width], whole }) {
  return `${name}: ${kind}, ${channels} channels of ${height} × ${width}, ${whole ? "a whole map" : "a part"}`;
}

function legend() {
  const line = document.createElement("div");
  line.className = "legend";
  for (const [kind, name] of Object.entries(KINDS)) {
    const item = document.createElement("span"), dot = document.createElement("i");
    dot.className = name;
    item.append(dot, kind === "addition" ? "sum" : kind);
    line.append(item);
  }
  return line;
}
