// Takes pixels away (all six channels zero, which no colour is) and asks the model again.

import { choice, h, set } from "./elements.js";
import { removalCurve } from "./curve.js";
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
  const values = () => app.sides[0].quantity.values;
  const curve = removalCurve(app, (which, part) => removedPixels(which, part, values(), null));
  const chosen = h("div", { class: "chosen" }, orders.element, h("label", { class: "slider" }, share, output), h("div", { class: "row" }, go, back), result);
  const body = h("div", { class: "halves" }, chosen, curve.element);
  const absent = h("p", { class: "hint" });
  const element = h("section", { class: "card removal", "aria-label": "Take pixels away" }, h("h2", {}, "Take pixels away"), body, absent);
  let busy = false;
  let again = false;

  /** Takes away what is asked for now; while the model computes, the last wish waits. */
  const remove = async () => {
    again = busy;
    if (busy || !app.sides[0].quantity?.values) return;
    busy = true;
    do {
      again = false;
      const [which, part] = [order, Number(share.value) / 100];
      const mask = removedPixels(which, part, values(), app.mask);
      if (mask && countOf(mask)) await app.remove(mask);
      else app.restore();
      const { removal } = app.sides[0];
      if (removal && which in { most: 0, least: 0 }) curve.note(which, part, removal.after);
    } while (again);
    busy = false;
  };

  share.addEventListener("input", () => {
    update();
    // A net in the page answers while the slider moves.
    if (app.sides.every((side) => side.source.instant)) remove();
  });

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
    if (able) curve.update();
  };

  const sentences = (empty) => {
    if (app.removalError) return [app.removalError];
    if (app.removing && !app.removed) return ["Asking the model …"];
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
