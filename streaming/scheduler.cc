#include "streaming/scheduler.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "streaming/committed_target.h"
#include "streaming/inbox.h"
#include "streaming/live_session.h"
#include "streaming/segment_source.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

// A GPU has memory of its own for states, which no budget of the host counts.
bool HasStatesInHostMemory(const ModelInfo& model) {
  return model.device == "cpu" || model.device == "torch-cpu";
}

}  // namespace

class Scheduler::Loop final : public ScheduledSession::Loop, public StateBudget::Holder {
 public:
  Loop(std::shared_ptr<const Model> model, StepObserver* observer, StateBudget* budget)
      : model_(std::move(model)),
        observer_(observer),
        budget_(HasStatesInHostMemory(model_->info) ? budget : nullptr),
        thread_([this] { Run(); }) {
    if (budget_ != nullptr) budget_->Enter(this);
  }
  ~Loop() override;

  absl::StatusOr<std::shared_ptr<Session>> Open(const SessionOptions& options, SessionSink* sink,
                                                ResumeFrom from);
  absl::StatusOr<std::shared_ptr<Generation>> Open(GenerationRequest request,
                                                   GenerationSink* sink);
  const std::shared_ptr<const Model>& model() const { return model_; }
  int open_sessions() const {
    MutexLock lock(&mutex_);
    return static_cast<int>(open_.size());
  }
  int64_t state_bytes() const { return state_bytes_.load(std::memory_order_relaxed); }
  absl::Duration turn_age() const {
    const int64_t started = turn_started_.load(std::memory_order_relaxed);
    return started == 0 ? absl::ZeroDuration()
                        : SteadyNow() - SteadyTime(absl::Nanoseconds(started));
  }
  Largest LargestGrown() const override;

  // Functions of ScheduledSession::Loop.
  void Enqueue(std::shared_ptr<ScheduledSession> session, Queue queue) override;
  void AddStateBytes(int64_t bytes) override {
    if (bytes == 0) return;
    state_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (budget_ != nullptr) budget_->Add(bytes);
  }
  StepObserver* observer() const override { return observer_; }

 private:
  struct SearchRow {
    ScheduledSession* session = nullptr;
    size_t row = 0;  // In Due::search.
  };
  // The sessions that act together, and the batches that they make. A Turn is kept for the next
  // turn of its queue, so that the next turn allocates nothing.
  struct Turn {
    std::vector<std::shared_ptr<ScheduledSession>> sessions;
    std::vector<ScheduledSession*> acting;
    std::vector<SourceRows> rows;
    std::vector<ScheduledSession*> replaying;
    std::vector<ReplayRows> replays;
    std::vector<ScheduledSession*> deciding;
    std::vector<SessionState*> states;  // The states that decide, of `deciding`.
    std::vector<Decision> decisions;    // The decision for each of `states`.
    std::vector<GivenRows> given;         // The rows of drafts.
    std::vector<ScheduledSession*> given_only;  // The sessions of `given` that are not `deciding`.
    std::vector<ScheduledSession*> searching;
    std::vector<ScoreRow> search_rows;  // The rows of all of `searching`.
    std::vector<SearchRow> searches;    // The owner of each of `search_rows`.
    std::vector<ScheduledSession*> extending;
    std::vector<TextRows> texts;        // That of each of `extending`.
    std::vector<ScheduledSession*> not_finite;  // The sessions that got scores that are not finite.
    int source_rows = 0;                // The number of READs in `rows`.
    absl::Duration compute;             // The time in the model.
    absl::Duration waited;              // The time between the model's layers, for live turns.
  };

  absl::Status CheckRoom(int64_t state_bytes) const;
  // Makes the session one of those that are open.
  absl::Status Enter(const std::shared_ptr<ScheduledSession>& session);
  void Run();
  // False: no session is in this queue.
  bool RunTurn(Queue queue);
  void PopSessions(Queue queue, Turn* turn);
  // Lets each session plan its part, within the bounds of a turn. Sessions that do not fit in are
  // the first of the next turn.
  void PlanTurn(Queue queue, Turn* turn);
  absl::Status Compute(Queue queue, Turn* turn);
  static bool TakeScores(ScheduledSession* session, size_t row, const TokenScores& scores,
                         Turn* turn);
  void ApplyTurn(const absl::Status& status, Turn* turn);
  void Close(const std::shared_ptr<ScheduledSession>& session);

