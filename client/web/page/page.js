'use strict';

// The page has one session at a time. It begins with the first word that is sent; a page opened with #watch=ID only
// watches.

const byId = (id) => document.getElementById(id);
const input = byId('input');
const SEND_BYTES = 8000;  // The most bytes of one request, well below the gateway's limit.
const FEWER_THAN = 10;    // A translation has at least a tenth of its source's tokens.
const MANY_TOKENS = 20;   // A sentence that leaves so many untranslated, or more than it translated, says so.
// The policies that the page offers: their names for readers, and the number that they take.
const POLICIES = {
  'wait-k': {title: 'wait-k', number: 'k', first: 3, help: 'Source tokens (pieces of words) read ahead'},
  'la': {title: 'local agreement', number: 'n', first: 2, help: 'Drafts in a row that have to agree'},
  'hold': {title: 'hold-n', number: 'n', first: 3, help: 'Tokens at the end of each draft that are not written'},
  'alignatt': {title: 'AlignAtt', number: 'f', first: 2, help: 'Newest source tokens that nothing may attend to'},
  'adaptive': {title: 'adaptive wait-k'},
  'learned': {title: 'learned'},
  'offline': {title: 'offline'},
};
const CUT_SHORT = {
  FINISH_REASON_MAX_LENGTH: 'its translation has as many tokens as it may',
  FINISH_REASON_SOURCE_LIMIT: 'it is longer than the server takes, and the rest was dropped',
};

let session = null;        // {id, key} once it is asked for.
let sending = Promise.resolve();  // Requests go one after the other.
let player = 0;            // The timer of the sample talk.
let attempt = 0;           // Grows when something could not be sent: the requests behind it are not sent either.
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

// `body` is an object, or samples.
async function post(path, body) {
  const audio = body instanceof Int16Array;
  const headers = {'Content-Type': audio ? 'application/octet-stream' : 'application/json'};
  if (session && session.key) headers['X-Leapstream-Key'] = session.key;
  const response = await fetch(path, {method: 'POST', headers, body: audio ? body : JSON.stringify(body)})
    .catch(() => { throw new Error('this page\'s server does not answer'); });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || response.statusText);
  return answer;
}

// Begins a session. `rate`: the audio's samples a second.
async function begin(audio, rate) {
  const wanted = audio ? {audio, sample_rate: rate} : {audio};
  if (byId('model').value) wanted.model = byId('model').value;
  if (byId('from').value) wanted.source_language_code = byId('from').value;
  if (byId('to').value) wanted.target_language_code = byId('to').value;
  if (byId('policy').value) {
    const takesNumber = !byId('number').hidden && byId('k').value;
    wanted.policy = byId('policy').value + (takesNumber ? `:${byId('k').value}` : '');
  }
  session = await post('api/sessions', wanted);
  byId('finish').disabled = false;
  for (const id of ['model', 'from', 'to', 'policy', 'k']) byId(id).disabled = true;
  if (!audio) byId('speak').disabled = true;  // A session has one kind of source.
  const link = byId('link');
  link.href = link.textContent = `${location.origin}${location.pathname}#watch=${session.id}`;
  byId('share').hidden = false;
  watch(session.id);
}

// Posts `source`, an object or samples, to `path` of the session. `rate`: the audio's samples a second.
function sendSource(path, source, rate) {
  const begun = attempt;
  sending = sending.then(async () => {
    if (begun !== attempt) return;  // The part before this one was not sent.
    if (!session) await begin(path === 'audio', rate);
    await post(`api/sessions/${session.id}/${path}`, source);
  }).catch((error) => {
    ++attempt;
    stopTalk();
    releaseMicrophone();
    say(`Not sent: ${error.message}`, true);
    // Without a session nothing has changed, and it may be tried again.
    if (session) byId('again').hidden = false; else chooseModel();
  });
}

function send(text, endsSegment) {
  sentenceOpen = !endsSegment;
  sendSource('source', {text, ends_segment: endsSegment});
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
  sending = sending.then(() => session && post(`api/sessions/${session.id}/close`, {}))
    .catch((error) => say(error.message, true));
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
    if (!model || model.source !== 'speech') byId('model').value = models.find((each) => each.source === 'speech').name;
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
      sendSource('audio', message.data, rate);
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
    opened.node.port.onmessage = (message) => message.data ? sendSource('audio', message.data, rate) : resolve();
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

function watch(id) {
  const events = new EventSource(`api/sessions/${id}/events`);
  events.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.event === 'ended') events.close();
    show(event);
  };
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) say('This session is not there any more.', true);
  };
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
  if (policy.wait_k) return `wait-${policy.wait_k.k}`;
  if (policy.local_agreement) return `local agreement ${policy.local_agreement.n}`;
  if (policy.hold_n) return `hold-n ${policy.hold_n.n}`;
  if (policy.align_att) return `AlignAtt ${policy.align_att.frames}`;
  const adaptive = policy.adaptive_wait_k;
  if (adaptive) return `adaptive wait-k ${adaptive.min_k}-${adaptive.max_k}`;
  return policy.offline ? 'offline' : 'learned';
}

// A BCP-47 tag for a model's own code, such as deu_Latn or en_XX.
function languageTag(code) {
  return code.replace(/_XX$/, '').replace('_', '-');
}

