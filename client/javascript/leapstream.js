// Translates text while it is still arriving, with a leapstream server's HTTP and WebSocket port (http_listen). For
// browsers, and for Node from 22 on; for an older Node, or another WebSocket, give {WebSocket}. It depends on nothing.
//
//   const client = new Client('http://localhost:8080');
//   const stream = client.stream({policy: {waitK: {k: 3}}, textSegmentation: 'TEXT_SEGMENTATION_SENTENCES'});
//   stream.text('Sound can be included in presentations. ');
//   stream.close();
//   for await (const {target} of stream) if (target) console.log(target.text);
//
// The messages are those of docs/http.md and docs/protocol.md. A stream survives the loss of its server: it goes on
// where it was, and nothing is lost.

const GIVE_UP_MS = 60000;       // The longest time without a server.
const LONGEST_PAUSE_MS = 2000;  // Between two attempts.
const LONG_CALL_MS = 10000;     // A connection that lasted so long was of use.
const MAX_FUTILE = 5;           // Useless ones in a row: the session itself may be what breaks them.
const CHUNK_LENGTH = 8000;      // Characters of a message, so that it is below any server's limit.
const CHUNK_BYTES = 32000;      // Bytes of audio; whole samples of any format.
const BUSY = ['QUOTA_EXCEEDED', 'SERVER_FULL'];  // A server that has not noticed that it lost us still counts us.

// A request failed. `status` is a gRPC code such as "INVALID_ARGUMENT", `reason` one of the table in docs/protocol.md,
// and "" if no leapstream server said it: the connection broke.
export class LeapstreamError extends Error {
  constructor({status = 'UNKNOWN', reason = '', message = '', retryDelay = ''}) {
    super(message);
    this.name = 'LeapstreamError';
    this.status = status;
    this.reason = reason;
    this.retryDelayMs = 1000 * (parseFloat(retryDelay) || 0);
  }
}

// The source of a session from its first incomplete segment on, which has to be sent again when a connection breaks.
class SourceLog {
  constructor({segments, sequence}) {
    this.segments = segments;  // {chunks: [{sequence, data}], ended, complete, dropped}; all but the last one are ended.
    this.sequence = sequence;  // The number of chunks. The server counts them, too.
  }

  // The value that the constructor takes; later changes do not show in it.
  save() {
    return {segments: this.segments.map((segment) => ({...segment, chunks: [...segment.chunks]})), sequence: this.sequence};
  }

  // The source without a complete translation: see Stream.untranslated().
  untranslated() {
    return this.segments.filter(({complete}) => !complete).flatMap(({chunks, ended}) => [
      ...chunks.map(({data}) => (typeof data === 'string' ? JSON.parse(data).source : {audio: data})),
      ...(ended ? [{endSegment: true}] : [])]);
  }

  open() {
    const last = this.segments[this.segments.length - 1];
    if (last && !last.ended) return last;
    const segment = {chunks: [], ended: false, complete: false, dropped: false};
    this.segments.push(segment);
    return segment;
  }

  // Returns what is to be sent; null: nothing is.
  append(data) {
    const segment = this.open();
    if (segment.dropped) return null;
    segment.chunks.push({sequence: ++this.sequence, data});
    return data;
  }

  endSegment() {
    const segment = this.open();
    segment.ended = true;
    this.forget();
    return segment.dropped ? null : '{"endSegment":{}}';
  }

  // The translation of the first incomplete segment is complete.
  complete() {
    const first = this.segments.find((segment) => !segment.complete);
    if (!first) return;
    first.complete = true;
    first.chunks = [];
    this.forget();
  }

  // The server needs the chunks up to this one no longer: those of the first incomplete segment, or of all of them.
  consume(sequence, all) {
    for (const segment of this.segments) {
      if (segment.complete) continue;
      segment.chunks = segment.chunks.filter((chunk) => chunk.sequence > sequence);
      if (!all || segment.chunks.length > 0 || !segment.ended) break;
      segment.complete = true;
    }
    this.forget();
  }

  forget() {
    while (this.segments.length > 0 && this.segments[0].complete && this.segments[0].ended) this.segments.shift();
  }

