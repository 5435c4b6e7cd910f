'use strict';
// Runs programs in V8, by the host of the second implementation. Argument: the image's SHA-256. Requests are lines of
// JSON: [program, input, instructions], or { texts, instructions, room, whole } of turns. Answers are
// [output in base64, end, instructions], and a list of these.
const { createInterface } = require('node:readline');
const { Guest, findImage } = require('../vectors/second/guest.js');

const guest = new Guest(findImage(process.argv[2]));
const write = ({ output, end, instructions }) => [Buffer.from(output).toString('base64'), end, instructions];
function answer(request) {
  if (!Array.isArray(request)) return guest.takeTurns({ texts: request.texts.map((text) => Buffer.from(text)) }, request).map(write);
  const [program, given, instructions] = request;
  return write(guest.run({ kind: 'S', program: Buffer.from(program), given: Buffer.from(given) }, { instructions }));
}
createInterface({ input: process.stdin }).on('line', (line) => console.log(JSON.stringify(answer(JSON.parse(line)))));
