'use strict';
// search:SHA256: documents and questions of a file, and what a query finds: docs/environments.md.
const { parse } = require('./core.js');
const { answerFault, ask, documentsOf, isThere, joinLine, lengthOf, levelOf, levelsOf, plainOf, plainly, readAnswers, score, textOf, trim } = require('./words.js');

const ANSWERS = ['answer', 'answers', 'golden_answers', 'answer_aliases'];
const splitWords = (text) => (text.match(/[A-Za-z0-9]+/g) ?? []).map((word) => word.toLowerCase());
const whole = ({ title, text }) => `${title} ${text}`;

function documentsIn(row) {
  const own = isThere(textOf(row)) ? [[row.title, textOf(row)]] : [];
  const read = [...own, ...documentsOf(row, ['context', 'paragraphs'], row.title)].map(([title, text]) => ({ title: joinLine(title), text: joinLine(text) }));
  return read.filter(({ text }) => splitWords(text).length);
}
/** { documents, rows: those asked with their number, question, plain answers and level }. */
function readFile(lines) {
  const documents = new Map(), rows = [], known = new Set();
  lines.forEach((line, i) => {
    const row = parse(line);
    for (const document of documentsIn(row)) documents.set(JSON.stringify([document.title, document.text]), document);
    if (!row.question) return;
    const question = trim(row.question), [given, unread] = readAnswers(row, ANSWERS), answers = plainOf(given);
    if (unread || answerFault(question, answers) || known.has(question)) return;
    known.add(question);
    rows.push({ number: i + 1, question, answers, level: levelOf(row) });
  });
  return { documents: [...documents.values()], rows, levels: levelsOf(rows, (row) => lengthOf(row.question)) };
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
module.exports = { Search, ask, openTool, plainly, readFile, score };
