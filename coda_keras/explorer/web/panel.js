// One picture on a canvas: zoomed, with the selection, the pointer, signs and removed pixels on it.

import { h } from "./elements.js";

const SIGN_FROM = 7; // Least size of a pixel, on screen, for a sign in it.

export class Panel {
  /** onpointer(kind, [row, column], event) gets gestures in pixels of the image. */
  constructor(label, onpointer) {
    this.caption = h("figcaption", {}, label);
    this.canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": label });
    this.note = h("p", { class: "note", hidden: true });
    this.element = h("figure", { class: "panel" }, this.caption, this.canvas, this.note);
    const { canvas } = this;
    const tell = (kind) => (event) => onpointer(kind, this.place(event), event);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      tell("down")(event);
    });
    canvas.addEventListener("pointermove", tell("move"));
    canvas.addEventListener("pointerup", tell("up"));
    canvas.addEventListener("pointercancel", tell("up"));
    canvas.addEventListener("pointerleave", tell("leave"));
    canvas.addEventListener("dblclick", tell("double"));
    canvas.addEventListener("wheel", tell("wheel"), { passive: false });
  }

  /** Where an event is: row and column, fractions included. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const { size, view } = this.drawn ?? { size: [1, 1], view: { x: 0, y: 0, zoom: 1 } };
    return [
      view.y + ((event.clientY - box.top) / box.height) * (size[0] / view.zoom),
      view.x + ((event.clientX - box.left) / box.width) * (size[1] / view.zoom),
    ];
  }

  /**
   * drawn: {label, size, view: {x, y, zoom}, pictures: [{picture, opacity}], mask, line, removed,
   * pixel, signs: {values, scale}, message}; all but label, size and view may be left out.
   */
  draw(drawn) {
    this.drawn = drawn;
    const { canvas } = this;
    const { size, view } = drawn;
    const [height, width] = size;
    this.caption.textContent = drawn.label;
    canvas.setAttribute("aria-label", drawn.label);
    canvas.style.aspectRatio = `${width} / ${height}`;
    this.note.textContent = drawn.message ?? "";
    this.note.hidden = !drawn.message;
    const dense = window.devicePixelRatio || 1;
    const shown = Math.max(1, Math.round((canvas.clientWidth || 200) * dense));
    canvas.width = shown;
    canvas.height = Math.max(1, Math.round((shown * height) / width));
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const part = [view.x, view.y, width / view.zoom, height / view.zoom];
    for (const { picture, opacity = 1 } of drawn.pictures ?? []) {
      context.globalAlpha = opacity;
      context.drawImage(picture, ...part, 0, 0, canvas.width, canvas.height);
    }
    context.globalAlpha = 1;
    const scale = (canvas.width / width) * view.zoom;
    context.setTransform(scale, 0, 0, scale, -view.x * scale, -view.y * scale);
    const pen = { context, width, height, line: dense / scale };
    if (drawn.removed) hatch(pen, drawn.removed);
    if (drawn.signs && scale / dense >= SIGN_FROM) signs(pen, drawn.signs);
    if (drawn.mask) outline(pen, edges(drawn.mask, size));
    if (drawn.line) outline(pen, closed(drawn.line));
    if (drawn.pixel) outline(pen, box(drawn.pixel), false);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }
}

function outline({ context, line }, path, dashed = true) {
  context.lineJoin = "round";
  context.setLineDash([]);
  context.strokeStyle = "white";
  context.lineWidth = 3.4 * line;
  context.stroke(path);
  context.strokeStyle = "black";
  context.lineWidth = 1.5 * line;
  if (dashed) context.setLineDash([5 * line, 3 * line]);
  context.stroke(path);
  context.setLineDash([]);
}

function hatch({ context, width, line }, removed) {
  const cells = new Path2D();
  const strokes = new Path2D();
  removed.forEach((gone, i) => {
    if (!gone) return;
    const [row, column] = [Math.floor(i / width), i % width];
    cells.rect(column, row, 1, 1);
    strokes.moveTo(column, row + 1);
    strokes.lineTo(column + 1, row);
  });
  context.fillStyle = "#d9d9d9";
  context.fill(cells);
  context.strokeStyle = "#777";
  context.lineWidth = line;
  context.stroke(strokes);
}

function signs({ context, width, line }, { values, scale }) {
  const strokes = new Path2D();
  values.forEach((value, i) => {
    if (Math.abs(value) < scale / 5) return;
    const [y, x] = [Math.floor(i / width) + 0.5, (i % width) + 0.5];
    strokes.moveTo(x - 0.22, y);
    strokes.lineTo(x + 0.22, y);
    if (value < 0) return;
    strokes.moveTo(x, y - 0.22);
    strokes.lineTo(x, y + 0.22);
  });
  context.strokeStyle = "white";
  context.lineWidth = 3 * line;
  context.stroke(strokes);
  context.strokeStyle = "black";
  context.lineWidth = 1.2 * line;
  context.stroke(strokes);
}

/** The lines between pixels that are in the mask and pixels that are not. */
function edges(mask, [height, width]) {
  const path = new Path2D();
  const inside = (row, column) =>
    row >= 0 && column >= 0 && row < height && column < width && mask[row * width + column] === 1;
  for (let row = 0; row <= height; row++) {
    for (let column = 0; column <= width; column++) {
      const here = inside(row, column);
      if (here !== inside(row, column - 1)) {
        path.moveTo(column, row);
        path.lineTo(column, row + 1);
      }
      if (here !== inside(row - 1, column)) {
        path.moveTo(column, row);
        path.lineTo(column + 1, row);
      }
    }
  }
  return path;
}

function closed(points) {
  const path = new Path2D();
  points.forEach(([row, column]) => path.lineTo(column, row));
  return path;
}

function box([row, column]) {
  const path = new Path2D();
  path.rect(column, row, 1, 1);
  return path;
}
