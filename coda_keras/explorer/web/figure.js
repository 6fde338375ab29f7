// What is seen as a drawing, as a picture, and as tables of numbers.

import { encodedPixel } from "./colours.js";
import { brief, shown } from "./numbers.js";
import { accountOf, explainedClass } from "./quantity.js";
import { maskOf } from "./selection.js";

const PANEL = 240;
const GAP = 14;

/** The panels with their captions, colours and account as SVG text; pictures are embedded. */
export function figureSvg(app) {
  const rows = app.sides.map((side) => app.stage.panelsOf(side));
  const columns = Math.max(...rows.map((row) => row.length));
  const [height, width] = app.size;
  const tall = (PANEL * height) / width;
  const rowHeight = tall + 66;
  const whole = [GAP + columns * (PANEL + GAP), 48 + rows.length * rowHeight + 30];
  const parts = rows.flatMap((row, index) => {
    const top = 48 + index * rowHeight;
    const line = accountText(app, app.sides[index]);
    return [
      ...row.map((drawn, column) => panelSvg(drawn, GAP + column * (PANEL + GAP), top, tall)),
      text(line, GAP, top + tall + 24, 'font-weight="600"'),
    ];
  });
  const { source } = app.sides[0];
  const title = `${source.image(app.state.image).name} — ${source.manifest.title}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${whole[0]}" height="${whole[1]}"`,
    ` viewBox="0 0 ${whole[0]} ${whole[1]}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(title, GAP, 20, 'font-size="14" font-weight="700"'),
    ...parts,
    keySvg(app, whole[1] - 24),
    "</svg>",
  ].join("");
}

function panelSvg(drawn, left, top, tall) {
  const [height, width] = drawn.size;
  const { x, y, zoom } = drawn.view;
  const scale = (PANEL / width) * zoom;
  const pictures = (drawn.pictures ?? []).map(
    ({ picture, opacity = 1 }) =>
      `<image width="${width}" height="${height}" opacity="${opacity}" ` +
      `style="image-rendering:pixelated" href="${enlarged(picture)}"/>`,
  );
  return [
    text(drawn.label, left, top - 8),
    `<svg x="${left}" y="${top}" width="${PANEL}" height="${tall}" overflow="hidden">`,
    `<g transform="scale(${scale}) translate(${-x} ${-y})">`,
    ...pictures,
    drawn.mask ? outlineSvg(drawn.mask, drawn.size, 1 / scale) : "",
    "</g></svg>",
    `<rect x="${left}" y="${top}" width="${PANEL}" height="${tall}" fill="none" stroke="#999" stroke-width="0.6"/>`,
  ].join("");
}

/** Drawn larger, since not every program keeps pixels sharp. */
function enlarged(picture) {
  const factor = Math.max(1, Math.round((2 * PANEL) / picture.width));
  const canvas = document.createElement("canvas");
  canvas.width = factor * picture.width;
  canvas.height = factor * picture.height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL();
}

function outlineSvg(mask, [height, width], line) {
  let path = "";
  const inside = (r, c) => r >= 0 && c >= 0 && r < height && c < width && mask[r * width + c] === 1;
  for (let r = 0; r <= height; r++) {
    for (let c = 0; c <= width; c++) {
      if (inside(r, c) !== inside(r, c - 1)) path += `M${c} ${r}v1`;
      if (inside(r, c) !== inside(r - 1, c)) path += `M${c} ${r}h1`;
    }
  }
  const stroke = (colour, size) =>
    `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${size * line}"/>`;
  return stroke("white", 3.4) + stroke("black", 1.5);
}

function keySvg(app, top) {
  const { positive, negative } = app.palette;
  const scale = app.sides[0].scale ?? 1;
  const unit = app.sides[0].source.manifest.quantity;
  return [
    '<defs><linearGradient id="key">',
    `<stop stop-color="rgb(${negative})"/><stop offset=".5" stop-color="white"/>`,
    `<stop offset="1" stop-color="rgb(${positive})"/></linearGradient></defs>`,
    `<rect x="${GAP}" y="${top}" width="${PANEL}" height="10" fill="url(#key)" stroke="#999" stroke-width="0.6"/>`,
    text(`−${brief(scale)} (against) to +${brief(scale)} (for), ${unit}`, GAP + PANEL + 10, top + 9),
  ].join("");
}

export function accountText(app, { quantity }) {
  if (!quantity?.values) return "";
  const { parts, decimals } = accountOf(quantity, app.mask);
  const bias = quantity.bias === null ? "" : `bias ${shown(parts.bias, decimals)} + `;
  const offset = quantity.offset === null ? "" : `constants in layers ${shown(parts.offset, decimals)} + `;
  const inside = `inside ${shown(parts.inside, decimals)}`;
  return `${bias}${offset}${inside} + outside ${shown(parts.outside, decimals)} = ${shown(parts.total, decimals)} (${quantity.name})`;
}

function text(content, x, y, more = "") {
  const escaped = content.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<text x="${x}" y="${y}" ${more}>${escaped}</text>`;
}

/** The SVG as PNG, twice as large. */
export async function figurePng(app) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(figureSvg(app))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * image.width;
  canvas.height = 2 * image.height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** A line for every pixel: its place, contribution, and the parts of its channels. */
export function pixelsCsv(app) {
  const [{ source, quantity, picture }] = app.sides;
  if (!quantity?.values || !picture) throw new Error("nothing is loaded yet");
  const [height, width] = source.manifest.size;
  const mask = maskOf(app.state.selection, app.size);
  const parts = quantity.weights ? ["r", "g", "b", "1-r", "1-g", "1-b"] : [];
  const lines = [["row", "column", "inside", "contribution", ...parts].join(",")];
  for (let i = 0; i < height * width; i++) {
    const inputs = parts.length ? encodedPixel(picture, i) : [];
    const channels = inputs.map((input, c) => csvNumber(input * quantity.weights[6 * i + c]));
    const place = [Math.floor(i / width), i % width, mask?.[i] ?? 0];
    lines.push([...place, csvNumber(quantity.values[i]), ...channels].join(","));
  }
  return `${lines.join("\n")}\n`;
}

/** A line for every class: logit, probability, and the sum of the selected contributions. */
export async function classesCsv(app) {
  const [{ source, removal }] = app.sides;
  const { classes } = source.manifest;
  const { logits } = source.image(app.state.image);
  const lines = ["class_id,class,logit,probability,explained,inside,logit_without_pixels"];
  for (const [id, name] of classes.entries()) {
    const map = app.mask && (await source.loadMap(app.state.image, id));
    const inside = map ? csvNumber(map.reduce((sum, value, i) => sum + app.mask[i] * value, 0)) : "";
    const numbers = [logits[id], source.probability(logits, id)].map(csvNumber);
    const explained = Number(id === explainedClass(source, app.state));
    const without = removal?.after ? csvNumber(removal.after[id]) : "";
    lines.push([id, csvText(name), ...numbers, explained, inside, without].join(","));
  }
  return `${lines.join("\n")}\n`;
}

// What float32 holds: nine significant digits.
const csvNumber = (value) => String(Number(value.toPrecision(9)));

/** Quoted, and no formula to a spreadsheet. */
function csvText(value) {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
