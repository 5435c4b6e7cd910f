'use strict';
// A checkpoint as the change of another one: section 7, "Adapter".
//   node tests/vectors/second/adapter.js BASE CHECKPOINT     makes the tensors of a folder from its base's, and compares
const { readFileSync, readdirSync } = require('node:fs');
const { join } = require('node:path');

const fround = Math.fround, scratch = new DataView(new ArrayBuffer(4));
const LEAST = 2 ** -40, BOUND = 2 ** 40, RANK_MAX = 8;
const refuse = (why) => { throw new RangeError(why); };
const product = (list) => list.reduce((a, b) => a * b, 1);

/** fp32 of a bf16's pattern, and the pattern of the nearest bf16, to even. */
const widen = (pattern) => { scratch.setUint16(0, pattern); scratch.setUint16(2, 0); return scratch.getFloat32(0); };
function narrow(value) {
  scratch.setFloat32(0, value);
  const pattern = scratch.getUint32(0), low = pattern & 0xffff;
  return ((pattern >>> 16) + (low > 0x8000 || (low === 0x8000 && (pattern >>> 16) & 1) ? 1 : 0)) & 0xffff;
}
const patterns = (bytes) => Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i));

/** Tensors by name, and the metadata. */
function readSafetensors(bytes) {
  if (bytes.length < 8) refuse('no header');
  const size = Number(bytes.readBigUInt64LE()), data = bytes.subarray(8 + size);
  if (bytes.length < 8 + size) refuse('cut off');
  const text = bytes.subarray(8, 8 + size).toString();
  let header;
  try { header = JSON.parse(text); } catch { refuse('not JSON'); }
  const { __metadata__: metadata, ...entries } = header, tensors = new Map();
  if ((text.match(/"data_offsets"/g) ?? []).length !== Object.keys(entries).length) refuse('a name that occurs twice');
  let at = 0;
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries).sort((a, b) => a[1].data_offsets[0] - b[1].data_offsets[0])) {
    if (from !== at || to < from) refuse('a gap');
    tensors.set(name, { name, dtype, shape, data: data.subarray(from, (at = to)) });
  }
  if (at !== data.length || !tensors.size) refuse('bytes of no tensor');
  return { tensors, metadata };
}

function readFactor({ dtype, shape, data }) {
  if (dtype !== 'BF16' || shape.length < 2 || shape.length > 3 || !product(shape) || 2 * product(shape) !== data.length) refuse('no matrix or stack of bf16');
  const values = Array.from(patterns(data), widen);
  if (!values.every((value) => value === 0 || (Math.abs(value) >= LEAST && Math.abs(value) < BOUND))) refuse('a value out of bounds');
  return { shape, values };
}

/** The base's digest, and left and right factors by the names of tensors. */
function readAdapter(bytes) {
  const { tensors, metadata } = readSafetensors(bytes), factors = new Map();
  if (!/^[0-9a-f]{64}$/.test(metadata?.base)) refuse('no base');
  for (const [name, tensor] of tensors) {
    const found = /^(.*)\.lora_([AB])$/s.exec(name) ?? refuse('no factor');
    factors.set(found[1], { ...factors.get(found[1]), [found[2]]: readFactor(tensor) });
  }
  for (const { A, B } of factors.values()) {
    if (!A || !B) refuse('one factor alone');
    const [stack, other] = [B, A].map(({ shape }) => shape.slice(0, -2).join());
    if (stack !== other || B.shape.at(-1) !== A.shape.at(-2)) refuse('factors that do not fit together');
    if (B.shape.at(-1) > RANK_MAX) refuse('rank');
  }
  return { base: metadata.base, factors };
}

/** Patterns of a tensor, from the base's. */
function merge(before, { A, B }) {
  const [rows, rank] = B.shape.slice(-2), columns = A.shape.at(-1), size = rows * columns;
  return before.map((pattern, at) => {
    const stack = Math.floor(at / size), row = Math.floor((at % size) / columns), column = at % columns;
    const left = (stack * rows + row) * rank, right = stack * rank * columns + column;
    const part = (k) => fround(B.values[left + k] * A.values[right + k * columns]);
    let change = part(0);
    for (let k = 1; k < rank; k++) change = fround(change + part(k));
    return narrow(fround(widen(pattern) + change));
  });
}

const readFolder = (folder) => new Map(readdirSync(folder).filter((name) => name.endsWith('.safetensors')).flatMap((name) => [...readSafetensors(readFileSync(join(folder, name))).tensors]));

/** Names of a folder's tensors that its adapter makes otherwise. */
function findDifferent(base, folder) {
  const { factors } = readAdapter(readFileSync(join(folder, 'files/adapter.safetensors'))), before = readFolder(base), tensors = readFolder(folder);
  const unknown = [...factors.keys()].filter((name) => !tensors.has(name));
  if (unknown.length) refuse(`a factor of ${unknown[0]}`);
  const make = ({ name, shape }) => {
    const old = before.get(name), pair = factors.get(name);
    if (!old || String(old.shape) !== String(shape)) return null;
    if (pair && String([...pair.B.shape.slice(0, -1), pair.A.shape.at(-1)]) !== String(shape)) return null;
    return pair ? merge(patterns(old.data), pair) : patterns(old.data);
  };
  const differs = (tensor) => { const made = make(tensor), due = patterns(tensor.data); return !made || made.length !== due.length || made.some((pattern, i) => pattern !== due[i]); };
  return { checked: tensors.size, different: [...tensors.values()].filter(differs).map(({ name }) => name) };
}

module.exports = { readAdapter, merge, narrow, widen, LEAST };
if (require.main === module) {
  const { checked, different } = findDifferent(...process.argv.slice(2));
  console.log([`${checked} tensors made, ${different.length} differ`, ...different].join('\n'));
  process.exit(different.length ? 1 : 0);
}
