'use strict';
// Hashes, streams, noise, addresses and records: sections 0, 1, 3, 4 and 7 of the specification.
const { createHash } = require('node:crypto');

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

/** High and low half of a 32×32-bit product; every step is exact in a double. */
function multiply(a, b) {
  const low = (a & 0xffff) * b, middle = (a >>> 16) * b + Math.floor(low / 65536);
  return [Math.floor(middle / 65536), ((middle % 65536) * 65536 + (low % 65536)) >>> 0];
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

// The Gumbel table from nothing: logarithms as BigInt with 160 fraction bits.
const BITS = 160n, ONE = 1n << BITS;
function atanhTwice(numerator, denominator) {
  let power = (numerator << BITS) / denominator, sum = 0n;
  const square = (power * power) >> BITS;
  for (let k = 1n; power > 0n; k += 2n) { sum += power / k; power = (power * square) >> BITS; }
  return 2n * sum;
}
const LN2 = atanhTwice(1n, 3n);
function ln(x) {
  const exponent = BigInt(x.toString(2).length - 1) - BITS;
  const mantissa = exponent >= 0n ? x >> exponent : x << -exponent;
  return exponent * LN2 + atanhTwice(mantissa - ONE, mantissa + ONE);
}
function quantile(w) {
  const probability = ((2n * BigInt(w) + 1n) << BITS) >> 33n;
  return Number(((-ln(-ln(probability)) << 20n) + ONE / 2n) >> BITS);
}
let table = null;
function gumbelTable() {
  if (table) return table;
  const half = Array.from({ length: 256 }, (_, z) => z);
  for (let e = 0; e < 23; e++) for (let i = 256; i < 512; i++) half.push(i * 2 ** e);
  half.push(2 ** 31 - 1);
  return (table = [...half, ...half.map((z) => 2 ** 32 - 1 - z)].map(quantile));
}
function gumbel(w) {
  const upper = w >= 2 ** 31, z = upper ? 2 ** 32 - 1 - w : w, start = upper ? 6145 : 0;
  if (z < 256) return gumbelTable()[start + z];
  const e = 23 - Math.clz32(z), i = start + 256 * e + (z >>> e);
  const [a, b] = gumbelTable().slice(i, i + 2);
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

// Records as the specification's tables have them. "[x]" is a list of x.
const RECORDS = {
  parameters: 'identity:identity beacon:chain environment:environment timing:timing work:work tests:tests',
  identity: 'version:u16 genesis_hash:digest netuid:u16 owner_uid:u16 burn_share:u32 trainer:digest genesis_checkpoint:digest',
  chain: 'chain_hash:digest scheme:text public_key:bytes genesis_ms:u64 period_ms:u32',
  environment:
    'name:text settings:[setting] digest:digest correctness_weight:u32 quality_weight:u32 satisfaction_weight:u32',
  setting: 'name:text value:i64',
  timing:
    'window_blocks:u32 commit_offset:u32 audit_offset:u32 fetch_end:u32 verdict_end:u32 checkpoint_lead:u32 ' +
    'slot_ms:u32 tempo:u32 beacon_delay_ms:u32',
  work:
    'group_size:u16 audited_groups:u16 sampled_groups:u16 group_cap:u32 max_tokens:u32 temperature:u32 ' +
    'value_base:u64 value_mean:u64 value_teach:u64',
  tests:
    'margin_cap:u64 margin_levels:[u64] alpha_inverse:u32 mean_stakes:[u32] level_stakes:[u32] rate_inflation:u8 ' +
    'rate_floor:u64 rate_limits:[u64] sketch_block_bound:u32 sketch_rollout_bound:u32 scale_min:u64 scale_max:u64 ' +
    'centre_ratio_max:u32 logprob_rms_bound:u32 logprob_max_bound:u32',
  header: 'version:u16 parameters:digest window:u64 hotkey:digest checkpoint:digest groups:u32',
  calibration: 'rates:[u64] tokens:u64',
  manifest:
    'version:u16 structure:digest tokenizer:digest chat_template:digest tensors:digest end_tokens:[u32] max_tokens:u32 ' +
    'levels:[u32] centre:[i64] scale:u64 calibration:digest calibration_set:digest parent:digest step:digest number:u64',
};
function encode(kind, value) {
  if (kind in RECORDS) return Buffer.concat(RECORDS[kind].split(' ').map((f) => encode(f.split(':')[1], value[f.split(':')[0]])));
  if (kind[0] === '[') return Buffer.concat([u32(value.length), ...value.map((item) => encode(kind.slice(1, -1), item))]);
  if (kind === 'digest') return unhex(value);
  if (kind === 'bytes' || kind === 'text') return prefixed(Buffer.from(value, kind === 'bytes' ? 'hex' : 'utf8'));
  return integer(Number(kind.slice(1)) / 8, value, kind[0] === 'i');
}
const encodeCommitment = (c) =>
  Buffer.concat([Buffer.from(c.tag), u64(c.number), u32(c.groups), unhex(c.digest), Buffer.from(c.locator)]);
function encodeRow({ tokens, logprobs, sketch }) {
  const signed = sketch.flat().map((q) => integer(1, q, true));
  return Buffer.concat([u32(tokens.length), ...tokens.map(u32), ...logprobs.map(u32), ...signed]);
}
const inOrder = (names) => [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
const filesDigest = (domain, files) =>
  hash(domain, ...inOrder(Object.keys(files)).flatMap((name) => [Buffer.from(name), unhex(files[name])]));
function tensorRoot(tensors) {
  const byName = Object.fromEntries(tensors.map((t) => [t.name, t]));
  return root(inOrder(Object.keys(byName)).map((name) => {
    const { dtype, shape, sha256: data } = byName[name];
    return hash('tensor-leaf', Buffer.from(name), Buffer.from(dtype), Buffer.concat(shape.map(u64)), unhex(data));
  }));
}

module.exports = {
  sha256, hex, unhex, integer, u32, u64, hash, treeTop, root, Stream, philox, word, gumbelTable, gumbel, encodeSS58, encode,
  encodeCommitment, encodeRow, filesDigest, tensorRoot,
};
