'use strict';

// The rows of a transcript, one for each sentence: its source, its translation and when it came. It knows neither the
// page nor the server, and hears the events of conversation.js and of captions.

const ENDS_SENTENCE = /[.!?…。！？؟۔।]["'”’»)\]」』]*\s*$/u;

class Transcript {
  // `changed` hears each row that is new, changed or gone.
  constructor(changed = () => {}) {
    this.changed = changed;
    this.clear();
  }

  clear() {
    this.rows = [];      // {source, target, marks, from, to, sourceLanguage, targetLanguage, done}
    this.sections = [];  // One for each session: the first one speaks, the last one hears.
    this.began = 0;      // The time of the first source, in ms since 1970.
  }

  // Returns what restore() takes. `rows` is the complete ones at the beginning, whose number is in `state`.
  save() {
    let kept = this.rows.findIndex((row) => !row.done);
    if (kept < 0) kept = this.rows.length;
    const sections = this.sections.map((section) => ({...section, groups: section.groups.map((group) => (
      {...group, row: group.row ? this.rows.indexOf(group.row) : -1}))}));
    return {rows: this.rows.slice(0, kept), state: {kept, open: this.rows.slice(kept), sections, began: this.began}};
  }

  restore(rows, {kept, open, sections, began}) {
    this.rows = [...rows.slice(0, kept), ...open];
    this.sections = sections;
    for (const {groups} of sections) for (const group of groups) group.row = this.rows[group.row] || null;
    this.began = began;
    for (const row of this.rows) this.changed(row);
  }

  take(event) {
    if (event.config) this.begin(event.follows);
    if (event.source) this.hear({sequence: Number(event.source.sequence), text: event.source.text || ''});
    if (event.heard) this.hear({sequence: Number(event.heard.sequence), seconds: parseFloat(event.heard.duration)});
    if (event.endSegment) this.endSegment();
    if (event.started) this.start(event.started);
    if (event.segmentBegins) this.bound(event.segmentBegins);
    if (event.target) this.write(event.target);
    if (event.segmentCompleted) this.complete(event.segmentCompleted);
    if (event.summary || event.error || event.ended) this.end();
  }

  // Another session. Unless it follows one that will end well, the incomplete rows come again.
  begin(follows) {
    if (!follows) {
      const gone = this.rows.filter((row) => !row.done);
      this.rows = this.rows.filter((row) => row.done);
      for (const row of gone) this.changed(row);
      this.sections = [];
    }
    this.sections.push({groups: [], segment: 1, after: null, heard: 0, at: -1, started: false, languages: ['', '']});
  }

  get now() {
    if (!this.began) this.began = Date.now();
    return Date.now() - this.began;
  }

  hear(chunk) {
    if (this.sections.length === 0) this.begin(true);
    const section = this.sections[this.sections.length - 1];
    let group = section.groups[section.groups.length - 1];
    if (!group || group.ended) section.groups.push(group = {chunks: [], ended: false, row: null});
    group.chunks.push(chunk);
    const {now} = this;
    if (chunk.seconds !== undefined) {
      if (section.at < 0) section.at = Math.max(0, now - 1000 * chunk.seconds);
      chunk.at = section.heard;
      section.heard += chunk.seconds;
    }
    group.row = group.row || this.insert(section, null);
    this.extend(group.row, [chunk], section);
    this.changed(group.row);
  }

  extend(row, chunks, section) {
    for (const {text, seconds, at} of chunks) {
      if (text !== undefined) {
        row.source += text;
      } else {
        if (row.from < 0) row.from = section.at + 1000 * at;
        row.to = section.at + 1000 * (at + seconds);
      }
    }
  }

  // A new row behind `before`, or at the end.
  insert(section, before) {
    const [sourceLanguage, targetLanguage] = section.languages;
    const row = {source: '', target: '', marks: [], from: -1, to: -1, sourceLanguage, targetLanguage, done: false};
    this.rows.splice(before ? this.rows.indexOf(before) + 1 : this.rows.length, 0, row);
    return row;
  }

  endSegment() {
    const section = this.sections[this.sections.length - 1];
    const group = section && section.groups[section.groups.length - 1];
    if (group) group.ended = true;
  }

  start({effectiveConfig = {}, resumed}) {
    if (this.sections.length === 0) this.begin(true);
    if (!resumed && this.sections.length > 1 && this.sections[0].started) this.leave(this.sections.shift());
    const [section] = this.sections;
    section.started = true;
    section.languages = [effectiveConfig.sourceLanguageCode || '', effectiveConfig.targetLanguageCode || ''];
    for (const {row} of section.groups) {
      if (!row) continue;
      [row.sourceLanguage, row.targetLanguage] = section.languages;
      this.changed(row);
    }
  }

  bound({segment, afterSequence}) {
    const [section] = this.sections;
    if (section && Number(segment) === section.segment + 1) section.after = Number(afterSequence || 0);
  }

  write({segment, text = '', tokens = [], sourceAudioMs}) {
    if (this.sections.length === 0) this.begin(true);
    const [section] = this.sections;
    section.segment = Number(segment);
    if (!text) return;
    let [group] = section.groups;
    if (!group) section.groups.push(group = {chunks: [], ended: false, row: null});
    const row = group.row = group.row || this.insert(section, null);
    if (section.joins) row.target += ' ';
    section.joins = false;
    row.target += text;
    const last = tokens[tokens.length - 1];
    const audioMs = last && last.sourceAudioMs !== undefined ? last.sourceAudioMs : sourceAudioMs;
    row.marks.push([audioMs !== undefined && row.from >= 0 ? Math.round(row.from + audioMs) : this.now, row.target.length]);
    this.changed(row);
  }

  complete({segment, continues}) {
    const [section] = this.sections;
    if (!section) return;
    const [group] = section.groups;
    const {after} = section;
    section.segment = Number(segment) + 1;
    section.after = null;
    section.joins = false;
    if (!group) return;
    const {row} = group;
    const isSpeech = section.at >= 0;
    if (!continues && (group.ended || !isSpeech)) {
      section.groups.shift();
      this.finish(row);
      return;
    }
    const rest = group.chunks.filter((chunk) => after !== null && chunk.sequence > after);
    if (rest.length === group.chunks.length && rest.length > 0) {  // The next segment begins within the first chunk.
      section.joins = row !== null && row.target !== '';
      return;
    }
    const moved = group.chunks.slice(0, group.chunks.length - rest.length);
    group.chunks = rest;
    group.row = null;
    if (!row) return;
    Object.assign(row, {source: '', from: -1, to: -1});
    this.extend(row, moved, section);
    if (rest.length > 0) {
      group.row = this.insert(section, row);
      this.extend(group.row, rest, section);
      this.changed(group.row);
    }
    this.finish(row);
  }

  // A row is complete. One of silence alone goes.
  finish(row) {
    if (!row) return;
    row.done = true;
    if (!row.target.trim() && !row.source.trim()) this.rows = this.rows.filter((each) => each !== row);
    this.changed(row);
  }

  leave(section) {
    for (const {row} of section.groups) this.finish(row);
  }

  // The session that speaks is over. Another one may hear already.
  end() {
    if (this.sections.length !== 1) return;
    this.leave(this.sections.shift());
  }

  // Takes away the source that nothing was written of, and returns it.
  takeBack() {
    const back = this.rows.filter((row) => !row.done && !row.target);
    this.rows = this.rows.filter((row) => row.done || row.target);
    for (const row of back) this.changed(row);
    this.sections = [];
    return back.map((row) => row.source.trim()).filter((text) => text).join('\n') + (back.length > 0 ? ' ' : '');
  }
}

// Texts and subtitles of rows.

function plainText(rows) {
  return rows.map((row) => row.target.trim()).filter((text) => text).map((text) => `${text}\n`).join('');
}

// Source and translation of each row by turns.
function textOfBoth(rows) {
  return rows.map((row) => [row.source, row.target].map((text) => text.trim()).filter((text) => text).join('\n'))
    .filter((text) => text).map((text) => `${text}\n`).join('\n');
}

// The rules are those of `leapstream translate --format srt`: a cue begins with its first word and ends with a
// sentence, at two lines or after seven seconds. It is shown for a second, and as long as reading it takes, at least.
const LINE_CHARACTERS = 42;
const LONGEST_CUE_MS = 7000;
const SHORTEST_CUE_MS = 1000;
const CHARACTERS_PER_SECOND = 17;
const NO_SPACES = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}]/u;

