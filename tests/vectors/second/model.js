'use strict';
// A checkpoint's folder, its tokenizer and its forward pass, in doubles: sections 3, 6 and 7.
const { existsSync, readFileSync, readdirSync } = require('node:fs');
const { join } = require('node:path');
const { encode, filesDigest, hash, hex, parse, sha256, tensorRoot } = require('./core.js');
const { plain } = require('./prompts.js');
const { isMark, weave } = require('./episodes.js');
const { takesAdded, takesBytes } = require('./gate.js');
const rules = require('./rules.js');
const { findCourseFault, isCourse } = require('./courses.js');
const { Failure, Template, Unreadable } = require('./template.js');
const { readJson } = require('./tools.js');

const requireThat = (holds, otherwise) => { if (!holds) throw new Unreadable(otherwise); };
/** Halves go to the even neighbour. */
function rint(x) { const up = Math.round(x); return up - x === 0.5 && up % 2 ? up - 1 : up; }

// ---- tokenizer
class Tokenizer {
  constructor(file, settings) {
    const { normalizer, pre_tokenizer: split, decoder, model, added_tokens: added } = file;
    const known = normalizer === null && model.type === 'WordLevel' && decoder?.type === 'Fuse' && split?.type === 'Split' &&
      split.pattern.Regex === '[\\s\\S]' && split.behavior === 'Isolated' && !split.invert;
    requireThat(known, 'the tokenizer is none of words of one character, which is all that this program reads');
    requireThat(added.every((t) => !t.single_word && !t.lstrip && !t.rstrip && !t.normalized), 'an added token takes more or less than its own text');
    this.words = new Map(Object.entries(model.vocab));
    this.texts = new Map([...Object.entries(model.vocab).map(([text, id]) => [id, text]), ...added.map((token) => [token.id, token.content])]);
    this.unknown = this.words.get(model.unk_token);
    this.added = added.filter((token) => !(token.special && settings.split_special_tokens)).sort((a, b) => b.content.length - a.content.length);
    const special = this.readSpecial(settings), idOf = (name) => [...this.texts].find(([, text]) => text === special[name])?.[0];
    this.marks = added.filter((token) => isMark(token.content, special.unk_token));
    [this.padding, this.bos] = [idOf('pad_token'), idOf('bos_token')];
    this.template = settings.chat_template ? new Template(settings.chat_template, special) : null; // an empty one is none
  }
  /** Special tokens by their names. */
  readSpecial(settings) {
    const lists = ['additional_special_tokens', 'extra_special_tokens', 'model_specific_special_tokens', 'added_tokens_decoder'];
    requireThat(lists.every((name) => !Object.keys(settings[name] ?? {}).length), 'the tokenizer has lists of special tokens');
    const named = Object.entries(settings).filter(([name, token]) => name.endsWith('_token') && token !== null && typeof token !== 'boolean');
    const special = Object.fromEntries(named.map(([name, token]) => [name, token.content ?? token])), texts = [...this.texts.values()];
    requireThat(Object.values(special).every((token) => texts.includes(token)), 'a special token has no entry in tokenizer.json');
    return special;
  }
  /** The text of what is asked, as an environment has it; null where the template fails for it. */
  write({ messages, chosen, plain: isPlain, tools = null }) {
    try { return this.template && !isPlain ? this.template.render(messages, chosen, tools && readJson(tools)) : plain(messages); } catch (error) { if (error instanceof Failure) return null; throw error; }
  }
  ask(asked) {
    if (!asked.messages.length) return [0];
    const text = this.write(asked), ids = text === null ? null : this.encode(text);
    if (ids === null) return [0];
    if (asked.bos && this.bos !== undefined && ids[0] !== this.bos) ids.unshift(this.bos);
    return ids.length ? ids : [0];
  }
  /** Ids of a text; null where it has a character that nothing stands for. */
  encode(text) {
    const ids = [];
    for (let at = 0; at < text.length; ) {
      const token = this.added.find(({ content }) => text.startsWith(content, at)), letter = token ? token.content : String.fromCodePoint(text.codePointAt(at));
      const id = token ? token.id : this.words.get(letter) ?? this.unknown;
      if (id === undefined) return null;
      ids.push(id), (at += letter.length);
    }
    return ids;
  }
  decode(ids, ends) {
    let text = ids.filter((id) => !ends.includes(id)).map((id) => this.texts.get(id)).join('');
    for (let end; (end = ends.map((id) => this.texts.get(id)).find((name) => name && text.endsWith(name))); ) text = text.slice(0, -end.length);
    return text;
  }
}

