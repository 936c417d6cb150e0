'use strict';

// The page has one stream of sessions at a time, which begins with the first word that is sent. A page opened with
// #watch=ID only watches, and one with ?captions=ID shows captions alone.

const byId = (id) => document.getElementById(id);
const input = byId('input');
const SAVE_MS = 200;      // The longest time between a change and its being kept for a reload.
const PAUSE = '0.600s';
const FEWER_THAN = 10;    // A translation has at least a tenth of its source's tokens.
const MANY_TOKENS = 20;   // A sentence that leaves so many untranslated, or more than it translated, says so.
// The policies that the page offers, as the wire names them: their names for readers, and the number that they take. Those
// that draft take no terms.
const POLICIES = {
  wait_k: {title: 'k tokens behind (wait-k)', number: 'k', first: 3,
           help: 'Reads k tokens (words or parts of words), then writes one for each that it reads.',
           numberHelp: 'A lower k is faster, a higher one is often better.'},
  local_agreement: {title: 'when drafts agree (local agreement)', number: 'n', first: 2, drafts: true,
                    help: 'Translates all that it has read again and again, and writes what n drafts in a row agree on.',
                    numberHelp: 'A lower n is faster, a higher one is safer.'},
  hold_n: {title: 'all but the end (hold-n)', number: 'n', first: 3, drafts: true,
           help: 'Translates all that it has read, and holds back the last n tokens.',
           numberHelp: 'A lower n is faster, a higher one is safer.'},
  align_att: {title: 'what the newest words do not change (AlignAtt)', number: 'frames', first: 2, drafts: true,
              help: 'Writes a word if it does not depend on the newest source tokens.',
              numberHelp: 'So many of the newest source tokens nothing may depend on.'},
  adaptive_wait_k: {title: 'when it is certain (adaptive wait-k)', help: 'Writes sooner where it is certain of the next token.'},
  learned: {title: 'as the model has learned', help: 'The model decides.'},
  offline: {title: 'after the whole sentence', help: 'Slow, and as good as the model can be.'},
};
const CUT_SHORT = {
  FINISH_REASON_MAX_LENGTH: 'its translation has as many tokens as it may',
  FINISH_REASON_SOURCE_LIMIT: 'it is longer than the server takes, and the rest was dropped',
};
const SETTINGS = ['model', 'from', 'to', 'policy', 'k'];
const SAMPLES = [
  'Click the button to open the file.',
  'Select the cells that you want to copy.',
  'This package contains a small program that shows the time.',
  'I do not know who he is.',
];
const EMBEDDED = 'leapstream, model/pretrained';  // The origin of the model whose sentences the samples are.

let session = null;        // The Conversation, once something was sent.
let player = 0;            // The timer of the sample talk.
let microphone = null;     // {context, node, tracks} while somebody speaks.
let starting = false;      // The microphone is being asked for.
let models = [];
let captionsKey = '';      // That of this conversation.
let composing = false;     // An input method composes a word.

function say(text, isError = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('error', isError);
}

// 128 random bits in hex.
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

// A BCP-47 tag for a model's own code, such as deu_Latn or en_XX.
function languageTag(code) {
  return code.replace(/_XX$/, '').replace('_', '-');
}

// The English name of a model's own code. A script that the language usually has goes without saying.
function languageName(code) {
  try {
    let locale = new Intl.Locale(languageTag(code));
    if (locale.language !== 'zh' && locale.script === new Intl.Locale(locale.language).maximize().script) {
      locale = new Intl.Locale(locale.language, {region: locale.region});
    }
    return new Intl.DisplayNames(['en'], {type: 'language'}).of(locale.toString());
  } catch (error) {
    return code;
  }
}

// Values that outlive a reload of this tab, and its crash. A browser that keeps nothing is none the worse for it.
const kept = {
  prefix: `leapstream ${location.pathname} `,
  get(name) {
    try {
      return JSON.parse(sessionStorage.getItem(this.prefix + name));
    } catch (error) {
      return null;
    }
  },
  // False: there is no place for it.
  set(name, value) {
    try {
      sessionStorage.setItem(this.prefix + name, JSON.stringify(value));
      return true;
    } catch (error) {
      return false;
    }
  },
  drop(name) {
    try {
      sessionStorage.removeItem(this.prefix + name);
    } catch (error) { /* There is nothing to drop. */ }
  },
  get names() {
    try {
      return Object.keys(sessionStorage).filter((name) => name.startsWith(this.prefix))
        .map((name) => name.slice(this.prefix.length));
    } catch (error) {
      return [];
    }
  },
};

