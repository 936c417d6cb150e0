#include "client/cli/admin_command.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/quoted.h"
#include "client/address.h"
#include "client/admin.h"
#include "client/cli/output.h"
#include "client/json/dump.h"

namespace leapstream::client {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kMaxShownBytes = 200;

std::string Time(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

absl::Status Print(const OrderedJson& json) {
  absl::PrintF("%s\n", Dump(json));
  return absl::OkStatus();
}

absl::Status PrintSessions(AdminClient& client, bool json) {
  const auto sessions = client.ListSessions();
  if (!sessions.ok()) return sessions.status();
  OrderedJson array = OrderedJson::array();
  if (!json) {
    absl::PrintF("%-32s %-15s %-16s %-8s %-16s %7s %8s %7s %7s %-6s %s\n", "SESSION", "METHOD",
                 "MODEL", "POLICY", "PRINCIPAL", "SECONDS", "SEGMENTS", "SOURCE", "TARGET", "HELD",
                 "PEER");
  }
  for (const AdminSession& s : *sessions) {
    if (json) {
      array.push_back({{"session_id", s.session_id},
                       {"method", s.method},
                       {"model", s.model},
                       {"policy", s.policy},
                       {"principal", s.principal},
                       {"peer", s.peer},
                       {"trace_id", s.trace_id},
                       {"start_time", Time(s.started)},
                       {"seconds", absl::ToDoubleSeconds(s.age)},
                       {"segments", s.segments},
                       {"source_tokens", s.source_tokens},
                       {"target_tokens", s.target_tokens},
                       {"input_held", s.input_held},
                       {"output_held", s.output_held}});
      continue;
    }
    // A name on a client's certificate may be anything.
    const auto shown = [](const std::string& text) { return OneLine(text, kMaxShownBytes); };
    absl::PrintF("%-32s %-15s %-16s %-8s %-16s %7.0f %8d %7d %7d %-6s %s\n", shown(s.session_id),
                 shown(s.method), shown(s.model), shown(s.policy), shown(s.principal),
                 absl::ToDoubleSeconds(s.age), s.segments, s.source_tokens, s.target_tokens,
                 s.output_held  ? "output"
                 : s.input_held ? "input"
                                : "",
                 shown(s.peer));
  }
  return json ? Print(array) : absl::OkStatus();
}

absl::Status PrintStats(AdminClient& client, bool json) {
  const auto stats = client.GetStats();
  if (!stats.ok()) return stats.status();
  OrderedJson models = OrderedJson::array();
  if (!json) {
    absl::PrintF("%d of %d slots used, up %s%s\n", stats->slots_used, stats->slots,
                 absl::FormatDuration(absl::Floor(stats->uptime, absl::Seconds(1))),
                 stats->draining ? ", draining" : "");
    absl::PrintF("%-24s %-10s %8s %12s %-21s %s\n", "MODEL", "TYPE", "SESSIONS", "STATE BYTES",
                 "LOADED", "CHECKSUM");
  }
  for (const AdminModel& m : stats->models) {
    if (json) {
      models.push_back({{"name", m.name},
                        {"checksum", m.checksum},
                        {"compute_type", m.compute_type},
                        {"sessions", m.sessions},
                        {"state_bytes", m.state_bytes},
                        {"load_time", Time(m.loaded)}});
      continue;
    }
    absl::PrintF("%-24s %-10s %8d %12d %-21s %s\n", m.name, m.compute_type, m.sessions,
                 m.state_bytes, Time(m.loaded), m.checksum);
  }
  if (!json) return absl::OkStatus();
  return Print({{"slots", stats->slots},
                {"slots_used", stats->slots_used},
                {"draining", stats->draining},
                {"uptime_seconds", absl::ToInt64Seconds(stats->uptime)},
                {"models", models}});
}

absl::Status Reload(AdminClient& client, const std::string& model) {
  const auto reloaded = client.Reload(model);
  if (!reloaded.ok()) return reloaded.status();
  for (const ReloadedModel& m : *reloaded) {
    absl::PrintF("%s: %s, was %s\n", m.name, m.new_checksum, m.old_checksum);
  }
  return absl::OkStatus();
}

}  // namespace

void AdminCommand::AddTo(CLI::App& app, const std::string& footer) {
  admin_ = app.add_subcommand("admin", "Look at a server, drain it or reload its models.");
  admin_->require_subcommand(1);
  admin_->footer(footer);
  const auto add = [&](const char* name, const char* help) {
    CLI::App* const command = admin_->add_subcommand(name, help);
    command->add_option("--server", address_, "host:port of its admin service")
        ->capture_default_str()
        ->check([](const std::string& given) {
          return std::string(ParseServerAddress(given, /*tls=*/false).status().message());
        });
    command->footer(footer);
    return command;
  };
  sessions_ = add("sessions", "List the open sessions; no text is shown.");
  stats_ = add("stats", "Slots, models and their memory.");
  for (CLI::App* command : {sessions_, stats_}) command->add_flag("--json", json_, "as JSON");
  drain_ = add("drain", "Let the server end when its open segments have, as SIGTERM does.");
  reload_ = add("reload", "Load its models anew, and wait until they serve.");
  reload_->add_option("model", model_, "only the one of this name");
}

std::optional<absl::Status> AdminCommand::Run() {
  if (!admin_->parsed()) return std::nullopt;
  AdminClient client(address_);
  absl::Status status;
  if (sessions_->parsed()) status = PrintSessions(client, json_);
  if (stats_->parsed()) status = PrintStats(client, json_);
  if (drain_->parsed()) status = client.Drain();
  if (reload_->parsed()) status = Reload(client, model_);
  return status.ok() ? FlushOutput() : status;
}

}  // namespace leapstream::client