  // Begins again. Returns the number of the first chunk, and all that is to be sent.
  rewind() {
    const messages = [];
    let first = this.sequence + 1;
    for (const segment of this.segments) {
      if (segment.complete) {
        segment.dropped = true;
        continue;
      }
      for (const {sequence, data} of segment.chunks) {
        first = Math.min(first, sequence);
        messages.push(data);
      }
      if (segment.ended) messages.push('{"endSegment":{}}');
    }
    return {first, messages};
  }
}

// Events that come, and somebody who takes them with `for await`.
class Events {
  constructor() {
    this.ready = [];
    this.waiting = [];
    this.end = null;  // {error}: no more come.
  }

  push(event) {
    const taker = this.waiting.shift();
    if (taker) taker.resolve({value: event, done: false});
    else this.ready.push(event);
  }

  // Ends them; with an error, or null.
  finish(error) {
    if (this.end) return;
    this.end = {error};
    for (const taker of this.waiting.splice(0)) this.settle(taker);
  }

  settle({resolve, reject}) {
    const {error} = this.end;
    this.end.error = null;  // It is thrown once.
    if (error) reject(error);
    else resolve({value: undefined, done: true});
  }

  next() {
    return new Promise((resolve, reject) => {
      if (this.ready.length > 0) resolve({value: this.ready.shift(), done: false});
      else if (this.end) this.settle({resolve, reject});
      else this.waiting.push({resolve, reject});
    });
  }
}

// Hears a WebSocket; `lost` is called once, with the code of its end. Of one that never opened some WebSockets (that of
// Node 22) say only that there was an error.
function hear(socket, {opened = () => {}, message, lost}) {
  let isOpen = false, isLost = false;
  const end = (code) => {
    if (!isLost) lost(code);
    isLost = true;
  };
  socket.onopen = () => {
    isOpen = true;
    opened();
  };
  socket.onmessage = ({data}) => message(JSON.parse(data));
  socket.onerror = () => { if (!isOpen) end(1006); };
  socket.onclose = ({code}) => end(code);
}

// A stream that has not begun yet, as Stream.save() has it.
function newSession(config) {
  return {
    config: {...config, output: {...config.output, tokenDetails: true}},
    tokens: Boolean(config.output && config.output.tokenDetails),  // Wanted by the user.
    closed: false,       // No more source comes.
    id: '',              // That of the session; empty: no server has begun it.
    segment: 1,          // The open segment, its text, its tokens, and its token for a resume.
    shown: '',
    ids: [],
    reads: [],
    token: '',
    source: {segments: [], sequence: 0},
    events: [],          // Those that nobody has taken yet.
  };
}

// One session, carried by as many connections as it takes. Its events are the messages of the server, but for those that
// only a resume needs, and {interrupted: {error}}, {resumed: {gapMs}} and {segmentBegins: {segment, afterSequence}}: the
// segment's source begins behind the chunk of this number, or within the next one. It keeps itself alive while it is
// open, for `keepAliveMs` after its last source; then the server lets it go, and more source goes on with it.
export class Stream {
  constructor(connect, saved, {keepAliveMs = Infinity} = {}) {
    const {source, ids, reads, events, ...session} = saved;
    Object.assign(this, session, {ids: [...ids], reads: [...reads]});
    this.open = connect;
    this.keepAliveMs = keepAliveMs;
    this.log = new SourceLog(source);
    this.events = new Events();
    for (const event of events) this.events.push(event);
    this.over = false;
    if (!this.token) this.id = '';            // Nothing came of such a session, and it begins again.
    this.lostAt = this.id ? Date.now() : 0;
    this.told = this.id !== '';               // {interrupted} was said.
    this.next = null;                         // The resume point of the next segment.
    this.rest = null;                         // A target without tokens: only the end of its segment makes it certain.
    this.idle = false;                        // The server has let an idle session go.
    this.lastSource = Date.now();
    this.failures = this.futile = 0;
    this.connect();
  }

  // The value that Client.restore() takes, in another page or process: JSON, but for the Uint8Arrays of audio. Events that
  // nobody has taken are in it, and come there.
  save() {
    const {config, tokens, closed, id, segment, shown, ids, reads, token} = this;
    return {config, tokens, closed, id, segment, shown, ids: [...ids], reads: [...reads], token, source: this.log.save(),
            events: this.events.ready.filter(({interrupted}) => !interrupted)};
  }