// The sound that a server may have to hear again. Each piece is written down once.
const sounds = {
  last: 0,
  numbers: new Map(),  // Keyed by bytes.
  // JSON with numbers in the place of bytes. The bytes of other values are forgotten.
  toJson(value) {
    const used = new Map();
    const json = JSON.stringify(value, (key, part) => {
      if (!(part instanceof Uint8Array)) return part;
      if (!used.has(part)) used.set(part, this.numbers.get(part) || this.put(part));
      return {sound: used.get(part)};
    });
    for (const [bytes, number] of this.numbers) if (!used.has(bytes)) kept.drop(`sound ${number}`);
    this.numbers = used;
    return json;
  },
  fromJson(json) {
    try {
      return JSON.parse(json, (key, part) => (part && part.sound ? this.get(part.sound) : part));
    } catch {
      return null;  // An older page has written it.
    }
  },
  put(bytes) {
    let text = '';
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    kept.set(`sound ${++this.last}`, btoa(text));
    return this.last;
  },
  get(number) {
    const text = kept.get(`sound ${number}`);
    // There was no place: a moment of silence stands for it.
    const bytes = text ? Uint8Array.from(atob(text), (character) => character.charCodeAt(0)) : new Uint8Array(2);
    this.last = Math.max(this.last, number);
    this.numbers.set(bytes, number);
    return bytes;
  },
};

// The terms that the user gave, for all pages of this address.
const terms = {
  text: '',
  keepsMarkup: false,
  read() {
    try {
      const {text, keepsMarkup} = JSON.parse(localStorage.getItem('leapstream terms'));
      glossaryTerms(text);
      Object.assign(this, {text, keepsMarkup});
    } catch (error) { /* There are none. */ }
    byId('glossary').value = this.text;
    byId('keep-markup').checked = this.keepsMarkup;
    this.shown();
  },
  // Takes what the user has written, unless it has a fault.
  take() {
    const text = byId('glossary').value;
    try {
      glossaryTerms(text);
    } catch (error) {
      byId('glossary').setAttribute('aria-invalid', 'true');
      byId('terms-fault').textContent = `${error.message}.`;
      return say(`${error.message}.`, true);
    }
    Object.assign(this, {text, keepsMarkup: byId('keep-markup').checked});
    try {
      localStorage.setItem('leapstream terms', JSON.stringify({text, keepsMarkup: this.keepsMarkup}));
    } catch (error) { /* They hold for this page alone. */ }
    this.shown();
    if (!session || !session.rate) settingsChanged();
  },
  shown() {
    byId('glossary').removeAttribute('aria-invalid');
    byId('terms-fault').textContent = '';
    const {length} = glossaryTerms(this.text);
    byId('terms-count').textContent = length > 0 ? `(${length})` : '';
  },
  // The fields of a config for text.
  get config() {
    const all = glossaryTerms(this.text);
    return {...(all.length > 0 ? {glossary: {terms: all}} : {}), ...(this.keepsMarkup ? {keepMarkup: true} : {})};
  },
};

let saving = 0;
let rowsSaved = -1;

function saveSoon() {
  if (!saving && !watches) saving = setTimeout(save, SAVE_MS);
}

function save() {
  clearTimeout(saving);
  saving = 0;
  const {rows, state} = transcript.save();
  if (rows.length !== rowsSaved && kept.set('rows', rows)) rowsSaved = rows.length;
  const live = sounds.toJson(session && !session.over ? session.save() : null);
  const settings = Object.fromEntries([...SETTINGS, 'pace', 'threshold'].map((id) => [id, byId(id).value]));
  const all = {transcript: state, session: live, captionsKey, settings, input: input.value, shared: byId('link').dataset.id || ''};
  if (kept.set('state', all)) return;
  for (const name of kept.names) if (name.startsWith('sound ')) kept.drop(name);  // Text is worth more.
  kept.set('state', all);
}

// Goes on where a page of this tab was that is gone.
function restore() {
  const state = kept.get('state');
  if (!state) return;
  captionsKey = state.captionsKey;
  input.value = state.input;
  byId('pace').value = state.settings.pace;
  byId('threshold').value = state.settings.threshold;
  for (const id of SETTINGS) {
    if (byId(id).value === state.settings[id]) continue;
    byId(id).value = state.settings[id];
    if (id === 'model') chooseModel();
    if (id === 'policy') choosePolicy();
  }
  chooseLanguages();
  transcript.restore(kept.get('rows') || [], state.transcript);
  if (state.shared) share(state.shared);
  const saved = sounds.fromJson(state.session);
  if (!saved) return;
  say('Going on.');
  session = new Conversation({captions: captionsOfThis(), on: show, saved});
  byId('finish').disabled = session.closed;
  if (session.rate) say('Going on with what was said before the page was loaded. To say more, choose Speak.');
}

// The config to ask the server for. `rate`: the audio's samples a second; 0: the source is text.
function wantedConfig(rate) {
  const config = {policy: {}};
  if (byId('model').value) config.model = byId('model').value;
  if (byId('from').value) config.sourceLanguageCode = byId('from').value;
  if (byId('to').value) config.targetLanguageCode = byId('to').value;
  const policy = POLICIES[byId('policy').value];
  if (policy) {
    const takesNumber = policy.number && byId('k').value;
    config.policy[byId('policy').value] = takesNumber ? {[policy.number]: Number(byId('k').value)} : {};
  }
  if (rate) {
    config.inputFormat = 'INPUT_FORMAT_PCM_S16LE';
    config.sampleRateHertz = rate;
    config.pauseDetection = {minDuration: PAUSE, thresholdDb: Number(byId('threshold').value) || -40};
  } else {
    config.textSegmentation = 'TEXT_SEGMENTATION_SENTENCES';
    config.policy.continueInNextSegment = true;
    if (!policy || !policy.drafts) Object.assign(config, terms.config);
  }
  return config;
}

