'use strict';
// Chat templates: section 3. Of Jinja, the statements for, if, set and generation, and the expressions of small templates. What is
// not here is unreadable, and so is what comes near a bound, as only the budgets' order of magnitude is counted.
const BLANK = '\\t\\n\\v\\f\\r\\x1c-\\x1f \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const [START, END] = [`^[${BLANK}]+`, `[${BLANK}]+$`].map((text) => new RegExp(text));
const bare = (text) => text.replace(START, '').replace(END, '');

/** What this program does not render. */
class Unreadable extends Error {}
/** What a template says of itself: it fails for these messages. */
class Failure extends Error {}
const known = (holds, what) => { if (!holds) throw new Unreadable(`the chat template has ${what}, which this program does not render`); };

// ---- text and tags, with the blanks that go
function divide(source) {
  known(!/[\r]|\{%-?\s*(?:raw|endraw)\b|(?:\{[%{#]\+|\+[%}#]\})/.test(source), 'line ends, raw text or a plus sign at a tag');
  const parts = [], tag = /\{%(-?)((?:[^"'%]|%(?!\})|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*?)(-?)%\}|\{\{(-?)((?:[^"'}]|\}(?!\})|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*?)(-?)\}\}|\{#(-?)([^]*?)(-?)#\}/g;
  const whole = source.replace(/\n$/, '');
  let at = 0, isLineStart = true;
  for (let match; (tag.lastIndex = at), (match = tag.exec(whole)); ) {
    const kind = match[2] !== undefined ? 'block' : match[5] !== undefined ? 'value' : 'note';
    const [before, inner, after] = { block: [1, 2, 3], value: [4, 5, 6], note: [7, 8, 9] }[kind].map((i) => match[i]);
    let text = whole.slice(at, match.index);
    known(!/\{[{%#]/.test(text), 'an open tag');
    const line = text.lastIndexOf('\n') + 1;
    if (before) text = text.replace(END, '');
    else if (kind !== 'value' && (line > 0 || isLineStart) && bare(text.slice(line)) === '') text = text.slice(0, line);
    parts.push({ kind: 'text', text });
    if (kind !== 'note') parts.push({ kind, tokens: readTokens(inner) });
    at = match.index + match[0].length;
    const rest = whole.slice(at), gone = after ? START.exec(rest)?.[0] ?? '' : kind !== 'value' && rest[0] === '\n' ? '\n' : '';
    at += gone.length, (isLineStart = gone.endsWith('\n'));
  }
  known(!/\{[{%#]/.test(whole.slice(at)), 'an open tag');
  return [...parts, { kind: 'text', text: whole.slice(at) }];
}
const TOKEN = /\s*(?:([A-Za-z_][A-Za-z0-9_]*)|([0-9]+)(?![0-9A-Za-z_.])|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(==|!=|<=|>=|[<>+~|().,:=[\]-]))/y;
function readTokens(text) {
  const tokens = [], inner = text.trimEnd();
  known(/^[\t\n -~]*$/.test(inner), 'a tag beyond ASCII');
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < inner.length; ) {
    const from = TOKEN.lastIndex, match = TOKEN.exec(inner);
    known(match, `"${inner.slice(from, from + 20)}"`);
    const [, name, number, quoted, sign] = match;
    known(!number || number.length < 16, 'a large number');
    tokens.push(name ? { name } : number ? { value: BigInt(number) } : quoted ? { value: unquote(quoted) } : { sign });
  }
  known(tokens.filter(({ name }) => /^(?:not|if|else)$/.test(name)).length < 16, 'many words in one tag');
  return tokens;
}
function unquote(text) {
  return text.slice(1, -1).replace(/\\([^])/g, (_, letter) => {
    const made = { n: '\n', t: '\t', '\\': '\\', "'": "'", '"': '"' }[letter];
    known(made !== undefined, `the escape \\${letter}`);
    return made;
  });
}

// ---- expressions: functions of a rendering
class Parser {
  constructor(tokens) { Object.assign(this, { tokens, at: 0, depth: 0 }); }
  next(...words) {
    const token = this.tokens[this.at], word = token?.name ?? token?.sign;
    return word !== undefined && words.includes(word) ? (this.at++, word) : null;
  }
  need(word) { known(this.next(word), `no "${word}" where there is one otherwise`); }
  name() {
    const token = this.tokens[this.at++];
    known(token?.name, 'something else for a name');
    return token.name;
  }
  end() { known(this.at === this.tokens.length, `"${JSON.stringify(this.tokens[this.at]?.name ?? this.tokens[this.at]?.sign ?? 'a value')}"`); }
  whole() {
    known(++this.depth < 8, 'deep brackets');
    const then = this.either();
    if (this.next('if')) {
      const condition = this.either(), other = this.next('else') ? this.whole() : () => NOTHING;
      this.depth--;
      return (r) => r.step(isTrue(condition(r)) ? then(r) : other(r));
    }
    this.depth--;
    return then;
  }
  either() {
    let left = this.both();
    while (this.next('or')) { const [a, b] = [left, this.both()]; left = (r) => { const x = a(r); return r.step(isTrue(x) ? x : b(r)); }; }
    return left;
  }
  both() {
    let left = this.not();
    while (this.next('and')) { const [a, b] = [left, this.not()]; left = (r) => { const x = a(r); return r.step(isTrue(x) ? b(r) : x); }; }
    return left;
  }
  not() {
    if (!this.next('not')) return this.compare();
    const inner = this.not();
    return (r) => r.step(!isTrue(inner(r)));
  }
  compare() {
    const left = this.sum();
    const negated = this.tokens[this.at]?.name === 'not' && this.tokens[this.at + 1]?.name === 'in' && this.next('not');
    const sign = this.next('==', '!=', '<', '<=', '>', '>=', 'in');
    if (!sign) return left;
    const right = this.sum();
    known(!['==', '!=', '<', '<=', '>', '>='].includes(this.tokens[this.at]?.sign), 'a chain of comparisons');
    return (r) => r.step(compare(negated ? 'not in' : sign, left(r), right(r)));
  }
  sum() {
    let left = this.join();
    for (let sign; (sign = this.next('+', '-')); ) {
      const [a, b, is] = [left, this.join(), sign];
      left = (r) => r.step(add(is, a(r), b(r)));
    }
    return left;
  }
  join() {
    let left = this.post();
    while (this.next('~')) { const [a, b] = [left, this.post()]; left = (r) => r.step(toText(a(r)) + toText(b(r))); }
    return left;
  }
  post() {
    let value = this.primary();
    for (let sign; (sign = this.next('.', '[', '|', 'is')); ) value = { '.': () => this.attribute(value), '[': () => this.item(value), '|': () => this.filter(value), is: () => this.test(value) }[sign]();
    known(this.tokens[this.at]?.sign !== '(', 'a call');
    return value;
  }
  primary() {
    if (this.next('(')) { const inner = this.whole(); this.need(')'); return inner; }
    const token = this.tokens[this.at++];
    known(token && !token.sign, `"${token?.sign ?? 'nothing'}"`);
    if ('value' in token) return (r) => r.step(token.value);
    const { name } = token, constant = { true: true, True: true, false: false, False: false, none: null, None: null }[name];
    if (constant !== undefined) return (r) => r.step(constant);
    if (name === 'raise_exception' && this.next('(')) { this.whole(), this.need(')'); return () => { throw new Failure('it raises an exception'); }; }
    known(!RESERVED.has(name), `"${name}"`);
    return (r) => r.step(r.get(name));
  }
  attribute(of) {
    const name = this.name();
    if (name === 'strip' && this.next('(')) {
      this.need(')');
      return (r) => { const text = of(r); known(typeof text === 'string', 'strip of no text'); return r.step(bare(text)); };
    }
    return (r) => r.step(take(of(r), name, true));
  }
  item(of) {
    if (this.next(':')) { known(false, 'a part of a list'); }
    const at = this.whole();
    if (this.next(':')) {
      this.need(']');
      return (r) => { const [list, from] = [of(r), at(r)]; known(Array.isArray(list) && typeof from === 'bigint', 'a part of no list'); return r.step(list.slice(Number(from))); };
    }
    this.need(']');
    return (r) => r.step(take(of(r), at(r), false));
  }
  filter(of) {
    const name = this.name();
    if (name === 'tojson') return (r) => r.step(writeJson(of(r)));
    if (/^(?:trim|string|safe)$/.test(name)) return (r) => { const text = toText(of(r)); return r.step(name === 'trim' ? bare(text) : text); };
    if (/^(?:length|count)$/.test(name)) return (r) => { const value = of(r); known(typeof value === 'string' || Array.isArray(value), 'the length of something else'); return r.step(BigInt([...value].length)); };
    known(/^(?:default|d)$/.test(name) && this.next('('), `the filter ${name}`);
    const other = this.whole();
    this.need(')');
    return (r) => { const [value, instead] = [of(r), other(r)]; return r.step(value === NOTHING ? instead : value); };
  }
  test(of) {
    const negated = this.next('not'), name = this.name(), test = TESTS[name];
    known(test, `the test ${name}`);
    const then = this.tokens[this.at]; // Jinja takes it for what the test compares with
    known(!then || (then.name ? /^(?:else|or|and)$/.test(then.name) : then.sign && then.sign !== '['), 'a test with a value behind it');
    return (r) => r.step(test(of(r)) !== Boolean(negated));
  }
}
/** A value as Python's `json.dumps` writes it. */
function writeJson(value) {
  if (value instanceof Map) return `{${[...value].map(([name, one]) => `${JSON.stringify(name)}: ${writeJson(one)}`).join(', ')}}`;
  if (Array.isArray(value)) return `[${value.map(writeJson).join(', ')}]`;
  known(value !== NOTHING, 'JSON of what is not defined');
  return typeof value === 'bigint' ? `${value}` : JSON.stringify(value);
}
/** What is not defined. */
const NOTHING = Symbol('undefined');
const TESTS = { defined: (x) => x !== NOTHING, undefined: (x) => x === NOTHING, none: (x) => x === null, string: (x) => typeof x === 'string' };
const RESERVED = new Set('namespace raise_exception range strftime_now self super caller dict lipsum cycler joiner is in and or not if else import'.split(' '));
const LOOP = new Set(['first', 'last', 'index', 'index0', 'length']);
const isTrue = (value) => (value instanceof Map ? value.size > 0 : Array.isArray(value) || typeof value === 'string' ? value.length > 0 : typeof value === 'bigint' ? value !== 0n : value === true);
function toText(value) {
  known(!(value instanceof Map) && !Array.isArray(value), 'a list or table as a text');
  return value === NOTHING ? '' : value === null ? 'None' : typeof value === 'boolean' ? (value ? 'True' : 'False') : `${value}`;
}
function add(sign, a, b) {
  if (a === NOTHING || b === NOTHING) throw new Failure('it adds what is not defined');
  known(typeof a === typeof b && (typeof a === 'bigint' || (typeof a === 'string' && sign === '+')), 'a sum of other things than two texts or two numbers');
  return sign === '+' ? a + b : a - b;
}
function compare(sign, a, b) {
  const isPlain = (x) => !(x instanceof Map) && !Array.isArray(x), number = (x) => (typeof x === 'boolean' ? BigInt(x) : x);
  if (/in$/.test(sign)) {
    known(typeof a === 'string' && (typeof b === 'string' || b instanceof Map), 'a search in something else than a text or table');
    return (typeof b === 'string' ? b.includes(a) : b.has(a)) === (sign === 'in');
  }
  if (/^[=!]=$/.test(sign)) {
    known(isPlain(a) && isPlain(b), 'a comparison of lists or tables');
    return (number(a) === number(b)) === (sign === '==');
  }
  known(typeof a === 'bigint' && typeof b === 'bigint', 'an order of other things than numbers');
  return { '<': a < b, '<=': a <= b, '>': a > b, '>=': a >= b }[sign];
}
function take(value, name, isAttribute) {
  if (value === NOTHING) throw new Failure('it reads what is not defined');
  if (value instanceof Map) {
    known(typeof name === 'string' && !/^(?:get|items|keys|values|pop|copy|update|clear|setdefault|popitem|fromkeys|_.*)$/.test(name), `the member ${String(name)}`);
    return value.has(name) ? value.get(name) : NOTHING;
  }
  known(!isAttribute && typeof name === 'bigint' && name >= 0n && (Array.isArray(value) || typeof value === 'string'), `the member ${String(name)} of something else than a table`);
  const items = [...value], at = Number(name);
  return at < items.length ? items[at] : NOTHING;
}

// ---- statements
/** Statements up to one of `ends`, which is named with its parser. */
function readBody(parts, ends, depth) {
  known(depth < 8, 'many open tags');
  const body = [];
  for (let part; (part = parts.shift()); ) {
    if (part.kind === 'text') { const { text } = part; if (text) body.push((r) => r.put(text)); continue; }
    const parser = new Parser(part.tokens);
    if (part.kind === 'value') { const value = parser.whole(); parser.end(); body.push((r) => r.put(toText(value(r)))); continue; }
    const word = parser.name();
    if (ends.includes(word)) return { run: (r) => body.forEach((one) => one(r)), word, parser };
    body.push((STATEMENTS[word] ?? (() => known(false, `the statement ${word}`)))(parser, parts, depth));
  }
  known(!ends.length, 'an open statement');
  return { run: (r) => body.forEach((one) => one(r)) };
}
const close = ({ parser }) => parser.end();
const STATEMENTS = {
  set(parser) {
    const name = parser.name();
    known(!RESERVED.has(name) && name !== 'loop', `a name "${name}" of its own`);
    parser.need('=');
    const value = parser.whole();
    parser.end();
    return (r) => r.scope.set(name, value(r));
  },
  if(parser, parts, depth) {
    const branches = [];
    for (let test = parser.either(), at = parser; ; ) {
      at.end();
      const body = readBody(parts, test ? ['elif', 'else', 'endif'] : ['endif'], depth + 1);
      branches.push([test, body.run]);
      known(branches.length < 32, 'many branches');
      if (body.word === 'endif') { close(body); break; }
      at = body.parser, (test = body.word === 'elif' ? at.either() : null);
    }
    return (r) => branches.find(([test]) => !test || isTrue(test(r)))?.[1](r);
  },
  for(parser, parts, depth) {
    const name = parser.name();
    known(!RESERVED.has(name) && name !== 'loop', `a name "${name}" of its own`);
    parser.need('in');
    const list = parser.either();
    parser.end();
    const body = readBody(parts, ['endfor'], depth + 1);
    close(body);
    return (r) => {
      const value = list(r), outer = r.scope;
      if (value === NOTHING) return;
      known(Array.isArray(value) || typeof value === 'string', 'a loop over something else than a list or text');
      const items = [...value], { length } = items;
      items.forEach((item, i) => {
        const loop = new Map([['first', i === 0], ['last', i === length - 1], ['index', BigInt(i + 1)], ['index0', BigInt(i)], ['length', BigInt(length)]]);
        r.scope = new Scope(outer, [[name, r.step(item)], ['loop', loop]]);
        body.run(r);
      });
      r.scope = outer;
    };
  },
  generation(parser, parts, depth) {
    parser.end();
    const body = readBody(parts, ['endgeneration'], depth + 1);
    close(body);
    return body.run;
  },
};
class Scope {
  constructor(outer, names) { this.outer = outer, (this.names = new Map(names)); }
  set(name, value) { this.names.set(name, value); }
  get(name) { return this.names.has(name) ? this.names.get(name) : this.outer ? this.outer.get(name) : NOTHING; }
}
const sizeOf = (value) => {
  if (typeof value === 'string') return value.length;
  const items = value instanceof Map ? [...value].flat() : Array.isArray(value) ? value : [];
  return items.reduce((size, item) => size + 16 + sizeOf(item), 1);
};
class Rendering {
  constructor(names, messages, tools) {
    const texts = messages.reduce((size, { content }) => size + [...content].length, tools ? writeJson(tools).length : 0);
    Object.assign(this, { scope: new Scope(null, names), text: '', steps: 4000 + 250 * (messages.length - 1), size: 2 ** 20 + 64 * texts });
  }
  get(name) { return this.scope.get(name); }
  /** Counts more than the budgets of section 3 do, so that what passes here is within them. */
  step(value) {
    this.size -= 4 * sizeOf(value);
    known(--this.steps > 0 && this.size > 0, 'so much to do for this prompt that its budgets may end');
    return value;
  }
  put(text) { this.text += this.step(text); }
}

class Template {
  constructor(source, special) {
    known([...source].length < 60000, 'very many characters');
    const parts = divide(source);
    [this.body, this.special] = [readBody(parts, [], 0).run, special];
  }
  /** The text of messages; a Failure where it has none. */
  render(messages, chosen, tools = null) {
    const table = messages.map((message) => new Map(Object.entries(message)));
    const names = [...Object.entries(this.special), ...Object.entries(chosen), ['messages', table], ['add_generation_prompt', true], ['tools', tools], ['documents', null]];
    const rendering = new Rendering(names, messages, tools);
    this.body(rendering);
    return rendering.text;
  }
}

module.exports = { Failure, Template, Unreadable };
