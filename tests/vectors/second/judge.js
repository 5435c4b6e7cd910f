'use strict';
// Judges every window of a bundle anew, model included, and holds the validator's records against it:
//   node tests/vectors/second/judge.js BUNDLE MODELS        (MODELS: a folder of checkpoint folders by digest)
// Not looked at: a beacon's BLS signature (its round and what follows from it are), windows that do not count, steps, the EVM.
// There is no second implementation to appeal to: what fails here stays failed. It reads no chat templates, and environments.js alone.
// A refusal that nobody can check afterwards (a file said to be missing or broken then) is a word, and told at the end.
const { readdirSync } = require('node:fs');
const { join } = require('node:path');
const core = require('./core.js');
const file = require('./file.js');
const rules = require('./rules.js');
const environments = require('./environments.js');
const { Bundle, NONE } = require('./bundle.js');
const { openCheckpoint, readSmall, requireThat, sketchState } = require('./model.js');
const { HEAD, holdTrial, judgeTrial } = require('./trial.js');
const { scoreRoot, weightsDigest } = require('./keccak.js');

const { encode, encodeSS58, hash, hex, sha256, sizeOf, unhex } = core;
const VERSION = 2n, faults = [], words = [];
let checked = 0;
function same(what, ours, theirs) {
  const show = (v) => JSON.stringify(v, (_, x) => (typeof x === 'bigint' ? `${x}` : x));
  checked += 1;
  if (show(ours) !== show(theirs)) faults.push(`${what}: ${show(ours)} here, ${show(theirs)} in the record`);
}
const short = (hotkey) => encodeSS58(unhex(hotkey));
const ascending = (rows, key) => [...rows].sort((a, b) => (a[key] < b[key] ? -1 : 1));

class Refusal extends Error {}
const refuseUnless = (holds, reason) => { if (!holds) throw new Refusal(reason); };
/** What `read` gives; where it refuses its bytes they are malformed. */
function decoded(read) {
  try { return read(); } catch (error) { if (error instanceof RangeError) throw new Refusal('MALFORMED'); throw error; }
}