// Captions at an address that stays, if the user wants one. Of several tabs one has it.
const keptAddress = {
  mine: typeof navigator.locks === 'undefined',
  get() {
    try {
      return JSON.parse(localStorage.getItem('leapstream captions'));
    } catch (error) {
      return null;
    }
  },
  set(value) {
    try {
      if (value) localStorage.setItem('leapstream captions', JSON.stringify(value));
      else localStorage.removeItem('leapstream captions');
    } catch (error) { /* The address will not be kept. */ }
  },
  claim() {
    if (this.mine) return;
    navigator.locks.request('leapstream captions', {ifAvailable: true}, (lock) => {
      if (!lock) return undefined;
      this.mine = true;
      this.shown();
      return new Promise(() => {});  // The lock is held as long as the page is there.
    });
  },
  shown() {
    const address = this.get();
    byId('keep').checked = address !== null && this.mine;
    if (byId('keep').checked && address.id && !captionsKey) share(address.id);
  },
};

function captionsOfThis() {
  if (!captionsKey) {
    const address = keptAddress.mine ? keptAddress.get() : null;
    captionsKey = address ? address.key : randomKey();
  }
  return captionsKey;
}

// Begins a session, unless one takes what comes. `rate`: see wantedConfig().
function begin(rate) {
  byId('finish').disabled = false;
  if (!session || session.over) {
    session = new Conversation({captions: captionsOfThis(), config: wantedConfig(rate), on: show});
  } else if (session.closed || (session.wanted ? session.wanted.sampleRateHertz || 0 : session.rate) !== rate) {
    session.changeNow(wantedConfig(rate));
  }
}

// The settings have changed.
function settingsChanged() {
  saveSoon();
  if (!session || session.over || session.closed) return;
  const model = chosenModel();
  if (model && model.isSpeech !== session.rate > 0) return finish();
  session.change(wantedConfig(session.rate));
  if (session.wanted) say('The next sentence begins with the new options.');
}

function share(id) {
  byId('link').dataset.id = id;
  for (const [link, query] of [['link', `#watch=${id}`], ['captions-link', `?captions=${id}`]]) {
    byId(link).href = byId(link).textContent = `${location.origin}${location.pathname}${query}`;
  }
  byId('no-link').hidden = true;
  byId('links').hidden = false;
}

// The parts of a text that are sent each by itself: words with the space behind them, and characters of scripts
// without spaces. So each row of the transcript gets the source that is its own.
const PARTS = new RegExp(`${NO_SPACES.source}\\s*|(?:(?!${NO_SPACES.source})\\S){1,200}\\s*|\\s+`, 'gu');

function send(text, endsSegment) {
  begin(0);
  for (const part of text.match(PARTS) || []) session.text(part);
  if (endsSegment) session.endSegment();
}

// The part of a line that is complete: up to a space, or up to a character of a script without spaces that an input
// method or the clipboard gave. Of such characters that were typed one by one, the last word waits for the next.
const UP_TO_SPACE = /^[^]*\s/u;
const UP_TO_NO_SPACES = new RegExp(`^[^]*(?:${NO_SPACES.source}|[、。！？…」』）])`, 'u');

function completePart(line, isCommitted) {
  const words = UP_TO_SPACE.exec(line);
  const dense = UP_TO_NO_SPACES.exec(line);
  let complete = words ? words[0] : '';
  if (dense && dense[0].length > complete.length) {
    if (isCommitted || !Intl.Segmenter) return dense[0];
    const parts = [...new Intl.Segmenter(undefined, {granularity: 'word'}).segment(line)];
    const last = parts[parts.length - 1].index;
    if (last > complete.length) complete = line.slice(0, last);
  }
  return complete;
}

// Sends the complete words and lines of the input, and leaves the rest there.
function takeInput(isCommitted) {
  const lines = input.value.split('\n');
  const rest = lines.pop();
  for (const line of lines) {
    if (line.trim()) send(line, true);
    else if (session && !session.over && !session.rate && session.hasOpenSegment) session.endSegment();
  }
  const complete = completePart(rest, isCommitted);
  if (complete.trim()) send(complete, false);
  input.value = complete ? rest.slice(complete.length) : rest;
  saveSoon();
}

async function finish() {
  stopTalk();
  if (microphone) {
    await stopMicrophone();
  } else if (!session || session.over || !session.rate) {
    input.value += '\n';
    takeInput(true);
  }
  if (session) session.close();
  byId('finish').disabled = true;
  saveSoon();
}

function stopTalk() {
  clearTimeout(player);
  player = 0;
  byId('talk').textContent = 'Sample talk';
}

