'use strict';
// The trial of section 5: what the model says of a submission's audited rollouts, appeals and the seat's ledger included.
const { EMPTY, enterLedger, judgeLogprobs, judgeSampling, judgeSketch, selectPositions } = require('./rules.js');

const HEAD = 64, APPEALS = 2, ROUNDING = 16n, ANY = 1n << 40n, TESTS = ['SKETCH_MISMATCH', 'LOGPROB_MISMATCH', 'SAMPLING_MISMATCH'];
const bytes = (value) => (typeof value === 'string' ? Buffer.from(value, 'hex') : value);

/** Tokens of a rollout's head: no more than its first turn. */
const headOf = ({ claimed: { logprobs }, firstTurn = Infinity }) => Math.min(HEAD, firstTurn, logprobs.length);
/** Whether heads are judged first: with their prompts they are at most an eighth of all. */
function hasHeads(rollouts) {
  const tokens = (count) => rollouts.reduce((sum, r) => sum + Number(r.promptLength) + count(r), 0);
  return 8 * tokens(headOf) <= tokens((r) => r.claimed.logprobs.length);
}
/**
 * `rollouts` ascending by group and rollout, each { group, rollout, promptLength, claimed: { logprobs, sketch }, measured: { margins,
 * gini, logprobs, sketch } }, sketches as [q, q] a token; appeal(i): what the second implementation measures of rollout i, or null.
 * Where a rollout has turns: firstTurn, the tokens of its first; fault: the token at which it does not end where its world says, or null.
 * `seen`: what was measured before a refusal: whole rollouts, heads, or nothing.
 */
function judgeTrial({ rollouts, appeal, tests, calibration, temperature, auditSeed, hotkey, ledger }) {
  const cleared = new Map();
  let appeals = 0;
  const judge = {
    SKETCH_MISMATCH: ({ claimed: { sketch } }, measured, length) =>
      judgeSketch(measured.sketch.slice(0, length).map((q, t) => [...sketch[t], ...q]), tests.sketch_block_bound, tests.sketch_rollout_bound)[1],
    LOGPROB_MISMATCH: ({ group, rollout, claimed: { logprobs } }, measured) =>
      judgeLogprobs(logprobs, measured.logprobs, selectPositions(bytes(auditSeed), bytes(hotkey), group, rollout, logprobs.length),
        tests.logprob_rms_bound, tests.logprob_max_bound),
    SAMPLING_MISMATCH: (_, measured, length) => sample(measured, length)[1],
  };
  const sample = ({ margins, gini }, length) =>
    judgeSampling(margins.slice(0, length), gini.slice(0, length).map(Number), calibration, tests, temperature);
  /** Whether a measurement is too far from the claim for rounding. Log-probabilities are compared in whole rollouts only. */
  const isBeyondRounding = ({ group, rollout, claimed: { logprobs, sketch } }, measured, length) =>
    measured.margins.slice(0, length).some((margin) => margin > ROUNDING * tests.margin_cap) ||
    judgeSketch(measured.sketch.slice(0, length).map((q, t) => [...sketch[t], ...q]), ROUNDING * tests.sketch_block_bound, ANY)[1] !== null ||
    (length === Infinity && judgeLogprobs(logprobs, measured.logprobs,
      selectPositions(bytes(auditSeed), bytes(hotkey), group, rollout, logprobs.length), ANY, ROUNDING * tests.logprob_max_bound) !== null);
  /** Whether the second implementation clears a rollout, as a whole and by all three tests. */
  const clears = (i, measured, length) => {
    if (isBeyondRounding(rollouts[i], measured, length)) return false;
    const other = appeals++ < APPEALS && (rollouts[i].fault ?? null) === null ? appeal(i) : null;
    if (!other || TESTS.some((test) => judge[test](rollouts[i], other) !== null)) return false;
    cleared.set(i, other);
    return true;
  };
  const heads = hasHeads(rollouts), stages = [...(heads ? [['heads', [TESTS[0], TESTS[2]]]] : []), ['whole', TESTS]];
  for (const [seen, names] of stages) {
    const ill = seen === 'whole' ? rollouts.find((r) => (r.fault ?? null) !== null) : null;
    if (ill) return { reason: 'WRONG_TERMINATION', group: ill.group, rollout: ill.rollout, token: ill.fault, ledger, seen: heads ? 'heads' : 'nothing' };
    for (const reason of names)
      for (const [i, { group, rollout, measured }] of rollouts.entries()) {
        if (cleared.has(i)) continue;
        const length = seen === 'whole' ? Infinity : headOf(rollouts[i]), token = judge[reason](rollouts[i], measured, length);
        if (token !== null && !clears(i, measured, length)) return { reason, group, rollout, token, ledger, seen };
      }
  }
  let after = ledger ?? EMPTY, capital;
  for (const [i, { group, rollout, measured }] of rollouts.entries()) {
    [after, capital] = enterLedger(after, sample(cleared.get(i) ?? measured)[2], tests);
    if (capital >= Math.log(Number(tests.alpha_inverse))) return { reason: 'LEDGER_MISMATCH', group, rollout, token: null, ledger, seen: 'whole' };
  }
  return { reason: null, group: null, rollout: null, token: null, ledger: after, seen: 'whole' };
}
module.exports = { headOf, judgeTrial };
