'use strict';
// Pieces and proposals (docs/environments.md, Pieces): the problems that are drawn from a pool, and what a check of a text finds.
// Normal forms and values are written by Assay's own inside.py, in the image; the runs, what they count and what follows from
// them are derived here.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { sha256, hex } = require('./core.js');
const { open } = require('./environments.js');
const { Runner, findProgram } = require('./programs.js');
const { readAnswer, request } = require('./prompts.js');
const { rate, UNREAD } = require('./rules.js');

const FUNCTION_MAX = 4096, INPUT_MAX = 2048, INPUTS_MAX = 16, SAID_MAX = 1 << 16, BYTE_COST = 500, MAKING = 200000000, BUDGET = 100000000, CLOCK = 10n ** 15n;
const FAULTS = 'text syntax name attribute literal size form unused input raises value changes unstable constant copy budget crash known pairs'.split(' ');
const UNREADABLE = ['text', 'syntax', 'input'], INSIDE = readFileSync(join(__dirname, '../../../assay/environments/pieces/inside.py'), 'utf8');
const digestOf = (form) => hex(sha256(Buffer.from(form)));
const isLong = (text, most) => !text.isWellFormed() || Buffer.byteLength(text) > most;

// ---- problems
const [, FUNCTIONS] = /^\*\*Functions\*\*: (.*)\.$/m.exec(readFileSync(join(__dirname, '../../../docs/environments.md'), 'utf8'));
const RULES = `The function imports nothing, leaves its arguments as they are and calls no functions but its own, methods and these: ${FUNCTIONS.replace(/[`,]/g, '')}. `;
const BLOCK = 'between a line of ```python and a line of ```.\n', INPUT = 'a line of ####, a space and the arguments as they stand between the parentheses of a call', OTHER = 'Other calls are tried, too. ';
const PAIRS_MIN = 4, LEVELS = 8, call = (row, i) => `f(${row.inputs[i]}) == ${row.outputs[i]}`, half = (stream, { inputs: { length: n } }) => stream.sample(n, Math.ceil(n / 2));
const differing = (row) => row.inputs.flatMap((given, i) => (given === row.outputs[i] ? [] : [i]));
const isAsked = { abduce: (row) => differing(row).length > 0, induce: (row) => row.inputs.length >= PAIRS_MIN };
const ASK = {
  deduce(stream, rows, form) {
    const row = stream.choose(rows);
    return `${row.function}\n\nWhat does f(${stream.choose(row.inputs)}) return?${request(form, 'the value as Python writes it')}`;
  },
  abduce(stream, rows, form) {
    const row = stream.choose(rows), due = row.outputs[stream.choose(differing(row))];
    return `${row.function}\n\nFind arguments for which f returns the value below, other than that value itself.\n${due}${request(form, 'the arguments as they stand between the parentheses of the call')}`;
  },
  induce(stream, rows) {
    const row = stream.choose(rows), pairs = half(stream, row).map((i) => call(row, i));
    return `${['Write a Python function f of which this holds:', ...pairs].join('\n')}\n${OTHER}${RULES}End with it, ${BLOCK}`;
  },
  propose(stream, rows) {
    const able = [rows, rows.filter((row) => row.inputs.length < INPUTS_MAX), rows.filter(isAsked.induce)], kind = stream.choose([0, 1, 2].filter((one) => able[one].length));
    const row = stream.choose(able[kind]), place = kind < 2 ? stream.between(0, row.inputs.length - 1) : null, task = ['Write another Python function f, and an input for it.', 'Find another input for this f.'][kind];
    const second = task ? [row.function, '', call(row, place), '', task] : ['Write another Python function f of which this holds:', ...half(stream, row).map((i) => call(row, i))];
    const first = stream.choose(rows.filter((other) => other !== row)), shown = [first.function, '', call(first, stream.between(0, first.inputs.length - 1)), ''];
    const end = [`${RULES}End with ${INPUT}, and then with the function ${BLOCK}`, `End with ${INPUT}.\n`, `${OTHER}${RULES}End with the function ${BLOCK}`][kind];
    return { kind, piece: row, prompt: `${[...shown, ...second].join('\n')}\n${end}` };
  },
};
/** A problem of an environment's name, drawn from rows in the order of a pool: level and prompt, and of a proposal what `propose` of a checker asks for. */
function draw(name, { answer_form: form }, rows, seed, levels) {
  const [family] = name.split(':'), [stream, level] = open(name, seed, levels), asked = rows.filter(isAsked[family] ?? (() => true)).sort((a, b) => a.size - b.size);
  const k = Math.min(LEVELS, asked.length), start = (l) => Math.floor((l * asked.length) / k);
  const problem = ASK[family](stream, asked.slice(start(level - 1), start(level)), Number(form ?? 0));
  return { level, ...(typeof problem === 'string' ? { prompt: problem } : problem) };
}

// ---- checks
class Checker {
  constructor(image, budget) { Object.assign(this, { runner: new Runner(image), budget }); }
  /** { fault, fields, instructions } of one run. */
  ask(work, texts, again, budget = this.budget) {
    if (texts.some((text, i) => text.includes('\0') || isLong(text, i ? INPUT_MAX : FUNCTION_MAX))) return { fault: 'text', fields: [], instructions: 0 };
    this.code ??= this.runner.compile(`${INSIDE}\nserve()\n`, MAKING).output;
    const given = Buffer.from([work, ...texts].join('\0')), found = this.runner.run('M', this.code, given, budget, SAID_MAX, BYTE_COST, again, work === 'check');
    const [head, ...fields] = found.output.toString('latin1').split('\0'), { end, instructions } = found;
    if (end === 'instructions') return { fault: 'budget', fields, instructions };
    if (end === 'exit 0' && head === 'ok') return { fault: null, fields, instructions };
    const fault = end === 'exit 0' && FAULTS.includes(head) ? head : 'crash';
    return { fault, fields: [], instructions };
  }
  /** { fault, piece, instructions }: fault or piece is null. `known` has digests in hex. */
  check(text, inputs, known) {
    if (inputs.length < 1 || inputs.length > INPUTS_MAX) return { fault: 'input', piece: null, instructions: 0 };
    let instructions = 0;
    const ask = (...given) => { const said = this.ask(...given); instructions += said.instructions; return said; };
    const refuse = (fault) => ({ fault, piece: null, instructions });
    const first = ask('check', [text, ...inputs]);
    if (!first.fields.length) return refuse(first.fault); // a budget that is used up by other inputs is none
    const [form, size, ...said] = first.fields, pairs = said.slice(0, 2 * inputs.length), [given, outputs] = [0, 1].map((side) => pairs.filter((_, i) => i % 2 === side));
    if (known.includes(digestOf(form))) return refuse('known');
    if (said.length > pairs.length) return refuse('constant');
    const second = ask('again', [form, ...given], { seed: 1n, clock: CLOCK });
    if (['budget', 'crash'].includes(second.fault)) return refuse(second.fault);
    if (second.fields.join('\0') !== outputs.join('\0')) return refuse('unstable');
    return { fault: null, piece: { function: form, inputs: given, outputs, size: Number(size) }, instructions };
  }
  /** Whether a row's function gives all of its outputs within what any `induce` leaves an answer. */
  isSolvable({ function: form, inputs, outputs }) { return this.ask('run', [form, ...inputs], {}, BUDGET).fields.join('\0') === outputs.join('\0'); }
  /** { fault, piece } of a completion that proposes something about a piece: 0 a function, 1 an input, 2 a function for its pairs; null: it proposes nothing. */
  propose(kind, piece, completion, known) {
    const block = kind === 1 ? { program: '', before: '' } : findProgram(completion), given = kind === 2 ? '' : readAnswer(0, kind === 1 ? completion : (block?.before ?? '').replace(/\n+$/, ''));
    if (block === null || given === null) return null;
    const { program } = block;
    const found = kind === 1 ? this.check(piece.function, [given], []) : this.check(program, kind === 2 ? piece.inputs : [given], known);
    if (!found.piece) return found;
    if (kind === 1 && piece.inputs.includes(found.piece.inputs[0])) return { fault: 'known', piece: null };
    return kind === 2 && found.piece.outputs.join('\0') !== piece.outputs.join('\0') ? { fault: 'pairs', piece: null } : found;
  }
  /** What it earns. */
  score(...asked) {
    const found = this.propose(...asked);
    return !found || UNREADABLE.includes(found.fault) ? UNREAD : rate(found.piece ? 1 : 0, 1);
  }
}

module.exports = { Checker, digestOf, draw };