// Takes the microphone's sound unchanged: models were trained on speech that no browser had worked on. The rate is the
// device's, since Firefox connects no microphone to a context of another rate; the server resamples.
async function speak() {
  if (microphone) return finish();
  if (starting) return;  // The button stays enabled meanwhile, since disabling it would take the keyboard's focus away.
  starting = true;
  const opened = {context: null, node: null, tracks: []};
  const chosen = byId('model').value;
  try {
    const model = chosenModel();
    if (!model || !model.isSpeech) {
      byId('model').value = models.find((each) => each.isSpeech).name;
      chooseModel();
    }
    const raw = {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false};
    if (byId('device').value) raw.deviceId = {exact: byId('device').value};
    const stream = await navigator.mediaDevices.getUserMedia({audio: raw});
    opened.tracks = stream.getTracks();
    await connect(stream, opened);
    microphone = opened;
    listDevices();
    const rate = opened.context.sampleRate;
    const silent = setTimeout(() => {
      if (microphone === opened) say('Nothing arrives from the microphone yet.', true);
    }, 5000);
    opened.node.port.onmessage = ({data}) => {
      if (typeof data === 'number') return showLevel(data);
      if (byId('status').textContent.startsWith('Nothing arrives')) say('Listening.');
      clearTimeout(silent);
      begin(rate);
      session.audio(data);
    };
    // The loss of a device ends the recording, as the button does.
    for (const track of opened.tracks) track.onended = () => { if (microphone === opened) finish(); };
    byId('speak').textContent = 'Stop speaking';
    byId('level').hidden = false;
    say('Listening.');
  } catch (error) {
    await release(opened);
    byId('model').value = chosen;
    chooseModel();
    say(`The microphone cannot be used: ${error.message}`, true);
  }
  starting = false;
}

// Lets `opened.node` hear the stream. The context has the system's own rate, or else the microphone's: these are the
// only two that a browser which cannot connect two rates may take.
async function connect(stream, opened) {
  const [track] = opened.tracks;
  const rates = [undefined, track.getSettings ? track.getSettings().sampleRate : undefined];
  for (const [i, sampleRate] of rates.entries()) {
    try {
      opened.context = sampleRate ? new AudioContext({sampleRate}) : new AudioContext();
      await opened.context.audioWorklet.addModule('microphone.js');
      opened.node = new AudioWorkletNode(opened.context, 'microphone');
      const source = opened.context.createMediaStreamSource(stream);
      source.connect(opened.node).connect(opened.context.destination);  // The node puts out silence.
      opened.context.resume().catch(() => {});  // Not awaited: without a loudspeaker Firefox never says that it runs.
      return;
    } catch (error) {
      await closeContext(opened);
      if (i + 1 === rates.length || !rates[i + 1]) throw error;
    }
  }
}

async function closeContext(opened) {
  const {context} = opened;
  opened.context = opened.node = null;
  if (context && context.state !== 'closed') await context.close().catch(() => {});
}

// Closes all that had been opened for a microphone.
async function release(opened) {
  for (const track of opened.tracks) {
    track.onended = null;
    track.stop();
  }
  if (opened.node) opened.node.port.onmessage = null;
  await closeContext(opened);
}

// Forgets the microphone, and returns it.
function letGo() {
  const opened = microphone;
  microphone = null;
  byId('speak').textContent = 'Speak';
  byId('level').hidden = true;
  return opened;
}

async function releaseMicrophone() {
  const opened = letGo();
  if (opened) await release(opened);
}

// Sends the sound that was heard up to now.
async function stopMicrophone() {
  const opened = letGo();
  if (!opened) return;
  const rate = opened.context.sampleRate;
  await new Promise((resolve) => {
    opened.node.port.onmessage = ({data}) => {
      if (data === null) return resolve();
      if (typeof data === 'number') return undefined;
      begin(rate);
      return session.audio(data);
    };
    opened.node.port.postMessage('stop');
    setTimeout(resolve, 1000);  // A context that the system has stopped does not answer.
  });
  await release(opened);
}

// Another microphone takes the place of the one that is open.
async function chooseDevice() {
  if (!microphone) return;
  await stopMicrophone();
  await speak();
}

function showLevel(level) {
  byId('level').low = Number(byId('threshold').value) || -40;  // Below it the meter has another colour.
  byId('level').value = level;
}

// Browsers tell the names of microphones once one was allowed.
async function listDevices() {
  const devices = (await navigator.mediaDevices.enumerateDevices())
    .filter(({kind, deviceId}) => kind === 'audioinput' && deviceId && deviceId !== 'default');
  const before = byId('device').value;
  byId('device').replaceChildren(new Option('the usual one', ''),
                                 ...devices.map(({label, deviceId}, i) => new Option(label || `Microphone ${i + 1}`, deviceId)));
  if (devices.some(({deviceId}) => deviceId === before)) byId('device').value = before;
}

async function playTalk() {
  if (player) return stopTalk();
  play((await (await fetch('talk.txt')).text()).trim().split('\n'));
}

// Sends lines word by word, as fast as somebody speaks.
function play(text) {
  stopTalk();
  const lines = text.map((line) => line.trim().split(/\s+/));
  byId('talk').textContent = 'Stop the talk';
  let line = 0, word = 0;
  const next = () => {
    const last = word + 1 === lines[line].length;
    send(lines[line][word] + (last ? '' : ' '), last);
    word = last ? 0 : word + 1;
    if (last) ++line;
    if (line === lines.length) return stopTalk();
    const pace = Math.min(20, Math.max(0.5, Number(byId('pace').value) || 3));
    player = setTimeout(next, 1000 / pace);
  };
  player = setTimeout(next, 0);
}

