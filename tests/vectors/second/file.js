'use strict';
// Bit fields, prefix codes and a miner's file: sections 1 and 4 of the specification. Bits are text; what is to be refused throws.
const { decodeSized, encode, hash, hex, pathPlaces, pathTop, sizeOf, treePath, treeTop, u32, unhex } = require('./core.js');

const requireThat = (holds, otherwise) => { if (!holds) throw new RangeError(otherwise); };
const bitLength = (value) => (BigInt(value) === 0n ? 0 : BigInt(value).toString(2).length);
const max = (values) => values.reduce((a, b) => (a > b ? a : b));
const total = (values) => values.reduce((a, b) => a + Number(b), 0);
const field = (value, width) => (width ? BigInt(value).toString(2).padStart(width, '0') : '');
const fields = (values, width) => values.map((v) => field(v, width)).join('');
const lowest = (value, width) => field(BigInt(value) & ((1n << BigInt(width)) - 1n), width);
function narrow(values) { const width = max(values.map(bitLength)); return field(width, 5) + fields(values, width); }
const rice = (values, k) => values.map((v) => `${'0'.repeat(Number(BigInt(v) >> BigInt(k)))}1`).join('') + values.map((v) => lowest(v, k)).join('');
const pack = (bits) => Buffer.from((bits + '0'.repeat((8 - (bits.length % 8)) % 8)).match(/.{8}/g)?.map((b) => parseInt(b, 2)) ?? []);

class Reader {
  constructor(bytes) { this.bits = [...bytes].map((b) => b.toString(2).padStart(8, '0')).join(''); this.at = 0; }
  take(width) {
    requireThat(this.at + width <= this.bits.length, 'the bits end');
    return this.bits.slice(this.at, (this.at += width));
  }
  field(width) { return width ? BigInt(`0b${this.take(width)}`) : 0n; }
  fields(count, width) { return Array.from({ length: count }, () => this.field(width)); }
  narrow(count) {
    const width = Number(this.field(5)), values = this.fields(count, width);
    requireThat(width === max(values.map(bitLength)), 'written too wide');
    return values;
  }
  rice(count, k) {
    const quotients = Array.from({ length: count }, () => {
      const end = this.bits.indexOf('1', this.at), start = this.at;
      requireThat(end >= 0, 'a unary number without an end');
      this.at = end + 1;
      return BigInt(end - start);
    });
    return quotients.map((q) => (q << BigInt(k)) + this.field(k));
  }
  end() { requireThat(/^0{0,7}$/.test(this.bits.slice(this.at)), 'bits after the last field'); }
}

