// Keys: arrows for images, digits for classes, shift and arrows for a pixel.

import { h } from "./elements.js";
import { explainedClass } from "./quantity.js";
import { rectangle } from "./selection.js";

const KEYS = [
  ["← →", "previous, next image"],
  ["↑ ↓", "class above, below"],
  ["0 … 9", "class by its number; two digits quickly for 10 and more"],
  ["v", "contrast with the strongest other class"],
  ["o", "side by side, or overlaid"],
  ["w", "weights as colours"],
  ["s", "scale: each its own, or one for all"],
  ["p", "colours: red and blue, orange and purple"],
  ["g", "signs in the pixels"],
  ["r l b m", "rectangle, lasso, brush, move"],
  ["+ −", "larger, smaller"],
  ["shift + 0", "all of the image"],
  ["shift + arrows", "move the pointer, pixel by pixel"],
  ["Enter", "first, then second corner of a rectangle at the pointer"],
  ["Escape", "nothing selected, predicted class"],
];
const QUICKLY = 700; // ms between two digits of a number

export function keyHelp() {
  const rows = KEYS.map(([key, text]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, text)));
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { class: "help", "aria-label": "Keys" }, h("h2", {}, "Keys"), h("table", {}, ...rows), close);
  return dialog;
}

export function listen(app, target, signal) {
  let digits = "";
  let typed = 0;
  let corner = null;

  const classBy = (steps) => {
    const { source } = app.sides[0];
    const order = source.order(app.state.image);
    const place = order.indexOf(explainedClass(source, app.state)) + steps;
    app.chooseClass(order[(place + order.length) % order.length]);
  };

  const strongestOther = () => {
    const { source } = app.sides[0];
    const explained = explainedClass(source, app.state);
    const { logits } = source.image(app.state.image);
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
    return order.find((id) => id !== explained) ?? null;
  };

  const movePixel = (rows, columns) => {
    const [height, width] = app.size;
    const [row, column] = app.pixel ?? [Math.floor(height / 2), Math.floor(width / 2)];
    const clip = (value, last) => Math.min(last, Math.max(0, value));
    app.point([clip(row + rows, height - 1), clip(column + columns, width - 1)]);
    if (corner) app.set({ selection: rectangle(corner, app.pixel) });
  };

  const onCorner = () => {
    if (!app.pixel) return;
    corner = corner ? null : app.pixel;
    if (corner) app.set({ selection: rectangle(corner, corner) });
  };

  const digit = (key) => {
    const now = performance.now();
    digits = now - typed < QUICKLY ? digits + key : key;
    typed = now;
    const count = app.sides[0].source.manifest.classes.length;
    if (Number(digits) >= count) digits = key;
    if (Number(digits) < count) app.chooseClass(Number(digits));
  };

  const { state } = app;
  const actions = {
    ArrowLeft: () => app.stepImage(-1),
    ArrowRight: () => app.stepImage(1),
    ArrowUp: () => classBy(-1),
    ArrowDown: () => classBy(1),
    Escape: () => {
      corner = null;
      app.set({ selection: null, class: null, contrast: null, layer: null });
    },
    v: () => app.set({ contrast: app.state.contrast === null ? strongestOther() : null, layer: null }),
    o: () => app.set({ overlay: !state.overlay }),
    w: () => app.set({ weights: !state.weights }),
    s: () => app.set({ shared: !state.shared }),
    p: () => app.set({ palette: state.palette === "red-blue" ? "orange-purple" : "red-blue" }),
    g: () => app.set({ signs: !state.signs }),
    r: () => app.set({ tool: "rectangle" }),
    l: () => app.set({ tool: "lasso" }),
    b: () => app.set({ tool: "brush" }),
    m: () => app.set({ tool: "move" }),
    "+": () => app.zoomBy(1.5),
    "-": () => app.zoomBy(1 / 1.5),
    "?": () => app.help.showModal(),
  };
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  target.addEventListener("keydown", (event) => {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || app.help.open) return;
    if (!app.sides.length || event.target.closest?.("input, select, textarea")) return;
    if (event.shiftKey && key in moves) movePixel(...moves[key]);
    // Which character shift makes of a digit depends on the keyboard.
    else if (event.shiftKey && event.code === "Digit0") app.set({ zoom: 1, x: 0, y: 0 });
    else if (key === "Enter" && event.target.tagName === "CANVAS") onCorner();
    else if (/^\d$/.test(key)) digit(key);
    else if (Object.hasOwn(actions, key)) actions[key]();
    else return;
    event.preventDefault();
  }, { signal });
}
