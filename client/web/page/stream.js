'use strict';

// Sessions of the server's WebSocket /v1/stream; docs/http.md describes it, docs/protocol.md the messages. A Stream
// outlives its connections: when one breaks it says to the next what it has, and nothing is lost.

const GIVE_UP_MS = 60000;         // The longest time without a server.
const LONGEST_PAUSE_MS = 2000;    // Between two attempts.
const KEPT_ALIVE_MS = 30 * 60000; // A session is kept open for so long after its last source.
const RETRIED = ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'];  // Codes of errors after which a session may go on elsewhere.

// The source of a session from its first incomplete segment on, which has to be sent again when a connection breaks.
class SourceLog {
  constructor() {
    this.segments = [];  // {chunks: [{sequence, data}], ended, complete, dropped}; all but the last one are ended.
    this.sequence = 0;
  }

  open() {
    const last = this.segments[this.segments.length - 1];
    if (last && !last.ended) return last;
    const segment = {chunks: [], ended: false, complete: false, dropped: false};
    this.segments.push(segment);
    return segment;
  }

  // Returns what is to be sent; null: nothing is.
  append(source) {
    const segment = this.open();
    if (segment.dropped) return null;
    const sequence = ++this.sequence;
    const data = typeof source === 'string' ? JSON.stringify({source: {sequence: `${sequence}`, text: source}}) : source;
    segment.chunks.push({sequence, data});
    return data;
  }

  endSegment() {
    const segment = this.open();
    segment.ended = true;
    this.forget();
    return segment.dropped ? null : '{"endSegment":{}}';
  }

  // The first incomplete segment is complete.
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
      if (!all) break;
      if (segment.chunks.length > 0 || !segment.ended) break;
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

// One session. `on` hears the answers of the server as they are, but for those that only a resume needs, and besides
// {source}, {endSegment} and {heard} of what is sent, {interrupted}, {resumed}, and last {ended: {status, message}}.
class Stream {
  constructor(url, config, on) {
    this.url = url;
    this.config = {...config, output: {tokenDetails: true, segmentStats: true}};
    this.on = on;
    this.log = new SourceLog();
    this.over = false;         // {ended} was said.
    this.closed = false;       // No more source comes.
    this.id = '';              // That of the session; empty: no server has begun it.
    this.segment = 1;          // The open segment, its tokens, and its token for a resume.
    this.ids = [];
    this.reads = [];
    this.token = '';
    this.next = null;          // The resume point of the next segment.
    this.rest = null;          // A target without tokens: only the end of its segment makes it certain.
    this.lostSince = 0;
    this.attempts = 0;
    this.idle = false;         // The server has ended an idle connection; more source opens another one.
    this.lastSource = Date.now();
    this.connect();
  }

  text(text) {
    this.on({source: {text}});
    this.send(this.log.append(text));
  }

  // `samples`: an Int16Array, `rate` of them a second.
  audio(samples, rate) {
    this.on({heard: {duration: `${samples.length / rate}s`}});
    this.send(this.log.append(samples));
  }

  endSegment() {
    this.on({endSegment: {}});
    this.send(this.log.endSegment());
  }

  // No more source comes; the translation of what was sent still does.
  close() {
    if (this.closed) return;
    this.closed = true;
    this.send('{"endSession":{}}');
  }

  send(data) {
    this.lastSource = Date.now();
    if (data === null || this.over) return;
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
    else if (this.idle) this.connect();
  }

  connect() {
    this.idle = false;
    this.error = this.summary = null;
    const socket = this.socket = new WebSocket(this.url, 'leapstream.v1');
    socket.onopen = () => this.begin(socket);
    socket.onmessage = (message) => {
      if (socket === this.socket && !this.over) this.take(JSON.parse(message.data));
    };
    socket.onclose = () => {
      if (socket === this.socket && !this.over) this.lost();
    };
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
    if (event.started) {
      this.start(event);
    } else if (event.target) {
      this.target(event);
    } else if (event.resumePoint) {
      this.point(event.resumePoint);
    } else if (event.segmentCompleted) {
      this.complete(event);
    } else if (event.error) {
      this.error = event.error;
    } else if (!event.heartbeat) {
      if (event.summary) this.summary = event.summary;
      this.on(event);
    }
  }

