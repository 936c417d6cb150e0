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
}

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
  // The server is lost. Another one is being looked for.
  interrupted?: {error: LeapstreamError};
  // The stream goes on, and nothing was lost.
  resumed?: {gapMs: number};
  // The address part of captions, for a stream that others may watch.
  captions?: {id: string};
  // The last event.
  summary?: {segments?: string; sourceTokens?: string; targetTokens?: string; totals?: SegmentStats;
             untranslatedSourceTokens?: string; droppedSourceBytes?: string; usage?: Usage};
}

// What a call counted for its principal.
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

export declare class Stream implements AsyncIterable<StreamEvent> {
  private constructor();
  text(text: string): void;
  audio(samples: Int16Array | Float32Array | Uint8Array | ArrayBuffer): void;
  endSegment(): void;
  close(): void;
  cancel(): void;
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
  stream(config?: SessionConfig, options?: {captions?: string}): Stream;
  translate(text: string, request?: TranslateRequest): Promise<TranslateResponse>;
  models(): Promise<Model[]>;
  captions(id: string): AsyncGenerator<Record<string, unknown>>;
}
