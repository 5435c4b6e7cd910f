'use strict';
// What follows from the facts: seeds, times, draws, tests, worth. Sections 0.1, 2, 3, 5, 6, 8, 9 and 10.
const { Stream, byName, encodeJson, gumbel, hash, integer, keccak, philox, u32, u64, unhex, word } = require('./core.js');
const { isRefused: arePromptsRefused } = require('./prompts.js');
const { isGateRefused } = require('./courses.js');

const MILLION = 1000000n, NONE = '0'.repeat(64);
const floorDiv = (a, b) => (a >= 0n || a % b === 0n ? a / b : a / b - 1n);
const max = (values) => values.reduce((a, b) => (a > b ? a : b));
const sum = (values) => values.reduce((a, b) => a + b, 0n);
const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

// ---- section 2
function block(timing, window, moment) {
  const start = window * timing.window_blocks;
  if (moment === 'checkpoint') return max([0n, start - timing.checkpoint_lead]);
  const offsets = { challenge: 0n, commit: timing.commit_offset, audit: timing.audit_offset, sample: timing.sample_offset };
  return start + (moment in offsets ? offsets[moment] : timing[moment]);
}
const roundAt = (chain, time) => max([1n, 1n - floorDiv(chain.genesis_ms - time, chain.period_ms)]);
const roundOf = (timing, chain, timestamp) =>
  roundAt(chain, (timestamp / timing.slot_ms + 1n) * timing.slot_ms + timing.beacon_delay_ms);
