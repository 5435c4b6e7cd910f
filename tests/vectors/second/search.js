'use strict';
// search:SHA256: documents and questions of a file, and what a query finds: docs/environments.md.
const { readAnswer, request } = require('./prompts.js');
const { rate, UNREAD } = require('./rules.js');

const TEXTS = ['text', 'contents', 'sentences', 'paragraph_text'], ANSWERS = ['answer', 'answers', 'golden_answers', 'answer_aliases'];
const list = (value) => (value === null || value === undefined ? [] : Array.isArray(value) ? value : [value]);
const oneLine = (value) => list(value).join(' ').replace(/[\u0000-\u0020\u007f-\u009f\ud800-\udfff]+/gu, ' ').replace(/^ | $/g, '');
const textOf = (object) => object[TEXTS.find((name) => object[name] !== null && object[name] !== undefined)];
const splitWords = (text) => (text.match(/[A-Za-z0-9]+/g) ?? []).map((word) => word.toLowerCase());
const whole = ({ title, text }) => `${title} ${text}`;

function documentsOf(row) {
  const several = ['context', 'paragraphs'].map((name) => row[name]).flatMap((value) => {
    if (typeof value === 'string') return [[row.title, value]];
    if (Array.isArray(value)) return value.map((one) => (Array.isArray(one) ? one : [one.title, textOf(one)]));
    return value ? value.title.map((title, i) => [title, value.sentences[i]]) : [];
  });
  const read = [[row.title, textOf(row)], ...several].map(([title, text]) => ({ title: oneLine(title), text: oneLine(text) }));
  return read.filter(({ text }) => splitWords(text).length);
}
function plainly(answer) {
  const small = answer.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const bare = small.replace(/[;!?'"()[\]{}`*_]|[.,:](?![0-9])|,(?=[0-9]{3}(?![0-9]))/g, '');
  return bare.split(/[ \t\r\n]+/).filter((word) => word && !['a', 'an', 'the'].includes(word)).join(' ');
}
const trim = (text) => text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');
/** { documents, rows: those asked with their number, question, plain answers and level }. */
function readFile(lines) {
  const documents = new Map(), rows = [], known = new Set();
  lines.forEach((line, i) => {
    const row = JSON.parse(line);
    for (const document of documentsOf(row)) documents.set(JSON.stringify([document.title, document.text]), document);
    if (!row.question) return;
    const question = trim(row.question), stated = `${row.level ?? row.Level}`;
    const given = ANSWERS.flatMap((name) => list(row[name]?.text ?? row[name])), answers = [...new Set(given.map((one) => plainly(`${one}`)).filter((one) => one))];
    const named = answers.some((answer) => ['yes', 'no', 'true', 'false'].includes(answer) || ` ${plainly(question)} `.includes(` ${answer} `));
    if (!answers.length || named || known.has(question)) return;
    known.add(question);
    const level = { easy: 1, medium: 2, hard: 3 }[stated] ?? Number(/^(?:Level )?([1-5])$/.exec(stated)?.[1] ?? 0);
    rows.push({ number: i + 1, question, answers, level });
  });
  const levels = new Map();
  if (rows.every((row) => row.level)) for (const row of rows) levels.set(row.level, [...(levels.get(row.level) ?? []), row]);
  else {
    const length = (row) => [...row.question].length, sorted = [...rows].sort((a, b) => length(a) - length(b)), k = Math.min(5, rows.length);
    for (let l = 1; l <= k; l++) levels.set(l, sorted.slice(Math.floor(((l - 1) * rows.length) / k), Math.floor((l * rows.length) / k)));
  }
  return { documents: [...documents.values()], rows, levels };
}

const log = (x) => BigInt((x ** 1024n).toString(2).length - 1), occurrences = (words, word) => words.filter((each) => each === word).length;
class Search {
  constructor(documents, passages, characters) {
    Object.assign(this, { documents, passages, characters });
    this.words = documents.map((document) => splitWords(whole(document)));
    this.total = this.words.reduce((sum, words) => sum + words.length, 0);
  }
  weigh(word, words) {
    const N = BigInt(this.documents.length), n = BigInt(this.words.filter((each) => each.includes(word)).length), f = BigInt(occurrences(words, word));
    const rarity = log(2n * N + 2n) - log(2n * n + 1n), norm = 300000n + (900000n * N * BigInt(words.length)) / BigInt(this.total);
    return (1000000000n * rarity * f) / (1000000n * f + norm);
  }
  answer(query) {
    const asked = [...query].length <= 1024 ? splitWords(query) : [];
    if (asked.length < 1 || asked.length > 64) return 'error: a query has 1 to 64 words in 1,024 characters';
    const scored = this.words.map((words, i) => ({ i, score: asked.reduce((sum, word) => sum + (words.includes(word) ? this.weigh(word, words) : 0n), 0n) }));
    const best = scored.filter(({ score }) => score > 0n).sort((a, b) => (a.score === b.score ? a.i - b.i : a.score < b.score ? 1 : -1));
    const shown = best.slice(0, this.passages).map(({ i }, place) => {
      const { title, text } = this.documents[i], letters = [...text];
      const cut = letters.length > this.characters ? `${letters.slice(0, this.characters).join('')}...` : text;
      return `Doc ${place + 1}${title ? `(Title: ${title})` : ''} ${cut}`;
    });
    return shown.join('\n') || 'nothing found';
  }
}
const PROOF_QUERIES = ['', '\u00e9\u0660\uff11', 'the K\u212a I\u0130', Array(65).fill('a').join(' ')];
/** The tool of a file's documents, by the tool that it is. */
function openTool(tool, { documents, rows }, passages, characters) {
  const found = new Search(documents, passages, characters);
  return { ...tool, proved: [...rows.slice(0, 64).map((row) => row.question), ...PROOF_QUERIES], call: (query, spent) => [found.answer(query), spent] };
}
function ask({ question, answers, level }, form) {
  const asked = request(form, 'the answer in a few words');
  return { level, question, answers, request: asked, prompt: question + asked, form };
}
function score({ answers, form }, completion) {
  const plain = plainly(readAnswer(form, completion) ?? '');
  return plain ? rate(answers.includes(plain) ? 1 : 0, 1) : UNREAD;
}
module.exports = { Search, ask, openTool, plainly, readFile, score };