  const std::shared_ptr<const Model> model_;
  const bool encodes_anew_ = model_->translator->encodes_anew();
  StepObserver* const observer_;
  StateBudget* const budget_;
  // The beginning of the present turn, in SteadyTime::nanoseconds(); 0: there is none.
  std::atomic<int64_t> turn_started_{0};
  std::atomic<int64_t> state_bytes_{0};
  mutable Mutex mutex_;
  CondVar work_;  // Signalled when stop_ is set or a session is queued.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::array<std::vector<std::shared_ptr<ScheduledSession>>, 2> queues_ ABSL_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<ScheduledSession>> open_ ABSL_GUARDED_BY(mutex_);
  std::array<Turn, 2> turns_;  // One for each queue.
  std::thread thread_;         // Declared last: it uses all other members.
};

Scheduler::Loop::~Loop() {
  if (budget_ != nullptr) budget_->Leave(this);
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  work_.NotifyOne();
  thread_.join();
  // OnFinished() is called without the lock, since it is other code's.
  std::set<std::shared_ptr<ScheduledSession>> open;
  {
    MutexLock lock(&mutex_);
    open.swap(open_);
  }
  for (const auto& session : open) {
    session->Finish(absl::UnavailableError("the server is shutting down; retry elsewhere"));
    session->FreeState();
  }
}

absl::StatusOr<std::shared_ptr<Session>> Scheduler::Loop::Open(const SessionOptions& options,
                                                               SessionSink* sink, ResumeFrom from) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckOptions(options, model_->info));
  LiveSession::Parts parts;
  LEAPSTREAM_ASSIGN_OR_RETURN(parts.frame, model_->FrameOf(options.languages));
  LEAPSTREAM_RETURN_IF_ERROR(CommittedTarget::Check(from, *model_, parts.frame));
  LEAPSTREAM_ASSIGN_OR_RETURN(
      parts.source, SegmentSource::Create(options, *model_, parts.frame, from));
  if (!from.takes_place) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckRoom(StateBytes(options, model_->info)));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(parts.state, NewState(*model_, parts.frame, options));
  if (options.glossary != nullptr) {
    LEAPSTREAM_ASSIGN_OR_RETURN(parts.probe, NewState(*model_, parts.frame, options));
  }
  parts.options = options;
  parts.sink = sink;
  parts.from = std::move(from);
  auto session = std::make_shared<LiveSession>(std::move(parts), *model_, this);
  LEAPSTREAM_RETURN_IF_ERROR(Enter(session));
  return std::shared_ptr<Session>(std::move(session));
}

absl::StatusOr<std::shared_ptr<Generation>> Scheduler::Loop::Open(GenerationRequest request,
                                                                  GenerationSink* sink) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckGeneration(request, *model_));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRoom(model_->info.state_bytes_per_session));
  std::unique_ptr<SessionState> state;
  LEAPSTREAM_ASSIGN_OR_RETURN(state, StateOf(request, *model_));
  auto session =
      std::make_shared<Generation>(std::move(request), std::move(state), sink, *model_, this);
  LEAPSTREAM_RETURN_IF_ERROR(Enter(session));
  return session;
}

// This check does not count the later growth of the state: see StateBudget::EndLargest().
absl::Status Scheduler::Loop::CheckRoom(int64_t state_bytes) const {
  if (budget_ == nullptr || budget_->HasRoomFor(state_bytes)) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the states of all sessions have ", budget_->used() >> 20, " of the ",
      budget_->limit() >> 20, " MB that they may, so there is no room for another of ",
      state_bytes >> 10, " KB; go on elsewhere, or try again"));
}

absl::Status Scheduler::Loop::Enter(const std::shared_ptr<ScheduledSession>& session) {
  MutexLock lock(&mutex_);
  if (stop_) return absl::UnavailableError("the server is shutting down; retry elsewhere");
  AddStateBytes(session->state_bytes());
  open_.insert(session);
  return absl::OkStatus();
}

void Scheduler::Loop::Enqueue(std::shared_ptr<ScheduledSession> session, Queue queue) {
  {
    MutexLock lock(&mutex_);
    queues_[static_cast<size_t>(queue)].push_back(std::move(session));
  }
  work_.NotifyOne();
}

void Scheduler::Loop::Close(const std::shared_ptr<ScheduledSession>& session) {
  session->FreeState();
  MutexLock lock(&mutex_);
  open_.erase(session);
}

StateBudget::Holder::Largest Scheduler::Loop::LargestGrown() const {
  Largest largest;
  MutexLock lock(&mutex_);
  for (const auto& session : open_) {
    const int64_t bytes = session->state_bytes();
    if (session->ending()) {
      largest.ending_bytes += bytes;
    } else if (bytes > std::max(largest.bytes, model_->info.state_bytes_per_session)) {
      largest.bytes = bytes;
      largest.session = session;
    }
  }
  return largest;
}

