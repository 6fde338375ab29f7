// What is being looked at, and how, as an object and as the fragment of a link.

import { PALETTES } from "./colours.js";
import { COLUMNS } from "./order.js";
import { selectionFrom, selectionText } from "./selection.js";

export const TOOLS = ["rectangle", "lasso", "brush", "move"];

export const START = Object.freeze({
  a: null, // Which series and step, "key@step"; null for the first.
  b: null, // What it is compared with, or null.
  image: 0,
  sort: "row", // A column of order.js, by which images stand in the strip.
  descending: false,
  low: null, // Bounds of that column.
  high: null,
  only: null, // Only images predicted as this class,
  truly: null, // of this true class,
  wrong: false, // predicted wrongly.
  class: null, // null for the predicted class.
  predicted: 0, // What the first side predicts, found when it is shown.
  contrast: null,
  layer: null, // [layer, rank of the channel]
  overlay: false,
  opacity: 0.8,
  weights: true,
  percentile: 99.75,
  absolute: null, // In logits; null for the percentile.
  shared: false,
  palette: "red-blue",
  signs: false,
  tool: "rectangle",
  selection: null,
  zoom: 1,
  x: 0, // Left and top of what is seen, in pixels of the image.
  y: 0,
});

const WRITERS = {
  layer: (layer) => layer.join("."),
  selection: selectionText,
  descending: Number,
  wrong: Number,
  overlay: Number,
  weights: Number,
  shared: Number,
  signs: Number,
  x: (x) => Number(x.toFixed(2)),
  y: (y) => Number(y.toFixed(2)),
  zoom: (zoom) => Number(zoom.toFixed(3)),
};

const whole = (text) => (/^\d{1,6}$/.test(text) ? Number(text) : undefined);
const within = (low, high) => (text) => {
  const value = Number(text);
  return text !== "" && value >= low && value <= high ? value : undefined;
};
const flag = (text) => text === "1";
const oneOf = (names) => (text) => (names.includes(text) ? text : undefined);

const READERS = {
  a: String,
  b: String,
  image: whole,
  sort: oneOf(Object.keys(COLUMNS)),
  descending: flag,
  low: within(-Infinity, Infinity),
  high: within(-Infinity, Infinity),
  only: whole,
  truly: whole,
  wrong: flag,
  class: whole,
  contrast: whole,
  layer: (text) => (/^\d{1,3}\.\d{1,3}$/.test(text) ? text.split(".").map(Number) : undefined),
  overlay: flag,
  opacity: within(0, 1),
  weights: flag,
  percentile: within(50, 100),
  absolute: within(1e-30, 1e30),
  shared: flag,
  palette: oneOf(Object.keys(PALETTES)),
  signs: flag,
  tool: oneOf(TOOLS),
  selection: (text) => selectionFrom(text) ?? undefined,
  zoom: within(1, 64),
  x: within(0, 1e6),
  y: within(0, 1e6),
};

/** `image=3&class=5&...`: what differs from the start. */
export function toFragment(state) {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (key in READERS && value !== null && value !== START[key]) {
      parts.set(key, (WRITERS[key] ?? String)(value));
    }
  }
  return parts.toString();
}

/** Reads a fragment; what makes no sense is left as at the start. */
export function fromFragment(text) {
  const state = { ...START };
  for (const [key, value] of new URLSearchParams(text.replace(/^#/, ""))) {
    const read = Object.hasOwn(READERS, key) ? READERS[key](value) : undefined;
    if (read !== undefined) state[key] = read;
  }
  return state;
}
