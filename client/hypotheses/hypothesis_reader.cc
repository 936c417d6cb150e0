#include "client/hypotheses/hypothesis_reader.h"

#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/scripts.h"
#include "base/status.h"
#include "base/utf8.h"
#include "client/hypotheses/json_object.h"
#include "metrics/unicode.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostBytes = 1 << 20;
constexpr size_t kMostWordBytes = 64 << 10;  // A longer word is given out before it is complete.
constexpr int kMaxDepth = 32;  // Most objects and arrays within another; AWS has eight.
constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr absl::string_view kBetween = " \t,[]";  // Objects may stand in an array.

}  // namespace

absl::Status HypothesisReader::AtLine(int64_t line, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, " of the hypotheses: ", message));
}

absl::Status HypothesisReader::Append(absl::string_view bytes, std::vector<SourceHypothesis>& out) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    absl::StrAppend(&pending_, bytes.substr(0, end));
    if (pending_.size() > kMostBytes) {
      return AtLine(line_ + 1, absl::StrCat("want ", kMostBytes, " bytes at most, got more"));
    }
    if (end == absl::string_view::npos) return absl::OkStatus();
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(pending_, "");
    LEAPSTREAM_RETURN_IF_ERROR(TakeLine(line, out));
  }
  return absl::OkStatus();
}

absl::Status HypothesisReader::Finish(std::vector<SourceHypothesis>& out) {
  const std::string line = std::exchange(pending_, "");
  if (!line.empty()) LEAPSTREAM_RETURN_IF_ERROR(TakeLine(line, out));
  FinishWord(out);
  if (!object_.empty()) {
    return AtLine(began_, absl::StrCat("want a whole JSON object, but the input ends within ",
                                       Quoted(object_)));
  }
  if (messages_ > 0 && !has_hypotheses_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want hypotheses, but none of ", messages_,
        " messages of the recogniser has one; is --hypotheses the recogniser's format?"));
  }
  return absl::OkStatus();
}

absl::Status HypothesisReader::TakeLine(absl::string_view line,
                                        std::vector<SourceHypothesis>& out) {
  if (++line_ == 1) absl::ConsumePrefix(&line, kByteOrderMark);
  absl::ConsumeSuffix(&line, "\r");
  if (const size_t valid = Utf8PrefixBytes(line); valid < line.size()) {
    return AtLine(line_, absl::StrCat("want UTF-8, got none at byte ", valid + 1));
  }
  while (true) {
    if (object_.empty()) {
      const size_t begin = line.find_first_not_of(HasObjects(format_) ? kBetween : " \t");
      if (begin == absl::string_view::npos) return absl::OkStatus();
      line.remove_prefix(begin);
      if (HasLines(format_) && (line[0] != '{' || !HasObjects(format_))) {
        ++messages_;
        absl::StatusOr<SourceHypothesis> hypothesis = ParseHypothesisLine(line);
        if (!hypothesis.ok()) return AtLine(line_, hypothesis.status().message());
        Take(*std::move(hypothesis), out);
        return absl::OkStatus();
      }
      began_ = line_;
      if (line[0] != '{') {
        return AtLine(line_, absl::StrCat("want a JSON object, got ", Quoted(line)));
      }
    }
    const size_t end = EndOfJsonObject(line, &open_);
    absl::StrAppend(&object_, object_.empty() ? "" : "\n", line.substr(0, end));
    if (object_.size() > kMostBytes) {
      return AtLine(began_,
                    absl::StrCat("want an object of ", kMostBytes, " bytes at most, got more"));
    }
    if (end == absl::string_view::npos) return absl::OkStatus();
    LEAPSTREAM_RETURN_IF_ERROR(TakeObject(out));
    line.remove_prefix(end);
  }
}

absl::Status HypothesisReader::TakeObject(std::vector<SourceHypothesis>& out) {
  ++messages_;
  open_ = 0;
  const std::string text = std::exchange(object_, "");
  bool too_deep = false;
  const auto shallow = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth >= kMaxDepth;
    return depth < kMaxDepth;
  };
  const Json message = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!message.is_object() || too_deep) {
    return AtLine(began_, absl::StrCat("want a JSON object", too_deep ? " of less depth" : "",
                                       ", got ", Quoted(text)));
  }
  absl::StatusOr<std::vector<SourceHypothesis>> hypotheses = ParseHypotheses(format_, message);
  if (!hypotheses.ok()) return AtLine(began_, hypotheses.status().message());
  for (SourceHypothesis& hypothesis : *hypotheses) Take(std::move(hypothesis), out);
  return absl::OkStatus();
}

void HypothesisReader::Take(SourceHypothesis hypothesis, std::vector<SourceHypothesis>& out) {
  has_hypotheses_ = true;
  if (format_ != HypothesisFormat::kSimulStreaming) return out.push_back(std::move(hypothesis));
  // Each text is appended to the ones before. Its last word is held back, as the next text may go
  // on within it, unless its script has no spaces.
  const bool ends = std::exchange(hypothesis.pause, false);
  std::string text = absl::StrCat(word_.text, hypothesis.text);
  const std::optional<absl::Duration> begin = hypothesis.begin;
  if (word_.begin.has_value()) hypothesis.begin = word_.begin;
  size_t cut = 0;
  size_t size = 0;
  for (size_t at = 0; at < text.size(); at += size) {
    const char32_t c = metrics::FirstCodePoint(absl::string_view(text).substr(at), &size);
    if (IsPythonSpace(c)) cut = at;
    if (IsOfScriptWithoutSpaces(c)) cut = at + size;
  }
  if (text.size() - cut > kMostWordBytes) cut = text.size();
  word_ = hypothesis;
  if (cut > 0) word_.begin = begin;
  word_.text = text.substr(cut);
  if (word_.text.empty()) word_ = SourceHypothesis();
  if (ends) {
    hypothesis.text = std::move(text);
    word_ = SourceHypothesis();
  } else {
    hypothesis.text = text.substr(0, cut);
    if (metrics::StripSpace(hypothesis.text).empty()) return;
  }
  hypothesis.final = true;
  hypothesis.pause = ends;
  out.push_back(std::move(hypothesis));
}

void HypothesisReader::FinishWord(std::vector<SourceHypothesis>& out) {
  if (metrics::StripSpace(word_.text).empty()) return;
  word_.final = true;
  out.push_back(std::exchange(word_, SourceHypothesis()));
}

}  // namespace leapstream::client
