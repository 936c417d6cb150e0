#include "server/admission.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/status.h"
#include "server/accounts.h"
#include "server/control_groups.h"
#include "server/logging.h"
#include "server/status_mapping.h"
#include "server/timers.h"

namespace leapstream {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(1);
constexpr int64_t kQueueBytes = 64 << 10;  // The buffers of one stream, gRPC's and ours.
constexpr int64_t kMaxReservedBytes = 64 << 20;
constexpr int kMinSessions = 4;
constexpr int kMaxSessions = 20000;

// Logs that there is no memory for a session, now and then.
void LogNoRoom(const std::string& why) {
  static LineRate lines;
  if (lines.Passes(SteadyNow())) spdlog::warn("a session is refused with SERVER_FULL: {}", why);
}

}  // namespace

absl::Status TakenBytes::GrowTo(int64_t bytes) {
  if (bytes <= taken_) return absl::OkStatus();
  if (budget_->Take(bytes - taken_)) {
    taken_ = bytes;
    return absl::OkStatus();
  }
  return ServerFull(absl::StrCat(
      "the texts of all calls may have ", budget_->limit(),
      " bytes of this server's memory, and this one needs ", bytes - taken_,
      " more than are left; retry elsewhere, or later, or send less at once"));
}

absl::Status ServerFull(absl::string_view why) {
  return WithRetryDelay(WithReason(absl::UnavailableError(why), "SERVER_FULL"), kRetryDelay);
}

absl::Status Draining() {
  return WithRetryDelay(
      WithReason(absl::UnavailableError("the server is shutting down; go on elsewhere"),
                 "DRAINING"),
      kRetryDelay);
}

absl::Status NotOpened(const absl::Status& why) {
  if (absl::IsInvalidArgument(why)) return WithReason(why, "INVALID_POLICY");
  if (absl::IsResourceExhausted(why)) {
    LogNoRoom(std::string(why.message()));
    return ServerFull(why.message());
  }
  return Draining();  // There is no other error than that the scheduler ends.
}

int Admission::taken() const {
  MutexLock lock(&mutex_);
  return permits_taken_;
}

bool Admission::draining() const {
  MutexLock lock(&mutex_);
  return draining_;
}

absl::Status Admission::TakePermit(Call* call) {
  if (refusing_) return Draining();
  if (permits_taken_ >= max_sessions_) {
    return ServerFull(absl::StrCat("all ", max_sessions_,
                                   " sessions of this server are taken; retry elsewhere, or "
                                   "later"));
  }
  if (!call->principal.empty()) {
    int& taken = by_principal_[call->principal];
    if (max_per_principal_ > 0 && taken >= max_per_principal_) {
      return WithQuotaViolation(
          WithReason(absl::ResourceExhaustedError(
                         absl::StrCat("you have ", taken, " sessions on this server and may have ",
                                      max_per_principal_, "; end one first")),
                     "QUOTA_EXCEEDED"),
          call->principal, "sessions at once");
    }
    ++taken;
  }
  ++permits_taken_;
  call->permit = true;
  return absl::OkStatus();
}

absl::Status Admission::Admit(const std::shared_ptr<LiveCall>& call, const std::string& principal,
                              bool may_resume) {
  MutexLock lock(&mutex_);
  Call admitted;
  admitted.call = call;
  admitted.principal = principal;
  absl::Status status = TakePermit(&admitted);
  if (status.ok() && accounts_ != nullptr && !may_resume) {
    status = accounts_->Of(principal)->Available(SteadyNow());
    if (!status.ok()) ReleasePermit(&admitted);
  }
  if (status.ok()) calls_[call.get()] = std::move(admitted);
  return status;
}

bool Admission::Await(const std::shared_ptr<LiveCall>& call, const std::string& principal) {
  MutexLock lock(&mutex_);
  if (refusing_ || waiting_ >= budget::kUndecidedCalls) return false;
  if (permits_taken_ == 0) return false;
  if (!principal.empty() && by_principal_.count(principal) == 0) return false;
  Call& waits = calls_[call.get()];
  waits.call = call;
  waits.principal = principal;
  waits.waits = true;
  ++waiting_;
  return true;
}

void Admission::Release(const LiveCall* call) {
  MutexLock lock(&mutex_);
  const auto found = calls_.find(call);
  if (found != calls_.end()) ReleasePermit(&found->second);
}

void Admission::ReleasePermit(Call* call) {
  if (!call->permit) return;
  call->permit = false;
  --permits_taken_;
  const auto principal = by_principal_.find(call->principal);
  if (principal != by_principal_.end() && --principal->second == 0) by_principal_.erase(principal);
}

void Admission::Remove(const LiveCall* call) {
  MutexLock lock(&mutex_);
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  ReleasePermit(&found->second);
  if (found->second.waits) --waiting_;
  const auto session = by_session_.find(found->second.session_id);
  if (session != by_session_.end() && session->second == call) by_session_.erase(session);
  calls_.erase(found);
  if (calls_.empty()) changed_.NotifyAll();
}

bool Admission::Holds(const std::string& session_id) const {
  MutexLock lock(&mutex_);
  return by_session_.count(session_id) > 0;
}

