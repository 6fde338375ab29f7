// The strongest channels of every layer, from the pixels to the logit.

import { button, h } from "./elements.js";
import { mapPicture, percentile } from "./colours.js";
import { percent, shown } from "./numbers.js";
import { explainedClass } from "./quantity.js";

export function layerStrip(app) {
  const body = h("div", { class: "layers" });
  const element = h(
    "details",
    { class: "card layer-strip", open: true },
    h("summary", {}, "Layers: the strongest channels, from the pixels on the left to the logit"),
    body,
  );
  let drawn = null;

  const update = () => {
    const [{ source }] = app.sides;
    const { layers: names, bias, classes } = source.manifest;
    element.hidden = !names?.length;
    if (element.hidden) return;
    const id = explainedClass(source, app.state);
    const layers = source.layers(app.state.image, id);
    const key = layers ? [source.serial, app.state.image, id, app.state.palette].join() : null;
    if (!layers) {
      const stored = Object.keys(source.image(app.state.image).layers ?? {});
      const others = stored.map((id) => classes[id]).join(", ");
      const text = others ? `Stored for this image: ${others}.` : "None are stored for this image.";
      body.replaceChildren(h("p", { class: "hint" }, layers === null ? "Loading …" : text));
    } else if (key !== drawn) {
      const offset = source.offset(app.state.image, id) ?? 0;
      const explained = source.image(app.state.image).logits[id] - bias - offset;
      body.replaceChildren(
        ...names.map((name, layer) => columnOf(app, source, name, layer, layers, explained)),
      );
    }
    drawn = key;
    for (const item of body.querySelectorAll("button")) {
      item.setAttribute("aria-pressed", item.dataset.channel === app.state.layer?.join("."));
    }
  };
  return { element, update };
}

function columnOf(app, source, name, layer, layers, explained) {
  const { pixels, manifest } = source;
  const channels = Array.from({ length: layers.perLayer }, (_, rank) => {
    const index = layer * layers.perLayer + rank;
    const values = layers.maps.subarray(index * pixels, (index + 1) * pixels);
    const picture = mapPicture(values, manifest.size, percentile(values, 99.75), app.palette);
    const part = layers.contributions[index];
    if (!part) return null; // The last layer has one channel a class.
    const title = `${name}, channel ${layers.channels[index]}: ${shown(part, 4, true)} of ${shown(explained, 4, true)}`;
    const choose = () => {
      const again = app.state.layer?.join(".") === `${layer}.${rank}`;
      app.set({ layer: again ? null : [layer, rank], contrast: null });
    };
    const item = button(picture, title, choose);
    item.dataset.channel = `${layer}.${rank}`;
    item.setAttribute("aria-label", title);
    item.append(
      h("span", {}, `ch ${layers.channels[index]} `, h("b", {}, percent(part / explained, 0))),
    );
    return item;
  });
  return h("div", { class: "layer" }, h("h3", {}, name), ...channels);
}
