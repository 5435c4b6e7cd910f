'use strict';
// Checks every vector beside this folder: node tests/vectors/second/check.js
// Of bad inputs only those of bit fields, prefix codes and files: others are left to the tests in Python, and so are BLS signatures.
const { readFileSync, readdirSync } = require('node:fs');
const { join } = require('node:path');
const core = require('./core.js');
const file = require('./file.js');
const { Guest, findImage } = require('./guest.js');
const rules = require('./rules.js');
const environments = require('./environments.js');
const instructions = require('./instructions.js');
const episodes = require('./episodes.js');
const programs = require('./programs.js');
const prompts = require('./prompts.js');
const tooling = require('./tools.js');
const search = require('./search.js');
const texts = require('./words.js');
const { findLevelsFlaw, hasSize, openCheckpoint, route, sketchState, templateDigest, Tokenizer } = require('./model.js');
const { Failure, Template, Unreadable } = require('./template.js');
const { judgeTrial } = require('./trial.js');
const wire = require('./differences.js');
const adapter = require('./adapter.js');
const gate = require('./gate.js');
const merge = require('./merge.js');
const courses = require('./courses.js');
const pools = require('./pool.js');
const { Checker, digestOf, draw } = require('./pieces.js');

const { encode, hash, hex, parse, root, sha256, unhex, Stream } = core;
const FOLDER = process.argv[2] ?? join(__dirname, '..');
const ints = (list) => list.map(Number);
const faults = [], words = [];
let checked = 0;

const show = (v) => JSON.stringify(v, (_, x) => (typeof x === 'bigint' || typeof x === 'number' ? `${x}` : x));
/** A copy with another value at a path. */
const edit = (whole, [[name, ...inner], value]) => (name === undefined ? value : { ...whole, [name]: edit(whole[name], [inner, value]) });
function same(what, ours, theirs) {
  checked += 1;
  if (show(ours) !== show(theirs)) faults.push(`${what}: ${show(ours)} here, ${show(theirs)} in the vector`);
}

function refused(what, { reason }, read) {
  let found = 'taken';
  try { read(); } catch (error) { if (error instanceof RangeError) found = 'refused'; else throw error; }
  same(`${what}: ${reason}`, found, 'refused');
}
/** Everything that `read` takes from these bytes. */
function readAll(bytes, read) { const reader = new file.Reader(unhex(bytes)), found = read(reader); reader.end(); return found; }

const FIRST_POOL = readFileSync(join(__dirname, '../../../assay/environments/pieces/pool.jsonl')), readPool = (text) => `${text}`.trimEnd().split('\n').map((line) => JSON.parse(line));
/** The rows of the pool that ships. */
const readFirstPool = () => readPool(FIRST_POOL);

