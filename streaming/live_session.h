#ifndef LEAPSTREAM_STREAMING_LIVE_SESSION_H_
#define LEAPSTREAM_STREAMING_LIVE_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "model/api/frame.h"
#include "model/api/model.h"
#include "streaming/committed_target.h"
#include "streaming/inbox.h"
#include "streaming/policy.h"
#include "streaming/scheduled_session.h"
#include "streaming/segment_draft.h"
#include "streaming/segment_meter.h"
#include "streaming/segment_search.h"
#include "streaming/segment_source.h"
#include "streaming/segment_terms.h"
#include "streaming/session.h"
#include "streaming/session_limits.h"
#include "streaming/session_phase.h"
#include "streaming/target_units.h"
#include "streaming/text_sink.h"

namespace leapstream {

// A new state of `model` with a session's frame and options set. RESOURCE_EXHAUSTED: there is no
// memory for it.
absl::StatusOr<std::unique_ptr<SessionState>> NewState(const Model& model, const Frame& frame,
                                                       const SessionOptions& options);

// One session, as its scheduler sees it: brings its inputs, the policy, the model's decisions and
// its sink together, and ends the session. The functions of Session run on any thread and only
// write to the inbox. All others run on the step thread, unless their comments say otherwise.
class LiveSession final : public Session, public ScheduledSession {
 public:
  // The parts of a session. `options` and `from` have been checked, and `source` is made for them.
  // `model`, `sink` and `loop` must outlive the session's last step.
  struct Parts {
    SessionOptions options;
    SessionSink* sink = nullptr;
    ResumeFrom from;
    Frame frame;  // Of options.languages.
    std::unique_ptr<SegmentSource> source;
    std::unique_ptr<SessionState> state;
    std::unique_ptr<SessionState> probe;  // For SegmentTerms, if options.glossary is there.
  };
  LiveSession(Parts parts, const Model& model, Loop* loop);

  // --- Functions for any thread. ---

  using Session::EndSegment;
  using Session::Push;
  void Push(SourceInput source, SourcePosition at) override {
    inbox_.Push(SourceChunk{std::move(source), at});
  }
  void EndSegment(End end) override { inbox_.Push(SegmentEnd{end}); }
  void EndSource() override { inbox_.Push(SourceEnd{}); }
  void Cancel(absl::Status why) override {
    ending_.store(true, std::memory_order_relaxed);
    inbox_.Cancel(std::move(why));
  }
  void StopSource(absl::Status why) override { inbox_.Push(SourceStop{std::move(why)}); }
  void EndAfterSegment(absl::Status why) override { inbox_.EndAfterSegment(std::move(why)); }
  bool HasRoom() override { return inbox_.HasRoom(); }
  void Hold() override { inbox_.Hold(); }
  void Release() override { inbox_.Release(); }
  const SessionOptions& options() const override { return options_; }
  int64_t state_bytes() const override { return state_bytes_.load(std::memory_order_relaxed); }
  bool ending() const override { return ending_.load(std::memory_order_relaxed); }

  // --- Functions for the step thread. ---

  Due Plan(int max_rows, int64_t max_work) override;
  void RecordStep(absl::Duration compute, absl::Duration waited) override;
  void Apply(const Decision& decision) override;
  void ApplyGiven() override;
  void ApplyReplay() override;
  bool TakeScores(size_t row, const TokenScores& scores) override {
    return turn_.probes ? terms_->TakeProbe(scores) : search_->Take(row, scores);
  }
  void ApplyScores() override;
  void Finish(absl::Status status) override;

  bool finished() const override { return phase_ == Phase::kOver; }
  Queue queue() const override { return inbox_.queue(); }
  bool grows() const override {
    return model_.info.state_bytes_per_token > 0 || options_.beam.has_value() ||
           UsesDrafts(options_.policy) || options_.glossary != nullptr;
  }
  void CountState() override;
  void FreeState() override;

 private:
  struct Segment {  // The open segment.
    int64_t number = 0;
    int lag = 0;           // See Progress.
    int wanted = 0;        // See Progress.
    int skipped = 0;       // The steps that count but wrote nothing: EarlyEnd::kForceFinish.
    int after_source = 0;  // The target tokens written after the source was finished.
    // The number of times in a row that the end was the best next token and nothing was written,
    // because the source went on. SegmentSource::end() is the place of the first of these.
    int ends_in_a_row = 0;
    std::string text;
    int put_out = 0;           // The target tokens that are part of the segment's translation.
    int words = 0;             // See Progress::target_words.
    bool awaits_word = false;  // See Progress.
    int held = 0;  // Nothing is written before more has been read: a committed token came later.
    TokenId last = TargetUnits::kNone;  // The token that was written last.
    bool forces = false;       // The beam search must begin with the committed tokens.
    std::vector<TokenId> ids;  // The target tokens written; kept for a beam search only.
    bool glued = false;        // No space comes behind a tag.
  };
  struct Turn {              // The present turn.
    SteadyTime able_since;   // The time at which the session became able to act.
    size_t inputs_left = 0;  // The number of inputs that may still be taken.
    int64_t work_left = 0;   // Negative if the last piece of work was larger than the rest.
    bool cut_short =
        false;  // inputs_left or work_left ran out, so that work is left to the next turn.
    bool held = false;       // The session was held, so that nothing more was done.
    bool decides = false;
    bool searches = false;
    bool drafts = false;
    bool probes = false;  // The model is asked about a term.
  };