// The rows on the screen, which are those of the transcript a frame later.
const shown = new Map();  // Keyed by row; values are {line, source, target}.
const dirty = new Set();
const HIDDEN_MS = 200;    // A page that nobody sees has no frames, and is shown as often.
let following = true;     // The end is in view, until somebody scrolls up.
let followedTo = 0;        // How far the transcript was scrolled last.

const transcript = new Transcript((row) => {
  if (dirty.size === 0) {
    requestAnimationFrame(showRows);
    setTimeout(showRows, HIDDEN_MS);
  }
  dirty.add(row);
});

function showRows() {
  if (dirty.size === 0) return;
  const places = new Map(transcript.rows.map((row, i) => [row, i]));
  const rows = [...dirty].sort((a, b) => (places.has(b) ? places.get(b) : 0) - (places.has(a) ? places.get(a) : 0));
  dirty.clear();
  for (const row of rows) if (places.has(row)) showRow(row, places.get(row)); else hideRow(row);
  const isEmpty = transcript.rows.length === 0;
  byId('welcome').hidden = !isEmpty || watches;
  byId('rows').hidden = isEmpty;
  byId('rows').classList.toggle('speech', transcript.rows.every((row) => row.from >= 0));
  for (const id of ['copy', 'save']) byId(id).disabled = isEmpty;
  byId('clear').hidden = isEmpty || watches;
  follow();
}

function hideRow(row) {
  if (shown.has(row)) shown.get(row).line.remove();
  shown.delete(row);
}

// Rows are shown from the last to the first, so that the one behind a new row is there.
function showRow(row, place) {
  if (!shown.has(row)) {
    const line = document.createElement('tr');
    line.setAttribute('role', 'row');
    const [source, target] = ['source', 'target'].map((kind) => {
      const cell = line.appendChild(document.createElement('td'));
      cell.setAttribute('role', 'cell');
      cell.className = kind;
      cell.dir = 'auto';
      return cell;
    });
    const next = transcript.rows[place + 1];
    byId('rows').tBodies[0].insertBefore(line, next && shown.has(next) ? shown.get(next).line : null);
    shown.set(row, {line, source, target});
  }
  const {line, source, target} = shown.get(row);
  const isSpeech = row.from >= 0;
  line.classList.toggle('open', !row.done);
  source.classList.toggle('time', isSpeech);
  setText(source, isSpeech ? `${clock(row.from)}–${clock(row.to)}` : row.source.trim());
  setText(target, row.target.trim());
  source.lang = isSpeech ? 'en' : languageTag(row.sourceLanguage);
  target.lang = languageTag(row.targetLanguage);
}

function setText(cell, text) {
  if (cell.firstChild && text.startsWith(cell.firstChild.data)) {  // What somebody has selected stays selected.
    cell.firstChild.appendData(text.slice(cell.firstChild.length));
  } else {
    cell.textContent = text;
  }
}