  // The source that has no complete translation yet, to be sent to another session if this one cannot go on:
  // [{text} or {audio} or {endSegment: true}].
  untranslated() {
    return this.log.untranslated();
  }

  // Appends text to the open segment. Returns the number of its last chunk.
  text(text) {
    for (let at = 0; at < text.length;) {
      let end = Math.min(at + CHUNK_LENGTH, text.length);
      if (end < text.length && text.charCodeAt(end - 1) >> 10 === 0x36) ++end;  // Between two halves of a character.
      this.append(JSON.stringify({source: {text: text.slice(at, end)}}));
      at = end;
    }
    return this.log.sequence;
  }

  // Appends whole samples in the config's inputFormat: an Int16Array, a Float32Array, or their bytes. Returns the number
  // of the last chunk.
  audio(samples) {
    const bytes = ArrayBuffer.isView(samples) ? new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)
                                              : new Uint8Array(samples);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) this.append(bytes.slice(at, at + CHUNK_BYTES));
    return this.log.sequence;
  }

  append(data) {
    if (this.closed) throw new Error('the source is closed');
    this.send(this.log.append(data));
  }

  // The next source opens a new segment.
  endSegment() {
    if (this.closed) throw new Error('the source is closed');
    this.send(this.log.endSegment());
  }

  // No more source comes; what was sent is still translated.
  close() {
    if (this.closed) return;
    this.closed = true;
    this.send('{"endSession":{}}');
  }

  // Ends the stream where it is.
  cancel() {
    this.end(null);
    this.socket.close();
  }

  [Symbol.asyncIterator]() {
    return {
      next: () => this.events.next(),
      return: async () => {  // Somebody left the loop.
        if (!this.over) this.cancel();
        return {value: undefined, done: true};
      },
    };
  }

  send(data) {
    this.lastSource = Date.now();
    if (data === null || this.over) return;
    if (this.socket.readyState === 1) this.socket.send(data);
    else if (this.idle) this.connect();
  }

  connect() {
    if (this.over) return;
    this.idle = false;
    this.error = this.summary = null;
    this.answered = this.progressed = this.moves = false;
    this.began = Date.now();
    const socket = this.socket = this.open();
    const isCurrent = () => socket === this.socket && !this.over;
    hear(socket, {
      opened: () => { if (isCurrent()) this.begin(socket); },
      message: (event) => { if (isCurrent()) this.take(event); },
      lost: () => { if (isCurrent()) this.lost(); },
    });
  }

  begin(socket) {
    const config = {...this.config};
    const {first, messages} = this.log.rewind();
    if (this.token) {
      config.resume = {sessionId: this.id, resumeToken: this.token, committedTarget: {ids: this.ids},
                       committedSourceTokensRead: this.reads, nextSourceSequence: `${first}`};
    }
    socket.send(JSON.stringify({config}));
    for (const message of messages) socket.send(message);
    if (this.closed) socket.send('{"endSession":{}}');
  }

  take(event) {
    this.answered = true;
    if (event.started) {
      this.takeStarted(event);
    } else if (event.target) {
      this.progressed = true;
      this.takeTarget(event);
    } else if (event.resumePoint) {
      this.takePoint(event.resumePoint);
    } else if (event.segmentCompleted) {
      this.progressed = true;
      this.takeCompleted(event);
    } else if (event.error) {
      this.error = new LeapstreamError(event.error);
    } else if (!event.heartbeat) {
      if (event.goingAway) this.moves = true;
      if (event.summary) this.summary = event.summary;
      this.events.push(event);
    }
  }

  takeStarted(event) {
    const {sessionId, effectiveConfig, limits} = event.started;
    const first = !this.id;
    this.id = sessionId;
    if (first) this.config = {...effectiveConfig, output: this.config.output};  // Other servers' defaults may differ.
    clearInterval(this.alive);
    const idle = 1000 * parseFloat((limits || {}).idleTimeout || '0');
    if (idle > 0) this.alive = setInterval(() => this.keepAlive(), idle / 3);
    if (first) this.events.push(event);
    else if (this.lostAt) this.events.push({resumed: {gapMs: Date.now() - this.lostAt}});
    this.lostAt = this.failures = 0;
    this.told = false;
  }

  keepAlive() {
    if (this.closed || this.socket.readyState !== 1) return;
    if (Date.now() - this.lastSource < this.keepAliveMs) this.socket.send('{"keepAlive":{}}');
  }

  takeTarget(event) {
    const tokens = event.target.tokens || [];
    if (tokens.length === 0 && this.token) {
      this.rest = event;
      return;
    }
    for (const token of tokens) {
      this.ids.push(token.id || 0);
      this.reads.push(token.sourceTokensRead || 0);
    }
    this.show(event);
  }

  show({target: {tokens, ...target}}) {
    this.shown += target.text || '';
    if (this.tokens && tokens) target.tokens = tokens;
    if (target.text || target.tokens) this.events.push({target});
  }

  get byPauses() {
    return parseFloat((this.config.pauseDetection || {}).minDuration || '0') > 0;
  }

  takePoint({segment, resumeToken, consumedSourceSequence}) {
    const consumed = Number(consumedSourceSequence || 0);
    if (Number(segment) === this.segment) {
      this.token = resumeToken;
      if (this.byPauses) this.log.consume(consumed, true);
    } else if (Number(segment) === this.segment + 1) {
      this.next = {token: resumeToken, consumed};  // Of use once the open segment has ended.
      this.events.push({segmentBegins: {segment, afterSequence: consumed}});
    }
  }

  takeCompleted(event) {
    const {segment, text = '', continues} = event.segmentCompleted;
    if (this.rest) this.show(this.rest);
    if (Number(segment) !== this.segment || text !== this.shown) {
      this.end(new LeapstreamError({status: 'INTERNAL', message:
          `the server ended segment ${segment} with another text than that of its deltas; ${this.segment} was open`}));
      this.socket.close();
      return;
    }
    if (continues) {
      if (this.next) this.log.consume(this.next.consumed, false);
    } else if (!this.byPauses) {
      this.log.complete();
    } else if (this.next) {
      this.log.consume(this.next.consumed, true);
    }
    ++this.segment;
    this.token = this.next ? this.next.token : '';
    this.next = this.rest = null;
    this.shown = '';
    this.ids = [];
    this.reads = [];
    this.events.push(event);
  }

  // The connection is over.
  lost() {
    clearInterval(this.alive);
    this.rest = this.next = null;
    if (!this.error && this.summary) {
      this.end(null);
      return;
    }
    const error = this.error || new LeapstreamError({status: 'UNAVAILABLE', message: 'the connection broke'});
    const now = Date.now();
    if (!this.lostAt) this.lostAt = now;
    const {status, reason} = error;
    const quotaMs = reason === 'QUOTA_EXCEEDED' ? error.retryDelayMs : 0;  // It is there again after that time.
    const passing = !reason || status === 'UNAVAILABLE' || reason === 'RESUME_MODEL_MISMATCH' ||
        (this.id && BUSY.includes(reason)) || quotaMs > 0;
    const resumable = this.token || (this.segment === 1 && !this.shown && this.ids.length === 0);
    if (reason === 'IDLE_TIMEOUT' && resumable && !this.closed) {
      if (!this.token) this.id = '';
      this.idle = true;
      this.lostAt = 0;
      return;
    }
    const ofUse = this.progressed || this.moves || (this.answered && now - this.began > LONG_CALL_MS);
    this.futile = ofUse ? 0 : this.futile + (this.answered ? 1 : 0);
    if (!passing || !resumable || this.futile >= MAX_FUTILE || now + quotaMs - this.lostAt > GIVE_UP_MS) {
      this.end(error);
      return;
    }
    if (!this.told && !this.moves && (this.id || !this.error)) {
      this.told = true;
      this.events.push({interrupted: {error}});
    }
    const pause = this.failures === 0 ? 0 : Math.min(LONGEST_PAUSE_MS, 50 * 2 ** this.failures);
    const least = this.failures > 0 ? error.retryDelayMs : 0;
    this.failures = Math.min(this.failures + 1, 10);
    setTimeout(() => this.connect(), quotaMs || Math.max(least, pause) * (1 + Math.random() / 2));
  }

  end(error) {
    clearInterval(this.alive);
    this.over = true;
    this.events.finish(error);
  }
}

