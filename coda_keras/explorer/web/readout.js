// The account, always in sight, and what is under the pointer.

import { h } from "./elements.js";
import { encodedPixel, signedColour } from "./colours.js";
import { brief, percent, shown } from "./numbers.js";
import { accountOf, decimalsOf } from "./quantity.js";
import { countOf } from "./selection.js";

const CHANNELS = ["r", "g", "b", "1−r", "1−g", "1−b"];

export function accountBar(app) {
  const element = h("section", { class: "account", "aria-label": "Account", "aria-live": "polite" });
  const update = () => {
    const known = app.sides.map((side) => side.quantity).filter((quantity) => quantity?.values);
    const decimals = Math.max(...known.map(decimalsOf));
    element.replaceChildren(...app.sides.map((side, index) => row(app, side, index, decimals)));
  };
  return { element, update };
}

function row(app, side, index, decimals) {
  const label = app.sides.length > 1 ? h("b", { class: "side" }, "AB"[index]) : null;
  const line = h("div", { class: "sum", "data-side": "ab"[index] }, label);
  const { quantity } = side;
  if (!quantity || typeof quantity === "string") {
    line.append(quantity ?? "Loading …");
    return line;
  }
  const account = accountOf(quantity, app.mask, decimals);
  const { parts, share } = account;
  const term = (name, value, text) =>
    h("span", { class: `term ${name}`, "data-term": name }, h("small", {}, text), h("output", {}, shown(value, decimals)));
  const pixels = countOf(app.mask);
  const inside = app.mask ? `inside (${pixels} pixels, ${percent(share)})` : "inside (nothing selected)";
  if (quantity.bias !== null && quantity.complete) line.append(term("bias", parts.bias, "bias"), " + ");
  if (quantity.offset !== null) line.append(term("offset", parts.offset, "constants in layers"), " + ");
  line.append(term("inside", parts.inside, inside), " + ", term("outside", parts.outside, "outside"), " = ");
  line.append(term("total", parts.total, totalName(app, side)));
  if (quantity.complete && !app.state.layer) line.append(residualOf(account));
  line.append(strip(account, quantity));
  return line;
}

/** What the sum of the map, made in float64, lacks of the logit. */
function residualOf({ residual }) {
  const title = "The logit less the bias and the sum of all contributions: rounding in float32";
  return h("span", { class: "residual", title }, h("small", {}, "residual"), h("output", {}, brief(residual, true)));
}

function totalName(app, { quantity }) {
  if (!quantity.complete) return `sum of the map, ${quantity.name}`;
  if (app.state.layer) return `part of the logit, ${quantity.name}`;
  return app.state.contrast === null ? `logit, ${quantity.name}` : quantity.name;
}

/** The same account as a bar: how much of what is explained lies inside. */
function strip({ inside, explained }, quantity) {
  const outside = explained - inside;
  const whole = Math.abs(inside) + Math.abs(outside) || 1;
  const piece = (name, value) => {
    const fill = h("i", { class: `${name} ${value < 0 ? "minus" : "plus"}` });
    fill.style.flexGrow = String(Math.abs(value) / whole);
    return fill;
  };
  const title = `inside ${brief(inside)}, outside ${brief(outside)} ${quantity.complete ? "logits" : ""}`;
  return h("span", { class: "share", title, "aria-hidden": "true" }, piece("in", inside), piece("out", outside));
}

/** What the pixel under the pointer contributes, by channel, on every side. */
export function readout(app) {
  const element = h("section", { class: "card readout", "aria-label": "Pixel" });
  const update = () => {
    if (!app.pixel) {
      element.replaceChildren(
        h("h2", {}, "Pixel"),
        h("p", { class: "hint" }, "Point at a pixel to see its contribution, channel by channel."),
      );
      return;
    }
    const [rowIndex, column] = app.pixel;
    element.replaceChildren(
      h("h2", {}, `Pixel, row ${rowIndex}, column ${column}`),
      ...app.sides.map((side, index) => pixelOf(app, side, index)),
    );
  };
  return { element, update };
}

function pixelOf(app, { source, quantity, picture, scale }, side) {
  const box = h("div", { class: "pixel", "data-side": "ab"[side] });
  if (!quantity || typeof quantity === "string" || !picture) return box;
  const at = app.pixel[0] * source.manifest.size[1] + app.pixel[1];
  const inputs = encodedPixel(picture, at);
  const bytes = inputs.slice(0, 3).map((value) => Math.round(255 * value));
  const hex = `#${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  const swatch = h("i", { class: "swatch" });
  swatch.style.background = hex;
  const value = quantity.values[at];
  const unit = quantity.complete ? "logits" : source.manifest.quantity;
  const own = h("i", { class: "swatch" });
  own.style.background = `rgb(${signedColour(value, scale, app.palette).join(" ")})`;
  const name = app.sides.length > 1 ? `${"AB"[side]}: ` : "";
  box.append(
    h("p", { class: "value" }, own, `${name}`, h("b", { class: "contribution" }, brief(value, true)), ` ${unit}`),
    h("p", {}, swatch, `colour ${bytes.join(", ")} (${hex})`),
  );
  if (quantity.weights) {
    const parts = inputs.map((input, c) => input * quantity.weights[6 * at + c]);
    const largest = Math.max(...parts.map(Math.abs)) || 1;
    box.append(
      h(
        "table",
        { class: "parts" },
        h("caption", {}, "Channel by channel: value × weight"),
        ...parts.map((part, c) => channelRow(c, part, largest, inputs[c], quantity.weights[6 * at + c])),
      ),
    );
  }
  return box;
}

function channelRow(channel, part, largest, input, weight) {
  const fill = h("i", { class: part < 0 ? "negative" : "positive" });
  fill.style.width = `${(50 * Math.abs(part)) / largest}%`;
  return h(
    "tr",
    { title: `${brief(input)} × ${brief(weight)}` },
    h("th", { scope: "row" }, CHANNELS[channel]),
    h("td", {}, h("span", { class: "bar" }, fill)),
    h("td", { class: "number" }, brief(part, true)),
  );
}
