'use strict';
// A robot's errands: docs/environments.md.
const { answerOf } = require('./prompts.js');
const { rate, UNREAD } = require('./rules.js');
const COMMANDS = ['north', 'south', 'east', 'west', 'take', 'put'];
// side, walls, doors, parcels, the shortest way's least and most commands
const PLANS = [
  [4, 0, 0, 1, 4, 5], [4, 10, 0, 1, 6, 7], [5, 20, 0, 1, 8, 10], [5, 15, 1, 1, 11, 14],
  [6, 15, 1, 1, 15, 19], [6, 15, 1, 2, 20, 26], [7, 15, 2, 2, 27, 34], [8, 15, 2, 3, 35, 46],
];

/** A map as {side, doors, start, grid: cell → 'X' or '.', names, spots, goals by name}; null: too few free cells. */
function drawWorld(stream, [side, walls, doors, parcels]) {
  const grid = Array(side * side).fill(null), goals = {}, spots = {}, below = (n) => stream.between(0, n - 1);
  for (let i = 0; i < doors; i++) {
    const row = below(side), column = Math.floor(((i + 1) * side) / (doors + 1));
    for (let r = 0; r < side; r++) grid[r * side + column] = r === row ? 'door' : 'X';
    goals['ab'[i]] = row * side + column;
  }
  grid.forEach((cell, i) => { if (cell === null) grid[i] = below(100) < walls ? 'X' : '.'; });
  const free = grid.flatMap((cell, i) => (cell === '.' ? [i] : [])), needed = 1 + doors + 2 * parcels;
  if (free.length < needed) return null;
  const [start, ...places] = stream.sample(free.length, needed).map((i) => free[Number(i)]);
  const names = [...'ab'.slice(0, doors), ...'pqr'.slice(0, parcels)];
  names.forEach((name, i) => { spots[name] = places[i]; });
  [...'pqr'.slice(0, parcels)].forEach((name, i) => { goals[name] = places[names.length + i]; });
  return { side, grid, start, names, spots, goals };
}
const isKey = (name) => 'ab'.includes(name);
/** Things are in their place ('lies'), in the hand, or used: a door is open, a parcel at its dock. */
function act(world, { cell, things }, command) {
  const held = world.names.find((name) => things[name] === 'held');
  if (command === 'take') {
    const here = world.names.find((name) => things[name] === 'lies' && world.spots[name] === cell);
    return held || !here ? null : { cell, things: { ...things, [here]: 'held' } };
  }
  if (command === 'put') return held && !isKey(held) && world.goals[held] === cell ? { cell, things: { ...things, [held]: 'used' } } : null;
  const [down, right] = { north: [-1, 0], south: [1, 0], east: [0, 1], west: [0, -1] }[command];
  const row = Math.floor(cell / world.side) + down, column = (cell % world.side) + right;
  if (row < 0 || column < 0 || row >= world.side || column >= world.side) return null;
  const next = row * world.side + column;
  if (world.grid[next] === 'X') return null;
  const key = world.names.find((name) => isKey(name) && world.goals[name] === next);
  if (!key || things[key] === 'used') return { cell: next, things };
  return things[key] === 'held' ? { cell: next, things: { ...things, [key]: 'used' } } : null;
}
const begin = (world) => ({ cell: world.start, things: Object.fromEntries(world.names.map((name) => [name, 'lies'])) });
const isDone = (world, { things }) => world.names.every((name) => isKey(name) || things[name] === 'used');
/** How many commands the shortest way takes; null: more than `most`. */
function measure(world, most) {
  const name = ({ cell, things }) => [cell, ...Object.values(things)].join();
  let reached = [begin(world)];
  const seen = new Set(reached.map(name));
  for (let count = 1; count <= most; count++) {
    reached = reached.flatMap((state) => COMMANDS.map((command) => act(world, state, command))).filter((after) => after && !seen.has(name(after)) && seen.add(name(after)));
    if (reached.some((state) => isDone(world, state))) return count;
  }
  return null;
}
/** A world of a level, and how many commands its shortest way takes. */
function draw(stream, level) {
  const plan = PLANS[level - 1];
  for (;;) {
    const world = drawWorld(stream, plan), way = world && measure(world, plan[5]);
    if (way !== null && way >= plan[4]) return { world, way };
  }
}
/** What a cell has, as on a map: a thing that lies there, the goal of one that is not used, a wall or nothing. */
function nameCell({ grid, names, goals, spots }, things, cell) {
  const goal = names.find((name) => goals[name] === cell && things[name] !== 'used');
  const lying = names.find((name) => spots[name] === cell && things[name] === 'lies');
  return goal?.toUpperCase() ?? lying ?? (grid[cell] === 'X' ? 'X' : '.');
}
const writeTasks = ({ names }) => `Bring ${names.filter((n) => !isKey(n)).map((n) => `${n} to ${n.toUpperCase()}`).join(', ')}.`;
const writeDoors = ({ names }) => names.filter(isKey).map((n) => `Key ${n} opens door ${n.toUpperCase()}: step into it with the key, which is used up.`);
function makeErrands(settings, stream, level) {
  const { world, way } = draw(stream, level), allowed = way + Math.floor((way * Number(settings.slack)) / 100);
  const cells = world.grid.map((_, cell) => nameCell(world, begin(world).things, cell));
  cells[world.start] = '@';
  const rows = Array.from({ length: world.side }, (_, r) => cells.slice(r * world.side, (r + 1) * world.side).join(''));
  const prompt = [
    `A robot at @ carries one thing at a time. X is a wall. ${writeTasks(world)}`, ...writeDoors(world), ...rows,
    'Commands: north (up), south, east, west: one cell. take: what lies here. put: a parcel at its place, in capitals. One that cannot be done ends it all.',
    `End with a line of ####, a space and at most ${allowed} commands, a space between two.`,
  ];
  return { level, world, allowed, prompt: `${prompt.join('\n')}\n` };
}
function scoreErrands({ world, allowed }, completion) {
  const said = answerOf(completion), found = /(?:^|\n)#### ([\s\S]*)$/.exec(said), commands = found ? found[1].split(' ') : [];
  const legal = said.split('####').length === 2 && commands.length <= allowed && commands.length && commands.every((c) => COMMANDS.includes(c));
  if (!legal) return UNREAD;
  const end = commands.reduce((state, command) => state && act(world, state, command), begin(world));
  return rate(end && isDone(world, end) ? 1 : 0, 1);
}
module.exports = { COMMANDS, act, begin, draw, isDone, isKey, makeErrands, nameCell, scoreErrands, writeDoors, writeTasks };
