'use strict';

// The page has one session at a time. It begins with the first word that is sent; a page opened with #watch=ID only
// watches.

const byId = (id) => document.getElementById(id);
const input = byId('input');
const SEND_BYTES = 8000;  // The most bytes of one message, well below the server's limit.
const FEWER_THAN = 10;    // A translation has at least a tenth of its source's tokens.
const MANY_TOKENS = 20;   // A sentence that leaves so many untranslated, or more than it translated, says so.
// The policies that the page offers, as the wire names them: their names for readers, and the number that they take.
const POLICIES = {
  wait_k: {title: 'wait-k', number: 'k', first: 3, help: 'Source tokens (pieces of words) read ahead'},
  local_agreement: {title: 'local agreement', number: 'n', first: 2, help: 'Drafts in a row that have to agree'},
  hold_n: {title: 'hold-n', number: 'n', first: 3, help: 'Tokens at the end of each draft that are not written'},
  align_att: {title: 'AlignAtt', number: 'frames', first: 2, help: 'Newest source tokens that nothing may attend to'},
  adaptive_wait_k: {title: 'adaptive wait-k'},
  learned: {title: 'learned'},
  offline: {title: 'offline'},
};
const CUT_SHORT = {
  FINISH_REASON_MAX_LENGTH: 'its translation has as many tokens as it may',
  FINISH_REASON_SOURCE_LIMIT: 'it is longer than the server takes, and the rest was dropped',
};

let session = null;        // The Stream, once something was sent.
let player = 0;            // The timer of the sample talk.
let microphone = null;     // {context, node, tracks} while somebody speaks.
let starting = false;      // The microphone is being asked for.
let spokenMs = 0;
let models = [];
let segments = new Map();  // Keyed by number; values are {paragraph, steps, done}.
let sourceParagraph = null;
let sentenceOpen = false;  // Part of a sentence was sent, but not its end.
let drawn = null;          // The segment in the staircase.
const following = new Set([byId('source'), byId('target')]);  // Lanes whose end is in view, until somebody scrolls up.

function say(text, isError = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('error', isError);
}

