#include "client/hypotheses/hypothesis_format.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/utf8.h"
#include "metrics/unicode.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;
using Hypotheses = std::vector<SourceHypothesis>;

constexpr double kMostSeconds = 1e8;  // Three years.

absl::Status Want(absl::string_view wanted, absl::string_view got) {
  return absl::InvalidArgumentError(absl::StrCat("want ", wanted, ", got ", Quoted(got)));
}

absl::Status Want(absl::string_view wanted, const Json& got) {
  const std::string text = got.dump(-1, ' ', false, Json::error_handler_t::replace);
  return Want(wanted, absl::string_view(text));
}

// Whether `key` is `name` but for case and "_". `name` is in lower case.
bool IsName(absl::string_view key, absl::string_view name) {
  size_t at = 0;
  for (const char c : key) {
    if (c == '_') continue;
    if (at == name.size() || absl::ascii_tolower(static_cast<unsigned char>(c)) != name[at]) {
      return false;
    }
    ++at;
  }
  return at == name.size();
}

// The member of that name, in lower case; null: there is none.
const Json& Member(const Json& object, absl::string_view name) {
  static const Json* const none = new Json();
  if (!object.is_object()) return *none;
  for (auto it = object.begin(); it != object.end(); ++it) {
    if (IsName(it.key(), name)) return *it;
  }
  return *none;
}

const Json& First(const Json& array) {
  static const Json* const none = new Json();
  return array.is_array() && !array.empty() ? array.front() : *none;
}

bool IsTrue(const Json& value) { return value.is_boolean() && value.get<bool>(); }
bool IsBoolOrAbsent(const Json& value) { return value.is_boolean() || value.is_null(); }

// A time in the audio; nullopt: it is no number, or none that can be a time.
std::optional<absl::Duration> Time(const Json& seconds) {
  if (!seconds.is_number()) return std::nullopt;
  const auto value = seconds.get<double>();
  if (!(value >= 0 && value <= kMostSeconds)) return std::nullopt;
  return absl::Seconds(value);
}

absl::StatusOr<Hypotheses> FromJson(const Json& message) {
  constexpr absl::string_view kWanted =
      R"({"text": TEXT, "final": BOOL, "stable_words": NUMBER}, of which "text" must be there)";
  const Json& text = Member(message, "text");
  const Json* final = &Member(message, "final");
  if (final->is_null()) final = &Member(message, "isfinal");
  const Json& stable = Member(message, "stablewords");
  if (!text.is_string() || !IsBoolOrAbsent(*final) ||
      !(stable.is_null() || stable.is_number_unsigned())) {
    return Want(kWanted, message);
  }
  SourceHypothesis result;
  result.text = text.get<std::string>();
  result.final = result.pause = IsTrue(*final);
  if (!stable.is_null()) {
    result.stable_words = static_cast<int>(std::min<uint64_t>(stable.get<uint64_t>(), 1 << 30));
  }
  result.begin = Time(Member(message, "start"));
  result.end = Time(Member(message, "end"));
  return Hypotheses{result};
}

SourceHypothesis Final(std::string text) {
  SourceHypothesis result;
  result.text = std::move(text);
  result.final = result.pause = true;
  return result;
}

SourceHypothesis Partial(std::string text) {
  SourceHypothesis result;
  result.text = std::move(text);
  return result;
}

absl::StatusOr<Hypotheses> FromVosk(const Json& message) {
  const Json& partial = Member(message, "partial");
  if (partial.is_string()) return Hypotheses{Partial(partial.get<std::string>())};
  const Json* text = &Member(message, "text");
  // With more than one alternative there is no other text.
  if (text->is_null()) text = &Member(First(Member(message, "alternatives")), "text");
  if (text->is_string()) return Hypotheses{Final(text->get<std::string>())};
  return Want(R"(Vosk's {"partial": TEXT} or {"text": TEXT})", message);
}

int CountWords(absl::string_view text) {
  return static_cast<int>(metrics::SplitWords(text).size());
}

absl::StatusOr<Hypotheses> FromGoogle(const Json& message) {
  constexpr absl::string_view kWanted =
      R"(a StreamingRecognizeResponse, {"results": [{"alternatives": [{"transcript": TEXT}], )"
      R"("is_final": BOOL, "stability": NUMBER}]})";
  const Json& results = Member(message, "results");
  if (results.is_null() && message.is_object() && Member(message, "error").is_null()) {
    return Hypotheses{};  // An event of the stream, such as the end of speech.
  }
  if (!results.is_array()) return Want(kWanted, message);
  Hypotheses hypotheses;
  // The results are one after another in the audio. Those that are final come first.
  SourceHypothesis open;
  bool is_open = false;
  bool stable = true;
  for (const Json& result : results) {
    const Json& transcript = Member(First(Member(result, "alternatives")), "transcript");
    const Json& final = Member(result, "isfinal");
    if (!result.is_object()) return Want(kWanted, message);
    if (transcript.is_null() && !IsTrue(final)) continue;  // Nothing was said.
    if (!(transcript.is_string() || transcript.is_null()) || !IsBoolOrAbsent(final)) {
      return Want(kWanted, message);
    }
    const std::string text = transcript.is_null() ? "" : transcript.get<std::string>();
    if (IsTrue(final)) {
      hypotheses.push_back(Final(text));
      continue;
    }
    is_open = true;
    open.text += text;
    // Stability is a likelihood. Only 1 is a promise; for the rest, hypotheses have to agree.
    const Json& stability = Member(result, "stability");
    stable = stable && stability.is_number() && stability.get<double>() >= 0.999;
    if (stable) open.stable_words = CountWords(open.text);
  }
  if (is_open) hypotheses.push_back(open);
  return hypotheses;
}

