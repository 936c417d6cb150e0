#include "client/cli/trace.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/event_reader.h"
#include "client/cli/lanes.h"
#include "client/cli/output.h"
#include "client/cli/terminal.h"
#include "client/json/dump.h"
#include "client/json/events_json.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::json;

constexpr double kMaxTime = 1e7;  // Longest recording, in seconds.

absl::Status PrintText(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return FlushOutput();
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

// The time of the event in seconds since the session's start: as --trace recorded it, else as the
// server says of its last token, else `otherwise`. NaN: the event has a time that is none.
double TimeOf(const Json& event, double otherwise) {
  if (event.contains("time")) return Get<double>(event, "time", std::nan(""));
  const auto tokens = event.find("tokens");
  if (Get<std::string>(event, "event", "") == "target" && tokens == event.end()) {
    return std::nan("");
  }
  if (tokens == event.end() || !tokens->is_array() || tokens->empty()) return otherwise;
  const Json& last = tokens->back();
  if (!last.is_object() || !last.contains("emit_offset")) return otherwise;
  absl::Duration offset;
  if (!absl::ParseDuration(Get<std::string>(last, "emit_offset", ""), &offset)) {
    return std::nan("");
  }
  return std::max(otherwise, absl::ToDoubleSeconds(offset));
}

absl::Status Show(const Json& event, const std::string& kind, Lanes* lanes) {
  const std::string text = Get<std::string>(event, "text", "");
  if (lanes == nullptr) {
    if (kind == "target") return PrintText(text);
    return kind == "segment" ? PrintText("\n") : absl::OkStatus();
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
          const double read = Get<double>(token, "source_tokens_read", 0);
          reads.push_back(static_cast<int>(std::clamp(read, 0.0, 100000.0)));
        }
      }
    }
    lanes->Target(text, reads);
  } else if (kind == "segment") {
    std::optional<double> lagging;
    const auto stats = event.find("stats");
    if (stats != event.end() && stats->is_object() && Get<double>(*stats, "target_tokens", 0) > 0) {
      lagging = Get<double>(*stats, "average_lagging", 0);
    }
    lanes->TargetEnd(lagging);
  } else if (kind == "interrupted") {
    lanes->Note(absl::StrCat("no server: ", Get<std::string>(event, "message", "")));
  } else if (kind == "resumed") {
    lanes->Note(absl::StrCat("going on at ", Get<std::string>(event, "server", "")));
  }
  return PrintText(lanes->TakeOutput());
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
  if (is_open()) {
    Write(Dump(Json{{"event", "source"}, {"text", std::string(text)}}));
  }
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
  bool has_events = false;
  double time = 0;
  EventReader reader(&trace);
  while (true) {
    absl::StatusOr<std::optional<Json>> next = reader.Next();
    if (next.ok() && !next->has_value()) break;
    if (next.ok()) time = TimeOf(**next, time);
    if (next.ok() && !(time >= 0 && time < kMaxTime)) next = reader.NotAnEvent();
    if (!next.ok()) {
      if (lanes != nullptr) lanes->Finish();
      return next.status();
    }
    absl::SleepFor(start + absl::Seconds(time / options.speed) - SteadyNow());
    if (lanes != nullptr) lanes->Resize(TerminalOptions().columns);
    const Json& event = **next;
    LEAPSTREAM_RETURN_IF_ERROR(Show(event, Get<std::string>(event, "event", ""), lanes.get()));
    has_events = true;
  }
  if (!has_events) {
    return absl::InvalidArgumentError(
        "want a trace, events as `leapstream translate --trace FILE` records them, got none");
  }
  if (lanes == nullptr) return absl::OkStatus();
  lanes->Finish();
  return PrintText(lanes->TakeOutput());
}

}  // namespace leapstream::client
