'use strict';
// What a model folder's JSON files may hold: section 7. Integers are BigInt, so that 96 and 96.0 differ.
const { byName, hash, hex, u64 } = require('./core.js');

const isObject = (v) => v !== null && typeof v === 'object' && !Array.isArray(v);
const isFlag = (v) => typeof v === 'boolean';
const isInteger = (v, least, most) => typeof v === 'bigint' && v >= BigInt(least) && v <= BigInt(most);
const isNumber = (v) => (typeof v === 'bigint' || typeof v === 'number') && Math.abs(Number(v)) <= 2 ** 40;
const isText = (v, least = 1, most = 512) =>
  typeof v === 'string' && v.isWellFormed() && [...v].length >= least && [...v].length <= most;
const isOf = (...choices) => (v) => choices.includes(v);
const orNull = (rule) => (v) => v === null || rule(v);
const has = (object, name) => Object.hasOwn(object, name);
/** Whether an object has fields that follow rules; those in `optional` may be absent, those in `others` are looked at elsewhere. */
function follows(v, rules, optional = {}, others = []) {
  if (!isObject(v)) return false;
  const all = { ...rules, ...optional };
  return Object.keys(v).every((name) => others.includes(name) || (has(all, name) && all[name](v[name]))) && Object.keys(rules).every((name) => has(v, name));
}

// ---- config.json: by the table of families, whose rules are in words
const isIds = orNull((v) => (Array.isArray(v) ? v : [v]).every((id) => isInteger(id, 0, 2 ** 32 - 1)) && (Array.isArray(v) ? v.length <= 16 : true));
const isAbove = (least) => (v) => isNumber(v) && Number(v) > least;
const LAYER_CHANGES = { head_dim: (v) => isInteger(v, 2, 2 ** 12), num_key_value_heads: (v) => isInteger(v, 1, 2 ** 12) };
const WORDS = {
  'true or false': isFlag, 'a number': isNumber, 'a number above 0': isAbove(0), 'a number above 1': isAbove(1), 'a number of at least 0': (v) => isNumber(v) && Number(v) >= 0, 'a text': (v) => isText(v),
  'a number above 0, at most 1': (v) => isAbove(0)(v) && Number(v) <= 1, 'an id, at most 16 of them, or null': isIds,
  'a list': Array.isArray, 'an object': isObject, 'false or null': isOf(false, null), 'at most 4 names': (v) => Array.isArray(v) && v.length <= 4 && v.every((name) => isText(name)),
  'an integer from 0 to 1024, a text': (v) => isInteger(v, 0, 1024) || isText(v), '[]': (v) => Array.isArray(v) && !v.length, 'a list of at most 1024 layers': (v) => Array.isArray(v) && v.length <= 1024 && v.every((n) => isInteger(n, 0, 1023)),
  "layers' numbers with head_dim and num_key_value_heads": (v) => isObject(v) && new Set(Object.keys(v).map(Number)).size === Object.keys(v).length && Object.entries(v).every(([n, c]) => /^[0-9]{1,4}$/.test(n) && follows(c, {}, LAYER_CHANGES)),
};
/** The rule that words name: known ones, an integer or its bounds, what may be null besides, or legal values in JSON. */
function ruleOf(words) {
  if (has(WORDS, words)) return WORDS[words];
  const ends = /^([0-9]+)(?: to ([0-9]+))?$/.exec(words);
  if (ends) return (v) => isInteger(v, Number(ends[1]), Number(ends[2] ?? ends[1]));
  if (words.endsWith(' or null')) return orNull(ruleOf(words.replace(/,? or null$/, '')));
  if (/^[0-9]+\.[0-9]+$/.test(words)) return (v) => typeof v === 'number' && v === Number(words);
  return isOf(...JSON.parse(`[${words}]`));
}
const rulesOf = (fields) => Object.fromEntries(Object.entries(fields).map(([name, words]) => [name, ruleOf(words)]));
const valueOf = (config, family, name) => (has(config, name) ? config[name] : toInteger(family.defaults[name] ?? null));
const toInteger = (v) => (Number.isInteger(v) ? BigInt(v) : v);
const headOf = (c, family) => valueOf(c, family, 'head_dim') ?? c.hidden_size / c.num_attention_heads;