  void Move(PhaseEvent event) { phase_ = Next(phase_, event); }
  // Plans until something is due or nothing more can be done without source, work or the model.
  void PlanSegments(int max_rows);
  // Plans the open segment. False: the segment turned out to be empty, and is complete.
  bool PlanSegment(int max_rows);
  // Makes the tokens of the committed target due that can be replayed with the source that is
  // there.
  void PlanReplay(int max_rows);
  // Whether the rest of the open segment's target is to be searched, now that nothing is due.
  bool Searches(const Progress& progress) const {
    return options_.beam.has_value() && progress.source_finished && progress.source_read > 0;
  }
  // Makes the next step of the search due. Begins the search if there is none; `forced`: the tokens
  // that it must begin with.
  void PlanSearch(absl::Span<const TokenId> forced);
  // Puts out what the search has found, and completes the segment.
  void WriteFound(const std::vector<BeamHypothesis>& found, int max_length);
  // The tokens of a hypothesis that are to be written: neither forced by the frame, nor the end.
  absl::Span<const TokenId> Written(const BeamHypothesis& hypothesis) const;
  std::string TextOf(const BeamHypothesis& hypothesis) const;
  // Makes the next turn of a look due, or begins a look. REQUIRES: the policy uses drafts.
  void PlanDraft(const Progress& progress);
  // Applies a turn of a look; `decision`: null, or the draft's.
  void ApplyDraft(const Decision* decision);
  // The number of tokens that may still be written.
  int Room() const;
  // Puts off the decision that is due while the model must be asked about a term. REQUIRES: the
  // session has terms.
  void PlanTerms(const Progress& progress);
  // The token to be written in place of the model's own `token`: see SegmentTerms.
  TokenId ChooseTerm(TokenId token);
  // Returns the text of a token that was written, and notes which term it is of.
  std::string TextOfToken(TokenId id, TokenId previous, int source_read);
  // Fills in *due, and tells the inbox how planning ended.
  void EndPlan(Due* due);

  // Pops the next input and applies it. False: there is none that may be applied, or the session
  // has ended. A turn takes at most as many inputs as may be queued, so that other sessions act,
  // too, while a client sends empty segments as fast as they are taken.
  bool PopInput();
  void ApplyInput(Input input);
  // Makes one more READ due, and takes inputs as long as the READ needs them. False: there is no
  // READ yet, or none any more, or the session has ended.
  bool NextRead();

  void OpenSegment();
  // Opens the next segment with the source that the segment before it left, or ends the session.
  void OpenNextSegment();
  void BeginSegment();
  void CompleteSegment(FinishReason reason);
  // Gives back the memory that a long segment took, so that a silent session has no more than
  // others.
  void ShrinkState();

  // Handles an end token that is the best next one while the source goes on. True: nothing is
  // written.
  bool ApplyEarlyEnd();
  // Whether the policy lets a decided token be written.
  bool Admits(const ScoredToken& token, bool forced);
  void Write(ScoredToken token, bool forced);
  // Puts out a token that the state has been committed.
  void PutOut(ScoredToken token, bool forced);
  // Returns the text that a target token adds. Tokens of frames have none.
  std::string AppendToken(TokenId id, double delay, int source_read);
  // Whether a target token has no text. fairseq takes these out of a translation before it joins
  // the symbols.
  bool IsSilent(TokenId id) const;
  TokenId FedBack(TokenId id) const;  // See Model::feeds_back_symbols.

  // The progress after all READs that are due.
  Progress CurrentProgress() const;
  double Delay() const { return source_->Delay(state_->source_read()); }
  int target_limit() const;
  // Whether no more may be written. Steps that wrote nothing count if the agent counts them.
  bool Full() const;

  const SessionOptions options_;
  const Frame frame_;
  const Model& model_;
  SessionSink* const sink_;
  Loop* const loop_;  // Must not be used once the session is over.
  const SteadyTime opened_;
  const AgentRules agent_;

  CommittedTarget committed_;
  Inbox inbox_;

  // Members that only the step thread uses:
  std::unique_ptr<SessionState> state_;
  const std::unique_ptr<SegmentSource> source_;
  TextSink text_sink_;
  SegmentMeter meter_;
  const TargetUnits units_;
  const std::unique_ptr<SegmentTerms>
      terms_;                              // Null: there is no glossary, and no mark-up to keep.
  std::unique_ptr<SegmentDraft> draft_;    // Null: the policy uses no drafts.
  std::unique_ptr<SegmentSearch> search_;  // The open segment's beam search; null: there is none.
  // The search's finds, until CompleteSegment() gives them to the sink.
  std::vector<Hypothesis> hypotheses_;
  Phase phase_ = Phase::kIdle;
  Segment segment_;
  Turn turn_;
  bool unencoded_ = false;            // Source was read since the last Decide().
  std::atomic<int64_t> state_bytes_;  // Any thread may read this.
  std::atomic<bool> ending_{false};   // Any thread may read or set this.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_LIVE_SESSION_H_
