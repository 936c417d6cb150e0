// The JavaScript client against real servers that are killed while it talks to them.
//
// node javascript_client_test.mjs PROGRAMS REPOSITORY [WEBSOCKET]. WEBSOCKET is the folder of the package ws, for a Node
// that has no WebSocket of its own (that of Debian 12).
import assert from 'node:assert/strict';
import {execFileSync, spawn} from 'node:child_process';
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {pathToFileURL} from 'node:url';

const [programs, repository, ws] = process.argv.slice(2);
const {Client, glossaryTerms, LeapstreamError} = await import(pathToFileURL(path.resolve(repository, 'client/javascript/leapstream.js')));
const WebSocket = ws ? createRequire(import.meta.url)(ws) : globalThis.WebSocket;
const folder = mkdtempSync(path.join(tmpdir(), 'leapstream-javascript-'));
const model = path.join(repository, 'model/pretrained/en-de');
const speech = path.join(repository, 'tests/golden/speech');
const lines = readFileSync(path.join(repository, 'tests/golden/simuleval/test20.en'), 'utf8').trim().split('\n');
const key = path.join(folder, 'key');
const tokens = path.join(folder, 'tokens');
const servers = [];

// A leapstream-server that keeps its ports when it is started again.
class Server {
  constructor(name, flags) {
    Object.assign(this, {name, flags, port: 0, http: 0});
    servers.push(this);
  }

  async start() {
    const portFile = path.join(folder, `${this.name}.port`);
    rmSync(portFile, {force: true});
    this.process = spawn(path.join(programs, 'leapstream-server'), [
      '--listen', `127.0.0.1:${this.port}`, '--http-listen', `127.0.0.1:${this.http}`, '--port-file', portFile,
      '--resume-key-file', key, ...this.flags], {stdio: ['ignore', 'pipe', 'pipe']});
    let log = '';
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (text) => { log += text; });
    for (const end = Date.now() + 60000; !existsSync(portFile) || !/^http on port (\d+)\n/m.test(log);) {
      assert.ok(Date.now() < end && this.process.exitCode === null, log);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    this.port = Number(readFileSync(portFile, 'utf8'));
    this.http = Number(/^http on port (\d+)\n/m.exec(log)[1]);
    return this;
  }

  client(options) {
    return new Client(`http://127.0.0.1:${this.http}`, {WebSocket, ...options});
  }

  kill() {
    return new Promise((resolve) => {
      this.process.on('exit', resolve);
      this.process.kill('SIGKILL');
    });
  }

  // Dies, and is there again.
  async crash() {
    await this.kill();
    await this.start();
  }
}

// The translation of a text by the program `leapstream`, undisturbed.
function programTranslates(server, text, ...flags) {
  return execFileSync(path.join(programs, 'leapstream'), ['translate', '--server', `127.0.0.1:${server.port}`, ...flags],
                      {input: text, encoding: 'utf8'}).trim().split('\n');
}

let server;
before(async () => {
  writeFileSync(key, '0123456789abcdef0123456789abcdef\n');
  server = await new Server('text', ['--model', model]).start();
});
after(async () => {
  await Promise.all(servers.map((each) => each.kill()));
  rmSync(folder, {recursive: true});
});

test('lines survive their server', {timeout: 120000}, async () => {
  const stream = server.client().stream({policy: {earlyEnd: 'EARLY_END_READ_ON'}});
  const speak = (some) => {
    for (const line of some) {
      for (const word of line.split(' ')) stream.text(`${word} `);
      stream.endSegment();
    }
  };
  speak(lines.slice(0, 15));
  const texts = [], kinds = new Set(), crashAt = [10, 200, 400];  // Characters of the translation.
  let shown = '', length = 0;
  for await (const event of stream) {
    kinds.add(Object.keys(event)[0]);
    if (event.target) {
      assert.equal(event.target.tokens, undefined);
      shown += event.target.text;
      length += event.target.text.length;
      if (!(length >= crashAt[0])) continue;
      await server.crash();
      crashAt.shift();
      if (crashAt.length === 0) {
        speak(lines.slice(15));
        stream.close();
      }
    } else if (event.segmentCompleted) {
      assert.equal(event.segmentCompleted.text, shown);
      texts.push(shown);
      shown = '';
    }
  }
  assert.deepEqual(texts, programTranslates(server, `${lines.join('\n')}\n`, '--early-end', 'read-on'));
  for (const kind of ['started', 'interrupted', 'resumed', 'summary']) assert.ok(kinds.has(kind), kind);
});

