// The strip of images, and the list of classes with logits and probabilities.

import { button, h } from "./elements.js";
import { imagePicture } from "./colours.js";
import { percent, shown } from "./numbers.js";
import { explainedClass } from "./quantity.js";

export function imageStrip(app) {
  const element = h("nav", { class: "strip", "aria-label": "Images" });
  let source = null;
  let buttons = [];
  let order = "";

  const build = () => {
    source = app.sides[0].source;
    order = null;
    const { classes, images } = source.manifest;
    buttons = images.map(({ name, label, picture }, index) => {
      const predicted = source.predicted(index);
      const known = label !== null && label !== undefined;
      const mark = known ? (label === predicted ? " ✓" : " ✗") : "";
      const truth = mark === " ✗" ? `, truly ${classes[label]}` : "";
      const title = `${name}: predicted ${classes[predicted]}${truth}`;
      const canvas = h("canvas", { "aria-hidden": "true" });
      const thumbnail = button(canvas, title, () => app.set({ image: index, layer: null }));
      thumbnail.dataset.index = index;
      // Photographs of the reader come first, where they are seen.
      if (picture?.data) thumbnail.style.order = "-1";
      thumbnail.setAttribute("aria-label", title);
      thumbnail.append(h("span", {}, classes[predicted] + mark));
      return thumbnail;
    });
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) entry.target.dataset.seen = "1";
      }
      app.render();
    });
    buttons.forEach((thumbnail) => seen.observe(thumbnail));
  };

  const paint = () => {
    for (const thumbnail of buttons) {
      if (!thumbnail.dataset.seen || thumbnail.dataset.painted) continue;
      const picture = source.picture(Number(thumbnail.dataset.index));
      if (!picture) continue;
      const canvas = thumbnail.querySelector("canvas");
      const whole = imagePicture(picture, source.manifest.size);
      canvas.width = whole.width;
      canvas.height = whole.height;
      canvas.getContext("2d").drawImage(whole, 0, 0);
      thumbnail.dataset.painted = "1";
    }
  };

  const update = () => {
    if (source !== app.sides[0].source || buttons.length !== source.manifest.images.length) build();
    if (order !== app.order.join()) {
      order = app.order.join();
      element.replaceChildren(...app.order.map((index) => buttons[index]));
    }
    paint();
    buttons.forEach((thumbnail, index) => {
      const chosen = index === app.state.image;
      if (chosen && thumbnail.getAttribute("aria-current") !== "true") {
        reveal(element, thumbnail);
      }
      thumbnail.setAttribute("aria-current", chosen);
    });
  };
  return { element, update };
}

/** Scrolls a list, and nothing around it, until an item in it is seen. */
function reveal(list, item) {
  const [outer, inner] = [list.getBoundingClientRect(), item.getBoundingClientRect()];
  const missing = (low, high) => Math.min(0, inner[low] - outer[low]) || Math.max(0, inner[high] - outer[high]);
  list.scrollBy(missing("left", "right"), missing("top", "bottom"));
}

/** A row for every class: its number, name, logit as a bar, probability; and `vs` for contrast. */
export function classList(app) {
  const heads = h("div", { class: "heads", "aria-hidden": "true" });
  const list = h("ol", { class: "classes" });
  const element = h("section", { class: "card class-list", "aria-label": "Classes" }, heads, list);
  let rows = [];
  let names = null;
  let listed = "";
  let drawn = [];

  const build = () => {
    names = app.sides[0].source.manifest.classes;
    rows = names.map((name, id) => {
      const key = id < 10 ? h("kbd", {}, String(id)) : h("kbd", { class: "none" }, String(id));
      const bars = h("span", { class: "bars", "aria-hidden": "true" });
      const values = h("span", { class: "values" });
      const choose = button("", `Explain ${name}`, () => app.chooseClass(id), { class: "pick" });
      choose.append(key, h("span", { class: "name" }, name), bars, values);
      const versus = button("vs", `Why the explained class rather than ${name}`, () =>
        app.set({ contrast: app.state.contrast === id ? null : id, layer: null }),
      );
      versus.className = "versus";
      return { element: h("li", { "data-id": id }, choose, versus), choose, versus, bars, values };
    });
    listed = "";
    drawn = [];
  };

  const draw = (columns) => {
    const order = app.sides[0].source.order(app.state.image);
    if (String(order) !== listed) list.replaceChildren(...order.map((id) => rows[id].element));
    listed = String(order);
    const largest = Math.max(1e-9, ...columns.flatMap((c) => [...c.logits, ...(c.before ?? [])].map(Math.abs)));
    heads.textContent = columns.length > 1 || columns[0].before ? columns[0].head : "logit · probability";
    rows.forEach((row, id) => {
      row.bars.replaceChildren(
        ...columns.flatMap(({ logits, before }) => [
          ...(before ? [bar(before[id], largest, "bar before")] : []),
          bar(logits[id], largest),
        ]),
      );
      row.values.replaceChildren(
        ...columns.map(({ logits, before, probability }) => {
          const title = before ? `${shown(logits[id] - before[id], 2, true)} by what is gone` : "";
          return h("span", { title }, h("b", {}, shown(logits[id], 2)), ` ${percent(probability(id))}`);
        }),
      );
    });
  };

  const update = () => {
    const { source } = app.sides[0];
    if (names !== source.manifest.classes) build();
    const columns = app.sides.map((side) => logitsOf(app, side));
    // A thousand rows are not drawn again wherever the pointer goes.
    const shownNow = [source, ...columns.flatMap(({ logits, before }) => [logits, before])];
    if (shownNow.length !== drawn.length || shownNow.some((values, i) => values !== drawn[i])) {
      draw(columns);
      drawn = shownNow;
    }
    const explained = explainedClass(source, app.state);
    const { contrast } = app.state;
    rows.forEach((row, id) => {
      row.choose.setAttribute("aria-pressed", id === explained);
      row.versus.setAttribute("aria-pressed", id === contrast);
      row.versus.disabled = id === explained;
    });
  };
  return { element, update };
}

/** The logits shown in a column: the stored ones, or the new ones of an image with pixels away. */
function logitsOf(app, { source, removal }) {
  const stored = source.image(app.state.image).logits;
  const logits = removal?.after ?? stored;
  return {
    logits,
    before: removal?.before,
    probability: (id) => source.probability(logits, id),
    head: removal?.after ? "without the pixels: logit · probability" : "A and B: logit · probability",
  };
}

function bar(logit, largest, name = "bar") {
  const share = (50 * Math.abs(logit)) / largest;
  const side = logit < 0 ? "negative" : "positive";
  const fill = h("i", { class: side });
  fill.style.width = `${share}%`;
  return h("span", { class: name }, fill);
}