// The terms of a glossary, for `glossary: {terms}`, of a text like that of glossary files (docs/terms.md): in each line
// a source term, a tab or " = ", and its target; a term alone is not translated.
export function glossaryTerms(text) {
  const terms = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (!line.trim() || line.startsWith('# ')) continue;
    const [source, target = '', ...more] = (line.includes('\t') ? line.split('\t') : line.split(/ = (.*)/s, 2))
      .map((side) => side.trim());
    if (!source || more.length > 0) {
      throw new LeapstreamError({status: 'INVALID_ARGUMENT', reason: 'GLOSSARY_INVALID', message:
          `line ${i + 1} of the terms: want a source term, a tab or " = ", and a target term`});
    }
    terms.push({source, target});
  }
  return terms;
}

// A server, or a load balancer in front of some.
export class Client {
  // `url`: such as "https://translate.example.org/". `token`: the bearer token, if the server wants one.
  constructor(url, {token = '', WebSocket = globalThis.WebSocket, fetch = globalThis.fetch} = {}) {
    this.url = new URL(url);
    if (!this.url.pathname.endsWith('/')) this.url.pathname += '/';
    this.token = token;
    this.WebSocket = WebSocket;
    this.fetch = (...request) => fetch(...request);
  }

  // Opens a session; `config` is a SessionConfig. `captions`: a key with which others may watch it; `keepAliveMs`: see
  // Stream.
  stream(config = {}, options = {}) {
    return this.restore(newSession(config), options);
  }