// ---- tensors
function readTensors(folder) {
  const tensors = new Map();
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.safetensors'))) {
    const bytes = readFileSync(join(folder, file)), size = Number(bytes.readBigUInt64LE()), data = bytes.subarray(8 + size);
    const { __metadata__: _, ...entries } = JSON.parse(bytes.subarray(8, 8 + size));
    let at = 0;
    const inPlace = Object.entries(entries).sort((a, b) => a[1].data_offsets[0] - b[1].data_offsets[0]);
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of inPlace) {
      requireThat(from === at && to >= from && !tensors.has(name), `${file}: ${name} does not lie where the last one ends`);
      tensors.set(name, { name, dtype, shape, data: data.subarray(from, (at = to)) });
    }
    requireThat(at === data.length, `${file}: bytes that are no tensor's`);
  }
  return tensors;
}
function toDoubles({ name, dtype, shape, data }) {
  const size = shape.reduce((a, b) => a * b, 1), view = new DataView(new ArrayBuffer(4));
  requireThat(dtype === 'BF16' && data.length === 2 * size, `${name} is not bf16`);
  const values = Float64Array.from({ length: size }, (_, i) => { view.setUint16(0, data.readUInt16LE(2 * i)); return view.getFloat32(0); });
  requireThat(values.every(Number.isFinite), `${name} is not finite`);
  return values;
}

// ---- forward pass
const FAMILIES = { llama: { heads: null }, qwen2: { heads: null, qkv: true }, qwen3: { heads: 128, normed: true } };
function normalize(row, weight, epsilon) {
  let squares = 0;
  for (const x of row) squares += x * x;
  const factor = 1 / Math.sqrt(squares / row.length + epsilon);
  return row.map((x, i) => x * factor * weight[i]);
}
function multiply(row, { weight, bias, outputs }) {
  const inputs = row.length, result = new Float64Array(outputs);
  for (let o = 0, w = 0; o < outputs; o++) {
    let a = bias ? bias[o] : 0, b = 0, c = 0, d = 0, i = 0; // four sums: one would wait for itself
    for (; i + 3 < inputs; i += 4, w += 4) {
      a += weight[w] * row[i];
      b += weight[w + 1] * row[i + 1];
      c += weight[w + 2] * row[i + 2];
      d += weight[w + 3] * row[i + 3];
    }
    for (; i < inputs; i++) a += weight[w++] * row[i];
    result[o] = a + b + (c + d);
  }
  return result;
}
const add = (a, b) => a.map((x, i) => x + b[i]);

