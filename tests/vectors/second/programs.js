'use strict';
// code:SHA256, answers that are programs: docs/environments.md.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Guest, INPUT_MAX, OUTPUT_MAX } = require('./guest.js');
const { sha256, hex, utf8 } = require('./core.js');
const { answerOf } = require('./prompts.js');
const { rate, UNREAD } = require('./rules.js');

const SETTINGS = { cases: [8, 1, 256], exact: [0, 0, 1], partial: [0, 0, 1], millions: [200, 10, 2000], units: [230, 10, 5000] };
const LEVELS = { introductory: 1, interview: 2, competition: 3, easy: 1, medium: 2, hard: 3, EASY: 1, MEDIUM: 2, MEDIUM_HARD: 3, HARD: 4, VERY_HARD: 5 };
const PROGRAM_MAX = 32768, GIVEN_MAX = INPUT_MAX - OUTPUT_MAX - 16, ROOM = 1 << 18, DEPTH_MAX = 32, TURNS_MAX = 64;
const RUN_COST = 5000000, BYTE_COST = 500, MAKING = 200000000, PYTHON = '3.13', NEVER = /\b(?:eval|exec|pickle|marshal|importlib|__import__)\b/;
const ours = (name) => readFileSync(join(__dirname, '../../../assay/environments/programs', name), 'utf8');
const CALL = /^_CALL = """\n([^]*?)"""/m.exec(ours('code_file.py'))[1], INSIDE = `${ours('inside.py')}\nserve()\n`;

// ---- JSON as it is spelled: a value is null, true, false, a list, an object, or text that begins with its kind
const TEXT = '"', WHOLE = '0', DECIMAL = '.', TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(\.\d+)?([eE][+-]?\d+)?/g;
function readSpelled(text) {
  JSON.parse(text); // what is none throws here
  return JSON.parse(text.replace(TOKEN, (t, point, power) => (t[0] === '"' ? `"\\"${t.slice(1)}` : `"${point || power ? DECIMAL : WHOLE}${t}"`)));
}
const textOf = (value) => { if (value?.[0] !== TEXT) throw new RangeError('no text'); return value.slice(1); };
/** As Python's json.dumps writes it. */
function dump(value) {
  if (Array.isArray(value)) return `[${value.map(dump).join(', ')}]`;
  if (value && typeof value === 'object') return `{${Object.entries(value).map((pair) => pair.map(dump).join(': ')).join(', ')}}`;
  if (typeof value !== 'string') return `${value}`;
  const content = value.slice(1);
  if (value[0] === TEXT) return JSON.stringify(content).replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return value[0] === WHOLE ? `${BigInt(content)}` : dumpFloat(Number(content));
}
/** The shortest digits, with an exponent below -4 and from 16 on. */
function dumpFloat(x) {
  const [digits, power] = x.toExponential().split('e').map((part, i) => (i ? Number(part) : part));
  const short = digits.replace(/[-.]/g, ''), sign = x < 0 || Object.is(x, -0) ? '-' : '';
  if (power < -4 || power >= 16) return `${digits}e${power < 0 ? '-' : '+'}${`${Math.abs(power)}`.padStart(2, '0')}`;
  if (power < 0) return `${sign}0.${'0'.repeat(-power - 1)}${short}`;
  return `${sign}${short.slice(0, power + 1).padEnd(power + 1, '0')}.${short.slice(power + 1) || '0'}`;
}