function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, '0')}`;
}

function follow() {
  const lane = byId('transcript');
  if (following) lane.scrollTop = lane.scrollHeight;
  followedTo = lane.scrollTop;
  byId('newest').hidden = following;
}

// The policy that a server applied, such as "wait-3" and "hold-n 3".
function policyText(policy) {
  if (policy.waitK) return `wait-${policy.waitK.k}`;
  if (policy.localAgreement) return `local agreement ${policy.localAgreement.n}`;
  if (policy.holdN) return `hold-n ${policy.holdN.n}`;
  if (policy.alignAtt) return `AlignAtt ${policy.alignAtt.frames}`;
  const adaptive = policy.adaptiveWaitK;
  if (adaptive) return `adaptive wait-k ${adaptive.minK}-${adaptive.maxK}`;
  return policy.offline ? 'offline' : 'learned';
}

function showPair(from, to) {
  byId('pair').textContent = from && to ? `${languageName(from)} → ${languageName(to)}` : '';
  byId('source-title').textContent = from ? languageName(from) : 'Source';
  byId('target-title').textContent = to ? languageName(to) : 'Translation';
}

// Shows each kind of event, besides the rows; they are named as in conversation.js.
const SHOWN = {
  started({model, effectiveConfig}) {
    if (!microphone) say(`Translating with ${model}, ${policyText(effectiveConfig.policy)}.`);
    showPair(effectiveConfig.sourceLanguageCode, effectiveConfig.targetLanguageCode);
    byId('target-title').lang = byId('source-title').lang = 'en';
    targetLanguage = languageTag(effectiveConfig.targetLanguageCode);
  },
  captions({id}) {
    share(id);
    const address = keptAddress.get();
    if (address && address.key === captionsKey) keptAddress.set({key: captionsKey, id});
  },
  config() {
    stairs.begin(0);
  },
  target({segment, tokens = []}) {
    stairs.add(Number(segment), tokens.map((token) => ({read: token.sourceTokensRead || 0, ms: token.sourceAudioMs})));
  },
  segmentCompleted: showCompleted,
  goingAway() {
    say('The server is going away; the open sentence will still end.');
  },
  interrupted() {
    say('The connection to the server is lost; trying to go on.', true);
  },
  resumed() {
    say('Going on; nothing was lost.');
  },
  refused({message}) {
    say(message, true);
  },
  waiting() {
    say('There are no captions at this address yet, or no longer. They will appear here.', true);
  },
  summary() {
    if (watches) over('OK', '');  // The writer hears `ended`, too.
  },
  error({status, message}) {
    over(status, message);
  },
  ended({status, reason, message}) {
    over(status, message, reason);
  },
};
let targetLanguage = '';

function show(event) {
  // A session that never began, or broke for good, gives back what it has not translated.
  const back = event.ended && event.ended.status !== 'OK' ? transcript.takeBack() : '';
  input.value = back + input.value;
  transcript.take(event);
  for (const [name, content] of Object.entries(event)) if (SHOWN[name]) SHOWN[name](content);
  saveSoon();
}

function showCompleted(completed) {
  const number = Number(completed.segment), {stats = {}, continues} = completed;
  announce(completed);
  const left = completed.untranslatedSourceTokens || 0;
  const read = stats.sourceTokens || 0, written = stats.targetTokens || 0;
  if (CUT_SHORT[completed.finishReason] && !continues) {
    say(`Sentence ${number} was cut short: ${CUT_SHORT[completed.finishReason]}.`, true);
  } else if (completed.sourceDropped || left >= MANY_TOKENS || (read > 0 && 2 * left > read)) {
    say(`The translation of sentence ${number} ended before its source did: the rest was not translated.`, true);
  } else if (!continues && read >= MANY_TOKENS && !stats.sourceAudioMs && FEWER_THAN * written < read) {
    say(`The translation of sentence ${number} is much shorter than its source; it may have stopped early.`, true);
  }
  if (written === 0) return;
  byId('al').textContent = lagging(stats);
  byId('first').textContent = `${Math.round(1000 * parseFloat(stats.firstTokenDuration || '0'))} ms`;
  if (!stats.sourceAudioMs) {
    byId('read').textContent = read;
    byId('behind').textContent = '';
  }
}

// The session is over, well or with an error.
function over(status, message, reason = '') {
  stopTalk();
  releaseMicrophone();
  byId('finish').disabled = true;
  if (status === 'OK') say('Finished.');
  else if (reason === 'SUPERSEDED') say('It goes on in another tab.', true);
  else say(`${session && !session.stream.id ? 'Not sent' : 'Ended'}: ${message} (${status})`, true);
}

function tokens(count) {
  return `${count} token${count === 1 ? '' : 's'}`;
}

function lagging(stats) {
  const average = stats.averageLagging || 0;
  return stats.sourceAudioMs ? `${Math.round(average)} ms` : `${average.toFixed(1)} tokens`;
}

// The announcement for a screen reader: a sentence when it is complete, since hearing it word by word, over and over,
// helps nobody.
function announce({text = ''}) {
  if (!text.trim()) return;
  const lane = byId('announced');
  const paragraph = document.createElement('p');  // Added when it is complete: one change is one announcement.
  paragraph.lang = targetLanguage;
  paragraph.textContent = text;
  lane.append(paragraph);
  while (lane.childElementCount > 20) lane.firstChild.remove();
}

function setAttributes(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
}

function element(name, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  setAttributes(made, attributes);
  return made;
}

// The staircase of one segment. Its steps are drawn in units of tokens, and a transform scales them to the picture, so
// that each is drawn once, however long the segment is.
const stairs = {
  segment: 0,
  steps: [],
  drawn: 0,
  parts: null,

  begin(number) {
    this.segment = number;
    this.steps = [];
    this.drawn = 0;
    if (this.parts) for (const part of [this.parts.reads, this.parts.writes]) part.replaceChildren();
  },

  add(number, steps) {
    if (number !== this.segment) this.begin(number);
    this.steps.push(...steps);
    if (this.steps.length === 0) return;
    const {read, ms} = this.steps[this.steps.length - 1];  // Only speech has a time.
    byId('read').textContent = ms === undefined ? read : `${(ms / 1000).toFixed(1)} s`;
    byId('written').textContent = this.steps.length;
    byId('behind').textContent = ms === undefined ? `now: ${tokens(Math.max(0, read - this.steps.length))}` : '';
    this.draw();
  },

  // Draws the steps that have come. A line that is low on the left says that little had been read when much was written.
  draw() {
    const {steps} = this;
    if (steps.length === 0 || !byId('lagging').open) return;
    const svg = byId('staircase');
    if (!this.parts) {
      this.parts = {
        diagonal: element('line', {class: 'diagonal'}), reads: element('g', {}), writes: element('g', {}),
        read: element('text', {y: 12, 'text-anchor': 'middle'}), written: element('text', {x: 4}),
      };
      svg.append(...Object.values(this.parts));
    }
    const {diagonal, reads, writes, read, written} = this.parts;
    for (; this.drawn < steps.length; ++this.drawn) {
      const row = this.drawn, from = row > 0 ? steps[row - 1].read : 0, to = steps[row].read;
      reads.append(element('path', {class: 'read', d: `M ${from} ${row} H ${to} V ${row + 1}`}));
      writes.append(element('path', {class: 'written', d: `M ${to} ${row + 0.5} h 0.001`}));  // Its ends make a dot.
    }
    const last = steps[steps.length - 1].read;
    const width = Math.max(200, svg.clientWidth), height = Math.max(100, svg.clientHeight), left = 30, top = 16;
    const columns = Math.max(12, last + 1), rows = Math.max(8, steps.length + 1), square = Math.min(columns, rows);
    const scaleX = (width - left - 8) / columns, scaleY = (height - top - 8) / rows;
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    for (const group of [reads, writes]) {
      group.setAttribute('transform', `translate(${left} ${top}) scale(${scaleX} ${scaleY})`);
    }
    setAttributes(diagonal, {x1: left, y1: top, x2: left + square * scaleX, y2: top + square * scaleY});
    read.setAttribute('x', left + last * scaleX);
    read.textContent = last;
    written.setAttribute('y', top + steps.length * scaleY);
    written.textContent = steps.length;
    svg.setAttribute('aria-label', `${tokens(steps.length)} written, ${last} of the source read.`);
  },
};

async function listModels() {
  models = (await client.models()).map((model) => ({
    name: model.name, from: model.sourceLanguageCodes || [], to: model.targetLanguageCodes || [],
    isSpeech: model.sourceKind === 'SOURCE_KIND_SPEECH', policies: model.policies || [], k: model.defaultK || 0,
    origin: model.origin || '', translates: (model.sourceLanguageCodes || []).length > 0 || !model.generates,
  })).filter((model) => model.translates);
  byId('model').replaceChildren(...models.map(({name, from, to, isSpeech}) => {
    const pair = from.length === 1 && to.length === 1 ? `${languageName(from[0])} → ${languageName(to[0])}, ` : '';
    return new Option(`${pair}${isSpeech ? 'speech, ' : ''}${name}`, name);
  }));
  if (byId('status').classList.contains('error')) say('Ready.');
  chooseModel();
  const hears = models.some((model) => model.isSpeech);
  byId('speak').hidden = !hears;
  for (const part of document.querySelectorAll('#options .speech')) part.hidden = !hears;
  if (!navigator.mediaDevices) {
    byId('speak').disabled = true;
    byId('speak').title = 'Browsers let a page use the microphone over HTTPS or from this machine only';
  } else if (hears) {
    listDevices();
  }
}

function chosenModel() {
  return models.find((each) => each.name === byId('model').value);
}

// Offers the languages of one side where there is a choice.
function offer(id, codes) {
  const choice = byId(id);
  const before = choice.value;
  choice.parentElement.hidden = codes.length < 2;
  const options = codes.length < 2 ? [] : codes.map((code) => new Option(languageName(code), code));
  choice.replaceChildren(...options.sort((a, b) => a.text.localeCompare(b.text, 'en')));
  if (codes.includes(before)) choice.value = before;
}

// Sets the inputs that depend on the chosen model.
function chooseModel() {
  const model = chosenModel();
  if (!model) return;
  offer('from', model.from);
  offer('to', model.to);
  // Some pair that is no copy; models of many pairs need not have a default one.
  if (byId('to').value === byId('from').value && byId('to').options.length > 1) byId('to').selectedIndex = 1;
  const offered = model.policies.filter((name) => POLICIES[name]);
  byId('policy').replaceChildren(new Option('as the model was trained', ''),
                                 ...offered.map((name) => new Option(POLICIES[name].title, name)));
  byId('policy').value = model.k > 0 && offered.includes('wait_k') ? 'wait_k' : '';
  choosePolicy();
  input.hidden = model.isSpeech;
  chooseLanguages();
}

function chooseLanguages() {
  const model = chosenModel();
  const from = byId('from').value || model.from[0] || '', to = byId('to').value || model.to[0] || '';
  showPair(from, to);
  const isEnglish = !model.isSpeech && languageTag(from).startsWith('en');
  byId('talk').hidden = !isEnglish;
  byId('domain').hidden = byId('samples').hidden = !(isEnglish && model.origin.startsWith(EMBEDDED));
  byId('input-label').textContent = model.isSpeech
    ? 'This model hears speech: choose Speak.' : 'Write here. Each word is sent when it is complete.';
}

// Shows the number of the chosen policy, if it has one.
function choosePolicy() {
  const policy = POLICIES[byId('policy').value] || {};
  const model = chosenModel();
  const label = byId('number');
  label.hidden = byId('number-help').hidden = !policy.number;
  label.firstElementChild.textContent = policy.number ? `${policy.number} =` : '';
  byId('policy-help').textContent = policy.help || '';
  byId('number-help').textContent = policy.numberHelp || '';
  byId('k').value = byId('policy').value === 'wait_k' && model.k > 0 ? model.k : policy.first || '';
}

// Copies where browsers allow it, and in the way of old where they do not: over HTTP from another machine.
async function copyText(text, name) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'unseen';
    (document.querySelector('dialog[open]') || document.body).append(area);
    const focused = document.activeElement;
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    focused.focus();
    if (!isCopied) return say(`${name} could not be copied.`, true);
  }
  say(`${name} is copied.`);
}

const FORMATS = {
  text: {make: plainText, suffix: 'txt', type: 'text/plain'},
  both: {make: textOfBoth, suffix: 'txt', type: 'text/plain'},
  srt: {make: subRip, suffix: 'srt', type: 'application/x-subrip'},
  vtt: {make: webVtt, suffix: 'vtt', type: 'text/vtt'},
};

function download(name) {
  const {make, suffix, type} = FORMATS[name];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([make(transcript.rows)], {type: `${type};charset=utf-8`}));
  const date = new Date(transcript.began - 60000 * new Date().getTimezoneOffset()).toISOString();
  link.download = `transcript-${date.slice(0, 16).replace(/:/g, '')}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Forgets the conversation. The next one has other captions.