// The address of a WebSocket of this page's server.
function socketAddress(path) {
  return new URL(path, location.href).href.replace(/^http/, 'ws').replace(/#.*$/, '');
}

// 128 random bits in hex.
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

// The config to ask the server for. `rate`: the audio's samples a second; 0: the source is text.
function wantedConfig(rate) {
  const config = {policy: {}};
  if (byId('model').value) config.model = byId('model').value;
  if (byId('from').value) config.sourceLanguageCode = byId('from').value;
  if (byId('to').value) config.targetLanguageCode = byId('to').value;
  const policy = POLICIES[byId('policy').value];
  if (policy) {
    const takesNumber = policy.number && !byId('number').hidden && byId('k').value;
    config.policy[byId('policy').value] = takesNumber ? {[policy.number]: Number(byId('k').value)} : {};
  }
  if (rate) {
    config.inputFormat = 'INPUT_FORMAT_PCM_S16LE';
    config.sampleRateHertz = rate;
    config.pauseDetection = {minDuration: '0.600s'};
  } else {
    config.textSegmentation = 'TEXT_SEGMENTATION_SENTENCES';
    config.policy.continueInNextSegment = true;
  }
  return config;
}

// Begins a session, unless one has begun. `rate`: see wantedConfig().
function begin(rate) {
  if (session) return;
  session = new Stream(socketAddress(`v1/stream?captions=${randomKey()}`), wantedConfig(rate), show);
  byId('finish').disabled = false;
  for (const id of ['model', 'from', 'to', 'policy', 'k']) byId(id).disabled = true;
  if (!rate) byId('speak').disabled = true;  // A session has one kind of source.
}

// The session could not begin: nothing has changed, and it may be tried again.
function notBegun(message) {
  session = null;
  stopTalk();
  releaseMicrophone();
  say(`Not sent: ${message}`, true);
  const lines = [...byId('source').children].map((line) => line.textContent);
  if (spokenMs === 0) input.value = lines.join('\n') + input.value;  // What was typed is not lost.
  byId('source').replaceChildren();
  sourceParagraph = null;
  spokenMs = 0;
  byId('finish').disabled = true;
  for (const id of ['model', 'from', 'to', 'policy', 'k', 'speak']) byId(id).disabled = false;
  chooseModel();
}

function share(id) {
  const link = byId('link');
  link.href = link.textContent = `${location.origin}${location.pathname}#watch=${id}`;
  byId('share').hidden = false;
}

function sendAudio(samples, rate) {
  begin(rate);
  session.audio(samples, rate);
}

function send(text, endsSegment) {
  sentenceOpen = !endsSegment;
  begin(0);
  if (text) session.text(text);
  if (endsSegment) session.endSegment();
}

function sendLong(text, endsSegment) {
  const parts = text.match(new RegExp(`[^]{1,${SEND_BYTES / 4}}`, 'gu')) || [''];
  parts.forEach((part, i) => send(part, endsSegment && i === parts.length - 1));
}

// Sends the complete words and lines of the input, and leaves the rest there.
function takeInput() {
  const lines = input.value.split('\n');
  const rest = lines.pop();
  for (const line of lines) if (line.trim()) sendLong(line, true); else if (sentenceOpen) send('', true);
  const words = /^[^]*\s/u.exec(rest);
  if (words && words[0].trim()) sendLong(words[0], false);
  input.value = words ? rest.slice(words[0].length) : rest;
}

async function finish() {
  stopTalk();
  if (spokenMs > 0 || microphone) {
    await stopMicrophone();
  } else {
    input.value += '\n';
    takeInput();
  }
  if (session) session.close();
  byId('finish').disabled = true;
}

function stopTalk() {
  clearTimeout(player);
  player = 0;
  byId('talk').textContent = 'Play a sample talk';
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
    const model = models.find((each) => each.name === byId('model').value);
    if (!model || !model.isSpeech) byId('model').value = models.find((each) => each.isSpeech).name;
    chooseModel();
    const raw = {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false};
    const stream = await navigator.mediaDevices.getUserMedia({audio: raw});
    opened.tracks = stream.getTracks();
    await connect(stream, opened);
    microphone = opened;
    const rate = opened.context.sampleRate;
    const silent = setTimeout(() => {
      if (microphone === opened) say('Nothing arrives from the microphone yet.', true);
    }, 5000);
    opened.node.port.onmessage = (message) => {
      if (byId('status').textContent.startsWith('Nothing arrives')) say('Listening.');
      clearTimeout(silent);
      sendAudio(message.data, rate);
    };
    // The loss of a device ends the recording, as the button does.
    for (const track of opened.tracks) track.onended = () => { if (microphone === opened) finish(); };
    byId('speak').textContent = 'Stop speaking';
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

async function releaseMicrophone() {
  const opened = microphone;
  microphone = null;
  byId('speak').textContent = 'Speak';
  if (opened) await release(opened);
}

// Sends the sound that was heard up to now.
async function stopMicrophone() {
  if (!microphone) return;
  const opened = microphone;
  microphone = null;
  byId('speak').textContent = 'Speak';
  byId('speak').disabled = true;  // One session at a time.
  const rate = opened.context.sampleRate;
  await new Promise((resolve) => {
    opened.node.port.onmessage = (message) => message.data ? sendAudio(message.data, rate) : resolve();
    opened.node.port.postMessage('stop');
    setTimeout(resolve, 1000);  // A context that the system has stopped does not answer.
  });
  await release(opened);
}

async function playTalk() {
  if (player) return stopTalk();
  const lines = (await (await fetch('talk.txt')).text()).trim().split('\n').map((line) => line.trim().split(/\s+/));
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

function follow(lane) {
  if (following.has(lane)) lane.scrollTop = lane.scrollHeight;
}

function append(lane, paragraph, text) {
  paragraph.append(text);
  follow(lane);
}

function newParagraph(lane) {
  return lane.appendChild(document.createElement('p'));
}

// The segment of this number. A segment that continues the one before, with the rest of its source, has the same
// paragraph.
function segment(number) {
  if (!segments.has(number)) {
    const before = segments.get(number - 1);
    const continues = before !== undefined && before.continues;
    if (continues) before.paragraph.append(' ');
    const paragraph = continues ? before.paragraph : newParagraph(byId('target'));
    segments.set(number, {paragraph, steps: [], continues: false});
  }
  return segments.get(number);
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

// A BCP-47 tag for a model's own code, such as deu_Latn or en_XX.
function languageTag(code) {
  return code.replace(/_XX$/, '').replace('_', '-');
}

// Shows each kind of event; they are named as in stream.js.
const SHOWN = {
  started({model, effectiveConfig}) {
    say(`Translating with ${model}, ${policyText(effectiveConfig.policy)}.`);
    byId('source').lang = languageTag(effectiveConfig.sourceLanguageCode);
    byId('target').lang = languageTag(effectiveConfig.targetLanguageCode);
  },
  captions({id}) {
    share(id);
  },
  heard({duration}) {
    spokenMs += 1000 * parseFloat(duration);
    sourceParagraph = sourceParagraph || newParagraph(byId('source'));
    sourceParagraph.textContent = `${(spokenMs / 1000).toFixed(1)} s of speech`;
  },
  source({text}) {
    sourceParagraph = sourceParagraph || newParagraph(byId('source'));
    append(byId('source'), sourceParagraph, text);
  },
  endSegment() {
    sourceParagraph = null;
  },
  target(target) {
    const open = segment(Number(target.segment));
    append(byId('target'), open.paragraph, target.text || '');
    for (const token of target.tokens || []) {
      open.steps.push({read: token.sourceTokensRead || 0, ms: token.sourceAudioMs});
    }
    draw(open);
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
  gone() {
    say('This session is not there any more.', true);
  },
  summary() {  // A viewer's last word; the writer hears `ended`, too.
    over('OK', '');
  },
  error({status, message}) {
    over(status, message);
  },
  ended({status, message}) {
    if (status !== 'OK' && session && !session.id) return notBegun(message);
    over(status, message);
  },
};

function show(event) {
  for (const [name, content] of Object.entries(event)) if (SHOWN[name]) SHOWN[name](content);
}

function showCompleted(completed) {
  const number = Number(completed.segment), {stats = {}, continues} = completed;
  if (continues) segment(number).continues = true;
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
    byId('behind').textContent = tokens(0);
  }
}

// The session is over, well or with an error.
function over(status, message) {
  stopTalk();
  releaseMicrophone();
  byId('speak').disabled = true;
  if (status === 'OK') say('Finished.'); else say(`Ended: ${message} (${status})`, true);
  input.disabled = byId('talk').disabled = byId('finish').disabled = true;
  byId('again').hidden = false;
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
function announce(completed) {
  const lane = byId('announced');
  const {stats, text = ''} = completed;
  const figures = stats
    ? ` Read ${stats.sourceTokens || 0}, written ${stats.targetTokens || 0}, lagging ${lagging(stats)}.` : '';
  const paragraph = document.createElement('p');  // Added when it is complete: one change is one announcement.
  paragraph.lang = byId('target').lang;
  const spoken = document.createElement('span');
  spoken.lang = 'en';
  spoken.textContent = figures;
  paragraph.append(text, spoken);
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

function draw(open) {
  const steps = open.steps;
  if (steps.length === 0) return;
  const read = steps[steps.length - 1].read;
  const ms = steps[steps.length - 1].ms;  // Only speech has a time.
  byId('read').textContent = ms === undefined ? read : `${(ms / 1000).toFixed(1)} s`;
  byId('written').textContent = steps.length;
  byId('behind').textContent = ms === undefined ? tokens(Math.max(0, read - steps.length)) : '–';
  drawn = open;
  drawStaircase();
}

// The staircase of one segment. Its steps are drawn in units of tokens, and a transform scales them to the picture, so
// that each is drawn once, however long the segment is.
const stairs = {of: null, drawn: 0, parts: null};

// Draws the steps that have come. A line that is low on the left says that little had been read when much was written.
function drawStaircase() {
  if (!drawn) return;
  const {steps} = drawn;
  const svg = byId('staircase');
  if (!stairs.parts) {
    stairs.parts = {
      diagonal: element('line', {class: 'diagonal'}), reads: element('g', {}), writes: element('g', {}),
      read: element('text', {y: 12, 'text-anchor': 'middle'}), written: element('text', {x: 4}),
    };
    svg.append(...Object.values(stairs.parts));
  }
  const {diagonal, reads, writes, read, written} = stairs.parts;
  if (stairs.of !== drawn) {
    stairs.of = drawn;
    stairs.drawn = 0;
    reads.replaceChildren();
    writes.replaceChildren();
  }
  for (; stairs.drawn < steps.length; ++stairs.drawn) {
    const row = stairs.drawn, from = row > 0 ? steps[row - 1].read : 0, to = steps[row].read;
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
  svg.setAttribute('aria-label', `${steps.length} target tokens written, ${last} source tokens read.`);
}

function startAgain() {
  location.hash = '';
  location.reload();
}

async function listModels() {
  let page = '';
  do {
    const response = await fetch(`v1/models?pageToken=${encodeURIComponent(page)}`);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    models.push(...(answer.models || []).map((model) => ({
      name: model.name, from: model.sourceLanguageCodes || [], to: model.targetLanguageCodes || [],
      isSpeech: model.sourceKind === 'SOURCE_KIND_SPEECH', policies: model.policies || [], k: model.defaultK || 0,
    })));
    page = answer.nextPageToken;
  } while (page);
  for (const model of models) {
    const option = document.createElement('option');
    option.value = option.textContent = model.name;
    byId('model').append(option);
  }
  chooseModel();
  byId('speak').hidden = !models.some((model) => model.isSpeech);
  if (!navigator.mediaDevices) {
    byId('speak').disabled = true;
    byId('speak').title = 'Browsers let a page use the microphone over HTTPS or from this machine only';
  }
}

// Offers the languages of one side where there is a choice.
function offer(id, codes) {
  const choice = byId(id);
  const before = choice.value;
  choice.parentElement.hidden = codes.length < 2;
  choice.replaceChildren(...(codes.length < 2 ? [] : codes.map((code) => new Option(code))));
  if (codes.includes(before)) choice.value = before;
}

// Sets the inputs that depend on the chosen model.
function chooseModel() {
  const model = models.find((each) => each.name === byId('model').value);
  if (!model || session) return;
  offer('from', model.from);
  offer('to', model.to);
  // Some pair that is no copy; models of many pairs need not have a default one.
  if (byId('to').value === byId('from').value && byId('to').options.length > 1) byId('to').selectedIndex = 1;
  const offered = model.policies.filter((name) => POLICIES[name]);
  byId('policy').replaceChildren(new Option('the model\'s own', ''),
                                 ...offered.map((name) => new Option(POLICIES[name].title, name)));
  byId('policy').value = model.k > 0 && offered.includes('wait_k') ? 'wait_k' : '';
  choosePolicy();
  input.disabled = byId('talk').disabled = model.isSpeech;
}

// Shows the number of the chosen policy, if it has one.
function choosePolicy() {
  const policy = POLICIES[byId('policy').value] || {};
  const model = models.find((each) => each.name === byId('model').value);
  const label = byId('number');
  label.hidden = !policy.number;
  label.firstElementChild.textContent = policy.number ? `${policy.number} =` : '';
  byId('k').title = policy.help || '';
  byId('k').value = byId('policy').value === 'wait_k' && model.k > 0 ? model.k : policy.first || '';
}

for (const lane of [...following]) {
  lane.addEventListener('scroll', () => {
    if (lane.scrollHeight - lane.scrollTop - lane.clientHeight < 40) following.add(lane); else following.delete(lane);
  });
  new ResizeObserver(() => follow(lane)).observe(lane);
}
new ResizeObserver(drawStaircase).observe(byId('staircase'));

const watched = /^#watch=([0-9a-f]{32})$/.exec(location.hash);
if (watched) {
  document.body.classList.add('watching');
  say('Watching.');
  watchCaptions(socketAddress(`v1/captions/${watched[1]}`), show);
} else {
  input.addEventListener('input', takeInput);
  byId('write').addEventListener('submit', (event) => event.preventDefault());
  byId('model').addEventListener('change', chooseModel);
  byId('policy').addEventListener('change', choosePolicy);
  byId('talk').addEventListener('click', playTalk);
  byId('speak').addEventListener('click', speak);
  byId('finish').addEventListener('click', finish);
  byId('again').addEventListener('click', startAgain);
  byId('copy').addEventListener('click', () => navigator.clipboard.writeText(byId('link').href)
    .then(() => say('The link is copied.'), () => say('The link could not be copied.', true)));
  listModels().catch((error) => say(`No server: ${error.message}`, true));
}
