// One view: its manifest, and its arrays, loaded when they are first looked at.

const KEPT_BLOBS = 256;

/** Throws a sentence for what is no manifest that storage.py wrote. */
export function checkedManifest(manifest) {
  const fail = (what) => {
    throw new Error(`What is stored here cannot be shown: ${what}.`);
  };
  if (manifest === null || typeof manifest !== "object") fail("it has no description");
  if (manifest.format !== 1) {
    fail(`it has format ${manifest.format}, this version of coda-keras reads format 1`);
  }
  const { size, classes, images } = manifest;
  const whole = (n) => Number.isInteger(n) && n > 0;
  if (!Array.isArray(size) || size.length !== 2 || !size.every(whole)) fail("images have no size");
  if (!Array.isArray(classes) || !classes.every((name) => typeof name === "string")) {
    fail("classes have no names");
  }
  if (!Array.isArray(images) || images.length === 0) fail("there are no images");
  for (const image of images) {
    const { logits } = image;
    if (!Array.isArray(logits) || logits.length !== classes.length || !logits.every(isFinite)) {
      fail("an image has not one logit for each class");
    }
    if (typeof image.maps !== "object" || image.maps === null) fail("an image has no maps");
  }
  return manifest;
}

/** Returns arrays that have these names; throws a sentence for others, such as another blob's. */
function withNames(arrays, names) {
  const missing = names.filter((name) => !arrays[name]);
  if (missing.length) {
    throw new Error(`These stored numbers are damaged: ${missing.join(", ")} is not among them.`);
  }
  return arrays;
}

// So many classes are listed by their numbers.
const IN_ORDER = 20;

export class Source {
  /**
   * manifest: as storage.py writes it; read(blob): a promise of the arrays of a blob, by what the
   * manifest calls it; predict(image, removed): a promise of {before, after}, or null.
   */
  constructor(manifest, read, predict = null) {
    this.manifest = checkedManifest(manifest);
    this.read = read;
    this.predict = predict;
    this.loaded = new Map();
    this.onload = () => {};
  }

  get pixels() {
    return this.manifest.size[0] * this.manifest.size[1];
  }

  image(index) {
    return this.manifest.images[index];
  }

  /** The ids of the classes as they are listed: by number; many of them the likeliest first. */
  order(index) {
    const { logits } = this.image(index);
    const ids = [...logits.keys()];
    return ids.length > IN_ORDER ? ids.sort((a, b) => logits[b] - logits[a]) : ids;
  }

  predicted(index) {
    const { logits } = this.image(index);
    return logits.indexOf(Math.max(...logits));
  }

  probability(logits, id) {
    if (this.manifest.activation === "sigmoid") return 1 / (1 + Math.exp(-logits[id]));
    const top = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - top), 0);
    return Math.exp(logits[id] - top) / sum;
  }

  /** {data, channels} of uint8 or float32, or null while it loads. */
  picture(index) {
    const arrays = this.arrays(this.image(index).picture, "picture");
    if (!arrays) return null;
    const { data, shape } = arrays.picture;
    return { data, channels: shape[2] };
  }

  /** What constants inside of the net add to a logit; null where nothing is said of them. */
  offset(index, id) {
    return this.image(index).offsets?.[id] ?? null;
  }

  /** {map, weights} of a class, null while it loads, undefined if it was not stored. */
  explanation(index, id) {
    const blob = this.image(index).maps[id];
    if (blob === undefined) return undefined;
    const arrays = this.arrays(blob, "map");
    return arrays && { map: arrays.map.data, weights: arrays.weights?.data ?? null };
  }

  /** {channels, contributions, maps, shape} of a class, likewise. */
  layers(index, id) {
    const blob = this.image(index).layers?.[id];
    if (blob === undefined) return undefined;
    const arrays = this.arrays(blob, "channels", "contributions", "maps");
    return (
      arrays && {
        channels: arrays.channels.data,
        contributions: arrays.contributions.data,
        maps: arrays.maps.data,
        perLayer: arrays.channels.shape[1],
      }
    );
  }

  /** The arrays of a blob, or null while they load; `onload` is called when they are there. */
  arrays(blob, ...names) {
    const { arrays, error } = this.entry(blob);
    if (error) throw error;
    return arrays && withNames(arrays, names);
  }

  /** A promise of the map of a class; null if it was not stored. */
  async loadMap(index, id) {
    const blob = this.image(index).maps[id];
    return blob === undefined
      ? null
      : withNames(await this.entry(blob).promise, ["map"]).map.data;
  }

  entry(blob) {
    let entry = this.loaded.get(blob);
    // The last used are the last to go.
    this.loaded.delete(blob);
    entry ??= this.load(blob);
    this.loaded.set(blob, entry);
    if (this.loaded.size > KEPT_BLOBS) this.loaded.delete(this.loaded.keys().next().value);
    return entry;
  }

  load(blob) {
    const entry = { arrays: null, error: null };
    entry.promise = Promise.resolve(this.read(blob)).then(
      (arrays) => (entry.arrays = this.checked(arrays)),
    );
    entry.promise.catch((error) => (entry.error = error)).then(() => this.onload());
    return entry;
  }

  checked(arrays) {
    const { pixels } = this;
    const wrong = Object.entries(arrays).some(
      ([name, { data, shape }]) =>
        (name === "map" && data.length !== pixels) ||
        (name === "weights" && data.length !== 6 * pixels) ||
        (name === "maps" && data.length !== pixels * arrays.channels?.data.length) ||
        (name === "picture" && (shape.length !== 3 || data.length !== shape[2] * pixels)),
    );
    if (wrong) throw new Error("These stored numbers do not fit the size of the images.");
    return arrays;
  }
}
