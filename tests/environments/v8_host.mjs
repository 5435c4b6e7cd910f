// The host of `assay/environments/programs/interpreter.py` once more, for the engine of Node (V8): answers
// requests, one line of JSON each, [program, input in base64, instructions], with [output, end, instructions].
// Arguments: the module, its options, the bytes that it has for arguments, input and output, the most bytes of
// output, what a run and a written byte cost.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [file, heap, ...numbers] = process.argv.slice(2);
const [hostBytes, outputMax, runCost, byteCost] = numbers.map(Number);
const module = new WebAssembly.Module(readFileSync(file));

function pack(texts) {
  const parts = texts.map((text) => Buffer.from(text + "\0"));
  const head = Buffer.alloc(8 + 4 * parts.length);
  const size = parts.reduce((place, part, n) => {
    head.writeUInt32LE(place, 8 + 4 * n);
    return place + part.length;
  }, 0);
  head.writeUInt32LE(parts.length, 0);
  head.writeUInt32LE(size, 4);
  return Buffer.concat([head, ...parts]);
}

function run(program, given, instructions) {
  const { exports } = new WebAssembly.Instance(module, {});
  const top = exports.memory.buffer.byteLength;
  const args = pack(["micropython", "-X", heap, "-c", program]);
  const [place, written] = [top - hostBytes, top - outputMax];
  Buffer.from(exports.memory.buffer, place).set(Buffer.concat([args, given]));
  const begin = place + args.length;
  const set = { arguments: place, given: begin, given_end: begin + given.length, written, written_end: top };
  for (const [name, value] of Object.entries(set)) exports[`assay_${name}`].value = value;
  exports.assay_fuel.value = BigInt(instructions - runCost);
  let end = "exit 0";
  try {
    exports._start();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error; // the engine's own stack is full: no verdict
    end = { 1: `exit ${exports.assay_status.value}`, 2: "output" }[exports.assay_end.value] ?? "trap";
  }
  const output = Buffer.from(exports.memory.buffer.slice(written, exports.assay_written.value));
  const left = Number(exports.assay_fuel.value) - byteCost * output.length;
  return left < 0 ? ["", "instructions", instructions] : [output.toString("base64"), end, instructions - left];
}

for await (const line of createInterface({ input: process.stdin })) {
  const [program, given, instructions] = JSON.parse(line);
  console.log(JSON.stringify(run(program, Buffer.from(given, "base64"), instructions)));
}