/** What only some families have: words that differ by layer, marks of layers, rules of several fields. A layer is null outside of layers. */
const isFull = (c, layer) => c.layer_types[layer] === 'full_attention', countOf = (v) => Number(v ?? 0);
const usesEarlier = (c, layer) => layer >= countOf(c.num_hidden_layers) - countOf(c.num_kv_shared_layers);
const gemma4 = {
  words(c, layer) {
    if (layer === null) return { s: c.num_hidden_layers * (c.hidden_size_per_layer_input ?? 256n) };
    const changed = Object.entries(c.per_layer_config ?? {}).find(([number]) => Number(number) === layer)?.[1] ?? {};
    const wide = { w: c.intermediate_size * (c.use_double_wide_mlp && usesEarlier(c, layer) ? 2n : 1n) };
    const shared = c.attention_k_eq_v ? c.num_global_key_value_heads ?? null : null;
    const own = has(c, 'per_layer_config') ? changed : isFull(c, layer) ? { head_dim: c.global_head_dim ?? 512n, ...(shared === null ? {} : { num_key_value_heads: shared }) } : {};
    return { ...wide, ...(has(own, 'head_dim') ? { d: own.head_dim } : {}), ...(has(own, 'num_key_value_heads') ? { g: own.num_key_value_heads } : {}) };
  },
  marks(c, layer) {
    const marks = countOf(c.hidden_size_per_layer_input ?? 256n) ? ['inputs'] : [];
    if (layer !== null && usesEarlier(c, layer)) marks.push('earlier keys', 'earlier values');
    if (layer !== null && c.attention_k_eq_v && isFull(c, layer)) marks.push('earlier values');
    return marks;
  },
  fits(c, table) {
    const layers = countOf(c.num_hidden_layers), own = layers - countOf(c.num_kv_shared_layers);
    const values = Array.from({ length: layers }, (_, layer) => measure(c, table, layer));
    const inputs = countOf(c.hidden_size_per_layer_input ?? 256n) && (c.vocab_size_per_layer_input ?? 262144n) < c.vocab_size;
    return !inputs && own > 0 && isFull(c, layers - 1) && c.layer_types.slice(own).every((kind) => c.layer_types.slice(0, own).includes(kind)) &&
      values.every(({ n, g, d }) => n % g === 0n && d % 2n === 0n);
  },
};
const hybrid = (c) => c.linear_num_value_heads % c.linear_num_key_heads === 0n && c.layer_types.includes('full_attention') &&
  c.layer_types.every((_, i) => !has(c, 'full_attention_interval') || isFull(c, i) === ((BigInt(i) + 1n) % c.full_attention_interval === 0n));
/** Which layers have a router, by the words of the table. */
const ROUTED = {
  all: () => true, 'from first_k_dense_replace': (c, layer) => layer >= c.first_k_dense_replace,
  'by decoder_sparse_step, without mlp_only_layers': (c, layer) => c.num_experts !== 0n && !(c.mlp_only_layers ?? []).includes(layer) && (layer + 1n) % (c.decoder_sparse_step ?? 1n) === 0n,
};
function marksOf(c, { experts }, layer) {
  const routed = experts && layer !== null && ROUTED[experts.layers](c, BigInt(layer));
  return [...(routed ? ['experts'] : []), ...(OWN[c.model_type]?.marks?.(c, layer) ?? [])];
}
const OWN = {
  phi3: { fits: (c) => has(c, 'original_max_position_embeddings') || ![c.rope_parameters, c.rope_scaling].some((rope) => (rope?.rope_type ?? rope?.type) === 'longrope') },
  gpt_oss: { fits: (c) => (c.experts_per_token ?? c.num_experts_per_tok) === c.num_experts_per_tok },
  gemma4_text: gemma4, qwen3_5_text: { fits: hybrid }, qwen3_5_moe_text: { fits: hybrid }, qwen3_next: { fits: hybrid },
  smollm3: { fits: (c) => (c.no_rope_layers ?? null) === null || (BigInt(c.no_rope_layers.length) === c.num_hidden_layers && c.no_rope_layers.every((v) => isInteger(v, 0, 1))) },
};

