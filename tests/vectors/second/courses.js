'use strict';
// What checkpoints show: section 7.1, from a manifest's integers.
const { encodeJson, hash, u32, Stream } = require('./core.js');

const NONE = '0'.repeat(64), OUTCOMES = ['goes on', 'milestone', 'return'], RULES = ['none', 'not-worse', 'better'];
const STAKES = [3n, 5n], MILLION = 10n ** 6n, WHOLE = 2n ** 32n;
const total = (list) => list.reduce((a, b) => a + b, 0n);

// ---- the draw
const gateSeed = (digest, randomness) => hash('gate', digest, randomness);
const problemSeed = (seed, number) => hash('gate-problem', seed, u32(number));
/** Problems of a file whose answers a validator checks. */
const checkedProblems = (sha256, hotkey, problems) => new Stream(hash('gate-check', sha256, hotkey)).sample(problems, Math.min(8, Number(problems)));

// ---- evidence; pairs are {asked, wins, losses}
/** What a stake makes of 1, in 16^-(wins + losses). */
const bet = (stake, wins, losses) => (16n + stake) ** wins * (16n - stake) ** losses;
const sixteenth = (count) => 1n << (4n * count);
/** The place of the first count up to which a course is better; null where none is. */
function findBetter(course, attempt, error) {
  let won = 0n, lost = 0n;
  if (attempt === 0n) return null;
  for (const [place, one] of course.entries()) {
    won += one.wins; lost += one.losses;
    const capital = total(STAKES.map((stake) => bet(stake, won, lost)));
    if (capital * error >= BigInt(STAKES.length) * 1644935n * attempt ** 2n * sixteenth(won + lost)) return place;
  }
  return null;
}
/** By definition: a product over the counts from each place on. */
function isWorse(course, error) {
  const shares = course.map((_, i) => WHOLE / (BigInt(i + 1) * BigInt(i + 2))), all = total(course.map((one) => one.wins + one.losses));
  const unit = sixteenth(all);
  const capital = total(STAKES.map((stake) => {
    let product = 1n, behind = 0n, sum = 0n;
    for (let i = course.length - 1; i >= 0; i--) {
      product *= bet(stake, course[i].losses, course[i].wins);
      behind += course[i].wins + course[i].losses;
      sum += (shares[i] * product) << (4n * (all - behind));
    }
    return sum + (WHOLE - total(shares)) * unit;
  }));
  return capital * error >= BigInt(STAKES.length) * WHOLE * MILLION * unit;
}

/** Bounds of the mean gain in thousandths, on a grid of 1/200: of no rule, but shown. */
function boundGain(course, error) {
  const [won, lost, asked] = ['wins', 'losses', 'asked'].map((name) => total(course.map((one) => one[name]))), ties = asked - won - lost, unit = 3200n;
  const shown = (wins, losses, gain) => total(STAKES.map((s) => (unit + s * (200n - gain)) ** wins * (unit - s * (200n + gain)) ** losses * (unit - s * gain) ** ties)) * error >= 2n * MILLION * BigInt(STAKES.length) * unit ** asked;
  const most = (wins, losses) => { let gain = -200n; while (gain < 200n && shown(wins, losses, gain)) gain += 1n; return gain > -200n ? gain - 1n : gain; };
  return [5n * most(won, lost), -5n * most(lost, won)];
}