function settledWindows(timing, previous, epoch) {
  const windows = Array.from({ length: Number(epoch / timing.window_blocks) + 1 }, (_, w) => BigInt(w));
  return windows.map((w) => [w, block(timing, w, 'verdict_end')]).filter(([, b]) => previous < b && b <= epoch).map(([w]) => w);
}
// ---- section 0
const rises = (list, isLess = (a, b) => a < b) => list.every((item, i) => !i || isLess(list[i - 1], item));
/** Whether nobody follows parameters, in their JSON form. */
function isRefused(parameters) {
  try { encodeJson('Parameters', parameters); } catch (error) { if (error instanceof RangeError) return true; throw error; }
  const { identity, beacon, environment, rewards: r, steering: s, timing: t, work: w, tests, gate, start, rounds } = parameters;
  const longest = w.max_tokens, lost = r.length_penalty + r.overlong_penalty, weights = [r.correctness_weight, r.satisfaction_weight, r.format_weight];
  const kept = (sum(weights) * (MILLION - lost)) / MILLION, wrong = sum(weights) - r.correctness_weight + r.quality_weight;
  const counted = environment.settings.filter(({ name }) => /(^|\.)(tool_)?units$/.test(name)), partOf = ({ name }) => name.slice(0, name.lastIndexOf('.') + 1);
  const units = max([0n, ...counted.map((one) => sum(counted.filter((other) => partOf(other) === partOf(one)).map(({ value }) => value)))]);
  const inOrder = (names) => rises(names, (a, b) => byName(a, b) < 0);
  const moments = [0n, t.commit_offset, t.audit_offset, t.sample_offset, t.fetch_end, t.mirror_end, t.verdict_end];
  const positive = [beacon.period_ms, t.window_blocks, t.slot_ms, longest, w.group_size, w.audited_rollouts, w.valued_groups, w.group_cap, w.temperature,
    tests.alpha_inverse, tests.rate_floor, tests.scale_min, t.notice_windows];
  const shares = [identity.burn_share, w.prompt_share, sum(weights) + r.quality_weight, lost];
  return !(identity.version === 4n && /^(?:bls-unchained-g1-rfc9380|pedersen-bls-chained)$/.test(beacon.scheme) && shares.every((share) => share <= MILLION) && positive.every((n) => n > 0n) &&
    r.satisfaction_floor < MILLION && r.overlong_tokens <= longest && (r.overlong_tokens > 0n) === (r.overlong_penalty > 0n) &&
    (kept > wrong || (kept === wrong && r.satisfaction_weight > 0n)) && w.valued_groups <= w.audited_rollouts &&
    s.success_low <= s.success_high && s.success_high <= 1000n && s.weight_min >= 1n && s.weight_min <= 1000n && s.weight_max >= 1000n &&
    s.weight_max <= 64000n && s.weight_step <= 1000n && inOrder(environment.settings.map(({ name }) => name)) && !arePromptsRefused(environment.prompts) &&
    rises(moments) && t.mirror_end <= t.window_blocks + t.audit_offset && w.group_size * longest <= 1n << 22n && w.group_cap <= 16384n &&
    (w.turns === 1n ? !w.context && !w.reply_bytes && !w.paid_reply : w.turns > 1n && w.context >= longest && w.reply_bytes >= 1n && w.reply_bytes <= 65536n && w.group_size * w.context <= 1n << 24n) &&
    w.group_size * workOf(longest, w.position_share) < 1n << 64n && tests.margin_levels.length && tests.margin_levels.length === tests.rate_limits.length &&
    (tests.router_ramp > 0n) === (tests.experts_max > 0n) && [tests.mean_stakes, tests.level_stakes].every((stakes) => stakes.length && max(stakes) < MILLION) &&
    (t.fetch_end - t.sample_offset) * t.slot_ms > t.beacon_delay_ms && 256n * w.valued_groups * w.group_size * units <= (64000n * t.window_blocks * t.slot_ms) / 2000n &&
    (start.predecessor === NONE ? !start.window && !start.number && start.checkpoint === NONE : start.window > 0n) && !isGateRefused(gate, Boolean(rounds)) && !(rounds && areRoundsRefused(rounds, parameters)));
}
function areRoundsRefused(r, { timing, start, environment }) {
  const whole = r.kept === 0n, turns = r.child_blocks + r.reveal_blocks + r.turn_blocks * BigInt(r.trainers.length);
  return !(r.trainers.length && rises(r.trainers) && [r.windows, r.rate, r.norm_bound, r.child_blocks, r.reveal_blocks, r.turn_blocks].every((n) => n > 0n) &&
    r.momentum < MILLION && r.feedback <= MILLION && r.norm_bound <= 1n << 30n && turns < r.windows * timing.window_blocks && start.window % r.windows === 0n && !environment.settings.some(({ name }) => name === 'propose') &&
    (whole ? !r.chunk && (r.bits === 16n || (!r.bits && !r.feedback)) : r.kept <= r.chunk && r.chunk <= 1n << 20n && r.bits >= 2n && r.bits <= 8n));
}
// ---- section 0.1; digests in hex
const text = (_, v) => (typeof v === 'bigint' ? String(v) : v);
const equal = (a, b) => JSON.stringify(a, text) === JSON.stringify(b, text);
function follows(old, next, digest) {
  const { timing: t, start: s, work: w } = old, { timing: u, start: n, work: x } = next;
  const tested = (p, q) => [p.tests, p.environment, p.steering, p.gate, q.temperature, q.max_tokens];
  const kept = equal([s.checkpoint, s.number], [n.checkpoint, n.number]);
  const fresh = ![NONE, s.checkpoint, old.identity.genesis_checkpoint].includes(n.checkpoint) && n.number > s.number;
  return !isRefused(next) && n.predecessor === digest && equal({ ...next.identity, burn_share: old.identity.burn_share }, old.identity) &&
    equal(old.beacon, next.beacon) && t.window_blocks === u.window_blocks && n.window >= s.window + t.notice_windows &&
    t.mirror_end <= t.window_blocks + u.audit_offset && t.verdict_end < t.window_blocks + u.verdict_end &&
    !(old.rounds && n.window % old.rounds.windows) && (equal(tested(old, w), tested(next, x)) ? kept : fresh);
}
const decision = ({ timing: t }, window) => max([0n, (window - t.notice_windows) * t.window_blocks]);
const inForce = (history, window) => history.filter((p) => p.start.window <= window).length - 1;
function settledOf(history, previous, epoch) {
  const windows = Array.from({ length: Number(epoch / history[0].timing.window_blocks) + 1 }, (_, w) => BigInt(w));
  const end = (w) => block(history[inForce(history, w)].timing, w, 'verdict_end');
  return windows.filter((w) => previous < end(w) && end(w) <= epoch);
}
/** slot: the trainer's; null where it holds nothing. */
function checkpointOf({ checkpoint, number }, genesis, slot) {
  const named = checkpoint === NONE ? genesis : checkpoint;
  if (slot === null) return named;
  if (slot.tag !== 'ASC1') return NONE;
  return checkpoint !== NONE && slot.number <= number ? named : slot.digest;
}
/** `facts` in lower-case hex, as the vectors and a context have them. */
function challengeSeed({ parameters, environment, window, checkpoint, block_hash: first }, randomness) {
  return hash('challenge', ...[parameters, environment].map(unhex), u64(window), ...[checkpoint, first, randomness].map(unhex));
}
const placeSeed = (domain, seed, hotkey, ...place) => hash(domain, seed, hotkey, ...place.map(u32));

