// The host of `assay/environments/programs/interpreter.py` once more, for the engine of Node (V8): answers
// requests, one line of JSON each, [program, input in base64, instructions], with [output, end, instructions].
// Arguments: the metered module, its options, the most bytes of output, what a written byte and a call cost.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [file, heap, outputMax, byteCost, hostCost] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(file));
const [OK, BADF, NOTSUP, PIECES_MAX] = [0, 8, 58, 1024];
class End extends Error {}

function run(program, given, instructions) {
  const args = ["micropython", "-X", heap, "-c", program].map((text) => Buffer.from(text + "\0"));
  const output = [];
  let [place, size, memory, fuel] = [0, 0, null, null];
  const charge = (cost) => {
    fuel.value -= BigInt(cost);
    if (fuel.value < 0n) throw new End("instructions");
  };
  const view = (start, length) => {
    start >>>= 0;
    length >>>= 0;
    if (start + length > memory.buffer.byteLength) throw new End("trap");
    return Buffer.from(memory.buffer, start, length);
  };
  const write = (start, bytes) => void view(start, bytes.length).set(bytes);
  const put = (start, value) => void view(start, 4).writeUInt32LE(value >>> 0);
  const pieces = (start, count) => {
    if (count < 0 || count > PIECES_MAX) throw new End("trap");
    charge(Number(hostCost) * Math.max(0, count - 1));
    const table = view(start, 8 * count);
    return Array.from({ length: count }, (_, i) => [table.readUInt32LE(8 * i), table.readUInt32LE(8 * i + 4)]);
  };
  const none = (count, length) => (put(count, 0), put(length, 0), OK);
  const host = {
    args_sizes_get: (count, length) => {
      put(count, args.length);
      put(length, args.reduce((sum, one) => sum + one.length, 0));
      return OK;
    },
    args_get: (places, text) => {
      for (const one of args) {
        put(places, text);
        write(text, one);
        [places, text] = [places + 4, text + one.length];
      }
      return OK;
    },
    environ_sizes_get: none,
    environ_get: () => OK,
    clock_time_get: (_clock, _precision, start) => (write(start, Buffer.alloc(8)), OK),
    fd_prestat_get: () => BADF,
    fd_fdstat_get: (descriptor, start) => {
      if (descriptor < 0 || descriptor > 2) return BADF;
      write(start, Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(16, 255)]));
      return OK;
    },
    fd_read: (descriptor, table, count, start) => {
      if (descriptor !== 0) return BADF;
      const before = place;
      for (const [at, length] of pieces(table, count)) {
        const piece = given.subarray(place, place + length);
        write(at, piece);
        place += piece.length;
      }
      put(start, place - before);
      return OK;
    },
    fd_write: (descriptor, table, count, start) => {
      if (descriptor !== 1 && descriptor !== 2) return BADF;
      const listed = pieces(table, count);
      const total = listed.reduce((sum, [, length]) => sum + length, 0);
      charge(Number(byteCost) * total);
      for (const [at, length] of descriptor === 1 ? listed : []) {
        if (size + length > Number(outputMax)) throw new End("output");
        output.push(Buffer.from(view(at, length)));
        size += length;
      }
      put(start, total);
      return OK;
    },
    sched_yield: () => OK,
    proc_exit: (status) => {
      throw new End(`exit ${status}`);
    },
    host_result_cap: () => 0,
    host_call: () => -1,
  };
  const imports = {};
  for (const wanted of WebAssembly.Module.imports(module)) {
    imports[wanted.module] ??= {};
    imports[wanted.module][wanted.name] = host[wanted.name] ?? (() => NOTSUP);
  }
  const { exports } = new WebAssembly.Instance(module, imports);
  memory = exports.memory;
  fuel = exports.assay_fuel;
  fuel.value = BigInt(instructions);
  let end = "exit 0";
  try {
    exports._start();
  } catch (error) {
    if (error instanceof End) end = error.message;
    else if (error instanceof WebAssembly.RuntimeError) end = fuel.value < 0n ? "instructions" : "trap";
    else throw error; // the engine's own stack is full: no verdict
  }
  const left = fuel.value < 0n ? 0n : fuel.value;
  return [Buffer.concat(output).toString("base64"), end, instructions - Number(left)];
}

for await (const line of createInterface({ input: process.stdin })) {
  const [program, given, instructions] = JSON.parse(line);
  console.log(JSON.stringify(run(program, Buffer.from(given, "base64"), instructions)));
}