// ---- a file: section 8, 2 to 5 and 7
class Submission {
  constructor(take, committed, context) {
    Object.assign(this, { committed, context, n: Number(committed.groups), size: Number(context.parameters.work.group_size) });
    this.take = (start, size) => {
      const bytes = take(start, size);
      refuseUnless(typeof bytes !== 'string', bytes);
      refuseUnless(bytes, 'NOT_REVEALED');
      return bytes;
    };
  }
  open(hotkey, ofSamples = false) {
    const { parameters: p, window, checkpoint, digest } = this.context, [headerSize, rowSize] = ['Header', 'GroupSizes'].map(sizeOf);
    const opening = this.take(0, headerSize + rowSize * this.n), { header, index } = decoded(() => file.decodeOpening(opening, this.n));
    const { work } = p, size = work.group_size, due = { version: VERSION, parameters: p.digest, window, hotkey, group_size: size };
    refuseUnless(Object.keys(due).every((field) => header[field] === due[field]), 'WRONG_HEADER');
    const rooted = hex(hash('submission', opening.subarray(0, headerSize))) === this.committed.root;
    refuseUnless(rooted && hex(hash('index', opening.subarray(headerSize))) === header.index, 'ROOT_MISMATCH');
    refuseUnless(header.checkpoint === digest, 'WRONG_CHECKPOINT');
    const bits = header.id_bits, tokens = work.group_size * work.max_tokens, ids = (tokens * bits) / 8n + size;
    const most = { head: 76n * size + 512n + ids, ids, proofs: (73n * tokens) / 8n + size };
    refuseUnless(index.every((sizes) => Object.keys(most).every((part) => sizes[part] <= most[part])), 'TOO_LARGE');
    refuseUnless(ofSamples || Number(bits) === file.bitLength(checkpoint.model.rows - 1), 'WRONG_HEADER');
    let at = opening.length;
    this.groups = index.map((row, g) => {
      const sizes = Object.fromEntries(Object.keys(row).map((part) => [part, Number(row[part])]));
      const group = { at, path: 32 * core.pathPlaces(this.n, g).length, sizes };
      at += group.path + sizes.head + sizes.ids + sizes.proofs;
      return group;
    });
    Object.assign(this, { header, bits: Number(bits) });
  }
  head(g) {
    const { at, path, sizes } = this.groups[g], read = this.take(at, path + sizes.head), head = read.subarray(path);
    const digests = Array.from({ length: path / 32 }, (_, i) => read.subarray(32 * i, 32 * i + 32));
    refuseUnless(hex(core.pathTop(file.groupLeaf(g, head), this.n, g, digests)) === this.header.tree, 'ROOT_MISMATCH');
    const found = decoded(() => file.decodeHead(head, this.size, this.bits, sizes));
    refuseUnless(found.lengths.every((t) => t <= Number(this.context.parameters.work.max_tokens)), 'TOO_LARGE');
    return found;
  }
  /** The record of rollout r, `part` being ids or proofs. */
  record(g, head, part, r) {
    const { at, path, sizes } = this.groups[g], start = at + path + sizes.head + (part === 'proofs' ? sizes.ids : 0);
    const before = head.sizes[part].slice(0, r).reduce((a, b) => a + b, 0), bytes = this.take(start + before, head.sizes[part][r]);
    refuseUnless(hex(hash(part === 'ids' ? 'ids' : 'proof', bytes)) === head.digests[part][r], 'ROOT_MISMATCH');
    return bytes;
  }
  /** Audited groups: their completions that are read (rollout → ids) and their audited rollouts' proofs. */
  audit(hotkey) {
    const { audit, parameters: { work }, checkpoint: { model, drawn, ends, manifest } } = this.context;
    const shape = { groups: this.n, group_size: this.size, audited_rollouts: Number(work.audited_rollouts), valued_groups: Number(work.valued_groups) };
    this.open(hotkey);
    const groups = rules.selectGroups(audit, unhex(hotkey), shape).map(([index, count, valued]) => {
      const head = this.head(index), chosen = rules.selectRollouts(audit, unhex(hotkey), { index, count, valued, lengths: head.lengths.map(BigInt) });
      const rows = valued ? [...head.lengths.keys()] : chosen, read = (part, some) => new Map(some.map((r) => [r, this.record(index, head, part, r)]));
      return { index, head, chosen, valued, records: { ids: read('ids', rows), proofs: read('proofs', chosen) } };
    });
    for (const group of groups) {
      const { head, records } = group, all = (part, decode) => new Map([...records[part]].map(([r, bytes]) => [r, decoded(() => decode(bytes, head, r))]));
      group.tokens = all('ids', (...given) => file.decodeIds(...given).map(Number));
      refuseUnless(!group.valued || file.areIdsCanonical([...group.tokens.values()].map((ids) => ids.map(BigInt)), head), 'MALFORMED');
      group.proofs = all('proofs', file.decodeProof);
    }
    const barred = [...Array(model.rows).keys()].filter((id) => !drawn.includes(id));
    const reasons = groups.flatMap((g) => [...g.tokens.values()].map((ids) => rules.findFault(ids, model.rows, barred, ends, Number(manifest.max_tokens))[0]));
    for (const reason of ['TOKEN_OUT_OF_RANGE', 'WRONG_TERMINATION']) refuseUnless(!reasons.includes(reason), reason);
    return groups;
  }
  samples(hotkey) {
    const { sample, parameters: { work } } = this.context;
    this.open(hotkey, true);
    for (const [g, r] of rules.selectSamples(sample, unhex(hotkey), { groups: this.n, group_size: this.size, sampled_rollouts: Number(work.sampled_rollouts) })) {
      const head = this.head(g);
      for (const part of ['ids', 'proofs']) this.record(g, head, part, r);
    }
  }
}

