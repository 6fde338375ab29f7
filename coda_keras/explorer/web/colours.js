// Colours of contributions and of weights, as coda_keras.figures has them.

/** Ends of the signed scales, over white for 0. The second one serves every kind of eye. */
export const PALETTES = {
  "red-blue": { label: "red / blue", positive: [255, 0, 0], negative: [0, 0, 255] },
  "orange-purple": { label: "orange / purple", positive: [217, 84, 0], negative: [69, 26, 130] },
};

/** The p-th percentile of magnitudes, between neighbours as NumPy has it; 0 becomes the largest. */
export function percentile(values, p) {
  const sorted = Float64Array.from(values, Math.abs).sort();
  const place = (p / 100) * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  const value = sorted[low] + (sorted[high] - sorted[low]) * (place - low);
  return value || sorted.at(-1) || 1;
}

export function signedColour(value, scale, palette) {
  const strength = Math.min(1, Math.abs(value) / scale);
  const end = value < 0 ? palette.negative : palette.positive;
  return end.map((c) => 255 + (c - 255) * strength);
}

/** A canvas of one pixel a value. `clear` makes 0 transparent, for laying it over the image. */
export function mapPicture(values, [height, width], scale, palette, clear = false) {
  return painted(height, width, (rgba) => {
    for (let i = 0; i < values.length; i++) {
      const strength = Math.min(1, Math.abs(values[i]) / scale);
      const end = values[i] < 0 ? palette.negative : palette.positive;
      for (let c = 0; c < 3; c++) rgba[4 * i + c] = clear ? end[c] : 255 + (end[c] - 255) * strength;
      rgba[4 * i + 3] = clear ? 255 * strength : 255;
    }
  });
}

/** Rows of W_{0->L} over white: share of each colour against its complement, norm as opacity. */
export function weightsPicture(weights, [height, width], p) {
  const norms = Float32Array.from({ length: height * width }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < 6; c++) sum += weights[6 * i + c] ** 2;
    return Math.sqrt(sum);
  });
  const opaque = percentile(norms, p);
  return painted(height, width, (rgba) => {
    for (let i = 0; i < norms.length; i++) {
      const opacity = Math.min(1, norms[i] / opaque);
      for (let c = 0; c < 3; c++) {
        const own = Math.max(weights[6 * i + c], 0);
        const both = own + Math.max(weights[6 * i + 3 + c], 0);
        rgba[4 * i + c] = 255 * (1 - opacity * (1 - (both > 0 ? own / both : 0.5)));
      }
      rgba[4 * i + 3] = 255;
    }
  });
}

export function imagePicture({ data, channels }, [height, width]) {
  const factor = data instanceof Uint8Array ? 1 : 255;
  return painted(height, width, (rgba) => {
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) rgba[4 * i + c] = factor * data[channels * i + c];
      rgba[4 * i + 3] = 255;
    }
  });
}

/** The six values that the net sees of a pixel: r, g, b, 1-r, 1-g, 1-b. */
export function encodedPixel({ data, channels }, pixel) {
  const factor = data instanceof Uint8Array ? 1 / 255 : 1;
  const values = Array.from({ length: channels }, (_, c) => factor * data[channels * pixel + c]);
  return channels === 6 ? values : [...values, ...values.map((value) => 1 - value)];
}

function painted(height, width, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  paint(picture.data);
  context.putImageData(picture, 0, 0);
  return canvas;
}
