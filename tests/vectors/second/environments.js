'use strict';
// Problems and their scores: docs/environments.md.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Stream, hash, hex, integer, parse, sha256 } = require('./core.js');
const { makeErrands, scoreErrands } = require('./errands.js');
const instructions = require('./instructions.js');
const programs = require('./programs.js');
const prompts = require('./prompts.js');
const search = require('./search.js');
const words = require('./words.js');
const tooling = require('./tools.js');
const { rate, UNREAD } = require('./rules.js');
const worlds = require('./worlds.js');

const ASCII = (text) => Buffer.from(text, 'latin1');
const [VERSIONS] = /^- \*\*Versions\*\*[^]*?\n(?=- )/m.exec(readFileSync(join(__dirname, '../../../docs/environments.md'), 'utf8'));
const versionOf = (name) => Number(new RegExp(`\`${name.split(':')[0]}\` (\\d+)`).exec(VERSIONS)[1]);
/** The environments whose digests were computed, those of files by their family. */
const computed = new Set();
function environmentDigest(name, settings, ...more) {
  computed.add(name.replace(/:[0-9a-f]{64}$/, ':SHA256'));
  const encoded = Object.keys(settings).sort().map((key) => [integer(2, key.length), ASCII(key), integer(8, settings[key], true)]);
  return hash('environment', ASCII(name), integer(2, versionOf(name)), Buffer.concat(encoded.flat()), ...more);
}
function open(name, seed, levels) {
  const stream = new Stream(hash('environment-stream', ASCII(name), seed));
  return [stream, stream.choose(levels)];
}
const signed = (n) => (n < 0 ? `${n}` : `+${n}`);

// ---- arithmetic
const SUMS = [[2, 9], [3, 9], [4, 9], [2, 49], [3, 49], [4, 49], [2, 99], [3, 99], [4, 99], [3, 999], [5, 999], [8, 9999]];
const NAMES = ['Ada', 'Ben', 'Cleo', 'Dan', 'Eve', 'Finn'], THINGS = ['apples', 'books', 'coins', 'eggs', 'pens', 'shells'];
const INTEGER = '(?:0|-?[1-9][0-9]{0,17})';
const STEP = new RegExp(`^(${INTEGER})([+-][1-9][0-9]{0,17})=(${INTEGER})$`);

function makeSum(settings, seed, levels) {
  const [stream, level] = open('arithmetic', seed, levels);
  const [count, largest] = SUMS[level - 1];
  const terms = [stream.between(1, largest)];
  while (terms.length < count) {
    const size = stream.between(1, largest);
    terms.push(stream.between(0, 99) < settings.minus ? -size : size);
  }
  if (stream.between(0, 99) >= settings.words) return { level, terms, prompt: `${terms[0]}${terms.slice(1).map(signed).join('')}=?\n` };
  const name = stream.choose(NAMES), things = stream.choose(THINGS);
  const parts = terms.slice(1).map((v) => `${v > 0 ? 'adds' : 'takes away'} ${Math.abs(v)}`);
  return { level, terms, prompt: `${[`${name} counts ${terms[0]} ${things}`, ...parts].join(', ')}. How many?\n` };
}
function scoreSum({ terms }, completion) {
  const said = prompts.answerOf(completion), lines = said.split('\n'), last = lines.pop();
  if (said.split('####').length !== 2 || !new RegExp(`^#### ${INTEGER}$`).test(last)) return UNREAD;
  const total = terms.reduce((a, b) => a + b), expected = terms.length - 1;
  return rate(last === `#### ${total}` ? 1 : 0, 1, Math.floor((countSteps(terms, lines) * 1000000) / expected));
}
function countSteps(terms, lines) {
  if (lines.length > terms.length - 1) return 0;
  const unused = terms.map(BigInt);
  const use = (n) => { const i = unused.indexOf(n); if (i >= 0) unused.splice(i, 1); return i >= 0; };
  let reached = null;
  for (const [standing, line] of lines.entries()) {
    const match = STEP.exec(line);
    if (!match) return standing;
    const [left, right, result] = match.slice(1).map(BigInt);
    if (reached === null ? !use(left) : left !== reached) return standing;
    if (!use(right) || left + right !== result) return standing;
    reached = result;
  }
  return lines.length;
}

