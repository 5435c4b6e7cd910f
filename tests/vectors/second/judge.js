'use strict';
// Judges every window of a bundle anew, model included, and holds the validator's records against it:
//   node tests/vectors/second/judge.js BUNDLE MODELS [LAST]   (MODELS: a folder of checkpoint folders, and of problems' files, by digest; LAST: only the last settlements)
// Not looked at: a beacon's BLS signature (its round and what follows from it are), windows that do not count, steps, the EVM.
// There is no second implementation to appeal to: what fails here stays failed. It reads small chat templates, and environments.js alone.
// A refusal that nobody can check afterwards (a file said to be missing or broken then) is a word, and told at the end.
const { readFileSync, readdirSync } = require('node:fs');
const { join } = require('node:path');
const core = require('./core.js');
const file = require('./file.js');
const rules = require('./rules.js');
const environments = require('./environments.js');
const episodes = require('./episodes.js');
const { Bundle, NONE } = require('./bundle.js');
const { findImage } = require('./guest.js');
const { liesOfParent, openCheckpoint, readSmall, requireThat, sketchState } = require('./model.js');
const { headOf, judgeTrial } = require('./trial.js');

const { encodeSS58, hash, hex, sha256, sizeOf, unhex } = core;
const { image: IMAGE } = JSON.parse(readFileSync(join(__dirname, '../code.json'), 'utf8'));
const VERSION = 4n, faults = [], words = [];
let checked = 0;
function same(what, ours, theirs) {
  const show = (v) => JSON.stringify(v, (_, x) => (typeof x === 'bigint' ? `${x}` : x));
  checked += 1;
  if (Array.isArray(ours) && ours.length === theirs?.length) // of long lists only what differs
    [ours, theirs] = [[ours, theirs], [theirs, ours]].map(([a, b]) => a.filter((x, i) => show(x) !== show(b[i])));
  if (show(ours) !== show(theirs)) faults.push(`${what}: ${show(ours)} here, ${show(theirs)} in the record`);
}
const short = (hotkey) => encodeSS58(unhex(hotkey));
const ascending = (rows) => [...rows].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1));

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
    const { audit, parameters: { work }, checkpoint: { model, drawn, ends, manifest } } = this.context, key = unhex(hotkey);
    const [audited_rollouts, valued_groups] = [work.audited_rollouts, work.valued_groups].map(Number);
    this.open(hotkey);
    const shape = { groups: this.n, group_size: this.size, audited_rollouts, valued_groups };
    const groups = rules.selectGroups(audit, key, shape).map(([index, count, valued]) => {
      const head = this.head(index), lengths = head.lengths.map(BigInt), chosen = rules.selectRollouts(audit, key, { index, count, valued, lengths, position_share: work.position_share });
      const read = (part, some) => new Map(some.map((r) => [r, this.record(index, head, part, r)]));
      return { index, head, chosen, valued, ids: read('ids', valued ? [...lengths.keys()] : chosen), proofs: read('proofs', chosen) };
    });
    for (const group of groups) {
      const all = (part, decode) => new Map([...group[part]].map(([r, bytes]) => [r, decoded(() => decode(bytes, group.head, r))]));
      const ids = all('ids', file.decodeIds);
      refuseUnless(!group.valued || file.areIdsCanonical([...ids.values()], group.head), 'MALFORMED');
      Object.assign(group, { tokens: new Map([...ids].map(([r, row]) => [r, row.map(Number)])), proofs: all('proofs', file.decodeProof) });
    }
    const barred = [...Array(model.rows).keys()].filter((id) => !drawn.includes(id)), longest = Number(manifest.max_tokens);
    const reasons = groups.flatMap((g) => [...g.tokens.values()].map((ids) => rules.findFault(ids, model.rows, barred, ends, longest, Number(this.context.parameters.work.turns))[0]));
    for (const reason of ['TOKEN_OUT_OF_RANGE', 'WRONG_TERMINATION']) refuseUnless(!reasons.includes(reason), reason);
    return groups;
  }
  samples(hotkey) {
    const { sample, parameters: { work } } = this.context;
    this.open(hotkey, true);
    const shape = { groups: this.n, group_size: this.size, sampled_rollouts: Number(work.sampled_rollouts) };
    for (const [g, r] of rules.selectSamples(sample, unhex(hotkey), shape)) {
      const head = this.head(g);
      for (const part of ['ids', 'proofs']) this.record(g, head, part, r);
    }
  }
}

