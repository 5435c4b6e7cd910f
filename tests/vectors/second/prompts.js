'use strict';
// How problems are put, and how answers are read: sections 0 and 3, and docs/environments.md.
const { byName, encode, hash, integer, parse } = require('./core.js');

const textOf = (prompts, name) => prompts?.texts.find((text) => text.name === name)?.text;
/** The messages of a problem {question, request, context} under a record of prompts, or null. */
function put({ question, request, context }, prompts) {
  const wrap = (asked) => ({ role: 'user', content: (textOf(prompts, 'before') ?? '') + asked + (textOf(prompts, 'after') ?? request) });
  const system = textOf(prompts, 'system'), isSystem = (message) => message.role === 'system';
  return [
    ...(system === undefined ? context.filter(isSystem) : [{ role: 'system', content: system }]),
    ...(prompts?.shots ?? []).flatMap((shot) => [wrap(shot.question), { role: 'assistant', content: shot.answer }]),
    ...context.filter((message) => !isSystem(message)),
    wrap(question),
  ];
}
const plain = (messages) => messages.map(({ role, content }) => (role === 'user' ? content : `${content}\n\n`)).join('');
function digest(inner, bos, isPlain, prompts) {
  if (!bos && !isPlain && !prompts) return inner;
  return hash('prompts', inner, Buffer.concat([integer(1, bos), integer(1, isPlain)]), prompts ? encode('Prompts', prompts) : Buffer.alloc(0));
}
const TAKEN = new Set(
  'messages add_generation_prompt tools documents namespace raise_exception range strftime_now self super loop caller true false none'.split(' '),
);
/** Whether a text is no arguments: one object, written in the one way that there is. */
function hasFault(text) {
  let at = 0;
  const MEMBER = /"([a-z][a-z0-9_]{0,63})":("(?:[^"\\\u0000-\u001f]|\\(?:["\\bfnrt]|u00[01][0-9a-f]))*"|true|false|0|-?[1-9][0-9]{0,18})/y;
  const ESCAPED = /\\u00(0[89acd])/; // these have shorter forms
  if (text[at++] !== '{') return true;
  for (let last = ''; ; ) {
    MEMBER.lastIndex = at;
    const [found, name, value] = MEMBER.exec(text) ?? [];
    if (!found || name <= last || TAKEN.has(name) || ESCAPED.test(value.replace(/\\\\/g, ''))) return true;
    if (/^-?[0-9]/.test(value) && BigInt.asIntN(64, BigInt(value)) !== BigInt(value)) return true;
    (last = name), (at += found.length);
    if (text[at] !== ',') return text.slice(at) !== '}';
    at++;
  }
}
/** The arguments of a chat template by their names. */
function argumentsOf(record) {
  const text = textOf(record, 'arguments');
  return text === undefined ? {} : parse(text);
}
/** Whether parameters may not have these records. */
function isRefused(records) {
  const rises = (names) => names.every((name, i) => !i || byName(names[i - 1], name) < 0);
  if (!rises(records.map((one) => one.part))) return true;
  if (records.reduce((size, one) => size + encode('Prompts', one).length, 0) > 65536) return true;
  return records.some(({ texts, shots }) => {
    const names = texts.map((text) => text.name), given = textOf({ texts }, 'arguments');
    const odd = names.some((name) => !['system', 'before', 'after', 'arguments', 'reply_before', 'reply_after', 'reply_form'].includes(name));
    const long = texts.some(({ name, text }) => /^reply_(before|after)$/.test(name) && Buffer.byteLength(text) > 1024);
    return !rises(names) || odd || long || (textOf({ texts }, 'reply_form') ?? 'json') !== 'json' || !(texts.length + shots.length) || (given !== undefined && hasFault(given));
  });
}
/** What an environment asks for behind a question, in each form. */
const REQUESTS = [
  (what) => `End with a line of ####, a space and ${what}.`, (what) => `Please reason step by step, and put ${what} within \\boxed{} at the end.`,
  (what) => `End with ${what} between <answer> and </answer>.`, (what) => `End with a line of Answer:, a space and ${what}.`,
];
const request = (form, what) => `\n${REQUESTS[form](what)}\n`;
const bare = (text) => text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');
/** What a completion says behind its thought. */
function answerOf(completion) {
  const end = completion.lastIndexOf('</think>');
  return end < 0 ? completion : completion.slice(end + 8).replace(/^[\r\n]+/, '');
}
/** A completion's answer in a form: 0 after ####, 1 in a box, 2 in tags, 3 in a line; null: none. */
function readAnswer(form, completion) {
  const answer = [readHash, readBox, readTags, readLine][form](answerOf(completion));
  return answer === null || Buffer.byteLength(answer) > 32768 ? null : answer;
}
function readHash(completion) {
  const [before, answer, ...more] = completion.split('####');
  return answer?.startsWith(' ') && !more.length && /(^|\n)$/.test(before) ? answer.slice(1) : null;
}
function readBox(completion) {
  const start = completion.lastIndexOf('\\boxed{') + 7;
  if (start < 7) return null;
  for (let place = start, depth = 1; place < completion.length; place += completion[place] === '\\' ? 2 : 1) {
    depth += { '{': 1, '}': -1 }[completion[place]] ?? 0;
    if (depth === 0) return bare(completion.slice(start, place));
  }
  return null;
}
function readTags(completion) {
  const start = completion.lastIndexOf('<answer>') + 8, end = completion.indexOf('</answer>', start);
  return start < 8 || end < 0 ? null : bare(completion.slice(start, end));
}
function readLine(completion) {
  const line = completion.split('\n').findLast((each) => each.startsWith('Answer:'));
  return line === undefined ? null : bare(line.slice(7));
}

module.exports = { answerOf, argumentsOf, digest, isRefused, plain, put, readAnswer, request, textOf };
