'use strict';
// Derives the pools of a line of checkpoints from what its steps consumed (section 11.3), and writes a line for each: its rows and its SHA-256, `-` without a row.
//   node tests/vectors/second/pools_of_steps.js STEPS MODEL
// STEPS is a file of JSON: the `image` that runs programs, by its SHA-256; the `environment`, a mixture, by its settings; the `trainer`'s hotkey; `end_tokens`;
// the `genesis`, which has no pool; and `steps` in their order, each with window, parent, child and the `groups` of its step.parquet: window, hotkey, index,
// checkpoint, problem_seed, levels, prompt and completions as ids. MODEL is the folder with the tokenizer of all of them. No pool is read but the first.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { byName, sha256, hex, unhex } = require('./core.js');
const { drawPart, ownOf } = require('./environments.js');
const { findImage } = require('./guest.js');
const { Tokenizer, requireThat } = require('./model.js');
const { Checker, digestOf, draw } = require('./pieces.js');
const { growPool, joinPools, writePool } = require('./pool.js');

const PART = 'propose', MILLION = 1000000, RUNS = 2, INPUT = 1;
const [stepsFile, model] = process.argv.slice(2), readJson = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
const { image: digest, environment: settings, trainer, end_tokens: ends, genesis, steps } = readJson(stepsFile);
const own = ownOf(settings, PART), image = findImage(digest), tokenizer = new Tokenizer(readJson(model, 'tokenizer.json'), readJson(model, 'tokenizer_config.json'));
requireThat(image, `no image with SHA-256 ${digest} is here (assay sandbox prepare)`);
const checker = new Checker(image, Math.floor((own.units * MILLION) / RUNS));
const first = `${readFileSync(join(__dirname, '../../../assay/environments/pieces/pool.jsonl'))}`.trimEnd().split('\n').map((line) => JSON.parse(line));
const pools = new Map([[genesis, []]]); // by the checkpoint that has it

/** The valid proposals of a group, in order of its rollouts. */
function listProposals({ checkpoint, problem_seed: seed, levels, prompt, completions }) {
  const { name, levels: asked } = drawPart(settings, unhex(seed), levels);
  if (name !== PART) return [];
  const rows = joinPools(first, pools.get(checkpoint)), known = rows.map((row) => digestOf(row.function)), problem = draw(PART, own, rows, unhex(seed), asked);
  requireThat(tokenizer.decode(prompt, []) === problem.prompt, `a problem of ${checkpoint} is another than the one that was asked`);
  return completions.flatMap((ids) => {
    const found = checker.propose(problem.kind, problem.piece, tokenizer.decode(ids, ends), known);
    return found?.piece ? [{ ...found.piece, widens: problem.kind === INPUT }] : [];
  });
}

for (const { window, parent, child, groups } of steps) {
  const miners = groups.filter((one) => one.window === window && one.hotkey !== trainer).sort((a, b) => byName(a.hotkey, b.hotkey) || a.index - b.index);
  const rows = growPool(first, pools.get(parent), miners.flatMap(listProposals), own.pool, (row) => checker.isSolvable(row));
  pools.set(child, rows);
  console.log(rows.length, rows.length ? hex(sha256(Buffer.from(writePool(rows)))) : '-');
}
