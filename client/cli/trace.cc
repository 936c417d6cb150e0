#include "client/cli/trace.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/events_json.h"
#include "client/cli/lanes.h"
#include "client/cli/terminal.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;

absl::Status Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) == 0) return absl::OkStatus();
  return absl::DataLossError("nobody reads the output");
}

// A member of an event, or `otherwise` if it has none of that type.
template <typename T>
T Get(const Json& event, const char* name, T otherwise) {
  const auto found = event.find(name);
  if (found == event.end()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) {
    return found->is_string() ? found->get<std::string>() : otherwise;
  } else {
    return found->is_number() ? found->get<T>() : otherwise;
  }
}

absl::Status Show(const Json& event, const std::string& kind, Lanes* lanes) {
  const std::string text = Get<std::string>(event, "text", "");
  if (lanes == nullptr) {
    if (kind == "target") return Print(text);
    return kind == "segment" ? Print("\n") : absl::OkStatus();
  }
  if (kind == "source") {
    lanes->Source(text);
  } else if (kind == "source_end") {
    lanes->SourceEnd();
  } else if (kind == "target") {
    std::vector<int> reads;
    const auto tokens = event.find("tokens");
    if (tokens != event.end() && tokens->is_array()) {
      for (const Json& token : *tokens) {
        if (token.is_object()) {
          reads.push_back(std::clamp(Get<int>(token, "source_tokens_read", 0), 0, 100000));
        }
      }
    }
    lanes->Target(text, reads);
  } else if (kind == "segment") {
    std::optional<double> lagging;
    const auto stats = event.find("stats");
    if (stats != event.end() && stats->is_object() && Get<int>(*stats, "target_tokens", 0) > 0) {
      lagging = Get<double>(*stats, "average_lagging", 0);
    }
    lanes->TargetEnd(lagging);
  } else if (kind == "interrupted") {
    lanes->Note(absl::StrCat("no server: ", Get<std::string>(event, "message", "")));
  } else if (kind == "resumed") {
    lanes->Note(absl::StrCat("going on at ", Get<std::string>(event, "server", "")));
  }
  return Print(lanes->TakeOutput());
}

}  // namespace

absl::Status TraceWriter::Open(const std::string& path) {
  path_ = path;
  file_.open(path);
  start_ = SteadyNow();
  if (file_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("cannot write a trace to ", path));
}

void TraceWriter::Source(absl::string_view text) {
  if (is_open()) Write(Json{{"event", "source"}, {"text", std::string(text)}}.dump());
}

void TraceWriter::SourceEnd() {
  if (is_open()) Write(R"({"event":"source_end"})");
}

void TraceWriter::Add(const Event& event) {
  if (is_open()) Write(ToJson(event));
}

void TraceWriter::Write(absl::string_view json) {
  json.remove_prefix(1);  // The opening brace.
  file_ << absl::StreamFormat("{\"time\":%.6f,%s\n", absl::ToDoubleSeconds(SteadyNow() - start_),
                              json);
}

absl::Status TraceWriter::Close() {
  if (!is_open()) return absl::OkStatus();
  file_.close();
  if (file_) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("could not write all of the trace ", path_));
}

absl::Status Replay(std::istream& trace, const ReplayOptions& options) {
  std::unique_ptr<Lanes> lanes;
  if (CanDrawLanes()) lanes = std::make_unique<Lanes>(TerminalOptions());
  const SteadyTime start = SteadyNow();
  int number = 0;
  bool has_events = false;
  for (std::string line; std::getline(trace, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Json event = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::string kind =
        event.is_object() ? Get<std::string>(event, "event", "") : std::string();
    const double time = event.is_object() ? Get<double>(event, "time", -1) : -1;
    if (kind.empty() || !(time >= 0 && time < 1e7)) {
      if (lanes != nullptr) lanes->Finish();
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number,
                       ": want an event that `leapstream translate --trace` wrote, "
                       "got ",
                       absl::Utf8SafeCHexEscape(line.substr(0, 60))));
    }
    absl::SleepFor(start + absl::Seconds(time / options.speed) - SteadyNow());
    if (lanes != nullptr) lanes->Resize(TerminalOptions().columns);
    LEAPSTREAM_RETURN_IF_ERROR(Show(event, kind, lanes.get()));
    has_events = true;
  }
  if (!has_events) {
    return absl::InvalidArgumentError(
        "want a trace, events as `leapstream translate --trace FILE` records them, got none");
  }
  if (lanes == nullptr) return absl::OkStatus();
  lanes->Finish();
  return Print(lanes->TakeOutput());
}

}  // namespace leapstream::client