// ---- sections 6 and 8: what is looked at
/** Audited [index, rollouts, valued]. */
function selectGroups(audit, hotkey, { groups: n, group_size: size, audited_rollouts: r, valued_groups: k }) {
  const audited = Math.min(r, n * size), m = Math.min(n, audited);
  const drawn = new Stream(placeSeed('audit-groups', audit, hotkey)).sample(n, m);
  const chosen = drawn.map((g, i) => [g, Math.floor(audited / m) + (i < audited % m ? 1 : 0), i < k]);
  return chosen.sort((a, b) => a[0] - b[0]);
}
/** Sampled [group, rollout]. */
function selectSamples(seed, hotkey, { groups: n, group_size: size, sampled_rollouts: s }) {
  const sampled = new Stream(placeSeed('sampled-rollouts', seed, hotkey)).sample(n * size, Math.min(n * size, s));
  return ascending(sampled).map((i) => [Math.floor(i / size), i % size]);
}
/** The place, among `shares`, of the level of a miner's problem: section 3. */
function dealLevel(challenge, hotkey, index, shares) {
  const total = sum(shares), size = total < 64n ? Number(total) : 64, ends = [];
  for (const share of shares) ends.push((ends.at(-1) ?? 0n) + share);
  const stream = new Stream(placeSeed('block', challenge, hotkey, Math.floor(index / size))), first = stream.below(total), begin = Number(stream.below(size));
  const order = [...Array(size).keys()].sort((a, b) => ((2654435769 * a) % 2 ** 32) - ((2654435769 * b) % 2 ** 32));
  const point = (begin + order[index % size]) % size;
  return ends.findIndex((end) => first + total * BigInt(point) < BigInt(size) * end);
}
/** w(T), section 8: a completion's work. */
const workOf = (tokens, share) => MILLION * tokens + share * ((tokens * (tokens - 1n)) / 2n);
function selectRollouts(audit, hotkey, { index, count, valued, lengths, position_share: share }) {
  const stream = new Stream(placeSeed('audit-rollouts', audit, hotkey, index)), chosen = [];
  if (valued) {
    const works = lengths.map((t) => workOf(t, share));
    let place = stream.below(sum(works));
    chosen.push(works.findIndex((w) => (place -= w) < 0n));
  }
  const others = [...lengths.keys()].filter((r) => !chosen.includes(r));
  return ascending([...chosen, ...stream.sample(others.length, Number(count) - chosen.length).map((i) => others[i])]);
}
const selectPositions = (audit, hotkey, index, rollout, tokens) =>
  ascending(new Stream(placeSeed('positions', audit, hotkey, index, rollout)).sample(tokens, Math.min(32, tokens)));

