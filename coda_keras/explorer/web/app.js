// The explorer: what is looked at, and all the parts that show it.

import { PALETTES } from "./colours.js";
import { classList, imageStrip } from "./classes.js";
import { exportMenu, legend, scaleCard, seriesControl, toolbar } from "./controls.js";
import { button, h } from "./elements.js";
import { fromFragment } from "./state.js";
import { keyHelp, listen } from "./keyboard.js";
import { layerStrip } from "./layers.js";
import { percent, shown } from "./numbers.js";
import { accountBar, readout } from "./readout.js";
import { explainedClass } from "./quantity.js";
import { maskOf } from "./selection.js";
import { orderBar, orderOf } from "./order.js";
import { removalCard } from "./removal.js";
import { Stage } from "./stage.js";

const AHEAD_PIXELS = 100_000;

export class Explorer {
  /**
   * root: an element; catalogue: {title, entries: [{key, label, steps}], open(key, step): promise of
   * a Source, noModel: a sentence}; link: {read(), write(state), url()}.
   */
  constructor(root, catalogue, link) {
    Object.assign(this, { root, catalogue, link });
    this.state = fromFragment(link.read());
    this.sides = [];
    this.sources = new Map();
    this.pixel = null; // [row, column] under the pointer
    this.line = null; // the lasso while it is drawn
    this.removed = null; // pixels taken away
    this.build();
    this.reopen();
  }

  build() {
    this.message = h("div", { class: "message", role: "alert", hidden: true });
    this.headline = h("h1", {});
    this.stage = new Stage(this);
    this.help = keyHelp();
    const seriesA = seriesControl(this, "a");
    const seriesB = seriesControl(this, "b");
    const compare = button("Compare", "Shows two series or steps side by side", () => this.toggleCompare(), { class: "compare" });
    const keys = button("?", "Keys", () => this.help.showModal());
    const menu = exportMenu(this);
    const strip = imageStrip(this);
    const order = orderBar(this);
    const tools = toolbar(this);
    const account = accountBar(this);
    const layers = layerStrip(this);
    const classes = classList(this);
    const pixel = readout(this);
    const scale = scaleCard(this);
    const key = legend(this);
    const removal = removalCard(this);
    this.parts = [seriesA, seriesB, menu, strip, order, tools, account, layers, classes, pixel, scale, key, removal];
    this.parts.push({
      update: () => {
        compare.hidden = !this.comparable;
        compare.setAttribute("aria-pressed", this.state.b !== null);
      },
    });
    const top = h("header", {}, h("b", { class: "brand" }, this.catalogue.title), seriesA.element, seriesB.element, compare, this.catalogue.extra ?? null, menu.element, keys);
    const stage = h("main", { class: "stage" }, this.headline, tools.element, this.stage.element, key.element, account.element, layers.element);
    const aside = h("aside", {}, classes.element, pixel.element, removal.element, scale.element);
    // Where the net is in the page, it is what the page is for.
    if (this.catalogue.instant) stage.insertBefore(removal.element, layers.element);
    this.body = h("div", { class: "body" }, order.element, strip.element, stage, aside);
    this.root.classList.add("coda-explorer");
    this.root.replaceChildren(top, this.message, this.body, this.help);
    this.ended = new AbortController();
    listen(this, this.root.ownerDocument, this.ended.signal);
    this.resized = new ResizeObserver(() => this.render());
    this.resized.observe(this.stage.element);
  }

  /** Makes place for another explorer. */
  end() {
    this.ended.abort();
    this.resized.disconnect();
    clearTimeout(this.soon);
  }

  get size() {
    return this.sides[0].source.manifest.size;
  }

  get palette() {
    return PALETTES[this.state.palette];
  }

  get comparable() {
    return this.catalogue.entries.reduce((count, { steps }) => count + steps.length, 0) > 1;
  }