// ---- sat
const AGREEING = {
  3: [0, 618034, 381966, 236068], 4: [0, 839287, 704402, 591195, 496183], 5: [0, 927562, 860371, 798048, 740239, 686617],
};
function makeFormula(settings, seed, levels) {
  const [stream, level] = open('sat', seed, levels);
  const bit = () => stream.between(0, 1);
  const plan = Array.from({ length: level }, bit);
  const clauses = Array.from({ length: Math.floor((level * Number(settings.density)) / 100) }, () => {
    const chosen = [];
    while (chosen.length < settings.k) { const v = stream.between(0, level - 1); if (!chosen.includes(v)) chosen.push(v); }
    for (;;) {
      const signs = chosen.map(bit), agreeing = signs.filter((s, i) => s === plan[chosen[i]]).length;
      if (stream.between(0, 999999) < AGREEING[settings.k][agreeing]) return chosen.map((v, i) => (signs[i] ? v + 1 : -v - 1));
    }
  });
  const prompt = [
    `Set x1 to x${level} to 0 or 1 so that each line below has a number that holds: 3 holds if x3 is 1, -3 holds if x3 is 0.`,
    ...clauses.map((clause) => clause.join(' ')),
    `End with a line of #### , a space and the ${level} digits of x1 to x${level}.`,
  ];
  return { level, clauses, prompt: `${prompt.join('\n')}\n` };
}
function scoreFormula({ level, clauses }, completion) {
  const said = prompts.answerOf(completion), last = said.slice(said.lastIndexOf('\n') + 1);
  const found = /^#### ([01]+)$/.exec(last);
  if (said.split('####').length !== 2 || !found || found[1].length !== level) return UNREAD;
  const holds = clauses.filter((clause) => clause.some((x) => (found[1][Math.abs(x) - 1] === '1') === x > 0)).length;
  return rate(holds, clauses.length);
}

// ---- gsm
const PEOPLE = [...NAMES, 'Gus', 'Hana'];
function makeStory(settings, seed, levels, themes) {
  const [stream, level] = open('gsm', seed, levels);
  const { things, sentences } = themes[stream.between(0, themes.length - 1)];
  const t = stream.choose(things), [a, b] = stream.sample(PEOPLE.length, 2).map((i) => PEOPLE[Number(i)]);
  const largest = Number(settings.largest), say = (kind, n, m) => {
    const words = { a, b, t, n, m };
    return sentences[kind].replace(/\{(\w)\}/g, (_, name) => words[name]);
  };
  let total = stream.between(2, largest), left = level;
  const told = [say(0, total)], worked = [];
  const work = (x, sign, y, z) => worked.push(`${x}${sign}${y}=<<${x}${sign}${y}=${z}>>${z}`) && z;
  while (left > 0) {
    const kind = stream.between(1, 5), divisors = [2, 3, 4, 5, 6, 7, 8, 9].filter((d) => total % d === 0);
    if (kind === 2 && total > 1) {
      const n = stream.between(1, Math.min(total - 1, largest));
      told.push(say(2, n)), (total = work(total, '-', n, total - n));
    } else if (kind === 3 && 5 * total <= 100000) {
      const n = stream.between(2, 5);
      told.push(say(3, n)), (total = work(total, '*', n, total * n));
    } else if (kind === 4 && divisors.length) {
      const n = stream.choose(divisors);
      told.push(say(4, n)), (total = work(total, '/', n, total / n));
    } else if (kind === 5 && left > 1) {
      const n = stream.between(2, 12), m = stream.between(2, 9);
      told.push(say(5, n, m)), work(m, '*', n, m * n), (total = work(total, '+', m * n, total + m * n)), left--;
    } else {
      const n = stream.between(1, largest);
      told.push(say(1, n)), (total = work(total, '+', n, total + n));
    }
    left--;
  }
  const question = [...told, say(6)].join(' '), form = Number(settings.answer_form), request = prompts.request(form, 'the answer as a whole number');
  return { level, question, request, prompt: question + request, form, total, solution: [...worked, `#### ${total}`].join('\n') };
}
function scoreStory({ total, form }, completion) {
  const grouped = `${total}`.replace(/\B(?=([0-9]{3})+$)/g, ','), number = prompts.readAnswer(form, completion)?.replace(/[ \t\r\n]+$/, '') ?? '';
  if (!new RegExp(`^(?:${INTEGER}|-?[1-9][0-9]{0,2}(,[0-9]{3}){1,5})$`).test(number)) return UNREAD;
  return rate([`${total}`, grouped].includes(number) ? 1 : 0, 1);
}

