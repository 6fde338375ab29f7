// What is shown and how: series and steps, comparison, panels, colours, scale, export.

import { button, choice, copy, h, save, set } from "./elements.js";
import { PALETTES } from "./colours.js";
import { classesCsv, figurePng, figureSvg, pixelsCsv } from "./figure.js";
import { brief } from "./numbers.js";

/** Series and step of one side: "a", or "b" that it is compared with. */
export function seriesControl(app, side) {
  const select = h("select", { "aria-label": `Series ${side.toUpperCase()}` });
  const slider = h("input", { type: "range", min: "0", "aria-label": `Step ${side.toUpperCase()}` });
  const step = h("output", {});
  const steps = h("label", { class: "slider steps" }, "step", slider, step);
  const element = h("span", { class: "series", "data-side": side }, h("b", { class: "side" }, side.toUpperCase()), select, steps);
  const { entries } = app.catalogue;
  select.append(...entries.map((entry, index) => h("option", { value: String(index) }, entry.label)));
  const entry = () => entries[Number(select.value)];
  const choose = (index) => app.choose(side, entry().key, entry().steps[index]);
  select.addEventListener("change", () => choose(entry().steps.length - 1));
  slider.addEventListener("input", () => choose(Number(slider.value)));

  const update = () => {
    const place = app.placeOf(side);
    element.hidden = !place;
    if (!place) return;
    select.value = String(place.entry);
    select.hidden = entries.length < 2;
    const all = entry().steps;
    steps.hidden = all.length < 2;
    set(slider, { max: String(all.length - 1) });
    slider.value = String(place.step);
    step.textContent = String(all[place.step]);
    element.classList.toggle("alone", side === "a" && !app.state.b);
  };
  return { element, update };
}

export function toolbar(app) {
  const tools = choice(
    "Select with",
    [
      ["rectangle", "▭ rectangle", "Drag a rectangle (r)"],
      ["lasso", "◌ lasso", "Draw a line around pixels (l)"],
      ["brush", "● brush", "Paint pixels, with shift more of them (b)"],
      ["move", "✥ move", "Drag the picture when it is zoomed (m, or alt and drag)"],
    ],
    (tool) => app.set({ tool }),
  );
  const clear = button("Clear", "Select nothing (Escape)", () => app.set({ selection: null }));
  const show = choice(
    "Show",
    [
      ["side", "side by side", "Image and map side by side (o)"],
      ["over", "overlaid", "The map over the image (o)"],
    ],
    (value) => app.set({ overlay: value === "over" }),
  );
  const opacity = range("Opacity of the map", 0, 1, 0.05, (value) => app.set({ opacity: value }));
  const weights = check("weights", "Shows the row of W as colours too (w)", (on) => app.set({ weights: on }));
  const smaller = button("−", "Smaller (−)", () => app.zoomBy(1 / 1.5));
  const larger = button("+", "Larger (+, or Ctrl and the wheel)", () => app.zoomBy(1.5));
  const whole = button("1:1", "All of the image (shift + 0, or a double click)", () => app.set({ zoom: 1, x: 0, y: 0 }));
  const zoom = h("div", { class: "choice", role: "group", "aria-label": "Zoom" }, smaller, larger, whole);
  const element = h("div", { class: "toolbar", role: "toolbar", "aria-label": "Tools" }, tools.element, clear, show.element, opacity.element, weights.element, zoom);

  const update = () => {
    const { state } = app;
    tools.show(state.tool);
    set(clear, { disabled: !state.selection });
    show.show(state.overlay ? "over" : "side");
    opacity.element.hidden = !state.overlay;
    opacity.show(state.opacity);
    const has = app.sides.some((side) => side.source.manifest.weights);
    weights.element.hidden = !has;
    weights.show(state.weights);
    set(smaller, { disabled: state.zoom <= 1 });
  };
  return { element, update };
}

/** The bar of colours with its ends in logits. */
export function legend(app) {
  const bar = h("canvas", { class: "key", width: 256, height: 1, "aria-hidden": "true" });
  const [low, high] = [h("span", {}), h("span", {})];
  const element = h("div", { class: "legend" }, low, bar, high);
  const update = () => {
    const scales = app.sides.map((side) => side.scale).filter(Boolean);
    const ends = [...new Set(scales.map((scale) => brief(scale)))].join(" / ");
    const { quantity } = app.sides[0].source.manifest;
    paintKey(bar, app.palette);
    low.textContent = ends && `against −${ends}`;
    high.textContent = ends && `+${ends} ${quantity}, for`;
  };
  return { element, update };
}

