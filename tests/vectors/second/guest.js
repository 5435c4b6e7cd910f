'use strict';
// Runs of the image in this engine, V8: docs/environments.md, "A run". V8 keeps its frames on the thread's stack, so a
// thread with a large one runs, while this one waits for it.
const { createHash } = require('node:crypto');
const { existsSync, readFileSync } = require('node:fs');
const { homedir } = require('node:os');
const { join } = require('node:path');
const { setFlagsFromString } = require('node:v8');
const { MessageChannel, Worker, isMainThread, receiveMessageOnPort, workerData } = require('node:worker_threads');

const INPUT_MAX = 4 << 20, OUTPUT_MAX = 2 << 20, STACK_MB = 96, EVEN = 60, PATIENCE_MS = 600000, PIECE = 1 << 16;

const images = new Map();
/** The bytes of the image with this SHA-256, as `assay sandbox prepare` left it; null: it is not here. */
function findImage(digest) {
  const path = join(homedir(), '.cache/assay/sandbox', `${digest.slice(0, 16)}.wasm`);
  if (!images.has(digest) && existsSync(path)) images.set(digest, readFileSync(path));
  const bytes = images.get(digest) ?? Buffer.alloc(0);
  return createHash('sha256').update(bytes).digest('hex') === digest ? bytes : null;
}

const guests = new WeakMap();
class Guest {
  /** The one of this image. */
  static of(image) {
    if (!guests.has(image)) guests.set(image, new Guest(image));
    return guests.get(image);
  }
  constructor(image) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.done = new Int32Array(new SharedArrayBuffer(4));
    const workerData = { image, port: port2, done: this.done };
    new Worker(__filename, { workerData, transferList: [port2], resourceLimits: { stackSizeMb: STACK_MB } }).unref();
  }
  /** { output, end, instructions } of a request { kind, program, given, seed, clock } within { instructions, room }. */
  run(request, budget) { return this.ask('run', request, budget); }
  /** The same of each turn of a tool { texts, seed, clock } within { instructions, room } each, and whole instructions together. */
  takeTurns(turns, budget) { return this.ask('takeTurns', turns, budget); }
  ask(...message) {
    this.port.postMessage(message);
    if (Atomics.wait(this.done, 0, 0, PATIENCE_MS) === 'timed-out') throw new Error(`no verdict within ${PATIENCE_MS} ms`);
    Atomics.store(this.done, 0, 0);
    const { fault, reply } = receiveMessageOnPort(this.port).message;
    if (fault) throw new Error(`no verdict: ${fault}`);
    return reply;
  }
}

class Copy {
  constructor(module) {
    this.exports = new WebAssembly.Instance(module, {}).exports;
    this.written = this.exports.memory.buffer.byteLength - OUTPUT_MAX;
  }
  begin(seed, clock) {
    this.clock = clock;
    this.set({ seed: BigInt.asIntN(64, seed) });
    return this;
  }
  get(name) { return this.exports[`assay_${name}`].value; }
  set(values) { for (const [name, value] of Object.entries(values)) this.exports[`assay_${name}`].value = value; }
  ask(kind, program, given, { instructions, room = OUTPUT_MAX }) {
    const head = Buffer.alloc(5);
    head.write(kind);
    head.writeUInt32LE(program.length, 1);
    const request = Buffer.concat([head, program, given]), place = this.written - INPUT_MAX;
    if (request.length > INPUT_MAX || room > OUTPUT_MAX) throw new Error('a request or its room is too large');
    Buffer.from(this.exports.memory.buffer).set(request, place);
    this.set({ given: place, given_end: place + request.length, written: this.written, written_end: this.written + room });
    const rate = this.get('rate'), fuel = BigInt(instructions) / rate;
    this.set({ fuel, clock: BigInt.asIntN(64, this.clock + fuel * rate) });
    let stopped = 'returned';
    try { this.exports.serve(); } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error; // this engine's stack is full
      stopped = { 1: `exit ${this.get('status')}`, 2: 'output' }[this.get('end')] ?? 'trap';
    }
    if (this.get('short')) throw new Error('this machine has no memory for a program');
    const isOut = this.get('fuel') < 0n, left = isOut ? 0n : this.get('fuel') * this.get('rate');
    this.clock = this.get('clock') - left;
    const output = new Uint8Array(this.exports.memory.buffer.slice(this.written, this.get('written')));
    return { output, end: isOut ? 'instructions' : stopped, instructions: instructions - Number(left) };
  }
}
const NOTHING = Buffer.alloc(0), LOST = Buffer.from('The interpreter was lost, with all names. The next call starts a new one.\n');
/** Copies of a module. A used one is made fresh again where its memory has not grown: a new one takes three times as long. */
class Copies {
  constructor(module) {
    this.module = module;
    const { exports } = new Copy(module), names = Object.keys(exports).filter((name) => exports[name] instanceof WebAssembly.Global);
    this.memory = Buffer.from(exports.memory.buffer.slice());
    this.globals = names.map((name) => [name.replace('assay_', ''), exports[name].value]);
  }
  open(seed, clock) {
    const copy = this.spare ?? new Copy(this.module);
    this.spare = null;
    return copy.begin(seed, clock);
  }
  close(copy) {
    const memory = Buffer.from(copy.exports.memory.buffer);
    if (memory.length !== this.memory.length) return;
    for (let at = 0; at < memory.length; at += PIECE)
      if (memory.compare(this.memory, at, at + PIECE, at, at + PIECE)) this.memory.copy(memory, at, at, at + PIECE);
    copy.set(Object.fromEntries(this.globals));
    this.spare = copy;
  }
}
const works = {
  run(copies, { kind, program, given = NOTHING, seed = 0n, clock = 0n }, budget) {
    const copy = copies.open(seed, clock), reply = copy.ask(kind, program, given, budget);
    copies.close(copy);
    return reply.end === 'returned' ? { ...reply, end: 'trap' } : reply;
  },
  takeTurns(copies, { texts, seed = 0n, clock = 0n }, { instructions, room, whole }) {
    let copy = null, taken = 0;
    const replies = texts.map((text, k) => {
      copy ??= copies.open(seed + BigInt(k), clock + BigInt(taken));
      const left = Math.min(instructions, whole - taken), reply = copy.ask('T', text, NOTHING, { instructions: left - (left % EVEN), room });
      taken += reply.instructions;
      if (reply.end === 'returned') return reply;
      copies.close(copy);
      copy = null;
      return { ...reply, output: LOST };
    });
    if (copy) copies.close(copy);
    return replies;
  },
};

setFlagsFromString('--liftoff-only'); // programs are short: the second compiler takes longer than it saves
if (!isMainThread) {
  const { image, port, done } = workerData;
  let copies;
  port.on('message', (message) => {
    const [work, ...given] = message;
    try { port.postMessage({ reply: works[work]((copies ??= new Copies(new WebAssembly.Module(image))), ...given) }); } catch (error) { port.postMessage({ fault: error.message }); }
    Atomics.store(done, 0, 1);
    Atomics.notify(done, 0);
  });
}

module.exports = { EVEN, Guest, INPUT_MAX, OUTPUT_MAX, findImage };