test('sentences survive their server', {timeout: 120000}, async () => {
  const text = lines.join(' ');
  const half = text.length >> 1;
  const stream = server.client().stream({textSegmentation: 'TEXT_SEGMENTATION_SENTENCES'});
  for (let at = 0; at < half; at += 7) stream.text(text.slice(at, Math.min(at + 7, half)));  // Within words, too.
  const sentences = [], crashAt = [30, 250];
  let length = 0, resumed = 0;
  for await (const event of stream) {
    if (event.resumed) ++resumed;
    if (event.target) length += event.target.text.length;
    if (length >= crashAt[0]) {
      await server.crash();
      crashAt.shift();
      if (crashAt.length === 0) {
        stream.text(text.slice(half));
        stream.close();
      }
    }
    if (event.segmentCompleted && event.segmentCompleted.text) sentences.push(event.segmentCompleted.text);
  }
  assert.ok(resumed > 0);
  assert.deepEqual(sentences, programTranslates(server, text, '--segment', 'sentence'));
});

test('speech survives its server', {timeout: 120000}, async () => {
  const directory = path.join(folder, 'speech');
  execFileSync(path.join(programs, 'leapstream-export'), [
    '--checkpoint', `${speech}/checkpoints/speech_leap.pt`, '--config-yaml', `${speech}/data/config_st.yaml`,
    '--target-dict', `${speech}/data/spm_unigram400_st.txt`, '--target-spm', `${speech}/data/spm_unigram400_st.model`,
    '--source-lang', 'en', '--target-lang', 'de', '--output', directory]);
  const hearing = await new Server('speech', ['--model', directory]).start();
  const wav = (name) => readFileSync(`${speech}/wav/${name}.wav`).subarray(44);
  const bytes = Buffer.concat([wav('test-1'), Buffer.alloc(32000), wav('train-1')]);
  const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const translate = async (crashAt) => {
    const stream = hearing.client().stream({inputFormat: 'INPUT_FORMAT_PCM_S16LE', pauseDetection: {minDuration: '0.5s'}});
    stream.audio(samples);
    stream.close();
    const texts = [];
    let length = 0;
    for await (const {target, segmentCompleted} of stream) {
      if (target) length += target.text.length;
      if (length >= crashAt) {
        crashAt = Infinity;
        await hearing.crash();
      }
      if (segmentCompleted) texts.push(segmentCompleted.text || '');
    }
    return texts;
  };
  const texts = await translate(Infinity);
  assert.ok(texts.length > 1);
  assert.deepEqual(await translate(texts.join('').length >> 1), texts);
});

test('texts, models and errors', {timeout: 60000}, async () => {
  const client = server.client();
  const answer = await client.translate(lines.slice(0, 3).join('\n'), {beamSearch: {beam: 2, nBest: 2}});
  assert.equal(answer.text.split('\n').length, 3);
  assert.equal(answer.segments[0].hypotheses.length, 2);
  assert.deepEqual((await client.models()).map(({name}) => name), ['en-de']);
  const notFound = {name: 'LeapstreamError', status: 'NOT_FOUND', reason: 'MODEL_NOT_FOUND', message: /en-de/};
  await assert.rejects(client.translate('a', {model: 'none'}), notFound);
  await assert.rejects(client.stream({model: 'none'})[Symbol.asyncIterator]().next(), notFound);
  await assert.rejects(new Client('http://127.0.0.1:1').translate('a'), {status: 'UNAVAILABLE', reason: ''});
  const closed = client.stream();
  closed.close();
  assert.throws(() => closed.text('late'), /closed/);
  for await (const event of closed) assert.ok(event.started || event.summary);
  const left = client.stream();
  for await (const {started} of left) if (started) break;
  assert.ok(left.over);
  assert.ok(new LeapstreamError({}) instanceof Error);
});

