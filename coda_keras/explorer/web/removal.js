// Takes pixels away (all six channels zero, which no colour is) and asks the model again.

import { choice, h, set } from "./elements.js";
import { percent, shown } from "./numbers.js";
import { explainedClass } from "./quantity.js";
import { countOf } from "./selection.js";

const ORDERS = [
  ["most", "most important", "Pixels that contribute most to what is explained"],
  ["least", "least important", "Pixels that contribute least, or most against it"],
  ["selected", "selected", "The selected pixels"],
  ["others", "all but selected", "All pixels but the selected ones"],
];

/** 1 for every pixel to take away, by the map shown. */
export function removedPixels(order, share, values, mask) {
  if (order === "selected") return mask;
  if (order === "others") return mask && mask.map((inside) => 1 - inside);
  const sign = order === "most" ? -1 : 1;
  const ranked = Array.from(values.keys()).sort((a, b) => sign * (values[a] - values[b]) || a - b);
  const removed = new Uint8Array(values.length);
  for (const pixel of ranked.slice(0, Math.round(share * values.length))) removed[pixel] = 1;
  return removed;
}

export function removalCard(app) {
  let order = "most";
  const orders = choice("Which pixels", ORDERS, (value) => {
    order = value;
    update();
  });
  const share = h("input", { type: "range", min: "0", max: "100", step: "1", value: "10", "aria-label": "Share of the pixels" });
  const output = h("output", {});
  const go = h("button", { type: "button", class: "primary", onclick: () => remove() }, "Take away");
  const back = h("button", { type: "button", onclick: () => app.restore() }, "Put back");
  const result = h("p", { class: "result", "aria-live": "polite" });
  const body = h("div", {}, orders.element, h("label", { class: "slider" }, share, output), h("div", { class: "row" }, go, back), result);
  const absent = h("p", { class: "hint" });
  const element = h("section", { class: "card removal", "aria-label": "Take pixels away" }, h("h2", {}, "Take pixels away"), body, absent);
  share.addEventListener("input", () => update());

  const remove = async () => {
    const mask = removedPixels(order, Number(share.value) / 100, app.sides[0].quantity.values, app.mask);
    if (mask && countOf(mask)) await app.remove(mask);
  };

  const update = () => {
    const able = app.sides.some((side) => side.source.predict);
    body.hidden = !able;
    absent.hidden = able;
    absent.textContent = app.catalogue.noModel ?? "";
    orders.show(order);
    output.textContent = `${share.value}%`;
    share.parentElement.hidden = order !== "most" && order !== "least";
    const needsSelection = order === "selected" || order === "others";
    const ready = app.sides[0].quantity?.values && (!needsSelection || app.mask);
    set(go, { disabled: !ready || app.removing });
    set(back, { disabled: !app.removed });
    result.replaceChildren(...sentences(needsSelection && !app.mask));
  };

  const sentences = (empty) => {
    if (app.removalError) return [app.removalError];
    if (app.removing) return ["Asking the model …"];
    if (!app.removed) return empty ? ["Select some pixels first."] : [];
    const count = countOf(app.removed);
    const lines = app.sides.map((side, index) => {
      if (!side.removal) return null;
      const { source, removal } = side;
      const id = explainedClass(source, app.state);
      const [from, to] = [removal.before, removal.after];
      const first = to.indexOf(Math.max(...to));
      const [p, q] = [source.probability(from, id), source.probability(to, id)];
      const names = source.manifest.classes;
      const which = app.sides.length > 1 ? `${"AB"[index]}, ` : "";
      return `${which}${names[id]}: logit ${shown(from[id], 3)} → ${shown(to[id], 3)}, probability ${percent(p)} → ${percent(q)}; predicted now: ${names[first]}.`;
    });
    const all = [`${count} of ${app.removed.length} pixels are gone.`, ...lines.filter(Boolean)];
    return all.map((line) => h("span", {}, line));
  };
  return { element, update };
}