// ---- section 3
const noise = (seed, position, token, temperature) => (BigInt(gumbel(word(seed, position, token))) * temperature) >> 10n;
/** Noise of the ids 0 … count − 1 in doubles, four of them from each block of Philox. */
function noiseRow(seed, position, count, temperature) {
  const [s0, s1, s2, s3] = [0, 4, 8, 12].map((i) => seed.readUInt32LE(i)), row = new Float64Array(count);
  for (let v = 0; v < count; v += 4)
    philox([v >>> 2, position, s2, s3], [s0, s1]).forEach((w, i) => { if (v + i < count) row[v + i] = Math.floor((gumbel(w) * temperature) / 1024); });
  return row;
}
/** rint(n / d · 2^20) for integers n and d > 0; halves go to the even neighbour. */
function roundHalfEven(n, d) {
  const down = floorDiv(n, d), twice = 2n * (n - down * d);
  return twice > d || (twice === d && down % 2n !== 0n) ? down + 1n : down;
}
function draw(scores, barred) {
  const best = max(scores.filter((_, v) => !barred.includes(v)));
  return scores.findIndex((score, v) => score === best && !barred.includes(v));
}
/** The reason for which ids alone refuse a completion, and the token. */
function findFault(tokens, vocabulary, barred, ends, longest, turns = 1) {
  const foreign = tokens.findIndex((t) => t >= vocabulary || barred.includes(t));
  if (foreign >= 0) return ['TOKEN_OUT_OF_RANGE', foreign];
  const closed = [...tokens.slice(0, longest).keys()].filter((t) => ends.includes(tokens[t])).map((t) => t + 1);
  const stop = closed[turns - 1] ?? (closed.at(-1) === tokens.length ? tokens.length : longest);
  return tokens.length === stop ? [null, null] : ['WRONG_TERMINATION', Math.min(tokens.length, stop) - 1];
}

// ---- section 5, in doubles: bets as logarithms, those on all levels first
const logSum = (xs) => { const top = Math.max(...xs); return top + Math.log(xs.reduce((s, x) => s + Math.exp(x - top), 0)); };
const mixture = (bets, n) => logSum([bets.slice(0, n), bets.slice(n)].map((half) => logSum(half) - Math.log(2 * half.length)));
function judgeSampling(margins, gini, calibration, tests, temperature) {
  const [onMean, onLevel] = [tests.mean_stakes, tests.level_stakes].map((stakes) => stakes.map((s) => Number(s) / 1e6));
  let bets = Array(onMean.length + onLevel.length * tests.margin_levels.length).fill(0), largest = -Infinity, token = null;
  margins.forEach((margin, t) => {
    const x = calibration.rates.map((kappa, k) => {
      const rate = (Number(kappa) / 1e18) * Number(tests.rate_inflation);
      const mu = Math.min(1, (gini[t] / (Number(temperature) / 1024)) * rate + Number(tests.rate_floor) / 1e18);
      return (margin > tests.margin_levels[k] ? 1 : 0) / mu - 1;
    });
    const mean = x.reduce((a, b) => a + b) / x.length;
    const steps = [...onMean.map((stake) => stake * mean), ...x.flatMap((xk) => onLevel.map((stake) => stake * xk))];
    bets = bets.map((bet, i) => bet + Math.log1p(steps[i]));
    const capital = mixture(bets, onMean.length);
    largest = Math.max(largest, capital);
    if (token === null && (margin > tests.margin_cap || capital >= Math.log(2 * Number(tests.alpha_inverse)))) token = t;
  });
  return [largest, token, bets];
}
const EMPTY = { count: 0, sums: null };
/** The ledger and its ln L after one more rollout. */
function enterLedger({ count, sums }, bets, tests) {
  count = Number(count);
  const size = tests.mean_stakes.length + tests.level_stakes.length * tests.margin_levels.length;
  if (sums && sums.length !== size) [count, sums] = [0, null];
  const n = count + 1, fresh = -Math.log(n * (n + 1));
  const after = (sums ?? Array(size).fill(-Infinity)).map((s, b) => bets[b] + logSum([s, fresh]));
  return [{ count: n, sums: after }, ledgerCapital({ count: n, sums: after }, tests)];
}
const ledgerCapital = ({ count, sums }, tests) => (count ? logSum([mixture(sums, tests.mean_stakes.length), -Math.log(count + 1)]) : 0);
/** ln L before and after each rollout; `entered` are its bets. */
function ledgerCapitals(entered, tests) {
  let ledger = EMPTY, capital;
  return [0, ...entered.map((bets) => ([ledger, capital] = enterLedger(ledger, bets, tests)) && capital)];
}