function isRope(rope, family, table, c, head) {
  const { types, numbers, switches, needs, fraction, sections } = family.rotary;
  const counts = [...table.rotary.numbers, ...numbers, ...(fraction ? ['partial_rotary_factor'] : [])];
  const known = { ...Object.fromEntries(counts.map((name) => [name, isAbove(0)])), ...Object.fromEntries(switches.map((name) => [name, isFlag])), ...(sections ? { mrope_section: () => true } : {}) };
  const lists = table.rotary.lists[rope?.rope_type ?? rope?.type] ?? [], part = Number(rope?.partial_rotary_factor ?? c.partial_rotary_factor ?? (fraction || 1));
  const isPositive = isAbove(0), areAngles = (list) => Array.isArray(list) && list.length === Math.trunc(Math.trunc(Number(head) * part) / 2) && list.every(isPositive);
  for (const name of lists) known[name] = areAngles;
  if (!follows(rope, {}, { ...known, rope_type: () => true, type: () => true })) return false;
  const kinds = ['rope_type', 'type'].filter((name) => has(rope, name)).map((name) => rope[name]);
  if (!kinds.every((kind) => types.includes(kind) && kind === kinds[0])) return false;
  const wanted = kinds.length ? table.rotary.types[kinds[0]] : [], inOrder = kinds[0] !== 'llama3' || Number(rope.low_freq_factor) < Number(rope.high_freq_factor);
  return [...wanted, ...needs, ...lists].every((name) => has(rope, name)) && inOrder && (kinds[0] !== 'dynamic' || Number(head) > 2) && Number(rope.rope_theta ?? 2) > 1 && turnsEvenPart(rope, family, c, head);
}
function turnsEvenPart(rope, family, c, head) {
  if (!family.rotary.fraction || rope.rope_type === 'proportional') return true;
  const part = Number(rope.partial_rotary_factor ?? c.partial_rotary_factor ?? family.rotary.fraction), turned = Math.trunc(Number(head) * part), sections = rope.mrope_section ?? null;
  const fits = sections === null || (Array.isArray(sections) && sections.length === 3 && sections.every((v) => isInteger(v, 1, turned / 2)) && sections.reduce((a, v) => a + Number(v), 0) === turned / 2);
  return part > 0 && part <= 1 && turned >= 2 && turned % 2 === 0 && fits;
}
/** Whether config.json is one of the table. */
function takesConfig(c, table) {
  const kind = isObject(c) && typeof c.model_type === 'string' && has(table.families, c.model_type) ? c.model_type : null;
  if (kind === null) return false;
  const family = table.families[kind], { older, by_layer: kinds } = family.rotary;
  const sizes = Object.fromEntries(Object.entries(table.sizes).filter(([name]) => !family.without.includes(name)).map(([name, most]) => [name, (v) => isInteger(v, 1, Number(most))]));
  const fields = rulesOf({ ...table.common, ...(older ? table.older : {}), ...family.fields });
  if (!follows(c, { ...sizes, model_type: isOf(kind) }, fields) || !family.required.every((name) => (c[name] ?? null) !== null)) return false;
  const heads = c.num_attention_heads, given = valueOf(c, family, 'head_dim') !== null, head = headOf(c, family);
  if (heads % c.num_key_value_heads || head % 2n || (!given && c.hidden_size % heads)) return false;
  const [ropes, scaling] = [c.rope_parameters ?? null, c.rope_scaling ?? null];
  if (ropes !== null && scaling !== null) return false;
  const other = (name) => (ropes ?? scaling ?? {})[name] ?? null, contradicts = (name) => (c[name] ?? null) !== null && other(name) !== null && Number(c[name]) !== Number(other(name));
  const parts = ropes === null ? [] : !kinds.length ? [ropes] : Object.keys(ropes).length === kinds.length ? kinds.map((each) => ropes[each]) : [null];
  if (![...parts, ...(scaling === null ? [] : [scaling])].every((rope) => isRope(rope, family, table, c, head)) || !turnsEvenPart({}, family, c, head)) return false;
  if (!kinds.length && ['rope_theta', 'partial_rotary_factor', 'original_max_position_embeddings'].some(contradicts)) return false;
  const layers = c.layer_types ?? null, isKind = (each) => family.kinds.includes(each);
  if (layers !== null && !(BigInt(layers.length) === c.num_hidden_layers && layers.every(isKind))) return false;
  if (layers?.includes('sliding_attention') && (c.sliding_window === null || (has(family.fields, 'use_sliding_window') && !c.use_sliding_window))) return false;
  const numbers = Array.from({ length: Number(c.num_hidden_layers) }, (_, layer) => layer), isRouted = (layer) => marksOf(c, family, layer).includes('experts');
  if (family.experts && numbers.some(isRouted) && !(countExperts(c, family) > c[family.experts.chosen])) return false;
  return OWN[kind]?.fits?.(c, table) ?? true;
}
/** A layer's experts, by the one field that says them. */
function countExperts(c, { experts }) {
  const given = experts.counts.filter((name) => has(c, name));
  return given.length === 1 ? c[given[0]] : 0n;
}
/** The value of each word of shapes, in a layer or, by null, outside of layers. */
function measure(c, table, layer) {
  const family = table.families[c.model_type];
  const plain = { v: c.vocab_size, h: c.hidden_size, i: c.intermediate_size ?? 0n, n: c.num_attention_heads, g: c.num_key_value_heads, d: headOf(c, family) };
  const more = Object.entries(family.sizes).map(([word, names]) => [word, names.split(' · ').map((name) => valueOf(c, family, name) ?? 0n).reduce((a, b) => a * b, 1n)]);
  const values = { ...plain, ...(family.experts ? { e: countExperts(c, family) } : {}), ...Object.fromEntries(more), ...OWN[c.model_type]?.words?.(c, layer) };
  return { ...values, q: values.n * values.d, k: values.g * values.d };
}
function sizeOf(words, values) {
  return words.split(' ').filter(Boolean).map((part) => part.split('+').map((term) => {
    const [, times, word] = /^([0-9]*)([a-z]*)$/.exec(term);
    return BigInt(times || 1) * (word ? values[word] : 1n);
  }).reduce((a, b) => a + b, 0n));
}
/** All tensors of a model, name → shape. */
function listTensors(c, table) {
  const family = table.families[c.model_type], found = new Map();
  const list = (groups, layer, prefix) => {
    const values = measure(c, table, layer), on = Object.entries(family.fields).filter(([name, words]) => words === 'true or false' && valueOf(c, family, name)).map(([name]) => name);
    const traits = new Set([...on, ...(layer === null || !valueOf(c, family, 'layer_types') ? [] : [c.layer_types[layer]]), ...marksOf(c, family, layer)]);
    for (const { tensors, when, unless } of groups) {
      if ((when && !traits.has(when)) || (unless && traits.has(unless))) continue;
      for (const [name, words] of Object.entries(tensors)) {
        const listed = /\{([a-z]+)\}/.exec(name), times = listed ? Number(values[listed[1]]) : 1;
        for (let i = 0; i < times; i += 1) found.set(prefix + name.replace(/\{[a-z]+\}/, `${i}`), sizeOf(words, values));
      }
    }
  };
  const ends = { 'model.embed_tokens.weight': 'v h', ...(valueOf(c, family, 'tie_word_embeddings') ? {} : { 'lm_head.weight': 'v h' }) };
  list([{ tensors: ends }, ...family.outside], null, '');
  for (let layer = 0; layer < Number(c.num_hidden_layers); layer += 1) list(family.layer, layer, `model.layers.${layer}.`);
  return found;
}

