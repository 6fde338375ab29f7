// Photographs of the reader: dropped on the page, chosen or pasted. They stay on this device.

import { h } from "./elements.js";
import { fit } from "./resample.js";

const MOST_MEGABYTES = 100;
const MOST_MEGAPIXELS = 120;

/** RGB bytes (height, width, 3) of an image file, cropped and scaled; throws a sentence. */
export async function pixelsOf(file, size) {
  if (file.size > MOST_MEGABYTES * 1e6) {
    const megabytes = Math.ceil(file.size / 1e6);
    throw new Error(`${file.name} has ${megabytes} MB; this page reads up to ${MOST_MEGABYTES} MB.`);
  }
  const { width, height } = await sizeOf(file);
  if (width * height > MOST_MEGAPIXELS * 1e6) {
    throw new Error(
      `${file.name} has ${width}x${height} pixels; this page reads up to ${MOST_MEGAPIXELS} million.`,
    );
  }
  // As Pillow: turned as EXIF says, colour profiles left alone.
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => unreadable(file));
  try {
    return fit(bitmap.width, bitmap.height, rowsOf(bitmap), size);
  } finally {
    bitmap.close();
  }
}

function unreadable({ name }) {
  throw new Error(`${name} is no image that this browser can read.`);
}

/** Its size, for which no browser decodes it. */
async function sizeOf(file) {
  const image = new Image();
  const url = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject, src: url }));
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    return unreadable(file);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Reads rows of a bitmap; what is transparent lies on white. */
function rowsOf(bitmap) {
  return (top, count) => {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: bitmap.width, height: count });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, bitmap.width, count);
    context.drawImage(bitmap, 0, -top);
    return context.getImageData(0, 0, bitmap.width, count).data;
  };
}

/**
 * A button that opens photographs, for the head of a page on which they can be dropped and pasted
 * too. show(file) is a promise; what it throws is said beside the button.
 */
export function photographButton(show) {
  const input = h("input", { type: "file", accept: "image/*", multiple: true, class: "unseen", "aria-label": "Photographs" });
  const open = h("button", { type: "button", class: "primary", onclick: () => input.click() }, "Open a photograph");
  const hint = "or drop it on this page. It stays on your device: the net runs here.";
  const status = h("span", { class: "status", role: "status" }, hint);

  const take = async (files) => {
    for (const file of files) {
      status.textContent = `Reading ${file.name} …`;
      try {
        status.textContent = await show(file);
      } catch (error) {
        status.textContent = error.message || String(error);
      }
    }
  };
  input.addEventListener("change", async () => {
    await take([...input.files]);
    input.value = ""; // The same file can be chosen again.
  });
  const over = (on) => (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", on);
  };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    const { files } = event.dataTransfer;
    if (files.length) take([...files]);
    else status.textContent = "What was dropped is no file. Save the picture first, then drop the file.";
  });
  document.addEventListener("paste", ({ clipboardData }) => take([...clipboardData.files]));
  return h("span", { class: "photographs" }, open, input, status);
}