/** [null, what `read` gives], or the reason for which it refuses. */
function attempt(read) {
  try { return [null, read()]; } catch (error) { if (error instanceof Refusal) return [error.message]; throw error; }
}
// ---- a member of a window: sections 5, 8 and 9
/** { reason, values, score, witness, ledger }: the witness and the ledger where the model was run. */
function judgeMember(context, hotkey, committed, take, ledger) {
  const { parameters: { work } } = context, refused = (reason, rest) => ({ reason, values: [], score: 0n, witness: null, ledger, ...rest });
  if (!committed) return refused('NO_COMMITMENT');
  if (committed.groups > work.group_cap || committed.groups === 0n) return refused(committed.groups ? 'TOO_LARGE' : 'MALFORMED');
  const submission = new Submission(take(), committed, context), [reason, groups] = attempt(() => submission.audit(hotkey));
  if (reason) return refused(reason);
  const problems = new Map(groups.map((g) => [g.index, makeProblem(context, hotkey, g.index)]));
  const { verdict, witness } = tryModel(context, hotkey, groups, problems, ledger);
  if (verdict.reason) return refused(verdict.reason, { witness });
  const [illEnded, values] = attempt(() => groups.filter((g) => g.valued).map((g) => valueGroup(context, g, problems.get(g.index))));
  if (illEnded) return refused(illEnded, { witness }); // a file that fails adds nothing to the ledger, unless only its samples fail
  const [late] = attempt(() => submission.samples(hotkey));
  if (late) return refused(late, { witness, ledger: verdict.ledger });
  return { reason: 'ACCEPTED', values, score: rules.score(committed.groups, values), witness, ledger: verdict.ledger };
}
function makeProblem({ challenge, environment, checkpoint: { manifest, tokenizer } }, hotkey, index) {
  const key = unhex(hotkey), { level } = manifest.levels[rules.dealLevel(challenge, key, index, environment.askedShares(manifest.levels))];
  const problem = environment.make(rules.placeSeed('problem', challenge, key, index), [Number(level)]);
  return { problem, prompt: tokenizer.ask(environment.ask(problem)) };
}
/** What follows from a rollout's own tokens: section 3.1. */
function replay({ environment, parameters: { work }, checkpoint: { manifest, tokenizer, ends } }, { problem, prompt }, tokens) {
  const world = environment.worldOf(problem), [turns, context, reply_bytes] = [work.turns, work.context, work.reply_bytes].map(Number);
  const rules = { turns, context, reply_bytes, max_tokens: Number(manifest.max_tokens) }, frame = episodes.frameOf(world.record);
  const { own, end, replies, state } = episodes.replay({ environment: world, tokenizer, frame, rules, ends }, world.begin(problem), prompt.length, tokens);
  const first = tokens.findIndex((id) => ends.includes(id)) + 1;
  return { replies, fault: end !== null && own === tokens.length ? null : own - 1, score: () => world.scoreOf(state), firstTurn: first || tokens.length };
}
function tryModel(context, hotkey, groups, problems, ledger) {
  const { challenge, audit, validator, parameters, checkpoint } = context;
  const { model, manifest, calibration, drawn } = checkpoint, { tests, work: { temperature } } = parameters;
  const seeds = [hash('projection', challenge), hash('validator-projection', audit, unhex(validator))];
  const [own, validators] = seeds.map((seed) => rules.projection(seed, model.hidden));
  const rollouts = groups.flatMap(({ index, chosen, tokens, proofs }) => chosen.map((r) => {
    const { prompt } = problems.get(index), seed = rules.placeSeed('rollout', challenge, unhex(hotkey), index, r);
    const { replies, fault, firstTurn } = replay(context, problems.get(index), tokens.get(r));
    const { states, ...measured } = model.measure(prompt, tokens.get(r), { seed, temperature: Number(temperature), drawn, replies });
    const sketch = states.map((state) => sketchState(state, own, manifest));
    return { group: index, rollout: r, promptLength: prompt.length, claimed: proofs.get(r), measured: { ...measured, sketch }, states, fault, firstTurn };
  }));
  const verdict = judgeTrial({ rollouts, appeal: () => null, tests, calibration, temperature, auditSeed: audit, hotkey: unhex(hotkey), ledger });
  const last = (r) => r.states[(verdict.seen === 'heads' ? headOf(r) : r.states.length) - 1];
  return { verdict, witness: verdict.seen === 'nothing' ? [] : rollouts.flatMap((r) => sketchState(last(r), validators, manifest).map(Number)) };
}
function valueGroup(context, { tokens }, asked) {
  const { parameters: { rewards, work } } = context, rows = [...tokens.values()], lengths = rows.map((row) => BigInt(row.length));
  const played = rows.map((ids) => replay(context, asked, ids)), replies = played.map((one) => BigInt(one.replies.reduce((sum, { ids }) => sum + ids.length, 0)));
  refuseUnless(played.every(({ fault }) => fault === null), 'WRONG_TERMINATION');
  const scores = played.map((one) => one.score());
  const earned = scores.map((parts, i) => rules.reward(parts, lengths[i], rewards, work.max_tokens));
  const means = [earned, scores.map(([correctness]) => correctness)].map(rules.mean);
  return rules.value(work, lengths, BigInt(asked.prompt.length), ...means, replies);
}