// ---- a manifest's course
const isEmpty = (course) => course.milestone === NONE && course.attempt === 0n && !course.counts.length && course.outcome === 'goes on';
/** The place of the count that a course makes the milestone; null: none. */
function findMilestone({ counts, attempt }, gate) {
  const last = gate.rule === 'none' ? null : findBetter(counts, attempt, gate.error_better);
  if (last === null) return null;
  const leads = counts.slice(0, last + 1).map((one) => one.wins - one.losses);
  return leads.findIndex((lead) => leads.every((other) => other <= lead));
}
/** The course of a checkpoint's child, with the counts that it carries on. */
function continueCourse(parent, course, isFirst, gate) {
  const begin = (milestone, attempt) => ({ milestone, attempt, counts: [], outcome: 'goes on' });
  if (isFirst) return begin(parent, 1n);
  if (findCourseFault(course, gate) !== null) return begin(NONE, 0n);
  if (course.outcome === 'milestone') {
    const place = findMilestone(course, gate);
    return place === null ? begin(NONE, 0n) : begin(course.counts[place].checkpoint, 1n);
  }
  if (course.outcome === 'return') return begin(course.milestone, course.attempt + 1n);
  return { ...course, outcome: 'goes on' };
}
/** Whether a checkpoint is one of a course's. */
function isOfCourse(digest, own, course, gate) {
  const led = continueCourse(digest, own, false, gate);
  return own.outcome !== 'return' && own.milestone !== NONE && led.milestone === course.milestone && led.attempt === course.attempt;
}
const text = (value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}` : v));
/** Why a course does not follow from its parent's; null where it does. */
function findLineFault(parent, before, isFirst, course, gate) {
  const due = continueCourse(parent, before, isFirst, gate);
  if (course.milestone !== due.milestone) return 'milestone';
  if (course.attempt !== due.attempt) return 'attempt';
  const carries = due.counts.every((one, i) => i < course.counts.length && text(Object.entries(one).sort()) === text(Object.entries(course.counts[i]).sort()));
  return carries ? null : 'counts';
}
/** Why a course is given up; null where it may go on. */
function endOf({ counts, attempt }, gate) {
  if (isWorse(counts, gate.error_worse)) return 'worse';
  if (counts.length >= 1000) return 'full';
  const isOver = gate.rule === 'better' && BigInt(counts.length) >= gate.checkpoints;
  return isOver && findBetter(counts, attempt, gate.error_better) === null ? 'over' : null;
}
/** Why section 7.1 refuses a course of a manifest that has a step, or none, as [fault, place of the count or null]; null where it does not. */
function findCourseFault(course, gate, hasStep = true) {
  if (gate.rule === 'none' || !hasStep) return isEmpty(course) ? null : ['there', null];
  if (course.milestone === NONE || course.attempt === 0n) return ['none', null];
  const names = [course.milestone, ...course.counts.map((one) => one.checkpoint)];
  for (const [i, one] of course.counts.entries()) {
    if (names.indexOf(one.checkpoint) <= i) return ['twice', i];
    if (one.asked !== gate.problems) return ['asked', i];
    if (one.wins + one.losses > one.asked || one.first_wins + one.first_losses > one.asked / 4n) return ['pairs', i];
  }
  const end = endOf(course, gate);
  if (end !== null && course.outcome !== 'return') return [end, null];
  if (course.outcome === 'return') return end === null ? ['return', null] : null;
  return course.outcome === 'milestone' && findMilestone(course, gate) === null ? ['milestone', null] : null;
}
/** Whether a JSON form is that of a course. */
function isCourse(course) {
  try { encodeJson('Course', course); } catch (error) { if (error instanceof RangeError) return false; throw error; }
  return OUTCOMES.includes(course.outcome);
}
/** Whether section 0 refuses a gate. */
function isGateRefused(gate, hasRounds) {
  const { rule, problems, error_worse: worse, error_better: better, checkpoints, environment } = gate;
  if (rule === 'none') return Boolean(problems || worse || better || checkpoints || environment.length);
  const isBound = rule === 'better' ? checkpoints >= 1n && checkpoints <= 1000n : checkpoints === 0n;
  return !RULES.includes(rule) || hasRounds || problems < 4n || problems > 1024n || problems % 4n !== 0n || [worse, better].some((e) => e < 1n || e >= MILLION) || !isBound;
}

module.exports = { boundGain, checkedProblems, continueCourse, findBetter, findCourseFault, findLineFault, gateSeed, isCourse, isGateRefused, isOfCourse, isWorse, problemSeed };
