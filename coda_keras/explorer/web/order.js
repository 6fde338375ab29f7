// Which images are shown, and in which order: by class, probability, or what speaks against it.

import { button, h } from "./elements.js";

/** Values of an image by which a page sorts, each with its name on screen. */
export const COLUMNS = {
  row: ["as in the file", (source, index) => index],
  predicted: ["predicted class", (source, index) => source.predicted(index)],
  label: ["true class", (source, index) => source.image(index).label],
  probability: ["probability", (source, index) => source.probability(source.image(index).logits, source.predicted(index))],
  negative: ["negative share", (source, index) => source.image(index).negative],
};

const BOUNDED = ["probability", "negative"];

/** Whether a page has what sorting is for. */
export const sortable = (source) => source.image(0).negative !== undefined && source.manifest.images.length > 1;

/** The numbers of the images that fit, in the order of the state. */
export function orderOf(source, { sort, descending, low, high, only, truly, wrong }) {
  const all = source.manifest.images.map((_, index) => index);
  if (!sortable(source)) return all;
  const [, value] = COLUMNS[sort];
  const values = all.map((index) => value(source, index));
  const sign = descending ? -1 : 1;
  return all
    .filter((index) => {
      const { label } = source.image(index);
      const predicted = source.predicted(index);
      return (
        (low === null || values[index] >= low) &&
        (high === null || values[index] <= high) &&
        (only === null || predicted === only) &&
        (truly === null || label === truly) &&
        (!wrong || (label !== null && label !== predicted))
      );
    })
    .sort((a, b) => sign * (values[a] - values[b]) || a - b);
}

/** What chooses and sorts the images of the strip. */
export function orderBar(app) {
  const number = (text) => (text === "" || !Number.isFinite(Number(text)) ? null : Number(text));
  const select = (label, changes) => {
    const element = h("select", { "aria-label": label, onchange: () => app.set(changes(element.value)) });
    return element;
  };
  const bound = (label, key) => {
    const element = h("input", { type: "number", step: "any", "aria-label": label, placeholder: label });
    element.addEventListener("change", () => app.set({ [key]: number(element.value) }));
    return element;
  };
  const sort = select("Sort by", (name) => ({ sort: name, low: null, high: null }));
  const descending = button("↓", "The largest first", () => app.set({ descending: !app.state.descending }));
  const [low, high] = [bound("from", "low"), bound("to", "high")];
  const only = select("Predicted as", (id) => ({ only: number(id) }));
  const truly = select("Truly", (id) => ({ truly: number(id) }));
  const wrong = button("wrong only", "Only images predicted wrongly", () => app.set({ wrong: !app.state.wrong }));
  const count = h("span", { class: "hint", role: "status" });
  const element = h("div", { class: "toolbar order", role: "toolbar", "aria-label": "Images" }, h("span", {}, "Images by"), sort, descending, low, high, only, truly, wrong, count);
  let built = null;

  const build = ({ manifest }) => {
    built = manifest;
    const labelled = manifest.images.every(({ label }) => label !== null);
    const option = (value, text) => h("option", { value: String(value) }, text);
    const columns = Object.entries(COLUMNS).filter(([name]) => labelled || name !== "label");
    sort.replaceChildren(...columns.map(([name, [text]]) => option(name, text)));
    const classes = manifest.classes.map((name, id) => option(id, name));
    only.replaceChildren(option("", "predicted as any"), ...classes.map((one) => one.cloneNode(true)));
    truly.replaceChildren(option("", "truly any"), ...classes);
    for (const part of [truly, wrong]) part.hidden = !labelled;
  };

  const update = () => {
    const [{ source }] = app.sides;
    element.hidden = !sortable(source);
    if (element.hidden) return;
    if (built !== source.manifest) build(source);
    const { state } = app;
    sort.value = state.sort;
    only.value = state.only ?? "";
    truly.value = state.truly ?? "";
    for (const [field, value] of [[low, state.low], [high, state.high]]) {
      field.hidden = !BOUNDED.includes(state.sort);
      if (document.activeElement !== field) field.value = value ?? "";
    }
    descending.setAttribute("aria-pressed", state.descending);
    wrong.setAttribute("aria-pressed", state.wrong);
    count.textContent = `${app.order.length} of ${source.manifest.images.length}`;
  };
  return { element, update };
}
