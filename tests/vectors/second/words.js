'use strict';
// Short answers in words, and what a question is about: text:SHA256, and what search: and letters: share with it: docs/environments.md.
const { parse } = require('./core.js');
const { readAnswer, request } = require('./prompts.js');
const { rate, UNREAD } = require('./rules.js');

const TEXTS = ['text', 'contents', 'sentences', 'paragraph_text'], PASSAGES = ['context', 'passage', 'paragraphs', 'article'];
const ANSWERS = ['answer', 'answers', 'golden_answers', 'answer_aliases', 'Answer', 'final_answer', 'expected_answer', 'ground_truth', 'gold', 'possible_answers'];
const QUESTIONS = ['question', 'Question', 'problem', 'query', 'prompt', 'instruction'];
const YES_OR_NO = ['yes', 'no', 'true', 'false'];
const isThere = (value) => value !== null && value !== undefined, isHeld = (value) => isThere(value) && value !== '';
const isObject = (value) => isThere(value) && typeof value === 'object' && !Array.isArray(value);
const trim = (text) => text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''), lengthOf = (text) => [...text].length;
function requireThat(holds, otherwise) { if (!holds) throw new RangeError(otherwise); }

function plainly(answer) {
  const small = answer.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const bare = small.replace(/[;!?'"()[\]{}`*_]|[.,:](?![0-9])|,(?=[0-9]{3}(?![0-9]))/g, '');
  return bare.split(/[ \t\r\n]+/).filter((word) => word && !['a', 'an', 'the'].includes(word)).join(' ');
}
// ---- documents
const GAPS = /[\u0000-\u0020\u007f-\u009f\ud800-\udfff]+/gu;
function joined(value) {
  const parts = Array.isArray(value) ? value : isThere(value) ? [value] : [];
  requireThat(parts.every((part) => typeof part === 'string'), 'a document is no text');
  return parts.join(' ');
}
const joinLine = (value) => joined(value).replace(GAPS, ' ').replace(/^ +| +$/g, '');
const joinLines = (value) => joined(value).replace(GAPS, (gap) => '\n'.repeat(Math.min(2, gap.split('\n').length - 1)) || ' ').replace(/^[ \n]+|[ \n]+$/g, '');
const textOf = (object) => object[TEXTS.find((name) => isThere(object[name]))];
/** [title, text] of each document in some columns. */
function documentsOf(row, names, own) {
  return names.map((name) => row[name]).flatMap((value) => {
    if (!isThere(value)) return [];
    if (typeof value === 'string') return [[own, value]];
    if (isObject(value)) {
      const { title, sentences } = value;
      requireThat(Array.isArray(title) && Array.isArray(sentences) && title.length === sentences.length, 'no two lists');
      return title.map((each, i) => [each, sentences[i]]);
    }
    requireThat(Array.isArray(value), 'no list');
    if (value.every(isObject)) return value.map((one) => [one.title, textOf(one)]);
    if (value.every((one) => typeof one === 'string')) return value.map((one) => [own, one]);
    requireThat(value.every((one) => Array.isArray(one) && one.length === 2), 'no pairs');
    return value;
  });
}
/** What a row's question is about; null where nothing reads it. */
function passageOf(row) {
  try {
    const written = documentsOf(row, PASSAGES, null).map(([title, text]) => [joinLine(title), joinLines(text)]);
    return written.filter(([, text]) => text).map(([title, text]) => (title ? `${title}\n${text}` : text)).join('\n\n');
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
const ABOUT = /\baccording to the (?:above |given |following )?(?:passage|paragraph|article|text|context|author|story|document)\b|\b(?:the|this) (?:given |above |following )?(?:passage|excerpt)\b|\b(?:passage|paragraph|article|text) (?:above|below)\b/i;
function passageFault(question, passage) {
  if (lengthOf(passage) > 8192) return 'with a passage of more than 8,192 characters';
  return !passage && ABOUT.test(question) ? 'about a passage that it lacks' : null;
}
/** Rows without the passage that half of them have. */
function lacking(rows) {
  const without = rows.filter(({ passage }) => !passage);
  return 2 * without.length <= rows.length ? without : [];
}
// ---- answers
const says = (row, name, value) => ['string', 'boolean'].includes(typeof row[name]) && `${row[name]}`.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) === value;
const isUnanswerable = (row) => says(row, 'answerable', 'false') || says(row, 'is_impossible', 'true');
function listValues(value) {
  if (Array.isArray(value)) return value.flatMap(listValues);
  if (isObject(value)) return ['value', 'Value', 'aliases', 'Aliases', 'text'].flatMap((name) => listValues(value[name]));
  return isThere(value) ? [value] : [];
}
const valuesOf = (row, names) => names.flatMap((name) => listValues(row[name]));
/** What the last box holds; null without one, or where it is not closed. */
function lastBox(text) {
  const box = ['\\boxed{', '\\fbox{'].find((one) => text.includes(one)), start = box ? text.lastIndexOf(box) + box.length : text.length;
  for (let place = start, depth = 1; place < text.length; place += text[place] === '\\' ? 2 : 1) {
    depth += { '{': 1, '}': -1 }[text[place]] ?? 0;
    if (depth === 0) return text.slice(start, place);
  }
  return null;
}
/** The texts of a list as JSON, or the text; null where it seems to be a list. */
function openList(text) {
  if (!/^\[ *["']/.test(text)) return [text];
  try {
    const value = parse(text);
    return Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : null;
  } catch {
    return null;
  }
}
/** [the answers of some columns as they are written, or why the row is not asked]. */
function readAnswers(row, names) {
  if (isUnanswerable(row)) return [[], 'that says it has no answer'];
  const found = [];
  for (const value of valuesOf(row, names)) {
    if (typeof value === 'boolean') return [[], 'with a yes or no for an answer'];
    if (!['bigint', 'string'].includes(typeof value)) return [[], 'with an answer of another type'];
    const texts = openList(`${value}`);
    if (!texts) return [[], 'with a list that is no JSON for an answer'];
    found.push(...texts.map((text) => lastBox(text) ?? text));
  }
  if (found.some((text) => /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]/u.test(text))) return [[], 'with a control character in an answer'];
  return [[...new Set(found)], null];
}
const plainOf = (given) => [...new Set(given.map(plainly).filter((text) => text))];
/** The one answer that is yes, no, true or false; null otherwise. */
function yesOrNo(row, names) {
  const plain = new Set(valuesOf(row, names).map((value) => (['string', 'boolean'].includes(typeof value) ? plainly(`${value}`) : '')));
  const [said] = plain;
  return !isUnanswerable(row) && plain.size === 1 && YES_OR_NO.includes(said) ? said : null;
}
function answerFault(question, plain) {
  if (!plain.length) return 'without an answer';
  if (plain.some((answer) => YES_OR_NO.includes(answer))) return 'with a yes or no for an answer';
  const asked = ` ${plainly(question)} `;
  return plain.some((answer) => asked.includes(` ${answer} `)) ? 'with the answer in the question' : null;
}
/** A row's level; 0 without one. */
function levelOf(row) {
  const stated = 'level' in row ? row.level : row.Level, named = new Map([['easy', 1], ['medium', 2], ['hard', 3]]);
  return ['bigint', 'string'].includes(typeof stated) ? named.get(stated) ?? Number(/^(?:Level )?([1-5])$/.exec(stated)?.[1] ?? 0) : 0;
}
/** Levels of rows that all have one, or else bands of what `measure` says. */
function levelsOf(rows, measure) {
  const levels = new Map();
  if (rows.every((row) => row.level)) for (const row of rows) levels.set(row.level, [...(levels.get(row.level) ?? []), row]);
  else {
    const sorted = [...rows].sort((a, b) => measure(a) - measure(b)), k = Math.min(5, rows.length);
    for (let l = 1; l <= k; l++) levels.set(l, sorted.slice(Math.floor(((l - 1) * rows.length) / k), Math.floor((l * rows.length) / k)));
  }
  return levels;
}
// ---- text:SHA256
const underPassage = (passage, question) => (passage ? `${passage}\n\n${question}` : question);
/** A row's question behind its passage, its plain answers and level, or why it is not asked. */
function readRow(row) {
  const column = QUESTIONS.find((name) => isHeld(row[name]));
  if (!column) return { fault: 'without a question' };
  if (typeof row[column] !== 'string') return { fault: 'with a question that is no text' };
  const question = trim(row[column]), passage = passageOf(row);
  if (passage === null) return { fault: 'with a passage of another shape' };
  const [given, unread] = readAnswers(row, ANSWERS), plain = plainOf(given), isBrief = (text) => lengthOf(text) <= 128;
  const answers = plain.filter((text) => isBrief(text) && !text.includes('\\') && !text.includes('####'));
  const find = () => {
    if (!answers.length) return `with ${plain.some(isBrief) ? 'a formula' : 'more than 128 characters'} for an answer`;
    if (answers.some((text) => /^[a-j]$/.test(text))) return 'with a letter for an answer';
    return ['A', 'B'].every((letter) => new RegExp(`(?<![A-Za-z0-9])${letter}[).:](?![A-Za-z0-9])`).test(question)) ? 'with choices in the question' : passageFault(question, passage);
  };
  const isPart = column === 'instruction' && isHeld(row.input), fault = unread ?? answerFault(question, plain) ?? find() ?? (isPart ? 'an instruction with an input' : null);
  return { question: underPassage(passage, question), passage, answers, level: levelOf(row), fault };
}
/** { rows: those asked, with their numbers; skipped: [number, reason]; levels }. */
function readFile(lines) {
  const kept = [], skipped = [], known = new Set();
  lines.forEach((line, i) => {
    const row = readRow(parse(line)), number = i + 1, reason = row.fault ?? (known.has(row.question) ? 'asked already' : null);
    if (reason) return skipped.push([number, reason]);
    known.add(row.question);
    kept.push({ ...row, number });
  });
  const without = lacking(kept), rows = kept.filter((row) => !without.includes(row));
  skipped.push(...without.map(({ number }) => [number, 'without the passage that others have']));
  return { rows, skipped: skipped.sort(([a], [b]) => a - b), levels: levelsOf(rows, ({ question }) => lengthOf(question)) };
}
function ask({ question, answers, level }, form) {
  const asked = request(form, 'the answer in a few words');
  return { level, question, answers, request: asked, prompt: question + asked, form };
}
function score({ answers, form }, completion) {
  const plain = plainly(readAnswer(form, completion) ?? '');
  return plain ? rate(answers.includes(plain) ? 1 : 0, 1) : UNREAD;
}
module.exports = {
  ANSWERS, PASSAGES, answerFault, ask, documentsOf, isHeld, isThere, joinLine, lacking, lastBox, lengthOf, levelOf, levelsOf, passageFault, passageOf, plainOf, plainly,
  readAnswers, readFile, score, textOf, trim, underPassage, yesOrNo,
};