function show(event) {
  if (event.event === 'started') {
    say(`Translating with ${event.model}, ${policyText(event.effective_config.policy)}.`);
    byId('source').lang = languageTag(event.effective_config.source_language_code);
    byId('target').lang = languageTag(event.effective_config.target_language_code);
  } else if (event.event === 'source' && event.audio_ms !== undefined) {
    spokenMs += event.audio_ms;
    sourceParagraph = sourceParagraph || newParagraph(byId('source'));
    sourceParagraph.textContent = `${(spokenMs / 1000).toFixed(1)} s of speech`;
  } else if (event.event === 'source') {
    sourceParagraph = sourceParagraph || newParagraph(byId('source'));
    append(byId('source'), sourceParagraph, event.text);
    if (event.ends_segment) sourceParagraph = null;
  } else if (event.event === 'target') {
    const open = segment(event.segment);
    append(byId('target'), open.paragraph, event.text);
    for (const token of event.tokens) open.steps.push({read: token.source_tokens_read, ms: token.source_audio_ms});
    draw(open);
  } else if (event.event === 'segment') {
    if (event.continues) segment(event.segment).continues = true;
    announce(event);
    const left = event.untranslated_source_tokens || 0;
    const read = event.stats ? event.stats.source_tokens : 0;
    if (CUT_SHORT[event.finish_reason] && !event.continues) {
      say(`Sentence ${event.segment} was cut short: ${CUT_SHORT[event.finish_reason]}.`, true);
    } else if (event.source_dropped || left >= MANY_TOKENS || (read > 0 && 2 * left > read)) {
      say(`The translation of sentence ${event.segment} ended before its source did: the rest was not translated.`, true);
    } else if (!event.continues && read >= MANY_TOKENS && !event.stats.source_audio_ms &&
               FEWER_THAN * event.stats.target_tokens < read) {
      say(`The translation of sentence ${event.segment} is much shorter than its source; it may have stopped early.`, true);
    }
    if (event.stats && event.stats.target_tokens > 0) {
      byId('al').textContent = lagging(event.stats);
      byId('first').textContent = `${Math.round(1000 * parseFloat(event.stats.first_token_duration))} ms`;
      if (!event.stats.source_audio_ms) {
        byId('read').textContent = event.stats.source_tokens;
        byId('behind').textContent = tokens(0);
      }
    }
  } else if (event.event === 'going_away') {
    say('The server is going away; the open sentence will still end.');
  } else if (event.event === 'interrupted') {
    say('The connection to the server is lost; trying to go on.', true);
  } else if (event.event === 'resumed') {
    say('Going on; nothing was lost.');
  } else if (event.event === 'ended') {
    stopTalk();
    releaseMicrophone();
    byId('speak').disabled = true;
    if (event.code === 'OK') say('Finished.'); else say(`Ended: ${event.message} (${event.code})`, true);
    input.disabled = byId('talk').disabled = byId('finish').disabled = true;
    byId('again').hidden = false;
  }
}

function tokens(count) {
  return `${count} token${count === 1 ? '' : 's'}`;
}

function lagging(stats) {
  return stats.source_audio_ms ? `${Math.round(stats.average_lagging)} ms` : `${stats.average_lagging.toFixed(1)} tokens`;
}

// The announcement for a screen reader: a sentence when it is complete, since hearing it word by word, over and over,
// helps nobody.
function announce(event) {
  const lane = byId('announced');
  const figures = event.stats
    ? ` Read ${event.stats.source_tokens}, written ${event.stats.target_tokens}, lagging ${lagging(event.stats)}.` : '';
  const paragraph = document.createElement('p');  // Added when it is complete: one change is one announcement.
  paragraph.lang = byId('target').lang;
  const spoken = document.createElement('span');
  spoken.lang = 'en';
  spoken.textContent = figures;
  paragraph.append(event.text, spoken);
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
  const response = await fetch('api/models');
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  models = answer.models;
  for (const model of models) {
    const option = document.createElement('option');
    option.value = option.textContent = model.name;
    byId('model').append(option);
  }
  chooseModel();
  byId('speak').hidden = !models.some((model) => model.source === 'speech');
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
  offer('from', model.source_language_codes);
  offer('to', model.target_language_codes);
  // Some pair that is no copy; models of many pairs need not have a default one.
  if (byId('to').value === byId('from').value && byId('to').options.length > 1) byId('to').selectedIndex = 1;
  const offered = model.policies.filter((name) => POLICIES[name]);
  byId('policy').replaceChildren(new Option('the model\'s own', ''),
                                 ...offered.map((name) => new Option(POLICIES[name].title, name)));
  byId('policy').value = model.default_k > 0 && offered.includes('wait-k') ? 'wait-k' : '';
  choosePolicy();
  input.disabled = byId('talk').disabled = model.source === 'speech';
}

// Shows the number of the chosen policy, if it has one.
function choosePolicy() {
  const policy = POLICIES[byId('policy').value] || {};
  const model = models.find((each) => each.name === byId('model').value);
  const label = byId('number');
  label.hidden = !policy.number;
  label.firstElementChild.textContent = policy.number ? `${policy.number} =` : '';
  byId('k').title = policy.help || '';
  byId('k').value = byId('policy').value === 'wait-k' && model.default_k > 0 ? model.default_k : policy.first || '';
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
  watch(watched[1]);
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