class Model {
  constructor(config, tensors) {
    const family = FAMILIES[config.model_type], left = new Map(tensors), c = config;
    const rope = { rope_theta: c.rope_theta ?? 10000, rope_type: 'default', ...c.rope_scaling, ...c.rope_parameters };
    const plain = family && (c.hidden_act ?? 'silu') === 'silu' && !c.use_sliding_window && rope.rope_type === 'default' &&
      (c.layer_types ?? []).every((type) => type === 'full_attention') && (rope.partial_rotary_factor ?? 1) === 1;
    requireThat(plain, `a model of this config.json is not of this program: ${c.model_type}`);
    const { hidden_size: hidden, num_attention_heads: heads, vocab_size: rows } = c, groups = c.num_key_value_heads ?? heads;
    const width = c.head_dim ?? family.heads ?? hidden / heads, inner = c.intermediate_size;
    const take = (name, ...shape) => {
      requireThat(`${left.get(name)?.shape}` === `${shape}`, `the tensor ${name} is not there, or not of ${shape}`);
      const values = toDoubles(left.get(name));
      left.delete(name);
      return values;
    };
    const linear = (name, outputs, inputs, biased) =>
      ({ weight: take(`${name}.weight`, outputs, inputs), bias: biased ? take(`${name}.bias`, outputs) : null, outputs });
    const qkv = family.qkv ?? c.attention_bias ?? false, last = family.qkv ? false : qkv, mlp = c.mlp_bias ?? false;
    const layer = (_, i) => {
      const [own, attention] = [`model.layers.${i}`, `model.layers.${i}.self_attn`];
      return {
        before: take(`${own}.input_layernorm.weight`, hidden), between: take(`${own}.post_attention_layernorm.weight`, hidden),
        q: linear(`${attention}.q_proj`, heads * width, hidden, qkv), k: linear(`${attention}.k_proj`, groups * width, hidden, qkv),
        v: linear(`${attention}.v_proj`, groups * width, hidden, qkv), o: linear(`${attention}.o_proj`, hidden, heads * width, last),
        norms: family.normed ? ['q', 'k'].map((n) => take(`${attention}.${n}_norm.weight`, width)) : null,
        gate: linear(`${own}.mlp.gate_proj`, inner, hidden, mlp), up: linear(`${own}.mlp.up_proj`, inner, hidden, mlp),
        down: linear(`${own}.mlp.down_proj`, hidden, inner, mlp),
      };
    };
    this.embedding = take('model.embed_tokens.weight', rows, hidden);
    this.layers = Array.from({ length: c.num_hidden_layers }, layer);
    this.norm = take('model.norm.weight', hidden);
    this.output = c.tie_word_embeddings ? { weight: this.embedding, bias: null, outputs: rows } : linear('lm_head', rows, hidden, false);
    requireThat(left.size === 0, `tensors that config.json has no place for: ${[...left.keys()]}`);
    Object.assign(this, { hidden, heads, groups, width, rows, epsilon: c.rms_norm_eps ?? 1e-6, theta: rope.rope_theta });
  }
  /** Heads of a row, turned by their place. */
  turn(row, place, norm) {
    const half = this.width / 2, turned = new Float64Array(row.length);
    for (let start = 0; start < row.length; start += this.width) {
      const head = norm ? normalize(row.subarray(start, start + this.width), norm, this.epsilon) : row.subarray(start, start + this.width);
      for (let i = 0; i < half; i++) {
        const angle = place * this.theta ** (-i / half), [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        turned[start + i] = head[i] * cos - head[i + half] * sin;
        turned[start + i + half] = head[i + half] * cos + head[i] * sin;
      }
    }
    return turned;
  }
  attend(query, keys, values, upTo) {
    const { width } = this, result = new Float64Array(query.length);
    for (let head = 0; head < this.heads; head++) {
      const q = head * width, kv = Math.floor((head * this.groups) / this.heads) * width, scores = new Float64Array(upTo + 1);
      for (let t = 0; t <= upTo; t++) {
        for (let i = 0; i < width; i++) scores[t] += query[q + i] * keys[t][kv + i];
        scores[t] /= Math.sqrt(width);
      }
      const top = scores.reduce((a, b) => Math.max(a, b)), weights = scores.map((s) => Math.exp(s - top)), all = weights.reduce((a, b) => a + b);
      for (let t = 0; t <= upTo; t++) for (let i = 0; i < width; i++) result[q + i] += (weights[t] / all) * values[t][kv + i];
    }
    return result;
  }
  /** The last hidden state of each token, after the final norm. */
  states(tokens) {
    let rows = tokens.map((id) => this.embedding.slice(id * this.hidden, (id + 1) * this.hidden));
    for (const l of this.layers) {
      const inputs = rows.map((row) => normalize(row, l.before, this.epsilon)), [qNorm, kNorm] = l.norms ?? [];
      const queries = inputs.map((row, t) => this.turn(multiply(row, l.q), t, qNorm));
      const keys = inputs.map((row, t) => this.turn(multiply(row, l.k), t, kNorm)), values = inputs.map((row) => multiply(row, l.v));
      rows = rows.map((row, t) => add(row, multiply(this.attend(queries[t], keys, values, t), l.o)));
      rows = rows.map((row) => {
        const input = normalize(row, l.between, this.epsilon), up = multiply(input, l.up);
        return add(row, multiply(multiply(input, l.gate).map((x, i) => (x / (1 + Math.exp(-x))) * up[i]), l.down));
      });
    }
    return rows.map((row) => normalize(row, this.norm, this.epsilon));
  }
  /** What the tests of section 5 and 6 compare, and the states that drew the tokens. `drawn`: the ids that may be; `replies`: {at, ids}. */
  measure(prompt, tokens, { seed, temperature, drawn, replies = [] }) {
    const { sequence, places } = weave(tokens, replies.filter(({ at }) => at < tokens.length));
    const all = this.states([...prompt, ...sequence.slice(0, -1)]), states = places.map((place) => all[prompt.length + place - 1]);
    const found = states.map((state, t) => {
      const logits = multiply(state, this.output).map(Math.fround), noise = rules.noiseRow(seed, t, this.rows, temperature);
      requireThat(logits.every((x) => Math.abs(x) < 2 ** 40), 'logits that are not finite, or too large: our own fault');
      let top = -Infinity, best = -Infinity, all = 0, squares = 0;
      const score = (id) => rint(logits[id] * 2 ** 20) + noise[id];
      for (const id of drawn) { top = Math.max(top, logits[id]); best = Math.max(best, score(id)); }
      for (const id of drawn) { const p = Math.exp(logits[id] - top); all += p; squares += p * p; }
      const logprob = rint((Math.log(all) + top - logits[tokens[t]]) * 65536);
      return [BigInt(best - score(tokens[t])), 1 - squares / all ** 2, BigInt(Math.min(Math.max(logprob, 0), 2 ** 24 - 1))];
    });
    const [margins, gini, logprobs] = [0, 1, 2].map((i) => found.map((row) => row[i]));
    return { margins, gini, logprobs, states };
  }
}
/** Each expert's factor and weight for one token, from a router's logits: section 3. */
function route(logits, { biases, chosen, ramp, weightsBy, normalised, scaling }) {
  const top = Math.max(...logits), powers = logits.map((x) => Math.exp(x - top)), sum = powers.reduce((a, b) => a + b);
  const shares = weightsBy === 'softmax' ? powers.map((p) => p / sum) : logits.map((x) => 1 / (1 + Math.exp(-x)));
  const scores = weightsBy === 'softmax' ? logits : shares.map((p, i) => p + biases[i]);
  const [last, next] = [...scores].sort((a, b) => b - a).slice(chosen - 1), middle = (last + next) / 2;
  const factors = scores.map((s) => Math.min(1, Math.max(0, 0.5 + (s - middle) / (2 * ramp))));
  const weights = factors.map((f, i) => f * shares[i]), all = normalised ? weights.reduce((a, b) => a + b) + (weightsBy === 'softmax' ? 0 : 1e-20) : 1;
  return { factors, weights: weights.map((w) => (scaling * w) / all) };
}
/** Two signed bytes of a state: `columns` of ±1, centre and scale in 2^-16. */
function sketchState(state, columns, { centre, scale }) {
  return columns.map((signs) => {
    let sum = 0;
    for (let i = 0; i < state.length; i++) sum += signs[i] * (state[i] * 65536 - Number(centre[i]));
    return BigInt(Math.min(127, Math.max(-127, rint((sum * 32) / Number(scale)))));
  });
}

// ---- checkpoints
const SMALL = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'calibration.json', 'calibration_set.json', 'manifest.json'];
const templateDigest = (template) => hash('chat-template', ...(template ? [Buffer.from(template)] : []));
/** Whether a manifest's word of a further file is true of the bytes that have its SHA-256. */
const hasSize = (data, { size }) => BigInt(data.length) === size;
/** The small files of a folder, held against the digest that is its name. */
function readSmall(folder, digest) {
  requireThat(existsSync(folder), `${folder} is not there`);
  const files = Object.fromEntries(SMALL.map((name) => [name, readFileSync(join(folder, name))])), manifest = parse(`${files['manifest.json']}`);
  requireThat(hex(hash('checkpoint', encode('Manifest', manifest))) === digest, `${folder}: the manifest has another digest`);
  const calibration = parse(`${files['calibration.json']}`), settings = JSON.parse(files['tokenizer_config.json']);
  const some = (...names) => Object.fromEntries(names.map((name) => [name, hex(files[name])]));
  const found = {
    structure: filesDigest('structure', some('config.json')),
    tokenizer: filesDigest('tokenizer', some('tokenizer.json', 'tokenizer_config.json')),
    calibration_set: hash('calibration-set', files['calibration_set.json']),
  };
  for (const [name, value] of Object.entries(found))
    requireThat(hex(value) === manifest[name], `${folder}: its ${name} is not what the manifest names`);
  const calibrated = hex(hash('calibration', encode('Calibration', calibration))) === manifest.calibration;
  const sized = (areFilesLegal(manifest) ? manifest.files : []).map((file) => {
    const data = readFileSync(join(folder, 'files', file.name));
    requireThat(hex(sha256(data)) === file.sha256, `${folder}: its file ${file.name} is not what the manifest names`);
    return hasSize(data, file);
  }).every(Boolean);
  const templated = hex(templateDigest(settings.chat_template)) === manifest.chat_template, fits = takesBytes(files['tokenizer.json']);
  return { manifest, calibration, calibrated, sized, templated, fits, settings, config: JSON.parse(files['config.json']), tokenizer: JSON.parse(files['tokenizer.json']) };
}
/** Why a manifest is unusable by itself; null where it is not. Of tensors and config.json only what `Model` refuses, and that as unreadable. */
function findFlaw({ manifest: m, calibration, calibrated, sized, templated, fits, settings, tokenizer: file }, parameters, { rows, entries, drawn, hidden, environment, tokenizer }) {
  const { tests, gate, work } = parameters;
  const square = (x) => x * x;
  const flaws = {
    'another version': m.version !== 4n,
    'another calibration': !calibrated || calibration.rates.length !== tests.margin_levels.length,
    'a rate above its limit': calibration.rates.some((rate, k) => rate > tests.rate_limits[k]),
    'a scale out of bounds': m.scale < tests.scale_min || m.scale > tests.scale_max,
    'a centre far out': 1000000n * m.centre.reduce((sum, x) => sum + square(x), 0n) > square(tests.centre_ratio_max * m.scale),
    'a ramp that is not the network\'s': m.router_ramp !== tests.router_ramp,
    'too many experts a token': m.experts > tests.experts_max,
    'max_tokens out of bounds': m.max_tokens < 1n || m.max_tokens > work.max_tokens,
    'no end token or no level': !m.end_tokens.length || !m.levels.length,
    'a course that is none': !isCourse(m.course) || findCourseFault(m.course, gate, !hasNoStep(m)) !== null,
    'further files that none may name': !areFilesLegal(m) || !sized,
    'a tokenizer that is too large': !fits || !takesAdded(file, settings),
    'a chat template that is not its files\'': !templated,
    'a chat template that fails': environment?.probes.some((probe) => tokenizer.write(probe) === null),
    'an entry beyond the vocabulary': entries.some((id) => id >= rows),
    'an end token that may not be drawn': !m.end_tokens.every((id) => drawn.includes(Number(id))),
    'levels that do not follow': environment && findLevelsFlaw(m, parameters, environment) !== null,
    'a centre of another width': m.centre.length !== hidden,
    'experts of a model without routers': m.experts !== 0n, // this program reads no others
  };
  return Object.keys(flaws).find((flaw) => flaws[flaw]) ?? null;
}
const FILE_NAME = /^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/;
const ascends = (rows, isLess) => rows.every((row, i) => i === 0 || isLess(rows[i - 1], row));
function areFilesLegal({ files }) {
  return files.every((file) => FILE_NAME.test(file.name)) && ascends(files, (a, b) => a.name < b.name)
    && files.reduce((sum, file) => sum + file.size, 0n) <= 1n << 26n;
}
const areLevels = (pairs, legal) => pairs.every(({ level }) => legal.includes(level)) && ascends(pairs, (a, b) => a.level < b.level);
/** Why levels cannot follow from what a manifest says of its parent; null where they do. */
function findLevelsFlaw(manifest, { steering, identity, start }, environment) {
  const { levels, levels_before: before, held_out: heldOut } = manifest;
  if (!areLevels(levels, environment.legal)) return 'levels that are none';
  if (hasNoStep(manifest)) {
    const first = NONE.test(start.checkpoint) ? identity.genesis_checkpoint : start.checkpoint;
    if (hex(hash('checkpoint', encode('Manifest', manifest))) !== first) return 'no step, and not the first checkpoint';
    return !before.length && !heldOut.length && levels.every(({ weight }) => weight === 1000n) ? null : 'a start with other weights';
  }
  if ([...levels, ...before].some(({ weight }) => weight < steering.weight_min || weight > steering.weight_max)) return 'a weight out of bounds';
  if (heldOut.length && !(before.length && areLevels(before, environment.legal))) return 'success of levels that are none';
  const tried = rules.triedLevels(before.map((pair) => pair.level), environment.legal);
  const counted = ascends(heldOut, (a, b) => a.level < b.level) && heldOut.every((s) => s.solved <= s.asked && s.mixed <= s.asked && tried.includes(s.level));
  if (!counted) return 'success that cannot be';
  const due = rules.nextLevels(before, heldOut, steering, environment), written = (pairs) => pairs.map(({ level, weight }) => `${level}:${weight}`).join();
  return written(due) === written(levels) ? null : 'levels that do not follow';
}
const NONE = /^0*$/, hasNoStep = ({ step }) => NONE.test(step);
/** Whether a manifest says of its parent's levels what the parent does not. */
const liesOfParent = (manifest, parent) =>
  !hasNoStep(manifest) && !encode('list ≤ 32 of LevelWeight', manifest.levels_before).equals(encode('list ≤ 32 of LevelWeight', parent.levels));
function openCheckpoint(folder, digest, parameters, environment) {
  const small = readSmall(folder, digest), { manifest, calibration } = small, tensors = readTensors(folder);
  const leaves = [...tensors.values()].map((t) => ({ ...t, sha256: hex(sha256(t.data)) }));
  requireThat(hex(tensorRoot(leaves)) === manifest.tensors, `${folder}: its tensors are not what the manifest names`);
  const model = new Model(small.config, tensors), tokenizer = new Tokenizer(small.tokenizer, small.settings);
  const entries = [...tokenizer.texts.keys()].sort((a, b) => a - b), ends = manifest.end_tokens.map(Number);
  const drawn = entries.filter((id) => id < model.rows && (id !== tokenizer.padding || ends.includes(id)));
  const flaw = findFlaw(small, parameters, { ...model, entries, drawn, environment, tokenizer });
  return { manifest, calibration, model, tokenizer, drawn, ends, flaw };
}

module.exports = { findLevelsFlaw, hasSize, liesOfParent, Model, openCheckpoint, readSmall, requireThat, route, sketchState, templateDigest, Tokenizer, Unreadable };
