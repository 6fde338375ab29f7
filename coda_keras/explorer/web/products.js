// Matrix products, four rows by two columns at a time: sums in float64, which hold in registers.

/** A matrix (rows, columns) in pairs of columns, as `product` reads it one number after the other. */
export function packed(values, rows, columns) {
  const pairs = new Float32Array(2 * rows * Math.ceil(columns / 2));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const pair = (column >> 1) * rows + row;
      pairs[2 * pair + (column & 1)] = values[row * columns + column];
    }
  }
  return { pairs, rows, columns };
}

/** Room for a left matrix or a product of so many rows: up to three are left over. */
export const roomFor = (rows, columns) => new Float32Array(4 * Math.ceil(rows / 4) * columns);

/** The product of `left`, made by `roomFor`, with a packed matrix; rows by rows. */
export function product(left, rows, { pairs, rows: depth, columns }) {
  const result = roomFor(rows, columns);
  for (let column = 0; column < columns; column += 2) {
    const start = column * depth;
    const both = column + 1 < columns;
    for (let row = 0; row < rows; row += 4) {
      const [p0, p1, p2, p3] = [row * depth, (row + 1) * depth, (row + 2) * depth, (row + 3) * depth];
      let [s00, s01, s10, s11, s20, s21, s30, s31] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let i = 0; i < depth; i++) {
        const b0 = pairs[start + 2 * i];
        const b1 = pairs[start + 2 * i + 1];
        const a0 = left[p0 + i];
        const a1 = left[p1 + i];
        const a2 = left[p2 + i];
        const a3 = left[p3 + i];
        s00 += a0 * b0;
        s01 += a0 * b1;
        s10 += a1 * b0;
        s11 += a1 * b1;
        s20 += a2 * b0;
        s21 += a2 * b1;
        s30 += a3 * b0;
        s31 += a3 * b1;
      }
      const at = row * columns + column;
      result[at] = s00;
      result[at + columns] = s10;
      result[at + 2 * columns] = s20;
      result[at + 3 * columns] = s30;
      if (!both) continue;
      result[at + 1] = s01;
      result[at + columns + 1] = s11;
      result[at + 2 * columns + 1] = s21;
      result[at + 3 * columns + 1] = s31;
    }
  }
  return result;
}
