'use strict';
// Tools, and calls of them: docs/environments.md.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { hash, integer, sha256 } = require('./core.js');
const { EVEN, Guest } = require('./guest.js');
const { answerOf } = require('./prompts.js');
const { UNREAD } = require('./rules.js');

class Fault extends Error {}
const refuse = (text) => { throw new RangeError(text); };
const fail = (text) => { throw new Fault(text); };
const trim = (text) => text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''), lengthOf = (text) => [...text].length;
/** What stands before a mark and behind it; null where it is not. */
const cut = (text, mark) => { const at = text.indexOf(mark); return at < 0 ? null : [text.slice(0, at), text.slice(at + mark.length)]; };

// ---- JSON
const ESCAPES = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
/** The value with which a text begins, and where it ends. */
function readJsonStart(text) {
  let at = 0;
  const skip = () => { while (' \t\r\n'.includes(text[at] ?? 'end')) at++; }, peek = () => { skip(); return text[at]; };
  function readString() {
    for (let said = ''; ; ) {
      const c = text[at++];
      if (c === undefined) fail('has a string without an end');
      if (c === '"') return said;
      if (c < ' ') fail('has a control character in a string');
      if (c !== '\\') { said += c; continue; }
      const mark = text[at++], code = mark === 'u' && /^[0-9a-fA-F]{4}/.exec(text.slice(at, at + 4))?.[0];
      if (code) {
        const [pair] = /^d[89ab]..\\u(d[c-f][0-9a-f]{2})/i.exec(text.slice(at, at + 10)) ?? [];
        if (!pair && /^d[89a-f]/i.test(code)) fail('has half of a surrogate pair');
        (said += String.fromCharCode(...(pair ?? code).split('\\u').map((unit) => parseInt(unit, 16)))), (at += (pair ?? code).length);
      } else said += Object.hasOwn(ESCAPES, mark ?? '') ? ESCAPES[mark] : fail('has an escape that is not known');
    }
  }
  function readAll(closing, one) {
    if (peek() === closing) { at++; return; }
    for (;;) {
      one();
      const mark = peek();
      at++;
      if (mark === closing) return;
      if (mark !== ',') fail('lacks a comma');
    }
  }
  function readValue(depth) {
    const first = peek();
    if (first === undefined) fail('is cut off');
    if ('{['.includes(first)) {
      if (depth === 8) fail('is nested too deep');
      at++;
      if (first === '[') { const found = []; readAll(']', () => found.push(readValue(depth + 1))); return found; }
      const found = new Map();
      readAll('}', () => {
        if (peek() !== '"') fail('has a name that is no string');
        at++;
        const name = readString();
        if (found.has(name)) fail('has a name twice');
        if (peek() !== ':') fail('lacks a colon');
        at++;
        found.set(name, readValue(depth + 1));
      });
      return found;
    }
    if (first === '"') { at++; return readString(); }
    for (const [word, meaning] of [['true', true], ['false', false], ['null', null]]) if (text.startsWith(word, at)) { at += word.length; return meaning; }
    const number = /^-?(?:0|[1-9][0-9]{0,17})(?![0-9.eE])/.exec(text.slice(at, at + 21))?.[0] ?? fail('has a value that cannot be read');
    at += number.length;
    return BigInt(number);
  }
  return [readValue(0), at];
}
function readJson(text) {
  const [found, end] = readJsonStart(text);
  return trim(text.slice(end)) ? fail('goes on behind its end') : found;
}

