// A CoDA-Net: its logits, and the maps of which they are sums.

import { DauLayer } from "./dau.js";

export class Net {
  /** layers: [{strides, rescale}]; arrays: {"0.projection": {data, shape}, ...}. */
  constructor({ layers, temperature, bias }, arrays) {
    Object.assign(this, { temperature, bias });
    this.layers = layers.map((layer, i) => {
      const [projection, kernel, b] = ["projection", "kernel", "bias"].map((name) => arrays[`${i}.${name}`]);
      return new DauLayer(layer, { projection, kernel, bias: b });
    });
  }

  /**
   * image: {data, height, width, channels: 6}. Returns {logits, explain(id)}; explain gives rows
   * of W_{0->L} as `weights` (H, W, 6), and the contribution of each pixel as `map` (H, W).
   */
  linearize(image) {
    const pullbacks = [];
    let outputs = image;
    for (const layer of this.layers) {
      const [next, pullback] = layer.linearize(outputs);
      pullbacks.unshift(pullback);
      outputs = next;
    }
    return {
      logits: this.logitsOf(outputs),
      explain: (id) => {
        let cotangent = new Float32Array(outputs.data.length);
        for (let i = id; i < cotangent.length; i += outputs.channels) cotangent[i] = 1 / this.temperature;
        for (const pullback of pullbacks) cotangent = pullback(cotangent);
        return { weights: cotangent, map: contributions(cotangent, image.data) };
      },
    };
  }

  /** Sums over all positions, divided by the temperature, and the bias b_0. */
  logitsOf({ data, channels }) {
    const sums = new Array(channels).fill(0);
    data.forEach((value, i) => (sums[i % channels] += value));
    return sums.map((sum) => Math.fround(sum / this.temperature + this.bias));
  }
}

/** [r, g, b, 1-r, 1-g, 1-b] of every pixel; all six are 0 where a pixel is gone. */
export function encoded({ data, channels }, [height, width], removed = null) {
  const inputs = new Float32Array(6 * height * width);
  const whole = data instanceof Uint8Array ? 255 : 1;
  for (let i = 0; i < height * width; i++) {
    if (removed?.[i]) continue;
    for (let c = 0; c < 3; c++) {
      const value = Math.fround(data[channels * i + c] / whole);
      inputs[6 * i + c] = value;
      inputs[6 * i + 3 + c] = channels === 6 ? data[6 * i + 3 + c] / whole : 1 - value;
    }
  }
  return { data: inputs, height, width, channels: 6 };
}

function contributions(weights, inputs) {
  return Float32Array.from({ length: inputs.length / 6 }, (_, pixel) => {
    let sum = 0;
    for (let i = 6 * pixel; i < 6 * pixel + 6; i++) sum += weights[i] * inputs[i];
    return sum;
  });
}
