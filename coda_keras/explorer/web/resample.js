// Crops and scales pictures as Pillow does, bicubic and in whole numbers, so that the net sees the
// pixels that `coda-keras explain` shows it. See ImageOps.fit and src/libImaging/Resample.c there.

const BITS = 22; // Of the fractions of weights.
const SUPPORT = 2; // Pixels on each side that take part, where nothing is scaled.

function cubic(x) {
  const [a, size] = [-0.5, Math.abs(x)];
  if (size < 1) return ((a + 2) * size - (a + 3)) * size * size + 1;
  return size < 2 ? (((size - 5) * size + 8) * size - 4) * a : 0;
}

/** For each of `to` pixels the first one of `length` that takes part, and whole weights. */
function weightsOf(length, [from, until], to) {
  const scale = Math.fround(until - from) / to;
  const stretch = Math.max(1, scale);
  return Array.from({ length: to }, (_, pixel) => {
    const centre = from + (pixel + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - SUPPORT * stretch + 0.5));
    const end = Math.min(length, Math.trunc(centre + SUPPORT * stretch + 0.5));
    const weights = Array.from({ length: end - start }, (_, i) =>
      cubic((i + start - centre + 0.5) / stretch),
    );
    const sum = weights.reduce((a, b) => a + b, 0);
    const whole = (weight) => Math.trunc(weight * 2 ** BITS + (weight < 0 ? -0.5 : 0.5));
    return { start, weights: weights.map((weight) => whole(weight / sum)) };
  });
}

/** The middle part of the aspect ratio that is wanted: [[left, right], [top, bottom]]. */
function middle(width, height, toWidth, toHeight) {
  const ratio = toWidth / toHeight;
  const wide = width / height >= ratio;
  const [across, down] = wide ? [ratio * height, height] : [width, width / ratio];
  const side = (length, kept) => [(length - kept) / 2, (length - kept) / 2 + kept].map(Math.fround);
  return [side(width, across), side(height, down)];
}

/** Sums of weights times every `step`-th byte from `first` on, as bytes. */
function blended(bytes, first, step, weights) {
  let sum = 2 ** (BITS - 1);
  for (let i = 0; i < weights.length; i++) sum += weights[i] * bytes[first + i * step];
  return Math.min(255, Math.max(0, sum >> BITS));
}

/**
 * Returns RGB bytes (toHeight, toWidth, 3) of a picture. rows(top, count) returns RGBA bytes of
 * some of its rows, which are asked for in parts, since photographs are large.
 */
export function fit(width, height, rows, [toHeight, toWidth], part = 256) {
  const [across, down] = middle(width, height, toWidth, toHeight);
  const columns = weightsOf(width, across, toWidth);
  const lines = weightsOf(height, down, toHeight);
  const first = lines[0].start;
  const last = lines.at(-1).start + lines.at(-1).weights.length;
  const narrow = new Uint8Array((last - first) * toWidth * 3);
  let at = 0;
  for (let top = first; top < last; top += part) {
    const count = Math.min(part, last - top);
    const rgba = rows(top, count);
    for (let row = 0; row < count; row++) {
      for (const { start, weights } of columns) {
        const place = 4 * (row * width + start);
        for (let c = 0; c < 3; c++) narrow[at++] = blended(rgba, place + c, 4, weights);
      }
    }
  }
  const line = 3 * toWidth;
  return Uint8Array.from({ length: toHeight * line }, (_, i) => {
    const { start, weights } = lines[Math.floor(i / line)];
    return blended(narrow, (start - first) * line + (i % line), line, weights);
  });
}
