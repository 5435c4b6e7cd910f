'use strict';
// Keccak-256 and what section 10 makes with it: the tree of scores, the weights' digest.
const { integer, unhex } = require('./core.js');

const MASK = (1n << 64n) - 1n, RATE = 136;
const turn = (x, by) => (by ? ((x << by) | (x >> (64n - by))) & MASK : x);
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
    a = a.map((lane, i) => lane ^ c[(i + 4) % 5] ^ turn(c[(i + 1) % 5], 1n));
    const b = Array(25);
    a.forEach((lane, i) => { const x = i % 5, y = Math.floor(i / 5); b[y + 5 * ((2 * x + 3 * y) % 5)] = turn(lane, TURNS[i]); });
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
  for (let at = 0; at < padded.length; at += RATE) lanes = permute(lanes.map((lane, i) => (i < RATE / 8 ? lane ^ padded.readBigUInt64LE(at + 8 * i) : lane)));
  const digest = Buffer.alloc(32);
  for (let i = 0; i < 4; i++) digest.writeBigUInt64LE(lanes[i], 8 * i);
  return digest;
}
/** OpenZeppelin's StandardMerkleTree over (hotkey, score). */
function scoreRoot(scores) {
  const leaves = scores.map(({ hotkey, score }) => keccak(keccak(Buffer.concat([unhex(hotkey), integer(32, score)])))).sort(Buffer.compare).reverse();
  const nodes = [...Array(leaves.length - 1), ...leaves];
  for (let i = leaves.length - 2; i >= 0; i--) nodes[i] = keccak(Buffer.concat([nodes[2 * i + 1], nodes[2 * i + 2]].sort(Buffer.compare)));
  return nodes[0];
}
const weightsDigest = (pairs) => keccak(Buffer.concat(pairs.flatMap(([uid, weight]) => [integer(2, uid), integer(2, weight)])));

module.exports = { keccak, scoreRoot, weightsDigest };