  // Goes on with a stream of which this is what save() returned. The one that was saved must have ended.
  restore(saved, {captions = '', keepAliveMs} = {}) {
    const path = captions ? `v1/stream?captions=${encodeURIComponent(captions)}` : 'v1/stream';
    return new Stream(this.opener(path), saved, {keepAliveMs});
  }

  // Translates a whole text; `request` has the other fields of TranslateRequest.
  translate(text, request = {}) {
    return this.request('v1/translate', {
      method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({...request, text})});
  }

  async models() {
    const models = [];
    let page = '';
    do {
      const answer = await this.request(`v1/models?pageToken=${encodeURIComponent(page)}`, {});
      models.push(...(answer.models || []));
      page = answer.nextPageToken;
    } while (page);
    return models;
  }

  // The events of the captions with this id, from their beginning, over any number of connections, and
  // {interrupted: {error}} while the server takes nobody. After `summary` the next stream with the same key may follow,
  // until the server forgets them.
  async* captions(id) {
    for (let last = -1; ;) {
      const socket = this.opener(`v1/captions/${id}${last < 0 ? '' : `?after=${last}`}`)();
      const events = new Events();
      hear(socket, {message: (event) => events.push(event), lost: (code) => events.push({closed: code})});
      let pause = 1000;
      try {
        for (;;) {
          const {number, event, error, closed} = (await events.next()).value;
          if (error) {
            if (error.status !== 'UNAVAILABLE') throw new LeapstreamError(error);
            yield {interrupted: {error: new LeapstreamError(error)}};
            pause = 3000;
          }
          if (closed === 1000) return;
          if (closed !== undefined) break;
          if (!event) continue;  // A heartbeat.
          last = Number(number);
          yield event;
        }
      } finally {
        socket.close();
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  async request(path, options) {
    const headers = {...options.headers, ...(this.token ? {Authorization: `Bearer ${this.token}`} : {})};
    let response;
    try {
      response = await this.fetch(new URL(path, this.url).href, {...options, headers});
    } catch (error) {
      throw new LeapstreamError({status: 'UNAVAILABLE', message: `no server answers at ${this.url}: ${error.message}`});
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    throw new LeapstreamError(answer.error || {message: `the answer was HTTP ${response.status}`});
  }

  // A function that opens a WebSocket. A page can set no header, so that the token is in a subprotocol.
  opener(path) {
    const Socket = this.WebSocket;
    if (!Socket) throw new Error('expected a WebSocket: in Node below 22, give one, such as that of the package ws');
    const url = new URL(path, this.url);
    url.protocol = url.protocol.replace(/^http/, 'ws');
    const protocols = ['leapstream.v1'];
    if (this.token) {
      const bytes = Array.from(new TextEncoder().encode(this.token), (byte) => String.fromCharCode(byte)).join('');
      protocols.push(`leapstream.bearer.${btoa(bytes).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')}`);
    }
    return () => new Socket(url.href, protocols);
  }
}
