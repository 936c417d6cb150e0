#include "client/cli/plot.h"

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cli/event_reader.h"
#include "client/evaluation/svg.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxSegments = 200;  // A document with more is no picture.
constexpr int64_t kMaxColumns = 10000;

}  // namespace

absl::StatusOr<std::string> PlotEvents(std::istream& events) {
  std::map<int64_t, Staircase> segments;
  EventReader reader(&events);
  while (true) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::optional<Json> next, reader.Next());
    if (!next.has_value()) break;
    const Json& json = *next;
    const std::string event = json["event"];
    if (event != "target" && event != "segment") continue;
    const auto segment = json.find("segment");
    if (segment == json.end() || !segment->is_number_integer()) return reader.NotAnEvent();
    const auto number_of = segment->get<int64_t>();
    if (segments.size() == kMaxSegments && segments.count(number_of) == 0) continue;
    Staircase& stairs = segments[number_of];
    if (event == "segment") {
      stairs.title = absl::StrCat("Segment ", number_of);
      const auto stats = json.find("stats");
      if (stats == json.end() || !stats->is_object()) continue;
      const auto al = stats->find("average_lagging");
      const auto source = stats->find("source_tokens");
      if (al != stats->end() && al->is_number()) {
        absl::StrAppendFormat(&stairs.title, ": average lagging %.2f source pieces",
                              al->get<double>());
      }
      if (source != stats->end() && source->is_number_integer()) {
        const auto columns = source->get<int64_t>();
        if (columns > 0 && columns <= kMaxColumns) {
          stairs.source_length = static_cast<int>(columns);
        }
      }
      continue;
    }
    const auto tokens = json.find("tokens");
    if (tokens == json.end() || !tokens->is_array()) return reader.NotAnEvent();
    for (const Json& token : *tokens) {
      if (!token.is_object() || !token.contains("piece") || !token["piece"].is_string() ||
          !token.contains("source_tokens_read") ||
          !token["source_tokens_read"].is_number_integer()) {
        return reader.NotAnEvent();
      }
      const int64_t read = token["source_tokens_read"];
      if (read < 0 || read > kMaxColumns) return reader.NotAnEvent();
      stairs.target.push_back(token["piece"]);
      stairs.delays.push_back(static_cast<int>(read));
    }
  }
  std::vector<Staircase> staircases;
  for (auto& [segment, stairs] : segments) {
    if (stairs.target.empty()) continue;
    if (stairs.title.empty()) stairs.title = absl::StrCat("Segment ", segment);
    staircases.push_back(std::move(stairs));
  }
  if (staircases.empty()) {
    return absl::InvalidArgumentError(
        "want events with a target token, got none; record some with `leapstream translate --json "
        "> events.jsonl`, or ask the server for output.token_details");
  }
  return StaircaseSvg(staircases);
}

}  // namespace leapstream::client
