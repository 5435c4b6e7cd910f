'use strict';
// Worlds that reply: docs/environments.md. A state is { problem, left, guess }.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { hash } = require('./core.js');
const { rate, UNREAD } = require('./rules.js');

const NUMBERS = [[10, 4], [20, 5], [50, 6], [100, 7], [1000, 10], [10000, 14]]; // numbers, turns
const CODES = [[2, 3, 4], [2, 4, 5], [3, 4, 6], [3, 6, 8], [4, 6, 10], [4, 8, 12]]; // places, digits, turns
const request = 'End each turn with your guess.\n';

function makeNumber(stream, level) {
  const [numbers, turns] = NUMBERS[level - 1], secret = `${stream.between(0, numbers - 1)}`, kind = `a number from 0 to ${numbers - 1}`;
  const question = `Guess ${kind} in ${turns} turns. Replies say if it is higher or lower.\n`;
  const isGuess = (word) => /^(0|[1-9][0-9]{0,17})$/.test(word) && Number(word) < numbers;
  const compare = (guess) => (Number(guess) < Number(secret) ? 'higher' : 'lower');
  return { level, question, request, prompt: question + request, secret, turns, kind, isGuess, compare };
}
function makeCode(stream, level) {
  const [places, digits, turns] = CODES[level - 1], secret = Array.from({ length: places }, () => stream.between(0, digits - 1)).join('');
  const kind = `a code of ${places} digits from 0 to ${digits - 1}`;
  const question = `Guess ${kind} in ${turns} turns. Digits may repeat. Replies say how many digits are right, and how many others are misplaced.\n`;
  const isGuess = (word) => new RegExp(`^[0-${digits - 1}]{${places}}$`).test(word), count = (text, digit) => text.split(digit).length - 1;
  const compare = (guess) => {
    const right = [...guess].filter((digit, i) => digit === secret[i]).length;
    const both = [...'01234567'].reduce((sum, digit) => sum + Math.min(count(guess, digit), count(secret, digit)), 0);
    return `${right} right, ${both - right} misplaced`;
  };
  return { level, question, request, prompt: question + request, secret, turns, kind, isGuess, compare };
}
const begin = (problem) => ({ problem, left: problem.turns, guess: null });
/** The next state, and the world's reply or null. */
function step({ problem, left }, turn) {
  const word = turn.split(/[ \t\r\n]+/).filter((each) => each).at(-1) ?? '', guess = problem.isGuess(word) ? word : null;
  const after = { problem, left: left - 1, guess };
  if (guess === problem.secret || after.left <= 0) return [after, null];
  return [after, guess === null ? `Guess ${problem.kind}.\n` : `${problem.compare(guess)}\n`];
}
const scoreOf = ({ problem, guess }) => (guess === null ? UNREAD : rate(guess === problem.secret ? 1 : 0, 1));

// ---- proof episodes, of which the page has the turns
const PAGE = readFileSync(join(__dirname, '../../../docs/environments.md'), 'utf8');
const textsOf = (cell) => [...cell.matchAll(/`(".*?")`/g)].map(([, text]) => JSON.parse(text));
const ODD = textsOf(/^All worlds: (.*)\.$/m.exec(PAGE)[1]);
const TURNS = Object.fromEntries(['codes', 'guess'].map((name) => [name, [...textsOf(new RegExp(`^\\| \`${name}\` \\| (\`".*) \\|`, 'm').exec(PAGE)[1]), ...ODD]]));
/** The digest of the replies to them; make(seed, level): a problem. */
function proof(name, make) {
  const turns = TURNS[name], fields = turns.flatMap((_, i) => {
    const seed = Buffer.alloc(32);
    seed[31] = i;
    const problem = make(seed, (i % 6) + 1), said = [Buffer.from(problem.prompt)];
    let state = begin(problem), reply;
    for (const turn of [...turns.slice(i), ...turns.slice(0, i)]) {
      [state, reply] = step(state, turn);
      if (reply === null) break;
      said.push(Buffer.from(`\u0001${reply}`));
    }
    const [correctness, , , format] = scoreOf(state);
    return [...said, Buffer.from([0, correctness > 0 ? 1 : 0, format > 0 ? 1 : 0])];
  });
  return hash('environment-proof', ...fields);
}
module.exports = { begin, makeCode, makeNumber, proof, scoreOf, step };