function clear() {
  if (!confirm('Clear the transcript? It cannot be brought back.')) return;
  stopTalk();
  releaseMicrophone();
  if (session && !session.over) session.abandon();
  session = null;
  const rows = [...transcript.rows];
  transcript.clear();
  for (const row of rows) transcript.changed(row);
  for (const name of kept.names) kept.drop(name);
  captionsKey = '';
  rowsSaved = -1;
  stairs.begin(0);
  byId('finish').disabled = true;
  byId('links').hidden = true;
  byId('no-link').hidden = false;
  delete byId('link').dataset.id;
  keptAddress.shown();
  say('Ready.');
  input.focus();
}

function openDialog(id) {
  byId(id).showModal();
}

byId('transcript').addEventListener('scroll', () => {
  const lane = byId('transcript');
  // Only somebody who scrolls back stops it: a row that wraps anew also takes the end away.
  const back = lane.scrollTop < followedTo;
  followedTo = lane.scrollTop;
  following = lane.scrollHeight - lane.scrollTop - lane.clientHeight < 40 || (following && !back);
  byId('newest').hidden = following;
});
byId('newest').addEventListener('click', () => {
  following = true;
  follow();
  byId('transcript').focus();
});
byId('copy').addEventListener('click', () => copyText(plainText(transcript.rows), 'The translation'));
byId('save').addEventListener('click', () => openDialog('saving'));
for (const button of document.querySelectorAll('#saving [data-format]')) {
  button.addEventListener('click', () => download(button.dataset.format));
}
byId('lagging').addEventListener('toggle', () => stairs.draw());
// Keyboards of phones that lie over the page: what is left is its height.
if (window.visualViewport) {
  visualViewport.addEventListener('resize', () => {
    if (visualViewport.scale === 1) {
      document.documentElement.style.setProperty('--height', `${visualViewport.height}px`);
    }
  });
}

