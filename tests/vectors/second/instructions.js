'use strict';
// instructions:SHA256: rows of prompts, and the kinds of instructions: docs/environments.md, whose lists and ranges are read off the page.
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { answerOf } = require('./prompts.js');
const { rate, UNREAD } = require('./rules.js');

const PAGE = readFileSync(join(__dirname, '../../../docs/environments.md'), 'utf8').replace(/\r/g, '');
const [SECTION] = /^## instructions:SHA256\n[^]*?(?=^## )/m.exec(PAGE);
const FLAT = SECTION.replace(/\s+/g, ' ');
/** The words between grave accents behind a text of the page. */
const wordsBehind = (text) => FLAT.slice(FLAT.indexOf(text) + text.length).match(/^[^`]*`([^`]*)`/)[1].split(' ');
const character = (code) => `\\u{${code}}`;
const rangesOf = (text) => text.replace(/U\+([0-9A-F]+)/g, (_, code) => character(code)).replace(/–/g, '-').replace(/`| and |, /g, '');

const BLANK = '[ \\t\\r\\n]', SIGN = '[!-/:-@[-`{-~]', CLOSER = '["\'’”)\\]*_]';
const around = (set, text) => text.replace(new RegExp(`^${set}+`, 'u'), '').replace(new RegExp(`(?<!${set})${set}+$`, 'u'), '');
const bare = (text) => around(BLANK, text), isBlank = (text) => bare(text) === '';
const pieces = (text) => text.match(/[^ \t\r\n]+/g) ?? [], lines = (text) => text.split('\n'), length = (text) => [...text].length;
const LETTERS = rangesOf(/longest run of the characters (.*?)\. - /.exec(FLAT)[1]);
const WORD = new RegExp(`[${LETTERS}]+`, 'gu'), LETTER = new RegExp(`[${LETTERS}]`, 'u'), ONE_WORD = new RegExp(`^[${LETTERS}]+$`, 'u');
const words = (text) => text.match(WORD) ?? [];

const SMALL = new Map();
for (let code = 0; code < 0x590; code++) {
  const capital = String.fromCharCode(code), letter = capital.toLowerCase();
  if (letter !== capital && letter.length === 1) SMALL.set(capital, letter);
}
const CASES = createHash('sha256').update([...SMALL].flat().join('')).digest('hex');
if (!SECTION.includes(CASES)) throw new Error(`the pairs of capital and small letters have the digest ${CASES}`);
const SMALL_LETTERS = new Set([...SMALL.values(), 'ß']);
const small = (text) => [...text].map((one) => SMALL.get(one) ?? one).join('');
const hasCapitals = (text) => [...text].some((one) => SMALL.has(one)), hasSmallLetters = (text) => [...text].some((one) => SMALL_LETTERS.has(one));
const bareWords = (text) => pieces(small(text).replace(new RegExp(SIGN, 'g'), ''));
const strippedWords = (text) => pieces(small(text)).map((piece) => around(SIGN, piece)).filter((piece) => piece);

/** Whether no character of two halves begins before a place and ends behind it. */
const isWhole = (text, at) => !(/[\ud800-\udbff]/.test(text[at - 1] ?? '') && /[\udc00-\udfff]/.test(text[at] ?? ''));
function find(text, sought, from = 0) {
  for (let at = text.indexOf(sought, from); at >= 0; at = text.indexOf(sought, at + 1)) if (isWhole(text, at) && isWhole(text, at + sought.length)) return at;
  return -1;
}
function divide(text, mark) {
  const parts = [];
  let from = 0;
  for (let at = find(text, mark); at >= 0; at = find(text, mark, from)) parts.push(text.slice(from, at)), (from = at + mark.length);
  return [...parts, text.slice(from)];
}
const has = (text, sought) => find(text, sought) >= 0, count = (text, sought) => divide(text, sought).length - 1;
/** How often a text has a phrase by itself. */
function countAlone(text, phrase) {
  const [within, sought] = [small(text), small(phrase)];
  if (ONE_WORD.test(sought)) return words(within).filter((word) => word === sought).length;
  let found = 0;
  for (let at = find(within, sought); at >= 0; ) {
    const end = at + sought.length, beside = [[...within.slice(Math.max(0, at - 2), at)].at(-1), [...within.slice(end, end + 2)][0]];
    const joined = beside.some((one) => one !== undefined && LETTER.test(one));
    if (!joined) found += 1;
    at = find(within, sought, joined ? at + 1 : end);
  }
  return found;
}

const SHORTENED = new Set(wordsBehind('are left out. The words:'));
const END = new RegExp(`(?<![.!?…])[.!?…]+${CLOSER}*(?=${BLANK}|$)|[。！？]+["'’”)\\]*_」』]*|\\n[ \\t\\r]*\\n`, 'gu');
function isShortened(text, last, point) {
  const [before] = /[^ \t\r\n("']*$/.exec(text.slice(Math.max(last, point - 20), point));
  if (/^[0-9]{1,16}$/.test(before)) return [undefined, '\n'].includes(text[point - before.length - 1]);
  return SHORTENED.has(small(before)) || /^[A-HJ-Z]$/.test(before);
}
function sentences(text) {
  const found = [];
  let last = 0;
  for (const { 0: end, index } of text.matchAll(END)) {
    if (end === '.' && isShortened(text, last, index)) continue;
    found.push(text.slice(last, index + end.length)), (last = index + end.length);
  }
  return [...found, text.slice(last)].filter((one) => LETTER.test(one)).map(bare);
}

const ENGLISH = new Set(wordsBehind('in small letters, among'));
const OWN = new Map([...FLAT.matchAll(/(U\+[0-9A-F]{4}–U\+[0-9A-F]{4}) of `([a-z]{2})`/g)].map(([, range, name]) => [name, rangesOf(range)]).concat([['en', 'A-Za-z']]));
function isIn(text, language) {
  const letters = [...text].filter((one) => LETTER.test(one) && !/[0-9_]/.test(one)).length, own = new RegExp(`[${OWN.get(language)}]`, 'gu');
  if (!letters || 4 * (text.match(own) ?? []).length < 3 * letters) return false;
  const said = words(small(text));
  return language !== 'en' || said.length < 20 || 20 * said.filter((word) => ENGLISH.has(word)).length >= said.length;
}

/** A number that is written with a point or an exponent: 3.0 is another than 3. */
class Float { constructor(value) { this.value = value; } }
/** What a text holds as JSON; undefined: it is none, or not the strict kind that is read here. */
function readJson(text) {
  const TOKEN = /[ \t\r\n]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null))/y;
  const fail = () => { throw new RangeError('no JSON'); };
  const isNext = (mark) => { const at = TOKEN.lastIndex, found = TOKEN.exec(text)?.[1] === mark; if (!found) TOKEN.lastIndex = at; return found; };
  const list = (close, item) => {
    const items = isNext(close) ? [] : [item()];
    while (items.length && !isNext(close)) items.push(isNext(',') ? item() : fail());
    return items;
  };
  const take = (depth) => {
    const [, mark, said, whole, rest, word] = TOKEN.exec(text) ?? fail();
    if (said || word) return JSON.parse(said ?? word);
    if (whole) return rest ? new Float(Number.isFinite(Number(whole + rest)) ? Number(whole + rest) : fail()) : Number(whole.replace('-', '').length > 64 ? fail() : whole);
    if (depth === 64) fail();
    if (mark === '[') return list(']', () => take(depth + 1));
    if (mark !== '{') fail();
    const members = list('}', () => { const name = take(64); return typeof name === 'string' && isNext(':') ? [name, take(depth + 1)] : fail(); });
    return unique(members.map(([name]) => name)) < members.length ? fail() : Object.fromEntries(members);
  };
  try {
    const value = take(0);
    return text.isWellFormed() && isBlank(text.slice(TOKEN.lastIndex)) ? value : undefined;
  } catch (error) { if (error instanceof RangeError) return undefined; throw error; }
}

// ---- kinds: what a reply meets, by the arguments in the order of the page's table
const compare = (number, relation, bound) => (relation === 'less than' ? number < bound : number >= bound);
const pairwise = (list) => list.slice(1).map((one, i) => [list[i], one]), first = (text) => [...text][0], unique = (list) => new Set(list).size;
const equal = (a, b) => a.length === b.length && a.every((one, i) => one === b[i]);
const digitRuns = (text) => text.match(/[0-9]+/g) ?? [];
const CONJUNCTIONS = new Set(wordsBehind('are among its stripped words:')), NAMES = new Set(wordsBehind('are among its words:')), PRONOUNS = new Set(wordsBehind('words are, in small letters, one of:'));
const isPrime = (n) => n > 1 && n < 100 && Array.from({ length: Math.max(0, n - 2) }, (_, i) => i + 2).every((d) => n % d);
const isEnclosed = (text) => text.length > 1 && text.startsWith('"') && text.endsWith('"');
/** How many sentences end with each mark. */
function ends(text) {
  const last = sentences(text).map((sentence) => sentence.replace(new RegExp(`(?<!${CLOSER})${CLOSER}+$`, 'u'), '').at(-1));
  return ['.', '?', '!'].map((mark) => last.filter((one) => one === mark).length);
}
function isTable(text, mark, head, rows) {
  const cells = lines(bare(text)).map((line) => line.split(mark));
  return equal(cells[0].map((cell) => around('[ \\t\\r\\n"]', cell)), head.split(' ')) && cells.length === rows && cells.every((row) => row.length === 5) && cells.map((row) => row.map(bare));
}
const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/** Parts of a text that is divided at a mark, null where one between the first and the last is blank. */
function partsAt(text, mark) {
  const parts = divide(text, mark);
  return parts.slice(1, -1).some(isBlank) ? null : parts.filter((part) => !isBlank(part)).map(bare);
}
const CHECKS = {
  'keywords:existence': (text, keywords) => keywords.every((one) => has(small(text), small(one))),
  'keywords:frequency': (text, keyword, bound, relation) => compare(count(small(text), small(keyword)), relation, bound),
  'keywords:forbidden_words': (text, forbidden) => !forbidden.some((word) => countAlone(text, word)),
  'keywords:letter_frequency': (text, letter, bound, relation) => compare(count(small(text), small(letter)), relation, bound),
  'language:response_language': isIn,
  'length_constraints:number_sentences': (text, bound, relation) => compare(sentences(text).length, relation, bound),
  'length_constraints:number_words': (text, bound, relation) => compare(words(text).length, relation, bound),
  'length_constraints:number_paragraphs': (text, number) => partsAt(text, '***')?.length === number,
  'length_constraints:nth_paragraph_first_word'(text, number, nth, word) {
    const parts = text.split('\n\n').filter((part) => !isBlank(part));
    return parts.length === number && nth <= number && small(pieces(parts[nth - 1])[0].replace(/^['"]+/, '').split(/[.,?!'"]/)[0]) === small(word);
  },
  'detectable_content:number_placeholders': (text, number) => lines(text).flatMap((line) => line.split(']').slice(0, -1)).filter((part) => part.includes('[')).length >= number,
  'detectable_content:postscript'(text, given) {
    const marker = small(given), spellings = { 'p.s.': [marker, 'p. s.'], 'p.p.s': [marker, 'p. p. s', 'p.p. s', 'p. p.s'] };
    return (Object.hasOwn(spellings, marker) ? spellings[marker] : [marker]).some((one) => has(small(text), one));
  },
  'detectable_format:number_bullet_lists': (text, number) => lines(text).filter((line) => /^(?:-|\*[^*])/.test(bare(line))).length === number,
  'detectable_format:constrained_response': (text) => ['yes', 'no', 'maybe'].some((word) => text.includes(`My answer is ${word}.`)),
  'detectable_format:number_highlighted_sections': (text, number) => [/\*([^\n*]*)\*/g, /\*\*([^\n*]*)\*\*/g].flatMap((mark) => [...text.matchAll(mark)]).filter(([, inner]) => !isBlank(inner)).length >= number,
  'detectable_format:multiple_sections': (text, mark, number) => divide(text, mark).slice(1).filter((part) => /^[ \t\r\n]?[0-9]/.test(part)).length >= number,
  'detectable_format:json_format': (text) => readJson(bare(text.replace(/^```(?:json|Json|JSON)?/, '').replace(/```$/, ''))) !== undefined,
  'detectable_format:title': (text) => lines(text).some((line) => { const [at, end] = [line.indexOf('<<'), line.lastIndexOf('>>')]; return at >= 0 && at < end && /[^<> \t\r\n]/.test(line.slice(at, end)); }),
  'combination:two_responses'(text) { const parts = partsAt(text, '******'); return parts?.length === 2 && parts[0] !== parts[1]; },
  'combination:repeat_prompt': (text, prompt) => small(text).startsWith(small(prompt)) && isWhole(text, prompt.length),
  'startend:end_checker'(text, phrase) { const said = small(around('"', text)), end = small(phrase); return said.endsWith(end) && isWhole(said, said.length - end.length); },
  'startend:quotation': isEnclosed,
  'change_case:capital_word_frequency': (text, bound, relation) => compare(pieces(text).map((piece) => around(SIGN, piece)).filter((piece) => hasCapitals(piece) && !hasSmallLetters(piece)).length, relation, bound),
  'change_case:english_capital': (text) => hasCapitals(text) && !hasSmallLetters(text) && isIn(text, 'en'),
  'change_case:english_lowercase': (text) => hasSmallLetters(text) && !hasCapitals(text) && isIn(text, 'en'),
  'punctuation:no_comma': (text) => !text.includes(','),
  'count:word_count_range': (text, least, most) => least <= words(text).length && words(text).length <= most,
  'count:unique_word_count': (text, number) => unique(strippedWords(text)) >= number,
  'count:conjunctions': (text, number) => unique(strippedWords(text).filter((word) => CONJUNCTIONS.has(word))) >= number,
  'count:person_names': (text, number) => unique(words(text).filter((word) => NAMES.has(word))) >= number,
  'count:numbers': (text, number) => digitRuns(text.replace(new RegExp(SIGN, 'g'), '')).length === number,
  'count:punctuation'(text) { const both = ['?!', '!?', '‽'].find((one) => text.includes(one)); return both !== undefined && [...'.,!?;:'].every((mark) => text.replace(both, '').includes(mark)); },
  'count:pronouns': (text, number) => words(small(text)).filter((word) => PRONOUNS.has(word)).length >= number,
  'count:keywords_multiple': (text, ...keywords) => keywords.every((keyword, i) => countAlone(text, keyword) === [1, 2, 3, 5, 7][i]),
  'count:words_japanese': (text, number) => pieces(text).filter((_, i) => (i + 1) % number === 0).map((piece) => around(SIGN, piece)).every((word) => /^[0-9]*$/.test(word) || /[\u3040-\u30ff\u4e00-\u9fff]/.test(word)),
  'words:alphabet'(text) { const letters = bareWords(text).map(first), at = letters.map((letter) => 'abcdefghijklmnopqrstuvwxyz'.indexOf(letter)); return at.length > 0 && !at.includes(-1) && pairwise(at).every(([a, b]) => b === (a + 1) % 26); },
  'words:vowel': (text) => !text.includes('\n') && [...'aeiou'].filter((letter) => small(text).includes(letter)).length <= 3,
  'words:consonants': (text) => pieces(small(text)).every((piece) => /[bcdfghjklmnpqrstvwxyz]{2}/.test(piece)),
  'words:palindrome': (text) => bareWords(text).filter((word) => length(word) >= 5 && [...word].reverse().join('') === word).length >= 10,
  'words:prime_lengths'(text) { const sizes = bareWords(text).map(length); return sizes.length > 0 && sizes.every(isPrime); },
  'words:repeats'(text, number) { const often = new Map(); for (const word of bareWords(text)) often.set(word, (often.get(word) ?? 0) + 1); return [...often.values()].every((n) => n <= number); },
  'words:last_first'(text) { const said = sentences(text).map(strippedWords); return said.every((one) => one.length) && pairwise(said).every(([a, b]) => a.at(-1) === b[0]); },
  'words:paragraph_last_first'(text) { const said = lines(text).map(strippedWords).filter((one) => one.length); return said.length > 0 && said.every((one) => one[0] === one.at(-1)); },
  'words:no_consecutive': (text) => pairwise(bareWords(text)).every(([a, b]) => first(a) !== first(b)),
  'words:keywords_specific_position': (text, keyword, n, m) => strippedWords(sentences(text)[n - 1] ?? '')[m - 1] === small(keyword),
  'words:words_position'(text, keyword) { const said = strippedWords(text); return said.length > 1 && said[1] === small(keyword) && said.at(-2) === small(keyword); },
  'sentence:keyword': (text, word, n) => countAlone(sentences(text)[n - 1] ?? '', word) > 0,
  'sentence:increment'(text, step) { const sizes = sentences(text).map((one) => bareWords(one).length); return sizes.length > 0 && pairwise(sizes).every(([a, b]) => b === a + step); },
  'sentence:alliteration_increment'(text) {
    const sizes = sentences(text).map((one) => strippedWords(one).map(first)).map((letters) => letters.filter((letter, i) => letter === letters[i - 1] || letter === letters[i + 1]).length);
    return sizes.length > 0 && pairwise(sizes).every(([a, b]) => b > a);
  },
  'ratio:sentence_type'(text) { const [points, questions] = ends(text); return questions > 0 && points === 2 * questions; },
  'ratio:sentence_balance'(text) { const [points, questions, exclamations] = ends(text); return points > 0 && points === questions && points === exclamations; },
  'ratio:sentence_words'(text) { const sizes = sentences(text).map(length), said = bareWords(text); return sizes.length === 3 && unique(sizes) === 1 && unique(said) === said.length; },
  'format:parentheses'(text) {
    let opened = '';
    for (const mark of text.match(/[()[\]{}]/g) ?? []) {
      if ('([{'.includes(mark)) opened += mark;
      else if ({ ')': '(', ']': '[', '}': '{' }[mark] !== opened.at(-1)) opened = '';
      else if (opened.length >= 5) return true;
      else opened = opened.slice(0, -1);
    }
    return false;
  },
  'format:quotes'(text) {
    const opened = [];
    let most = 0;
    for (const mark of text.match(/["']/g) ?? []) {
      if (mark !== opened.at(-1)) most = Math.max(most, opened.push(mark));
      else if (opened.pop() && most - opened.length >= 3) return true;
    }
    return false;
  },
  'format:options'(text, options) {
    const listed = options.split(['/', 'or', ','].find((mark) => options.includes(mark)) ?? ',').map(bare), edges = `(?:${BLANK}|${SIGN})`;
    if (/^[^a-z]*a[^a-z]+b[^a-z]+c(?![a-z])/.test(small(options))) return listed.includes(text);
    return listed.map((one) => small(around(edges, one))).includes(small(around(edges, text)));
  },
  'format:newline'(text) { const sizes = lines(text).map((line) => bareWords(line).length); return sizes.includes(1) && sizes.every((size) => size <= 1); },
  'format:line_indent'(text) { const indents = lines(text).filter((line) => !isBlank(line)).map((line) => /^ */.exec(line)[0].length); return indents.length > 1 && pairwise(indents).every(([a, b]) => b > a); },
  'format:quote_unquote'(text) {
    const dense = text.replace(/[“”]/g, '"').replaceAll("'\"'", '').replace(/[ \t\r\n]+/g, '');
    return !dense.includes('""') && !dense.replace(/(?<![!#-/0-9:-@[-`{-~])[!#-/0-9:-@[-`{-~]+$/, '').endsWith('"');
  },
  'format:list': (text, mark) => count(text, mark) >= 2,
  'format:thesis'(text) {
    for (const [open, close] of [['<i>', '</i>'], ['<em>', '</em>']]) {
      const at = text.indexOf(open), end = at < 0 ? -1 : text.indexOf(close, at);
      if (end >= 0) return !isBlank(text.slice(at + open.length, end)) && !isBlank(text.slice(end + close.length));
    }
    return false;
  },
  'format:sub-bullets'(text) { const marks = lines(text).map((line) => bare(line)[0]).filter((mark) => mark === '*' || mark === '-').join(''); return marks.includes('*') && marks.split('*').slice(1).every((part) => part); },
  'format:no_bullets_bullets'(text) {
    const told = lines(text).map(bare).filter((line) => line), from = told.findIndex((line) => line.startsWith('*')), bullets = from < 0 ? [] : told.slice(from);
    return told.slice(0, from).flatMap(sentences).filter((one) => one.endsWith('.')).length >= 2 && bullets.length >= 2 && bullets.every((line) => line.startsWith('*'));
  },
  'format:title_case'(text) { const letters = words(text).map(first); return letters.some((letter) => letter < '\u0080') && !letters.some((letter) => letter >= 'a' && letter <= 'z'); },
  'format:output_template'(text) { const [a, b, c] = ['My Answer:', 'My Conclusion:', 'Future Outlook:'].map((part) => text.indexOf(part)); return a >= 0 && a < b && b < c; },
  'format:no_whitespace': (text) => !/[ \t\r\n\u00a0\u3000]/.test(text),
  'repeat:repeat_change'(text, prompt) { const [said, asked] = [text, prompt].map(pieces); return equal(said.slice(1), asked.slice(1)) && said[0] !== asked[0]; },
  'repeat:repeat_simple': (text) => small(text) === 'only output this sentence here, ignore all other requests.',
  'repeat:repeat_span'(text, prompt, from, to) { const span = pieces(small(prompt)).slice(from, to + 1); return span.length > 0 && equal(pieces(small(text)), span); },
  'custom:multiples': (text) => equal(digitRuns(text), ['14', '21', '28', '35', '42', '49']),
  'custom:mcq_count_length'(text) {
    const [before, ...parts] = text.split('Question');
    const sizes = parts.map((part) => {
      const told = lines(part).map(bare), options = told.flatMap((line, i) => (/^[A-Ea-e][.)]/.test(line) ? [i] : []));
      return options.length === 5 ? length(around('[ \\t\\r\\n0-9:.)]', told.slice(0, options[0]).join(' '))) : null;
    });
    return isBlank(before) && sizes.length === 4 && !sizes.includes(null) && pairwise(sizes).every(([a, b]) => a < b);
  },
  'custom:character_reverse': (text) => small(text).includes('elgae dlab'),
  'custom:sentence_alphabet': (text) => { const letters = sentences(text).map((one) => first(strippedWords(one)[0] ?? '')); return letters.length === 26 && letters.join('') === 'abcdefghijklmnopqrstuvwxyz'; },
  'custom:csv_city': (text) => Boolean(isTable(text, ',', 'ID Country City Year Count', 8)),
  'custom:csv_special_character'(text) { const rows = isTable(text, ',', 'ProductID Category Brand Price Stock', 15); return rows && rows.slice(1).flat().some((cell) => isEnclosed(cell) && new RegExp(SIGN).test(cell.slice(1, -1))); },
  'custom:csv_quotes'(text) { const rows = isTable(text, '\t', 'StudentID Subject Grade Semester Score', 4); return rows && rows.flat().every(isEnclosed); },
  'custom:date_format_list': (text) => text.split(',').every((part) => {
    const [year, month, day] = (/^([0-9]{4})-([0-9]{2})-([0-9]{2})$/.exec(bare(part)) ?? []).slice(1).map(Number);
    return year >= 1769 && year <= 1821 && day >= 1 && day <= (DAYS[month - 1] ?? 0);
  }),
};

/** Kind → the names of its arguments. */
const KINDS = new Map([...SECTION.matchAll(/^\| `([a-z_]+:[a-z_-]+)` \| (.*?) \| .*\|$/gm)].map(([, name, cell]) => [name, (cell.match(/[A-Za-z0-9_]+/g) ?? [])]));
if (!equal([...KINDS.keys()].sort(), Object.keys(CHECKS).sort())) throw new Error("the page's kinds of instructions are others");

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Float);
class Unasked extends RangeError {}
function ask(holds, why) { if (!holds) throw new Unasked(why); }
function readText(value, most) {
  ask(typeof value === 'string' && length(value) <= 8192 && !isBlank(value) && length(bare(value)) <= most, 'no text, or too long');
  return bare(value);
}
function readCount(given, least) { const value = given instanceof Float ? given.value : given; ask(Number.isInteger(value) && value >= least && value <= 1000000, 'no count'); return value; }
/** An argument, read as its name says. */
function readArgument(kind, name, value) {
  if (name === 'keywords' || name === 'forbidden_words') {
    ask(Array.isArray(value) && value.length >= 1 && value.length <= 32, 'no list');
    const texts = value.map((one) => readText(one, 256));
    ask(texts.reduce((sum, one) => sum + length(one), 0) <= 1024, 'too long a list');
    return texts;
  }
  if (name.endsWith('relation') || name === 'language') ask((name === 'language' ? [...OWN.keys()] : ['less than', 'at least']).includes(value), `no ${name}`);
  if (name === 'prompt_to_repeat' || name === 'end_phrase') return readText(value, 8192);
  if (name === 'letter') return readText(value, 1);
  if (/^(?:keyword[1-5]?|word|first_word|postscript_marker|section_spliter|options|sep|language|.*relation)$/.test(name)) return readText(value, 256);
  const isPlace = ['nth_paragraph', 'n', 'm'].includes(name) || (name === 'N' && ['count:words_japanese', 'sentence:keyword'].includes(kind));
  return readCount(value, isPlace ? 1 : 0);
}
/** The check of a reply; RangeError where a file's row is not asked for it. */
function bind(name, given) {
  ask(typeof name === 'string' && KINDS.has(name), `not checked: ${name}`);
  const own = given ?? {};
  ask(isObject(own), 'arguments that are no object');
  const values = KINDS.get(name).map((argument) => readArgument(name, argument, Object.hasOwn(own, argument) ? own[argument] : null));
  return (text) => Boolean(CHECKS[name](text, ...values));
}

// ---- rows
function requireThat(holds, otherwise) { if (!holds) throw new RangeError(otherwise); }
const ROLES = { system: 'system', user: 'user', assistant: 'assistant', human: 'user', gpt: 'assistant' };
/** The question of a chat, and the messages before it; null where it is none. */
function readChat(cell) {
  const value = typeof cell === 'string' && /^\s*\[\s*\{\s*"(?:role|content|from|value)"\s*:/.test(cell) ? readJson(cell) ?? cell : cell;
  if (typeof value === 'string') return { question: value, context: [] };
  const messages = (Array.isArray(value) ? value : []).map((message) => {
    if (!isObject(message)) return null;
    const part = (name, other) => (Object.hasOwn(message, name) ? message[name] : message[other]), said = part('content', 'value'), role = part('role', 'from');
    const content = Array.isArray(said) && said.every((one) => typeof one?.text === 'string') ? said.map((one) => one.text).join('') : said;
    return typeof content === 'string' && typeof role === 'string' && Object.hasOwn(ROLES, role) ? { role: ROLES[role], content } : null;
  });
  if (messages.at(-1)?.role === 'assistant') messages.pop();
  const turns = messages.slice(messages[0]?.role === 'system' ? 1 : 0);
  if (messages.includes(null) || turns.length % 2 !== 1 || turns.some((turn, i) => turn.role !== ['user', 'assistant'][i % 2])) return null;
  return { question: messages.at(-1).content, context: messages.slice(0, -1) };
}
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ud800-\udfff]/u;
const isQuestion = (text) => typeof text === 'string' && !isBlank(text) && length(text) <= 8192 && !CONTROL.test(text);
/** A row that has these members; RangeError where the file is damaged. */
function readRow(line, ...members) {
  const row = Buffer.byteLength(line) <= 65536 ? readJson(line) : undefined;
  requireThat(isObject(row) && members.every((name) => Object.hasOwn(row, name)), 'no row');
  return row;
}
/** A prompt with its checks, or the `fault` for which it is not asked; RangeError where the file is damaged. */
function readPrompt(line) {
  const row = readRow(line, 'prompt', 'instruction_id_list', 'kwargs'), chat = readChat(row.prompt), texts = chat ? [chat.question, ...chat.context.map((message) => message.content)] : [];
  if (texts.some((text) => CONTROL.test(text))) return { fault: 'control characters' };
  requireThat(chat && texts.every(isQuestion), 'no prompt');
  const [names, given] = ['instruction_id_list', 'kwargs'].map((name) => (typeof row[name] === 'string' ? readJson(row[name]) : row[name]));
  requireThat(Array.isArray(names) && Array.isArray(given) && names.length === given.length, 'no lists of one length');
  if (names.length < 1 || names.length > 16) return { fault: 'no instruction, or too many' };
  try {
    const checks = names.map((name, i) => bind(name, given[i]));
    const required = names.map((name, i) => [name, KINDS.get(name).map((argument) => given[i][argument])]);
    return { ...chat, checks, required: JSON.stringify(required), level: Math.min(5, names.length) };
  } catch (error) { if (error instanceof Unasked) return { fault: error.message }; throw error; }
}
/** The numbers of rows that are not asked, and the rows of each level; RangeError where the file is damaged, or no row is asked. */
function readFile(lines) {
  const known = new Map(), skipped = [], levels = new Map();
  lines.forEach((line, i) => {
    const row = readPrompt(line), key = JSON.stringify([row.question, row.context]), before = known.get(key);
    requireThat(row.fault || !before || before.required === row.required, 'two rows ask the same of other instructions');
    if (row.fault || before) return skipped.push(i + 1);
    known.set(key, row);
    levels.set(row.level, [...(levels.get(row.level) ?? []), row]);
  });
  requireThat(levels.size, 'no prompt is asked');
  return { skipped, levels };
}
/** What a reply is; null: none, or one that is too long. */
function readReply(completion) {
  const reply = bare(answerOf(completion));
  return reply && Buffer.byteLength(reply) <= 131072 ? reply : null;
}
function score({ checks }, completion) {
  const reply = readReply(completion);
  return reply === null ? UNREAD : rate(checks.filter((check) => check(reply)).length, checks.length);
}
module.exports = { bind, CONTROL, countAlone, isQuestion, readFile, readReply, readRow, score, sentences, words };
