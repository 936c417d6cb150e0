#ifndef LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_FORMAT_H_
#define LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_FORMAT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/hypotheses/hypothesis.h"
#include "nlohmann/json_fwd.hpp"

namespace leapstream::client {

// The forms in which recognisers give hypotheses. Each but kWhisperStreaming is a sequence of JSON
// objects. Names of members are taken in any case, with or without "_" ("is_final", "isFinal",
// "IsFinal"); members that are not listed here are ignored.
enum class HypothesisFormat {
  // {"text": TEXT, "final": false, "stable_words": 0, "start": SECONDS, "end": SECONDS}, of which
  // only "text" must be there; "is_final" is taken for "final", too.
  kJson,
  kVosk,    // {"partial": TEXT} and {"text": TEXT}, as Vosk and its server give them.
  kGoogle,  // StreamingRecognizeResponse of Google Cloud Speech-to-Text and of NVIDIA Riva.
  // Speech service's {"Text": TEXT} and {"RecognitionStatus": …, "DisplayText": TEXT}, or an event
  // of its SDK, {"type": "recognizing" or "recognized", "text": TEXT}, also with "reason" for
  // "type".
  kAzure,
  kAws,       // TranscriptEvent of Amazon Transcribe.
  kDeepgram,  // "Results" of Deepgram.
  // Lines "emission begin end text", times in ms, as whisper_streaming writes them. Text of a line
  // never changes.
  kWhisperStreaming,
  // SimulStreaming's objects {"text": TEXT, "is_final": BOOL, "start": SECONDS, "end": SECONDS}, of
  // which only one of the first two must be there, or its lines as of whisper_streaming. Text never
  // changes; without a space at its beginning it goes on within the last word.
  kSimulStreaming,
};

// Names of the formats: "json", "vosk", "google", "riva" (which is "google"), "azure", "aws",
// "deepgram", "whisper-streaming", "simulstreaming".
const std::vector<std::string>& HypothesisFormatNames();
// nullopt: `name` is none of these.
std::optional<HypothesisFormat> HypothesisFormatOf(absl::string_view name);

// Whether the format is lines of text, and whether it is JSON; SimulStreaming's is both.
bool HasLines(HypothesisFormat format);
bool HasObjects(HypothesisFormat format);

// The hypotheses in one message of a recogniser, which may have none. Text of SimulStreaming is as
// it came: only HypothesisReader puts its words together. INVALID_ARGUMENT: it is no message of the
// format; the message says what is wanted.
absl::StatusOr<std::vector<SourceHypothesis>> ParseHypotheses(HypothesisFormat format,
                                                        const nlohmann::json& message);
// Does the same with a line "emission begin end text".
absl::StatusOr<SourceHypothesis> ParseHypothesisLine(absl::string_view line);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_FORMAT_H_