// ---- a member of a window: sections 5, 8 and 9
/** { reason, values, score, witness, ledger }: the witness and the ledger where the model was run. */
function judgeMember(context, hotkey, committed, take, ledger) {
  const { parameters: { work } } = context, refused = (reason, rest) => ({ reason, values: [], score: 0n, witness: null, ledger, ...rest });
  if (!committed) return refused('NO_COMMITMENT');
  if (committed.groups > work.group_cap || committed.groups === 0n) return refused(committed.groups ? 'TOO_LARGE' : 'MALFORMED');
  const attempt = (read) => { try { return [null, read()]; } catch (error) { if (error instanceof Refusal) return [error.message]; throw error; } };
  const submission = new Submission(take(), committed, context), [reason, groups] = attempt(() => submission.audit(hotkey));
  if (reason) return refused(reason);
  const problems = new Map(groups.map((g) => [g.index, makeProblem(context, hotkey, g.index)]));
  const { verdict, witness } = tryModel(context, hotkey, groups, problems, ledger);
  if (verdict.reason) return refused(verdict.reason, { witness });
  const [late] = attempt(() => submission.samples(hotkey));
  if (late) return refused(late, { witness, ledger: verdict.ledger });
  const values = groups.filter((g) => g.valued).map((g) => valueGroup(context, g, problems.get(g.index)));
  return { reason: 'ACCEPTED', values, score: rules.score(committed.groups, values), witness, ledger: verdict.ledger };
}
function makeProblem({ challenge, environment, checkpoint: { manifest, tokenizer } }, hotkey, index) {
  const problem = environment.make(rules.placeSeed('problem', challenge, unhex(hotkey), index), manifest.levels.map(Number));
  return { problem, prompt: tokenizer.encode(problem.prompt) };
}
function tryModel({ challenge, audit, validator, parameters, checkpoint }, hotkey, groups, problems, ledger) {
  const { model, manifest, calibration, drawn } = checkpoint, { tests, work: { temperature } } = parameters, columns = (seed) => rules.projection(seed, model.hidden);
  const own = columns(hash('projection', challenge)), validators = columns(hash('validator-projection', audit, unhex(validator)));
  const rollouts = groups.flatMap(({ index, chosen, tokens, proofs }) => chosen.map((r) => {
    const { prompt } = problems.get(index), seed = rules.placeSeed('rollout', challenge, unhex(hotkey), index, r);
    const { states, ...measured } = model.measure(prompt, tokens.get(r), { seed, temperature: Number(temperature), drawn });
    const sketch = states.map((state) => sketchState(state, own, manifest));
    return { group: index, rollout: r, promptLength: prompt.length, claimed: proofs.get(r), measured: { ...measured, sketch }, states };
  }));
  const verdict = holdTrial({ rollouts, appeal: () => null, tests, calibration, temperature, auditSeed: audit, hotkey: unhex(hotkey), ledger });
  const last = ({ states }) => states[(verdict.headsOnly ? Math.min(HEAD, states.length) : states.length) - 1];
  return { verdict, witness: rollouts.flatMap((r) => sketchState(last(r), validators, manifest).map(Number)) };
}
function valueGroup({ environment, parameters: { environment: e, work }, checkpoint: { tokenizer, ends } }, { tokens }, { problem, prompt }) {
  const weights = [e.correctness_weight, e.quality_weight, e.satisfaction_weight], rows = [...tokens.values()];
  const rewards = rows.map((ids) => rules.reward(environment.score(problem, tokenizer.decode(ids, ends)), weights));
  return rules.value(work, BigInt(rows.flat().length), BigInt(prompt.length), rules.mean(rewards));
}