// ---- calls
const bound = (call) => (lengthOf(call) > 16384 ? fail('the call is too long') : call);
const parse = (text) => { try { return readJson(text); } catch (fault) { if (fault instanceof Fault) fail(`the call ${fault.message}`); throw fault; } };
const orNull = (read) => { try { return read(); } catch (fault) { if (fault instanceof Fault) return null; throw fault; } };
function take([name, written], tool) {
  if (name !== tool.name) fail(`the only tool is ${tool.name}`);
  const given = typeof written === 'string' ? orNull(() => readJson(written)) : written, argument = given instanceof Map && given.size === 1 ? given.get(tool.argument) : null;
  return typeof argument === 'string' ? argument : fail(`${tool.name} takes ${tool.argument}, a string`);
}
/** [name, arguments] of a call in JSON. */
function named(call, key) {
  if (!(call instanceof Map) || call.size !== 2 || !call.has('name') || !call.has(key)) fail(`a call has "name" and "${key}"`);
  return typeof call.get('name') === 'string' ? [call.get('name'), call.get(key)] : fail('the call has a name that is no string');
}
const without = (call, key, is) => { if (call instanceof Map && is(call.get(key))) call.delete(key); return call; };
const ofHermes = (call) => named(call, 'arguments'), ofLlama = (call) => named(without(call, 'type', (type) => type === 'function'), 'parameters');
function ofList(calls) {
  if (!Array.isArray(calls)) fail('the call is no list of one');
  return calls.length === 1 ? named(without(calls[0], 'id', (id) => typeof id === 'string'), 'arguments') : fail('a turn has one call');
}
/** A name, perhaps an id, and then `{`: [the name, what begins with the brace]; null without them. */
function cutHead(text) {
  const brace = text.indexOf('{'), head = trim(text.slice(0, Math.max(brace, 0))), [name, id, ...more] = head.replace(/\[ARGS\]$/, '').split('[CALL_ID]').map(trim), isWord = (word) => /^[A-Za-z0-9_.-]+$/.test(word);
  return isWord(name) && !more.length && (id === undefined || isWord(id)) ? [name, text.slice(brace)] : null;
}
function startMistral(text) {
  const head = cutHead(text), [found, end] = readJsonStart(head ? head[1] : text);
  return head ? [[head[0], found], text.length - head[1].length + end] : [ofList(found), end];
}
const starting = (of) => (text) => { const [found, end] = readJsonStart(text); return [of(found), end]; };
/** By form: what opens a call, what closes it, and how one is read: [[name, arguments], where it ends]. */
const MARKS = [
  null, [/<tool_call>/g, '</tool_call>', starting(ofHermes)], [/(?:^|<\/think>)(?=[ \t\r\n]*\{)|<\|python_tag\|>/g, '', starting(ofLlama)], null, [/\[TOOL_CALLS\]/g, '', startMistral],
];
const firstOf = (text, count) => [...text.slice(0, 2 * count)].slice(0, count).join(''), skipped = (text) => text.length - text.replace(/^[ \t\r\n]+/, '').length;
/** The first whole call to which nothing is added, of the last eight marks; null without one. */
function findWhole(turn, [mark, closing, start]) {
  const calls = [...turn.matchAll(mark)].slice(-8).flatMap((found) => {
    const begin = found.index + found[0].length, call = orNull(() => start(firstOf(turn.slice(begin), 16384)));
    if (!call) return [];
    const at = begin + call[1], end = at + skipped(turn.slice(at));
    return turn.startsWith(closing, end) ? [{ index: found.index, begin, end: end + closing.length, call: call[0] }] : [];
  });
  const isLast = ({ end }) => !trim(turn.slice(end)), last = calls.findIndex(isLast);
  if (last < 0) return null;
  const before = calls[last - 1];
  if (before && before.end <= calls[last].index && !turn.slice(before.end, calls[last].begin).includes('</think>')) fail('a turn has one call');
  return calls[last].call;
}
/** The call between the first tag and an end; null without a tag. `split`: what stands before an end and behind it. */
function cutTagged(said, isDouble, split) {
  const [, rest] = cut(said, '<tool_call>') ?? [];
  if (rest === undefined) return null;
  if (isDouble(rest)) fail('a turn has one call');
  const [body, behind] = split(rest) ?? fail('the call has no end');
  if (trim(behind)) fail('there is something behind the call');
  return bound(body);
}
const cutLast = (text, mark) => { const at = text.lastIndexOf(mark); return at < 0 ? null : [text.slice(0, at), text.slice(at + mark.length)]; };
const READERS = [
  function line(said, tool) {
    const last = trim(said).split(/[\r\n]/).at(-1);
    return last.startsWith(`${tool.name}:`) ? trim(bound(last.slice(tool.name.length + 1))) : null;
  },
  function hermes(said, tool) {
    const body = cutTagged(said, (rest) => rest.includes('<tool_call>'), (rest) => cut(rest, '</tool_call>'));
    return body === null ? null : take(ofHermes(parse(body)), tool);
  },
  function llama(said, tool) {
    const whole = trim(said), body = whole.startsWith('{') ? whole : cut(whole, '<|python_tag|>')?.[1];
    return body === undefined ? null : take(ofLlama(parse(bound(body))), tool);
  },
  function xml(said, tool) {
    const body = cutTagged(said, (rest) => cut(rest, '</tool_call>')?.[1].includes('<tool_call>'), (rest) => cutLast(rest, '</tool_call>'));
    if (body === null) return null;
    const odd = () => fail('the call is not <function=name>, one <parameter=name>, and their ends');
    const head = (text, mark) => (text.startsWith(mark) ? cut(text.slice(mark.length), '>') : null) ?? odd();
    const [name, rest] = head(trim(body), '<function=');
    if (!name || !rest.endsWith('</function>')) odd();
    const [argument, valued] = head(trim(rest.slice(0, -11)), '<parameter='), [value, behind] = cutLast(valued, '</parameter>') ?? odd();
    if (behind) odd();
    return take([name, new Map([[argument, value.replace(/^\n/, '').replace(/\n$/, '')]])], tool);
  },
  function mistral(said, tool) {
    const [, rest] = cut(said, '[TOOL_CALLS]') ?? [];
    if (rest === undefined) return null;
    if (rest.includes('[TOOL_CALLS]')) fail('a turn has one call');
    const body = trim(bound(rest)), head = cutHead(body);
    return take(head ? [head[0], parse(head[1])] : ofList(parse(body)), tool);
  },
];
/** A turn's call as { call } or { fault }, the reply to one that cannot be read; null: none. */
function readCall(turn, form, tool) {
  try {
    const whole = MARKS[form] && findWhole(turn, MARKS[form]), call = whole ? take(whole, tool) : READERS[form](answerOf(turn), tool);
    return call === null ? null : { call };
  } catch (fault) {
    if (fault instanceof Fault) return { fault: `error: ${fault.message}` };
    throw fault;
  }
}
function writeCall(argument, form, { name, argument: key }) {
  const spaced = (under) => `{"name": "${name}", "${under}": {"${key}": ${JSON.stringify(argument)}}}`;
  return [
    `${name}: ${argument}`, `<tool_call>\n${spaced('arguments')}\n</tool_call>`, spaced('parameters'),
    `<tool_call>\n<function=${name}>\n<parameter=${key}>\n${argument}\n</parameter>\n</function>\n</tool_call>`, `[TOOL_CALLS][${spaced('arguments')}]`,
  ][form];
}

// ---- calculator: values are [numerator, denominator], the latter positive, in lowest terms
const LIMIT = 10n ** 40n, size = (n) => (n < 0n ? -n : n), gcd = (a, b) => (b ? gcd(b, a % b) : a);
function reduce(n, d) { const common = gcd(size(n), size(d)) || 1n, sign = d < 0n ? -1n : 1n; return [(sign * n) / common, (sign * d) / common]; }
const within = ([n, d]) => (size(n) >= LIMIT || d >= LIMIT ? fail('a number has more than 40 digits') : [n, d]);
const divide = ([a, b], [c, d]) => (c ? reduce(a * d, b * c) : fail('a division by zero'));
function raise([a, b], [c, d]) {
  if (d !== 1n || size(c) > 256n) fail('a power is a whole number from -256 to 256');
  if (!a && c < 0n) fail('a division by zero');
  return c < 0n ? reduce(b ** -c, a ** -c) : [a ** c, b ** c];
}
const odd = () => fail('the expression cannot be read: use numbers, + - * / ** and brackets');
/** By descent: what it reads is computed when all of it has been read. */
function evaluate(text) {
  if (lengthOf(text) > 256) fail('the expression is too long');
  const tokens = [];
  for (let rest = text.replace(/[ \t\r\n]+$/, ''); rest; ) {
    const [whole, token] = /^[ \t\r\n]*([0-9]+(?:\.[0-9]+)?|\.[0-9]+|\*\*|[-+*/^()])/.exec(rest) ?? odd();
    tokens.push(token === '^' ? '**' : token), (rest = rest.slice(whole.length));
  }
  let at = 0;
  const is = (...some) => some.includes(tokens[at]);
  const literal = (token) => { const [whole, part = ''] = token.split('.'); return within(reduce(BigInt(whole + part), 10n ** BigInt(part.length))); };
  const both = (left, right, join) => () => { const [a, b] = [left(), right()]; return within(join(a, b)); };
  const adding = (sign) => ([a, b], [c, d]) => reduce(a * d + sign * c * b, b * d), times = ([a, b], [c, d]) => reduce(a * c, b * d);
  function sum() {
    let left = product();
    while (is('+', '-')) { const sign = tokens[at++] === '+' ? 1n : -1n; left = both(left, product(), adding(sign)); }
    return left;
  }
  function product() {
    let left = signed();
    while (is('*', '/')) { const join = tokens[at++] === '/' ? divide : times; left = both(left, signed(), join); }
    return left;
  }
  function signed() {
    if (is('+', '-')) { const sign = tokens[at++] === '+' ? 1n : -1n, inner = signed(); return () => { const [n, d] = inner(); return [sign * n, d]; }; }
    const base = value();
    if (!is('**')) return base;
    at++;
    return both(base, signed(), raise);
  }
  function value() {
    const token = tokens[at++];
    if (token === '(') { const inner = sum(); if (!is(')')) odd(); at++; return inner; }
    return /^[0-9.]/.test(token ?? '') ? () => literal(token) : odd();
  }
  const found = sum();
  return at < tokens.length ? odd() : found();
}
function writeDecimal(n, d, places) {
  const digits = `${(n * 10n ** BigInt(places) * 2n + d) / (d * 2n)}`.padStart(places + 1, '0');
  return places ? `${digits.slice(0, -places)}.${digits.slice(-places)}` : digits;
}
function writeValue([n, d]) {
  const sign = n < 0n ? '-' : '', places = Array.from({ length: 13 }, (_, i) => i).find((i) => 10n ** BigInt(i) % d === 0n);
  return places === undefined ? `${n}/${d}, about ${sign}${writeDecimal(size(n), d, 6)}` : sign + writeDecimal(size(n), d, places);
}
function calculate(text) {
  try { return writeValue(evaluate(text)); } catch (fault) { if (fault instanceof Fault) return `error: ${fault.message}`; throw fault; }
}

// ---- python
const RUN_COST = 5000000, MILLION = 1000000;
/** The tool in an image, with so many millions of instructions for an episode; 300 prove it. */
function openPython(tool, image, units) {
  const guest = Guest.of(image), callOf = (budget) => (argument, memory) => {
    const { texts, start, end, spent } = memory ?? { texts: [], start: 0, end: 0, spent: 0 }, left = budget - spent - (end - start) - RUN_COST;
    if (left < EVEN || texts.length === 256) return ['error: no instructions are left', memory];
    const all = [...texts, Buffer.from(argument)], replies = guest.takeTurns({ texts: all }, { instructions: Math.floor(budget / 4), room: 4096, whole: end + left });
    const after = replies.reduce((sum, reply) => sum + reply.instructions, 0), { output, end: ended } = replies.at(-1);
    const next = { texts: all, start: ended === 'returned' ? start : after, end: after, spent: spent + RUN_COST + after - start };
    return [Buffer.from(output).toString().replace(/\n+$/, ''), next];
  };
  const opened = { ...tool, call: callOf(units * MILLION), identity: [sha256(image), integer(4, units)] };
  return { ...opened, proving: { ...opened, call: callOf(300 * MILLION) } };
}

// ---- environments
const PAGE = readFileSync(join(__dirname, '../../../docs/environments.md'), 'utf8');
const textsOf = (line) => [...line.matchAll(/`(".*?")`(?=[,.])/g)].map(([, text]) => JSON.parse(text));
const lineOf = (start) => textsOf(PAGE.split('\n').find((line) => line.startsWith(start)));
const describe = (name) => new RegExp(`^\`(\\[\\{"type": "function", "function": \\{"name": "${name}".*)\`$`, 'm').exec(PAGE)?.[1];
const TOOLS = [null, {
  name: 'calculator', version: 1, argument: 'expression', call: (argument, memory) => [calculate(argument), memory],
  described: describe('calculator'),
}, { name: 'search', version: 1, argument: 'query', described: describe('search') }, // its calls are the file's
{ name: 'python', version: 2, argument: 'code', described: describe('python'), open: openPython }], SEARCH = 2;
const SETTINGS = { tool: [0, 0, TOOLS.length - 1], call_form: [0, 0, READERS.length - 1], tool_units: [300, 10, 5000] };
/** What the settings of a part say of its tool: null, or { tool, form, request, tools }. */
function find({ tool: number = 0n, call_form: form = 0n, tool_units: units = 300n }) {
  if (!number) return form || units !== 300n ? refuse('settings of a tool without one') : null;
  const tool = TOOLS[Number(number)];
  if (tool.open ? !form : units !== 300n) refuse(`settings that are not of ${tool.name}`);
  const about = JSON.parse(tool.described)[0].function.parameters.properties[tool.argument].description;
  const request = form ? '' : `Or end a turn with a line of ${tool.name}:, a space and ${about}. A reply follows.\n`;
  return { tool, form: Number(form), request, tools: form ? tool.described : null };
}
function proof({ tool, form }) {
  const named = (turn) => turn.replaceAll('$tool', tool.name).replaceAll('$argument', tool.argument);
  const turns = [...(tool.proved ?? lineOf(`Arguments of \`${tool.name}\`:`)).map((each) => writeCall(each, form, tool)), ...lineOf('Turns of all tools:').map(named), ...lineOf('All worlds:')];
  let memory = null, reply;
  const replies = turns.map((turn) => {
    const call = readCall(turn, form, tool);
    if (call && !call.fault) [reply, memory] = tool.call(call.call, memory);
    return call ? Buffer.from(`\u0001${call.fault ?? reply}`) : Buffer.from([0]);
  });
  return hash('environment-proof', Buffer.from(tool.described), ...replies);
}
const digest = (inner, { tool, form }) => hash('tool', inner, Buffer.from(tool.name), integer(2, tool.version), integer(1, form), proof({ tool: tool.proving ?? tool, form }), ...(tool.identity ?? []));
/** The world of problems that have a world of one turn, with a tool. */
const wrap = (inner, { tool, form }) => ({
  begin: (problem) => ({ asked: inner.begin(problem), memory: null, answered: null }),
  step(state, turn) {
    const call = readCall(turn, form, tool);
    if (!call) return [{ ...state, answered: inner.step(state.asked, turn)[0] }, null];
    const [reply, memory] = call.fault ? [call.fault, state.memory] : tool.call(call.call, state.memory);
    return [{ ...state, memory }, reply + (form ? '' : '\n')];
  },
  scoreOf: ({ answered }) => (answered ? inner.scoreOf(answered) : UNREAD),
});
module.exports = { SEARCH, SETTINGS, TOOLS, calculate, digest, find, proof, readCall, readJson, wrap, writeCall };