absl::StatusOr<Hypotheses> FromAzure(const Json& message) {
  constexpr absl::string_view kWanted =
      R"(the speech service's {"Text": TEXT} or {"RecognitionStatus": STATUS, "DisplayText": TEXT}, )"
      R"(or {"type": "recognizing" or "recognized", "text": TEXT})";
  if (!message.is_object()) return Want(kWanted, message);
  const Json& nested = Member(message, "result");
  const Json& result = nested.is_object() ? nested : message;
  const Json* text = &Member(result, "displaytext");
  if (text->is_null()) text = &Member(result, "text");
  if (text->is_null()) text = &Member(First(Member(result, "nbest")), "display");
  if (!text->is_null() && !text->is_string()) return Want(kWanted, message);
  const std::string words = text->is_null() ? "" : text->get<std::string>();

  const Json& status = Member(result, "recognitionstatus");
  if (status.is_string() || status.is_number()) {  // A final that was no success has no text.
    if (status == "Error") return Want("a recogniser without an error", message);
    return Hypotheses{Final(words)};
  }
  for (const Json* kind :
       {&Member(message, "type"), &Member(message, "event"), &Member(result, "reason")}) {
    if (!kind->is_string()) continue;
    const std::string name = absl::AsciiStrToLower(kind->get<std::string>());
    if (absl::StrContains(name, "recognizing") || absl::StrContains(name, "hypothesis")) {
      if (text->is_null()) return Want(kWanted, message);
      return Hypotheses{Partial(words)};
    }
    if (absl::StrContains(name, "recognized") || absl::StrContains(name, "phrase") ||
        absl::StrContains(name, "nomatch")) {
      return Hypotheses{Final(words)};
    }
    if (text->is_null()) return Hypotheses{};  // Another event, such as the start of the session.
  }
  // The SDK's numbers for a reason.
  const Json& reason = Member(result, "reason");
  if (reason == 2) return Hypotheses{Partial(words)};
  if (reason == 3 || reason == 0) return Hypotheses{Final(words)};
  if (Member(result, "displaytext").is_string()) return Hypotheses{Final(words)};
  if (text->is_string()) return Hypotheses{Partial(words)};
  return Want(kWanted, message);
}

// Returns how many whole words of `transcript` its first items are that are stable. Items are words
// and marks; in a script without spaces several are one word.
int StableWords(absl::string_view transcript, const Json& items) {
  if (!items.is_array()) return 0;
  size_t at = 0;
  for (const Json& item : items) {
    const Json& content = Member(item, "content");
    if (!content.is_string() || !IsTrue(Member(item, "stable"))) break;
    const std::string text = content.get<std::string>();
    const size_t found = transcript.find(text, at);
    if (found == absl::string_view::npos) break;
    at = found + text.size();
  }
  size_t size = 0;
  const bool is_whole = at == transcript.size() ||
                        IsPythonSpace(metrics::FirstCodePoint(transcript.substr(at), &size));
  const int words = CountWords(transcript.substr(0, at));
  return is_whole || words == 0 ? words : words - 1;
}

absl::StatusOr<Hypotheses> FromAws(const Json& message) {
  constexpr absl::string_view kWanted =
      R"(a TranscriptEvent, {"Transcript": {"Results": [{"IsPartial": BOOL, "Alternatives": )"
      R"([{"Transcript": TEXT, "Items": [{"Content": TEXT, "Stable": BOOL}]}]}]}})";
  const Json& event = Member(message, "transcriptevent");
  const Json& outer = event.is_object() ? event : message;
  const Json& transcript = Member(outer, "transcript");
  const Json& results = Member(transcript.is_object() ? transcript : outer, "results");
  if (!results.is_array()) return Want(kWanted, message);
  Hypotheses hypotheses;
  for (const Json& result : results) {
    const Json& partial = Member(result, "ispartial");
    const Json& alternative = First(Member(result, "alternatives"));
    const Json& text = Member(alternative, "transcript");
    if (!partial.is_boolean() || !(text.is_string() || alternative.is_null())) {
      return Want(kWanted, message);
    }
    const std::string words = text.is_string() ? text.get<std::string>() : "";
    hypotheses.push_back(IsTrue(partial) ? Partial(words) : Final(words));
    hypotheses.back().stable_words = StableWords(words, Member(alternative, "items"));
  }
  return hypotheses;
}

