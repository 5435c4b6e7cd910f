'use strict';
// What a model folder's JSON files may hold: section 7. Integers are BigInt, so that 96 and 96.0 differ.

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

// ---- config.json
const SIZES = { vocab_size: 2 ** 20, hidden_size: 2 ** 16, intermediate_size: 2 ** 20, num_hidden_layers: 2 ** 10, num_attention_heads: 2 ** 12, num_key_value_heads: 2 ** 12 };
const isIds = orNull((v) => (Array.isArray(v) ? v : [v]).every((id) => isInteger(id, 0, 2 ** 32 - 1)) && (Array.isArray(v) ? v.length <= 16 : true));
const isDtype = isOf(null, 'bfloat16', 'float16', 'float32'), isPositions = (v) => isInteger(v, 1, 2 ** 31);
const OTHERS = {
  architectures: orNull((v) => Array.isArray(v) && v.length <= 4 && v.every((name) => isText(name))), attention_bias: isFlag, attention_dropout: isNumber,
  bos_token_id: isIds, dtype: isDtype, eos_token_id: isIds, head_dim: (v) => isInteger(v, 2, 2 ** 12), hidden_act: isOf('silu'), initializer_range: isNumber,
  layer_types: orNull(Array.isArray), max_position_embeddings: isPositions, max_window_layers: (v) => isInteger(v, 0, 2 ** 31), mlp_bias: isFlag,
  model_type: isOf('llama', 'qwen2', 'qwen3'), pad_token_id: isIds, pretraining_tp: (v) => isInteger(v, 1, 1), rms_norm_eps: isNumber,
  rope_parameters: orNull(isObject), rope_scaling: orNull(isObject), rope_theta: (v) => isNumber(v) && Number(v) > 1, sliding_window: orNull(isPositions),
  tie_word_embeddings: isFlag, torch_dtype: isDtype, transformers_version: (v) => isText(v), use_cache: isFlag, use_mrope: isOf(false), use_sliding_window: isFlag,
};
const ROPES = { default: [], linear: ['factor'], yarn: ['factor'], llama3: ['factor', 'low_freq_factor', 'high_freq_factor'] };
const ROPE_NUMBERS = ['attention_factor', 'beta_fast', 'beta_slow', 'factor', 'high_freq_factor', 'low_freq_factor', 'original_max_position_embeddings', 'rope_theta'];
function isRope(rope) {
  if (rope === null || rope === undefined) return true;
  const kinds = ['rope_type', 'type'].filter((name) => has(rope, name)).map((name) => rope[name]);
  const numbers = Object.fromEntries(ROPE_NUMBERS.map((name) => [name, (v) => isNumber(v) && Number(v) > 0]));
  if (!follows(rope, {}, { ...numbers, rope_type: () => true, type: () => true })) return false;
  if (!kinds.every((kind) => typeof kind === 'string' && has(ROPES, kind) && kind === kinds[0])) return false;
  const needed = kinds.length ? ROPES[kinds[0]] : [], inOrder = kinds[0] !== 'llama3' || Number(rope.low_freq_factor) < Number(rope.high_freq_factor);
  return needed.every((name) => has(rope, name)) && inOrder && Number(rope.rope_theta ?? 2) > 1;
}
function takesConfig(c) {
  const sizes = Object.fromEntries(Object.entries(SIZES).map(([name, most]) => [name, (v) => isInteger(v, 1, most)]));
  if (!follows(c, { ...sizes, model_type: OTHERS.model_type }, OTHERS)) return false;
  const heads = c.num_attention_heads, head = c.head_dim ?? c.hidden_size / heads;
  if (heads % c.num_key_value_heads || head % 2n || (!has(c, 'head_dim') && c.hidden_size % heads)) return false;
  if ((c.rope_parameters ?? null) !== null && (c.rope_scaling ?? null) !== null) return false;
  const kinds = c.layer_types ?? null, fits = (kind) => ['full_attention', 'sliding_attention'].includes(kind);
  return isRope(c.rope_parameters) && isRope(c.rope_scaling) && (kinds === null || (BigInt(kinds.length) === c.num_hidden_layers && kinds.every(fits)));
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
  const list = v[parts], once = (Array.isArray(list) ? list : []).map((part) => part?.type).filter((type) => !repeated.includes(type));
  return follows(v, { [parts]: isListOf(single, 1) }, {}, ['type']) && new Set(once).size === once.length;
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
  if (model.type === 'BPE' && !(model.merges.every(isMerge) && new Set(model.merges.map((m) => typeof m)).size <= 1)) return false;
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

module.exports = { takesConfig, takesTokenizer, takesSettings };
