'use strict';
// Turns, replies and ends: section 3.1.
const { textOf } = require('./prompts.js');

/** Whether the text of an added token is one that no reply has. */
const isMark = (text, unknown) => [...text].length > 1 && !/^(?:[ \t\r\n]+|<0x[0-9A-F]{2}>)$/.test(text) && text !== unknown;
/** Content without lone surrogates, cut to its bytes, with marks taken apart. */
function readableContent(content, mostBytes, marks) {
  let text = content.toWellFormed();
  if (Buffer.byteLength(text) > mostBytes) {
    let kept = '';
    for (const letter of text) { if (Buffer.byteLength(kept + letter) > mostBytes) break; kept += letter; }
    text = `${kept}\n[cut]`;
  }
  let defused = '', at = 0;
  for (const letter of text) {
    defused += marks.some((entry) => text.startsWith(entry, at)) ? `${letter} ` : letter;
    at += letter.length;
  }
  return defused;
}
const asJson = (text) => `"${text.replace(/["\\\u0000-\u001f]/g, (c) => JSON.stringify(c).slice(1, -1))}"`;
const write = (content, mostBytes, marks, isJson) => (isJson ? asJson : String)(readableContent(content, mostBytes, marks));
/** A frame {before, after, as_json} of a record of prompts, or null. */
const frameOf = (record) => ({ before: textOf(record, 'reply_before') ?? '', after: textOf(record, 'reply_after') ?? '', as_json: textOf(record, 'reply_form') === 'json' });
/** Ids of a reply within its frame; null where the tokenizer refuses it. */
function encodeReply(tokenizer, ends, { before, after, as_json: isJson }, mostBytes, content) {
  const marks = tokenizer.marks.map((token) => token.content), markIds = new Set(tokenizer.marks.map((token) => token.id));
  const [ids, around] = [content, ''].map((said) => {
    const text = `${before}${write(said, mostBytes, marks, isJson)}${after}`;
    const all = tokenizer.encode(tokenizer.texts.get(ends[0]) + text);
    return all?.[0] === ends[0] ? all.slice(1) : all && tokenizer.encode(text);
  });
  const count = (list) => list.filter((id) => markIds.has(id)).length;
  return ids && around && count(ids) === count(around) ? ids : null;
}
/** What follows from a rollout's own ids: { own, end, replies: [{at, ids}], state }. `begun`: the world's first state. */
function replay({ environment, tokenizer, frame, rules, ends }, begun, promptTokens, ids) {
  let state = begun, own = 0, length = promptTokens, end = null;
  const replies = [];
  for (let turns = 1; own < ids.length && end === null; turns++) {
    const stop = ids.findIndex((id, t) => t >= own && ends.includes(id)), turn = ids.slice(own, stop < 0 ? ids.length : stop + 1);
    const [after, said] = environment.step(state, tokenizer.decode(turn, ends));
    (state = after), (own += turn.length), (length += turn.length);
    end = said === null ? 'DONE' : stop < 0 ? 'CUT' : turns === rules.turns ? 'TURNS' : own === rules.max_tokens ? 'TOKENS' : null;
    if (end) break;
    const reply = encodeReply(tokenizer, ends, frame, rules.reply_bytes, said);
    if (reply === null) end = 'UNREADABLE';
    else if (length + reply.length + rules.max_tokens - own > rules.context) end = 'CONTEXT';
    else replies.push({ at: own, ids: reply }), (length += reply.length);
  }
  return { own, end, replies, state };
}
/** Own ids and replies as one sequence, and the place of each own id in it. */
function weave(ids, replies) {
  const sequence = [], places = [];
  ids.forEach((id, t) => {
    for (const reply of replies) if (reply.at === t) sequence.push(...reply.ids);
    places.push(sequence.length), sequence.push(id);
  });
  for (const reply of replies) if (reply.at === ids.length) sequence.push(...reply.ids);
  return { sequence, places };
}
module.exports = { encodeReply, frameOf, isMark, replay, weave, write };