// ---- section 6
/** Entries of R as ±1: two columns of `hidden` signs. */
function projection(seed, hidden) {
  const sign = (e) => ((word(seed, 0, e >>> 5) >>> (e & 31)) & 1 ? 1 : -1);
  return [0, 1].map((j) => Array.from({ length: hidden }, (_, i) => sign(2 * i + j)));
}
/** One token's sketch in rationals: state in 2^-8, centre and scale in 2^-16. */
function sketch(columns, centre, scale, state) {
  return columns.map((column) => {
    const q = roundHalfEven(32n * sum(column.map((sign, i) => BigInt(sign) * (state[i] * 256n - centre[i]))), scale);
    return q > 127n ? 127n : q < -127n ? -127n : q;
  });
}
function blocks(tokens, count = Math.max(1, Math.floor(tokens / 32))) {
  return Array.from({ length: count }, (_, b) => [32 * b, b === count - 1 ? tokens : 32 * (b + 1)]);
}
const capped = (a, b) => { const d = a > b ? a - b : b - a; return d > 32n ? 32n : d; };
/** Tokens are [claimed, claimed, measured, measured]. */
function judgeSketch(tokens, blockBound, rolloutBound) {
  const away = tokens.map(([a, b, c, d]) => capped(a, c) + capped(b, d));
  const exceeds = (part, bound) => sum(part) * 1000n > bound * BigInt(part.length);
  const bad = blocks(away.length).find((ends) => exceeds(away.slice(...ends), blockBound)) ?? [exceeds(away, rolloutBound) ? 0 : null];
  return [sum(away), bad[0]];
}
function judgeLogprobs(claimed, measured, positions, rmsBound, maxBound) {
  const away = positions.map((t) => (claimed[t] > measured[t] ? claimed[t] - measured[t] : measured[t] - claimed[t]));
  const worst = max(away);
  return worst > maxBound || sum(away.map((d) => d * d)) > rmsBound ** 2n * BigInt(away.length) ? positions[away.indexOf(worst)] : null;
}

// ---- section 9
/** Parts of an answer: correctness, quality, satisfaction, format. */
const UNREAD = [0n, 0n, 0n, 0n];
const rate = (met, total, quality = 0) => [met === total ? MILLION : 0n, BigInt(quality), (BigInt(met) * MILLION) / BigInt(total), MILLION];
function reward([correctness, quality, met, format], tokens, r, longest) {
  const satisfaction = (max([0n, met - r.satisfaction_floor]) * MILLION) / (MILLION - r.satisfaction_floor);
  const earned = correctness * r.correctness_weight + quality * r.quality_weight + satisfaction * r.satisfaction_weight + format * r.format_weight;
  const held = tokens < longest ? tokens : longest, over = held - (longest - r.overlong_tokens);
  const lost = (r.length_penalty * held) / longest + (over > 0n ? (r.overlong_penalty * over) / r.overlong_tokens : 0n);
  return (earned * (MILLION - lost)) / MILLION ** 2n;
}
const mean = (rewards) => sum(rewards) / BigInt(rewards.length);
const least = (a, b) => (a < b ? a : b);
const value = (work, lengths, prompt, m, c, replies = []) =>
  ((sum(lengths.map((t) => workOf(t, work.position_share))) + work.prompt_share * (prompt + sum(replies.map((w, r) => least(w, (lengths[r] * work.paid_reply) / 1000n))))) * (work.value_base + work.value_mean * m + work.value_teach * c * (MILLION - c))) / 10n ** 24n;
