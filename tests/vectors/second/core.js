'use strict';
// Hashes, streams, noise, addresses and records: sections 0, 1, 3, 7 and 10 of the specification.
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => Buffer.from(text, 'hex');
/** JSON with its integers as BigInt: some need more than 53 bits. */
function parse(text) {
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (t) => (/^-?\d+$/.test(t) ? `"\\u0000${t}"` : t));
  return JSON.parse(marked, (_, v) => (typeof v === 'string' && v[0] === '\0' ? BigInt(v.slice(1)) : v));
}
/** JSON from strangers (section 0) in the form of `parse`; RangeError where it is none. */
function readDocument(bytes) {
  const text = utf8(bytes), fail = () => { throw new RangeError('no JSON'); };
  let at = 0;
  const take = (form) => { form.lastIndex = at; const [found] = form.exec(text) ?? fail(); at += found.length; return found; };
  const skip = () => take(/[ \t\n\r]*/y), readText = () => JSON.parse(take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y));
  const readAll = (end, one) => {
    const found = [];
    at += 1; skip();
    if (text[at] !== end) for (found.push(one()); skip(), text[at] === ','; found.push(one())) { at += 1; skip(); }
    if (text[at] !== end) fail();
    at += 1;
    return found;
  };
  const readMember = (depth) => { const name = readText(); skip(); take(/:/y); return [name, readValue(depth)]; };
  function readNumber() {
    const said = take(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y);
    if (/^-?\d+$/.test(said)) return said.replace('-', '').length > 64 ? fail() : BigInt(said);
    return Number.isFinite(Number(said)) ? Number(said) : fail();
  }
  function readValue(depth) {
    skip();
    const mark = text[at];
    if (mark === '"') return readText();
    if (mark !== '{' && mark !== '[') return /[-\d]/.test(mark ?? '') ? readNumber() : JSON.parse(take(/true|false|null/y));
    if (depth === 64) fail();
    if (mark === '[') return readAll(']', () => readValue(depth + 1));
    const members = readAll('}', () => readMember(depth + 1));
    return new Set(members.map(([name]) => name)).size < members.length ? fail() : Object.fromEntries(members);
  }
  const value = readValue(0);
  skip();
  return at === text.length ? value : fail();
}

function integer(width, value, signed = false) {
  const size = 1n << BigInt(8 * width), number = BigInt(value), low = signed ? -size / 2n : 0n;
  if (number < low || number >= low + size) throw new RangeError(`${value} does not fit ${width} bytes`);
  return unhex((number < 0n ? number + size : number).toString(16).padStart(2 * width, '0'));
}
const u32 = (value) => integer(4, value), u64 = (value) => integer(8, value);
const prefixed = (bytes) => Buffer.concat([u32(bytes.length), bytes]);

function hash(domain, ...fields) {
  const label = Buffer.from(`assay/v4/${domain}`);
  return sha256(Buffer.concat([integer(1, label.length), label, ...fields.map(prefixed)]));
}
/** Levels of the tree over leaves, from them up to its top. */
function treeLevels(leaves) {
  const levels = [leaves];
  for (let level = leaves; level.length > 1; levels.push(level))
    level = level.filter((_, i) => i % 2 === 0).map((left, i) => (2 * i + 1 < level.length ? hash('node', left, level[2 * i + 1]) : left));
  return levels;
}
const treeTop = (leaves) => treeLevels(leaves).at(-1)[0];
/** Places beside the way from leaf `at` among `count` to the top: [level, place], from below. */
function pathPlaces(count, at) {
  const places = [];
  for (let level = 0; count > 1; level++, count = Math.ceil(count / 2), at = Math.floor(at / 2))
    if ((at ^ 1) < count) places.push([level, at ^ 1]);
  return places;
}
const treePath = (leaves, at, levels = treeLevels(leaves)) => pathPlaces(leaves.length, at).map(([level, place]) => levels[level][place]);
const pathTop = (leaf, count, at, path) =>
  pathPlaces(count, at).reduce((node, [, place], i) => (place % 2 ? hash('node', node, path[i]) : hash('node', path[i], node)), leaf);
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

