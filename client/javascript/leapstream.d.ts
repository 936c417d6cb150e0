// The types of leapstream.js. The messages are those of proto/leapstream/v1 in protobuf's JSON: fields without a value
// are left out, 64-bit numbers and durations are strings ("12", "0.600s"). openapi.json and asyncapi.json of a server
// have all of them.

export interface Policy {
  waitK?: {k?: number; writeStride?: number; countWords?: boolean};
  offline?: Record<string, never>;
  learned?: Record<string, never>;
  localAgreement?: {n?: number; maxLag?: number};
  holdN?: {n?: number; maxLag?: number};
  alignAtt?: {frames?: number; maxLag?: number};
  adaptiveWaitK?: {minK?: number; maxK?: number; minKThreshold?: number; maxKThreshold?: number};
  maxTargetTokens?: number;
  maxLengthA?: number;
  maxLengthB?: number;
  earlyEnd?: 'EARLY_END_STOP' | 'EARLY_END_SUPPRESS' | 'EARLY_END_READ_ON' | 'EARLY_END_FORCE_FINISH';
  maxTargetTokensAfterSource?: number;
  continueInNextSegment?: boolean;
  beamSearch?: BeamSearch;
  readTokens?: number;
  readWords?: number;
  past?: 'PAST_FROZEN' | 'PAST_REFRESHED';
  prefixEnd?: boolean;
  readMs?: number;
}

export interface BeamSearch {
  beam?: number;
  lengthPenalty?: number;
  maxLengthA?: number;
  maxLengthB?: number;
  minLength?: number;
  noRepeatNgram?: number;
  nBest?: number;
  unnormalized?: boolean;
  unknownPenalty?: number;
  temperature?: number;
  matchSourceLength?: boolean;
}

export type TextSegmentation = 'TEXT_SEGMENTATION_OFF' | 'TEXT_SEGMENTATION_SENTENCES';

export interface SessionConfig {
  model?: string;
  sourceLanguageCode?: string;
  targetLanguageCode?: string;
  policy?: Policy;
  inputFormat?: 'INPUT_FORMAT_TEXT' | 'INPUT_FORMAT_PCM_S16LE' | 'INPUT_FORMAT_PCM_F32LE';
  output?: {tokenDetails?: boolean; logProbs?: boolean; segmentStats?: boolean};
  idleTimeout?: string;
  sampleRateHertz?: number;
  pauseDetection?: {minDuration?: string; thresholdDb?: number};
  textSegmentation?: TextSegmentation;
  // For text; see docs/terms.md. Without a glossary the server's own holds, and one without terms is none at all.
  glossary?: Glossary;
  keepMarkup?: boolean;
}

export interface Glossary {
  terms?: Term[];
}

// A term without a target is not translated.
export interface Term {
  source: string;
  target?: string;
}

// The terms of a text like that of glossary files: in each line a source term, a tab or " = ", and its target.
export declare function glossaryTerms(text: string): Term[];

export interface Token {
  id?: number;
  piece?: string;
  sourceTokensRead?: number;
  logProb?: number;
  emitOffset?: string;
  sourceAudioMs?: number;
}

export interface SegmentStats {
  sourceTokens?: number;
  targetTokens?: number;
  averageLagging?: number;
  lengthAdaptiveAverageLagging?: number;
  [figure: string]: unknown;
}

// One of these is set.
export interface StreamEvent {
  started?: {sessionId: string; model: string; modelChecksum: string; effectiveConfig: SessionConfig;
             limits: {maxChunkBytes?: number; idleTimeout?: string; [limit: string]: unknown}};
  // Text to append to that of the segment. It is never taken back.
  target?: {segment: string; text?: string; sequence?: string; tokens?: Token[]; sourceTokensRead?: number;
            sourceAudioMs?: number};
  segmentCompleted?: {segment: string; text?: string; finishReason?: string; stats?: SegmentStats; continues?: boolean;
                      sourceDropped?: boolean; untranslatedSourceTokens?: number};
  goingAway?: {remainingDuration?: string; reason?: string};
  // The server is lost, or none is there. Another one is being looked for.
  interrupted?: {error: LeapstreamError};
  // The stream goes on, and nothing was lost.
  resumed?: {gapMs: number};
  // The segment's source begins behind the chunk of this number, or within the next one.
  segmentBegins?: {segment: string; afterSequence: number};
  // The address part of captions, for a stream that others may watch.
  captions?: {id: string};
  // The last event.
  summary?: {segments?: string; sourceTokens?: string; targetTokens?: string; totals?: SegmentStats;
             untranslatedSourceTokens?: string; droppedSourceBytes?: string; usage?: Usage};
}

// The use that a call counted for its principal.
export interface Usage {
  sourceCharacters?: string;
  sourceAudioMs?: number;
  targetTokens?: string;
}

export interface TranslateRequest {
  model?: string;
  sourceLanguageCode?: string;
  targetLanguageCode?: string;
  policy?: Policy;
  beamSearch?: BeamSearch;
  textSegmentation?: TextSegmentation;
  glossary?: Glossary;
  keepMarkup?: boolean;
}

export interface TranslateResponse {
  text?: string;
  stats?: SegmentStats;
  segments?: {hypotheses?: {text?: string; score?: number}[]}[];
  usage?: Usage;
}

export interface Model {
  name: string;
  sourceLanguageCodes?: string[];
  targetLanguageCodes?: string[];
  sourceKind?: 'SOURCE_KIND_TEXT' | 'SOURCE_KIND_SPEECH';
  policies?: string[];
  defaultK?: number;
  license?: string;
  origin?: string;
  [field: string]: unknown;
}

export declare class LeapstreamError extends Error {
  readonly status: string;
  readonly reason: string;
  readonly retryDelayMs: number;
}

export type Source = {text: string; audio?: undefined; endSegment?: undefined}
  | {audio: Uint8Array; text?: undefined; endSegment?: undefined}
  | {endSegment: true; text?: undefined; audio?: undefined};

export interface SavedStream {
  readonly config: SessionConfig;
  readonly id: string;
  readonly closed: boolean;
  readonly source: {readonly segments: readonly unknown[]; readonly sequence: number};
  readonly [part: string]: unknown;
}

export interface StreamOptions {
  // A key with which others may watch the stream.
  captions?: string;
  // How long after its last source a stream is kept alive; as long as it is open, unless this is set.
  keepAliveMs?: number;
}

export declare class Stream implements AsyncIterable<StreamEvent> {
  private constructor();
  // These two return the number of the chunk, or of the last one.
  text(text: string): number;
  audio(samples: Int16Array | Float32Array | Uint8Array | ArrayBuffer): number;
  endSegment(): void;
  close(): void;
  cancel(): void;
  // For Client.restore(), in another page or process: JSON, but for the Uint8Arrays of audio.
  save(): SavedStream;
  // The source without a complete translation, for another session if this one cannot go on.
  untranslated(): Source[];
  [Symbol.asyncIterator](): AsyncIterator<StreamEvent>;
}

export interface ClientOptions {
  token?: string;
  // A constructor like the browser's, for programs that have none: that of the package ws.
  WebSocket?: unknown;
  fetch?: typeof fetch;
}

export declare class Client {
  constructor(url: string | URL, options?: ClientOptions);
  stream(config?: SessionConfig, options?: StreamOptions): Stream;
  // Goes on with a stream that was saved and is gone.
  restore(saved: SavedStream, options?: StreamOptions): Stream;
  translate(text: string, request?: TranslateRequest): Promise<TranslateResponse>;
  models(): Promise<Model[]>;
  captions(id: string): AsyncGenerator<Record<string, unknown>>;
}