// ---- windows
class Judge {
  constructor(folder, models) {
    Object.assign(this, { bundle: new Bundle(folder), models, opened: new Map() });
    this.validator = this.bundle.record('settlement', this.bundle.settlements.at(-1)).validator;
    requireThat(short(this.validator) === this.bundle.validatorName, 'about.json names another validator than the records');
  }
  open(digest, parameters, environment) {
    const key = `${digest}/${parameters.digest}`;
    if (!this.opened.has(key)) this.opened.set(key, openCheckpoint(join(this.models, digest), digest, parameters, environment));
    return this.opened.get(key);
  }
  small() {
    const folder = join(this.bundle.folder, 'store/checkpoints');
    for (const digest of readdirSync(folder)) readSmall(join(folder, digest), digest);
  }
  /** Everything of a window but its members' verdicts; their rows with what was judged, null where the window does not count. */
  window(number, ledgers) {
    const { bundle } = this, record = bundle.record('window', number), name = `window ${number}`, say = (what, ...pair) => same(`${name}: ${what}`, ...pair);
    const parameters = bundle.inForce(number), { identity, timing } = parameters, at = (moment) => rules.block(timing, number, moment);
    say('version, window, validator', [VERSION, number, this.validator], [record.version, record.window, record.validator]);
    say('parameters', parameters.digest, record.parameters);
    const place = bundle.windows.indexOf(number), before = place > 0 ? bundle.record('window', bundle.windows[place - 1]).digest : null;
    if (before) say('link', before, record.previous);
    for (const [moment, next] of [['challenge', 'audit'], ['audit', 'sample'], ['sample', null]]) {
      if (next && !record[moment]) say(`${next} before ${moment}`, null, record[next]);
      if (record[moment]) this.moment(`${name}: ${moment}`, at(moment), parameters, record[moment]);
    }
    if (!record.challenge) say('nothing known', ['abstained', NONE], [record.outcome, record.checkpoint]);
    if (!record.challenge || !record.audit) return say('members', [], record.members), { record, rows: null };
    const slot = bundle.slot(at('checkpoint'), identity.trainer), digest = rules.checkpointOf(parameters.start, identity.genesis_checkpoint, slot === undefined ? null : slot ?? {});
    say('checkpoint', digest, record.checkpoint);
    const owners = bundle.ownersSlot(at('commit'));
    if (owners?.tag === 'ASP1') say("the owner's slot leads to parameters in force", true, this.leadsTo(owners.digest, parameters.digest));
    const members = this.members(at('challenge'), at('commit'), number);
    say('members', members.map(({ committed: _, ...row }) => row), record.members.map(({ hotkey, uid, registered_at }) => ({ hotkey, uid, registered_at })));
    const rows = new Map(record.members.map((row) => [row.hotkey, row])), mine = members.filter(({ hotkey }) => rows.has(hotkey));
    for (const { hotkey, committed } of mine) say(`${short(hotkey)}: commitment`, committed, rows.get(hotkey).committed);
    if (digest === NONE) return say('outcome without a checkpoint', 'abstained', record.outcome), { record, rows: null };
    const environment = environments.openEnvironment(parameters.environment), checkpoint = this.open(digest, parameters, environment);
    say(`outcome ${checkpoint.flaw ?? ''}`, checkpoint.flaw !== null, record.outcome === 'void');
    if (record.outcome !== 'counted') return { record, rows: null };
    say('the samples are known', true, record.sample !== null);
    const randomness = (moment) => sha256(unhex(record[moment].beacon.signature));
    const challenge = rules.challengeSeed({ parameters: parameters.digest, environment: parameters.environment.digest, window: number, checkpoint: digest,
      block_hash: record.challenge.block_hash }, hex(randomness('challenge')));
    const [audit, sample] = ['audit', 'sample'].map((moment) => hash(moment, challenge, randomness(moment)));
    const context = { parameters, window: number, checkpoint, digest, environment, challenge, audit, sample, validator: this.validator };
    return { record, rows: mine.map((member) => this.member(context, member, rows.get(member.hotkey), ledgers)) };
  }
  moment(name, block, { timing, beacon: chain }, { block_hash, timestamp_ms, beacon }) {
    const [found, timestamp] = this.bundle.ask('block', block), round = rules.roundOf(timing, chain, timestamp), kept = this.bundle.facts.beacons[round];
    same(name, [found, timestamp, round], [block_hash, timestamp_ms, beacon.round]);
    if (kept) same(`${name}: beacon`, kept, [beacon.signature, beacon.previous_signature]);
  }
  leadsTo(digest, wanted) {
    for (let at = digest; at !== NONE; at = this.bundle.parameters.get(at)?.start.predecessor ?? NONE) if (at === wanted) return true;
    return false;
  }
  members(first, commit, window) {
    const [then, later] = [first, commit].map((block) => this.bundle.ask('members', block));
    const stayed = Object.keys(then).filter((hotkey) => `${then[hotkey]}` === `${later[hotkey]}`);
    return ascending(stayed.map((hotkey) => {
      const slot = this.bundle.slot(commit, hotkey), there = slot?.tag === 'ASM1' && slot.number === window;
      return { hotkey, uid: then[hotkey][0], registered_at: then[hotkey][1], committed: there ? { root: slot.digest, groups: slot.groups, locator: slot.locator } : null };
    }), 'hotkey');
  }
  /** Judges a member, holds its row against that, and gives the seat's result for the settlement. */
  member(context, { hotkey, uid, registered_at, committed }, row, ledgers) {
    const name = `window ${context.window}, ${short(hotkey)}`, seat = `${uid}/${registered_at}`, say = (what, ...pair) => same(`${name}: ${what}`, ...pair);
    const ours = judgeMember(context, hotkey, committed, () => this.bundle.submission(context.window, hotkey), ledgers.get(seat) ?? rules.EMPTY);
    const witness = [...unhex(row.witness)].map((b) => (b << 24) >> 24), isWord = committed && row.reason !== ours.reason && (rules.WITHHELD.test(row.reason) || row.reason === 'INTERNAL');
    if (isWord) words.push(`${name}: ${ours.reason} here, and nobody can check the record's ${row.reason}`);
    else say('reason', ours.reason, row.reason);
    say('values', isWord ? [] : ours.values, row.values);
    say('score', isWord ? 0n : ours.score, row.score);
    const run = isWord && !witness.length ? [] : ours.witness ?? [], isNear = run.length === witness.length && run.every((q, i) => Math.abs(q - witness[i]) <= 1);
    say('witness', run, isNear ? run : witness);
    if (!isWord || witness.length) ledgers.set(seat, ours.ledger);
    return { uid, registered_at, reason: isWord ? row.reason : ours.reason, score: isWord ? 0n : ours.score };
  }