// ---- tokenizer.json
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)", SPACES = String.raw`|\s+(?!\S)|\s+`;
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`, WORD = String.raw`[^\r\n\p{L}\p{N}]?`;
const LINES = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+`, PATHS = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+`;
const REGEXES = new Set([
  String.raw`[\s\S]`, String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+${SPACES}`,
  String.raw`${CONTRACTIONS}|${WORD}\p{L}+|\p{N}${LINES}${SPACES}`, String.raw`${CONTRACTIONS}|${WORD}\p{L}+|\p{N}{1,3}${LINES}${SPACES}`,
  String.raw`${CONTRACTIONS}|${WORD}[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+${SPACES}`,
  String.raw`${WORD}${UPPER}*${LOWER}+${CONTRACTIONS}?|${WORD}${UPPER}+${LOWER}*${CONTRACTIONS}?|\p{N}{1,3}${PATHS}${SPACES}`,
  String.raw`${WORD}${UPPER}*${LOWER}+|${WORD}${UPPER}+${LOWER}*|\p{N}${PATHS}${SPACES}`, String.raw`\p{N}{1,3}`, '[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+',
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + '`' + String.raw`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+${SPACES}`,
]);
const isTextPattern = (v) => follows(v, { String: (t) => isText(t, 1, 64) });
const isPattern = (v) => isTextPattern(v) || follows(v, { Regex: (t) => REGEXES.has(t) });
const isBehavior = isOf('Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'), isCharacter = (v) => isText(v, 1, 1);
const BYTES = [{}, { add_prefix_space: isFlag, trim_offsets: isFlag, use_regex: isFlag }];
const SPACE = [{ replacement: isCharacter }, { prepend_scheme: isOf('first', 'never', 'always'), split: isFlag }];
const isPiece = (v) => isObject(v) && Object.keys(v).length === 1 &&
  [v.Sequence, v.SpecialToken].some((inner) => follows(inner, { id: (t) => isText(t), type_id: (n) => isInteger(n, 0, 1) })) && (!v.Sequence || 'AB'.includes(v.Sequence.id));
