'use strict';
// A network's pool of problems (section 11.3): the parent's, and the valid proposals of a step's miners.
const { createHash } = require('node:crypto');

const INPUTS = 16, SHAPE = 32, BYTES = 1 << 24;
const digestOf = (row) => createHash('sha256').update(row.function).digest('hex');
const shapeOf = (row) => row.function.replace(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, "''").replace(/[0-9]+/g, '0');
const writeRow = ({ function: text, inputs, outputs, size }) => `${JSON.stringify({ function: text, inputs, outputs, size: Number(size) })}\n`;
/** A pool's file. */
const writePool = (rows) => rows.map(writeRow).join('');

/** The rows that problems are drawn from: the first pool's, a checkpoint's in their places, and its others. */
const joinPools = (first, rows) => [...new Map([...first, ...rows].map((row) => [digestOf(row), row])).values()];

/** The rows after a step. `proposals` are in order; `widens` says that one is an input to a function that is there; `isSolvable`, of a row. */
function growPool(first, rows, proposals, most, isSolvable) {
  const shipped = new Map(first.map((row) => [digestOf(row), row])), kept = new Map(rows.map((row) => [digestOf(row), row]));
  const counts = new Map(), count = (row) => counts.set(shapeOf(row), (counts.get(shapeOf(row)) ?? 0) + 1);
  new Map([...shipped, ...kept]).forEach(count);
  for (const { widens, ...row } of proposals) {
    const name = digestOf(row), known = kept.get(name) ?? shipped.get(name);
    if (!widens) {
      if (!known && (counts.get(shapeOf(row)) ?? 0) < SHAPE && isSolvable(row)) { kept.set(name, row); count(row); }
    } else if (known && known.inputs.length < INPUTS && !known.inputs.includes(row.inputs[0])) {
      const wider = { ...known, inputs: [...known.inputs, row.inputs[0]], outputs: [...known.outputs, row.outputs[0]] };
      if (isSolvable(wider)) kept.set(name, wider);
    }
  }
  const left = [...kept.values()].slice(-Number(most));
  let bytes = Buffer.byteLength(writePool(left));
  while (bytes > BYTES) bytes -= Buffer.byteLength(writeRow(left.shift()));
  return left;
}

module.exports = { growPool, joinPools, writePool, writeRow };
