#include "client/cli/plot.h"

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/evaluation/svg.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxSegments = 200;  // More is no picture.

}  // namespace

absl::StatusOr<std::string> PlotEvents(std::istream& events) {
  std::map<int64_t, Staircase> segments;
  int number = 0;
  for (std::string line; std::getline(events, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto not_an_event = [&] {
      return absl::InvalidArgumentError(absl::StrCat(
          "line ", number, ": want an event of `leapstream translate --json` or --trace, got ",
          absl::Utf8SafeCHexEscape(line.substr(0, 60))));
    };
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("event") || !json["event"].is_string()) {
      return not_an_event();
    }
    const std::string event = json["event"];
    if (event != "target" && event != "segment") continue;
    const auto segment = json.find("segment");
    if (segment == json.end() || !segment->is_number_integer()) return not_an_event();
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
        const int columns = source->get<int>();
        if (columns > 0 && columns <= 10000) stairs.source_length = columns;
      }
      continue;
    }
    const auto tokens = json.find("tokens");
    if (tokens == json.end() || !tokens->is_array()) return not_an_event();
    for (const Json& token : *tokens) {
      if (!token.is_object() || !token.contains("piece") || !token["piece"].is_string() ||
          !token.contains("source_tokens_read") ||
          !token["source_tokens_read"].is_number_integer()) {
        return not_an_event();
      }
      const int64_t read = token["source_tokens_read"];
      if (read < 0 || read > 10000) return not_an_event();
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
        "> "
        "events.jsonl`");
  }
  return StaircaseSvg(staircases);
}

}  // namespace leapstream::client
