'use strict';
// What of a child crosses the wire: section 11.2. Decodes; zstd frames are read where they hold one raw block.

const fround = Math.fround;
const refuse = (why) => { throw new RangeError(why); };
const scratch = new DataView(new ArrayBuffer(4));
const toFloat = (pattern) => { scratch.setUint32(0, pattern); return scratch.getFloat32(0); };
const toPattern = (value) => { scratch.setFloat32(0, value); return scratch.getUint32(0); };

const floats = (bytes) => Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
function toBytes(values) { const bytes = Buffer.alloc(4 * values.length); values.forEach((v, i) => bytes.writeFloatLE(v, 4 * i)); return bytes; }

class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  take(count) {
    if (this.at + count > this.bytes.length) refuse('cut off');
    return this.bytes.subarray(this.at, (this.at += count));
  }
  /** A plane of so many bits, as ones and zeros. */
  bits(count) {
    const bytes = this.take(Math.ceil(count / 8)), all = Array.from({ length: 8 * bytes.length }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
    if (all.slice(count).some((bit) => bit)) refuse('padding');
    return all.slice(0, count);
  }
}

const join = (bits) => bits.reduce((value, bit) => 2 * value + bit, 0);

function readFrame(reader, length, size) {
  const frame = reader.take(length); // 4 bytes magic, 1 of flags, 1 of size, 3 before the data
  if (frame.length !== size + 9 || frame[5] !== size) refuse('a frame of another size');
  return frame.subarray(9);
}

/** The patterns after a delta, from those before it; width: bytes of each. */
function readDelta(reader, before, width) {
  if (!before.length) return before;
  const head = reader.take(4 * (width + 1)), lengths = Array.from({ length: width + 1 }, (_, i) => head.readUInt32LE(4 * i));
  const mask = new Reader(readFrame(reader, lengths[0], Math.ceil(before.length / 8))).bits(before.length);
  const count = mask.reduce((a, b) => a + b, 0), planes = lengths.slice(1).map((length) => readFrame(reader, length, count));
  let next = 0;
  return before.map((pattern, i) => {
    if (!mask[i]) return pattern;
    const folded = planes.reduceRight((value, plane) => value * 256 + plane[next], 0);
    next += 1;
    if (!folded) refuse('marked, and the same');
    const moved = folded % 2 ? -(folded + 1) / 2 : folded / 2, whole = 256 ** width;
    return (((pattern + moved) % whole) + whole) % whole;
  });
}

/** bf16's pattern, to nearest even. */
function round(value) {
  const pattern = toPattern(value), low = pattern & 0xffff, up = low > 0x8000 || (low === 0x8000 && (pattern >>> 16) & 1);
  return (pattern >>> 16) + (up ? 1 : 0);
}

function readRounded(reader, parent) {
  const before = parent.map(round), after = readDelta(reader, before, 2);
  if (after.some((pattern) => (pattern & 0x7fff) >= 0x7f80)) refuse('not finite');
  const step = (i) => fround(toFloat(after[i] * 65536) - toFloat(before[i] * 65536));
  return parent.map((value, i) => (after[i] === before[i] ? value : fround(value + step(i))));
}

/** Differences of `chunks` chunks of n values, k of them kept. */
function readChunks(reader, chunks, n, k, bits) {
  const l = Math.floor(Math.log2(Math.floor(n / k))), top = 2 ** (bits - 1) - 1;
  const units = Array.from({ length: chunks }, () => reader.take(2).readUInt16LE(0));
  const planes = [k * l, k + Math.floor((n - 1) / 2 ** l), k * bits].map((width) => {
    const all = reader.bits(chunks * width);
    return units.map((_, i) => all.slice(i * width, (i + 1) * width));
  });
  return units.flatMap((pattern, chunk) => {
    const [low, high, codes] = planes.map((plane) => plane[chunk]), places = high.flatMap((bit, at) => (bit ? [at] : []));
    if (places.length !== k) refuse('not as many indices as are kept');
    const indices = places.map((at, j) => (at - j) * 2 ** l + join(low.slice(j * l, (j + 1) * l)));
    if (indices.some((index, j) => index >= n || (j && index <= indices[j - 1]))) refuse('indices do not ascend, or are beyond');
    const unit = toFloat(pattern * 65536), values = new Array(n).fill(0);
    const read = indices.map((_, j) => [codes[j * bits], join(codes.slice(j * bits + 1, (j + 1) * bits))]);
    if (pattern === 0) {
      if (indices.some((index, j) => index !== j) || codes.some((bit) => bit)) refuse('a unit of 0 that says something');
      return values;
    }
    if (!(unit >= 2 ** -100 && (2 * top + 1) * unit < 2 ** 100)) refuse('a unit out of range');
    if (!read.some(([, magnitude]) => magnitude === top)) refuse('a larger unit than is needed');
    read.forEach(([sign, magnitude], j) => { values[indices[j]] = (sign ? -1 : 1) * fround((2 * magnitude + 1) * unit); });
    return values;
  });
}

function readSparse(reader, parent, form) {
  const whole = Math.floor(parent.length / form.chunk), rest = parent.length % form.chunk;
  const found = whole ? readChunks(reader, whole, form.chunk, form.kept, form.bits) : [];
  if (rest) found.push(...readChunks(reader, 1, rest, Math.ceil((rest * form.kept) / form.chunk), form.bits));
  return parent.map((value, i) => fround(value + found[i]));
}

/** What everybody decodes of tensors, given as parents' bytes in order of name. */
function decode(parents, blobs, form) {
  const reader = new Reader(Buffer.concat(blobs));
  const seen = parents.map((bytes) => {
    if (form.kept) return toBytes(readSparse(reader, floats(bytes), form));
    if (form.bits === 16) return toBytes(readRounded(reader, floats(bytes)));
    const patterns = readDelta(reader, Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(4 * i)), 4);
    const made = Buffer.alloc(bytes.length);
    patterns.forEach((pattern, i) => made.writeUInt32LE(pattern, 4 * i));
    return made;
  });
  if (reader.at !== reader.bytes.length) refuse('bytes after its end');
  return seen;
}

/** The residual after a child: what it was, less what everybody saw. */
function leave(child, residual, seen, form) {
  const share = fround(form.feedback / 1e6), old = residual && floats(residual), now = floats(seen);
  return toBytes(floats(child).map((value, i) => fround((old ? fround(value + fround(old[i] * share)) : value) - now[i])));
}

module.exports = { decode, leave };