/** The word problems of a file by level, and the numbers of rows that are not asked; RangeError where it is damaged. */
function readStories(lines) {
  const values = new Map(), kept = [], skipped = [];
  lines.forEach((line, i) => {
    const { question, answer } = instructions.readRow(line, 'question', 'answer');
    requireThat(instructions.isQuestion(question) && typeof answer === 'string' && !instructions.CONTROL.test(answer), 'no question, or no answer');
    const [, written] = /^(?:[^]*\n)?#### (-?[0-9]{1,3}(?:,[0-9]{3})+|-?[0-9]+)[ \t\r\n]*$/.exec(answer) ?? [], value = written?.replaceAll(',', '');
    requireThat(new RegExp(`^${INTEGER}$`).test(value) && answer.split('####').length === 2, 'no number behind the only ####');
    requireThat((values.get(question) ?? value) === value, 'two rows ask the same, and their answers differ');
    if (values.has(question)) return skipped.push(i + 1);
    values.set(question, value), kept.push({ question, total: value, steps: answer.split('\n').length });
  });
  const k = Math.min(8, kept.length), rows = kept.sort((a, b) => a.steps - b.steps), end = (l) => Math.floor((l * rows.length) / k);
  return { skipped, levels: new Map(Array.from({ length: k }, (_, l) => [l + 1, rows.slice(end(l), end(l + 1))])) };
}

// ---- mix
/** The part that is asked, its number and those of its levels that may be. */
function drawPart(settings, seed, levels) {
  const names = partsOf(settings);
  const stream = new Stream(hash('environment-stream', ASCII('mix'), seed));
  const asked = names.map((_, i) => levels.filter((l) => Math.floor(l / 1000) === i + 1).map((l) => l % 1000));
  const weights = names.map((name, i) => (asked[i].length ? Number(settings[name]) : 0));
  let drawn = stream.between(0, weights.reduce((x, y) => x + y) - 1), part = 0;
  while (drawn >= weights[part]) drawn -= weights[part++];
  return { part, name: names[part], levels: asked[part] };
}
function makeMixed(settings, seed, levels, themes) {
  const { part, name, levels: asked } = drawPart(settings, seed, levels), problem = MAKE[name](ownOf(settings, name), seed, asked, themes);
  return { ...problem, level: 1000 * (part + 1) + problem.level, part: name, problem };
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a), reduced = (shares) => shares.map((share) => share / shares.reduce(gcd));
/** How often each level is asked by the settings alone, as coprime integers. */
function sharesOf(name, settings, levels) {
  if (name !== 'mix') return levels.map(() => 1n);
  const names = partsOf(settings), partOf = (level) => Number(level / 1000n) - 1;
  const counts = names.map((_, i) => BigInt(levels.filter((l) => partOf(l) === i).length));
  const whole = counts.filter((n) => n).reduce((a, b) => (a * b) / gcd(a, b), 1n);
  return reduced(levels.map((l) => (BigInt(settings[names[partOf(l)]]) * whole) / counts[partOf(l)]));
}
/** The same with the weights in force. */
const askedShares = (name, settings, pairs) => {
  const shares = sharesOf(name, settings, pairs.map((pair) => pair.level));
  return reduced(shares.map((share, i) => share * pairs[i].weight));
};

