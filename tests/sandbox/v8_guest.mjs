// One request in a copy of the image (`assay/sandbox/guest/copies.py`), once more for the engine of Node (V8).
// Argument: the image. Requests are lines of JSON, [program, input, instructions]; answers are
// [output in base64, end, instructions].
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [INPUT_MAX, OUTPUT_MAX] = [4 << 20, 2 << 20];
const module = new WebAssembly.Module(readFileSync(process.argv[2]));

function run(program, given, instructions) {
  const { exports } = new WebAssembly.Instance(module, {});
  const end = exports.memory.buffer.byteLength;
  const written = end - OUTPUT_MAX;
  const place = written - INPUT_MAX;
  const [text, input] = [Buffer.from(program), Buffer.from(given)];
  const head = Buffer.alloc(5);
  head.write("S");
  head.writeUInt32LE(text.length, 1);
  const request = Buffer.concat([head, text, input]);
  Buffer.from(exports.memory.buffer, place).set(request);
  const set = { given: place, given_end: place + request.length, written, written_end: end };
  for (const [name, value] of Object.entries(set)) exports[`assay_${name}`].value = value;
  exports.assay_clock.value = BigInt(instructions);
  exports.assay_fuel.value = BigInt(instructions);
  try {
    exports.serve();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error; // the engine's own stack is full: no verdict
  }
  const left = Number(exports.assay_fuel.value);
  const named = { 1: `exit ${exports.assay_status.value}`, 2: "output" }[exports.assay_end.value] ?? "trap";
  const output = Buffer.from(exports.memory.buffer.slice(written, exports.assay_written.value));
  return [output.toString("base64"), left < 0 ? "instructions" : named, instructions - Math.max(0, left)];
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(run(...JSON.parse(line))));
}
