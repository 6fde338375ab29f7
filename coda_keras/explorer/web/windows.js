// Windows of an image with zeros around it, and their transpose: see coda_keras/layers/windows.py.

import { roomFor } from "./products.js";

/** How windows of `kernel` x `kernel` pixels lie on an image {height, width, channels}. */
export class Windows {
  constructor({ height, width, channels }, kernel, strides) {
    const pad = (kernel - 1) >> 1;
    const count = (length) => Math.floor((length + 2 * pad - kernel) / strides) + 1;
    Object.assign(this, { height, width, channels, kernel, strides, pad });
    this.rows = count(height);
    this.columns = count(width);
    this.positions = this.rows * this.columns;
    this.depth = kernel * kernel * channels;
  }

  /** Calls visit(place of a window's pixel in the patches, its place in the image). */
  each(visit) {
    const { height, width, channels, kernel, strides, pad, columns, positions, depth } = this;
    for (let position = 0; position < positions; position++) {
      const top = Math.floor(position / columns) * strides - pad;
      const left = (position % columns) * strides - pad;
      for (let i = 0; i < kernel * kernel; i++) {
        const row = top + Math.floor(i / kernel);
        const column = left + (i % kernel);
        if (row < 0 || column < 0 || row >= height || column >= width) continue;
        visit(position * depth + i * channels, (row * width + column) * channels);
      }
    }
  }

  /** The patches (positions, depth), ordered row, column, channel. */
  unfold(image) {
    const { channels } = this;
    const patches = roomFor(this.positions, this.depth);
    this.each((to, from) => {
      for (let c = 0; c < channels; c++) patches[to + c] = image[from + c];
    });
    return patches;
  }

  /** Adds up patches where they came from. */
  fold(patches) {
    const { channels } = this;
    const image = new Float32Array(this.height * this.width * channels);
    this.each((from, to) => {
      for (let c = 0; c < channels; c++) image[to + c] += patches[from + c];
    });
    return image;
  }
}
