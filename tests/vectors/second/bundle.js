'use strict';
// A bundle as docs/auditor.md has it: its sums, facts, parameters and records, and what was read of a file.
const { existsSync, readFileSync, readdirSync, statSync } = require('node:fs');
const { join } = require('node:path');
const { decode, decodeCommitment, encode, encodeSS58, hash, hex, parse, sha256, unhex } = require('./core.js');
const { requireThat, Unreadable } = require('./model.js');
const rules = require('./rules.js');

const NONE = '0'.repeat(64);
function listFiles(folder, below = '') {
  return readdirSync(join(folder, below)).flatMap((name) => {
    const path = below ? `${below}/${name}` : name;
    return statSync(join(folder, path)).isDirectory() ? listFiles(folder, path) : [path];
  });
}
/** Every byte against the sums, and the sums against their seal. */
function verifySums(folder) {
  const path = join(folder, 'SHA256SUMS');
  requireThat(existsSync(path), `${path} is not there`);
  const [, sums, seal] = /^((?:[0-9a-f]{64} {2}.+\n)*)# seal ([0-9a-f]{64})\n$/.exec(readFileSync(path, 'utf8')) ?? [];
  requireThat(seal && hex(sha256(Buffer.from(sums))) === seal, `${path} has not the seal that it ends with`);
  const listed = Object.fromEntries(sums.trim().split('\n').map((line) => [line.slice(66), line.slice(0, 64)]));
  const there = listFiles(folder).filter((name) => name !== 'SHA256SUMS');
  const isTouched = (name) => !there.includes(name) || hex(sha256(readFileSync(join(folder, name)))) !== listed[name];
  const touched = [...new Set([...Object.keys(listed), ...there])].filter(isTouched);
  requireThat(!touched.length, `touched since the bundle was sealed: ${touched.sort().join(', ')}`);
}

class Bundle {
  constructor(folder) {
    verifySums(folder);
    this.folder = folder;
    this.facts = parse(`${this.read('facts.json')}`);
    this.validatorName = parse(`${this.read('about.json')}`).validator;
    this.place = `store/${this.validatorName}`;
    const named = (kind) => readdirSync(join(folder, this.place)).flatMap((name) => new RegExp(`^${kind}-(\\d+)\\.record$`).exec(name)?.[1] ?? []);
    const numbers = (kind) => named(kind).map(BigInt).sort((a, b) => Number(a - b));
    [this.windows, this.settlements] = ['window', 'settlement'].map(numbers);
    const parameters = readdirSync(join(folder, 'store/parameters')).map((name) => this.readParameters(name.replace('.json', '')));
    this.parameters = new Map(parameters.map((p) => [p.digest, p]));
    this.history = this.followHistory();
  }
  read(name) {
    requireThat(existsSync(join(this.folder, name)), `the bundle has no ${name}`);
    return readFileSync(join(this.folder, name));
  }
  readParameters(digest) {
    const parameters = parse(`${this.read(`store/parameters/${digest}.json`)}`);
    requireThat(hex(hash('parameters', encode('Parameters', parameters))) === digest, `store/parameters/${digest}.json has another digest`);
    return { ...parameters, digest };
  }
  /** An answer of the chain, at a block. */
  ask(method, block) {
    const answer = this.facts.answers[method]?.[block];
    requireThat(answer !== undefined && answer !== 'forgotten', `facts.json has no ${method} of block ${block}`);
    return answer;
  }
  slot(block, hotkey) {
    const bytes = this.ask('commitments', block)[hotkey];
    return bytes === undefined ? undefined : decodeCommitment(unhex(bytes));
  }
  /** The slot of whoever amends these parameters. */
  amendersSlot({ identity: { amender } }, block) { return this.slot(block, amender === NONE ? this.ask('owner', block) : amender); }
  /** Section 0.1: the parameters with no predecessor, and each amendment that was decided. */
  followHistory() {
    const all = [...this.parameters.values()], first = all.filter((p) => p.start.predecessor === NONE);
    requireThat(first.length === 1, 'the bundle holds not one set of parameters to begin with');
    const decided = (last, next) => {
      if (next.start.predecessor !== last.digest || !rules.follows(last, next, last.digest)) return false;
      const slot = this.amendersSlot(last, rules.decision(last, next.start.window));
      return slot?.tag === 'ASP1' && slot.digest === next.digest && slot.number === next.start.window;
    };
    const history = [first[0]];
    for (;;) {
      const open = all.filter((p) => decided(history.at(-1), p)).sort((a, b) => Number(a.start.window - b.start.window));
      if (!open.length) return history;
      history.push(open[0]);
    }
  }
  inForce(window) { return this.history[rules.inForce(this.history, window)]; }
  /** A record and the digest of its bytes. */
  record(kind, number) {
    const name = `${this.place}/${kind}-${number}.record`, bytes = this.read(name);
    try {
      return { ...decode(kind === 'window' ? 'WindowRecord' : 'SettlementRecord', bytes), digest: hex(hash(`${kind}-record`, bytes)) };
    } catch (error) { throw new Unreadable(`${name}: ${error.message}`); }
  }
  /** take(start, size): the bytes of one range, null where they are not there, a text where their reader was refused them. */
  submission(window, hotkey) {
    const name = `submissions/window-${window}/${encodeSS58(unhex(hotkey))}`, written = this.read(name);
    let packed;
    try { packed = decode('PackedSubmission', written); }
    catch (error) { throw new Unreadable(`${name}: ${error.message}`); }
    requireThat(packed.hotkey === hotkey, `${name} is another hotkey's`);
    const parts = packed.parts.map(({ start, size, data, refusal }) =>
      ({ start: Number(start), end: Number(start + size), data: data && unhex(data), refusal }));
    const strange = parts.find(({ refusal }) => refusal && !rules.WITHHELD.test(refusal.reason));
    requireThat(!strange, `${name}: nothing is refused to a reader for ${strange?.refusal.reason}`);
    return (start, size) => {
      const isWhole = (p) => (p.data ? p.data.length === p.end - p.start : p.refusal);
      const part = parts.find((p) => p.start <= start && start + size <= p.end && isWhole(p));
      return part?.data?.subarray(start - part.start, start - part.start + size) ?? part?.refusal.reason ?? null;
    };
  }
}

module.exports = { Bundle, NONE };
