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
  constructor() {
    this.segments = [];  // {chunks: [{sequence, data}], ended, complete, dropped}; all but the last one are ended.
    this.sequence = 0;   // The number of chunks. The server counts them, too.
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

// One session, carried by as many connections as it takes. Its events are the messages of the server, but for those that
// only a resume needs, and {interrupted: {error}} and {resumed: {gapMs}}. It keeps itself alive while it is open.
export class Stream {
  constructor(connect, config) {
    this.open = connect;
    this.config = {...config, output: {...config.output, tokenDetails: true}};
    this.tokens = Boolean(config.output && config.output.tokenDetails);  // Wanted by the user.
    this.log = new SourceLog();
    this.events = new Events();
    this.over = false;
    this.closed = false;       // No more source comes.
    this.id = '';              // That of the session; empty: no server has begun it.
    this.segment = 1;          // The open segment, its text, its tokens, and its token for a resume.
    this.shown = '';
    this.ids = [];
    this.reads = [];
    this.token = '';
    this.next = null;          // The resume point of the next segment.
    this.rest = null;          // A target without tokens: only the end of its segment makes it certain.
    this.lostAt = 0;
    this.told = false;         // {interrupted} was said.
    this.failures = this.futile = 0;
    this.connect();
  }

  // Appends text to the open segment.
  text(text) {
    for (let at = 0; at < text.length;) {
      let end = Math.min(at + CHUNK_LENGTH, text.length);
      if (end < text.length && text.charCodeAt(end - 1) >> 10 === 0x36) ++end;  // Between two halves of a character.
      this.append(JSON.stringify({source: {text: text.slice(at, end)}}));
      at = end;
    }
  }

  // Appends whole samples in the config's inputFormat: an Int16Array, a Float32Array, or their bytes.
  audio(samples) {
    const bytes = ArrayBuffer.isView(samples) ? new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)
                                              : new Uint8Array(samples);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) this.append(bytes.slice(at, at + CHUNK_BYTES));
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
    if (data !== null && !this.over && this.socket.readyState === 1) this.socket.send(data);
  }

  connect() {
    if (this.over) return;
    this.error = this.summary = null;
    this.answered = this.progressed = this.moves = false;
    this.began = Date.now();
    const socket = this.socket = this.open();
    socket.onopen = () => this.begin(socket);
    socket.onmessage = (message) => {
      if (socket === this.socket && !this.over) this.take(JSON.parse(message.data));
    };
    socket.onerror = () => {};  // onclose comes next.
    socket.onclose = () => {
      if (socket === this.socket && !this.over) this.lost();
    };
  }

  begin(socket) {
    if (this.over) return;
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
    if (!this.closed) this.send('{"keepAlive":{}}');
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
    const ofUse = this.progressed || this.moves || (this.answered && now - this.began > LONG_CALL_MS);
    this.futile = ofUse ? 0 : this.futile + (this.answered ? 1 : 0);
    if (!passing || !resumable || this.futile >= MAX_FUTILE || now + quotaMs - this.lostAt > GIVE_UP_MS) {
      this.end(error);
      return;
    }
    if (this.id && !this.told && !this.moves) {
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

  // Opens a session; `config` is a SessionConfig. `captions`: a key with which others may watch it.
  stream(config = {}, {captions = ''} = {}) {
    return new Stream(this.opener(captions ? `v1/stream?captions=${encodeURIComponent(captions)}` : 'v1/stream'), config);
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

  // The events of the captions with this id, from their beginning, over any number of connections. After `summary` the
  // next stream with the same key may follow, until the server forgets them.
  async* captions(id) {
    for (let last = -1; ;) {
      const socket = this.opener(`v1/captions/${id}${last < 0 ? '' : `?after=${last}`}`)();
      const events = new Events();
      socket.onmessage = (message) => events.push(JSON.parse(message.data));
      socket.onerror = () => {};
      socket.onclose = ({code}) => events.push({closed: code});
      try {
        for (;;) {
          const {number, event, error, closed} = (await events.next()).value;
          if (error) throw new LeapstreamError(error);
          if (closed === 1000) return;
          if (closed !== undefined) break;
          if (!event) continue;  // A heartbeat.
          last = Number(number);
          yield event;
        }
      } finally {
        socket.close();
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
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