// ---- prefix codes: a list of [symbol, bits], empty for a fixed width
const smaller = (a, b) => a.weight - b.weight || a.age - b.age || Number(a.symbol - b.symbol);
/** Pairs of [symbol, how often] to those of [symbol, length]. */
function codeLengths(counts) {
  if (counts.length === 1) return [[counts[0][0], 1]];
  const lengths = new Map(counts.map(([symbol]) => [symbol, 0]));
  let nodes = counts.map(([symbol, weight]) => ({ symbol, weight: Number(weight), age: -1, members: [symbol] }));
  for (let age = 0; nodes.length > 1; age++) {
    const [a, b, ...rest] = nodes.sort(smaller), members = [...a.members, ...b.members];
    for (const symbol of members) lengths.set(symbol, lengths.get(symbol) + 1);
    nodes = [...rest, { symbol: 0n, weight: a.weight + b.weight, age, members }];
  }
  return [...lengths];
}
/** [symbol, bits] of [symbol, length]. */
function assignCodes(lengths) {
  let code = -1n, last = 0;
  return [...lengths].sort((a, b) => a[1] - b[1] || Number(a[0] - b[0])).map(([symbol, length]) => {
    code = (code + 1n) << BigInt(length - last);
    last = length;
    return [symbol, field(code, length)];
  });
}
const ofLength = (code, length) => code.filter(([, bits]) => bits.length === length).map(([symbol]) => symbol);
const gapBits = (symbolBits, count) => Math.max(0, symbolBits - bitLength(count));
function writeCode(code, symbolBits) {
  if (!code.length) return '00000';
  const longest = code.at(-1)[1].length, each = Array.from({ length: longest }, (_, i) => ofLength(code, i + 1));
  const gaps = (symbols) => rice(symbols.map((v, i) => (i ? v - symbols[i - 1] - 1n : v)), gapBits(symbolBits, symbols.length));
  return field(longest, 5) + narrow(each.map((symbols) => symbols.length)) + each.map(gaps).join('');
}
function readCode(reader, symbolBits, most) {
  const longest = Number(reader.field(5));
  if (!longest) return [];
  const counts = reader.narrow(longest).map(Number), count = total(counts);
  requireThat(count > 0 && count <= most, 'no symbol, or too many');
  const room = counts.reduce((sum, n, i) => sum + n * 2 ** (longest - i - 1), 0);
  requireThat((room === 2 ** longest && counts.at(-1) > 0) || (longest === 1 && count === 1), 'not complete');
  const lengths = counts.flatMap((n, i) => {
    let symbol = -1n;
    return reader.rice(n, gapBits(symbolBits, n)).map((gap) => [(symbol += gap + 1n), i + 1]);
  });
  requireThat(new Set(lengths.map(([v]) => v)).size === count, 'a symbol twice');
  requireThat(lengths.every(([v]) => bitLength(v) <= symbolBits), 'a symbol too large');
  return assignCodes(lengths);
}
function writeNumbers(numbers, code, symbolBits) {
  const table = new Map(code);
  return numbers.map((v) => (code.length ? table.get(v) : field(v, symbolBits))).join('');
}
function readNumbers(reader, count, code, symbolBits) {
  if (!code.length) return reader.fields(count, symbolBits);
  const table = new Map(code.map(([symbol, bits]) => [bits, symbol])), longest = code.at(-1)[1].length;
  return Array.from({ length: count }, () => {
    let bits = '';
    while (!table.has(bits)) { requireThat(bits.length < longest, "a code that is no symbol's"); bits += reader.take(1); }
    return table.get(bits);
  });
}
function makeCode(numbers, symbolBits) {
  const counts = new Map();
  for (const v of numbers) counts.set(v, (counts.get(v) ?? 0) + 1);
  const code = assignCodes(codeLengths([...counts]));
  const bits = writeCode(code, symbolBits).length + writeNumbers(numbers, code, symbolBits).length;
  return bits < 5 + numbers.length * symbolBits ? code : [];
}

// ---- groups
function encodeGroup(rollouts, idBits) {
  const classes = rollouts.map((r) => r.logprobs.map((v) => BigInt(bitLength(v))));
  const idsCode = makeCode(rollouts.flatMap((r) => r.tokens), idBits), classCode = makeCode(classes.flat(), 5);
  const ids = rollouts.map((r) => pack(writeNumbers(r.tokens, idsCode, idBits)));
  const proofs = rollouts.map((r, i) => {
    const folded = r.sketch.flat().map((q) => (q < 0n ? -2n * q - 1n : 2n * q));
    const below = r.logprobs.map((v) => lowest(v, Math.max(0, bitLength(v) - 1)));
    return pack(writeNumbers(classes[i], classCode, 5) + rice(folded, 5) + below.join(''));
  });
  const sizes = [rollouts.map((r) => r.tokens.length), ids.map((r) => r.length), proofs.map((r) => r.length)];
  const bits = sizes.map(narrow).join('') + writeCode(idsCode, idBits) + writeCode(classCode, 5);
  return [[...ids.map((r) => hash('ids', r)), ...proofs.map((r) => hash('proof', r)), pack(bits)], ids, proofs].map((part) => Buffer.concat(part));
}
/** `sizes`: of ids and proofs, as the index has them. */
function decodeHead(head, size, idBits, sizes) {
  requireThat(head.length >= 64 * size, 'digests are cut off');
  const digests = Array.from({ length: 2 * size }, (_, i) => hex(head.subarray(32 * i, 32 * i + 32)));
  const reader = new Reader(head.subarray(64 * size));
  const [lengths, ids, proofs] = [0, 1, 2].map(() => reader.narrow(size).map(Number));
  requireThat(lengths.every((t) => t > 0), 'a rollout without a token');
  requireThat(total(ids) === Number(sizes.ids) && total(proofs) === Number(sizes.proofs), 'sizes that are not the index\'s');
  const before = reader.at, idsCode = readCode(reader, idBits, total(lengths)), codeBits = reader.at - before;
  const classCode = readCode(reader, 5, 25);
  reader.end();
  requireThat(!idsCode.length || codeBits + 8 * (total(ids) - size) < 5 + idBits * total(lengths), 'ids that a fixed width makes shorter');
  const idMost = idsCode.length ? idsCode.at(-1)[1].length : idBits;
  const fits = (bytes, bits) => bytes.every((count, r) => count <= Math.ceil(lengths[r] * bits / 8));
  requireThat(fits(ids, idMost) && fits(proofs, 73), 'a record of more bytes than its tokens fill');
  const records = { ids: digests.slice(0, size), proofs: digests.slice(size) };
  return { idBits, lengths, sizes: { ids, proofs }, digests: records, idsCode, classCode };
}
function decodeIds(record, head, r) {
  const reader = new Reader(record), tokens = readNumbers(reader, head.lengths[r], head.idsCode, head.idBits);
  reader.end();
  return tokens;
}
function decodeProof(record, head, r) {
  const reader = new Reader(record), count = head.lengths[r];
  const classes = readNumbers(reader, count, head.classCode, 5).map(Number);
  requireThat(classes.every((c) => c <= 24), 'a class above 24');
  const folded = reader.rice(2 * count, 5);
  requireThat(folded.every((f) => f <= 254n), 'a sketch beyond 127');
  const logprobs = classes.map((c) => (c ? (1n << BigInt(c - 1)) + reader.field(c - 1) : 0n));
  reader.end();
  const sketch = folded.map((f) => (f % 2n ? -(f + 1n) / 2n : f / 2n));
  return { logprobs, sketch: classes.map((_, t) => sketch.slice(2 * t, 2 * t + 2)) };
}
const areIdsCanonical = (tokens, head) => `${makeCode(tokens.flat(), head.idBits)}` === `${head.idsCode}`;

