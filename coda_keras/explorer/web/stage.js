// The panels of both sides: image, map, weights; and what each of them draws.

import { Panel } from "./panel.js";
import { imagePicture, mapPicture, weightsPicture } from "./colours.js";
import { h } from "./elements.js";
import { gestures } from "./gestures.js";
import { explainedClass, quantityOf, scaleOf } from "./quantity.js";

const KEPT_PICTURES = 200;

export class Stage {
  constructor(app) {
    this.app = app;
    this.element = h("div", { class: "rows" });
    this.pointer = gestures(app);
    this.pictures = new Map();
    this.shape = "";
  }

  update() {
    const { sides } = this.app;
    for (const side of sides) this.explain(side);
    const shared = this.sharedScale();
    for (const side of sides) side.scale = side.scale && (shared ?? side.scale);
    const rows = sides.map((side) => this.panelsOf(side));
    this.build(rows);
    rows.forEach((row, i) => row.forEach((drawn, j) => this.panels[i][j].draw(drawn)));
  }

  /** What of a side is explained, as far as it is loaded. */
  explain(side) {
    const { source } = side;
    const { state } = this.app;
    const key = [state.image, explainedClass(source, state), state.contrast, state.layer].join();
    if (side.key !== key || !side.quantity?.values) {
      side.quantity = quantityOf(source, state);
      side.key = key;
    }
    side.picture = source.picture(state.image);
    side.scale = side.quantity?.values ? scaleOf(source, side.quantity, state) : null;
  }

  /** One scale for both sides, the larger one, where maps share scales at all. */
  sharedScale() {
    const { state, sides } = this.app;
    const scales = sides.map((side) => side.scale).filter(Boolean);
    return state.shared && sides.length > 1 && scales.length ? Math.max(...scales) : null;
  }

  /** New panels, where there are other ones than before. */
  build(rows) {
    const shape = rows.map((row) => row.length).join();
    if (shape === this.shape) return;
    this.shape = shape;
    this.panels = rows.map((row) => row.map(() => new Panel("", this.pointer)));
    this.element.className = `rows ${rows.length > 1 ? "two" : "one"}`;
    const letter = (index) => (rows.length > 1 ? h("b", { class: "side" }, "AB"[index]) : null);
    this.element.replaceChildren(
      ...this.panels.map((row, index) => {
        const side = { class: "panels", "data-side": "ab"[index] };
        return h("div", side, letter(index), ...row.map((panel) => panel.element));
      }),
    );
  }

  /** What every panel of a side draws, as `Panel.draw` takes it. */
  panelsOf(side) {
    const { source, quantity } = side;
    const { state, mask, line, pixel, removed } = this.app;
    const { x, y, zoom } = state;
    const base = { size: source.manifest.size, view: { x, y, zoom }, mask, line, pixel };
    const known = quantity?.values;
    const { title } = source.manifest;
    const explained = {
      label: known ? `${title}: ${quantity.name}` : title,
      message: typeof quantity === "string" ? quantity : known ? "" : "Loading …",
      signs: state.signs && known ? { values: quantity.values, scale: side.scale } : null,
    };
    const label = source.image(state.image).name;
    const image = { ...base, label, pictures: this.imageOf(side), removed };
    const panels = state.overlay
      ? [{ ...image, ...explained, pictures: [...this.fadedOf(side), ...this.mapOf(side, true)] }]
      : [image, { ...base, ...explained, pictures: this.mapOf(side, false) }];
    const weights = state.weights ? this.weightsOf(side) : [];
    if (weights.length) panels.push({ ...base, label: `weights: ${quantity.name}`, pictures: weights });
    return panels;
  }

  imageOf({ source, picture }) {
    if (!picture) return [];
    const { size } = source.manifest;
    const key = [source.serial, this.app.state.image, "image"];
    return [{ picture: this.picture(key, () => imagePicture(picture, size)) }];
  }

  /** The image below a map, fainter the more of the map is seen. */
  fadedOf(side) {
    const opacity = 1 - 0.6 * this.app.state.opacity;
    return this.imageOf(side).map(({ picture }) => ({ picture, opacity }));
  }

  /** The map; `clear` where it lies over the image. */
  mapOf({ source, quantity, key, scale }, clear) {
    if (!quantity?.values) return [];
    const { state, palette } = this.app;
    const { size } = source.manifest;
    const make = () => mapPicture(quantity.values, size, scale, palette, clear);
    const picture = this.picture([source.serial, key, scale, state.palette, clear], make);
    return [{ picture, opacity: clear ? state.opacity : 1 }];
  }

  weightsOf({ source, quantity, key }) {
    if (!quantity?.weights) return [];
    const { percentile } = this.app.state;
    const make = () => weightsPicture(quantity.weights, source.manifest.size, percentile);
    return [{ picture: this.picture([source.serial, key, percentile, "weights"], make) }];
  }

  picture(parts, make) {
    const key = parts.join("|");
    if (!this.pictures.has(key)) {
      this.pictures.set(key, make());
      if (this.pictures.size > KEPT_PICTURES) {
        this.pictures.delete(this.pictures.keys().next().value);
      }
    }
    return this.pictures.get(key);
  }
}