  /** Changes what is looked at, and shows it. */
  set(changes) {
    const another = "image" in changes && changes.image !== this.state.image;
    Object.assign(this.state, changes);
    if (another) this.forgetRemoval();
    if ("a" in changes || "b" in changes) return this.reopen();
    this.render();
    return undefined;
  }

  /** Shows what a fragment of a link says. */
  follow(fragment) {
    Object.assign(this.state, fromFragment(fragment));
    this.reopen();
  }

  /** The image so many steps further in the strip. */
  stepImage(steps) {
    const { length } = this.order;
    const next = (this.order.indexOf(this.state.image) + steps + length) % length;
    if (length) this.set({ image: this.order[next], layer: null });
  }

  chooseClass(id) {
    const contrast = this.state.contrast === id ? null : this.state.contrast;
    this.set({ class: id, contrast, layer: null });
  }

  choose(side, key, step) {
    this.set({ [side]: `${key}@${step}` });
  }

  toggleCompare() {
    if (this.state.b !== null) return this.set({ b: null });
    const here = this.placeOf("a");
    const { steps } = this.catalogue.entries[here.entry];
    const entry = steps.length > 1 ? here.entry : (here.entry + 1) % this.catalogue.entries.length;
    const other = this.catalogue.entries[entry];
    return this.choose("b", other.key, other.steps[entry === here.entry ? (here.step ? 0 : 1) : 0]);
  }

  /** Which entry and step of the catalogue a side shows; the last step of the first by default. */
  placeOf(side) {
    const { entries } = this.catalogue;
    const text = this.state[side];
    if (text === null && side === "b") return null;
    const cut = (text ?? "").lastIndexOf("@");
    const place = entries.findIndex((entry) => entry.key === (text ?? "").slice(0, cut));
    const entry = Math.max(0, place);
    const { steps } = entries[entry];
    const step = place < 0 ? -1 : steps.findIndex((number) => String(number) === text.slice(cut + 1));
    return { entry, step: step < 0 ? steps.length - 1 : step };
  }