// ---- worlds: begin(problem) is a state, step(state, turn) the next one with a reply or null, scoreOf(state) its score
const scoreTurn = (problem, text) => worlds.scoreOf(worlds.step(worlds.begin(problem), text)[0]);
const single = (name) => ({ begin: (problem) => ({ problem, text: '' }), step: ({ problem }, text) => [{ problem, text }, null], scoreOf: ({ problem, text }) => score[name](problem, text) });
const REPLYING = ['codes', 'guess', 'rooms'], worldOf = (name) => (REPLYING.includes(name) ? worlds : single(name));
const MAKE = {
  arithmetic: makeSum, codes: (_, ...given) => worlds.makeCode(...open('codes', ...given)), errands: (settings, ...given) => makeErrands(settings, ...open('errands', ...given)),
  gsm: makeStory, guess: (_, ...given) => worlds.makeNumber(...open('guess', ...given)), mix: makeMixed, rooms: (_, ...given) => worlds.makeRooms(...open('rooms', ...given)), sat: makeFormula,
};
const score = {
  arithmetic: scoreSum, codes: scoreTurn, errands: scoreErrands, gsm: scoreStory, guess: scoreTurn,
  mix: ({ part, problem }, text) => score[part](problem, text), rooms: scoreTurn, sat: scoreFormula,
};
/** Further fields of a digest: what proof episodes of a world give. */
const provedBy = (name) => (REPLYING.includes(name) ? [worlds.proof(name, (seed, level) => MAKE[name]({}, seed, [level]))] : []);

const LEVELS = { arithmetic: [1, 12], codes: [1, 6], errands: [1, 8], gsm: [1, 8], guess: [1, 6], rooms: [1, 6], sat: [5, 200] };
const span = ([low, high], offset) => Array.from({ length: high - low + 1 }, (_, i) => BigInt(offset + low + i));
/** The problems of a file whose answers are programs. */
function openPrograms(name, { readProblems, image }) {
  requireThat(readProblems && image, `${name} needs its file, and the image that runs programs`);
  const digest = name.slice(5), rows = programs.readFile(readProblems(digest), digest), runner = new programs.Runner(image);
  return {
    legal: [...rows.keys()].map(BigInt),
    digested: [ASCII(hex(sha256(image)))],
    make: (settings, seed, levels) => {
      const [stream, level] = open(name, seed, levels), row = stream.choose(rows.get(level));
      return { level, row, settings, prompt: programs.write(row) };
    },
    score: ({ row, settings }, completion) => runner.score(row, completion, settings),
  };
}
/** A file's rows as lines of JSON. */
function linesOf(name, { readProblems }) {
  requireThat(readProblems, `${name} needs its file`);
  const [, digest] = name.split(':'), data = readProblems(digest);
  requireThat(hex(sha256(data)) === digest, `${name} is another file`);
  return `${data}`.split('\n').filter((line) => line.trim());
}
/** One of a level's rows, each equally likely. */
function drawRow(name, levels, seed, asked) {
  const [stream, level] = open(name, seed, asked);
  return { level, row: stream.choose(levels.get(level)) };
}
const legalIn = ({ levels }) => [...levels.keys()].sort((a, b) => a - b).map(BigInt);
/** The questions of a file, and the tool that searches its documents. */
function openSearch(name, tools) {
  const read = search.readFile(linesOf(name, tools));
  return {
    legal: legalIn(read),
    digested: [],
    make: ({ answer_form: form }, ...given) => { const { level, row } = drawRow(name, read.levels, ...given); return { ...search.ask(row, Number(form)), level }; },
    score: search.score,
    bind: (tool, { passages, characters }) => search.openTool(tool, read, Number(passages), Number(characters)),
  };
}
/** The questions of a file with short answers in words. */
function openWords(name, tools) {
  const read = words.readFile(linesOf(name, tools));
  return {
    ...read, legal: legalIn(read), digested: [], score: words.score,
    make: ({ answer_form: form }, ...given) => { const { level, row } = drawRow(name, read.levels, ...given); return { ...words.ask(row, Number(form)), level }; },
  };
}
/** The word problems of a file. */
function openStories(name, tools) {
  const read = readStories(linesOf(name, tools));
  return {
    ...read, legal: legalIn(read), digested: [], score: scoreStory,
    make: ({ answer_form }, ...given) => {
      const { level, row: { question, total } } = drawRow(name, read.levels, ...given), form = Number(answer_form), request = prompts.request(form, 'the answer as a whole number');
      return { level, question, request, prompt: question + request, form, total };
    },
  };
}
/** The prompts of a file, with instructions. */
function openInstructions(name, tools) {
  const read = instructions.readFile(linesOf(name, tools));
  return {
    ...read, legal: legalIn(read), digested: [], score: instructions.score,
    make: (_, ...given) => { const { level, row } = drawRow(name, read.levels, ...given); return { ...row, level, prompt: `${row.question}\n`, question: `${row.question}\n` }; },
  };
}
const OPENS = { code: openPrograms, gsm: openStories, instructions: openInstructions, search: openSearch, text: openWords };
const legalOf = (name, parts) => (parts.length ? parts.flatMap((part, i) => span(LEVELS[part], 1000 * (i + 1))) : span(LEVELS[name], 0));
const partsOf = (settings) => Object.keys(settings).filter((key) => !key.includes('.')).sort();
const ownOf = (settings, part) =>
  Object.fromEntries(Object.entries(settings).filter(([key]) => key.startsWith(`${part}.`)).map(([key, v]) => [key.split('.')[1], v]));