test('long texts, and characters of two halves', {timeout: 60000}, async () => {
  const stream = server.client().stream();
  const sent = [];
  const {send} = stream;
  stream.send = (data) => { sent.push(data); send.call(stream, data); };
  stream.text(`${'x'.repeat(7999)}\u{1F600} ${'y '.repeat(50000)}`);
  const texts = sent.map((data) => JSON.parse(data).source.text);
  assert.equal(texts.join(''), `${'x'.repeat(7999)}\u{1F600} ${'y '.repeat(50000)}`);
  assert.ok(texts[0].endsWith('\u{1F600}'));
  assert.ok(Math.max(...texts.map((text) => text.length)) <= 8001);
  stream.cancel();
});

test('a stream keeps itself alive', {timeout: 60000}, async () => {
  const idle = await new Server('idle', ['--model', model, '--idle-timeout', '600ms']).start();
  const stream = idle.client().stream();
  setTimeout(() => {
    stream.text(lines[0]);
    stream.close();
  }, 2000);
  const kinds = [];
  for await (const event of stream) kinds.push(Object.keys(event)[0]);
  assert.ok(kinds.includes('summary') && !kinds.includes('interrupted'), kinds.join());
});

test('an idle stream is let go, and goes on with more source', {timeout: 60000}, async () => {
  const idle = await new Server('forgotten', ['--model', model, '--idle-timeout', '500ms']).start();
  const stream = idle.client().stream({}, {keepAliveMs: 0});
  const events = stream[Symbol.asyncIterator]();
  const words = lines[0].split(' ');
  const until = async (done) => {
    const found = [];
    do found.push((await events.next()).value); while (!done(found[found.length - 1]));
    return found;
  };
  const letGo = async () => {
    while (!stream.idle) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  await letGo();  // Before it began, too.
  stream.text(words.slice(0, 6).join(' ') + ' ');
  const first = await until(({target}) => target);
  await letGo();
  stream.text(words.slice(6).join(' '));
  stream.endSegment();
  const second = await until(({segmentCompleted}) => segmentCompleted);
  assert.equal(second[second.length - 1].segmentCompleted.text, programTranslates(server, lines[0])[0]);
  await letGo();
  stream.close();
  const rest = await until((event) => event === undefined || event.summary);
  assert.ok(rest[rest.length - 1].summary);
  const kinds = [...first, ...second, ...rest].map((event) => Object.keys(event)[0]);
  assert.ok(!kinds.includes('interrupted'), kinds.join());
});

test('a stream that was saved goes on in another program', {timeout: 60000}, async () => {
  let stream = server.client().stream({textSegmentation: 'TEXT_SEGMENTATION_SENTENCES'});
  const text = lines.slice(0, 4).join(' '), texts = [], begins = [];
  let sent = 0, shown = '', resumed = 0;
  for (let turn = 0; turn < 4; ++turn) {
    const end = Math.round((turn + 1) * text.length / 4);
    stream.text(text.slice(sent, end));
    sent = end;
    if (turn === 3) stream.close();
    const before = texts.length;
    for await (const {target, segmentCompleted, segmentBegins, resumed: again} of stream) {
      if (again) ++resumed;
      if (segmentBegins) begins.push([Number(segmentBegins.segment), segmentBegins.afterSequence]);
      if (target) shown += target.text;
      if (segmentCompleted) {
        assert.equal(segmentCompleted.text || '', shown);
        if (shown) texts.push(shown);
        shown = '';
      }
      if (turn < 3 && (texts.length > before || shown.length > 10)) break;  // This ends the stream where it is.
    }
    if (turn < 3) stream = server.client().restore(JSON.parse(JSON.stringify(stream.save())));
  }
  assert.deepEqual(texts, programTranslates(server, text, '--segment', 'sentence'));
  assert.ok(resumed >= 1 && resumed <= 3, `${resumed}`);  // A turn may end with an event that was saved.
  // Where each segment's source begins is said in order, and within what was sent.
  const starts = [...new Map(begins)];
  assert.ok(starts.length >= texts.length - 1);
  assert.deepEqual(starts, [...starts].sort(([a], [b]) => a - b));
  for (const [, after] of starts) assert.ok(after >= 0 && after <= 4);
  // Source that is not translated can be sent to another session.
  const lost = server.client().stream();
  lost.text(lines[0]);
  lost.endSegment();
  lost.text('half a ');
  assert.deepEqual(lost.untranslated(), [{text: lines[0]}, {endSegment: true}, {text: 'half a '}]);
  for await (const {segmentCompleted} of lost) if (segmentCompleted) break;
  assert.deepEqual(lost.untranslated(), [{text: 'half a '}]);
});

test('terms', {timeout: 60000}, async () => {
  const file = path.join(folder, 'terms.tsv');
  const glossary = '# of our house\nbutton = Knopf\n\nfile\tAkte\r\nLibreOffice\n';
  assert.deepEqual(glossaryTerms(glossary), [{source: 'button', target: 'Knopf'}, {source: 'file', target: 'Akte'},
                                             {source: 'LibreOffice', target: ''}]);
  assert.throws(() => glossaryTerms('a\n\tb'), {name: 'LeapstreamError', message: /^line 2 of the terms/});
  assert.throws(() => glossaryTerms('a\tb\tc'), {reason: 'GLOSSARY_INVALID'});
  writeFileSync(file, glossary.replace(' = ', '\t'));
  const text = 'Click the button to open the file <b>42</b>.';
  const expected = programTranslates(server, text, '--glossary', file, '--keep-markup')[0];
  for (const part of ['<b>', '</b>', '42', 'Knopf', 'Akte']) assert.ok(expected.includes(part), expected);
  const options = {glossary: {terms: glossaryTerms(glossary)}, keepMarkup: true};
  const stream = server.client().stream(options);
  stream.text(text);
  let crashes = 0, shown = '';
  for await (const {target, segmentCompleted} of stream) {
    if (target) shown += target.text;
    if (crashes++ === 0) await server.crash();
    if (shown.length > 10 && !stream.closed) {  // The next server is told of the terms, too.
      await server.crash();
      stream.close();
    }
    if (segmentCompleted) assert.equal(segmentCompleted.text, expected);
  }
  assert.equal(shown, expected);
  assert.equal((await server.client().translate(text, {...options, policy: {waitK: {k: 3}}})).text, expected);
  await assert.rejects(server.client().translate('a', {glossary: {terms: [{source: '', target: 'b'}]}}),
                       {reason: 'GLOSSARY_INVALID'});
});

test('tokens', {timeout: 60000}, async () => {
  const [token, line] = execFileSync(path.join(programs, 'leapstream-server'), ['--new-token', 'alice'],
                                     {encoding: 'utf8'}).split('\n');
  writeFileSync(tokens, `${line}\n`, {mode: 0o600});
  const guarded = await new Server('guarded', ['--model', model, '--auth-tokens-file', tokens,
                                               '--auth-without-tls']).start();
  const client = guarded.client({token});
  assert.ok((await client.translate(lines[0])).text);
  const stream = client.stream();
  stream.close();
  const kinds = [];
  for await (const event of stream) kinds.push(Object.keys(event)[0]);
  assert.deepEqual(kinds, ['started', 'summary']);
  await assert.rejects(guarded.client().translate('a'), {status: 'UNAUTHENTICATED', reason: 'TOKEN_MISSING'});
});

test('captions show a stream to others', {timeout: 60000}, async () => {
  const client = server.client();
  const stream = client.stream({}, {captions: 'a key that nobody guesses'});
  stream.text(lines[0]);
  stream.close();
  let id = '', translated = '';
  for await (const {captions, segmentCompleted} of stream) {
    if (captions) id = captions.id;
    if (segmentCompleted) translated = segmentCompleted.text;
  }
  let source = '', seen = '';
  for await (const event of client.captions(id)) {
    if (event.source) source += event.source.text;
    if (event.segmentCompleted) seen = event.segmentCompleted.text;
    if (event.summary) break;
  }
  assert.deepEqual([source, seen], [lines[0], translated]);
  await assert.rejects(client.captions('0'.repeat(32)).next(), {reason: 'CAPTIONS_NOT_FOUND'});
});
