// Reads the bytes that packing.py writes: a JSON header, then typed arrays.

const ARRAY_TYPES = {
  float32: Float32Array,
  float16: Uint16Array, // Their bits: not every browser has such arrays.
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
};

export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(text);
}

/** Returns {name: {data, shape}}; quantised arrays and float16 come as Float32Array. */
export async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return parsed(await new Response(stream).arrayBuffer());
  } catch {
    throw new Error("These stored numbers are damaged: they are no packed arrays.");
  }
}

function parsed(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "CODA") throw new Error("no magic bytes");
  const start = 8 + new DataView(buffer).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const arrays = {};
  for (const [name, { dtype, shape, offset, scale }] of Object.entries(header)) {
    const count = shape.reduce((a, b) => a * b, 1);
    const stored = new ARRAY_TYPES[dtype](buffer, start + offset, count);
    const data = dtype === "float16" ? fromHalves(stored) : stored;
    arrays[name] = { shape, data: scale ? scaled(data, scale) : data };
  }
  return arrays;
}

function scaled(integers, scales) {
  const length = integers.length / scales.length;
  return Float32Array.from(integers, (value, i) => value * scales[Math.floor(i / length)]);
}

/** Finite float16 from their bits: exponent and fraction where float32 has them, which is exact. */
function fromHalves(halves) {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) {
    bits[i] = ((halves[i] & 0x8000) << 16) | ((halves[i] & 0x7fff) << 13);
    values[i] *= 2 ** 112;
  }
  return values;
}