absl::StatusOr<Hypotheses> FromDeepgram(const Json& message) {
  constexpr absl::string_view kWanted =
      R"(Deepgram's {"type": "Results", "channel": {"alternatives": [{"transcript": TEXT}]}, )"
      R"("is_final": BOOL, "speech_final": BOOL})";
  const Json& type = Member(message, "type");
  if (type.is_string() && type != "Results" && type != "Error") return Hypotheses{};
  const Json& transcript =
      Member(First(Member(Member(message, "channel"), "alternatives")), "transcript");
  const Json& final = Member(message, "isfinal");
  const Json& pause = Member(message, "speechfinal");
  if (!transcript.is_string() || !IsBoolOrAbsent(final) || !IsBoolOrAbsent(pause)) {
    return Want(kWanted, message);
  }
  SourceHypothesis result;
  result.text = transcript.get<std::string>();
  // A final result closes a stretch of the audio; the utterance ends with "speech_final".
  result.pause = IsTrue(pause);
  result.final = IsTrue(final) || result.pause;
  result.begin = Time(Member(message, "start"));
  const std::optional<absl::Duration> duration = Time(Member(message, "duration"));
  if (result.begin.has_value() && duration.has_value()) result.end = *result.begin + *duration;
  return Hypotheses{result};
}

absl::StatusOr<Hypotheses> FromSimulStreaming(const Json& message) {
  const Json& text = Member(message, "text");
  const Json& final = Member(message, "isfinal");
  if (!(text.is_string() || (text.is_null() && final.is_boolean())) || !IsBoolOrAbsent(final)) {
    return Want(R"({"text": TEXT, "is_final": BOOL}, of which one must be there)", message);
  }
  SourceHypothesis result;
  if (text.is_string()) result.text = text.get<std::string>();
  result.final = result.pause = IsTrue(final);
  result.begin = Time(Member(message, "start"));
  result.end = Time(Member(message, "end"));
  return Hypotheses{result};
}

}  // namespace

const std::vector<std::string>& HypothesisFormatNames() {
  static const auto* const names = new std::vector<std::string>{
      "json",          "vosk", "google", "riva", "azure", "aws", "deepgram", "whisper-streaming",
      "simulstreaming"};
  return *names;
}

std::optional<HypothesisFormat> HypothesisFormatOf(absl::string_view name) {
  if (name == "json") return HypothesisFormat::kJson;
  if (name == "vosk") return HypothesisFormat::kVosk;
  if (name == "google" || name == "riva") return HypothesisFormat::kGoogle;
  if (name == "azure") return HypothesisFormat::kAzure;
  if (name == "aws") return HypothesisFormat::kAws;
  if (name == "deepgram") return HypothesisFormat::kDeepgram;
  if (name == "whisper-streaming") return HypothesisFormat::kWhisperStreaming;
  if (name == "simulstreaming") return HypothesisFormat::kSimulStreaming;
  return std::nullopt;
}

bool HasLines(HypothesisFormat format) {
  return format == HypothesisFormat::kWhisperStreaming ||
         format == HypothesisFormat::kSimulStreaming;
}

bool HasObjects(HypothesisFormat format) { return format != HypothesisFormat::kWhisperStreaming; }

absl::StatusOr<Hypotheses> ParseHypotheses(HypothesisFormat format, const Json& message) {
  switch (format) {
    case HypothesisFormat::kVosk:
      return FromVosk(message);
    case HypothesisFormat::kGoogle:
      return FromGoogle(message);
    case HypothesisFormat::kAzure:
      return FromAzure(message);
    case HypothesisFormat::kAws:
      return FromAws(message);
    case HypothesisFormat::kDeepgram:
      return FromDeepgram(message);
    case HypothesisFormat::kSimulStreaming:
      return FromSimulStreaming(message);
    case HypothesisFormat::kJson:
    case HypothesisFormat::kWhisperStreaming:
      break;
  }
  return FromJson(message);
}

absl::StatusOr<SourceHypothesis> ParseHypothesisLine(absl::string_view line) {
  constexpr absl::string_view kWanted =
      R"(a line "emission begin end text", with three times in milliseconds)";
  absl::string_view rest = line;
  double times[3];
  for (double& time : times) {
    const size_t end = rest.find(' ');
    if (!absl::SimpleAtod(rest.substr(0, end), &time) || !(std::abs(time) <= 1000 * kMostSeconds)) {
      return Want(kWanted, line);
    }
    rest = end == absl::string_view::npos ? "" : rest.substr(end + 1);
  }
  SourceHypothesis result;
  result.text = std::string(rest);
  result.final = true;
  result.begin = absl::Milliseconds(times[1]);
  result.end = absl::Milliseconds(times[2]);
  return result;
}

}  // namespace leapstream::client