const isTemplate = (texts) => (v) => Array.isArray(v) && v.length <= 8 && v.every(isPiece) && v.map((p) => p.Sequence?.id ?? '').sort().join('') === texts;
const isListOf = (rule, least = 0, most = 8) => (v) => Array.isArray(v) && v.length >= least && v.length <= most && v.every((x) => rule(x));
const areSpecials = (v) => isObject(v) && Object.keys(v).length <= 8 && Object.entries(v).every(([name, t]) => isText(name) && t?.ids?.length === t?.tokens?.length &&
  follows(t, { id: isOf(name), ids: isListOf((i) => isInteger(i, 0, 2 ** 32 - 1), 1), tokens: isListOf((x) => isText(x), 1) }));
const none = (...names) => Object.fromEntries(names.map((name) => [name, [{}]]));
/** The field → the field of a sequence with its parts, the types that may occur again, and each type's fields, first those that must be there. */
const COMPONENTS = {
  normalizer: ['normalizers', ['Replace'], {
    ...none('NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase'), Prepend: [{ prepend: (v) => isText(v, 1, 8) }], Replace: [{ pattern: isTextPattern, content: (v) => isText(v, 1, 64) }] }],
  pre_tokenizer: ['pretokenizers', ['Split', 'Digits'], {
    ...none('Whitespace', 'WhitespaceSplit'), ByteLevel: BYTES, Digits: [{ individual_digits: isFlag }], Metaspace: SPACE, Punctuation: [{ behavior: isBehavior }],
    Split: [{ pattern: isPattern, behavior: isBehavior, invert: isFlag }] }],
  post_processor: ['processors', [], { ByteLevel: BYTES, TemplateProcessing: [{ single: isTemplate('A'), pair: isTemplate('AB'), special_tokens: areSpecials }] }],
  decoder: ['decoders', ['Replace'], {
    ...none('ByteFallback', 'Fuse'), ByteLevel: BYTES, Metaspace: SPACE, Replace: [{ pattern: isTextPattern, content: (v) => isText(v, 0, 64) }],
    Strip: [{ content: isCharacter, start: (v) => isInteger(v, 0, 8), stop: (v) => isInteger(v, 0, 0) }] }],
};
function isComponent(v, [parts, repeated, types]) {
  const single = (part) => isObject(part) && typeof part.type === 'string' && has(types, part.type) && follows(part, ...types[part.type], ...(types[part.type][1] ? [] : [{}]), ['type']) &&
    (part.type !== 'Replace' || [...part.content].length <= [...part.pattern.String].length);
  if (v?.type !== 'Sequence') return single(v);
  const forms = ['NFC', 'NFD', 'NFKC', 'NFKD'];
  const list = v[parts], once = (Array.isArray(list) ? list : []).map((part) => part?.type).filter((type) => !repeated.includes(type));
  return follows(v, { [parts]: isListOf(single, 1) }, {}, ['type']) && new Set(once).size === once.length && once.filter((type) => forms.includes(type)).length < 2;
}
/** Whether a tokenizer.json is short enough to be parsed: bytes that stand before its values. */
const takesBytes = (data) => [0x5b, 0x7b, 0x2c, 0x3a].reduce((sum, mark) => sum + countMarks(data, mark), 0) <= 3 << 20;
function countMarks(data, byte) {
  let count = 0;
  for (let at = data.indexOf(byte); at >= 0; at = data.indexOf(byte, at + 1)) count += 1;
  return count;
}
const GROWTH = { NFC: 3, NFD: 4, NFKC: 18, NFKD: 18, Lowercase: 2 };
/** Whether the added tokens of two files that are taken, each text once, count no more than they may. */
function takesAdded({ normalizer = null, added_tokens: added = [] }, settings) {
  const values = (v) => Object.values(v ?? {}), lists = [...values(settings.additional_special_tokens), ...values(settings.extra_special_tokens), ...values(settings.model_specific_special_tokens)];
  const named = Object.entries(settings).filter(([name, v]) => name.endsWith('_token') && (typeof v === 'string' || isObject(v))).map(([, v]) => v);
  const grow = (text) => (normalizer.normalizers ?? [normalizer]).reduce((n, part) => (GROWTH[part.type] ?? 1) * n + [...(part.prepend ?? '')].length, [...text].length);
  const counts = new Map();
  for (const token of [...added, ...named, ...lists, ...values(settings.added_tokens_decoder)]) {
    const text = typeof token === 'string' ? token : token.content, plain = normalizer === null || token.normalized === false;
    counts.set(text, Math.max(counts.get(text) ?? 0, 16 + (plain ? Buffer.byteLength(text) : 4 * grow(text))));
  }
  return [...counts.values()].reduce((a, b) => a + b, 0) <= 1 << 18;
}
const MODELS = {
  BPE: [{ vocab: isObject, merges: Array.isArray }, {
    dropout: isOf(null), unk_token: orNull((v) => isText(v)), continuing_subword_prefix: isOf(null, ''), end_of_word_suffix: isOf(null, ''), fuse_unk: isFlag, byte_fallback: isFlag, ignore_merges: isFlag }],
  WordLevel: [{ vocab: isObject, unk_token: (v) => isText(v) }, {}],
};
const ADDED = { content: (v) => isText(v), ...Object.fromEntries(['single_word', 'lstrip', 'rstrip', 'normalized', 'special'].map((name) => [name, isFlag])) };
function takesTokenizer(t, vocabulary) {
  const fields = ['added_tokens', 'model', ...Object.keys(COMPONENTS)], isNull = isOf(null);
  if (!follows(t, { version: isOf('1.0') }, { truncation: isNull, padding: isNull }, fields)) return false;
  if (!Object.entries(COMPONENTS).every(([name, kind]) => (t[name] ?? null) === null || isComponent(t[name], kind))) return false;
  const { model } = t, kind = isObject(model) && typeof model.type === 'string' && has(MODELS, model.type) && MODELS[model.type];
  if (!kind || !follows(model, ...kind, ['type'])) return false;
  const texts = Object.keys(model.vocab), ids = Object.values(model.vocab), known = new Set(texts);
  if (!texts.every((text) => isText(text)) || !ids.every((id) => isInteger(id, 0, Number(vocabulary) - 1)) || new Set(ids).size < ids.length) return false;
  const isMerge = (m) => { const pair = typeof m === 'string' ? m.split(' ') : m; return Array.isArray(pair) && pair.length === 2 && pair.every((x) => typeof x === 'string' && known.has(x)) && known.has(pair.join('')); };
  if (model.type === 'BPE' && !(model.merges.length <= 1 << 20 && model.merges.every(isMerge) && new Set(model.merges.map((m) => typeof m)).size <= 1)) return false;
  const taken = new Set(ids), seen = new Set();
  let next = BigInt(ids.length);
  return Array.isArray(t.added_tokens ?? []) && (t.added_tokens ?? []).every((token) => {
    if (!follows(token, ADDED, {}, ['id']) || seen.has(token.content)) return false;
    const own = known.has(token.content), id = own ? model.vocab[token.content] : next;
    seen.add(token.content);
    if (id >= next) next = id + 1n;
    return token.id === id && id < vocabulary && (own || !taken.has(id));
  });
}