/** How the scale and the colours are chosen. */
export function scaleCard(app) {
  const how = choice(
    "Full colour at",
    [
      ["percentile", "percentile", "Full colour is a percentile of the magnitudes"],
      ["absolute", "absolute", "Full colour is a number of logits"],
    ],
    (value) => app.set({ absolute: value === "absolute" ? app.sides[0].scale ?? 1 : null }),
  );
  const percent = h("select", { "aria-label": "Percentile", onchange: () => app.set({ percentile: Number(percent.value) }) });
  const number = h("input", { type: "number", step: "any", min: "0", "aria-label": "Full colour in logits" });
  number.addEventListener("change", () => {
    const value = Number(number.value);
    if (value > 0 && value < 1e30) app.set({ absolute: value });
  });
  const whose = choice(
    "Scale of",
    [
      ["each", "each its own", "Every map has its own scale (s)"],
      ["all", "one for all", "All maps of all images share one scale (s)"],
    ],
    (value) => app.set({ shared: value === "all" }),
  );
  const palettes = choice(
    "Colours",
    Object.entries(PALETTES).map(([name, { label }]) => [name, label, `${label} (p)`]),
    (palette) => app.set({ palette }),
  );
  const signs = check("+ and − in the pixels", "Writes signs into strong pixels (g)", (on) => app.set({ signs: on }));
  const element = h(
    "section",
    { class: "card scale", "aria-label": "Scale and colours" },
    h("h2", {}, "Scale and colours"),
    h("div", { class: "row" }, how.element, percent, number),
    h("div", { class: "row" }, whose.element),
    h("div", { class: "row" }, palettes.element, signs.element),
  );

  const update = () => {
    const { state } = app;
    const { percentiles, scales } = app.sides[0].source.manifest;
    if (percent.options.length !== percentiles.length) {
      percent.replaceChildren(...percentiles.map((p) => h("option", { value: String(p) }, `${p}`)));
    }
    percent.value = String(state.percentile);
    percent.hidden = state.absolute !== null;
    number.hidden = state.absolute === null;
    if (document.activeElement !== number) number.value = state.absolute ?? "";
    how.show(state.absolute === null ? "percentile" : "absolute");
    whose.show(state.shared ? "all" : "each");
    whose.element.hidden = state.absolute !== null || !scales;
    palettes.show(state.palette);
    signs.show(state.signs);
  };
  return { element, update };
}

function paintKey(canvas, palette) {
  const context = canvas.getContext("2d");
  const gradient = context.createLinearGradient(0, 0, canvas.width, 0);
  gradient.addColorStop(0, `rgb(${palette.negative})`);
  gradient.addColorStop(0.5, "white");
  gradient.addColorStop(1, `rgb(${palette.positive})`);
  context.fillStyle = gradient;
  context.fillRect(0, 0, canvas.width, canvas.height);
}

export function exportMenu(app) {
  const done = h("span", { class: "done", role: "status" });
  const act = (action, text) => async () => {
    try {
      await action();
      done.textContent = text;
    } catch (error) {
      done.textContent = String(error.message || error);
    }
  };
  const name = () => `explanation-${app.state.image}`;
  const svg = () => new Blob([figureSvg(app)], { type: "image/svg+xml" });
  const element = h(
    "div",
    { class: "export", role: "group", "aria-label": "Save and copy" },
    done,
    button("Link", "Copies a link that opens exactly this view", act(() => copy(app.link.url()), "link copied")),
    button("PNG", "Saves this view as a picture", act(async () => save(`${name()}.png`, await figurePng(app)), "saved")),
    button("SVG", "Saves this view as a drawing", act(() => save(`${name()}.svg`, svg()), "saved")),
    button("CSV pixels", "Copies a row for every pixel (of side A)", act(() => copy(pixelsCsv(app)), "copied")),
    button("CSV classes", "Copies a row for every class (of side A)", act(async () => copy(await classesCsv(app)), "copied")),
  );
  return { element, update: () => {} };
}

function check(label, title, onchange) {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => onchange(input.checked));
  const show = (on) => (input.checked = on);
  return { element: h("label", { class: "check", title }, input, label), show };
}

function range(label, min, max, step, oninput) {
  const input = h("input", { type: "range", min: String(min), max: String(max), step: String(step), "aria-label": label });
  input.addEventListener("input", () => oninput(Number(input.value)));
  const show = (value) => (input.value = String(value));
  return { element: h("label", { class: "slider", title: label }, "opacity", input), show };
}
