'use strict';
// Hashes, streams, noise, addresses and records: sections 0, 1, 3, 4 and 7 of the specification.
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => Buffer.from(text, 'hex');

function integer(width, value, signed = false) {
  const size = 1n << BigInt(8 * width), number = BigInt(value), low = signed ? -size / 2n : 0n;
  if (number < low || number >= low + size) throw new RangeError(`${value} does not fit ${width} bytes`);
  return unhex((number < 0n ? number + size : number).toString(16).padStart(2 * width, '0'));
}
const u32 = (value) => integer(4, value), u64 = (value) => integer(8, value);
const prefixed = (bytes) => Buffer.concat([u32(bytes.length), bytes]);

function hash(domain, ...fields) {
  const label = Buffer.from(`assay/v1/${domain}`);
  return sha256(Buffer.concat([integer(1, label.length), label, ...fields.map(prefixed)]));
}
function treeTop(leaves) {
  while (leaves.length > 1) {
    const above = [];
    for (let i = 0; i < leaves.length; i += 2)
      above.push(i + 1 < leaves.length ? hash('node', leaves[i], leaves[i + 1]) : leaves[i]);
    leaves = above;
  }
  return leaves[0];
}
const root = (leaves, ...context) => hash('root', u32(leaves.length), ...context, treeTop(leaves));

class Stream {
  constructor(seed) { this.seed = seed; this.at = 0; this.bytes = Buffer.alloc(0); }
  u64() {
    if (this.at === this.bytes.length) {
      const outputLength = Math.max(1024, 2 * this.bytes.length);
      this.bytes = createHash('shake256', { outputLength }).update(this.seed).digest();
    }
    this.at += 8;
    return this.bytes.readBigUInt64BE(this.at - 8);
  }
  below(bound) {
    const size = BigInt(bound), limit = (1n << 64n) - ((1n << 64n) % size);
    for (;;) { const word = this.u64(); if (word < limit) return word % size; }
  }
  between(low, high) { return low + Number(this.below(high - low + 1)); }
  choose(options) { return options[this.between(0, options.length - 1)]; }
  sample(population, count) {
    const deck = Array.from({ length: population }, (_, i) => i);
    for (let i = 0; i < count; i++) {
      const j = this.between(i, population - 1);
      [deck[i], deck[j]] = [deck[j], deck[i]];
    }
    return deck.slice(0, count);
  }
}

const multiply = (a, b) => [32n, 0n].map((shift) => Number(((BigInt(a) * b) >> shift) & 0xffffffffn));
function philox([c0, c1, c2, c3], [k0, k1]) {
  for (let round = 0; round < 10; round++) {
    const [h0, l0] = multiply(c0, 0xd2511f53n), [h1, l1] = multiply(c2, 0xcd9e8d57n);
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  return [c0, c1, c2, c3];
}
function word(seed, position, token) {
  const [s0, s1, s2, s3] = [0, 4, 8, 12].map((i) => seed.readUInt32LE(i));
  return philox([token >>> 2, position, s2, s3], [s0, s1])[token & 3];
}

/** −ln(−ln((w + ½) / 2^32)) · 2^20, from the nearer end: doubles are 1e-8 off, no entry is within 1e-5 of a half. */
function quantile(w) {
  const log = w < 2 ** 31 ? Math.log((w + 0.5) / 2 ** 32) : Math.log1p(-(2 ** 32 - 1 - w + 0.5) / 2 ** 32);
  return Math.round(-Math.log(-log) * 2 ** 20);
}
const PIECES = Array.from({ length: 23 * 256 }, (_, i) => (256 + (i % 256)) * 2 ** Math.floor(i / 256));
const HALF = [...Array(256).keys(), ...PIECES, 2 ** 31 - 1];
const TABLE = [...HALF, ...HALF.map((z) => 2 ** 32 - 1 - z)].map(quantile);
function gumbel(w) {
  const upper = w >= 2 ** 31, z = upper ? 2 ** 32 - 1 - w : w, start = upper ? HALF.length : 0;
  if (z < 256) return TABLE[start + z];
  const e = 23 - Math.clz32(z), i = start + 256 * e + (z >>> e);
  const [a, b] = TABLE.slice(i, i + 2);
  return a + Math.floor(((b - a) * (z % 2 ** e)) / 2 ** e);
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
function encodeSS58(key) {
  const payload = Buffer.concat([integer(1, 42), key]);
  const check = createHash('blake2b512').update(Buffer.concat([Buffer.from('SS58PRE'), payload])).digest().subarray(0, 2);
  let number = BigInt(`0x${hex(payload)}${hex(check)}`), text = '';
  for (; number > 0n; number /= 58n) text = BASE58[Number(number % 58n)] + text;
  return text;
}

// Records: their fields are read off the specification's own tables.
const SPECIFICATION = readFileSync(join(__dirname, '../../../docs/specification.md'), 'utf8');
const RECORDS = {};
for (const [, name, rows] of SPECIFICATION.matchAll(/^\| ([A-Z]\w+) \| encoding \|.*\n\|---.*\n((?:\|.*\n)*)/gm))
  RECORDS[name] = rows.trim().split('\n').map((row) => row.split(' | ', 2).map((cell) => cell.replace('| ', '')));
function encode(kind, value) {
  const list = /^list ≤ \d+ of (.*)$/.exec(kind);
  if (list) return Buffer.concat([u32(value.length), ...value.map((item) => encode(list[1], item))]);
  const maybe = /^maybe (.*)$/.exec(kind);
  if (maybe) return value === null ? integer(1, 0) : Buffer.concat([integer(1, 1), encode(maybe[1], value)]);
  if (kind in RECORDS) return Buffer.concat(RECORDS[kind].map(([name, type]) => encode(type, value[name])));
  if (kind === '32 bytes') return unhex(value);
  if (/^(text|bytes) ≤/.test(kind)) return prefixed(Buffer.from(value, kind[0] === 't' ? 'utf8' : 'hex'));
  return integer(Number(kind.slice(1)) / 8, value, kind[0] === 'i');
}
const encodeCommitment = (c) =>
  Buffer.concat([Buffer.from(c.tag), u64(c.number), u32(c.groups), unhex(c.digest), Buffer.from(c.locator)]);
function encodeRow({ tokens, logprobs, sketch }) {
  const signed = sketch.flat().map((q) => integer(1, q, true));
  return Buffer.concat([u32(tokens.length), ...tokens.map(u32), ...logprobs.map(u32), ...signed]);
}
const byName = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const filesDigest = (label, files) =>
  hash(label, ...Object.keys(files).sort(byName).flatMap((name) => [Buffer.from(name), unhex(files[name])]));
const tensorLeaf = ({ name, dtype, shape, sha256: data }) =>
  hash('tensor-leaf', Buffer.from(name), Buffer.from(dtype), Buffer.concat(shape.map(u64)), unhex(data));
const tensorRoot = (tensors) => root([...tensors].sort((a, b) => byName(a.name, b.name)).map(tensorLeaf));

module.exports = {
  sha256, hex, unhex, integer, u32, u64, hash, treeTop, root, Stream, philox, word, TABLE, gumbel, encodeSS58, encode,
  encodeCommitment, encodeRow, filesDigest, tensorRoot,
};