// ---- tokenizer_config.json
const NAMED = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);
function takesSettings(s, vocabulary) {
  if (!isObject(s) || !follows({ ...s }, {}, { split_special_tokens: isFlag, chat_template: orNull((v) => isText(v, 0, 65536)) }, Object.keys(s).filter((n) => !['split_special_tokens', 'chat_template'].includes(n)))) return false;
  const { content, ...rest } = ADDED, isFields = (v) => follows(v, { content }, rest);
  const isToken = (v) => { if (!isObject(v)) return isText(v); const { __type, ...inner } = v; return __type === 'AddedToken' && isFields(inner); };
  const isName = (name) => /^[a-z][a-z_]{0,40}_token$/.test(name), isTable = (v) => isObject(v) && Object.entries(v).every(([name, token]) => isName(name) && isToken(token));
  const tokens = Object.entries(s).filter(([name, v]) => (NAMED.includes(name) && v !== null) || (name.endsWith('_token') && (typeof v === 'string' || isObject(v))));
  const lists = ['additional_special_tokens', 'extra_special_tokens', 'model_specific_special_tokens', 'added_tokens_decoder'].map((name) => s[name] ?? null);
  const [older, extra, specific, table] = lists, isList = isListOf(isToken, 0, Infinity);
  if (!tokens.every(([name, v]) => isName(name) && isToken(v)) || !orNull(isList)(older) || !(extra === null || isList(extra) || isTable(extra)) || !orNull(isTable)(specific)) return false;
  const count = tokens.length + lists.reduce((sum, v) => sum + (v === null ? 0 : Array.isArray(v) ? v.length : Object.keys(v).length), 0);
  return count <= 4096 && (table === null || (isObject(table) && Object.entries(table).every(([id, token]) => /^(0|[1-9][0-9]{0,9})$/.test(id) && BigInt(id) < vocabulary && isFields(token))));
}

