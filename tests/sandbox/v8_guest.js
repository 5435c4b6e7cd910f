'use strict';
// Runs programs in V8, by the host of the second implementation. Argument: the image's SHA-256. Requests are lines of
// JSON, [program, input, instructions]; answers are [output in base64, end, instructions].
const { createInterface } = require('node:readline');
const { Guest, findImage } = require('../vectors/second/guest.js');

const guest = new Guest(findImage(process.argv[2]));
createInterface({ input: process.stdin }).on('line', (line) => {
  const [program, given, budget] = JSON.parse(line);
  const { output, end, instructions } = guest.run({ kind: 'S', program: Buffer.from(program), given: Buffer.from(given) }, { instructions: budget });
  console.log(JSON.stringify([output.toString('base64'), end, instructions]));
});