  // ---- settlements
  settlement(epoch) {
    const { bundle } = this, record = bundle.record('settlement', epoch), say = (what, ...pair) => same(`settlement ${epoch}: ${what}`, ...pair);
    const place = bundle.settlements.indexOf(epoch), before = place > 0 ? bundle.settlements[place - 1] : null, ledgers = new Map();
    say('version, epoch, validator', [VERSION, epoch, this.validator], [record.version, record.epoch, record.validator]);
    if (before !== null) say('link', [before, bundle.record('settlement', before).digest], [record.previous_epoch, record.previous]);
    say('epoch blocks', true, [epoch, record.previous_epoch].every((b) => b === 0n || bundle.ask('epoch', b)));
    if (record.previous_epoch === 0n) say('link of the first', NONE, record.previous);
    const due = rules.settledOf(bundle.history, record.previous_epoch, epoch), named = record.windows.map((w) => w.window);
    say('windows', record.previous_epoch ? due : due.slice(due.length - named.length), named); // the first begins with the validator
    if (record.previous_epoch === 0n && named[0] === bundle.windows[0]) say('link of the first window', NONE, bundle.record('window', named[0]).previous);
    const judged = named.map((w) => this.window(w, ledgers)), counted = judged.filter(({ rows }) => rows);
    say('records and outcomes', judged.map(({ record: r }) => [r.digest, r.outcome]), record.windows.map((w) => [w.record, w.outcome]));
    const last = counted.at(-1)?.record, parameters = bundle.inForce((last ?? judged.at(-1)?.record)?.window ?? 0n);
    say('parameters', parameters.digest, record.parameters);
    say('checkpoint and audit round', last ? [last.checkpoint, last.audit.beacon.round] : [NONE, 0n], [record.checkpoint, record.audit_round]);
    const holders = counted.length ? bundle.ask('members', epoch) : {}, settled = rules.settle(counted.flatMap(({ rows }) => rows));
    const scores = ascending(Object.entries(holders).flatMap(([hotkey, [uid, registered_at]]) =>
      settled.filter((s) => s.uid === uid && s.registered_at === registered_at).map((s) => ({ hotkey, ...s }))), 'hotkey');
    say('scores', scores, record.scores);
    say('score root', scores.length ? hex(scoreRoot(scores)) : NONE, record.score_root);
    const pairs = counted.length ? rules.weigh(scores.map((s) => [s.uid, s.score]), parameters.identity.owner_uid, parameters.identity.burn_share) : [];
    say('weights', pairs, record.weights.map((w) => [w.uid, w.weight]));
    say('weights digest', hex(weightsDigest(pairs)), record.weights_digest);
    this.onChain(epoch, pairs, say);
    return named;
  }
  /** The weights at one of the next three epochs' blocks, or at the head. */
  onChain(epoch, weights, say) {
    const { answers, head } = this.bundle.facts, ends = Object.keys(answers.epoch ?? {}).map(BigInt).filter((b) => b > epoch && answers.epoch[b] === true);
    const shown = [...ends.sort((a, b) => Number(a - b)).slice(0, 3), head].map((b) => answers.weights?.[b]).filter((a) => a && a !== 'forgotten')
      .map((a) => Object.entries(a[this.validator] ?? {}).map(([uid, w]) => [BigInt(uid), w]));
    if (!weights.length || !shown.length) return;
    const text = (pairs) => pairs.map((p) => p.join(':')).join(' '), found = shown.find((pairs) => text(pairs) === text(weights));
    say('weights on chain', weights, found ?? shown[0]);
  }
  announced() {
    const { bundle } = this, slot = bundle.facts.answers.commitments?.[bundle.facts.head] && bundle.slot(bundle.facts.head, this.validator);
    if (slot?.tag === 'ASR1' && bundle.settlements.includes(slot.number)) same('announced record', bundle.record('settlement', slot.number).digest, slot.digest);
  }
  all() {
    const { bundle } = this, settled = bundle.settlements.flatMap((epoch) => this.settlement(epoch));
    same('windows that have a record are settled, each once', bundle.windows, settled);
    const { genesis_hash, netuid } = bundle.history[0].identity;
    same('network', [genesis_hash, netuid], [bundle.facts.genesis_hash, bundle.facts.netuid]);
    this.announced();
  }
}

function main([folder, models]) {
  if (!folder || !models) return console.log('usage: node tests/vectors/second/judge.js BUNDLE MODELS'), 2;
  try {
    const judge = new Judge(folder, models);
    judge.small();
    judge.all();
  } catch (error) { return console.log(`nothing is judged: ${error.message.split('\n')[0]}`), 2; }
  console.log([`${checked} values checked, ${faults.length} differ`, ...faults, ...words.map((word) => `word: ${word}`)].join('\n'));
  return faults.length ? 1 : 0;
}

module.exports = { judgeTrial };
if (require.main === module) process.exitCode = main(process.argv.slice(2));
