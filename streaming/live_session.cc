#include "streaming/live_session.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/algorithm/container.h"
#include "absl/types/span.h"
#include "base/budget.h"
#include "streaming/source_bytes.h"

namespace leapstream {
namespace {

// The inbox's view of a phase.
Inbox::Segment ForInbox(Phase phase) {
  if (phase == Phase::kIdle) return Inbox::Segment::kNone;
  return phase == Phase::kOpen ? Inbox::Segment::kOpen : Inbox::Segment::kTranslated;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SessionState>> NewState(const Model& model, const Frame& frame,
                                                       const SessionOptions& options) {
  absl::StatusOr<std::unique_ptr<SessionState>> state = model.translator->NewState();
  if (!state.ok()) return state;
  (*state)->SetFrame(frame);
  if (const auto* wait_k = std::get_if<WaitK>(&options.policy);
      wait_k != nullptr && !wait_k->count_words) {
    (*state)->SetWaitK(wait_k->k, wait_k->write_stride);
  }
  if (std::holds_alternative<AlignAtt>(options.policy)) (*state)->ShowAttention();
  if (RefreshesPast(options, model.info)) (*state)->RefreshPast();
  if (options.prefix_end.value_or(false)) (*state)->EndPrefixes();
  return state;
}

LiveSession::LiveSession(Parts parts, const Model& model, Loop* loop)
    : options_(parts.options),
      frame_(std::move(parts.frame)),
      model_(model),
      sink_(parts.sink),
      loop_(loop),
      opened_(SteadyNow()),
      agent_(AgentRulesOf(model)),
      committed_(&parts.from, options_, model),
      inbox_(options_.max_queued_bytes, committed_.replays(),
             [this](Queue queue) { loop_->Enqueue(shared_from_this(), queue); }),
      state_(std::move(parts.state)),
      source_(std::move(parts.source)),
      text_sink_(model.target_tokenizer.get()),
      meter_(std::move(parts.from.before)),
      units_(model),
      terms_(options_.glossary != nullptr || options_.keep_markup
                 ? std::make_unique<SegmentTerms>(options_.glossary, model, frame_)
                 : nullptr),
      draft_(UsesDrafts(options_.policy)
                 ? std::make_unique<SegmentDraft>(options_.policy, model, frame_.end)
                 : nullptr),
      state_bytes_(state_->bytes() + (parts.probe != nullptr ? parts.probe->bytes() : 0)) {
  if (terms_ != nullptr) terms_->SetState(std::move(parts.probe));
  segment_.number = parts.from.segment - 1;  // The number of the last segment that was completed.
}

// --- Planning. ---

Due LiveSession::Plan(int max_rows, int64_t max_work) {
  Due due;
  if (finished()) return due;
  turn_ = Turn();
  turn_.inputs_left = budget::kQueuedInputs;
  turn_.work_left = max_work;
  source_->ForgetReads();
  committed_.ForgetPlan();
  Inbox::Turn begun = inbox_.BeginTurn();
  turn_.able_since = begun.able_since;
  if (begun.cancelled.has_value()) {
    Finish(*std::move(begun.cancelled));
    return due;
  }
  PlanSegments(max_rows);
  due.work = max_work - turn_.work_left;
  if (!finished()) EndPlan(&due);
  return due;
}

void LiveSession::PlanSegments(int max_rows) {
  while (!finished()) {
    turn_.held = inbox_.held();
    if (turn_.held) return;
    if (phase_ == Phase::kContinues) {
      OpenNextSegment();
    } else if (phase_ == Phase::kOpen) {
      if (PlanSegment(max_rows)) return;
    } else if (!PopInput()) {
      return;
    }
  }
}

bool LiveSession::PlanSegment(int max_rows) {
  Progress progress = CurrentProgress();
  if (committed_.replays() && !Searches(progress)) {
    PlanReplay(max_rows);
    return true;
  }
  while (source_->due_reads() < max_rows && Decide(options_.policy, progress) == Action::kRead) {
    if (!NextRead()) break;
    progress = CurrentProgress();
  }
  if (finished()) return true;
  if (source_->is_empty() && !turn_.cut_short) {
    CompleteSegment(FinishReason::kEndOfSentence);
    source_->ForgetReads();  // The model does not get audio that is too short for an encoder state.
    return false;
  }
  if (Searches(progress)) {
    // The search starts from what the reads leave.
    if (source_->due_reads() == 0) {
      PlanSearch(segment_.forces ? committed_.rest() : absl::Span<const TokenId>());
    }
    return true;
  }
  turn_.decides = progress.source_read > 0 && Decide(options_.policy, progress) == Action::kWrite;
  if (turn_.decides && draft_ != nullptr) PlanDraft(progress);
  if (turn_.decides && terms_ != nullptr) PlanTerms(progress);
  return true;
}

void LiveSession::EndPlan(Due* due) {
  due->reads = source_->due_rows(state_.get());
  due->read_count = source_->due_reads();
  const int reads = due->read_count;
  if (turn_.probes) {
    due->reads = terms_->probe_source();
    due->read_count = static_cast<int>(due->reads.tokens.size());
    due->search = terms_->probe_rows();
  }
  due->replay_count = committed_.due();
  if (due->replay_count > 0) {
    due->replay = {state_.get(), due->reads.tokens, committed_.due_tokens(),
                   committed_.due_source_read()};
  }
  if (turn_.decides) due->deciding = turn_.drafts ? draft_->deciding() : state_.get();
  if (turn_.drafts) due->given = draft_->given();
  if (turn_.searches) due->search = search_->rows();
  if (reads > 0) unencoded_ = true;
  due->encoder_rows =
      source_->front_rows() +
      ((turn_.decides || turn_.searches || turn_.drafts) && unencoded_ ? source_->encoder_rows()
                                                                       : 0);
  if (turn_.probes) due->encoder_rows = due->read_count;
  Inbox::TurnEnd end;
  end.reads = reads;
  end.acts = due->read_count > 0 || due->replay_count > 0 || turn_.decides || turn_.searches ||
             turn_.drafts;
  end.searches = turn_.searches;
  end.waits = !turn_.held && !turn_.cut_short && !committed_.replays();
  end.cut_short = turn_.cut_short;
  if (end.acts) meter_.RecordQueue(SteadyNow() - turn_.able_since);
  due->has_turn = inbox_.EndTurn(end);
}

// --- Source. ---

bool LiveSession::PopInput() {
  const bool may_take = turn_.inputs_left > 0 && turn_.work_left > 0;
  Inbox::Popped popped = inbox_.Pop(ForInbox(phase_), may_take);
  switch (popped.kind) {
    case Inbox::Popped::Kind::kNothing:
      return false;
    case Inbox::Popped::Kind::kRefused:
      turn_.cut_short = true;
      return false;
    case Inbox::Popped::Kind::kEnding:
      Finish(std::move(popped.ending));
      return false;
    case Inbox::Popped::Kind::kInput:
      break;
  }
  --turn_.inputs_left;
  turn_.work_left -= budget::kInputWork;
  if (popped.room) sink_->OnRoom();
  ApplyInput(std::move(popped.input));
  return !finished();
}

void LiveSession::ApplyInput(Input input) {
  if (std::holds_alternative<SourceEnd>(input)) {
    if (committed_.pending()) return Finish(committed_.NoSegment());
    sink_->OnEvent(meter_.Summary());
    return Finish(absl::OkStatus());
  }
  if (auto* stop = std::get_if<SourceStop>(&input)) return Finish(std::move(stop->why));
  if (phase_ == Phase::kIdle) OpenSegment();
  if (const auto* end = std::get_if<SegmentEnd>(&input)) {
    const bool was_complete = phase_ == Phase::kTranslated;
    source_->Close();
    Move(PhaseEvent::kSourceEnd);
    if (was_complete && end->end == End::kAnswered) {
      OpenSegment();
      source_->Close();
    }
    return;
  }
  auto& chunk = std::get<SourceChunk>(input);
  if (phase_ == Phase::kTranslated || source_->cut()) {
    const int64_t dropped = DroppedBytes(chunk.source);
    meter_.RecordDropped(dropped);
    turn_.work_left -= dropped / 4;
    return;
  }
  absl::Status status = source_->Append(std::move(chunk.source), chunk.at, &turn_.work_left);
  if (!status.ok()) Finish(std::move(status));
}

bool LiveSession::NextRead() {
  while (true) {
    const absl::StatusOr<SegmentSource::Next> next = source_->NextRead(&turn_.work_left);
    if (!next.ok()) {
      Finish(next.status());
      return false;
    }
    switch (*next) {
      case SegmentSource::Next::kRead:
        return true;
      case SegmentSource::Next::kNone:
        return false;
      case SegmentSource::Next::kWork:
        turn_.cut_short = true;
        return false;
      case SegmentSource::Next::kWaits:
        if (!PopInput()) return false;
    }
  }
}

Progress LiveSession::CurrentProgress() const {
  Progress progress = source_->progress();
  progress.target_written = state_->target_written() + segment_.skipped;
  progress.lag = segment_.lag;
  progress.wanted = segment_.wanted;
  progress.target_words = segment_.words;
  progress.awaits_word = segment_.awaits_word;
  if (progress.source_read <= segment_.held) progress.within_chunk = true;
  if (draft_ != nullptr) progress.looked = draft_->looked();
  return progress;
}

// --- Segments. ---

void LiveSession::OpenSegment() {
  source_->Open();
  BeginSegment();
  Move(PhaseEvent::kInput);
}

void LiveSession::OpenNextSegment() {
  if (std::optional<absl::Status> ending = inbox_.ending(); ending.has_value()) {
    return Finish(*std::move(ending));
  }
  source_->OpenWithRest();
  BeginSegment();
  Move(PhaseEvent::kNextSegment);
}

void LiveSession::BeginSegment() {
  const int64_t number = segment_.number + 1;
  segment_ = Segment();
  segment_.number = number;
  meter_.Begin(SteadyNow());
  state_->Reset();
  if (draft_ != nullptr) draft_->Reset();
  if (terms_ != nullptr) terms_->Reset();
  text_sink_.Reset();
}

void LiveSession::CompleteSegment(FinishReason reason) {
  const int source_read = state_->source_read();
  const int target_written = state_->target_written();
  if (committed_.pending()) return Finish(committed_.TooMany(target_written));
  committed_.Clear();
  SegmentCompleted completed;
  completed.segment = segment_.number;
  completed.unsent = text_sink_.Finish();
  completed.text = std::move(segment_.text) + completed.unsent;
  completed.stats = meter_.Complete({source_read, source_->finished(), Delay(),
                                     source_->audio_given(), source_->words()},
                                    target_written, completed.unsent);
  completed.audio_begin = source_->audio_begin();
  completed.audio_end = source_->audio_begin() + source_->audio_given();
  const SourceLeft left = source_->Leave(source_read);
  meter_.RecordUntranslated(left.untranslated_tokens);
  meter_.RecordDropped(left.dropped_bytes);
  completed.reason = left.at_limit ? FinishReason::kSourceLimit : reason;
  completed.so_far = meter_.so_far();
  completed.untranslated_source_tokens = left.untranslated_tokens;
  completed.source_dropped = left.dropped;
  completed.ended_early = !source_->closed() && !left.continues_at.has_value();
  completed.continues_at = left.continues_at;
  completed.continues_in_text = left.continues_in_text;
  completed.continues_after_tokens = left.continues_after_tokens;
  completed.hypotheses = std::exchange(hypotheses_, {});
  Move(left.continues_at.has_value() ? PhaseEvent::kLeavesRest
       : source_->closed()           ? PhaseEvent::kTranslated
                                     : PhaseEvent::kTranslatedEarly);
  turn_.work_left -= budget::kSegmentWork;
  ShrinkState();
  sink_->OnEvent(std::move(completed));
}

// --- The model's results. ---

void LiveSession::Apply(const Decision& decision) {
  unencoded_ = false;
  if (draft_ != nullptr && draft_->open()) return ApplyDraft(&decision);
  // If the step is decided again, it waits for one more READ at least.
  segment_.wanted = state_->source_read() + 1;
  if (decision.wants_source) return;
  ScoredToken token = decision.best;
  // For an agent that keeps symbols, each token with the symbol of the end is the end.
  if (model_.feeds_back_symbols && FedBack(token.id) == FedBack(frame_.end)) {
    token.id = frame_.end;
  }
  const std::optional<TokenId> owed = terms_ == nullptr ? std::nullopt : terms_->owed();
  if (owed.has_value()) {
    token.id = *owed;
  } else if (token.id == frame_.end && !source_->finished()) {
    if (ApplyEarlyEnd()) return;
    if (options_.early_end == EarlyEnd::kSuppress) token = decision.second;
  }
  // A token that was put out before is kept, even if this machine's rounding gives another
  // decision.
  const bool forced = committed_.pending();
  if (terms_ != nullptr && !owed.has_value() && !forced) token.id = ChooseTerm(token.id);
  if (!Admits(token, forced)) return;
  if (forced) token.id = committed_.next();
  meter_.RecordToken(Delay());
  if (token.id == frame_.end) return CompleteSegment(FinishReason::kEndOfSentence);
  if (agent_.decides_past_limit && state_->target_written() >= target_limit()) {
    return CompleteSegment(FinishReason::kMaxLength);
  }
  Write(token, forced);
  if (token.id == agent_.end_symbol && token.id != kUnknown && source_->finished()) {
    return CompleteSegment(FinishReason::kEndOfSentence);
  }
  if (!agent_.decides_past_limit && Full()) CompleteSegment(FinishReason::kMaxLength);
}

bool LiveSession::ApplyEarlyEnd() {
  const bool reads_on = options_.early_end == EarlyEnd::kReadOn;
  if (!reads_on && options_.early_end != EarlyEnd::kForceFinish) return false;
  ++segment_.ends_in_a_row;
  source_->MayHaveEnded(state_->source_read());
  if (reads_on) {
    ++segment_.lag;  // Nothing was committed, so the step stays open.
    const int end = *source_->end();
    if (options_.next_segments && segment_.ends_in_a_row >= std::max(kEndsInARow, end / 4)) {
      meter_.RecordToken(source_->Delay(end));
      CompleteSegment(FinishReason::kEndOfSentence);
    }
    return true;
  }
  ++segment_.skipped;
  state_->Repeat();
  if (state_->target_written() > 0 && Full()) CompleteSegment(FinishReason::kMaxLength);
  return true;
}

bool LiveSession::Admits(const ScoredToken& token, bool forced) {
  if (token.id == frame_.end || source_->finished()) return true;
  Decision decision;
  decision.best = token;
  const Progress progress = CurrentProgress();
  const bool begins_word = units_.Begins(segment_.last, token.id);
  const bool known = forced && committed_.has_places();
  if (known ? committed_.IsDue(state_->source_read())
            : leapstream::Admits(options_.policy, progress, decision, begins_word)) {
    return true;
  }
  segment_.awaits_word = begins_word;
  if (known) segment_.held = progress.source_read;
  return false;
}

void LiveSession::Write(ScoredToken token, bool forced) {
  state_->Commit(FedBack(token.id));
  PutOut(token, forced);
}

void LiveSession::PutOut(ScoredToken token, bool forced) {
  segment_.ends_in_a_row = 0;
  source_->GoesOn();
  if (source_->finished()) ++segment_.after_source;
  segment_.wanted = 0;
  segment_.awaits_word = false;
  const bool first = segment_.put_out == 0;
  TargetDelta delta;
  delta.segment = segment_.number;
  delta.token.id = token.id;
  delta.token.piece = std::string(model_.target_vocabulary.Symbol(token.id));
  delta.token.source_tokens_read = state_->source_read();
  delta.token.source_audio = source_->audio_given();
  delta.token.audio_offset = source_->audio_begin() + source_->audio_given();
  delta.token.log_prob = token.log_prob;
  const SteadyTime now = SteadyNow();
  delta.token.emit_offset = now - opened_;
  delta.text = AppendToken(token.id, Delay(), state_->source_read());
  const absl::Duration since_source =
      first ? meter_.RecordFirstToken(now) : absl::ZeroDuration();
  if (forced) return committed_.PopForced();
  if (StepObserver* const observer = loop_->observer(); observer != nullptr) {
    observer->OnToken(now - turn_.able_since);
    if (first) observer->OnFirstToken(since_source);
  }
  sink_->OnEvent(std::move(delta));
}

std::string LiveSession::AppendToken(TokenId id, double delay, int source_read) {
  ++segment_.put_out;
  if (units_.Begins(segment_.last, id)) ++segment_.words;
  const TokenId previous = std::exchange(segment_.last, id);
  if (options_.beam.has_value()) segment_.ids.push_back(id);
  std::string text = TextOfToken(id, previous, source_read);
  segment_.text += text;
  meter_.RecordText(text, delay);
  return text;
}

bool LiveSession::IsSilent(TokenId id) const {
  return id == kBeginOfSentence || model_.target_frame_tokens.Has(id);
}

TokenId LiveSession::FedBack(TokenId id) const {
  if (!model_.feeds_back_symbols) return id;
  return model_.target_vocabulary.Id(model_.target_vocabulary.Symbol(id));
}

int LiveSession::target_limit() const {
  return TargetLimit(options_, model_.info, state_->source_read());
}

bool LiveSession::Full() const {
  const int after = options_.max_target_tokens_after_source;
  return state_->target_written() + segment_.skipped >= target_limit() ||
         (after > 0 && segment_.after_source >= after);
}

// --- The end. ---

void LiveSession::Finish(absl::Status status) {
  if (finished()) return;
  ending_.store(true, std::memory_order_relaxed);
  Move(PhaseEvent::kFinish);
  inbox_.Close();
  sink_->OnFinished(std::move(status));
}

}  // namespace leapstream