// ---- outputs
const NUMBER = /^([+-]?)(?=\.?[0-9])([0-9]{0,40})(?:\.([0-9]{0,40}))?(?:[eE]([+-]?[0-9]{1,3}))?$/;
/** Without such characters at the end. A regular expression takes the square of a stranger's output. */
function trimEnd(text, characters) {
  let end = text.length;
  while (end > 0 && characters.includes(text[end - 1])) end--;
  return text.slice(0, end);
}
const trimStart = (text) => text.replace(/^[ \t]+/, ''), BLANKS = ' \t\r\n', lines = (text) => trimEnd(text, BLANKS).split('\n').map((line) => trimEnd(line, BLANKS));
function isNear(expected, output) {
  const found = [expected, output].map((text) => NUMBER.exec(text));
  if (found.includes(null)) return false;
  const numbers = found.map(([, sign, whole, fraction = '', power = '0']) => [BigInt(`${whole}${fraction}`) * (sign === '-' ? -1n : 1n), Number(power) - fraction.length]);
  const least = Math.min(0, ...numbers.map(([, power]) => power));
  const [wanted, value] = numbers.map(([n, power]) => n * 10n ** BigInt(power - least)), size = (n) => (n < 0n ? -n : n), one = 10n ** BigInt(-least);
  return size(wanted - value) * 1000000n <= (size(wanted) > one ? size(wanted) : one);
}
const isNearWord = (expected, output) => !/^[+-]?[0-9]+$/.test(expected) && isNear(expected, output);
/** What bytes say, or null where they are no text. */
function decoded(bytes) { try { return utf8(bytes); } catch (error) { if (error.code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return null; throw error; } }
function agreeAsText(expected, bytes) {
  const output = decoded(bytes), [wanted, found] = [expected, output ?? ''].map(lines), words = (line) => line.match(/[^ \t\r\n]+/g) ?? [];
  return output !== null && wanted.length === found.length && wanted.every((line, i) => {
    const [due, had] = [line, found[i]].map(words);
    return line === found[i] || (due.length === had.length && due.every((word, j) => word === had[j] || isNearWord(word, had[j])));
  });
}
const agreeExactly = (expected, bytes) => {
  const [wanted, output] = [Buffer.from(expected), bytes].map((b) => (b.at(-1) === 10 ? b.subarray(0, -1) : b));
  return wanted.equals(output);
};
function agreeAsValue(expected, bytes) {
  const last = trimEnd(decoded(bytes) ?? '', '\n').split('\n').at(-1);
  let output;
  try { output = readValue(last); } catch (error) { if (error instanceof SyntaxError) return false; throw error; }
  const wanted = readSpelled(expected);
  return isSameValue(wanted, output) || (Array.isArray(wanted) && wanted.length === 1 && isSameValue(wanted[0], output));
}
function readValue(text) {
  let depth = 0;
  for (const character of text.replace(/"(?:[^"\\]|\\[^\n]?)*"?/g, '')) {
    depth += { '[': 1, '{': 1, ']': -1, '}': -1 }[character] ?? 0;
    if (depth > DEPTH_MAX) throw new SyntaxError('nested too deep');
  }
  return readSpelled(text);
}
function isSameValue(wanted, output) {
  if (Array.isArray(wanted)) return Array.isArray(output) && wanted.length === output.length && wanted.every((one, i) => isSameValue(one, output[i]));
  if (wanted && typeof wanted === 'object') {
    const isObject = output && typeof output === 'object' && !Array.isArray(output), names = Object.keys(wanted);
    return isObject && Object.keys(output).length === names.length && names.every((name) => Object.hasOwn(output, name) && isSameValue(wanted[name], output[name]));
  }
  if (wanted?.[0] === DECIMAL && [DECIMAL, WHOLE].includes(output?.[0])) return isNear(wanted.slice(1), output.slice(1));
  return wanted === output;
}