function characters(text) {
  return [...text].length;
}

// [{begin, end, text}] in ms.
function cues(rows) {
  const made = [];
  let open = null, complete = false, shownUntil = 0;
  const take = (nextBegin) => {
    if (!open) return;
    const text = open.text.trim();
    const reading = 1000 * characters(open.text) / CHARACTERS_PER_SECOND;
    let end = Math.min(Math.max(open.end, open.begin + reading), nextBegin);
    end = shownUntil = Math.max(end, open.begin + SHORTEST_CUE_MS);
    made.push({begin: open.begin, end, text});
    open = null;
    complete = false;
  };
  for (const {target, marks} of rows) {
    let at = 0;
    for (const [ms, length] of marks) {
      let text = target.slice(at, length);
      at = length;
      const newWord = text.startsWith(' ') || (NO_SPACES.test([...text][0] || '') && !ENDS_SENTENCE.test(text));
      if (open) {
        const full = characters(open.text) + characters(text) > 2 * LINE_CHARACTERS || ms - open.begin >= LONGEST_CUE_MS;
        if (complete || (newWord && (full || ENDS_SENTENCE.test(open.text)))) take(ms);
      }
      if (!open) {
        text = text.trimStart();
        if (!text) continue;
        open = {begin: Math.max(ms, shownUntil), end: 0, text: ''};
      }
      open.text += text;
      open.end = Math.max(ms, open.begin);
    }
    complete = open !== null;
  }
  take(Infinity);
  return made;
}

// Breaks a long text near its middle.
function inTwoLines(text) {
  if (characters(text) <= LINE_CHARACTERS) return text;
  const places = [];
  for (let i = 1; i < text.length; ++i) {
    if (text[i - 1] === ' ' || (NO_SPACES.test(text[i - 1]) && NO_SPACES.test(text[i]))) places.push(i);
  }
  if (places.length === 0) return text;
  const cut = places.reduce((a, b) => Math.abs(b - text.length / 2) < Math.abs(a - text.length / 2) ? b : a);
  return `${text.slice(0, cut).trimEnd()}\n${text.slice(cut)}`;
}

function cueTime(ms, point) {
  const whole = Math.round(ms);
  const two = (number) => `${Math.floor(number)}`.padStart(2, '0');
  return `${two(whole / 3600000)}:${two(whole / 60000 % 60)}:${two(whole / 1000 % 60)}${point}` +
    `${whole % 1000}`.padStart(3, '0');
}

function subRip(rows) {
  return cues(rows).map(({begin, end, text}, i) =>
    `${i + 1}\n${cueTime(begin, ',')} --> ${cueTime(end, ',')}\n${inTwoLines(text)}\n\n`).join('');
}

function webVtt(rows) {
  const escaped = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  return 'WEBVTT\n\n' + cues(rows).map(({begin, end, text}) =>
    `${cueTime(begin, '.')} --> ${cueTime(end, '.')}\n${escaped(inTwoLines(text))}\n\n`).join('');
}