const watched = /^#watch=([0-9a-f]{32})$/.exec(location.hash);
const parameters = new URLSearchParams(location.search);
const watches = watched !== null;
if (parameters.has('captions')) {
  startCaptions(/^[0-9a-f]{32}$/.test(parameters.get('captions')) ? parameters.get('captions') : '', parameters);
} else {
  new ResizeObserver(follow).observe(byId('transcript'));
  new ResizeObserver(() => stairs.draw()).observe(byId('staircase'));
  if (watches) watchPage(); else writePage();
}

function watchPage() {
  document.body.classList.add('watching');
  byId('welcome').hidden = true;
  say('Watching.');
  watchCaptions(watched[1], show);
}

function writePage() {
  input.addEventListener('compositionstart', () => { composing = true; });
  input.addEventListener('compositionend', () => {
    composing = false;
    takeInput(true);
  });
  input.addEventListener('input', ({isComposing, inputType}) => {
    if (!composing && !isComposing) takeInput(inputType === 'insertFromPaste' || inputType === 'insertFromDrop');
  });
  byId('write').addEventListener('submit', (event) => event.preventDefault());
  byId('model').addEventListener('change', chooseModel);
  for (const id of ['from', 'to']) byId(id).addEventListener('change', chooseLanguages);
  byId('policy').addEventListener('change', choosePolicy);
  for (const id of SETTINGS) byId(id).addEventListener('change', settingsChanged);
  for (const id of ['glossary', 'keep-markup']) byId(id).addEventListener('change', () => terms.take());
  terms.read();
  byId('threshold').addEventListener('change', () => { if (!session || session.rate) settingsChanged(); });
  byId('device').addEventListener('change', chooseDevice);
  byId('talk').addEventListener('click', playTalk);
  byId('speak').addEventListener('click', speak);
  byId('finish').addEventListener('click', finish);
  byId('clear').addEventListener('click', clear);
  byId('set').addEventListener('click', () => openDialog('options'));
  byId('show').addEventListener('click', () => openDialog('sharing'));
  for (const button of document.querySelectorAll('[data-copies]')) {
    button.addEventListener('click', () => copyText(byId(button.dataset.copies).href, 'The address'));
  }
  byId('keep').addEventListener('change', ({target}) => {
    if (!captionsKey) captionsKey = randomKey();
    keptAddress.set(target.checked ? {key: captionsKey, id: byId('link').dataset.id || ''} : null);
  });
  for (const sentence of SAMPLES) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = sentence;
    button.addEventListener('click', () => {
      play([sentence]);
      input.focus();
    });
    byId('samples').querySelector('ul').appendChild(document.createElement('li')).append(button);
  }
  window.addEventListener('pagehide', save);
  document.addEventListener('visibilitychange', save);
  window.addEventListener('beforeunload', (event) => { if (microphone) event.preventDefault(); });
  keptAddress.claim();
  if (keptAddress.mine) keptAddress.shown();
  const list = () => listModels().then(restore).catch((error) => {
    say(`No server yet, trying again: ${error.message}`, true);
    setTimeout(list, 2000);
  });
  list();
}
