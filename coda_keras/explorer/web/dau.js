// A layer of Dynamic Alignment Units in factored form: see coda_keras/layers/factored.py.

import { packed, product, roomFor } from "./products.js";
import { Windows } from "./windows.js";

const ZERO = 1e-20; // Squared norms up to this one count as zero.

/** The factor alpha of g(u) = alpha u, from the squared norm of u: eq. 2 and 3. */
const RESCALES = {
  l2: (square) => (square <= ZERO ? 0 : 1 / Math.sqrt(square)),
  squash: (square) => (square <= ZERO ? 0 : Math.sqrt(square) / (1 + square)),
};

export class DauLayer {
  /** Arrays as Keras has them: projection (k, k, C, r), kernel (k, k, C, f, r), bias (k, k, C, f). */
  constructor({ strides, rescale }, { projection, kernel, bias }) {
    const [size, , channels, units, rank] = kernel.shape;
    const terms = rank + (bias ? 1 : 0); // With the bias as one more: z' = [z, 1], A' = [A, b].
    Object.assign(this, { size, channels, strides, units, rank, terms, alpha: RESCALES[rescale] });
    const depth = size * size * channels;
    this.projection = packed(projection.data, depth, rank);
    const factors = factorsOf(kernel.data, bias?.data, depth, units, rank, terms);
    this.factors = packed(factors, depth, terms * units);
    this.transposed = packed(transpose(factors, depth), terms * units, depth);
    this.gram = gramOf(factors, depth, units, terms);
  }

  /**
   * Applies the layer to {data, height, width, channels}. Returns [outputs, pullback]: the pullback
   * takes a cotangent of the outputs to one of the inputs, with the weights w held constant.
   */
  linearize(inputs) {
    const { units, rank, terms } = this;
    const windows = new Windows(inputs, this.size, this.strides);
    const { positions } = windows;
    const patches = windows.unfold(inputs.data);
    const codes = this.codesOf(product(patches, positions, this.projection), positions);
    const matched = product(patches, positions, this.factors);
    const alphas = new Float32Array(positions * units);
    const data = new Float32Array(positions * units);
    const [dots, squares] = [new Float64Array(units), new Float64Array(units)];
    for (let p = 0; p < positions; p++) {
      const code = codes.subarray(p * terms, (p + 1) * terms);
      this.squaredNorms(code, squares);
      dots.fill(0);
      for (let k = 0; k < terms; k++) {
        const at = (p * terms + k) * units;
        for (let j = 0; j < units; j++) dots[j] += code[k] * matched[at + j];
      }
      for (let j = 0; j < units; j++) {
        const factor = this.alpha(squares[j]);
        alphas[p * units + j] = factor;
        data[p * units + j] = factor * dots[j];
      }
    }
    const outputs = { data, height: windows.rows, width: windows.columns, channels: units };
    return [outputs, (cotangent) => this.pullback(windows, codes, alphas, cotangent)];
  }

  /** z' of every position. */
  codesOf(projected, positions) {
    const { rank, terms } = this;
    const codes = new Float32Array(positions * terms).fill(1);
    for (let p = 0; p < positions; p++) {
      codes.set(projected.subarray(p * rank, (p + 1) * rank), p * terms);
    }
    return codes;
  }

  /** ||u||^2 = z'^T G z' of every unit. */
  squaredNorms(code, squares) {
    const { units, terms, gram } = this;
    squares.fill(0);
    let at = 0;
    for (let k = 0; k < terms; k++) {
      for (let l = 0; l <= k; l++, at += units) {
        const weight = code[k] * code[l];
        for (let j = 0; j < units; j++) squares[j] += weight * gram[at + j];
      }
    }
  }

  /** The sum over units of alpha g u, folded to the inputs. */
  pullback(windows, codes, alphas, cotangent) {
    const { units, terms } = this;
    const { positions } = windows;
    const weighted = roomFor(positions, terms * units);
    for (let p = 0; p < positions; p++) {
      for (let k = 0; k < terms; k++) {
        const [code, at] = [codes[p * terms + k], (p * terms + k) * units];
        for (let j = 0; j < units; j++) {
          weighted[at + j] = code * alphas[p * units + j] * cotangent[p * units + j];
        }
      }
    }
    return windows.fold(product(weighted, positions, this.transposed));
  }
}

/** A' as (depth, terms, units): the units innermost, the bias last of the terms. */
function factorsOf(kernel, bias, depth, units, rank, terms) {
  const factors = new Float32Array(depth * terms * units);
  for (let d = 0; d < depth; d++) {
    for (let j = 0; j < units; j++) {
      for (let k = 0; k < rank; k++) {
        factors[(d * terms + k) * units + j] = kernel[(d * units + j) * rank + k];
      }
      if (bias) factors[(d * terms + rank) * units + j] = bias[d * units + j];
    }
  }
  return factors;
}

/** A'^T A' of every unit, as (pairs of terms k >= l, units); what stands twice counts twice. */
function gramOf(factors, depth, units, terms) {
  const gram = new Float64Array((units * terms * (terms + 1)) / 2);
  for (let d = 0; d < depth; d++) {
    let at = 0;
    for (let k = 0; k < terms; k++) {
      const first = (d * terms + k) * units;
      for (let l = 0; l <= k; l++, at += units) {
        const second = (d * terms + l) * units;
        const times = k === l ? 1 : 2;
        for (let j = 0; j < units; j++) gram[at + j] += times * factors[first + j] * factors[second + j];
      }
    }
  }
  return gram;
}

function transpose(matrix, rows) {
  const columns = matrix.length / rows;
  const turned = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = matrix[row * columns + column];
    }
  }
  return turned;
}