// ---- types without a family
/** Whether a config.json is one of a type that no family describes, and may be named by parameters. */
function takesPlain(c, table, { refused_types: refused, alone }) {
  const kind = c.model_type, stem = `${kind}`.replace(/_text$/, '');
  const named = refused.includes(kind) || (refused.includes(stem) && !alone.includes(stem));
  const sized = ['vocab_size', 'hidden_size', 'num_hidden_layers'].every((name) => has(c, name) && isInteger(c[name], 1, Number(table.sizes[name])));
  return /^[a-z0-9][a-z0-9_-]{0,63}$/.test(kind) && !named && sized && !['auto_map', 'custom_pipelines'].some((name) => has(c, name)) && (c.quantization_config ?? null) === null;
}
const shapesDigest = (shapes) =>
  hash('plain-shapes', ...Object.keys(shapes).sort(byName).flatMap((name) => [Buffer.from(name), Buffer.concat(shapes[name].map(u64))]));
/** Whether parameters with this model_class, or null, take a checkpoint: no class is built. */
function takesClass(named, structure, c, shapes, table, words) {
  const plain = isObject(c) && typeof c.model_type === 'string' && !has(table.families, c.model_type);
  if (named === null) return !plain && takesConfig(c, table);
  return plain && takesPlain(c, table, words) && hex(structure) === named.structure && hex(shapesDigest(shapes)) === named.shapes;
}

module.exports = { shapesDigest, takesClass, listTensors, takesAdded, takesBytes, takesConfig, takesTokenizer, takesSettings };