  /** Opens the sources of both sides, then shows them. */
  async reopen() {
    if (!this.catalogue.entries.length) return this.fail(new Error(this.catalogue.message));
    const wanted = ["a", "b"].map((side) => this.placeOf(side)).filter(Boolean);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const sources = await Promise.all(wanted.map(({ entry, step }) => this.sourceOf(entry, step)));
      if (turn !== this.turn) return undefined;
      this.sides = sources.map((source) => ({ source }));
      this.forgetRemoval();
      const last = Math.min(...sources.map((source) => source.manifest.images.length)) - 1;
      this.state.image = Math.min(this.state.image, last);
      const [{ source }] = this.sides;
      if (this.state.contrast >= source.manifest.classes.length) this.state.contrast = null;
      if (this.state.layer?.[0] >= source.manifest.layers.length) this.state.layer = null;
      this.checkComparison(sources);
      this.render();
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    }
    return undefined;
  }

  sourceOf(entry, step) {
    const { key, steps } = this.catalogue.entries[entry];
    const name = `${key}@${steps[step]}`;
    if (!this.sources.has(name)) {
      const opened = this.catalogue.open(key, steps[step]).then((source) => {
        source.onload = () => this.renderSoon();
        source.serial = name;
        return source;
      });
      opened.catch(() => this.sources.delete(name));
      this.sources.set(name, opened);
    }
    return this.sources.get(name);
  }

  checkComparison(sources) {
    const [one, other] = sources.map((source) => source.manifest);
    if (other && (one.size.join() !== other.size.join() || one.classes.join("\n") !== other.classes.join("\n"))) {
      this.state.b = null;
      throw new Error("A and B have images of another size, or other classes: they cannot be compared.");
    }
  }

  /** Several arrays that arrive at once are shown at once. */
  renderSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.render());
  }

  /** Loads what the next image needs, and the other classes of this one where they are small. */
  lookAhead() {
    if (this.sides.some((side) => !side.quantity)) return;
    for (const { source } of this.sides) {
      const place = this.order.indexOf(this.state.image) + 1;
      const next = this.order[place % this.order.length] ?? this.state.image;
      source.picture(next);
      source.explanation(next, this.state.class ?? source.predicted(next));
      const others = Object.keys(source.image(this.state.image).maps);
      // A net in the page would keep the reader waiting for classes that nobody asked for.
      if (source.instant || others.length * source.pixels > AHEAD_PIXELS) continue;
      for (const id of others) source.explanation(this.state.image, id);
    }
  }

  fail(error) {
    this.message.textContent = error.message || String(error);
    this.message.hidden = false;
    this.body.classList.toggle("empty", !this.sides.length);
    if (this.sides.length || !this.catalogue.entries.length) return;
    // Another series can be chosen still.
    for (const part of this.parts.slice(0, 2)) part.update();
  }

  /** Shows the present state, with what of it is loaded. */
  render() {
    if (!this.sides.length) return;
    try {
      this.message.hidden = true;
      this.body.classList.remove("empty");
      this.mask = maskOf(this.state.selection, this.size);
      this.order = orderOf(this.sides[0].source, this.state);
      if (this.order.length && !this.order.includes(this.state.image)) {
        Object.assign(this.state, { image: this.order[0], layer: null });
        this.forgetRemoval();
      }
      this.state.predicted = this.sides[0].source.predicted(this.state.image);
      this.stage.update();
      const [{ source }] = this.sides;
      const id = explainedClass(source, this.state);
      const { logits } = source.image(this.state.image);
      const name = source.manifest.classes[id];
      const { contrast } = this.state;
      const other = contrast === null ? "" : ` rather than ${source.manifest.classes[contrast]}`;
      const than = contrast === null ? "" : `, the other's ${shown(logits[contrast], 3)}`;
      const about = `logit ${shown(logits[id], 3)}${than}, probability ${percent(source.probability(logits, id))}`;
      this.headline.replaceChildren(`Why ${name}${other}?`, h("small", {}, ` ${about}`));
      for (const part of this.parts) part.update();
      this.link.write(this.state);
      this.lookAhead();
    } catch (error) {
      this.fail(error);
    }
  }

  /** The pixel under the pointer, on all panels. */
  point(pixel) {
    if (String(pixel) === String(this.pixel)) return;
    this.pixel = pixel;
    this.render();
  }

  zoomBy(factor, [row, column] = []) {
    const { x, y, zoom } = this.state;
    const [height, width] = this.size;
    const next = Math.min(64, Math.max(1, zoom * factor));
    const keep = (at, from, length) => {
      const point = at ?? from + length / zoom / 2;
      return point - ((point - from) * zoom) / next;
    };
    this.state.zoom = next;
    this.moveTo(keep(column, x, width), keep(row, y, height));
  }

  moveTo(x, y) {
    const [height, width] = this.size;
    const clip = (value, length) => Math.min(length - length / this.state.zoom, Math.max(0, value));
    this.set({ x: clip(x, width), y: clip(y, height) });
  }

  async remove(mask) {
    const turn = (this.removalTurn = (this.removalTurn ?? 0) + 1);
    this.removing = true;
    this.removalError = "";
    this.render();
    try {
      const asked = this.sides.map(({ source }) => source.predict?.(this.state.image, mask) ?? null);
      const answers = await Promise.all(asked);
      if (turn !== this.removalTurn) return;
      this.sides.forEach((side, index) => (side.removal = answers[index]));
      this.removed = mask;
    } catch (error) {
      if (turn === this.removalTurn) this.removalError = error.message || String(error);
    }
    this.removing = false;
    this.render();
  }

  restore() {
    this.forgetRemoval();
    this.render();
  }

  forgetRemoval() {
    this.removalTurn = (this.removalTurn ?? 0) + 1;
    Object.assign(this, { removed: null, removing: false, removalError: "" });
    for (const side of this.sides) side.removal = null;
  }
}
