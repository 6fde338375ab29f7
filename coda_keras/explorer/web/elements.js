// Elements without a framework. Text is always text, whatever it holds.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value === false || value === null) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
}

export function button(label, title, onclick, attributes = {}) {
  return h("button", { type: "button", title, onclick, ...attributes }, label);
}

/** Options of one, of which the pressed one is told to screen readers too. */
export function choice(name, options, onchoose) {
  const buttons = options.map(([value, label, title]) =>
    button(label, title ?? label, () => onchoose(value), { "data-value": value }),
  );
  const group = h("div", { class: "choice", role: "group", "aria-label": name }, ...buttons);
  const show = (chosen) => {
    for (const item of buttons) item.setAttribute("aria-pressed", item.dataset.value === chosen);
  };
  return { element: group, show };
}

export function save(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Copies text also where pages may not use the clipboard by themselves. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