void Scheduler::Loop::Run() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (!stop_ && queues_[0].empty() && queues_[1].empty()) work_.Wait(&mutex_);
      if (stop_) return;
    }
    // The two queues have turns alternately, so that sessions with a backlog always go on, too.
    for (const Queue queue : {Queue::kLive, Queue::kBacklog}) {
      turn_started_.store(SteadyNow().nanoseconds(), std::memory_order_relaxed);
      RunTurn(queue);
      turn_started_.store(0, std::memory_order_relaxed);
    }
  }
}

bool Scheduler::Loop::RunTurn(Queue queue) {
  Turn& turn = turns_[static_cast<size_t>(queue)];
  PopSessions(queue, &turn);
  if (turn.sessions.empty()) return false;
  PlanTurn(queue, &turn);
  const absl::Status status = Compute(queue, &turn);
  ApplyTurn(status, &turn);
  turn.sessions.clear();
  if (budget_ != nullptr && budget_->exceeded()) budget_->EndLargest();
  return true;
}

void Scheduler::Loop::PopSessions(Queue queue, Turn* turn) {
  MutexLock lock(&mutex_);
  auto& queued = queues_[static_cast<size_t>(queue)];
  const auto count =
      static_cast<std::ptrdiff_t>(std::min(queued.size(), budget::kSessionsPerTurn));
  const auto end = queued.begin() + count;
  std::move(queued.begin(), end, std::back_inserter(turn->sessions));
  queued.erase(queued.begin(), end);
}

void Scheduler::Loop::PlanTurn(Queue queue, Turn* turn) {
  turn->acting.clear();
  turn->rows.clear();
  turn->replaying.clear();
  turn->replays.clear();
  turn->deciding.clear();
  turn->states.clear();
  turn->given.clear();
  turn->given_only.clear();
  turn->searching.clear();
  turn->search_rows.clear();
  turn->searches.clear();
  turn->extending.clear();
  turn->texts.clear();
  turn->not_finite.clear();
  turn->source_rows = 0;
  int rows_left = budget::kRowsPerTurn;
  int64_t work_left = budget::kWorkPerTurn;
  int64_t encoder_rows = 0;
  size_t given_rows = 0;
  auto next = turn->sessions.begin();
  for (; next != turn->sessions.end(); ++next) {
    if (work_left <= 0 || encoder_rows >= budget::kEncoderRowsPerTurn) break;
    if (turn->search_rows.size() >= budget::kBeamRowsPerTurn) break;
    if (given_rows >= budget::kDraftRowsPerTurn) break;
    ScheduledSession* const session = next->get();
    const Due due = session->Plan(std::clamp(rows_left, 1, kMaxRowsPerSession),
                                  std::min(work_left, budget::kWorkPerSession));
    work_left -= due.work;
    if (!due.has_turn) {
      if (session->finished()) Close(*next);
      continue;
    }
    const auto text_rows = static_cast<int>(due.text.tokens.size());
    rows_left -= due.read_count + due.replay_count + text_rows;
    if (encodes_anew_) encoder_rows += due.encoder_rows;
    turn->source_rows += due.read_count + text_rows;
    turn->acting.push_back(session);
    if (text_rows > 0) {
      turn->extending.push_back(session);
      turn->texts.push_back(due.text);
    }
    if (due.replay_count > 0) {
      turn->replaying.push_back(session);
      turn->replays.push_back(due.replay);
      continue;
    }
    if (due.read_count > 0) turn->rows.push_back(due.reads);
    if (!due.search.empty()) {
      turn->searching.push_back(session);
      for (size_t row = 0; row < due.search.size(); ++row) {
        turn->search_rows.push_back(due.search[row]);
        turn->searches.push_back({session, row});
      }
    }
    for (const GivenRows& given : due.given) {
      turn->given.push_back(given);
      given_rows += given.tokens.size() + 1;
    }
    if (due.deciding != nullptr) {
      turn->deciding.push_back(session);
      turn->states.push_back(due.deciding);
    } else if (!due.given.empty()) {
      turn->given_only.push_back(session);
    }
  }
  if (next == turn->sessions.end()) return;
  MutexLock lock(&mutex_);
  auto& queued = queues_[static_cast<size_t>(queue)];
  queued.insert(queued.begin(), std::make_move_iterator(next),
                std::make_move_iterator(turn->sessions.end()));
  turn->sessions.erase(next, turn->sessions.end());
}

