'use strict';

// The view for projectors, phones and OBS: ?captions=ID, with &background=transparent, &size=, &lines= and &source. The
// newest lines stand at the bottom. Its controls appear when somebody moves the pointer or presses Tab, and change the
// address, so that it can be taken elsewhere.

const CAPTION_ROWS = 12;  // More sentences are never seen.
const SHOW_CONTROLS_MS = 4000;

function startCaptions(id, parameters) {
  const root = document.documentElement;
  const body = document.body;
  const byId = (name) => document.getElementById(name);
  const text = byId('caption-text');
  root.classList.add('captioning');
  for (const part of body.querySelectorAll('header, main:not(#captions), dialog')) part.remove();
  byId('captions').hidden = false;
  document.title = 'leapstream captions';

  const within = (value, least, most, otherwise) => {
    const number = Number(value);
    return value && number >= least && number <= most ? number : otherwise;
  };
  const set = () => {
    const background = byId('background').value;
    const size = within(byId('size').value, 12, 300, 48), lines = within(byId('lines').value, 1, 20, 2);
    root.classList.toggle('transparent', background === 'transparent');
    body.style.setProperty('--size', `${size}px`);
    body.style.setProperty('--lines', lines);
    body.classList.toggle('with-source', byId('with-source').checked);
    const query = new URLSearchParams();
    query.set('captions', id);
    query.set('background', background);
    query.set('size', size);
    query.set('lines', lines);
    if (byId('with-source').checked) query.set('source', '');
    history.replaceState(null, '', `?${query}`.replace('source=', 'source'));
  };
  byId('background').value = parameters.get('background') === 'transparent' ? 'transparent' : 'black';
  byId('size').value = within(parameters.get('size'), 12, 300, 48);
  byId('lines').value = within(parameters.get('lines'), 1, 20, 2);
  byId('with-source').checked = parameters.has('source');
  for (const name of ['background', 'size', 'lines', 'with-source']) byId(name).addEventListener('change', set);
  byId('caption-controls').addEventListener('submit', (event) => event.preventDefault());
  if (id) set();

  const full = () => document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen().catch(() => {});
  byId('full').addEventListener('click', full);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'f' && !event.ctrlKey && !event.metaKey && !event.altKey && event.target === body) full();
  });
  let timer = 0;
  const showControls = () => {
    body.classList.add('controlled');
    clearTimeout(timer);
    timer = setTimeout(() => body.classList.remove('controlled'), SHOW_CONTROLS_MS);
  };
  document.addEventListener('pointermove', showControls);
  document.addEventListener('pointerdown', showControls);

  const say = (message) => { byId('caption-status').textContent = message; };
  if (!id) {
    body.classList.add('controlled');
    say('Which captions? Open the page, choose Captions there, and take the address that it shows.');
    return;
  }

  const lines = new Map();  // Keyed by row; values are {source, target}.
  const line = (row, kind, language) => {
    const made = document.createElement('p');
    made.className = kind;
    made.dir = 'auto';
    if (language) made.lang = languageTag(language);
    return made;
  };
  const transcript = new Transcript((row) => {
    if (!transcript.rows.includes(row)) {
      if (lines.has(row)) for (const part of Object.values(lines.get(row))) part.remove();
      lines.delete(row);
      return;
    }
    if (!lines.has(row)) {
      const made = {source: line(row, 'source', row.sourceLanguage), target: line(row, 'target', row.targetLanguage)};
      const next = transcript.rows.slice(transcript.rows.indexOf(row) + 1).map((each) => lines.get(each)).find(Boolean);
      for (const part of [made.source, made.target]) text.insertBefore(part, next ? next.source : null);
      lines.set(row, made);
    }
    const {source, target} = lines.get(row);
    for (const [part, shown] of [[source, row.source.trim()], [target, row.target.trim()]]) {
      part.replaceChildren(...(shown ? [captionBox(shown)] : []));
      part.hidden = !shown;
    }
    if (row.targetLanguage) target.lang = languageTag(row.targetLanguage);
    if (row.sourceLanguage) source.lang = languageTag(row.sourceLanguage);
    while (transcript.rows.length > CAPTION_ROWS && transcript.rows[0].done) {
      const [old] = transcript.rows.splice(0, 1);
      if (lines.has(old)) for (const part of Object.values(lines.get(old))) part.remove();
      lines.delete(old);
    }
  });
  let seen = false;
  say('Waiting for captions.');
  watchCaptions(id, (event) => {
    transcript.take(event);
    if (event.waiting && !seen) say('Waiting for captions.');
    if (event.target && !seen) {
      seen = true;
      say('');
    }
  });
}

function captionBox(text) {
  const box = document.createElement('span');
  box.textContent = text;
  return box;
}