// ---- a file: rows of `question` and `input_output`
/** A row, or null where it is not asked. */
function readRow(line) {
  const fields = JSON.parse(line), { question, starter_code: starter, difficulty } = fields;
  if (!fields.input_output) return null;
  const tests = readSpelled(fields.input_output), get = (name) => tests[TEXT + name], name = get('fn_name') ?? null;
  const row = { text: starter ? `${question}\n${starter}` : question, level: typeof difficulty === 'string' && Object.hasOwn(LEVELS, difficulty) ? LEVELS[difficulty] : null, name: name && textOf(name) };
  if (get('asserts')) {
    const setup = get('setup') === undefined ? '' : textOf(get('setup')), texts = get('asserts').map(textOf);
    if (!name || [setup, ...texts].some((text) => NEVER.test(text))) return null;
    return { ...row, cases: texts.map((text) => ({ check: [setup, text] })) };
  }
  const joined = (side) => (Array.isArray(side) ? side : [side]).map(textOf).join('\n');
  const make = (given, due) => (name ? { given: `${dump(given)}\n`, expected: dump(due) } : { given: joined(given), expected: joined(due) });
  return { ...row, cases: get('inputs').map((given, i) => make(given, get('outputs')[i])) };
}
/** Level → rows, levels in ascending order. */
function divide(rows) {
  const named = rows.filter((row) => row.level !== null);
  if (named.length) return new Map([...new Set(named.map((row) => row.level))].sort((a, b) => a - b).map((level) => [level, named.filter((row) => row.level === level)]));
  const length = (row) => [...row.text].length, sorted = [...rows].sort((a, b) => length(a) - length(b)), k = Math.min(5, rows.length);
  const start = (l) => Math.floor((l * rows.length) / k);
  return new Map(Array.from({ length: k }, (_, l) => [l + 1, sorted.slice(start(l), start(l + 1))]));
}
function write(row) {
  const asked = row.name ? `Write a Python function ${row.name}, or a class Solution with that method.` : 'Write a Python program that reads standard input and writes standard output.';
  return `${row.text}\n${asked} Python ${PYTHON} runs it. End with it, between a line of \`\`\`python and a line of \`\`\`.\n`;
}
/** The last block of a completion's answer that is named python, or else has no name: { before, program }; null without one. */
function findProgram(completion) {
  const lines = answerOf(completion).replace(/\r\n/g, '\n').split('\n'), blocks = [];
  for (let i = 0, open = null; i < lines.length; i++) {
    const [, indent, fence, info] = /^( {0,3})(`{3,})(.*)$/s.exec(lines[i]) ?? [];
    if (!open) { if (fence && !info.includes('`') && i < lines.length - 1) open = { at: i, indent: indent.length, fence, info: trimStart(info) }; continue; }
    if (!fence || fence.length < open.fence.length || /[^ \t\r]/.test(info)) continue;
    const inner = lines.slice(open.at + 1, i).map((line) => line.slice(Math.min(open.indent, line.length - line.replace(/^ +/, '').length)));
    blocks.push({ info: open.info, before: lines.slice(0, open.at).map((line) => `${line}\n`).join(''), program: inner.join('\n') }), (open = null);
  }
  const found = blocks.findLast(({ info }) => /^(?:python|python3|py)(?:[ \t]|$)/i.test(info)) ?? blocks.findLast(({ info }) => !info);
  return found && !found.program.includes('\0') && found.program.isWellFormed() && Buffer.byteLength(found.program) <= PROGRAM_MAX ? found : null;
}
const readProgram = (completion) => findProgram(completion)?.program ?? null;

// ---- runs
const FAILED = (instructions) => ({ output: Buffer.alloc(0), end: 'instructions', instructions });
class Runner {
  constructor(image) { this.guest = Guest.of(image); }
  /** { output, end, instructions }: what a run counts as, with what is done for it outside. */
  run(kind, program, given, instructions, room, byteCost, other = {}, keeps = false) {
    if (instructions < RUN_COST) return FAILED(instructions);
    const reply = this.guest.run({ kind, program, given, ...other }, { instructions: instructions - RUN_COST, room }), output = Buffer.from(reply.output);
    const left = instructions - RUN_COST - reply.instructions - byteCost * output.length;
    if (keeps && reply.end === 'instructions') return { ...FAILED(instructions), output };
    return reply.end === 'instructions' || left < 0 ? FAILED(instructions) : { output, end: reply.end, instructions: instructions - left };
  }
  compile(text, instructions) { return this.run('C', Buffer.from(text), Buffer.alloc(0), instructions, OUTPUT_MAX, 0); }
  runCase(code, given, instructions) { return this.run('M', code, given, instructions, ROOM, BYTE_COST); }
  /** One side of a check. */
  take(what, name, text, answers, instructions) {
    const given = Buffer.concat([Buffer.from(`${what} ${name} ${text.length}\n`), text, ...answers.map((line) => Buffer.from(`${line}\n`, 'latin1'))]);
    if (given.length > GIVEN_MAX) return FAILED(0);
    this.inside ??= this.compile(INSIDE, MAKING).output;
    return this.runCase(this.inside, given, instructions);
  }
  /** [whether it passes, instructions] */
  check(code, check, name, instructions) {
    const made = this.take('make', name, Buffer.from(dump(check.map((text) => TEXT + text))), [], MAKING);
    let left = instructions - made.instructions, answered = -1, given = [];
    for (let turns = made.end === 'exit 0' ? TURNS_MAX : 0; turns > 0; turns--) {
      const turn = this.take('check', name, made.output, given, left), [head, ...asked] = turn.output.toString('latin1').split('\n');
      left -= turn.instructions;
      if (head === 'passed') return [turn.end === 'exit 0', instructions - left];
      const [, count] = /^asked ([0-9]{1,4})$/.exec(head) ?? [];
      if (turn.end !== 'exit 0' || count === undefined || Number(count) <= answered) break;
      answered = Number(count);
      const reply = this.take('answer', name, code, asked, left), answers = reply.output.toString('latin1').split('\n').slice(1).slice(-asked.length);
      left -= reply.instructions;
      if (reply.end !== 'exit 0' || answers.length !== asked.length) break;
      given = asked.flatMap((line, i) => [line, answers[i]]);
    }
    return [false, instructions - left];
  }
  /** Whether each test case passes, one after the other. */
  *runCases(program, { cases, name }, settings) {
    const most = Number(settings.millions) * 1e6, isChecked = 'check' in cases[0];
    const typed = `${program.includes('__future__') ? '' : 'from typing import *\n'}${program}${isChecked ? '' : `\n${CALL.replaceAll('{name}', name)}`}`;
    let left = Number(settings.units) * 1e6;
    const code = this.compile(name ? typed : program, Math.min(most, left));
    left -= code.instructions;
    for (const { given, expected, check } of cases.slice(0, Number(settings.cases))) {
      if (left <= 0 || code.end !== 'exit 0') { yield false; continue; }
      if (check) {
        const [passes, spent] = this.check(code.output, check, name, Math.min(most, left));
        left -= spent;
        yield passes;
        continue;
      }
      const found = this.runCase(code.output, Buffer.from(given), Math.min(most, left)), agree = name ? agreeAsValue : settings.exact ? agreeExactly : agreeAsText;
      left -= found.instructions;
      yield found.end === 'exit 0' && agree(expected, found.output);
    }
  }
  score(row, completion, settings) {
    const program = readProgram(completion);
    if (program === null) return UNREAD;
    const results = this.runCases(program, row, settings);
    if (!settings.partial) {
      for (const passes of results) if (!passes) return rate(0, 1);
      return rate(1, 1);
    }
    const passed = [...results];
    return rate(passed.filter((passes) => passes).length, passed.length);
  }
}
/** Level → rows of the file with this SHA-256. */
function readFile(bytes, digest) {
  if (hex(sha256(bytes)) !== digest) throw new RangeError(`no file with SHA-256 ${digest}`);
  return divide(utf8(bytes).split('\n').filter((line) => line).map(readRow).filter((row) => row));
}

module.exports = { Runner, SETTINGS, findProgram, agreeAsText, agreeAsValue, agreeExactly, dump, readFile, readProgram, readSpelled, write };
