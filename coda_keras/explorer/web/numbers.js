// Numbers as text.

/** Decimals that show four digits of what is explained, three to seven of them. */
export function decimalsFor(value) {
  const size = Math.floor(Math.log10(Math.abs(value) || 1));
  return Math.min(7, Math.max(3, 3 - size));
}

/** With a true minus sign, and a plus sign where asked for. */
export function shown(value, decimals = 3, plus = false) {
  const text = Math.abs(value).toFixed(decimals);
  const zero = Number(text) === 0;
  return (value < 0 && !zero ? "−" : plus && !zero ? "+" : "") + text;
}

/** Three significant digits. */
export function brief(value, plus = false) {
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : plus && value > 0 ? "+" : "";
  if (size === 0) return "0";
  return sign + (size < 1e-4 ? size.toExponential(1) : Number(size.toPrecision(3)).toString());
}

export function percent(share, decimals = 1) {
  return Number.isFinite(share) ? `${shown(100 * share, decimals)}%` : "–";
}

export const rounded = (value, decimals) => Math.round(value * 10 ** decimals) / 10 ** decimals;