// ---- files
const groupLeaf = (index, head) => hash('group-leaf', u32(index), head);
/** The file and its root; of `header` everything but index and tree is taken. */
function encodeFile(header, groups) {
  const parts = groups.map((group) => encodeGroup(group, Number(header.id_bits)));
  const leaves = parts.map(([head], g) => groupLeaf(g, head));
  const sizes = parts.map((part) => Object.fromEntries(['head', 'ids', 'proofs'].map((name, i) => [name, part[i].length])));
  const index = Buffer.concat(sizes.map((s) => encode('GroupSizes', s)));
  const written = encode('Header', { ...header, index: hex(hash('index', index)), tree: hex(treeTop(leaves)) });
  const body = parts.flatMap((part, g) => [...treePath(leaves, g), ...part]);
  return [Buffer.concat([written, index, ...body]), hash('submission', written)];
}
function decodeOpening(bytes, groups) {
  const at = sizeOf('Header'), size = sizeOf('GroupSizes'), header = decodeSized('Header', bytes.subarray(0, at));
  requireThat(Number(header.groups) === groups && bytes.length === at + size * groups, 'another number of groups');
  requireThat(header.group_size > 0n && header.id_bits <= 32n, 'no rollout, or ids too wide');
  const sizes = (_, g) => decodeSized('GroupSizes', bytes.subarray(at + size * g, at + size * (g + 1)));
  return { header, index: Array.from({ length: groups }, sizes) };
}
/** All rows of a file, each part held against the root. */
function decodeFile(bytes, groups, root) {
  let at = 0;
  const take = (size) => bytes.subarray(at, (at += Number(size))), opening = take(sizeOf('Header') + sizeOf('GroupSizes') * groups);
  const { header, index } = decodeOpening(opening, groups), size = Number(header.group_size);
  requireThat(hex(hash('submission', encode('Header', header))) === root, 'the header is not committed');
  requireThat(hex(hash('index', opening.subarray(sizeOf('Header')))) === header.index, 'the index is not the header\'s');
  return index.map((sizes, g) => {
    const path = pathPlaces(groups, g).map(() => take(32)), written = take(sizes.head);
    requireThat(hex(pathTop(groupLeaf(g, written), groups, g, path)) === header.tree, 'the head is not in the tree');
    const head = decodeHead(written, size, Number(header.id_bits), sizes);
    const [ids, proofs] = [['ids', 'ids'], ['proofs', 'proof']].map(([part, label]) => head.sizes[part].map((bytesOf, r) => {
      const record = take(bytesOf);
      requireThat(hex(hash(label, record)) === head.digests[part][r], 'a record that has not its digest');
      return record;
    }));
    const rollouts = ids.map((record, r) => ({ tokens: decodeIds(record, head, r), ...decodeProof(proofs[r], head, r) }));
    requireThat(areIdsCanonical(rollouts.map((r) => r.tokens), head), 'ids that have not their own code');
    return rollouts;
  });
}

module.exports = {
  areIdsCanonical, assignCodes, bitLength, codeLengths, decodeFile, decodeHead, decodeIds, decodeOpening, decodeProof, encodeFile, encodeGroup, field, groupLeaf,
  makeCode, narrow, pack, Reader, readCode, readNumbers, rice, writeCode, writeNumbers,
};