const score = (groups, values) => ((2n * groups - 1n) * sum(values)) / BigInt(2 * values.length);
const CHEATING = /^(TOKEN_OUT_OF_RANGE|WRONG_TERMINATION|(SKETCH|LOGPROB|SAMPLING|LEDGER)_MISMATCH)$/;
const WITHHELD = /^(NOT_REVEALED|TOO_LARGE|MALFORMED|WRONG_HEADER|ROOT_MISMATCH|WRONG_CHECKPOINT)$/;
function settle(results) {
  const seats = new Map();
  for (const r of results) {
    const name = `${r.uid}/${r.registered_at}`;
    seats.set(name, [...(seats.get(name) ?? []), r]);
  }
  const settled = [...seats.values()].map((rs) => {
    const zeroed = rs.some((r) => CHEATING.test(r.reason)) || rs.filter((r) => WITHHELD.test(r.reason)).length > 1;
    return { uid: rs[0].uid, registered_at: rs[0].registered_at, score: zeroed ? 0n : sum(rs.map((r) => r.score)) };
  });
  return settled.sort((a, b) => Number(a.uid - b.uid || a.registered_at - b.registered_at));
}
/** [uid, weight] in order of uid, zeros left out; `scores` are [uid, score]. */
function weigh(scores, owner, burn) {
  const shares = new Map(scores.map(([uid, s]) => [uid, s * (MILLION - burn)]));
  shares.set(owner, (shares.get(owner) ?? 0n) + sum(scores.map(([, s]) => s)) * burn);
  const largest = max([...shares.values()]);
  if (largest === 0n) return [[owner, 65535n]];
  const weights = [...shares].map(([uid, s]) => [uid, (2n * 65535n * s + largest) / (2n * largest)]);
  return weights.filter(([, w]) => w > 0n).sort((a, b) => Number(a[0] - b[0]));
}
/** [settlements in a row in which nobody earned, weights]. `scores` are [uid, score], null where no window counts; `before`: the first of the settlement before. */
function settleWeights(scores, { identity, work }, before) {
  if (!scores) return [before, []];
  const idle = scores.some(([, s]) => s > 0n) ? 0n : before + 1n;
  return [idle, idle > 0n && idle <= work.idle_settlements ? [] : weigh(scores, identity.owner_uid, identity.burn_share)];
}

// ---- section 10
/** OpenZeppelin's StandardMerkleTree over (hotkey, score). */
function scoreRoot(scores) {
  const leaf = ({ hotkey, score }) => keccak(keccak(Buffer.concat([unhex(hotkey), integer(32, score)])));
  const leaves = scores.map(leaf).sort(Buffer.compare).reverse(), nodes = [...Array(leaves.length - 1), ...leaves];
  for (let i = leaves.length - 2; i >= 0; i--) nodes[i] = keccak(Buffer.concat(nodes.slice(2 * i + 1, 2 * i + 3).sort(Buffer.compare)));
  return nodes[0];
}
const weightsDigest = (pairs) => keccak(Buffer.concat(pairs.flatMap(([uid, weight]) => [integer(2, uid), integer(2, weight)])));

