'use strict';
// Worlds that reply: docs/environments.md. A state is { problem, left, guess }, of rooms { problem, left, robot, isRead }.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { hash } = require('./core.js');
const errands = require('./errands.js');
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
// ---- rooms
const ROOM_TURNS = [8, 12, 16, 20, 24, 28], WAYS = { north: [-1, 0], south: [1, 0], east: [0, 1], west: [0, -1] };
function describeView(world, { cell, things }) {
  const inside = (row, column) => row >= 0 && column >= 0 && row < world.side && column < world.side;
  const isEnd = (at) => world.grid[at] === 'X' || world.names.some((name) => errands.isKey(name) && world.goals[name] === at && things[name] !== 'used');
  const row = Math.floor(cell / world.side), column = cell % world.side, nameOf = (at) => errands.nameCell(world, things, at);
  const ways = Object.entries(WAYS).map(([way, [down, right]]) => {
    let seen = '';
    for (let r = row + down, c = column + right; ; r += down, c += right) {
      if (!inside(r, c)) return `${way} ${seen}X`;
      seen += nameOf(r * world.side + c);
      if (isEnd(r * world.side + c)) return `${way} ${seen}`;
    }
  });
  const held = world.names.find((name) => things[name] === 'held') ?? 'nothing';
  return `row ${row + 1}, column ${column + 1}: ${ways.join(', ')}, here ${nameOf(cell)}, hand ${held}`;
}
function makeRooms(stream, level) {
  const { world } = errands.draw(stream, level), turns = ROOM_TURNS[level - 1];
  const question = [
    `A robot in a house of ${world.side} by ${world.side} cells carries one thing at a time. ${errands.writeTasks(world)}`, ...errands.writeDoors(world),
    'Commands: north (up), south, east, west: one cell. take: what lies here. put: a parcel at its place, in capitals. What follows one that cannot be done is skipped.',
    `You have ${turns} turns. Replies say what is seen each way up to a wall, X, or a closed door.`,
    describeView(world, errands.begin(world)),
  ].map((line) => `${line}\n`).join(''), asked = 'End each turn with a line of 1 to 8 commands, a space between two.\n';
  return { level, question, request: asked, prompt: question + asked, world, turns };
}
const trim = (text) => text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');
function stepRooms({ problem, left, robot }, turn) {
  const words = trim(trim(turn).split(/[\r\n]/).at(-1)).split(' '), isRead = words.length <= 8 && words.every((word) => errands.COMMANDS.includes(word));
  let failed = '';
  for (const command of isRead ? words : []) {
    const following = errands.act(problem.world, robot, command);
    if (following === null) { failed = `${command}: cannot be done\n`; break; }
    robot = following;
  }
  const after = { problem, left: left - 1, robot, isRead };
  if (errands.isDone(problem.world, robot) || after.left <= 0) return [after, null];
  if (!isRead) return [after, `Write 1 to 8 of these words: ${errands.COMMANDS.join(', ')}.\n`];
  return [after, `${failed}${describeView(problem.world, robot)}\n`];
}

const begin = (problem) => (problem.world ? { problem, left: problem.turns, robot: errands.begin(problem.world), isRead: false } : { problem, left: problem.turns, guess: null });
/** The next state, and the world's reply or null. */
function step(state, turn) {
  if (state.problem.world) return stepRooms(state, turn);
  const { problem, left } = state;
  const word = turn.split(/[ \t\r\n]+/).filter((each) => each).at(-1) ?? '', guess = problem.isGuess(word) ? word : null;
  const after = { problem, left: left - 1, guess };
  if (guess === problem.secret || after.left <= 0) return [after, null];
  return [after, guess === null ? `Guess ${problem.kind}.\n` : `${problem.compare(guess)}\n`];
}
const isRight = ({ problem, guess, robot }) => (problem.world ? errands.isDone(problem.world, robot) : guess === problem.secret);
const scoreOf = (state) => ((state.problem.world ? !state.isRead : state.guess === null) ? UNREAD : rate(isRight(state) ? 1 : 0, 1));

// ---- proof episodes, of which the page has the turns
const PAGE = readFileSync(join(__dirname, '../../../docs/environments.md'), 'utf8');
const textsOf = (cell) => [...cell.matchAll(/`(".*?")`/g)].map(([, text]) => JSON.parse(text));
const ODD = textsOf(/^All worlds: (.*)\.$/m.exec(PAGE)[1]);
const TURNS = Object.fromEntries(['codes', 'guess', 'rooms'].map((name) => [name, [...textsOf(new RegExp(`^\\| \`${name}\` \\| (\`".*) \\|`, 'm').exec(PAGE)[1]), ...ODD]]));
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
module.exports = { begin, makeCode, makeNumber, makeRooms, proof, scoreOf, step };