// ---- windows
class Judge {
  constructor(folder, models) {
    Object.assign(this, { bundle: new Bundle(folder), models, opened: new Map(), chosen: new Map() });
    this.validator = this.bundle.record('settlement', this.bundle.settlements.at(-1)).validator;
    requireThat(short(this.validator) === this.bundle.validatorName, 'about.json names another validator than the records');
  }
  open(digest, parameters, environment) {
    const key = `${digest}/${parameters.digest}`;
    if (!this.opened.has(key)) this.opened.set(key, openCheckpoint(join(this.models, digest), digest, parameters, environment));
    return this.opened.get(key);
  }
  environment({ digest, environment }) {
    const readProblems = (file) => readFileSync(join(this.models, file));
    if (!this.chosen.has(digest)) this.chosen.set(digest, environments.openEnvironment(environment, { readProblems, image: findImage(IMAGE) }));
    return this.chosen.get(digest);
  }
  /** A window's record, and what its members are worth to the settlement; null where it does not count. */
  window(number, ledgers) {
    const record = this.bundle.record('window', number), say = (what, ...pair) => same(`window ${number}: ${what}`, ...pair);
    const parameters = this.bundle.inForce(number);
    this.opening(number, record, parameters, say);
    if (!record.challenge || !record.audit) return { record, rows: null };
    const digest = this.checkpoint(number, record, parameters, say), members = this.members(number, record, parameters, say);
    if (digest === NONE) return say('outcome without a checkpoint', 'abstained', record.outcome), { record, rows: null };
    const environment = this.environment(parameters), checkpoint = this.open(digest, parameters, environment);
    say(`outcome void ${checkpoint.flaw ?? ''}`, checkpoint.flaw !== null, record.outcome === 'void');
    if (record.outcome !== 'counted') return { record, rows: null };
    requireThat(record.sample, `window ${number} counts, and its record has no samples`);
    const seeds = seedsOf(number, record, parameters, digest);
    const context = { parameters, window: number, checkpoint, digest, environment, validator: this.validator, ...seeds };
    return { record, rows: members.map(([member, row]) => this.member(context, member, row, ledgers)) };
  }
  opening(number, record, parameters, say) {
    const { windows } = this.bundle, place = windows.indexOf(number), due = ['challenge', 'audit', 'sample'];
    say('version, window, validator', [VERSION, number, this.validator], [record.version, record.window, record.validator]);
    say('parameters', parameters.digest, record.parameters);
    if (place > 0) say('link', this.bundle.record('window', windows[place - 1]).digest, record.previous);
    const known = due.filter((moment) => record[moment]);
    say('moments that are known', due.slice(0, known.length), known);
    for (const moment of known) this.moment(`window ${number}: ${moment}`, rules.block(parameters.timing, number, moment), parameters, record[moment]);
    if (!record.challenge) say('outcome and checkpoint of nothing', ['abstained', NONE], [record.outcome, record.checkpoint]);
    if (!record.audit) say('members', [], record.members);
  }
  moment(name, block, { timing, beacon: chain }, { block_hash, timestamp_ms, beacon }) {
    const [found, timestamp] = this.bundle.ask('block', block), round = rules.roundOf(timing, chain, timestamp);
    const kept = this.bundle.facts.beacons[round];
    same(name, [found, timestamp, round], [block_hash, timestamp_ms, beacon.round]);
    if (kept) same(`${name}: beacon`, kept, [beacon.signature, beacon.previous_signature]);
  }
  checkpoint(number, record, parameters, say) {
    const { identity, timing, start, digest } = parameters;
    const [lead, commit] = ['checkpoint', 'commit'].map((moment) => rules.block(timing, number, moment));
    const slot = this.bundle.slot(lead, identity.trainer), named = this.bundle.amendersSlot(parameters, commit);
    const inForce = rules.checkpointOf(start, identity.genesis_checkpoint, slot === undefined ? null : slot ?? {});
    say('checkpoint', inForce, record.checkpoint);
    if (named?.tag === 'ASP1') say("the amender's slot leads to the parameters", true, this.leadsTo(named.digest, digest));
    return inForce;
  }
  leadsTo(digest, wanted) {
    for (let at = digest; at !== NONE; at = this.bundle.parameters.get(at)?.start.predecessor ?? NONE) if (at === wanted) return true;
    return false;
  }
  /** Members that the record has too, each with its row. */
  members(number, record, { timing }, say) {
    const [first, commit] = ['challenge', 'commit'].map((moment) => rules.block(timing, number, moment));
    const [then, later] = [first, commit].map((block) => this.bundle.ask('members', block));
    const stayed = Object.keys(then).filter((hotkey) => `${then[hotkey]}` === `${later[hotkey]}`);
    const members = ascending(stayed.map((hotkey) => ({ hotkey, uid: then[hotkey][0], registered_at: then[hotkey][1] })));
    say('members', members, record.members.map(({ hotkey, uid, registered_at }) => ({ hotkey, uid, registered_at })));
    const rows = new Map(record.members.map((row) => [row.hotkey, row]));
    return members.filter(({ hotkey }) => rows.has(hotkey)).map((member) => {
      const slot = this.bundle.slot(commit, member.hotkey), there = slot?.tag === 'ASM1' && slot.number === number, row = rows.get(member.hotkey);
      const committed = there ? { root: slot.digest, groups: slot.groups, locator: slot.locator } : null;
      same(`window ${number}, ${short(member.hotkey)}: commitment`, committed, row.committed);
      return [{ ...member, committed }, row];
    });
  }
  /** Judges a member, holds its row against that, and gives the seat's result for the settlement. */
  member(context, { hotkey, uid, registered_at, committed }, row, ledgers) {
    const name = `window ${context.window}, ${short(hotkey)}`, seat = `${uid}/${registered_at}`;
    const say = (what, ...pair) => same(`${name}: ${what}`, ...pair);
    const ours = judgeMember(context, hotkey, committed, () => this.bundle.submission(context.window, hotkey), ledgers.get(seat) ?? rules.EMPTY);
    const isWord = committed && row.reason !== ours.reason && (rules.WITHHELD.test(row.reason) || row.reason === 'INTERNAL');
    const { reason, values, score } = isWord ? { reason: row.reason, values: [], score: 0n } : ours;
    if (isWord) words.push(`${name}: ${ours.reason} here, and nobody can check the record's ${row.reason}`);
    say('reason', reason, row.reason);
    say('values', values, row.values);
    say('score', score, row.score);
    const witness = [...unhex(row.witness)].map((b) => (b << 24) >> 24), run = isWord && !witness.length ? [] : ours.witness ?? [];
    say('witness', run, run.length === witness.length ? witness.map((q, i) => (Math.abs(q - run[i]) <= 1 ? run[i] : q)) : witness);
    if (!isWord || witness.length) ledgers.set(seat, ours.ledger);
    return { uid, registered_at, reason, score };
  }