absl::Status Scheduler::Loop::Compute(Queue queue, Turn* turn) {
  turn->waited = absl::ZeroDuration();
  // Lets live sessions have their turns between the layers of this one.
  const auto give_way = [&] {
    if (queue == Queue::kLive) return;
    const SteadyTime start = SteadyNow();
    if (RunTurn(Queue::kLive)) turn->waited += SteadyNow() - start;
  };
  const SteadyTime start = SteadyNow();
  absl::Status status;
  if (!turn->rows.empty()) status = model_->translator->Read(turn->rows, give_way);
  if (status.ok() && !turn->replays.empty()) {
    status = model_->translator->Replay(turn->replays, give_way);
  }
  if (status.ok() && !turn->given.empty()) {
    status = model_->translator->Verify(turn->given, give_way);
  }
  turn->decisions.resize(turn->deciding.size());
  if (status.ok() && !turn->deciding.empty()) {
    status =
        model_->translator->Decide(turn->states, absl::MakeSpan(turn->decisions), give_way);
  }
  if (status.ok() && !turn->search_rows.empty()) {
    const auto take = [turn](size_t row, const TokenScores& scores) {
      const SearchRow& search = turn->searches[row];
      return TakeScores(search.session, search.row, scores, turn);
    };
    status = model_->translator->Score(turn->search_rows, take, give_way);
  }
  if (status.ok() && !turn->texts.empty()) {
    const auto take = [turn](size_t text, size_t row, const TokenScores& scores) {
      return TakeScores(turn->extending[text], row, scores, turn);
    };
    status = model_->translator->language_model()->Extend(turn->texts, take, give_way);
  }
  turn->compute = SteadyNow() - start - turn->waited;
  const size_t deciding =
      turn->deciding.size() + turn->given_only.size() + turn->replaying.size() +
      turn->searching.size() + turn->extending.size();
  if (observer_ != nullptr && (turn->source_rows > 0 || deciding > 0)) {
    observer_->OnStep({turn->compute, turn->source_rows, static_cast<int>(deciding)});
  }
  return status;
}

bool Scheduler::Loop::TakeScores(ScheduledSession* session, size_t row, const TokenScores& scores,
                                 Turn* turn) {
  if (scores.finite()) return session->TakeScores(row, scores);
  turn->not_finite.push_back(session);
  return true;
}

void Scheduler::Loop::ApplyTurn(const absl::Status& status, Turn* turn) {
  if (status.ok()) {
    for (ScheduledSession* session : turn->acting) {
      session->RecordStep(turn->compute, turn->waited);
      if (session->grows()) session->CountState();
    }
    for (size_t i = 0; i < turn->deciding.size(); ++i) {
      if (!turn->decisions[i].finite()) turn->not_finite.push_back(turn->deciding[i]);
    }
    for (ScheduledSession* session : turn->not_finite) session->Finish(NotFiniteError());
    for (ScheduledSession* session : turn->replaying) session->ApplyReplay();
    for (size_t i = 0; i < turn->deciding.size(); ++i) {
      ScheduledSession* const session = turn->deciding[i];
      if (!session->finished()) session->Apply(turn->decisions[i]);
    }
    for (ScheduledSession* session : turn->given_only) session->ApplyGiven();
    for (const auto* scored : {&turn->searching, &turn->extending}) {
      for (ScheduledSession* session : *scored) {
        if (!session->finished()) session->ApplyScores();
      }
    }
  } else {
    // Inputs were checked, so the error is not one session's fault. The states of all sessions in
    // the batch are no longer good. Without memory, they can go on on another server.
    const bool no_memory = absl::IsResourceExhausted(status);
    const absl::Status why = no_memory ? absl::UnavailableError(absl::StrCat(
                                             "the server has no memory for this step (",
                                             status.message(), "); resume elsewhere, or later"))
                                       : absl::InternalError(status.message());
    if (no_memory && observer_ != nullptr) {
      observer_->OnNoMemory(status.message(), static_cast<int>(turn->acting.size()));
    }
    for (ScheduledSession* session : turn->acting) session->Finish(why);
  }
  for (ScheduledSession* session : turn->acting) {
    Enqueue(session->shared_from_this(), session->queue());
  }
}

Scheduler::Scheduler(std::shared_ptr<const Model> model, StepObserver* observer,
                     StateBudget* budget, std::shared_ptr<const Glossary> glossary)
    : glossary_(std::move(glossary)),
      loop_(std::make_unique<Loop>(std::move(model), observer, budget)) {}
Scheduler::~Scheduler() = default;

absl::StatusOr<std::shared_ptr<Session>> Scheduler::Open(const SessionOptions& options,
                                                         SessionSink* sink, ResumeFrom from) {
  return loop_->Open(options, sink, std::move(from));
}
absl::StatusOr<std::shared_ptr<Generation>> Scheduler::Open(GenerationRequest request,
                                                            GenerationSink* sink) {
  return loop_->Open(std::move(request), sink);
}
const std::shared_ptr<const Model>& Scheduler::model() const { return loop_->model(); }
int Scheduler::open_sessions() const { return loop_->open_sessions(); }
int64_t Scheduler::state_bytes() const { return loop_->state_bytes(); }
absl::Duration Scheduler::turn_age() const { return loop_->turn_age(); }

}  // namespace leapstream