Admission::Claimed Admission::Claim(const std::string& session_id,
                                    const std::shared_ptr<LiveCall>& call) {
  MutexLock lock(&mutex_);
  const auto found = calls_.find(call.get());
  if (found == calls_.end()) return {};
  Call& claiming = found->second;
  const auto holder = by_session_.find(session_id);
  const auto previous = holder == by_session_.end() ? calls_.end() : calls_.find(holder->second);
  if (claiming.waits) {
    if (previous != calls_.end() && previous->second.permit &&
        previous->second.principal == claiming.principal) {
      previous->second.permit = false;
      claiming.permit = true;
    } else if (!TakePermit(&claiming).ok()) {
      return {};
    }
    claiming.waits = false;
    --waiting_;
  } else if (previous != calls_.end() && previous->second.principal == claiming.principal) {
    // The session has one place, however long its old call takes to end.
    ReleasePermit(&previous->second);
  }
  claiming.session_id = session_id;
  by_session_[session_id] = call.get();
  return {true, previous == calls_.end() ? nullptr : previous->second.call.lock()};
}

std::vector<std::shared_ptr<LiveCall>> Admission::All() const {
  std::vector<std::shared_ptr<LiveCall>> all;
  MutexLock lock(&mutex_);
  for (const auto& entry : calls_) {
    if (auto call = entry.second.call.lock()) all.push_back(std::move(call));
  }
  return all;
}

std::vector<std::shared_ptr<LiveCall>> Admission::WithPermit() const {
  std::vector<std::shared_ptr<LiveCall>> calls;
  MutexLock lock(&mutex_);
  for (const auto& entry : calls_) {
    if (!entry.second.permit) continue;
    if (auto call = entry.second.call.lock()) calls.push_back(std::move(call));
  }
  return calls;
}

void Admission::AnnounceDrain(SteadyTime until) {
  MutexLock lock(&mutex_);
  draining_ = true;
  while (!forced_ && changed_.WaitUntil(&mutex_, until)) {
  }
}

void Admission::StartDrain(SteadyTime deadline) {
  {
    MutexLock lock(&mutex_);
    if (refusing_) return;
    draining_ = refusing_ = true;
  }
  for (const auto& call : All()) call->Drain(deadline);
}

bool Admission::WaitUntilEmpty(SteadyTime deadline) {
  MutexLock lock(&mutex_);
  bool may_be_late = SteadyNow() < deadline;
  while (!calls_.empty() && !forced_) {
    if (changed_.WaitUntil(&mutex_, deadline)) continue;
    const absl::Duration late = SteadyNow() - deadline;
    if (late < LastLook::kGrace || !std::exchange(may_be_late, false)) break;
    deadline = SteadyNow() + late;
  }
  return calls_.empty();
}

void Admission::Force() {
  MutexLock lock(&mutex_);
  forced_ = true;
  changed_.NotifyAll();
}

void Admission::EndAll(const absl::Status& why) {
  for (const auto& call : All()) call->End(why);
}

int64_t AvailableMemory(const std::string& root) {
  int64_t available = 0;
  std::ifstream meminfo(root + "/proc/meminfo");
  std::string key, unit;
  for (int64_t value = 0; meminfo >> key >> value;) {
    std::getline(meminfo, unit);
    if (key == "MemAvailable:") available = value << 10;
  }
  const auto at_most = [&available](int64_t bytes) {
    const int64_t left = std::max<int64_t>(bytes, 1);
    available = available > 0 ? std::min(available, left) : left;
  };
  if (const auto left = ReadGroupLimits(root).memory_left; left.has_value()) at_most(*left);
  rlimit limit{};  // The limit that ulimit -v sets.
  int64_t pages = 0;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      std::ifstream(root + "/proc/self/statm") >> pages) {
    at_most(static_cast<int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGESIZE));
  }
  return available;
}

int64_t TextBytes(int64_t available_bytes) {
  return std::max(available_bytes / budget::kTextShare, budget::kLeastTextBytes);
}

int64_t TypicalStateBytes(const std::vector<std::shared_ptr<const Model>>& models) {
  int64_t bytes = 1;
  for (const auto& model : models) {
    bytes = std::max(bytes,
                     model->info.state_bytes_per_session +
                         budget::kTypicalSegmentTokens * model->info.state_bytes_per_token);
  }
  return bytes;
}

int64_t DefaultMaxStateBytes(const std::vector<std::shared_ptr<const Model>>& models,
                             int64_t available_bytes, int max_sessions) {
  const int64_t asked_for = max_sessions * TypicalStateBytes(models);
  return std::max(available_bytes / 2, std::min(asked_for, available_bytes / 4 * 3));
}

int DefaultMaxSessions(const std::vector<std::shared_ptr<const Model>>& models,
                       int64_t available_bytes) {
  const int64_t session_bytes = TypicalStateBytes(models);
  return static_cast<int>(std::clamp<int64_t>(available_bytes / 2 / (session_bytes + kQueueBytes),
                                              kMinSessions, kMaxSessions));
}

absl::Status ReserveStates(const Model& model, int open, int max_sessions) {
  const int64_t state_bytes = std::max<int64_t>(model.info.state_bytes_per_session, 1);
  const bool all = model.info.device != "cpu";
  if (all && open > 0) return absl::OkStatus();
  const auto sessions = static_cast<int>(
      all ? max_sessions : std::min<int64_t>(max_sessions, open + kMaxReservedBytes / state_bytes));
  if (const absl::Status status = model.translator->Reserve(sessions); !status.ok()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "model ", model.info.name, " needs memory on ", model.info.device, " for ", sessions,
        " sessions of ", state_bytes >> 10, " KB each, and there is not so much (",
        status.message(), "); lower max_sessions"));
  }
  if (open > 0) return absl::OkStatus();
  spdlog::info("model {}: memory for the states of {} sessions is taken on {}, {} KB each",
               model.info.name, sessions, model.info.device, state_bytes >> 10);
  return absl::OkStatus();
}

}  // namespace leapstream