  start(event) {
    const {sessionId, effectiveConfig, limits} = event.started;
    const first = !this.id;
    this.id = sessionId;
    if (first) this.config = {...effectiveConfig, output: this.config.output};
    this.lostSince = this.attempts = 0;
    clearInterval(this.alive);
    const idle = 1000 * parseFloat((limits || {}).idleTimeout || '0');
    if (idle > 0) this.alive = setInterval(() => this.keepAlive(), idle / 3);
    this.on(first ? event : {resumed: {}});
  }

  keepAlive() {
    if (this.socket.readyState !== WebSocket.OPEN || this.closed) return;
    if (Date.now() - this.lastSource < KEPT_ALIVE_MS) this.socket.send('{"keepAlive":{}}');
  }

  target(event) {
    const tokens = event.target.tokens || [];
    if (tokens.length === 0 && this.token) {
      this.rest = event;
      return;
    }
    for (const token of tokens) {
      this.ids.push(token.id || 0);
      this.reads.push(token.sourceTokensRead || 0);
    }
    this.on(event);
  }

  get byPauses() {
    return parseFloat((this.config.pauseDetection || {}).minDuration || '0') > 0;
  }

  point({segment, resumeToken, consumedSourceSequence}) {
    const consumed = Number(consumedSourceSequence || 0);
    if (Number(segment) === this.segment) {
      this.token = resumeToken;
      if (this.byPauses) this.log.consume(consumed, true);
    } else if (Number(segment) === this.segment + 1) {
      this.next = {token: resumeToken, consumed};
    }
  }

  complete(event) {
    if (this.rest) this.on(this.rest);
    if (event.segmentCompleted.continues) {
      if (this.next) this.log.consume(this.next.consumed, false);
    } else if (!this.byPauses) {
      this.log.complete();
    } else if (this.next) {
      this.log.consume(this.next.consumed, true);
    }
    ++this.segment;
    this.token = this.next ? this.next.token : '';
    this.next = this.rest = null;
    this.ids = [];
    this.reads = [];
    this.on(event);
  }

  // The connection is over.
  lost() {
    clearInterval(this.alive);
    this.rest = this.next = null;
    const {error} = this;
    if (!error && this.summary) return this.end('OK', '');
    if (error && error.reason === 'IDLE_TIMEOUT' && this.token && !this.closed) {
      this.idle = true;
      return;
    }
    const now = Date.now();
    if (!this.lostSince) {
      this.lostSince = now;
      if (!error || this.id) this.on({interrupted: {message: error ? error.message : 'the connection broke'}});
    }
    // An error without a reason is no server's: something on the way broke the connection.
    const again = !error || !error.reason || (this.id && RETRIED.includes(error.status));
    if (!again || (this.id && !this.token) || now - this.lostSince > GIVE_UP_MS) {
      return this.end(error ? error.status : 'UNAVAILABLE',
                      error ? error.message : 'no server answered; start again later');
    }
    const pause = this.attempts === 0 ? 0 : Math.min(LONGEST_PAUSE_MS, 100 * 2 ** this.attempts);
    const least = error && error.retryDelay && this.attempts > 0 ? 1000 * parseFloat(error.retryDelay) : 0;
    ++this.attempts;
    setTimeout(() => this.connect(), Math.max(least, pause * (0.5 + Math.random() / 2)));
  }

  end(status, message) {
    this.over = true;
    this.on({ended: {status, message}});
  }
}

// Reads the captions of a session from their beginning, and goes on after a break. `on` hears the events of the
// session, and {gone: {}} if there is no such session any more.
function watchCaptions(url, on) {
  let last = -1, gone = false;
  const connect = () => {
    const socket = new WebSocket(last < 0 ? url : `${url}?after=${last}`, 'leapstream.v1');
    socket.onmessage = (message) => {
      const {number, event, error} = JSON.parse(message.data);
      if (error) {
        gone = error.status === 'NOT_FOUND';
        return;
      }
      if (!event) return;  // A heartbeat.
      last = number;
      on(event);
    };
    socket.onclose = (closed) => {
      if (gone) on({gone: {}});
      else if (closed.code !== 1000) setTimeout(connect, 1000);
    };
  };
  connect();
}