  // ---- settlements
  settlement(epoch) {
    const { bundle } = this, record = bundle.record('settlement', epoch), say = (what, ...pair) => same(`settlement ${epoch}: ${what}`, ...pair);
    const ledgers = new Map(), named = this.covered(epoch, record, say), judged = named.map((w) => this.window(w, ledgers));
    const found = judged.map(({ record: r }) => [r.window, r.digest, r.outcome]);
    say('records and outcomes', found, record.windows.map((w) => [w.window, w.record, w.outcome]));
    const counted = judged.filter(({ rows }) => rows), last = counted.at(-1)?.record;
    const parameters = bundle.inForce((last ?? judged.at(-1)?.record)?.window ?? 0n);
    say('parameters', parameters.digest, record.parameters);
    say('checkpoint and audit round', last ? [last.checkpoint, last.audit.beacon.round] : [NONE, 0n], [record.checkpoint, record.audit_round]);
    const holders = counted.length ? bundle.ask('members', epoch) : {}, settled = rules.settle(counted.flatMap(({ rows }) => rows));
    const held = ([hotkey, [uid, registered_at]]) =>
      settled.filter((s) => s.uid === uid && s.registered_at === registered_at).map((s) => ({ hotkey, ...s }));
    const scores = ascending(Object.entries(holders).flatMap(held));
    say('scores', scores, record.scores);
    say('score root', scores.length ? hex(rules.scoreRoot(scores)) : NONE, record.score_root);
    const [idle, weights] = rules.settleWeights(counted.length ? scores.map((s) => [s.uid, s.score]) : null, parameters, this.idleBefore(record, counted.length));
    say('settlements in a row in which nobody earned', idle, record.idle);
    say('weights', weights, record.weights.map((w) => [w.uid, w.weight]));
    say('weights digest', hex(rules.weightsDigest(weights)), record.weights_digest);
    this.onChain(epoch, weights, say);
    return named;
  }
  /** In how many settlements before it nobody earned; where the bundle has not the one before, by its own word. */
  idleBefore({ previous, previous_epoch: before, idle }, counted) {
    if (previous === NONE) return 0n;
    return this.bundle.settlements.includes(before) ? this.bundle.record('settlement', before).idle : idle - (counted ? 1n : 0n);
  }
  /** The windows that a settlement names, held against those that it is to cover. */
  covered(epoch, record, say) {
    const { bundle } = this, { previous_epoch: previous } = record, named = record.windows.map((w) => w.window);
    say('version, epoch, validator', [VERSION, epoch, this.validator], [record.version, record.epoch, record.validator]);
    const [before] = bundle.settlements.filter((e) => e < epoch).slice(-1);
    if (before !== undefined) say('link', [before, bundle.record('settlement', before).digest], [previous, record.previous]);
    const isEpoch = (block) => bundle.facts.answers.epoch?.[block] === true;
    requireThat(typeof bundle.ask('epoch', epoch) === 'boolean', 'facts.json has an epoch that is neither');
    const between = Object.keys(bundle.facts.answers.epoch).map(BigInt).filter((b) => previous && previous < b && b < epoch && isEpoch(b));
    say('epoch blocks', [previous === 0n || isEpoch(previous), true, []], [true, isEpoch(epoch), between]);
    const due = rules.settledOf(bundle.history, previous, epoch);
    say('windows', previous ? due : due.slice(due.length - named.length), named); // the first one begins with the validator
    if (previous) return named;
    say('link of the first', NONE, record.previous);
    if (named.length && named[0] === bundle.windows[0]) say('link of the first window', NONE, bundle.record('window', named[0]).previous);
    return named;
  }
  /** The weights at one of the next three epochs' blocks, or at the head. */
  onChain(epoch, weights, say) {
    const { answers, head } = this.bundle.facts, ends = Object.keys(answers.epoch).map(BigInt).filter((b) => b > epoch && answers.epoch[b] === true);
    const shown = [...ends.sort((a, b) => Number(a - b)).slice(0, 3), head].map((b) => answers.weights?.[b]).filter((a) => a && a !== 'forgotten');
    if (!weights.length || !shown.length) return;
    const rows = shown.map((answer) => Object.entries(answer[this.validator] ?? {}).map(([uid, w]) => [BigInt(uid), w]));
    say('weights on chain', weights, rows.find((pairs) => `${pairs}` === `${weights}`) ?? rows[0]);
  }
  all(last) {
    const { bundle } = this, epochs = bundle.settlements.slice(-last), { facts } = bundle, checkpoints = join(bundle.folder, 'store/checkpoints');
    const manifests = new Map(readdirSync(checkpoints).map((digest) => [digest, readSmall(join(checkpoints, digest), digest).manifest]));
    for (const [digest, manifest] of manifests)
      if (manifests.has(manifest.parent)) same(`checkpoint ${digest}: what it says of its parent's levels is true`, !liesOfParent(manifest, manifests.get(manifest.parent)), true);
    const { genesis_hash, netuid } = bundle.history[0].identity;
    same('network', [genesis_hash, netuid], [facts.genesis_hash, facts.netuid]);
    const settled = epochs.flatMap((epoch) => this.settlement(epoch));
    same('windows that have a record are settled, each once', bundle.windows.slice(-settled.length), settled);
    const slot = facts.answers.commitments?.[facts.head] && bundle.slot(facts.head, this.validator);
    if (slot?.tag === 'ASR1' && bundle.settlements.includes(slot.number))
      same('announced', bundle.record('settlement', slot.number).digest, slot.digest);
  }
}
function seedsOf(window, record, { digest: parameters, environment }, checkpoint) {
  const randomness = (moment) => sha256(unhex(record[moment].beacon.signature));
  const given = { parameters, environment: environment.digest, window, checkpoint, block_hash: record.challenge.block_hash };
  const challenge = rules.challengeSeed(given, hex(randomness('challenge')));
  return { challenge, ...Object.fromEntries(['audit', 'sample'].map((moment) => [moment, hash(moment, challenge, randomness(moment))])) };
}

function main([folder, models, last]) {
  if (!folder || !models) return console.log('usage: node tests/vectors/second/judge.js BUNDLE MODELS [LAST]'), 2;
  try { new Judge(folder, models).all(last ? Number(last) : Infinity); } catch (error) { return console.log(`nothing is judged: ${error.message.split('\n')[0]}`), 2; }
  console.log([`${checked} values checked, ${faults.length} differ`, ...faults, ...words.map((word) => `word: ${word}`)].join('\n'));
  return faults.length ? 1 : 0;
}

if (require.main === module) process.exitCode = main(process.argv.slice(2));
