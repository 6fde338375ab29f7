// The probability of the explained class while pixels go, the most or the least important first.

import { button, h } from "./elements.js";
import { percent } from "./numbers.js";
import { explainedClass } from "./quantity.js";

const SHARES = [0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
const LINES = { most: "most important first", least: "least important first" };
const [WIDTH, HEIGHT] = [320, 96];
const SVG = "http://www.w3.org/2000/svg";

/** pixels(order, share): the mask of those that go. Points come as they are asked for, or all. */
export function removalCurve(app, pixels) {
  const plot = drawn("svg", { viewBox: `-34 -20 ${WIDTH + 44} ${HEIGHT + 42}`, role: "img" });
  const whole = button("Draw the curve", "Takes away more and more pixels, in both orders", () => sweep());
  const keys = Object.entries(LINES).map(([order, label]) => h("span", { class: `key-${order}` }, label));
  const element = h("div", { class: "curve" }, plot, h("div", { class: "row" }, whole, ...keys));
  let points = null;
  let topic = "";
  let drawing = false;

  /** What is drawn is of one image and one class. */
  const begin = () => {
    const [{ source }] = app.sides;
    const { image, contrast, layer } = app.state;
    const now = [source.serial, image, explainedClass(source, app.state), contrast, layer].join();
    if (now === topic) return;
    topic = now;
    points = { most: new Map(), least: new Map() };
  };

  const note = (order, share, logits) => {
    begin();
    const [{ source }] = app.sides;
    points[order].set(share, source.probability(logits, explainedClass(source, app.state)));
  };

  const sweep = async () => {
    begin();
    const of = topic;
    const [{ source }] = app.sides;
    drawing = true;
    update();
    try {
      for (const share of SHARES) {
        for (const order of Object.keys(LINES)) {
          if (points[order].has(share)) continue;
          const { after } = await source.predict(app.state.image, pixels(order, share));
          if (of !== topic) return;
          note(order, share, after);
          update();
        }
      }
    } catch (error) {
      app.fail(error);
    } finally {
      drawing = false;
      update();
    }
  };

  const update = () => {
    const [{ source, quantity }] = app.sides;
    begin();
    whole.disabled = drawing || !quantity?.values;
    const name = source.manifest.classes[explainedClass(source, app.state)];
    plot.setAttribute("aria-label", `Probability of ${name} while pixels go: ${spoken(points)}`);
    plot.replaceChildren(...axes(name), ...Object.keys(LINES).flatMap((order) => line(order, points[order])));
  };
  return { element, note, update };
}

const xOf = (share) => (share * WIDTH).toFixed(1);
const yOf = (probability) => ((1 - probability) * HEIGHT).toFixed(1);

function line(order, found) {
  const sorted = [...found].sort(([a], [b]) => a - b);
  const path = sorted.map(([share, p]) => `${xOf(share)},${yOf(p)}`).join(" ");
  const dots = sorted.map(([share, p]) => drawn("circle", { class: order, cx: xOf(share), cy: yOf(p), r: 2.2 }));
  return [drawn("polyline", { class: order, points: path }), ...dots];
}

function axes(name) {
  const label = (text, at) => {
    const element = drawn("text", at);
    element.textContent = text;
    return element;
  };
  return [
    drawn("path", { class: "axis", d: `M0 0V${HEIGHT}H${WIDTH}` }),
    label("100%", { x: -4, y: 4, "text-anchor": "end" }),
    label("0%", { x: -4, y: HEIGHT, "text-anchor": "end" }),
    label(`probability of ${name}`, { x: 0, y: -10 }),
    label("0%", { x: 0, y: HEIGHT + 14 }),
    label("of the pixels are gone", { x: WIDTH / 2, y: HEIGHT + 14, "text-anchor": "middle" }),
    label("100%", { x: WIDTH, y: HEIGHT + 14, "text-anchor": "end" }),
  ];
}

function spoken(points) {
  const parts = Object.entries(LINES).map(([order, label]) => {
    const shares = [...points[order]].map(([share, p]) => `${percent(share, 0)} gone, ${percent(p)}`);
    return shares.length ? `${label}: ${shares.join("; ")}` : "";
  });
  return parts.filter(Boolean).join(". ") || "nothing yet";
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