// ---- section 11
const partOf = (level) => level / 1000n;
/** What is tried: levels in force and those beside each, of the same part. */
function triedLevels(levels, legal) {
  const beside = levels.flatMap((level) => {
    const known = legal.filter((other) => partOf(other) === partOf(level)), place = known.indexOf(level);
    return known.slice(Math.max(0, place - 1), place + 2);
  });
  return [...new Set(beside)].sort((a, b) => Number(a - b));
}
/** Levels of the next checkpoint: each part of a mixture moves by itself. */
function followingLevels(levels, legal, heldOut) {
  const tried = triedLevels(levels, legal), parts = [...new Set(levels.map(partOf))];
  const runs = parts.map((part) => levels.filter((level) => partOf(level) === part));
  const least = runs.reduce((count, run) => count + Math.max(3, run.length), 0) > 32 ? 1 : 3;
  return runs.flatMap((run) => {
    const known = heldOut.filter((s) => tried.includes(s.level) && partOf(s.level) === partOf(run[0]) && s.asked >= 24n);
    const stays = run.filter((level) => !known.some((s) => s.level === level)), room = Math.max(least, run.length) - stays.length;
    const hardest = known.toSorted((a, b) => Number(b.level - a.level)), tenths = (s) => Number((10n * s.mixed) / s.asked);
    const teaching = hardest.filter((s) => 1000n * s.mixed >= (run.includes(s.level) ? 300n : 355n) * s.asked).slice(0, room);
    const upward = 2n * sum(known.map((s) => s.solved)) >= sum(known.map((s) => s.asked));
    const likely = (upward ? hardest : hardest.toReversed()).toSorted((a, b) => tenths(b) - tenths(a));
    const equal = likely.filter((s) => tenths(s) === tenths(likely[0])), kept = likely.length && tenths(likely[0]) > 0 ? room : 1;
    const best = teaching.length || stays.length ? teaching : equal.slice(0, kept);
    return [...stays, ...best.map((s) => s.level)].sort((a, b) => Number(a - b));
  });
}
/** The weights of the next checkpoint's levels; `shares` are those of the settings. */
function nextWeights(before, levels, shares, heldOut, steering) {
  const clip = (x, low, high) => (x < low ? low : x > high ? high : x);
  const signals = levels.map((level) => {
    const s = heldOut.find((one) => one.level === level);
    if (!s || s.asked < 24n) return null;
    const within = steering.success_low * s.asked <= 1000n * s.solved && 1000n * s.solved <= steering.success_high * s.asked;
    return within ? (1000000n * s.mixed) / s.asked : 0n;
  });
  const tested = levels.map((_, i) => i).filter((i) => signals[i] !== null);
  const whole = sum(tested.map((i) => shares[i])), total = sum(tested.map((i) => shares[i] * signals[i]));
  return levels.map((level, i) => {
    let weight = before.find((pair) => pair.level === level)?.weight ?? 1000n;
    if (signals[i] !== null) {
      const target = total ? (1000n * signals[i] * whole) / total : 1000n, step = (weight * steering.weight_step + 999n) / 1000n;
      weight = clip(target, weight - step, weight + step);
    }
    return { level, weight: clip(weight, steering.weight_min, steering.weight_max) };
  });
}
/** Levels and weights that follow from a parent's, in an environment. */
function nextLevels(before, heldOut, steering, { legal, sharesOf }) {
  if (!heldOut.length) return before;
  const levels = followingLevels(before.map((pair) => pair.level), legal, heldOut);
  return nextWeights(before, levels, sharesOf(levels), heldOut, steering);
}

module.exports = {
  block, blocks, challengeSeed, dealLevel, checkpointOf, decision, draw, EMPTY, enterLedger, findFault, followingLevels, follows, inForce, isRefused, judgeLogprobs, ledgerCapitals, judgeSampling,
  judgeSketch, ledgerCapital, mean, nextLevels, noise, noiseRow, placeSeed, projection, rate, reward, scoreRoot,
  roundAt, roundHalfEven, roundOf, score, selectGroups, selectPositions, selectRollouts, selectSamples, settle, settledOf, settledWindows, settleWeights,
  sketch, triedLevels, value, UNREAD, weigh, weightsDigest, WITHHELD,
};