/** Settings: their values where they are left out, the least and the largest. */
const SETTINGS = {
  arithmetic: { minus: [0, 0, 100], words: [0, 0, 100] }, codes: {}, guess: {}, rooms: {}, errands: { slack: [50, 0, 200] },
  code: programs.SETTINGS,
  search: { passages: [3, 1, 10], characters: [600, 100, 4000], answer_form: [0, 0, 3], tool: [tooling.SEARCH, tooling.SEARCH, tooling.SEARCH] },
  gsm: { largest: [20, 5, 1000], answer_form: [0, 0, 3] }, 'gsm:SHA256': { answer_form: [0, 0, 3] }, text: { answer_form: [0, 0, 3] }, sat: { k: [3, 3, 5], density: [426, 100, 3000] },
};
const MANNER = { bos: [0, 0, 1], plain: [0, 0, 1] };
function requireThat(holds, otherwise) { if (!holds) throw new RangeError(otherwise); }
/** One environment that is no mixture, in the manner that its settings and its record of prompts say. */
function openPart(name, given, record, { digested = provedBy(name), bind, image }) {
  const declared = { ...MANNER, ...tooling.SETTINGS, ...(SETTINGS[name.replace(/:.*/, ':SHA256')] ?? SETTINGS[name.split(':')[0]]) }, odd = Object.keys(given).find((key) => !(key in declared));
  requireThat(odd === undefined, `${name} has no setting ${odd}`);
  const all = Object.fromEntries(Object.entries(declared).map(([key, [value, least, most]]) => {
    const chosen = given[key] ?? BigInt(value);
    requireThat(chosen >= least && chosen <= most, `${key} of ${name} is out of its range`);
    return [key, chosen];
  }));
  const { bos, plain, tool, call_form: form, tool_units: units, ...own } = all, isPut = bos || plain || record, tooled = tooling.find({ tool, call_form: form, tool_units: units });
  requireThat(!tooled || !REPLYING.includes(name), `the worlds of ${name} reply already`);
  requireThat(bind || Number(tool) !== tooling.SEARCH, `${name} has no documents to search`);
  if (bind) tooled.tool = bind(tooled.tool, own);
  requireThat(!tooled?.tool.open || image, 'the tool python needs the image that runs programs');
  if (tooled?.tool.open) tooled.tool = tooled.tool.open(tooled.tool, image, Number(units));
  const bare = environmentDigest(name, own, ...digested), inner = tooled ? tooling.digest(bare, tooled) : bare;
  const settings = { ...own, ...(tooled && { tool, call_form: form }), ...(tooled?.tool.identity && { tool_units: units }), ...(isPut && { bos, plain }) };
  return { settings, digest: prompts.digest(inner, bos, plain, record), tooled, manner: { record, bos: bos === 1n, plain: plain === 1n, tools: tooled?.tools ?? null } };
}
/** The world of a problem that foreign code has not made: one turn, which earns nothing. */
const UNMADE = { begin: () => null, step: () => [null, null], scoreOf: () => [0n, 0n, 0n, 0n], record: null };
/** The environment that parameters choose; RangeError where it is none of those here.
 * `tools`, for programs and searches: { readProblems: the bytes of a file by its SHA-256, image: what runs them }. */
