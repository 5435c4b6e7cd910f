'use strict';
// Runs of the image in this engine, V8: docs/environments.md, "A run". V8 keeps its frames on the thread's stack, so a
// thread with a large one runs, while this one waits for it.
const { createHash } = require('node:crypto');
const { existsSync, readFileSync } = require('node:fs');
const { homedir } = require('node:os');
const { join } = require('node:path');
const { setFlagsFromString } = require('node:v8');
const { MessageChannel, Worker, isMainThread, receiveMessageOnPort, workerData } = require('node:worker_threads');

const INPUT_MAX = 4 << 20, OUTPUT_MAX = 2 << 20, STACK_MB = 96, PATIENCE_MS = 600000;

/** The bytes of the image with this SHA-256, as `assay sandbox prepare` left it; null: it is not here. */
function findImage(digest) {
  const path = join(homedir(), '.cache/assay/sandbox', `${digest.slice(0, 16)}.wasm`);
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  return createHash('sha256').update(bytes).digest('hex') === digest ? bytes : null;
}

class Guest {
  constructor(image) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.done = new Int32Array(new SharedArrayBuffer(4));
    const workerData = { image, port: port2, done: this.done };
    new Worker(__filename, { workerData, transferList: [port2], resourceLimits: { stackSizeMb: STACK_MB } }).unref();
  }
  /** { output, end, instructions } of a request { kind, program, given, seed, clock } within { instructions, room }. */
  run(request, budget) {
    this.port.postMessage([request, budget]);
    if (Atomics.wait(this.done, 0, 0, PATIENCE_MS) === 'timed-out') throw new Error(`no verdict within ${PATIENCE_MS} ms`);
    Atomics.store(this.done, 0, 0);
    const { fault, reply } = receiveMessageOnPort(this.port).message;
    if (fault) throw new Error(`no verdict: ${fault}`);
    return { ...reply, output: Buffer.from(reply.output) };
  }
}

function run(module, { kind, program, given = Buffer.alloc(0), seed = 0n, clock = 0n }, { instructions, room = OUTPUT_MAX }) {
  const head = Buffer.alloc(5);
  head.write(kind);
  head.writeUInt32LE(program.length, 1);
  const request = Buffer.concat([head, program, given]);
  if (request.length > INPUT_MAX || room > OUTPUT_MAX) throw new Error('a request or its room is too large');
  const { exports } = new WebAssembly.Instance(module, {}), written = exports.memory.buffer.byteLength - OUTPUT_MAX;
  const place = written - INPUT_MAX, set = (name, value) => (exports[`assay_${name}`].value = value), get = (name) => exports[`assay_${name}`].value;
  Buffer.from(exports.memory.buffer).set(request, place);
  set('given', place), set('given_end', place + request.length), set('written', written), set('written_end', written + room);
  set('seed', BigInt.asIntN(64, seed)), set('clock', BigInt.asIntN(64, clock + BigInt(instructions))), set('fuel', BigInt(instructions));
  try { exports.serve(); } catch (error) { if (!(error instanceof WebAssembly.RuntimeError)) throw error; } // this engine's stack is full
  if (get('short')) throw new Error('this machine has no memory for a program');
  const left = Number(get('fuel') * get('rate')), ended = { 1: `exit ${get('status')}`, 2: 'output' }[get('end')] ?? 'trap';
  const output = Buffer.from(exports.memory.buffer.slice(written, get('written')));
  return { output, end: left < 0 ? 'instructions' : ended, instructions: instructions - Math.max(0, left) };
}

setFlagsFromString('--liftoff-only'); // programs are short: the second compiler takes longer than it saves
if (!isMainThread) {
  const { image, port, done } = workerData;
  let module;
  port.on('message', (message) => {
    try { port.postMessage({ reply: run((module ??= new WebAssembly.Module(image)), ...message) }); } catch (error) { port.postMessage({ fault: error.message }); }
    Atomics.store(done, 0, 1);
    Atomics.notify(done, 0);
  });
}

module.exports = { Guest, INPUT_MAX, OUTPUT_MAX, findImage };
