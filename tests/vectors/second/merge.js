'use strict';
// How children are merged, and how many may be withheld: section 11.1.

const fround = Math.fround, UNIT = 1n << 20n;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0n);
const least = (a, b) => (a < b ? a : b);
const ascending = (numbers) => [...numbers].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

/** √(a / b) in units of 2^-20, rounded down: by bisection. */
function root(a, b) {
  const square = (a << 40n) / b;
  let low = 0n, high = UNIT;
  while (high * high <= square) high *= 2n;
  while (high - low > 1n) { const half = (low + high) / 2n; if (half * half <= square) low = half; else high = half; }
  return low;
}

/** Each child's factor in units of 2^-24, from the differences, arrays of singles. */
function findFactors(differences) {
  const count = differences.length, middle = (numbers) => ascending(numbers)[Math.floor((count - 1) / 2)];
  if (count === 1) return [1n << 24n];
  const exponents = differences.map((d) => { let x = -200; while (d.some((value) => Math.abs(value) >= 2 ** x)) x += 1; return x; });
  const whole = differences.map((d, i) => Array.from(d, (value) => BigInt(Math.trunc(value * 2 ** (20 - exponents[i])))));
  const product = whole.map((a) => whole.map((b) => sum(a.map((value, at) => value * b[at]))));
  const squares = product.map((row, i) => row[i] * 4n ** BigInt(exponents[i] - Math.min(...exponents))), usual = middle(squares);
  const agreed = product.map((row, i) => {
    const cosines = row.map((g, j) => (g > 0n ? root(g * g, row[i] * product[j][j]) : 0n)).filter((_, j) => j !== i);
    return ascending(cosines).toReversed()[Math.floor(count / 2) - 1];
  });
  const shared = middle(agreed), lengths = squares.map((s) => least(UNIT, root(4n * s, usual)));
  const weights = lengths.map((length, i) => (shared ? (length * least(2n * agreed[i], shared)) / shared : length));
  return weights.map((w, i) => (16n * w * least(UNIT, root(4n * usual, squares[i]))) / sum(weights));
}

/** Masters and velocity after a round, and the factors. Arrays of singles; rate and momentum in millionths. */
function step(theta, velocity, children, rate, momentum) {
  const [eta, mu] = [rate, momentum].map((millionths) => fround(fround(Number(millionths)) / fround(1e6)));
  const differences = children.map((child) => theta.map((start, i) => fround(child[i] - start))), factors = findFactors(differences);
  const added = (i) => differences.map((d, k) => fround(d[i] * (Number(factors[k]) / 2 ** 24))).reduce((a, b) => fround(a + b));
  const merged = theta.map((_, i) => added(i)), speed = merged.map((d, i) => fround(fround(velocity[i] * mu) + d));
  return { factors, speed, theta: theta.map((start, i) => fround(start + fround(fround(fround(speed[i] * mu) + merged[i]) * eta))) };
}

/** Whether enough children are left if a record says "withheld" of some of those that are named on chain. */
const isEnough = (named, withheld) => named === 0 || withheld < named / 2;

/** The place in line whose checkpoint counts at a block, or null. `written`: what slots hold from which block on, in order. */
function findPublished({ turns, turns_end: over }, written, block) {
  const names = (place, at) => written.findLast((w) => Number(w.place) === place && w.block <= at)?.names;
  for (const [place, begin] of turns.entries()) {
    if (block >= begin && names(place, least(block, (turns[place + 1] ?? over) - 1n))) return place;
  }
  const late = block >= over ? turns.findIndex((_, place) => names(place, block)) : -1;
  return late < 0 ? null : late;
}

module.exports = { findPublished, isEnough, step };