function openEnvironment({ name, settings: chosen, prompts: records, digest }, tools = {}) {
  const given = Object.fromEntries(chosen.map((s) => [s.name, s.value])), names = name === 'mix' ? partsOf(given) : [name];
  const strange = records.find(({ part }) => !names.includes(part));
  requireThat(!strange, `prompts of ${strange?.part}, which is no part of the environment`);
  const own = names.filter((part) => !(part in MAKE)), [family] = name.split(':'), file = `${own}` === name && Object.hasOwn(OPENS, family) ? OPENS[family](name, tools) : null;
  requireThat(file || !own.length, `the environment ${name} is not of this program`);
  const recordOf = (part) => records.find((one) => one.part === part) ?? null;
  const opened = Object.fromEntries(names.map((part) => [part, openPart(part, name === 'mix' ? ownOf(given, part) : given, recordOf(part), { image: tools.image, ...file })]));
  let { settings, digest: found } = opened[name] ?? {};
  if (name === 'mix') {
    requireThat(names.length >= 2 && names.length <= 16 && names.every((part) => given[part] >= 1n && given[part] <= 1000000n), 'parts or weights of no mixture');
    const odd = Object.keys(given).find((key) => key.includes('.') && !names.includes(key.split('.')[0]));
    requireThat(!odd, `the setting ${odd} is of no part`);
    settings = Object.fromEntries(names.flatMap((part) => [[part, given[part]], ...Object.entries(opened[part].settings).map(([key, v]) => [`${part}.${key}`, v])]));
    found = environmentDigest(name, settings, Buffer.concat(names.map((part) => opened[part].digest)));
  }
  requireThat(found.toString('hex') === digest, `the environment ${name} has another digest`);
  /** What a model is asked: messages, arguments, bos, plain and tools. */
  const ask = ({ part = name, prompt, question = prompt, request = '', context = [], made = true }) => {
    if (!made) return { messages: [] };
    const { record, ...manner } = opened[part].manner;
    return { messages: prompts.put({ question, request, context }, record), chosen: prompts.argumentsOf(record), ...manner };
  };
  const parts = name === 'mix' ? names : [], { themes } = JSON.parse(readFileSync(join(__dirname, '../gsm.json'), 'utf8'));
  const make = (seed, levels) => {
    const problem = (file?.make ?? MAKE[name])(settings, seed, levels, themes), more = opened[problem.part ?? name].tooled?.request ?? '';
    const { question = problem.prompt, request = '' } = problem;
    return { ...problem, question, request: request + more, prompt: problem.prompt + more };
  };
  /** The world of a problem, and the record of prompts of its part. */
  const worldOfProblem = ({ part = name, problem, made = true }) => {
    if (!made) return UNMADE;
    const inner = file ? { ...single(name), scoreOf: ({ problem: asked, text }) => file.score(asked, text) } : worldOf(part), { tooled, manner } = opened[part];
    const { begin, step, scoreOf } = tooled ? tooling.wrap(inner, tooled) : inner;
    return { begin: (asked) => begin(part === name ? asked : problem), step, scoreOf, record: manner.record };
  };
  return {
    legal: file?.legal ?? legalOf(name, parts),
    skipped: file?.skipped ?? [],
    make,
    ask,
    probes: names.map((part) => ask({ part, prompt: '7+15=?\n' })),
    sharesOf: (levels) => sharesOf(name, settings, levels),
    askedShares: (pairs) => askedShares(name, settings, pairs),
    /** What one turn earns. */
    score: (problem, text) => { const { begin, step, scoreOf } = worldOfProblem(problem); return scoreOf(step(begin(problem), text)[0]); },
    worldOf: worldOfProblem,
  };
}
// ---- math: what its files hold
/** The answer's text: `answer`, or what its last \boxed{…} holds, or that of the solution, or \fbox{…}; null without any. */
function boxed({ answer, solution }) {
  if (typeof answer === 'number') return /^-?[0-9]{1,15}(?:\.[0-9]{1,4})?$/.test(answer) ? `${answer}` : null;
  return typeof answer === 'string' ? words.lastBox(answer) ?? answer : words.lastBox(solution);
}
// ---- letters: rows of a question, `options`, `answer`, `answer_index` and `level`; or whose two choices follow from the row
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', BLANK = '[ \\t\\r\\n]', bare = (text) => text.replace(new RegExp(`^${BLANK}+|${BLANK}+$`, 'g'), '');
const PLACED = /\b(?:above|below|preceding|following)\b|\b(?:first|last) (?:two|three)\b|\b[A-J]\b *(?:,|&|and|or|nor) *(?:and |or )?\b[A-J]\b|\b(?:[Oo]ptions?|[Cc]hoices?|[Aa]nswers?|[Bb]oth|[Oo]nly|[Nn]either) \(?[A-J]\)?(?![A-Za-z])/;
/** The two choices of a row that lists none: yes and no, or the documents that its question names; and the place of the right one. */
function impliedChoices(row, question) {
  const said = words.yesOrNo(row, words.ANSWERS), pair = [['yes', 'no'], ['true', 'false']].find((one) => one.includes(said));
  if (pair) return [pair, pair.indexOf(said)];
  const titles = new Map(words.documentsOf(row, words.PASSAGES, null).map(([title]) => words.joinLine(title)).filter(words.plainly).map((title) => [words.plainly(title), title]));
  const named = [...titles].filter(([plain]) => ` ${words.plainly(question)} `.includes(` ${plain} `)).map(([, title]) => title);
  const rights = words.plainOf(words.readAnswers(row, words.ANSWERS)[0]), places = named.map(words.plainly).flatMap((plain, i) => (rights.includes(plain) ? [i] : []));
  return named.length === 2 && places.length === 1 ? [named, places[0]] : null;
}
/** A row whose question is an object of a stem and choices: labels and texts. */
function opened(row) {
  const { stem, choices = [] } = row.question ?? {}, { answerKey } = row, place = choices.findIndex(({ label }) => label === answerKey);
  return stem === undefined ? row : { ...row, question: stem, options: choices.map((one) => one.text ?? one), answer_index: BigInt(place) };
}
/** A row's question behind its passage, choices, right one, level; null where it is not asked. */
function readChoices(written) {
  const row = opened(written);
  const column = ['question', 'Question', 'question_stem', 'problem', 'query', 'prompt', 'instruction', 'input'].find((name) => words.isHeld(row[name]));
  const question = typeof row[column] === 'string' ? bare(row[column]) : '', passage = words.passageOf(row);
  if (!question || passage === null || words.passageFault(question, passage)) return null;
  const asked = { question: words.underPassage(passage, question), passage, level: words.levelOf(row) };
  if (!row.options) {
    const implied = impliedChoices(row, question);
    return implied && { ...asked, choices: implied[0], right: implied[1], last: false };
  }
  const choices = row.options.map(bare), last = /^(?:all|none|any|some|each|most) of the above\.?$/i.test(choices.at(-1));
  if (choices.length < 2 || new Set(choices.map((c) => c.replace(/\s/g, '').toLowerCase())).size < choices.length) return null;
  if (choices.slice(0, choices.length - (last ? 1 : 0)).some((c) => PLACED.test(c))) return null;
  const named = ['answer_index', 'answer'].filter((name) => name in row), byPlace = named.every((name) => typeof row[name] === 'bigint');
  const places = named.map((name) => {
    if (typeof row[name] === 'bigint') return Number(row[name]);
    const letter = /^\(?([A-Z])\)?[.:]?$/.exec(row[name])?.[1];
    return letter ? LETTERS.indexOf(letter) : choices.indexOf(row[name]);
  });
  const [right] = places;
  if (new Set(places).size !== 1 || right < 0 || right >= choices.length) return null;
  return { ...asked, choices, right, last, byPlace: byPlace && !row.answerKey };
}
/** The rows of a file that are asked, each with its number. */
function readLetters(lines) {
  const rows = lines.map((line, i) => ({ ...readChoices(parse(line)), number: i + 1 })).filter(({ choices }) => choices), without = words.lacking(rows);
  const read = rows.filter((row) => !without.includes(row)), isFrom0 = read.some(({ byPlace, right }) => byPlace && right === 0);
  return read.filter(({ byPlace }) => isFrom0 || !byPlace); // nobody knows whether it counts from 0 or from 1
}
function makeChoices(name, rows, odds, seed, levels) {
  const [stream, level] = open(name, seed, levels), of = rows.filter((row) => row.level === level), asked = [];
  let letters = '', guesses = 1;
  for (const taken = new Set(); guesses < odds; ) {
    const place = stream.between(0, of.length - 1);
    if (taken.has(place)) continue;
    taken.add(place);
    const { question, choices, right, last } = of[place], free = choices.length - (last ? 1 : 0);
    const order = stream.sample(free, free).map(Number).concat(last ? [free] : []);
    asked.push([question, ...order.map((i, at) => `${LETTERS[at]}. ${choices[i]}`)].join('\n'));
    letters += LETTERS[order.indexOf(right)], (guesses *= choices.length);
  }
  if (asked.length === 1) return { level, letters, prompt: `${asked[0]}\nEnd with a line of ####, a space and the letter of the right choice.\n` };
  const texts = asked.map((text, i) => `Question ${i + 1}\n${text}\n\n`).join('');
  return { level, letters, prompt: `${texts}End with a line of ####, a space and the letters of the right choices, in the order of the questions.\n` };
}
/** Without the delimiters and fonts that may be around an answer. */
function scoreChoices(letters, completion) {
  const [before, rest, ...more] = prompts.answerOf(completion).split('####'), placed = rest?.startsWith(' ') && more.length === 0 && /(^|\n)$/.test(before);
  const answer = placed ? bare(bare(rest).replace(/\.$/, '')) : '';
  const parts = answer.replace(/,/g, ' ').split(/[ \t\r\n]+/).map((part) => /^\(?([A-Z])\)?[.:]?$/.exec(part)?.[1]);
  const given = /^[A-Z]+$/.test(answer) ? [...answer] : parts.includes(undefined) ? [] : parts;
  if (given.length !== letters.length) return UNREAD;
  return rate(given.filter((letter, i) => letter === letters[i]).length, letters.length);
}
module.exports = { askedShares, boxed, computed, drawPart, environmentDigest, legalOf, provedBy, worldOf, make: MAKE, makeChoices, open, openEnvironment, ownOf, partsOf, readLetters, readStories, score, scoreChoices, sharesOf };
