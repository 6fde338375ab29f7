// Selected pixels: a rectangle {rect: [top, left, bottom, right]}, both ends inside of it, or any
// set as runs in reading order {runs: [start, length, ...]}.

export function rectangle([row, column], [otherRow, otherColumn]) {
  return {
    rect: [
      Math.min(row, otherRow),
      Math.min(column, otherColumn),
      Math.max(row, otherRow),
      Math.max(column, otherColumn),
    ],
  };
}

/** 1 for every selected pixel; null where nothing is selected. */
export function maskOf(selection, [height, width]) {
  if (!selection) return null;
  const mask = new Uint8Array(height * width);
  if (selection.rect) {
    const [top, left, bottom, right] = selection.rect;
    for (let row = Math.max(0, top); row <= Math.min(bottom, height - 1); row++) {
      mask.fill(1, row * width + Math.max(0, left), row * width + Math.min(right + 1, width));
    }
  } else {
    for (let i = 0; i + 1 < selection.runs.length; i += 2) {
      mask.fill(1, selection.runs[i], selection.runs[i] + selection.runs[i + 1]);
    }
  }
  return mask;
}

export function fromMask(mask) {
  const runs = [];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const start = i;
    while (i < mask.length && mask[i]) i++;
    runs.push(start, i - start);
  }
  return runs.length ? { runs } : null;
}

/** The pixels whose centres lie within a closed line of [row, column] points, by even-odd rule. */
export function withinLine(points, [height, width]) {
  const mask = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const y = row + 0.5;
    const crossings = [];
    points.forEach(([y0, x0], i) => {
      const [y1, x1] = points[(i + 1) % points.length];
      if (y0 <= y !== y1 <= y) crossings.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i] - 0.5));
      const to = Math.min(width, Math.ceil(crossings[i + 1] - 0.5));
      if (to > from) mask.fill(1, row * width + from, row * width + to);
    }
  }
  return mask;
}

export function paintDisc(mask, [row, column], radius, [height, width]) {
  for (let r = Math.max(0, row - radius); r <= Math.min(height - 1, row + radius); r++) {
    for (let c = Math.max(0, column - radius); c <= Math.min(width - 1, column + radius); c++) {
      if ((r - row) ** 2 + (c - column) ** 2 <= (radius + 0.4) ** 2) mask[r * width + c] = 1;
    }
  }
}

export const countOf = (mask) => (mask ? mask.reduce((a, b) => a + b, 0) : 0);

export function selectionText(selection) {
  if (!selection) return "";
  return selection.rect ? `rect.${selection.rect.join(".")}` : `runs.${selection.runs.join(".")}`;
}

export function selectionFrom(text) {
  const [kind, ...parts] = (text || "").split(".");
  const numbers = parts.map(Number);
  if (!numbers.length || !numbers.every((n) => Number.isInteger(n) && n >= 0)) return null;
  if (kind === "rect" && numbers.length === 4) return { rect: numbers };
  return kind === "runs" && numbers.length % 2 === 0 ? { runs: numbers } : null;
}
