// What is being explained: a logit, the difference of two, or the part of one layer's channel.

import { decimalsFor, rounded } from "./numbers.js";
import { percentile } from "./colours.js";

/**
 * Returns {values, total, bias, offset, name, complete} for the chosen class, contrast and channel
 * of a source: values a pixel, that sum to total less bias and offset, which are null where there
 * are none. null while it loads; a string where it was not stored. `complete` is false for maps that sum to nothing but themselves.
 */
export function quantityOf(source, state) {
  const { manifest } = source;
  const id = explainedClass(source, state);
  const className = manifest.classes[id];
  const { logits } = source.image(state.image);
  if (state.layer) return channelQuantity(source, state, id, className);
  const one = source.explanation(state.image, id);
  if (one === undefined) return `The map of ${className} was not stored for this image.`;
  if (one === null) return null;
  const complete = manifest.bias !== null;
  if (state.contrast === null || state.contrast === id) {
    const total = complete ? logits[id] : sumOf(one.map);
    const bias = complete ? manifest.bias : 0;
    const offset = complete ? source.offset(state.image, id) : null;
    return { values: one.map, weights: one.weights, total, bias, offset, complete, name: className };
  }
  const other = source.explanation(state.image, state.contrast);
  const otherName = manifest.classes[state.contrast];
  if (other === undefined) return `The map of ${otherName} was not stored for this image.`;
  if (other === null) return null;
  const values = difference(one.map, other.map);
  const weights = one.weights && other.weights ? difference(one.weights, other.weights) : null;
  const total = complete ? logits[id] - logits[state.contrast] : sumOf(values);
  const [own, others] = [id, state.contrast].map((one) => source.offset(state.image, one));
  const offset = complete && own !== null ? own - others : null;
  return { values, weights, total, bias: null, offset, complete, name: `${className} − ${otherName}` };
}

function channelQuantity(source, state, id, className) {
  const layers = source.layers(state.image, id);
  const [layer, rank] = state.layer;
  const layerName = source.manifest.layers[layer];
  if (layers === undefined || layerName === undefined) {
    return `The layers of ${className} were not stored for this image.`;
  }
  if (layers === null) return null;
  const index = layer * layers.perLayer + Math.min(rank, layers.perLayer - 1);
  const { pixels } = source;
  const name = `${layerName}, channel ${layers.channels[index]} → ${className}`;
  return {
    values: layers.maps.subarray(index * pixels, (index + 1) * pixels),
    weights: null,
    total: layers.contributions[index],
    bias: null,
    offset: null,
    complete: true,
    name,
  };
}

/** The chosen class, or the one that side A predicts: both sides explain the same. */
export function explainedClass(source, state) {
  const last = source.manifest.classes.length - 1;
  return Math.min(state.class ?? state.predicted, last);
}

/**
 * The account `bias + offset + inside + outside = total`, in numbers and, so that the shown digits add up
 * exactly, rounded: what rounding leaves, at most 1.5 of the last digit, goes to the outside.
 */
export function accountOf(quantity, mask, decimals = decimalsOf(quantity)) {
  const { values, total, complete } = quantity;
  let inside = 0;
  if (mask) for (let i = 0; i < values.length; i++) if (mask[i]) inside += values[i];
  const bias = quantity.bias ?? 0;
  const offset = quantity.offset ?? 0;
  const parts = {
    bias: rounded(bias, decimals),
    offset: rounded(offset, decimals),
    inside: rounded(inside, decimals),
  };
  parts.total = rounded(total, decimals);
  parts.outside = rounded(parts.total - parts.bias - parts.offset - parts.inside, decimals);
  const explained = total - bias - offset;
  const residual = explained - sumOf(values);
  return { inside, explained, share: inside / explained, decimals, parts, residual, complete };
}

export function decimalsOf({ total, bias }) {
  return decimalsFor(total - (bias ?? 0));
}

/** The value of full colour: absolute, or a percentile of this map or of all maps. */
export function scaleOf(source, quantity, state) {
  if (state.absolute) return state.absolute;
  const { percentiles, scales } = source.manifest;
  const place = percentiles.indexOf(state.percentile);
  if (state.shared && scales && place >= 0) return scales[place];
  return percentile(quantity.values, state.percentile);
}

function difference(one, other) {
  return Float32Array.from(one, (value, i) => value - other[i]);
}

function sumOf(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