const families = {
  pool(v) {
    const first = readFirstPool();
    let rows = [];
    v.steps.forEach((step, i) => {
      const unsolvable = [], isSolvable = (row) => { const digest = hex(sha256(Buffer.from(pools.writeRow(row)))), is = !step.unsolvable.includes(digest); if (!is) unsolvable.push(digest); return is; };
      rows = pools.growPool(first, rows, step.proposals, v.most, isSolvable);
      same(`unsolvable rows of step ${i}`, unsolvable, step.unsolvable);
      same(`pool after step ${i}`, [rows.length, hex(sha256(Buffer.from(pools.writePool(rows))))], [Number(step.rows), step.sha256]);
    });
    same('pool', pools.writePool(rows), v.pool);
  },
  pieces(v, { image: digest }) {
    const { pool: text, ...drawn } = v.problems, rows = readPool(text), sources = { first: readFirstPool(), checkpoint: pools.joinPools(readFirstPool(), rows), file: rows };
    for (const [source, asked] of Object.entries(drawn))
      for (const { name, settings, digest: due, problems } of asked) {
        const pool = name.includes(':') ? [] : [sha256(FIRST_POOL)];
        same(`digest of ${name}`, hex(environments.environmentDigest(name, settings, Buffer.from(digest), ...pool)), due);
        for (const p of problems) {
          const { level, prompt } = draw(name, settings, sources[source], unhex(p.seed), ints(p.levels));
          same(`problem of ${name}`, [level, hex(sha256(Buffer.from(prompt))), p.prompt && prompt], [p.level, p.prompt_sha256, p.prompt]);
        }
      }
    const image = findImage(digest);
    if (!image) return words.push(`pieces: no image with SHA-256 ${digest} is here, so nothing is run (assay sandbox prepare)`);
    const checker = new Checker(image, Number(v.budget));
    for (const c of v.checks) {
      const { fault, piece, instructions } = checker.check(c.text, c.inputs, c.known);
      same(c.about, [fault, piece, piece && digestOf(piece.function), instructions], [c.fault, c.piece, c.digest, c.instructions]);
    }
    const { proposals, pool } = v.growth;
    same('a pool that slow inputs do not enter', pools.writePool(pools.growPool(readFirstPool(), [], proposals, proposals.length, (row) => checker.isSolvable(row))), pool);
    const known = [...readFirstPool(), v.piece].map((row) => digestOf(row.function));
    for (const p of v.proposals) same(p.about, checker.score(Number(p.kind), v.piece, p.completion, known), [p.correctness, p.quality, p.satisfaction, p.format]);
  },
  steps(v) {
    const u32s = (list) => Buffer.concat(list.map((n) => core.integer(4, n)));
    const row = (r) => Buffer.concat([u32s([r.replies.length, ...r.replies.flatMap(({ at, ids }) => [at, ids.length, ...ids])]), u32s(r.tokens), u32s(r.logprobs), u32s([r.reward])]);
    const leaves = v.groups.map(({ hotkey, index, delay }) => {
      const leaf = hash('step-leaf', unhex(hotkey), u32s([index]), unhex(v.checkpoint), u32s(v.prompt), ...v.rollouts.map(row));
      return delay ? hash('step-delay', leaf, unhex(delay.source), Buffer.concat(delay.rollouts.map((r) => encode('DelayedRollout', r)))) : leaf;
    });
    v.groups.forEach((g, i) => same('leaf', hex(leaves[i]), g.leaf));
    const { json, encoding, digest } = v.record;
    same('consumed', hex(root(leaves, core.integer(8, json.window), unhex(json.parent))), json.consumed);
    same('step record', hex(encode('StepRecord', json)), encoding);
    same("its digest", hex(hash('step', unhex(encoding))), digest);
    for (const { tries: t, solves: s, learnability, correctness } of v.proposals) {
      const ours = t ? (4000000n * s * (t - s)) / (t * t) : 0n;
      same('learnability', [ours, (1000000n + ours) / 2n], [learnability, correctness]);
    }
  },
  rounds(v) {
    same('parameters with rounds', hex(encode('Parameters', v.parameters)), v.encoding);
    same('their digest', hex(hash('parameters', unhex(v.encoding))), v.digest);
    const { trainers } = v.parameters.rounds, u = (size, n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b.subarray(8 - size); };
    for (const s of v.shares) {
      const drawn = BigInt(`0x${hex(hash('share', unhex(v.audit_seed), unhex(s.hotkey), u(4, s.index)))}`);
      same('share', trainers[Number(drawn % BigInt(trainers.length))], s.trainer);
    }
    for (const { block_hash, line } of v.lines) {
      const rank = (t) => hex(hash('line', unhex(v.digest), u(8, v.round.end), unhex(block_hash), unhex(t)));
      same('line', [...trainers].sort((a, b) => (rank(a) < rank(b) ? -1 : 1)), line);
    }
    for (const [name, kind] of [['child', 'ChildRecord'], ['merge', 'MergeRecord']]) {
      same(name, hex(encode(kind, v[name].json)), v[name].encoding);
      same(`${name}'s digest`, hex(hash(name, unhex(v[name].encoding))), v[name].digest);
    }
    for (const p of v.published) same(p.about, merge.findPublished(v.round, p.written, p.block), p.counts);
    for (const w of v.withheld) same('withheld children', merge.isEnough(Number(w.named), Number(w.withheld)), w.enough);
    const floats = (text) => Float32Array.from({ length: text.length / 8 }, (_, i) => unhex(text).readFloatBE(4 * i));
    const words = (f) => { const b = Buffer.alloc(4 * f.length); f.forEach((x, i) => b.writeFloatBE(x, 4 * i)); return hex(b); };
    const { rate, momentum } = v.parameters.rounds;
    for (const s of v.steps) {
      const made = merge.step(floats(s.theta), floats(s.velocity), s.children.map(floats), rate, momentum);
      same('factors', made.factors, s.factors);
      same('velocity', words(made.speed), s.velocity_after);
      same('theta', words(made.theta), s.theta_after);
    }
  },
  gate(v) {
    for (const d of v.draws) {
      const seed = courses.gateSeed(unhex(d.checkpoint), unhex(d.randomness));
      same('gate seed', [seed, ...d.problems.map(({ number }) => courses.problemSeed(seed, number))].map(hex), [d.gate_seed, ...d.problems.map((p) => p.problem_seed)]);
    }
    for (const c of v.checked) same('checked problems', courses.checkedProblems(unhex(c.answers), unhex(c.validator), Number(c.problems)), c.checked);
    for (const b of v.better) same(`better: ${show(b.counts)}`, courses.findBetter(b.counts, b.attempt, b.error_better), b.shown === null ? null : Number(b.shown));
    for (const w of v.worse) same(`worse: ${show(w.counts)}`, courses.isWorse(w.counts, w.error_worse), w.worse);
    for (const g of v.gains) same(`gain: ${show(g.counts)}`, courses.boundGain(g.counts, g.error), [g.low, g.high]);
    for (const c of v.continued) {
      same('continued', courses.continueCourse(c.parent, c.course, c.is_first, c.gate), c.continued);
      for (const m of c.members) same('of the course', !c.is_first && courses.isOfCourse(c.parent, c.course, m.course, c.gate), m.is);
    }
    for (const l of v.lines) same(`line: ${l.because}`, courses.findLineFault(l.parent, l.before, l.is_first, l.course, l.gate), l.fault);
    for (const c of v.courses) {
      const before = Array.from({ length: Number(c.filled) }, (_, i) => ({ checkpoint: hex(core.integer(32, i + 1)), answers: '0'.repeat(64), asked: c.gate.problems, wins: 0n, losses: 0n, first_wins: 0n, first_losses: 0n }));
      const course = { ...c.course, counts: [...before, ...c.course.counts] };
      same(c.about, [courses.isCourse(course), courses.findCourseFault(course, c.gate, c.has_step)], [true, c.fault && [c.fault, c.place]]);
    }
  },
  hashing(v) {
    for (const f of v.fields) same('hash', hex(hash(f.domain.slice('assay/v4/'.length), ...f.fields.map(unhex))), f.digest);
    for (const r of v.roots) {
      const some = v.leaves.slice(0, Number(r.count)).map(unhex);
      same('root', [core.treeTop(some), root(some), root(some, unhex(v.context))].map(hex), [r.tree_root, r.root, r.root_with_context]);
      same('paths', some.map((_, i) => core.treePath(some, i).map(hex)), r.paths);
      for (const [i, path] of r.paths.entries()) same('top', hex(core.pathTop(some[i], some.length, i, path.map(unhex))), r.tree_root);
    }
  },
  bit_fields(v) {
    const kinds = { fields: (r, n, w) => r.fields(n, w), narrow: (r, n) => r.narrow(n), rice: (r, n, w) => r.rice(n, w) };
    for (const { fields, bytes } of v.fields) {
      same('fields', hex(file.pack(fields.map(([value, width]) => file.field(value, Number(width))).join(''))), bytes);
      same('fields', readAll(bytes, (r) => fields.map(([, width]) => r.field(Number(width)))), fields.map(([value]) => value));
    }
    for (const { values, bytes } of v.narrow) {
      same('narrow', hex(file.pack(file.narrow(values))), bytes);
      same('narrow', readAll(bytes, (r) => r.narrow(values.length)), values);
    }
    for (const { values, remainder_bits: k, bytes } of v.rice) {
      same('rice', hex(file.pack(file.rice(values, Number(k)))), bytes);
      same('rice', readAll(bytes, (r) => r.rice(values.length, Number(k))), values);
    }
    for (const b of v.bad) refused('bits', b, () => readAll(b.bytes, (r) => kinds[b.kind](r, ...ints([b.count, b.width]))));
  },
  prefix_code(v) {
    for (const l of v.lengths) same(l.about, file.codeLengths(l.counts.map((n, i) => [BigInt(i), n])).map(([, length]) => length), l.lengths);
    for (const c of v.codes) {
      const numbers = c.runs.flatMap(([n, value]) => Array(Number(n)).fill(value)), bits = Number(c.symbol_bits);
      const code = file.makeCode(numbers, bits);
      const [written, encoded] = [file.writeCode(code, bits), file.writeNumbers(numbers, code, bits)];
      same(c.about, code.map(([symbol, text]) => [symbol, text.length, BigInt(`0b${text}`)]), c.code);
      same(c.about, [written, encoded].flatMap((text) => [text.length, hex(file.pack(text))]), [c.code_bits, c.written, c.number_bits, c.encoded]);
      same(c.about, readAll(c.written, (r) => file.readCode(r, bits, numbers.length)), code);
      same(c.about, readAll(c.encoded, (r) => file.readNumbers(r, numbers.length, code, bits)), numbers);
    }
    for (const b of v.bad) refused('code', b, () => file.readCode(new file.Reader(unhex(b.bytes)), ...ints([b.symbol_bits, b.symbols_max])));
    for (const b of v.bad_numbers) {
      const code = file.assignCodes(b.code.map(([symbol, length]) => [symbol, Number(length)]));
      refused('numbers', b, () => readAll(b.bytes, (r) => file.readNumbers(r, Number(b.count), code, Number(b.symbol_bits))));
    }
  },
  stream(v) {
    const draw = (list, next) => list.map(() => next());
    const open = () => new Stream(unhex(v.seed)), whole = open();
    same('u64', draw(v.u64, () => whole.u64()), v.u64);
    for (const b of v.below) { const s = open(); same('below', draw(b.drawn, () => s.below(b.bound)), b.drawn); }
    for (const s of v.sample) same('sample', open().sample(Number(s.population), Number(s.count)), s.drawn);
  },
  philox(v) {
    const words = (text) => text.split(' ').map((w) => parseInt(w, 16));
    for (const p of v.published) same('philox', core.philox(words(p.counter), words(p.key)), words(p.output));
    for (const w of v.words) same('word', core.word(unhex(w.seed), Number(w.position), Number(w.token)), w.word);
  },
  gumbel(v) {
    const table = Buffer.from(Int32Array.from(core.TABLE).buffer); // little endian wherever node runs
    same('table', [core.TABLE.length, hex(sha256(table))], [v.table_entries, v.table_sha256]);
    for (const { word, gumbel } of v.values) same('gumbel', core.gumbel(Number(word)), gumbel);
  },
  seeds({ given: g, seeds }) {
    const [hotkey, place] = [unhex(g.hotkey), [g.index, g.rollout]];
    const challenge = rules.challengeSeed(g, g.randomness);
    const [audit, sample] = ['audit', 'sample'].map((label) => hash(label, challenge, unhex(g[`${label}_randomness`])));
    same('challenge', [challenge, audit, sample].map(hex), [seeds.challenge, seeds.audit, seeds.sample]);
    same('projection', hex(hash('projection', challenge)), seeds.projection);
    const placed = (label, seed, ...at) => hex(rules.placeSeed(label, seed, hotkey, ...at));
    same('miner', [placed('problem', challenge, g.index), placed('rollout', challenge, ...place)], [seeds.problem, seeds.rollout]);
    same('audit', [placed('positions', audit, ...place), placed('audit-groups', audit)], [seeds.positions, seeds.groups]);
    same('audit', [placed('audit-rollouts', audit, g.index), placed('sampled-rollouts', sample)], [seeds.rollouts, seeds.samples]);
    same('witness', hex(hash('validator-projection', audit, unhex(g.validator))), seeds.witness);
  },
  parameters(v) {
    const written = encode('Parameters', v.parameters);
    same('parameters', [hex(written), hex(hash('parameters', written))], [v.encoding, v.digest]);
    const { model_class: m } = v, marked = core.encodeJson('Parameters', m.parameters);
    same('parameters with a class', [hex(marked), hex(hash('parameters', marked))], [m.encoding, m.digest]);
    for (const m of v.mutations) {
      const [section, name] = m.field.split('.');
      const changed = { ...v.parameters, [section]: { ...v.parameters[section], [name]: m.value } };
      same(m.field, hex(hash('parameters', encode('Parameters', changed))), m.digest);
    }
    for (const { edits, refused: wanted } of v.refusals) {
      const changed = edits.reduce(edit, v.parameters), about = edits.map(([path]) => path.join('.')).join(', ');
      same(`${about} ${show(edits.map(([, value]) => value)).slice(0, 80)}`, rules.isRefused(changed), wanted);
    }
  },
  submission(v) {
    for (const [vocabulary, bits] of v.id_bits) same('bits', file.bitLength(vocabulary - 1n), bits);
    same('header', hex(encode('Header', v.header)), v.header_encoding);
    for (const g of [...v.groups, ...v.other_groups]) {
      const bits = Number(g.id_bits), parts = file.encodeGroup(g.rollouts, bits), tokens = g.rollouts.map((r) => r.tokens);
      same('group', parts.map(hex), [g.head, g.ids, g.proofs]);
      const head = file.decodeHead(parts[0], tokens.length, bits, { ids: parts[1].length, proofs: parts[2].length });
      same('group', [head.lengths, file.areIdsCanonical(tokens, head)], [tokens.map((row) => row.length), true]);
    }
    const groups = v.groups.map((g) => g.rollouts), leaves = v.groups.map((g, i) => file.groupLeaf(i, unhex(g.head)));
    same('leaves', [leaves.map(hex), leaves.map((_, i) => core.treePath(leaves, i).map(hex))], [v.leaves, v.paths]);
    same('file', file.encodeFile(v.header, groups).map(hex), [v.file, v.root]);
    same('rows', file.decodeFile(unhex(v.file), groups.length, v.root), groups);
    const h = v.by_hand, open = (bytes, [, ids, proofs]) => file.decodeHead(unhex(bytes), Number(h.group_size), Number(h.id_bits), { ids, proofs });
    const head = open(h.head, h.sizes), decode = { ids: file.decodeIds, proofs: file.decodeProof };
    same('by hand', h.ids.map((_, r) => ({ tokens: decode.ids(unhex(h.ids[r]), head, r), ...decode.proofs(unhex(h.proofs[r]), head, r) })), h.rollouts);
    for (const b of v.bad_headers) refused('header', b, () => core.decodeSized('Header', unhex(b.bytes)));
    for (const b of v.bad_openings) refused('opening', b, () => file.decodeOpening(unhex(b.bytes), Number(b.groups)));
    for (const b of v.bad_heads) refused('head', b, () => open(b.head, b.sizes));
    for (const b of v.bad_records) refused('record', b, () => decode[b.part](unhex(b.bytes), head, 1));
    for (const u of v.uncanonical) {
      const other = open(u.head, u.sizes), tokens = u.ids.map((record, r) => decode.ids(unhex(record), other, r));
      same(u.reason, [tokens, file.areIdsCanonical(tokens, other)], [u.tokens, false]);
    }
  },
  commitments(v) {
    for (const { payload, ...c } of v.valid) {
      same('commitment', hex(core.encodeCommitment(c)), payload);
      same('commitment', core.decodeCommitment(unhex(payload)), c);
    }
    same('object', `${core.encodeSS58(unhex(v.object.hotkey))}/window-${v.object.window}.rollouts`, v.object.name);
  },
  manifest(v) {
    const written = encode('Manifest', v.manifest);
    const calibration = hash('calibration', encode('Calibration', v.calibration));
    same('manifest', [written, hash('checkpoint', written), calibration].map(hex), [v.encoding, v.digest, v.calibration_digest]);
    for (const [name, files] of Object.entries(v.files)) same(name, hex(core.filesDigest(name.replace('_', '-'), files)), v.manifest[name]);
    same('tensors', hex(core.tensorRoot(v.safetensors.tensors)), v.safetensors.root);
  },
  amendments(v) {
    const digest = (p) => hex(hash('parameters', encode('Parameters', p)));
    for (const a of v.amendments)
      same(a.name, [digest(a.parameters), rules.follows(v.parameters, a.parameters, digest(v.parameters))], [a.digest, a.follows]);
    for (const d of v.decisions) same('decision', rules.decision(v.parameters, d.window), d.block);
    for (const f of v.in_force) same('in force', rules.inForce(v.history, f.window), Number(f.place));
    for (const s of v.settled) same('settled', rules.settledOf(v.history, s.previous_epoch, s.epoch), s.windows);
    for (const c of v.checkpoints) same('checkpoint', rules.checkpointOf(c.start, v.parameters.identity.genesis_checkpoint, c.slot), c.checkpoint);
  },
  schedule(v) {
    for (const { timing, window, ...moments } of v.blocks)
      for (const [moment, at] of Object.entries(moments)) same(moment, rules.block(v.timings[timing], window, moment), at);
    for (const r of v.rounds) same('round', rules.roundOf(v.timings[r.timing], v.chain, r.timestamp_ms), r.round);
    for (const s of v.settled) same('settled', rules.settledWindows(v.timings[s.timing], s.previous_epoch, s.epoch), s.windows);
  },
  beacons(v) {
    for (const b of v.beacons) { // the previous signature is empty where the scheme signs none
      const message = sha256(Buffer.concat([unhex(b.previous_signature), core.u64(b.round)]));
      same('beacon', [hex(message), hex(sha256(unhex(b.signature)))], [b.message, b.randomness]);
    }
    for (const r of v.rounds) same('round', rules.roundAt(v.chains.quicknet, r.time_ms), r.round);
  },
  selection(v) {
    const seed = [unhex(v.audit_seed), unhex(v.hotkey)], sampleSeed = [unhex(v.sample_seed), unhex(v.hotkey)];
    const numbers = ({ audited, sampled, ...shape }) => Object.fromEntries(Object.entries(shape).map(([name, n]) => [name, Number(n)]));
    for (const g of v.groups) same('groups', rules.selectGroups(...seed, numbers(g)), g.audited);
    for (const s of v.samples) same('samples', rules.selectSamples(...sampleSeed, numbers(s)), s.sampled);
    for (const g of v.rollouts) same('rollouts', rules.selectRollouts(...seed, g), g.rollouts);
    for (const p of v.positions) same('positions', rules.selectPositions(...seed, ...ints([p.index, p.rollout, p.tokens])), p.positions);
  },
  context({ valid: c, ...seeds }) {
    const given = { ...c, parameters: hex(hash('parameters', encode('Parameters', c.parameters))), environment: c.environment.digest };
    const randomness = ({ signature }) => sha256(unhex(signature)), challenge = rules.challengeSeed(given, hex(randomness(c.challenge)));
    same('challenge', hex(challenge), seeds.challenge_seed);
    for (const label of ['audit', 'sample']) same(label, hex(hash(label, challenge, randomness(c[label]))), seeds[`${label}_seed`]);
  },
  record({ windows, settlement }) {
    const check = (kind, label, v) => {
      const written = encode(kind, v.record);
      same(label, [hex(written), hex(hash(label, written))], [v.encoding, v.digest]);
      same(label, core.decode(kind, unhex(v.encoding)), v.record);
    };
    for (const w of windows) check('WindowRecord', 'window-record', w);
    check('SettlementRecord', 'settlement-record', settlement);
    const { windows: covered, scores, score_root, weights, weights_digest } = settlement.record;
    same('chain', windows.map((w) => w.digest), covered.map((w) => w.record));
    same('scores', [rules.scoreRoot(scores), rules.weightsDigest(weights.map((w) => [w.uid, w.weight]))].map(hex), [score_root, weights_digest]);
  },
  ss58(v) { for (const { key, address } of v.valid) same('ss58', core.encodeSS58(unhex(key)), address); },
  draws(v) {
    for (const f of v.fixed_point) same('fixed', rules.roundHalfEven(f.logit_numerator << 20n, f.logit_denominator), f.fixed);
    for (const d of v.draws) {
      const added = d.logits.map((_, t) => rules.noise(unhex(v.seed), Number(d.position), t, d.temperature));
      const scores = d.logits.map((logit, i) => logit + added[i]);
      same(d.about, [added, scores, rules.draw(scores, ints(d.barred))], [d.noise, d.scores, d.token]);
    }
  },
  routers(v) {
    const unit = 2 ** 20, counts = v.cases.map((c) => {
      const [logits, biases] = [c.logits, c.biases].map((row) => row.map((x) => Number(x) / unit));
      const chosen = Number(c.chosen), ramp = Number(v.router_ramp) / unit, scaling = Number(c.scaling);
      const { factors, weights } = route(logits, { biases, chosen, ramp, weightsBy: c.weights_by, normalised: c.normalised, scaling });
      const near = (ours, theirs) => ours.every((x, i) => Math.abs(x - Number(theirs[i])) <= Number(v.tolerance));
      const taking = factors.flatMap((f, i) => (f > 0 ? [i] : []));
      same(c.about, [taking, near(factors, c.factors), near(weights, c.weights)], [ints(c.taking_part), true, true]);
      return taking.length;
    });
    same('experts a token', Math.ceil((1024 * counts.reduce((a, b) => a + b)) / counts.length), Number(v.experts));
  },
  sketch(v) {
    const columns = (hidden) => rules.projection(unhex(v.seed), Number(hidden));
    for (const p of v.projections) same('R', columns(p.hidden).map((c) => c.map((s) => (s > 0 ? '+' : '-')).join('')), p.columns);
    for (const s of v.sketches)
      same(s.about, s.states_in_256ths.map((state) => rules.sketch(columns(s.centre.length), s.centre, s.scale, state)), s.sketch);
    for (const b of v.blocks) same('blocks', rules.blocks(Number(b.tokens)), b.blocks);
    for (const c of v.compared) {
      const tokens = c.runs.flatMap(([count, row]) => Array(Number(count)).fill(row));
      same(c.about, rules.judgeSketch(tokens, v.bounds.block, v.bounds.rollout), [c.sum, c.token]);
    }
  },
  logprobs(v) {
    for (const c of v.compared)
      same(c.about, rules.judgeLogprobs(c.claimed, c.measured, ints(c.positions), v.bounds.rms, v.bounds.max), c.token);
  },
  sampling(v) {
    const judge = (r) => rules.judgeSampling(r.margins, ints(r.gini), r.calibration, v.tests, r.temperature);
    const near = (a, b) => Math.abs(a - Number(b)) < 2e-6;
    for (const r of v.rollouts) {
      const [largest, token] = judge(r);
      same(r.about, [near(largest, r.largest_log_capital), token], [true, r.token]);
    }
    for (const l of v.ledgers) {
      const entered = l.rollouts.map((place) => judge(v.rollouts[place])[2]);
      const capitals = rules.ledgerCapitals(entered, v.tests), crossed = capitals.findIndex((c) => c >= Math.log(Number(v.tests.alpha_inverse)));
      same(l.about, [near(capitals.at(-1), l.log_capital), crossed < 0 ? null : crossed], [true, l.crossed_after]);
    }
  },
  completions(v) {
    for (const c of v.completions)
      same(c.about, rules.findFault(c.tokens, v.vocabulary, v.barred, v.end_tokens, Number(v.max_tokens), Number(c.turns)), [c.reason, c.token]);
  },
  worth(v) {
    for (const r of v.rewards) same('reward', rules.reward(r.parts, r.tokens, r.rewards, v.work.max_tokens), r.reward);
    for (const m of v.means) same('mean', rules.mean(m.rewards), m.mean);
    for (const g of v.values) same('value', rules.value({ ...v.work, paid_reply: g.paid_reply }, g.lengths, g.prompt_tokens, g.mean, g.mean_correctness, g.replies), g.value);
    for (const s of v.scores) same('score', rules.score(s.groups, s.values), s.score);
  },
  settlement(v) {
    for (const s of v.settlements) same(s.about, rules.settle(s.results), s.scores);
    for (const w of v.weights) same(w.about, rules.weigh(w.scores, w.owner_uid, w.burn_share), w.weights);
    const { owner_uid, burn_share } = v.idle;
    for (const w of v.idle.settled) same(w.about, rules.settleWeights(w.scores, { identity: { owner_uid, burn_share }, work: w }, w.before), [w.idle, w.weights]);
  },
  chat_template(v) { // of Jinja what small templates have: the rest is left to the tests in Python
    const render = (source, messages, chosen) => {
      try { return [new Template(source, v.special_tokens).render(messages, chosen)]; } catch (error) {
        if (error instanceof Failure) return [null];
        if (error instanceof Unreadable) return [];
        throw error;
      }
    };
    const rows = [...v.rendered.map((r) => [r.about, r.text, render(r.template, [{ role: 'user', content: v.prompt }], {})]),
      ['a conversation', v.conversation.text, render(v.conversation.template, v.conversation.messages, v.conversation.arguments)]];
    for (const [about, wanted, made] of rows) for (const text of made) same(about, text, wanted);
    same('templates that are rendered here', rows.filter(([, , made]) => made.length).length >= 8, true);
  },
  families(v) {
    const read = (kind, changes) => gate.takesConfig({ ...v.models[kind].config, ...changes }, v);
    for (const [kind, field, faults] of v.fields)
      v.values.forEach((value, i) => same(`${kind}: ${field} ${i}`, !read(kind, { [field]: value }), faults[i] === '1'));
    for (const [kind, changes, wanted] of v.changes) same(`${kind}: ${JSON.stringify(Object.keys(changes))}`, !read(kind, changes), wanted);
    for (const [kind, { config, tensors }] of Object.entries(v.models)) {
      same(`${kind}: its config`, read(kind, {}), true);
      same(`${kind}: its tensors`, [...gate.listTensors(config, v)].sort(), Object.entries(tensors).sort());
      for (const name of Object.keys(v.sizes)) same(`${kind}: no ${name}`, read(kind, { [name]: null }), false);
    }
    for (const kind of v.refused) same(kind, gate.takesConfig({ ...v.models.llama.config, model_type: kind }, v), false);
  },
  plain_types(v) {
    const table = parse(readFileSync(join(FOLDER, 'families.json'), 'utf8'));
    for (const { config, shapes, structure, digest, model_class: named, refused } of v.cases) {
      const found = core.filesDigest('structure', { 'config.json': hex(Buffer.from(config)) });
      same('digests', [hex(found), hex(gate.shapesDigest(shapes))], [structure, digest]);
      let taken = false;
      try { taken = gate.takesClass(named, found, core.readDocument(Buffer.from(config)), shapes, table, v); } catch (error) { if (!(error instanceof RangeError)) throw error; }
      same(config, !taken, refused);
    }
  },
  folders(v) {
    const table = parse(readFileSync(join(FOLDER, 'families.json'), 'utf8'));
    const takes = { 'config.json': (config) => gate.takesConfig(config, table), 'tokenizer.json': gate.takesTokenizer, 'tokenizer_config.json': gate.takesSettings };
    for (const { about, file: name, edits, refused: wanted } of v.changes) {
      const changed = structuredClone(v.files[name]);
      for (const [path, ...value] of edits) {
        const last = path.at(-1), inner = path.slice(0, -1).reduce((part, step) => part[step], changed);
        if (value.length) inner[last] = structuredClone(value[0]); else delete inner[last];
      }
      same(`${name}: ${about}`, !takes[name](changed, v.vocabulary), wanted);
    }
    for (const c of v.templates) same(`template ${c.chat_template}`, hex(templateDigest(c.chat_template)) !== c.manifest, c.refused);
    for (const c of v.further) same(`a file of ${c.size}`, !hasSize(unhex(c.data), c), c.refused);
    for (const c of v.marks) same(`${c.times} of ${c.text}`, !gate.takesBytes(Buffer.from(c.text.repeat(Number(c.times)))), c.refused);
    for (const { times, refused: wanted } of v.merges) {
      const model = { type: 'BPE', vocab: { a: 0n, b: 1n, ab: 2n }, merges: Array.from({ length: Number(times) }, () => 'a b') };
      same(`${times} merges`, !gate.takesTokenizer({ version: '1.0', added_tokens: [], model }, v.vocabulary), wanted);
    }
    for (const { normalizer, core, settings, fill, refused: wanted } of v.added) {
      const text = (length, i) => `${i}` + fill.repeat(Number(length) - `${i}`.length), flat = (rows) => rows.flatMap((row) => Array.from({ length: Number(row[1]) }, () => row));
      const added = flat(core).map(([length, , normalized], i) => ({ content: text(length, i), normalized })), extra = flat(settings).map(([length], i) => text(length, i));
      same(JSON.stringify([core, settings].map(String)), !gate.takesAdded({ normalizer, added_tokens: added }, { extra_special_tokens: extra }), wanted);
    }
  },
  delta(v) { // frames of one raw block: 4 bytes magic, 1 of flags, 1 of size, 3 before the data
    for (const d of v) {
      const [parent, bytes] = [d.parent, d.delta].map(unhex), lengths = [0, 4, 8].map((at) => bytes.readUInt32LE(at));
      const starts = lengths.map((_, i) => 12 + lengths.slice(0, i).reduce((a, b) => a + b, 0));
      const [mask, low, high] = starts.map((at, i) => bytes.subarray(at + 9, at + lengths[i]));
      let c = 0;
      for (let i = 0; i < parent.length / 2; i++) {
        if (!((mask[i >> 3] >> (7 - (i & 7))) & 1)) continue;
        const z = low[c] | (high[c++] << 8), moved = parent.readUInt16LE(2 * i) + ((z >> 1) ^ -(z & 1));
        parent.writeUInt16LE(moved & 0xffff, 2 * i);
      }
      same(d.about, [mask, low, high, parent].map(hex), [...d.parts, d.child]);
    }
  },
  adapters(v) {
    const words = (text, width) => Array.from({ length: text.length / 2 / width }, (_, i) => unhex(text)[width === 2 ? 'readUInt16LE' : 'readFloatBE'](width * i));
    for (const c of v.cases) {
      const { base, factors } = adapter.readAdapter(unhex(c.file)), pair = factors.get('w');
      same(c.about, [base, [...pair.B.shape.slice(0, -1), pair.A.shape.at(-1)]], [v.base, ints(c.shape)]);
      same(c.about, adapter.merge(words(c.base, 2), pair), words(c.made, 2));
    }
    const rounded = words(v.rounded.fp32, 4).map(adapter.narrow).map((pattern) => (Math.abs(adapter.widen(pattern)) < adapter.LEAST ? 0 : pattern));
    same('rounded factors', rounded, words(v.rounded.bf16, 2));
    for (const b of v.bad) refused('adapter', b, () => adapter.readAdapter(unhex(b.file)));
  },
  differences(v) {
    const read = (d) => {
      const form = Object.fromEntries(Object.entries(d.form).map(([name, value]) => [name, Number(value)]));
      return [form, wire.decode(d.tensors.map((t) => unhex(t.parent)), d.blobs.map(unhex), form)];
    };
    for (const d of v.differences) {
      const [form, seen] = read(d);
      same(d.about, seen.map(hex), d.tensors.map((t) => t.seen));
      const left = (t, i) => hex(wire.leave(unhex(t.child), t.residual && unhex(t.residual), seen[i], form));
      if (form.feedback) same(`left of ${d.about}`, d.tensors.map(left), d.tensors.map((t) => t.left));
    }
    for (const b of v.bad) refused('difference', b, () => read(b));
  },
  mirrors(v) {
    for (const { stakes, order } of v.orders) {
      const drawn = (key) => sha256(Buffer.concat([v.root, v.reader, key].map(unhex))).readUIntBE(0, 6) * 256;
      const u = (key) => (drawn(key) + sha256(Buffer.concat([v.root, v.reader, key].map(unhex)))[6] + 1) / 2 ** 56;
      const rank = (key) => -Math.log(u(key)) / Math.max(1, Number(stakes[key]));
      same('mirrors', Object.keys(stakes).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)), order);
    }
  },
  golden(v) { // the shipped checkpoint, in doubles: ids are the same, values within the units
    const folder = join(__dirname, '../../../assay/training/genesis'), hotkey = unhex(v.hotkey), challenge = unhex(v.challenge_seed);
    const { parameters } = parse(readFileSync(join(__dirname, '../parameters.json'), 'utf8'));
    const { manifest, model, tokenizer, drawn } = openCheckpoint(folder, v.checkpoint, parameters, null);
    const apart = (ours, theirs) => Math.max(...ours.map((x, i) => Math.abs(Number(x) - Number(theirs[i]))));
    const measure = (name, seed0, { prompt_tokens: prompt, rollouts }, g, repliesOf) => {
      const columns = rules.projection(hash('projection', seed0), model.hidden);
      for (const [r, { tokens, logprobs, sketch }] of rollouts.entries()) {
        const seed = rules.placeSeed('rollout', seed0, hotkey, g, r), ids = ints(tokens);
        const found = model.measure(ints(prompt), ids, { seed, temperature: Number(v.temperature), drawn, replies: repliesOf(ids) });
        const sketched = found.states.map((state) => sketchState(state, columns, manifest));
        same(`${name} ${g}/${r}`, found.margins, tokens.map(() => 0n));
        same(`${name} ${g}/${r}`, apart(found.logprobs, logprobs) <= Number(v.units.logprob), true);
        same(`${name} ${g}/${r}`, apart(sketched.flat(), sketch.flat()) <= Number(v.units.sketch), true);
      }
    };
    for (const [g, group] of v.groups.entries()) {
      same('prompt', tokenizer.encode(group.prompt), group.prompt_tokens);
      measure('golden', challenge, group, g, () => []);
    }
    const { episodes: e } = v, opened = environments.openEnvironment(e.environment), seed0 = unhex(e.challenge_seed), ends = ints(manifest.end_tokens);
    for (const [g, group] of e.groups.entries()) { // a world of several turns, played anew from the ids
      const problem = opened.make(rules.placeSeed('problem', seed0, hotkey, g), ints(e.levels)), environment = opened.worldOf(problem);
      same('prompt', tokenizer.ask(opened.ask(problem)), group.prompt_tokens);
      const limits = Object.fromEntries(Object.entries({ ...e.work, max_tokens: manifest.max_tokens }).map(([name, n]) => [name, Number(n)]));
      measure('golden episode', seed0, group, g, (ids) => {
        const given = { environment, tokenizer, frame: episodes.frameOf(environment.record), rules: limits, ends };
        const { own, end, replies } = episodes.replay(given, environment.begin(problem), group.prompt_tokens.length, ids);
        same('golden episode ends', [own, end !== null], [ids.length, true]);
        return replies;
      });
    }
  },
  levels(v) {
    for (const l of v) {
      same(l.about, rules.triedLevels(l.levels, l.legal), l.candidates);
      same(l.about, rules.followingLevels(l.levels, l.legal, l.held_out), l.next);
    }
  },
  weights(v) {
    for (const w of v.rule) {
      const parts = w.name === 'mix' ? environments.partsOf(w.settings) : [];
      const of = { legal: environments.legalOf(w.name, parts), sharesOf: (levels) => environments.sharesOf(w.name, w.settings, levels) };
      same(w.about, rules.nextLevels(w.before, w.held_out, w.steering, of), w.next);
    }
    const { parameters: { steering } } = parse(readFileSync(join(__dirname, '../parameters.json'), 'utf8'));
    const of = { legal: environments.legalOf('arithmetic', []), sharesOf: (levels) => levels.map(() => 1n) };
    const isUsable = ({ manifest, genesis_checkpoint, start_checkpoint: checkpoint }) => {
      try { core.encodeJson('Manifest', manifest); } catch (error) { if (error instanceof RangeError) return false; throw error; }
      return findLevelsFlaw(manifest, { steering, identity: { genesis_checkpoint }, start: { checkpoint } }, of) === null;
    };
    for (const m of v.manifests) same(m.about, isUsable(m), m.usable);
  },
  trial(v) {
    const measured = (runs) => {
      const rows = runs.flatMap(([count, ...row]) => Array(Number(count)).fill(row));
      return { margins: rows.map((r) => r[0]), gini: rows.map((r) => Number(r[1])), logprobs: rows.map((r) => r[2]), sketch: rows.map((r) => r.slice(3)) };
    };
    for (const t of v.trials) {
      const appealed = [], rollouts = t.rollouts.map((r) => {
        const first = measured(r.measured), claim = (value) => first.margins.map(() => value);
        const claimed = { logprobs: claim(v.claimed.logprob), sketch: claim(v.claimed.sketch) };
        return { group: Number(r.group), rollout: Number(r.rollout), promptLength: Number(v.prompt_tokens), claimed, measured: first };
      });
      const appeal = (i) => { appealed.push([t.rollouts[i].group, t.rollouts[i].rollout]); return measured(t.rollouts[i].appeal); };
      const facts = { tests: v.tests, calibration: v.calibration, temperature: v.temperature, auditSeed: unhex(v.audit_seed), hotkey: unhex(v.hotkey) };
      const found = judgeTrial({ rollouts, appeal, ...facts, ledger: { count: 0, sums: null } });
      same(t.about, [found.reason, found.group, found.rollout, found.token, appealed], [t.reason, t.group, t.rollout, t.token, t.appealed]);
      const capital = rules.ledgerCapital(found.ledger, v.tests);
      same(t.about, [found.ledger.count, Math.abs(capital - Number(t.log_capital)) < 2e-6], [t.rollouts_entered, true]);
    }
  },
  arithmetic: (v) => checkEnvironment('arithmetic', v),
  sat: (v) => checkEnvironment('sat', v),
  errands: (v) => checkEnvironment('errands', v),
  gsm(v) {
    const make = (entry) => environments.make.gsm(entry.settings, unhex(entry.seed), ints(entry.levels), v.themes);
    for (const d of v.digests) same('digest', hex(environments.environmentDigest('gsm', d.settings)), d.digest);
    for (const p of v.problems) {
      const { level, prompt, solution } = make(p);
      same('problem', [level, prompt, solution], [p.level, p.prompt, p.solution]);
    }
    for (const c of v.scored.completions)
      same(c.about, environments.score.gsm(make(v.scored), c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
  },
  gsm_file(v) {
    const checked = openFile(v, v.digests, environments.readStories);
    for (const p of v.problems) {
      const { level, prompt, total } = checked(p.settings).make(unhex(p.seed), ints(p.levels));
      same('problem', [level, prompt, total], [p.level, p.prompt, p.value]);
    }
    for (const f of v.few) same('levels', [...environments.readStories(f.lines).levels.keys()], f.levels);
    for (const s of v.scored) {
      const environment = checked(s.settings), problem = environment.make(unhex(s.seed), ints(s.levels));
      for (const c of s.completions) same(c.about, environment.score(problem, c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
    }
  },
  instructions(v, { kinds }) {
    const environment = openFile(v, [{ settings: {}, digest: v.digest }], instructions.readFile)({}), { scored, drawn } = v;
    for (const p of v.problems) {
      const problem = environment.make(unhex(p.seed), ints(p.levels));
      same('problem', [problem.level, problem.prompt, environment.ask(problem).messages.map(({ role, content }) => [role, content])], [p.level, p.prompt, [...p.context, ['user', p.prompt]]]);
    }
    const problem = environment.make(unhex(scored.seed), ints(scored.levels));
    same('problem', problem.prompt, scored.prompt);
    for (const c of scored.completions) same(c.about, environment.score(problem, c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
    for (const { parts, is_read: isRead } of scored.sizes) same('size', instructions.readReply(parts.map(([text, count]) => text.repeat(Number(count))).join('')) !== null, isRead);
    for (const { kind, arguments: given, met, missed } of kinds) {
      const check = instructions.bind(kind, given);
      for (const [is, replies] of [[true, met], [false, missed]]) for (const reply of replies) same(`${kind}: ${show(reply)}`, check(instructions.readReply(reply)), is);
    }
    for (const [text, found] of v.words) same(text, instructions.words(text), found);
    for (const [text, found] of v.sentences) same(text, instructions.sentences(text), found);
    for (const [text, phrase, count] of v.alone) same(`${phrase} in ${text}`, instructions.countAlone(text, phrase), count);
    const checks = drawn.kinds.map((kind) => instructions.bind(kind, kinds.find((one) => one.kind === kind).arguments));
    for (const [text, met] of drawn.replies) same(text, checks.map((check) => Number(check(instructions.readReply(text)))).join(''), met);
  },
  // the grammar of answers is left to the tests in Python
  math(v) {
    const { name, lines, asked, answers } = v.file, rows = lines.map((line) => JSON.parse(line));
    same('file', [name, hex(environments.environmentDigest(name, { answer_form: 1 }))], [`math:${hex(sha256(Buffer.from(lines.map((l) => `${l}\n`).join(''))))}`, v.file.digest]);
    same('answers', rows.map(environments.boxed), answers);
    const of = asked.map((n) => rows[Number(n) - 1]), levelOf = (row) => Number(`${row.level}`.replace('Level ', ''));
    same('levels', [...new Set(of.map(levelOf))].sort(), v.file.levels);
    for (const p of v.problems) {
      const [stream, level] = environments.open(name, unhex(p.seed), ints(p.levels)), row = stream.choose(of.filter((r) => levelOf(r) === level));
      same('problem', [level, `${row.problem}\nPlease reason step by step, and put the answer alone, in LaTeX, within \\boxed{} at the end.\n`], [p.level, p.prompt]);
    }
  },
  letters(v) {
    const { name, lines, asked, digests } = v, read = environments.readLetters(lines);
    same('file', name, `letters:${hex(sha256(Buffer.from(lines.map((l) => `${l}\n`).join(''))))}`);
    same('asked', read.map((row) => row.number), ints(asked));
    for (const { odds, digest } of digests) same('digest', hex(environments.environmentDigest(name, { answer_form: 0, odds })), digest);
    const make = (p, levels) => environments.makeChoices(name, read, Number(p.odds), unhex(p.seed), levels);
    for (const p of v.problems) {
      const { level, prompt, letters } = make(p, ints(p.levels));
      same('problem', [level, prompt, letters], [p.level, p.prompt, p.letters]);
    }
    for (const s of v.scored) {
      const { letters } = make(s, [1]);
      same('letters', letters, s.letters);
      for (const c of s.completions) same(c.about, environments.scoreChoices(letters, c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
    }
  },
  search(v) {
    const { name, lines, asked, documents } = v, data = Buffer.from(lines.map((l) => `${l}\n`).join('')), read = search.readFile(lines);
    same('file', name, `search:${hex(sha256(data))}`);
    same('rows', [read.rows.map((row) => row.number), read.documents.map(({ title, text }) => [title, text])], [ints(asked), documents]);
    const opened = v.environments.map(({ settings, digest }) => environments.openEnvironment({ name, prompts: [], digest, settings: Object.entries(settings).map(([key, value]) => ({ name: key, value })) }, { readProblems: () => data }));
    const searches = v.environments.map(({ settings: { passages, characters } }) => new search.Search(read.documents, Number(passages), Number(characters)));
    for (const r of v.results) same(r.query, searches[Number(r.environment)].answer(r.query), r.result);
    for (const [text, plain] of v.plain) same(text, search.plainly(text), plain);
    for (const p of v.problems) {
      const { level, prompt, answers } = opened[Number(p.environment)].make(unhex(p.seed), ints(p.levels));
      same('problem', [level, prompt, answers], [p.level, p.prompt, p.answers]);
    }
    for (const e of v.episodes) {
      const environment = opened[Number(e.environment)], problem = environment.make(unhex(v.seed), ints(v.levels)), world = environment.worldOf(problem);
      let state = world.begin(problem);
      for (const t of e.turns) {
        const [after, reply] = world.step(state, t.turn);
        state = after;
        same(t.turn.slice(0, 80), [reply, world.scoreOf(state)], [t.reply, [t.correctness, t.quality, t.satisfaction, t.format]]);
      }
    }
    const [environment] = opened, problem = environment.make(unhex(v.seed), ints(v.levels));
    for (const c of v.completions) same(c.about, environment.score(problem, c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
  },
  text(v) {
    const { name, lines, asked, skipped, passages } = v, data = Buffer.from(lines.map((l) => `${l}\n`).join('')), read = texts.readFile(lines);
    same('file', name, `text:${hex(sha256(data))}`);
    same('rows', [read.rows.map((row) => row.number), read.skipped], [ints(asked), skipped.map(({ row, because }) => [Number(row), because])]);
    const { rows, levels } = texts.readFile(v.reading.lines);
    same('reading', [rows.map((row) => row.number), [...levels.keys()]], [ints(v.reading.asked), ints(v.reading.levels)]);
    const opened = v.environments.map(({ settings, digest }) => environments.openEnvironment({ name, prompts: [], digest, settings: Object.entries(settings).map(([key, value]) => ({ name: key, value })) }, { readProblems: () => data }));
    for (const [text, plain] of v.plain) same(text, texts.plainly(text), plain);
    for (const [row, passage] of passages) same('passage', texts.passageOf(parse(row)), passage);
    for (const p of v.problems) {
      const { level, prompt, answers } = opened[Number(p.environment)].make(unhex(p.seed), ints(p.levels));
      same('problem', [level, prompt, answers], [p.level, p.prompt, p.answers]);
    }
    for (const s of v.scored) {
      const environment = opened[Number(s.environment)], problem = environment.make(unhex(s.seed), ints(s.levels));
      for (const c of s.completions) same(c.about, environment.score(problem, c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
    }
  },
  prompts(v) {
    for (const c of v.put) {
      const messages = prompts.put(c.problem, c.prompts);
      same(c.about, [messages, prompts.plain(messages)], [c.messages, c.text]);
    }
    for (const d of v.digests) {
      const { bos, plain, ...own } = d.settings, inner = environments.environmentDigest('gsm', own);
      same('digest', hex(prompts.digest(inner, bos ?? 0n, plain ?? 0n, d.prompts)), d.digest);
    }
    for (const b of v.bad) same(b.about, prompts.isRefused(b.prompts), true);
    for (const a of v.answers) same(a.about, prompts.readAnswer(Number(a.form), a.completion), a.answer);
    for (const { completion, block } of v.programs) { const { before, program } = programs.findProgram(completion) ?? {}; same(`program of ${show(completion.slice(0, 60))}`, program === undefined ? null : { before, program }, block); }
  },
  networks(v, { tokenizer: file, tokenizer_config: settings, end_tokens: ends }) {
    for (const n of v.networks) {
      const environment = environments.openEnvironment(n.environment), tokenizer = new Tokenizer(file, { ...settings, chat_template: n.chat_template });
      same(n.about, environment.probes.every((probe) => tokenizer.write(probe) !== null), n.usable);
      const unmade = { made: false }, said = environment.score(unmade, tokenizer.decode(ints(n.unmade.tokens), ends));
      same(`${n.about}: a problem that is not made`, [tokenizer.ask(environment.ask(unmade)), said], [n.unmade.prompt, n.unmade.score]);
      for (const p of n.problems) {
        const problem = environment.make(unhex(p.seed), ints(n.levels));
        same(n.about, [problem.level, tokenizer.ask(environment.ask(problem))], [p.level, p.prompt]);
        const scored = p.completions.map((c) => environment.score(problem, tokenizer.decode(ints(c.tokens), ends)));
        same(`${n.about}: answers`, scored, p.completions.map((c) => [c.correctness, c.quality, c.satisfaction, c.format]));
      }
    }
  },
  episodes(v, { tokenizers: files, tokenizer_config: settings }) {
    const tokenizers = files.map((f) => new Tokenizer(f, { ...settings, chat_template: null }));
    const scored = (e) => [e.correctness, e.quality, e.satisfaction, e.format];
    for (const w of v.worlds) {
      const { begin, step, scoreOf } = environments.worldOf(w.name), make = (p) => environments.make[w.name]({}, unhex(p.seed), ints(p.levels));
      const proved = environments.provedBy(w.name);
      same(`${w.name}: digests`, [hex(proved[0]), hex(environments.environmentDigest(w.name, {}, ...proved))], [w.proof, w.digest]);
      for (const p of w.problems) { const { level, prompt } = make(p); same(w.name, [level, prompt], [p.level, p.prompt]); }
      for (const e of w.episodes) {
        let state = begin(make(e));
        const said = e.turns.map(({ turn }) => { const [after, reply] = step(state, turn); state = after; return [reply, scoreOf(after)]; });
        same(`${w.name}: replies`, said, e.turns.map((t) => [t.reply, scored(t)]));
      }
    }
    const ofUtf16 = (text) => unhex(text).swap16().toString('utf16le');
    for (const c of v.contents) same(c.about, episodes.write(ofUtf16(c.utf16), Number(c.reply_bytes), c.added.filter((text) => episodes.isMark(text)), c.json), c.text);
    for (const r of v.replies)
      same(r.about, episodes.encodeReply(tokenizers[r.tokenizer], ints(r.end_tokens), r.frame, Number(r.reply_bytes), r.content), r.ids);
    for (const r of v.replays) {
      const opened = environments.openEnvironment(r.environment), problem = opened.make(unhex(r.seed), ints(r.levels)), environment = opened.worldOf(problem);
      const rules = Object.fromEntries(['turns', 'context', 'reply_bytes', 'max_tokens'].map((name) => [name, Number(r.rules[name])]));
      const given = { environment, tokenizer: tokenizers[0], frame: episodes.frameOf(environment.record), rules, ends: ints(r.rules.end_tokens) };
      const prompt = tokenizers[0].ask(opened.ask(problem)), { own, end, replies, state } = episodes.replay(given, environment.begin(problem), prompt.length, ints(r.ids));
      same(r.about, [prompt.length, own, end, replies, environment.scoreOf(state)], [r.prompt_tokens, r.own, r.end, r.replies, scored(r)]);
      same(`${r.about}: woven`, episodes.weave(ints(r.ids).slice(0, own), replies), { sequence: r.sequence, places: r.places });
    }
  },
  tools(v) {
    v.tools.forEach(({ name, described, proofs }, i) => {
      const tool = tooling.TOOLS[i + 1];
      same(name, [tool.name, tool.described, proofs.map((_, form) => hex(tooling.proof({ tool, form })))], [name, described, proofs]);
    });
    for (const c of v.calls) {
      const read = tooling.readCall(c.turn, Number(c.form), tooling.TOOLS[1]);
      same(c.turn.slice(0, 80), [read?.fault ?? read?.call ?? null, Boolean(read?.fault)], [c.call, c.fault]);
    }
    for (const [text, reply] of v.expressions) same(text, tooling.calculate(text), reply);
    for (const { settings: { tool, call_form: form, ...own }, digest } of v.digests) same('digest', hex(tooling.digest(environments.environmentDigest('gsm', own), tooling.find({ tool, call_form: form }))), digest);
  },
  outputs(v) {
    for (const { expected, output, agrees } of v) same('output', programs.agreeAsText(expected, Buffer.from(output)), agrees);
  },
  code(v, { image: digest }) {
    const { name, lines } = v.file, file = Buffer.from(lines.map((line) => `${line}\n`).join('')), image = findImage(digest);
    for (const { expected, output, agrees } of v.values) same(`${expected} ${output}`, programs.agreeAsValue(expected, unhex(output)), agrees);
    for (const { expected, output, agrees } of v.exact) same(`${expected} ${output}`, programs.agreeExactly(expected, unhex(output)), agrees);
    if (!image) return words.push(`code: no image with SHA-256 ${digest} is here, so no program is run (assay sandbox prepare)`);
    const guest = Guest.of(image);
    for (const r of v.runs) {
      const request = { kind: r.kind, program: r.kind === 'M' ? unhex(r.program) : Buffer.from(r.program), given: Buffer.from(r.given), seed: r.seed, clock: r.clock };
      const { output, end, instructions } = guest.run(request, { instructions: Number(r.budget), room: Number(r.room) });
      same(r.about, [hex(output), end, instructions], [r.output, r.end, Number(r.instructions)]);
    }
    const python = tooling.TOOLS[3].open(tooling.TOOLS[3], image, Number(v.python.units)), forms = [1, 2, 3, 4];
    same('python: proofs', forms.map((form) => hex(tooling.proof({ tool: python.proving, form }))), v.python.proofs);
    v.python.calls.reduce((memory, [program, due]) => { const [reply, after] = python.call(program, memory); same(program, reply, due); return after; }, null);
    for (const environment of v.python.environments) environments.openEnvironment(environment, { image });
    const { parameters: { work } } = parse(readFileSync(join(__dirname, '../parameters.json'), 'utf8')), key = unhex(v.hotkey);
    for (const w of v.windows) {
      const environment = environments.openEnvironment(w.environment, { readProblems: (asked) => (`code:${asked}` === name ? file : null), image });
      const challenge = unhex(w.challenge_seed), shares = environment.askedShares(w.levels), { rewards } = w;
      const values = w.groups.map((g, i) => {
        const { level } = w.levels[rules.dealLevel(challenge, key, i, shares)], size = (text) => BigInt(Buffer.byteLength(text));
        const problem = environment.make(rules.placeSeed('problem', challenge, key, i), [Number(level)]);
        same('problem', [level, problem.prompt], [g.level, g.prompt]);
        const scores = g.completions.map((c) => environment.score(problem, c.completion)), lengths = g.completions.map((c) => size(c.completion));
        g.completions.forEach((c, n) => same(c.about, scores[n], [c.correctness, c.quality, c.satisfaction, c.format]));
        const earned = scores.map((parts, n) => rules.reward(parts, lengths[n], rewards, work.max_tokens)), right = scores.map(([correctness]) => correctness);
        return rules.value(work, lengths, size(problem.prompt), ...[earned, right].map(rules.mean));
      });
      same('values', values, w.groups.map((g) => g.value));
      same('score', rules.score(BigInt(values.length), values), w.score);
    }
  },
  mix(v) {
    for (const d of v.digests)
      same('digest', hex(environments.environmentDigest('mix', d.settings, Buffer.concat(d.parts.map(unhex)))), d.digest);
    for (const p of v.problems) {
      const { level, prompt } = environments.make.mix(p.settings, unhex(p.seed), ints(p.levels));
      same('problem', [level, prompt], [p.level, p.prompt]);
    }
    for (const b of v.blocks) {
      const shares = environments.askedShares(b.name, b.settings, b.levels);
      same('shares', shares, b.shares);
      b.asked.forEach((level, i) => same('asked', b.levels[rules.dealLevel(unhex(b.challenge), unhex(b.hotkey), i, shares)].level, level));
    }
  },
};

/** Environments of a vector's file by their settings. Its levels and rows are checked, and that `read` refuses its damaged files. */
function openFile({ name, lines, levels, skipped, damaged }, digests, read) {
  const data = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  same('file', name.split(':')[1], hex(sha256(data)));
  const opened = digests.map(({ settings, digest }) => {
    const chosen = Object.entries(settings).map(([key, value]) => ({ name: key, value }));
    return [show(settings), environments.openEnvironment({ name, prompts: [], settings: chosen, digest }, { readProblems: () => data })];
  });
  for (const [, { legal, skipped: rows }] of opened) same('rows', [legal, rows], [levels, skipped.map(({ row }) => row)]);
  for (const d of damaged) refused(d.about, { reason: d.because }, () => read(d.lines));
  return (settings) => opened.find(([given]) => given === show(settings))[1];
}
function checkEnvironment(name, v) {
  const make = (entry) => environments.make[name](entry.settings, unhex(entry.seed), ints(entry.levels));
  for (const d of v.digests) same('digest', hex(environments.environmentDigest(name, d.settings)), d.digest);
  // as parameters choose it: its settings and its levels
  const opened = v.digests.map(({ given, digest }) => environments.openEnvironment({ name, prompts: [], digest, settings: Object.entries(given).map(([key, value]) => ({ name: key, value })) }));
  for (const { reason, levels } of v.bad) if (levels?.length === 1) same(reason, opened.some(({ legal }) => legal.includes(levels[0])), false);
  for (const p of v.problems) {
    same('levels', opened.every(({ legal }) => p.levels.every((level) => legal.includes(level))), true);
    const { level, prompt, terms } = make(p);
    same('problem', [level, terms, hex(sha256(Buffer.from(prompt))), p.prompt && prompt], [p.level, p.terms, p.prompt_sha256, p.prompt]);
  }
  const problem = make(v.scored);
  for (const c of v.scored.completions)
    same(c.about, environments.score[name](problem, c.completion), [c.correctness, c.quality, c.satisfaction, c.format]);
}

for (const file of readdirSync(FOLDER).filter((f) => f.endsWith('.json'))) {
  const name = file.replace('.json', '');
  const text = readFileSync(join(FOLDER, file), 'utf8');
  if (name in families) families[name](parse(text), JSON.parse(text));
  else faults.push(`${file}: nothing checks it`);
}
const names = [...environments.computed].sort();
if (names.length) words.push(`environments: ${names.join(', ')}`);
console.log([`${checked} values checked, ${faults.length} differ`, ...faults, ...words].join('\n'));
process.exit(faults.length ? 1 : 0);