/** High and low half of a product; halves of factors, since doubles hold 53 bits. */
function multiply(a, b) {
  const low = (a & 0xffff) * (b & 0xffff), middle = (a >>> 16) * (b & 0xffff) + Math.floor(low / 65536);
  return [((a >>> 16) * (b >>> 16) + Math.floor(((a & 0xffff) * (b >>> 16) + middle) / 65536)) >>> 0, Math.imul(a, b) >>> 0];
}
function philox([c0, c1, c2, c3], [k0, k1]) {
  for (let round = 0; round < 10; round++) {
    const [h0, l0] = multiply(c0, 0xd2511f53), [h1, l1] = multiply(c2, 0xcd9e8d57);
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

// ---- Keccak-256: section 10
const MASK = (1n << 64n) - 1n, RATE = 136;
const turnLane = (x, by) => (by ? ((x << by) | (x >> (64n - by))) & MASK : x);
/** Rotations of the lanes x + 5y, and the round's constants, as FIPS 202 derives them. */
const TURNS = Array(25).fill(0n), ROUNDS = [];
for (let t = 0, x = 1, y = 0; t < 24; t++, [x, y] = [y, (2 * x + 3 * y) % 5]) TURNS[x + 5 * y] = BigInt(((t + 1) * (t + 2)) / 2 % 64);
for (let round = 0, register = 1; round < 24; round++) {
  let constant = 0n;
  for (let j = 0; j < 7; j++) {
    if (register & 1) constant |= 1n << BigInt(2 ** j - 1);
    register = (register << 1) ^ (register & 0x80 ? 0x171 : 0);
  }
  ROUNDS.push(constant);
}
function permute(a) {
  for (const constant of ROUNDS) {
    const c = [0, 1, 2, 3, 4].map((x) => a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]);
    a = a.map((lane, i) => lane ^ c[(i + 4) % 5] ^ turnLane(c[(i + 1) % 5], 1n));
    const b = Array(25);
    a.forEach((lane, i) => { const x = i % 5, y = Math.floor(i / 5); b[y + 5 * ((2 * x + 3 * y) % 5)] = turnLane(lane, TURNS[i]); });
    a = b.map((lane, i) => { const row = i - (i % 5); return lane ^ (~b[row + ((i + 1) % 5)] & MASK & b[row + ((i + 2) % 5)]); });
    a[0] ^= constant;
  }
  return a;
}
function keccak(bytes) {
  const padded = Buffer.concat([bytes, Buffer.alloc(RATE - (bytes.length % RATE))]);
  padded[bytes.length] ^= 0x01;
  padded[padded.length - 1] ^= 0x80;
  let lanes = Array(25).fill(0n);
  for (let at = 0; at < padded.length; at += RATE)
    lanes = permute(lanes.map((lane, i) => (i < RATE / 8 ? lane ^ padded.readBigUInt64LE(at + 8 * i) : lane)));
  const digest = Buffer.alloc(32);
  for (let i = 0; i < 4; i++) digest.writeBigUInt64LE(lanes[i], 8 * i);
  return digest;
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
  const last = /^(.*), or nothing$/.exec(kind);
  if (last) return value === undefined ? Buffer.alloc(0) : encode(last[1], value);
  const marked = /^marked (.*)$/.exec(kind);
  if (marked) return value === undefined ? Buffer.alloc(0) : Buffer.concat([u32(0xffffffff), encode(marked[1], value)]);
  const list = /^list ≤ \d+ of (.*)$/.exec(kind);
  if (list) return Buffer.concat([u32(value.length), ...value.map((item) => encode(list[1], item))]);
  const maybe = /^maybe (.*)$/.exec(kind);
  if (maybe) return value === null ? integer(1, 0) : Buffer.concat([integer(1, 1), encode(maybe[1], value)]);
  if (kind in RECORDS) return Buffer.concat(RECORDS[kind].map(([name, type]) => encode(type, value[name])));
  if (kind === '32 bytes') return unhex(value);
  if (/^(text|bytes) ≤/.test(kind)) return prefixed(Buffer.from(value, kind[0] === 't' ? 'utf8' : 'hex'));
  return integer(Number(kind.slice(1)) / 8, value, kind[0] === 'i');
}
/** A record whose fields all have a size: unsigned integers and 32 bytes. */
function sizeOf(kind) {
  if (kind in RECORDS) return RECORDS[kind].reduce((size, [, type]) => size + sizeOf(type), 0);
  return kind === '32 bytes' ? 32 : Number(kind.slice(1)) / 8;
}
function decodeSized(kind, bytes) {
  if (bytes.length !== sizeOf(kind)) throw new RangeError(`${bytes.length} bytes are no ${kind}`);
  let at = 0;
  return Object.fromEntries(RECORDS[kind].map(([name, type]) => {
    const field = hex(bytes.subarray(at, (at += sizeOf(type))));
    return [name, type === '32 bytes' ? field : BigInt(`0x${field}`)];
  }));
}
const utf8 = (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
/** A record of these bytes; RangeError where they are none. */
function decode(kind, bytes) {
  let at = 0;
  const take = (size) => {
    if (at + Number(size) > bytes.length) throw new RangeError(`the bytes of a ${kind} end`);
    return bytes.subarray(at, (at += Number(size)));
  };
  const number = (width) => BigInt(`0x${hex(take(width))}`);
  const count = (type) => {
    const found = number(4);
    if (found > BigInt(/\d+/.exec(type.slice(type.indexOf('≤')))[0])) throw new RangeError(`a ${type} of ${found}`);
    return Number(found);
  };
  const read = (type) => {
    const last = /^(.*), or nothing$/.exec(type);
    if (last) return at === bytes.length ? undefined : read(last[1]);
    const marked = /^marked (.*)$/.exec(type);
    if (marked) return hex(bytes.subarray(at, at + 4)) === 'ffffffff' ? (take(4), read(marked[1])) : undefined;
    const [, item] = /^list ≤ \d+ of (.*)$/.exec(type) ?? [], [, some] = /^maybe (.*)$/.exec(type) ?? [];
    if (item) return Array.from({ length: count(type) }, () => read(item));
    if (some) {
      const there = number(1);
      if (there > 1n) throw new RangeError('a maybe that is neither');
      return there ? read(some) : null;
    }
    if (type in RECORDS) return Object.fromEntries(RECORDS[type].map(([name, inner]) => [name, read(inner)]));
    if (type === '32 bytes') return hex(take(32));
    if (/^bytes ≤/.test(type)) return hex(take(count(type)));
    if (/^text ≤/.test(type)) {
      try { return utf8(take(count(type))); } catch (error) { throw new RangeError(`a text: ${error.message}`); }
    }
    const width = Number(type.slice(1)), value = number(width / 8);
    return type[0] === 'i' ? BigInt.asIntN(width, value) : value;
  };
  const value = read(kind);
  if (at !== bytes.length) throw new RangeError(`bytes after a ${kind}`);
  return value;
}
/** The bytes of a record's JSON form; RangeError where it is none: each record has one form. */
function encodeJson(kind, value) {
  let bytes;
  try { bytes = encode(kind, value); } catch (error) { throw new RangeError(`no ${kind}: ${error.message}`); }
  const written = (v) => JSON.stringify(v, (_, x) => (typeof x === 'bigint' ? `${x}n` : x && typeof x === 'object' && !Array.isArray(x) ? Object.fromEntries(Object.entries(x).sort()) : x));
  if (written(decode(kind, bytes)) !== written(value)) throw new RangeError(`another form of a ${kind}`);
  return bytes;
}
/** What a slot of commitments holds; null where it does not parse. */
function decodeCommitment(bytes) {
  const tag = bytes.subarray(0, 4).toString('latin1');
  if (bytes.length < 48 || bytes.length > 128 || !/^A(SM|SC|SP|SR)1$/.test(tag)) return null;
  const groups = BigInt(bytes.readUInt32BE(12));
  if (groups && tag !== 'ASM1') return null;
  try {
    return { tag, number: bytes.readBigUInt64BE(4), groups, digest: hex(bytes.subarray(16, 48)), locator: utf8(bytes.subarray(48)) };
  } catch { return null; }
}
const encodeCommitment = (c) =>
  Buffer.concat([Buffer.from(c.tag), u64(c.number), u32(c.groups), unhex(c.digest), Buffer.from(c.locator)]);
const byName = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const filesDigest = (label, files) =>
  hash(label, ...Object.keys(files).sort(byName).flatMap((name) => [Buffer.from(name), unhex(files[name])]));
const tensorLeaf = ({ name, dtype, shape, sha256: data }) =>
  hash('tensor-leaf', Buffer.from(name), Buffer.from(dtype), Buffer.concat(shape.map(u64)), unhex(data));
const tensorRoot = (tensors) => root([...tensors].sort((a, b) => byName(a.name, b.name)).map(tensorLeaf));

module.exports = {
  sha256, hex, unhex, keccak, integer, u32, u64, hash, treeTop, treePath, pathTop, pathPlaces, root, Stream, philox, word, TABLE, gumbel,
  encodeSS58, encode, encodeJson, decode, sizeOf, decodeSized, decodeCommitment, encodeCommitment, parse, readDocument, byName, filesDigest, tensorRoot, utf8,
};
