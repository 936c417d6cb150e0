#include "client/cli/event_reader.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/characters.h"
#include "client/hypotheses/json_object.h"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;

constexpr size_t kShownBytes = 60;
constexpr int kMaxDepth = 32;  // Most nested objects in an event; ours have five.

// Turns "segmentCompleted" into "segment_completed".
std::string SnakeCase(const std::string& name) {
  std::string result;
  for (const char c : name) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c))) result += '_';
    result += absl::ascii_tolower(static_cast<unsigned char>(c));
  }
  return result;
}

Json WithSnakeCase(Json value) {
  if (value.is_array()) {
    for (Json& element : value) element = WithSnakeCase(std::move(element));
  }
  if (!value.is_object()) return value;
  Json result = Json::object();
  for (auto& [name, member] : value.items()) {
    result[SnakeCase(name)] = WithSnakeCase(std::move(member));
  }
  return result;
}

// A 64-bit number is a text in protobuf's JSON, and a member that is zero may be missing.
void ReadNumber(Json& object, const char* name) {
  Json& member = object[name];
  int64_t number = 0;
  if (member.is_null()) member = 0;
  if (member.is_string() && absl::SimpleAtoi(member.get<std::string>(), &number)) member = number;
}

// Returns `answer`, a StreamTranslateResponse, in our shape; null if it is none.
Json FromProtobuf(Json answer) {
  static constexpr std::array<std::pair<const char*, const char*>, 7> kEvents = {{
      {"started", "started"},
      {"target", "target"},
      {"segment_completed", "segment"},
      {"resume_point", "resume_point"},
      {"going_away", "going_away"},
      {"heartbeat", "heartbeat"},
      {"summary", "summary"},
  }};
  if (answer.size() != 1) return nullptr;
  const std::string name = SnakeCase(answer.begin().key());
  const auto kind = std::find_if(kEvents.begin(), kEvents.end(),
                                 [&](const auto& event) { return event.first == name; });
  if (kind == kEvents.end() || !answer.begin()->is_object()) return nullptr;
  Json event = WithSnakeCase(std::move(*answer.begin()));
  event["event"] = kind->second;
  if (name != "target" && name != "segment_completed") return event;
  ReadNumber(event, "segment");
  if (!event.contains("text")) event["text"] = "";
  if (name != "target") return event;
  Json& tokens = event["tokens"];
  if (tokens.is_null()) tokens = Json::array();
  if (!tokens.is_array()) return event;
  for (Json& token : tokens) {
    if (!token.is_object()) continue;
    ReadNumber(token, "source_tokens_read");
    if (!token.contains("piece")) token["piece"] = "";
  }
  return event;
}

constexpr char kSpace[] = " \t\r";

}  // namespace

bool EventReader::NextLine() {
  if (rest_.find_first_not_of(kSpace) != std::string::npos) return true;
  while (std::getline(*input_, rest_)) {
    ++line_;
    if (line_ == 1 && absl::StartsWith(rest_, kByteOrderMark)) {
      rest_.erase(0, kByteOrderMark.size());
    }
    if (rest_.find_first_not_of(kSpace) != std::string::npos) return true;
  }
  rest_.clear();
  return false;
}

bool EventReader::ReadObject() {
  text_.clear();
  int open = 0;
  while (NextLine()) {
    size_t end = rest_.size();  // What begins no object is an event of its own, a wrong one.
    const bool object = open > 0 || rest_[rest_.find_first_not_of(kSpace)] == '{';
    if (object) end = EndOfJsonObject(rest_, &open);
    if (text_.empty()) began_ = line_;
    absl::StrAppend(&text_, text_.empty() ? "" : "\n", absl::string_view(rest_).substr(0, end));
    rest_.erase(0, end == std::string::npos ? rest_.size() : end);
    if (end != std::string::npos) return true;
  }
  return !text_.empty();
}

absl::StatusOr<std::optional<Json>> EventReader::Next() {
  if (!ReadObject()) return std::optional<Json>();
  Json event = Json::parse(
      text_, [](int depth, Json::parse_event_t, Json&) { return depth < kMaxDepth; },
      /*allow_exceptions=*/false);
  if (event.is_object() && !event.contains("event")) event = FromProtobuf(std::move(event));
  if (!event.is_object() || !event["event"].is_string()) return NotAnEvent();
  return std::optional<Json>(std::in_place, std::move(event));
}

absl::Status EventReader::NotAnEvent() const {
  return absl::InvalidArgumentError(absl::StrCat(
      "line ", began_,
      ": want an event of `leapstream translate --json` or --trace, or one of StreamTranslate as "
      "grpcurl prints it, got ",
      absl::Utf8SafeCHexEscape(absl::string_view(text_).substr(0, kShownBytes))));
}

}  // namespace leapstream::client
