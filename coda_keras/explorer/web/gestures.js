// What the mouse does on a panel: point, select, paint, move, zoom.

import { fromMask, maskOf, paintDisc, rectangle, withinLine } from "./selection.js";

const BRUSH = 1 / 24; // Radius, as a share of the image's shorter side.

/** Returns the `onpointer` of panels; `app` is the explorer. */
export function gestures(app) {
  let held = null; // What a pressed button is doing.

  const clipped = ([row, column]) => {
    const [height, width] = app.size;
    return [
      Math.min(height - 1, Math.max(0, Math.floor(row))),
      Math.min(width - 1, Math.max(0, Math.floor(column))),
    ];
  };

  const drag = (place) => {
    if (held.tool === "rectangle") {
      app.set({ selection: rectangle(held.from, clipped(place)) });
    } else if (held.tool === "lasso") {
      held.points.push(place);
      app.line = held.points;
      app.set({ selection: fromMask(withinLine(held.points, app.size)) });
    } else if (held.tool === "brush") {
      const radius = Math.max(0, Math.round(BRUSH * Math.min(...app.size)));
      paintDisc(held.mask, clipped(place), radius, app.size);
      app.set({ selection: fromMask(held.mask) });
    }
  };

  const begin = (place, event) => {
    const tool = event.button === 1 || event.altKey ? "move" : app.state.tool;
    held = { tool, from: clipped(place), points: [place], clientX: event.clientX, clientY: event.clientY };
    held.view = { x: app.state.x, y: app.state.y };
    if (tool === "brush") {
      const before = event.shiftKey ? maskOf(app.state.selection, app.size) : null;
      held.mask = before ?? new Uint8Array(app.size[0] * app.size[1]);
    }
    if (tool === "brush") drag(place);
    else if (tool !== "move") app.set({ selection: null });
  };

  return (kind, place, event) => {
    if (kind === "down") begin(place, event);
    else if (kind === "double") app.set({ zoom: 1, x: 0, y: 0 });
    else if (kind === "wheel") {
      // Without a key the wheel scrolls the page; a pinch comes with ctrlKey.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      app.zoomBy(Math.exp(-event.deltaY / 400), place);
    } else if (kind === "up") {
      held = null;
      app.line = null;
      app.render();
    } else if (kind === "leave") {
      app.point(null);
    } else {
      if (held?.tool === "move") {
        const box = event.target.getBoundingClientRect();
        const pixel = box.width / (app.size[1] / app.state.zoom);
        app.moveTo(
          held.view.x - (event.clientX - held.clientX) / pixel,
          held.view.y - (event.clientY - held.clientY) / pixel,
        );
      } else if (held) drag(place);
      app.point(clipped(place));
    }
  };
}
