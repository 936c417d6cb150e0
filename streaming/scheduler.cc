#include "streaming/scheduler.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <iterator>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/budget.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/quoted.h"
#include "base/status.h"
#include "metrics/word_timing.h"
#include "streaming/audio_source.h"
#include "streaming/text_sink.h"
#include "streaming/text_source.h"

namespace leapstream {
namespace {

constexpr int kMaxTargetTokens = 1 << 20;  // More than any segment; keeps a * S + b an int.
constexpr char kEndSymbol[] = "<e>";       // As in the speech agent that the checkpoints go with.

// A session that has read more source tokens than these without once having to wait for one has a
// backlog: it translates what is there already, and nobody is speaking it. More than what a piece
// of a recognised sentence brings.
constexpr int kLiveReads = 8;

// Where a session waits for its next turn.
enum class Line { kLive, kBacklog };

struct SegmentEnd {};
struct SourceEnd {};
struct Source {
  SourceInput input;
  SourcePosition at;
};
using Input = std::variant<Source, SegmentEnd, SourceEnd>;

constexpr size_t kTextForm = 0;  // Of SourceInput.
constexpr size_t kLongWord = 8;  // Tokens: no segment ends within a shorter one, if it has others.

// No source has these: the end comes with the segment's, and padding is between sentences.
bool IsSpecial(TokenId id) { return id == kEndOfSentence || id == kPadding; }

int64_t PieceBytes(const std::string& piece) {
  return static_cast<int64_t>(sizeof(piece) + piece.size());
}

int64_t SourceBytes(const SourceInput& source) {
  if (const auto* text = std::get_if<std::string>(&source)) {
    return static_cast<int64_t>(text->size());
  }
  if (const auto* audio = std::get_if<AudioSamples>(&source)) {
    return static_cast<int64_t>(audio->size() * sizeof(float));
  }
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&source)) {
    return static_cast<int64_t>(ids->size() * sizeof(TokenId));
  }
  int64_t bytes = 0;
  for (const std::string& piece : std::get<std::vector<std::string>>(source)) {
    bytes += PieceBytes(piece);
  }
  return bytes;
}

// What an input counts while it is queued.
int64_t QueuedBytes(const Input& input) {
  const auto* source = std::get_if<Source>(&input);
  return budget::kInputBytes + (source == nullptr ? 0 : SourceBytes(source->input));
}

// Without white space, so that what ends a line is not taken for source.
int64_t VisibleBytes(absl::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return !absl::ascii_isspace(static_cast<unsigned char>(c)); });
}

// What of source that is dropped counts as such.
int64_t DroppedBytes(const SourceInput& source) {
  if (const auto* text = std::get_if<std::string>(&source)) return VisibleBytes(*text);
  return SourceBytes(source);
}

absl::Status ValidateOptions(const SessionOptions& options, const ModelInfo& model) {
  if (absl::Status policy = CheckFor(options.policy, model); !policy.ok()) return policy;
  if (options.max_target_tokens < 0 || options.max_length_b < 0 || !(options.max_length_a >= 0) ||
      options.max_length_a > kMaxTargetTokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "length limits must not be negative or absurd, got max_target_tokens ",
        options.max_target_tokens, ", max_length_a ", options.max_length_a, ", max_length_b ",
        options.max_length_b, "; leave them unset for the defaults"));
  }
  if (options.max_target_tokens_after_source < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_target_tokens_after_source must not be negative, got ",
                     options.max_target_tokens_after_source, "; leave it unset for the default"));
  }
  if (options.max_target_tokens_cap < 0 || options.max_queued_bytes < 1) {
    return absl::InvalidArgumentError("a session needs a target limit and room for its source");
  }
  if (options.max_source_tokens < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_source_tokens must be at least 2 (a token and </s>), got ",
                     options.max_source_tokens));
  }
  return absl::OkStatus();
}

absl::Status ValidateResume(const ResumeFrom& from, const Model& model) {
  if (from.segment < 1) return absl::InvalidArgumentError("segments are numbered from 1");
  for (const TokenId id : from.committed) {
    if (id < 0 || id >= model.target_vocabulary.size() || id == kEndOfSentence) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a committed target token must be in [0, ", model.target_vocabulary.size(), ") and not ",
          kEndOfSentence, " (</s>), got ", id, "; send the tokens as they were received"));
    }
  }
  if (!from.source_read.empty() && from.source_read.size() != from.committed.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "each committed target token has its source tokens read, got ", from.source_read.size(),
        " of them for ", from.committed.size(), " tokens; send both as they were received"));
  }
  return absl::OkStatus();
}

// To every new state of a session, before its first READ.
void TellPolicy(const Policy& policy, SessionState* state) {
  if (const auto* wait_k = std::get_if<WaitK>(&policy); wait_k != nullptr) {
    state->SetWaitK(wait_k->k, wait_k->write_stride);
  }
}

}  // namespace

// The state machine of one session. Push(), EndSegment(), ... run on any thread and only fill the
// inbox; everything below "Step thread" runs on the step thread alone.
class LiveSession;

class Scheduler::Loop final : public StateBudget::Holder {
 public:
  Loop(std::shared_ptr<const Model> model, StepObserver* observer, StateBudget* budget)
      : model_(std::move(model)),
        observer_(observer),
        budget_(budget),
        thread_([this] { Run(); }) {
    if (budget_ != nullptr) budget_->Enter(this);
  }
  ~Loop() override;

  absl::StatusOr<std::shared_ptr<Session>> Open(const SessionOptions& options, SessionSink* sink,
                                                ResumeFrom from);
  // Puts a session in line for the next turn. Called with the session's lock held.
  void Enqueue(std::shared_ptr<LiveSession> session, Line line);

  const std::shared_ptr<const Model>& model() const { return model_; }
  int open_sessions() const {
    MutexLock lock(&mutex_);
    return static_cast<int>(open_.size());
  }
  int64_t state_bytes() const { return state_bytes_.load(std::memory_order_relaxed); }
  Largest LargestGrown() const override;
  // Of one session the state has grown by so much.
  void AddStateBytes(int64_t bytes) {
    if (bytes == 0) return;
    state_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (budget_ != nullptr) budget_->Add(bytes);
  }
  absl::Duration turn_age() const {
    const int64_t started = turn_started_.load(std::memory_order_relaxed);
    return started == 0 ? absl::ZeroDuration()
                        : SteadyNow() - SteadyTime(absl::Nanoseconds(started));
  }
  StepObserver* observer() const { return observer_; }

 private:
  // Those that act together, and what that takes. Kept for the next turn: nothing is allocated for
  // it.
  struct Turn {
    std::vector<std::shared_ptr<LiveSession>> sessions;
    std::vector<LiveSession*> acting;
    std::vector<LiveSession*> writing;
    std::vector<SourceRows> rows;
    std::vector<LiveSession*> replaying;
    std::vector<ReplayRows> replays;
    std::vector<SessionState*> states;  // Of those that write,
    std::vector<Decision> decisions;    // and what is decided for them.
  };

  void Run();
  // False: nobody is in this line.
  bool TakeTurn(Line line);
  void Close(const std::shared_ptr<LiveSession>& session);

  const std::shared_ptr<const Model> model_;
  const bool encodes_anew_ = model_->translator->encodes_anew();
  StepObserver* const observer_;
  StateBudget* const budget_;
  std::atomic<int64_t> turn_started_{0};  // SteadyTime::nanoseconds(); 0: none is going on.
  std::atomic<int64_t> state_bytes_{0};
  mutable Mutex mutex_;
  CondVar work_;  // stop_ is set, or somebody is in line.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::array<std::vector<std::shared_ptr<LiveSession>>, 2> lines_ ABSL_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<LiveSession>> open_ ABSL_GUARDED_BY(mutex_);
  std::array<Turn, 2> turns_;  // Of each line.
  std::thread thread_;         // Last: it uses all of the above.
};

class LiveSession final : public Session, public std::enable_shared_from_this<LiveSession> {
 public:
  LiveSession(const SessionOptions& options, const Model& model, SessionSink* sink,
              Scheduler::Loop* loop, ResumeFrom from, std::unique_ptr<SessionState> state,
              std::unique_ptr<AudioSource> audio)
      : options_(options),
        model_(model),
        sink_(sink),
        loop_(loop),
        opened_(SteadyNow()),
        state_(std::move(state)),
        audio_(std::move(audio)),
        end_symbol_(model.target_vocabulary.Id(kEndSymbol)),
        text_sink_(model.target_tokenizer.get()),
        committed_(std::move(from.committed)),
        committed_source_read_(std::move(from.source_read)),
        skip_tokens_(std::max(from.skip_tokens, 0)),
        replays_at_once_(model.translator->can_replay() &&
                         options.early_end != EarlyEnd::kForceFinish && !model.feeds_back_symbols &&
                         !committed_source_read_.empty()),
        summary_(std::move(from.before)) {
    segment_.number = from.segment - 1;  // The last one that was completed.
    MutexLock lock(&mutex_);
    if (replays()) reads_without_wait_ = kLiveReads + 1;  // It has a backlog.
  }

  using Session::Push;
  void Push(SourceInput source, SourcePosition at) override { Add(Source{std::move(source), at}); }
  void EndSegment() override { Add(SegmentEnd{}); }
  void EndSource() override { Add(SourceEnd{}); }
  void Cancel(absl::Status why) override {
    MutexLock lock(&mutex_);
    if (finished_) return;
    if (!cancelled_.has_value()) cancelled_ = std::move(why);
    Schedule();
  }
  void EndAfterSegment(absl::Status why) override {
    MutexLock lock(&mutex_);
    if (finished_) return;
    if (!ending_.has_value()) ending_ = std::move(why);
    Schedule();
  }
  bool HasRoom() override {
    MutexLock lock(&mutex_);
    const bool full =
        queued_bytes_ >= options_.max_queued_bytes || inbox_.size() >= budget::kQueuedInputs;
    if (finished_ || !full) return true;
    room_wanted_ = true;
    return false;
  }
  void Hold() override {
    MutexLock lock(&mutex_);
    held_ = true;
  }
  void Release() override {
    MutexLock lock(&mutex_);
    if (!held_ || finished_) return;
    held_ = false;
    Schedule();
  }
  const SessionOptions& options() const override { return options_; }

  // --- Step thread ---

  // Does all that needs no model, as long as that is about `max_work` (see budget::kWorkPerTurn),
  // and finds what is due: reads and replay, `max_rows` at most, and write_due().
  // False: nothing is, and the session is out of line until something arrives.
  bool Plan(int max_rows, int64_t max_work);
  int64_t work() const { return max_work_ - work_left_; }  // That Plan() did.
  // Rows that its READs and Decide() will run in an encoder that encodes all anew. What is in front
  // of the encoder of speech counts as these.
  int64_t encoder_rows() const {
    const int64_t all = speech() ? SpeechInput::States(SpeechInput::Frames(segment_.samples_given))
                                 : segment_.source_given;
    const int64_t front = speech() ? int64_t{read_count_} * model_.info.speech->pre_decision_ratio : 0;
    return front + (write_due_ && unencoded_ ? all : 0);
  }
  int read_count() const { return read_count_; }  // READs that are due,
  SourceRows due_reads() {                        // and what they read.
    return {state_.get(), due_reads_, due_samples_};
  }
  bool write_due() const { return write_due_; }
  // Of a committed target that is taken at once, the tokens that are due beside those READs.
  int replay_count() const { return replay_count_; }
  bool replays() const { return replays_at_once_ && replayed_ < committed_.size(); }
  ReplayRows due_replay() {
    const auto of = [&](const auto& all) {
      return absl::MakeConstSpan(all).subspan(replayed_, replay_count_);
    };
    return {state_.get(), due_reads_, of(committed_), of(committed_source_read_)};
  }
  SessionState* state() { return state_.get(); }
  TokenId FedBack(TokenId id) const {  // See Model::feeds_back_symbols.
    if (!model_.feeds_back_symbols) return id;
    return model_.target_vocabulary.Id(model_.target_vocabulary.Symbol(id));
  }
  void Apply(const Decision& decision);
  void ApplyReplay();
  // How long its batch took in the model, and how long it waited there for other sessions' turns.
  void AddTimes(absl::Duration compute, absl::Duration waited) {
    segment_.stats.compute += compute;
    segment_.stats.queue += waited;
  }
  Line line() const {
    MutexLock lock(&mutex_);
    return LineOfNextTurn();
  }
  int64_t state_bytes() const {  // On any thread.
    return state_bytes_.load(std::memory_order_relaxed);
  }
  // Tells the loop by how much its state has grown.
  void CountState() {
    const int64_t bytes = state_->bytes();
    loop_->AddStateBytes(bytes - state_bytes_.exchange(bytes, std::memory_order_relaxed));
  }
  // It is over, and nobody uses the state any more, whoever still has the session.
  void FreeState() {
    state_.reset();
    loop_->AddStateBytes(-state_bytes_.exchange(0, std::memory_order_relaxed));
  }
  // Ends the session; later calls do nothing.
  void Finish(absl::Status status);
  bool finished() const {
    MutexLock lock(&mutex_);
    return finished_;
  }

 private:
  struct Word {  // Of the source; of pieces and ids one token.
    int first = 0;  // Source tokens of the segment before it.
    int skipped = 0;  // Tokens of its beginning, which are of segments before.
    absl::InlinedVector<TokenId, 8> tokens;
    SourcePosition at;
    int end() const { return first + static_cast<int>(tokens.size()); }
  };
  struct Segment {  // The open one.
    int64_t number = 0;
    bool source_closed = false;    // Its end has arrived.
    bool source_finished = false;  // </s> was given to the model.
    bool source_cut = false;       // The limit was reached: the rest of the source is dropped.
    bool completed = false;        // Only waiting for the end of its source.
    int lag = 0;                   // See Progress.
    int wanted = 0;                // See Progress.
    std::optional<size_t> form;    // Which SourceInput its source is.
    int source_given = 0;          // Source tokens handed out, </s> included.
    int64_t samples_given = 0;     // Of speech, instead.
    int skipped = 0;               // Steps that count and wrote nothing: EarlyEnd::kForceFinish.
    int after_source = 0;          // Target tokens written once the source was finished.
    std::vector<TokenId> tokens;   // Encoded; those before `read` were read.
    size_t read = 0;
    // What came last as pieces or ids, of which `taken` are in `tokens` or read.
    std::vector<std::string> pieces;
    std::vector<TokenId> ids;
    size_t taken = 0;
    SourcePosition at;  // Where that begins.
    // How often in a row </s> was the best next token and nothing was written, because the source
    // went on, and how much of it had been read the first time.
    int ends_in_a_row = 0;
    int end_read = 0;
    int unread = 0;  // Tokens of a word that were dropped because a limit cut the source.
    // SessionOptions::next_segments: what the segment before left, which is taken first; the words
    // that the next segment may begin with, and whether it will.
    std::deque<Word> carried;
    std::deque<Word> words;
    bool goes_on = false;
    std::string text;
    metrics::SegmentTiming timing;
    // The same of target words; delays are in source tokens until the segment is complete.
    metrics::SegmentTiming word_timing;
    metrics::TargetWords target_words{metrics::TargetUnit::kWordOrCharacter};
    metrics::SourceWordEnds source_words;  // Of text.
    SteadyTime opened;
    SegmentStats stats;

    int waiting() const { return static_cast<int>(tokens.size() - read); }
    void DropTokens() {
      tokens.clear();
      read = 0;
    }
  };

  void Add(Input input) {
    MutexLock lock(&mutex_);
    if (finished_) return;
    queued_bytes_ += QueuedBytes(input);
    inbox_.push_back(std::move(input));
    Schedule();
  }
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    changed_ = true;
    if (scheduled_) return;
    scheduled_ = true;
    scheduled_at_ = SteadyNow();
    loop_->Enqueue(shared_from_this(), LineOfNextTurn());
  }
  Line LineOfNextTurn() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return reads_without_wait_ > kLiveReads ? Line::kBacklog : Line::kLive;
  }

  enum class Taken { kInput, kNothing, kEnded };
  // Takes the next input, if there is one and the open segment's source is not complete. kEnded:
  // the session is over. Within one turn at most as many as may be queued, then kNothing: who sends
  // what needs no model, such as empty segments, as fast as it is taken, lets others act, too.
  Taken TakeInput();
  bool held() const {
    MutexLock lock(&mutex_);
    return held_;
  }
  absl::Status Take(Source source);
  void OpenSegment();
  // The next segment, with the source that is left of the completed one. False: the session is to
  // end first, and has.
  bool ContinueInNext();
  // Where the source begins that has not been made tokens yet.
  SourcePosition RestAt();
  SourcePosition TextAt(size_t offset);  // Of text_source_; they must not fall.
  double Delay() const;     // Of what is written now, in the unit of the lagging figures.
  double Computed() const;  // In ms: how long the open segment could act but had not yet.
  // A target token, or </s>, is written when `delay` has been read.
  void TakeDelay(double delay);
  // The text that it adds.
  std::string TakeToken(TokenId id, double delay);
  void TakeWords(absl::string_view text, double delay);
  void MeasureWords();
  void CompleteSegment(FinishReason reason);
  // Gives memory back that a long segment took, so that who is silent has no more than others.
  void ShrinkState();
  // Says what becomes of the source that was not translated, and drops it, or keeps it for the next
  // segment.
  void LeaveSource(SegmentCompleted* completed);
  // Finds how much of the committed target can be taken with the source that is there.
  void PlanReplay(int max_rows);
  void RefuseCommitted(absl::string_view why);
  // The next source token, if there is one yet. None also if the turn's work is used up: then
  // cut_short_ is set.
  absl::StatusOr<std::optional<TokenId>> NextSourceToken();
  // Moves the next word or piece of the source to segment_.tokens. False: there is none yet.
  absl::StatusOr<bool> TakeWord();
  // Speech: takes what one READ asks for into due_samples_; at the source's end nothing, as a READ
  // of its own. False: it is not there yet.
  bool TakeAudio();
  bool speech() const { return audio_ != nullptr; }
  // As it is when all READs that are due have been made.
  Progress CurrentProgress() const;
  absl::Duration AudioGiven() const {
    return absl::Seconds(segment_.samples_given) / kSpeechSampleRate;
  }
  int SourceLimit() const;
  int TargetLimit(int source_read) const;
  // Speech: no more may be written. Steps that wrote nothing count, as in the reference.
  bool Full() const {
    const int after = options_.max_target_tokens_after_source;
    return state_->target_written() + segment_.skipped >= TargetLimit(state_->source_read()) ||
           (after > 0 && segment_.after_source >= after);
  }

  const SessionOptions options_;
  const Model& model_;  // The loop's; outlives the session's last step.
  SessionSink* const sink_;
  Scheduler::Loop* const loop_;  // Not used once finished_.
  const SteadyTime opened_;

  mutable Mutex mutex_;
  std::deque<Input> inbox_ ABSL_GUARDED_BY(mutex_);
  int64_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // Of inbox_.
  bool room_wanted_ ABSL_GUARDED_BY(mutex_) = false;  // OnRoom() is to be called.
  std::optional<absl::Status> cancelled_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);  // After the open segment.
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;  // Since Plan() last looked.
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  int reads_without_wait_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  SteadyTime scheduled_at_ ABSL_GUARDED_BY(mutex_);

  // Of the step thread.
  std::unique_ptr<SessionState> state_;
  TextSource text_source_;
  struct TextInput {
    size_t begin;  // In text_source_.
    SourcePosition at;
  };
  std::deque<TextInput> text_inputs_;  // next_segments: what text_source_ has not returned yet.
  const std::unique_ptr<AudioSource> audio_;  // Null for text.
  const TokenId end_symbol_;  // Ends speech once its source has ended; kUnknown: there is none.
  TextSink text_sink_;
  bool open_ = false;
  Segment segment_;
  int read_count_ = 0;
  std::vector<TokenId> due_reads_;
  std::vector<float> due_samples_;
  bool write_due_ = false;
  size_t inputs_left_ = 0;  // That may still be taken in this turn.
  int64_t max_work_ = 0;    // Of this turn, in units of budget::kWorkPerTurn,
  int64_t work_left_ = 0;   // and what is left of it; the last piece of work may exceed it.
  bool cut_short_ = false;  // Something is left for the next turn because of these.
  bool unencoded_ = false;  // Source was read since the last Decide().
  SteadyTime able_since_;   // When what is due became possible.
  std::atomic<int64_t> state_bytes_{state_->bytes()};
  std::vector<TokenId> committed_;  // Of the segment that is resumed; emptied when replayed.
  const std::vector<int> committed_source_read_;  // Of each, or none.
  int skip_tokens_;  // Of the first word of the segment that is resumed.
  const bool replays_at_once_;
  size_t replayed_ = 0;     // How many of committed_ were.
  int replay_count_ = 0;    // How many are due.
  SessionSummary summary_;  // Lagging figures: sums.
};

void LiveSession::OpenSegment() {
  open_ = true;
  const int64_t number = segment_.number + 1;
  segment_ = Segment();
  segment_.number = number;
  segment_.opened = SteadyNow();
  state_->Reset();
  text_source_.Reset();
  text_inputs_.clear();
  if (speech()) audio_->Reset();
  text_sink_.Reset();
}

bool LiveSession::ContinueInNext() {
  std::optional<absl::Status> ending;
  {
    MutexLock lock(&mutex_);
    ending = ending_;
  }
  if (ending.has_value()) {
    Finish(*std::move(ending));
    return false;
  }
  Segment next;
  next.number = segment_.number + 1;
  next.source_closed = segment_.source_closed;
  next.form = segment_.form;
  next.pieces = std::move(segment_.pieces);
  next.ids = std::move(segment_.ids);
  next.taken = segment_.taken;
  next.at = segment_.at;
  next.carried = std::move(segment_.words);
  std::move(segment_.carried.begin(), segment_.carried.end(), std::back_inserter(next.carried));
  next.opened = SteadyNow();
  segment_ = std::move(next);
  state_->Reset();
  text_sink_.Reset();
  return true;
}

SourcePosition LiveSession::TextAt(size_t offset) {
  while (text_inputs_.size() > 1 && text_inputs_[1].begin <= offset) text_inputs_.pop_front();
  if (text_inputs_.empty()) return {};
  const TextInput& input = text_inputs_.front();
  return {input.at.chunks, input.at.samples + static_cast<int64_t>(offset - input.begin)};
}

SourcePosition LiveSession::RestAt() {
  if (segment_.form == kTextForm) return TextAt(text_source_.rest_begin());
  return {segment_.at.chunks, segment_.at.samples + static_cast<int64_t>(segment_.taken)};
}

LiveSession::Taken LiveSession::TakeInput() {
  Input input = SegmentEnd{};
  bool room = false;
  std::optional<absl::Status> ending;
  {
    MutexLock lock(&mutex_);
    const bool at_end = !inbox_.empty() && std::holds_alternative<SourceEnd>(inbox_.front());
    if (inbox_.empty() || (!open_ && !at_end)) ending = ending_;
    if (open_ && !segment_.completed) ending.reset();
    if (!ending.has_value()) {
      if (inbox_.empty()) return Taken::kNothing;
      if (inputs_left_ == 0 || work_left_ <= 0) {
        cut_short_ = true;
        return Taken::kNothing;
      }
      --inputs_left_;
      work_left_ -= budget::kInputWork;
      if (!at_end || !open_) {  // Else the source's end ends the segment first, and comes up again.
        input = std::move(inbox_.front());
        inbox_.pop_front();
        queued_bytes_ -= QueuedBytes(input);
      }
      room = room_wanted_ && queued_bytes_ <= options_.max_queued_bytes / 2 &&
             inbox_.size() <= budget::kQueuedInputs / 2;
      if (room) room_wanted_ = false;
    }
  }
  if (ending.has_value()) {
    Finish(*std::move(ending));
    return Taken::kEnded;
  }
  if (room) sink_->OnRoom();
  if (std::holds_alternative<SourceEnd>(input)) {
    if (!committed_.empty()) {  // Of a segment that has not come.
      RefuseCommitted(absl::StrCat(committed_.size(),
                                   " target tokens are said to be committed, but "
                                   "the segment that they are of has no source; send it again"));
      return Taken::kEnded;
    }
    SessionSummary summary = summary_;
    summary.totals.source_tokens = static_cast<int>(summary.source_tokens);
    summary.totals.target_tokens = static_cast<int>(summary.target_tokens);
    if (summary.segments > 0) {
      summary.totals.lagging.al /= summary.segments;
      summary.totals.lagging.laal /= summary.segments;
    }
    sink_->OnEvent(summary);
    Finish(absl::OkStatus());
    return Taken::kEnded;
  }
  if (!open_) OpenSegment();
  if (std::holds_alternative<SegmentEnd>(input)) {
    segment_.source_closed = true;
    text_source_.Finish();
    if (speech()) audio_->Finish();
  } else if (segment_.completed || segment_.source_cut) {
    const int64_t dropped = DroppedBytes(std::get<Source>(input).input);
    summary_.dropped_source_bytes += dropped;
    work_left_ -= dropped / 4;
  } else {
    absl::Status status = Take(std::get<Source>(std::move(input)));
    if (!status.ok()) {
      Finish(std::move(status));
      return Taken::kEnded;
    }
  }
  if (segment_.completed && segment_.source_closed) open_ = false;
  return Taken::kInput;
}

absl::Status LiveSession::Take(Source taken) {
  SourceInput& source = taken.input;
  if (std::holds_alternative<AudioSamples>(source) != speech()) {
    return absl::InvalidArgumentError(absl::StrCat("model ", model_.info.name, " takes ",
                                                   speech() ? "audio" : "text",
                                                   ", got the other kind of source"));
  }
  if (auto* samples = std::get_if<AudioSamples>(&source)) {
    if (options_.sample_rate != kSpeechSampleRate) {
      work_left_ -= static_cast<int64_t>(samples->size()) * budget::kResampledWork;
    }
    audio_->Append(*samples);
    return absl::OkStatus();
  }
  if (segment_.form.has_value() && *segment_.form != source.index()) {
    return absl::InvalidArgumentError(
        "a segment's source is either text, pieces or token ids; end the segment before changing");
  }
  segment_.form = source.index();
  if (auto* text = std::get_if<std::string>(&source)) {
    if (options_.next_segments) {
      TextAt(text_source_.rest_begin());  // Forgets inputs that have no rest, as of white space.
      text_inputs_.push_back({text_source_.end(), taken.at});
    }
    text_source_.Append(*text);
    return absl::OkStatus();
  }
  // All that came before was taken.
  segment_.at = taken.at;
  segment_.taken = 0;
  if (auto* pieces = std::get_if<std::vector<std::string>>(&source)) {
    segment_.pieces = std::move(*pieces);
    return absl::OkStatus();
  }
  segment_.ids = std::get<std::vector<TokenId>>(std::move(source));
  work_left_ -= static_cast<int64_t>(segment_.ids.size()) / budget::kIdsPerWork;
  for (const TokenId id : segment_.ids) {
    if (id < 0 || id >= model_.source_vocabulary.size() || IsSpecial(id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a source token id must be in [0, ", model_.source_vocabulary.size(),
                       ") and not ", kPadding, " (<pad>) or ", kEndOfSentence, " (</s>), got ", id,
                       "; end the segment instead of sending </s>"));
    }
  }
  return absl::OkStatus();
}

int LiveSession::SourceLimit() const {
  const int model_limit = model_.info.max_source_tokens;
  return model_limit > 0 ? std::min(model_limit, options_.max_source_tokens)
                         : options_.max_source_tokens;
}

int LiveSession::TargetLimit(int source_read) const {
  double limit = options_.max_target_tokens > 0
                     ? options_.max_target_tokens
                     : options_.max_length_a * source_read + options_.max_length_b;
  limit = std::min<double>(limit, kMaxTargetTokens);
  if (model_.info.max_target_tokens > 0) {
    limit = std::min<double>(limit, model_.info.max_target_tokens);
  }
  if (options_.max_target_tokens_cap > 0) {
    limit = std::min<double>(limit, options_.max_target_tokens_cap);
  }
  return static_cast<int>(limit);
}

absl::StatusOr<bool> LiveSession::TakeWord() {
  Word word;
  if (!segment_.carried.empty()) {
    word = std::move(segment_.carried.front());
    segment_.carried.pop_front();
  } else if (segment_.taken < segment_.ids.size()) {
    word.at = RestAt();
    word.tokens.push_back(segment_.ids[segment_.taken++]);
  } else if (segment_.taken < segment_.pieces.size()) {
    word.at = RestAt();
    const std::string& piece = segment_.pieces[segment_.taken++];
    work_left_ -= budget::kPieceWork;
    word.tokens.push_back(model_.source_vocabulary.Id(piece));
    if (IsSpecial(word.tokens[0])) {
      return absl::InvalidArgumentError(
          absl::StrCat("a source piece must not be </s> or <pad>, got ", Quoted(piece),
                       "; end the segment instead of sending </s>"));
    }
  } else {
    std::string text;
    LEAPSTREAM_ASSIGN_OR_RETURN(text, text_source_.NextWord(&work_left_));
    if (text.empty()) return false;
    for (const std::string& piece : model_.source_tokenizer->Encode(text)) {
      word.tokens.push_back(model_.source_vocabulary.Id(piece));
    }
    work_left_ -= static_cast<int64_t>(text.size()) * budget::kEncodedByteWork;
    if (word.tokens.empty()) work_left_ -= budget::kEmptyWordWork;
    if (options_.next_segments) word.at = TextAt(text_source_.word_begin());
    if (skip_tokens_ > 0 && !word.tokens.empty()) {
      word.skipped = std::min(std::exchange(skip_tokens_, 0),
                              static_cast<int>(word.tokens.size()));
      word.tokens.erase(word.tokens.begin(), word.tokens.begin() + word.skipped);
    }
  }
  word.first = segment_.source_given;
  if (options_.next_segments && !word.tokens.empty()) {
    // What the next segment cannot begin with any more.
    const int settled = segment_.ends_in_a_row > 0 ? segment_.end_read : segment_.source_given;
    while (!segment_.words.empty() && segment_.words.front().end() <= settled) {
      segment_.words.pop_front();
    }
    segment_.words.push_back(word);
    // No word is cut by the limit that is not longer itself.
    if (word.first > 0 && word.end() > SourceLimit() - 1) {
      segment_.source_cut = true;
      return true;
    }
  }
  if (segment_.form == kTextForm) {
    segment_.source_words.Add(static_cast<int>(word.tokens.size()));
  }
  if (segment_.waiting() == 0) segment_.DropTokens();
  segment_.tokens.insert(segment_.tokens.end(), word.tokens.begin(), word.tokens.end());
  return true;
}

absl::StatusOr<std::optional<TokenId>> LiveSession::NextSourceToken() {
  if (segment_.source_finished) return std::nullopt;
  while (segment_.waiting() == 0 && !segment_.source_cut) {
    bool taken = false;
    if (work_left_ > 0) {
      LEAPSTREAM_ASSIGN_OR_RETURN(taken, TakeWord());
    }
    if (taken) continue;
    if (work_left_ <= 0) {
      cut_short_ = true;
      return std::nullopt;
    }
    if (segment_.source_closed || TakeInput() != Taken::kInput) break;
  }
  // </s> needs a position of its own, so the last one is kept for it.
  const bool full = segment_.source_given >= SourceLimit() - 1;
  if (full && segment_.waiting() > 0) segment_.source_cut = true;
  if (segment_.source_cut || (segment_.waiting() == 0 && segment_.source_closed)) {
    if (segment_.source_given == 0) return std::nullopt;  // Empty: see Plan().
    segment_.unread += segment_.waiting();
    segment_.DropTokens();
    segment_.source_finished = true;
    ++segment_.source_given;
    return std::optional<TokenId>(kEndOfSentence);
  }
  if (segment_.waiting() == 0) return std::nullopt;
  const TokenId token = segment_.tokens[segment_.read++];
  ++segment_.source_given;
  return std::optional<TokenId>(token);
}

bool LiveSession::TakeAudio() {
  if (segment_.source_finished) return false;
  const int64_t wanted = model_.info.speech->SamplesPerRead();
  const int64_t limit = int64_t{SourceLimit()} * (kStateMilliseconds * (kSpeechSampleRate / 1000));
  while (audio_->available() < wanted && !segment_.source_closed && !segment_.source_cut) {
    if (TakeInput() != Taken::kInput) break;
  }
  if (segment_.samples_given + audio_->available() > limit) segment_.source_cut = true;
  const bool complete = segment_.source_closed || segment_.source_cut;
  if (audio_->available() < wanted && !complete) return false;
  const int64_t count = std::min({wanted, audio_->available(), limit - segment_.samples_given});
  audio_->Take(count, &due_samples_);
  segment_.samples_given += count;
  segment_.source_finished = count == 0;
  return true;
}

Progress LiveSession::CurrentProgress() const {
  Progress progress;
  progress.source_read = segment_.source_given;
  progress.target_written = state_->target_written() + segment_.skipped;
  progress.source_finished = segment_.source_finished;
  progress.lag = segment_.lag;
  progress.wanted = segment_.wanted;
  if (!speech()) return progress;
  const auto states =
      static_cast<int>(SpeechInput::States(SpeechInput::Frames(segment_.samples_given)));
  progress.source_read = states == 0 ? 0 : model_.info.speech->Steps(states);
  progress.source_is_short = states < model_.info.speech->pre_decision_ratio;
  return progress;
}

bool LiveSession::Plan(int max_rows, int64_t max_work) {
  read_count_ = 0;
  replay_count_ = 0;
  due_samples_.clear();
  due_reads_.clear();
  write_due_ = false;
  inputs_left_ = budget::kQueuedInputs;
  max_work_ = work_left_ = max_work;
  cut_short_ = false;
  SteadyTime scheduled_at;
  std::optional<absl::Status> cancelled;
  {
    MutexLock lock(&mutex_);
    if (finished_) return false;
    changed_ = false;
    scheduled_at = scheduled_at_;
    cancelled = cancelled_;
  }
  if (cancelled.has_value()) {
    Finish(*std::move(cancelled));
    return false;
  }
  bool was_held = true;
  while (!(was_held = held())) {
    if (open_ && segment_.completed && segment_.goes_on) {
      if (!ContinueInNext()) return false;
      continue;
    }
    if (!open_ || segment_.completed) {
      const Taken taken = TakeInput();
      if (taken == Taken::kEnded) return false;
      if (taken == Taken::kNothing) break;
      continue;
    }
    if (replays()) {
      PlanReplay(max_rows);
      if (finished()) return false;
      break;
    }
    const Policy& policy = options_.policy;
    Progress progress = CurrentProgress();
    while (read_count_ < max_rows && Decide(policy, progress) == Action::kRead) {
      if (speech()) {
        const bool taken = TakeAudio();
        if (finished()) return false;
        if (!taken) break;
      } else {
        absl::StatusOr<std::optional<TokenId>> token = NextSourceToken();
        if (!token.ok()) Finish(token.status());
        if (finished()) return false;
        if (!token->has_value()) break;
        due_reads_.push_back(**token);
      }
      ++read_count_;
      progress = CurrentProgress();
    }
    const bool source_over =
        speech() ? segment_.source_finished : segment_.source_closed || segment_.source_cut;
    if (progress.source_read == 0 && source_over && !cut_short_) {
      CompleteSegment(FinishReason::kEndOfSentence);  // Nothing to translate.
      if (finished()) return false;
      // The next segment gets none of the audio that was too short for a state.
      due_samples_.clear();
      read_count_ = 0;
      continue;
    }
    write_due_ = progress.source_read > 0 && Decide(policy, progress) == Action::kWrite;
    break;
  }
  if (read_count_ > 0) unencoded_ = true;
  const bool works = read_count_ > 0 || replay_count_ > 0 || write_due_;
  if (works) segment_.stats.queue += SteadyNow() - scheduled_at;
  able_since_ = scheduled_at;
  MutexLock lock(&mutex_);
  if (works) {
    reads_without_wait_ = std::min(reads_without_wait_ + read_count_, kLiveReads + 1);
  } else if (!was_held && !cut_short_ && !replays()) {
    reads_without_wait_ = 0;
  }
  if (cut_short_) reads_without_wait_ = kLiveReads + 1;  // It has a backlog.
  // What arrived since changed_ was cleared is for the next turn.
  if (!works && !changed_ && !cut_short_) {
    scheduled_ = false;
    return false;
  }
  scheduled_at_ = SteadyNow();
  return true;
}

void LiveSession::PlanReplay(int max_rows) {
  while (replayed_ + replay_count_ < committed_.size() && read_count_ + replay_count_ < max_rows) {
    const size_t next = replayed_ + replay_count_;
    const int due = committed_source_read_[next];
    Progress progress = CurrentProgress();
    progress.target_written = static_cast<int>(next);
    const bool writes = Decide(options_.policy, progress) == Action::kWrite;
    const bool reads_on = options_.early_end == EarlyEnd::kReadOn;
    if (progress.source_read < due && !progress.source_finished && (!writes || reads_on)) {
      absl::StatusOr<std::optional<TokenId>> token = NextSourceToken();
      if (!token.ok()) Finish(token.status());
      if (finished()) return;
      if (token->has_value()) {
        if (writes) ++segment_.lag;  // What was decided here was an early </s>.
        due_reads_.push_back(**token);
        ++read_count_;
        continue;
      }
      if (cut_short_ || (!segment_.source_closed && !segment_.source_cut)) return;  // Not yet.
    } else if (progress.source_read == due && writes &&
               progress.target_written < TargetLimit(progress.source_read)) {
      ++replay_count_;
      continue;
    }
    return RefuseCommitted(
        absl::StrCat("committed target token ", next + 1, " is said to have been written when ",
                     due, " source tokens were read, but with ", ToString(options_.policy), " and ",
                     progress.source_read,
                     " source tokens it cannot have been; send tokens and source as they "
                     "were"));
  }
}

void LiveSession::RefuseCommitted(absl::string_view why) {
  absl::Status status = absl::InvalidArgumentError(why);
  status.SetPayload(kCommittedTargetPayload, absl::Cord());
  Finish(std::move(status));
}

void LiveSession::ApplyReplay() {
  for (; replay_count_ > 0; --replay_count_, ++replayed_) {
    const double delay = committed_source_read_[replayed_];
    segment_.ends_in_a_row = 0;
    TakeDelay(delay);
    TakeToken(committed_[replayed_], delay);
    if (replayed_ == 0) segment_.stats.first_token = SteadyNow() - segment_.opened;
  }
}

void LiveSession::Apply(const Decision& decision) {
  unencoded_ = false;
  // If the step is decided again, it is after at least one more READ.
  segment_.wanted = state_->source_read() + 1;
  if (decision.wants_source) return;
  ScoredToken token = decision.best;
  // To an agent that keeps symbols, each token that reads </s> is one.
  if (model_.feeds_back_symbols && FedBack(token.id) == FedBack(kEndOfSentence)) {
    token.id = kEndOfSentence;
  }
  const bool early = !segment_.source_finished;
  if (token.id == kEndOfSentence && early) {
    const bool reads_on = options_.early_end == EarlyEnd::kReadOn;
    if (reads_on || options_.early_end == EarlyEnd::kForceFinish) {
      if (segment_.ends_in_a_row++ == 0) segment_.end_read = state_->source_read();
    }
    if (reads_on) {
      ++segment_.lag;  // Nothing was committed, so the step stays open.
      if (options_.next_segments &&
          segment_.ends_in_a_row >= std::max(kEndsInARow, segment_.end_read / 4)) {
        TakeDelay(segment_.end_read);
        CompleteSegment(FinishReason::kEndOfSentence);
      }
      return;
    }
    if (options_.early_end == EarlyEnd::kForceFinish) {
      ++segment_.skipped;
      state_->Repeat();
      if (state_->target_written() > 0 && Full()) CompleteSegment(FinishReason::kMaxLength);
      return;
    }
    if (options_.early_end == EarlyEnd::kSuppress) token = decision.second;
  }
  // What was put out before is kept, even where another machine's arithmetic would decide
  // otherwise.
  const bool forced = replayed_ < committed_.size();
  if (forced) token.id = committed_[replayed_];
  TakeDelay(Delay());
  if (token.id == kEndOfSentence) return CompleteSegment(FinishReason::kEndOfSentence);
  if (!speech() && state_->target_written() >= TargetLimit(state_->source_read())) {
    return CompleteSegment(FinishReason::kMaxLength);
  }
  state_->Commit(FedBack(token.id));
  segment_.ends_in_a_row = 0;
  if (segment_.source_finished) ++segment_.after_source;
  segment_.wanted = 0;
  TargetDelta delta;
  delta.segment = segment_.number;
  delta.token.id = token.id;
  delta.token.piece = model_.target_vocabulary.Symbol(token.id);
  delta.token.source_tokens_read = state_->source_read();
  if (speech()) delta.token.source_audio = AudioGiven();
  delta.token.log_prob = token.log_prob;
  const SteadyTime now = SteadyNow();
  delta.token.emit_offset = now - opened_;
  delta.text = TakeToken(token.id, Delay());
  const bool first = state_->target_written() == 1;
  if (first) segment_.stats.first_token = now - segment_.opened;
  if (forced) {
    ++replayed_;
  } else {
    if (StepObserver* const observer = loop_->observer(); observer != nullptr) {
      observer->OnToken(now - able_since_);
      if (first) observer->OnFirstToken(segment_.stats.first_token);
    }
    sink_->OnEvent(std::move(delta));
  }
  if (speech() && token.id == end_symbol_ && token.id != kUnknown && segment_.source_finished) {
    return CompleteSegment(FinishReason::kEndOfSentence);
  }
  // The text agents decide one more step and drop it; the speech agent does not.
  if (speech() && Full()) CompleteSegment(FinishReason::kMaxLength);
}

double LiveSession::Delay() const {
  return speech() ? absl::ToDoubleMilliseconds(AudioGiven()) : state_->source_read();
}

double LiveSession::Computed() const {
  return absl::ToDoubleMilliseconds(segment_.stats.compute + segment_.stats.queue);
}

void LiveSession::TakeDelay(double delay) {
  segment_.timing.delays.push_back(delay);
  segment_.timing.elapsed.push_back(delay + Computed());
}

std::string LiveSession::TakeToken(TokenId id, double delay) {
  std::string text = text_sink_.Append(model_.target_vocabulary.Symbol(id));
  segment_.text += text;
  TakeWords(text, delay);
  return text;
}

void LiveSession::TakeWords(absl::string_view text, double delay) {
  for (const metrics::TimedWord& word : segment_.target_words.Append(text, delay, Computed())) {
    segment_.word_timing.delays.push_back(word.source_read);
    segment_.word_timing.elapsed.push_back(word.source_read + word.elapsed);
  }
}

void LiveSession::MeasureWords() {
  metrics::SegmentTiming& timing = segment_.word_timing;
  const metrics::SourceWordEnds& source = segment_.source_words;
  timing.source_length = segment_.timing.source_length;
  if (!speech()) {
    if (source.words() == 0) return;
    // </s> belongs to no word.
    const int read = state_->source_read() - (segment_.source_finished ? 1 : 0);
    for (double& delay : timing.delays) {
      delay = source.WordsRead(std::min(static_cast<int>(delay), read));
    }
    timing.source_length = source.WordsRead(read);
  }
  segment_.stats.words = metrics::MeasureLagging(timing);
}

void LiveSession::CompleteSegment(FinishReason reason) {
  if (replayed_ < committed_.size()) {
    return RefuseCommitted(absl::StrCat("the open segment has ", state_->target_written(),
                                        " target tokens, but ", committed_.size(),
                                        " are said to be committed; is its source complete?"));
  }
  committed_.clear();
  replayed_ = 0;
  SegmentStats& stats = segment_.stats;
  stats.source_tokens = state_->source_read();
  stats.target_tokens = state_->target_written();
  // Of speech in ms.
  if (speech()) {
    stats.source_audio = AudioGiven();
    segment_.timing.durations = segment_.word_timing.durations = metrics::kSpeechDurations;
  }
  segment_.timing.source_length =
      speech() ? absl::ToDoubleMilliseconds(stats.source_audio) : stats.source_tokens;
  stats.lagging = metrics::MeasureLagging(segment_.timing);
  const std::string unsent = text_sink_.Finish();
  TakeWords(unsent + " ", Delay());
  MeasureWords();
  if (speech()) {
    stats.computation_aware = metrics::MeasureComputationAwareLagging(segment_.timing);
    stats.words_computation_aware = metrics::MeasureComputationAwareLagging(segment_.word_timing);
  }
  ++summary_.segments;
  summary_.source_tokens += stats.source_tokens;
  summary_.target_tokens += stats.target_tokens;
  SegmentCompleted completed;
  LeaveSource(&completed);
  SegmentStats& totals = summary_.totals;
  totals.source_audio += stats.source_audio;
  totals.lagging.al += stats.lagging.al;
  totals.lagging.laal += stats.lagging.laal;
  totals.compute += stats.compute;
  totals.queue += stats.queue;
  if (summary_.segments == 1) totals.first_token = stats.first_token;

  completed.segment = segment_.number;
  completed.unsent = unsent;
  completed.text = segment_.text + unsent;
  // Of audio more may be there than was read: how much depends on when it came.
  const bool cut = segment_.source_cut && (!speech() || segment_.source_finished);
  completed.reason = cut ? FinishReason::kSourceLimit : reason;
  completed.stats = stats;
  completed.so_far = summary_;
  segment_.completed = true;
  work_left_ -= budget::kSegmentWork;
  ShrinkState();
  sink_->OnEvent(std::move(completed));
}

void LiveSession::ShrinkState() {
  const ModelInfo& info = model_.info;
  if (info.state_bytes_per_token == 0) return;
  CountState();
  const int64_t typical =
      info.state_bytes_per_session + budget::kTypicalSegmentTokens * info.state_bytes_per_token;
  if (state_bytes() <= typical) return;
  absl::StatusOr<std::unique_ptr<SessionState>> state = model_.translator->NewState();
  if (!state.ok()) return;  // It goes on with what it has.
  TellPolicy(options_.policy, state->get());
  state_ = *std::move(state);
  CountState();
}

void LiveSession::LeaveSource(SegmentCompleted* completed) {
  const bool is_over = segment_.source_finished && !segment_.source_cut;
  const int given = speech() ? state_->source_read() : segment_.source_given;
  // Without </s>, which speech does not have.
  const int read = given - (!speech() && segment_.source_finished ? 1 : 0);
  segment_.goes_on = options_.next_segments && !speech() && given > 0 && !is_over;
  if (segment_.goes_on) {
    const int end = segment_.ends_in_a_row > 0 ? std::min(segment_.end_read, read) : read;
    auto& words = segment_.words;
    while (!words.empty() && words.front().end() <= end) words.pop_front();
    // A word of which a part was read comes again, but for one that may be a whole text without
    // spaces, or is all of the segment.
    if (!words.empty() && words.front().first < end) {
      Word& word = words.front();
      if (word.first == 0 || word.tokens.size() > kLongWord) {
        const int read_of_it = end - word.first;
        word.tokens.erase(word.tokens.begin(), word.tokens.begin() + read_of_it);
        word.skipped += read_of_it;
      }
    }
    const auto& left = words.empty() ? segment_.carried : words;
    completed->continues_at = left.empty() ? RestAt() : left.front().at;
    completed->continues_after_tokens = left.empty() ? 0 : left.front().skipped;
    return;
  }
  completed->untranslated_source_tokens =
      segment_.unread + segment_.waiting() +
      (segment_.ends_in_a_row > 0 ? std::max(read - segment_.end_read, 0) : 0);
  completed->source_dropped = given > 0 && !is_over;
  summary_.untranslated_source_tokens += completed->untranslated_source_tokens;
  if (speech()) {
    summary_.dropped_source_bytes +=
        audio_->available() * options_.sample_rate / kSpeechSampleRate *
        static_cast<int64_t>(sizeof(float));
    audio_->Reset();
  } else if (segment_.taken < segment_.ids.size()) {
    summary_.dropped_source_bytes +=
        static_cast<int64_t>((segment_.ids.size() - segment_.taken) * sizeof(TokenId));
  }
  for (size_t i = segment_.taken; i < segment_.pieces.size(); ++i) {
    summary_.dropped_source_bytes += PieceBytes(segment_.pieces[i]);
  }
  summary_.dropped_source_bytes += VisibleBytes(text_source_.rest());
  segment_.DropTokens();
  segment_.pieces.clear();
  segment_.ids.clear();
  segment_.words.clear();
  text_source_.Reset();
  text_inputs_.clear();
  if (segment_.source_closed) open_ = false;
}

void LiveSession::Finish(absl::Status status) {
  {
    MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
    inbox_.clear();
    queued_bytes_ = 0;
  }
  sink_->OnFinished(std::move(status));
}

Scheduler::Loop::~Loop() {
  if (budget_ != nullptr) budget_->Leave(this);
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  work_.NotifyOne();
  thread_.join();
  // Not under the lock: OnFinished() is somebody else's code.
  std::set<std::shared_ptr<LiveSession>> open;
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
  LEAPSTREAM_RETURN_IF_ERROR(ValidateOptions(options, model_->info));
  LEAPSTREAM_RETURN_IF_ERROR(ValidateResume(from, *model_));
  std::unique_ptr<AudioSource> audio;
  if (model_->info.speech.has_value()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(audio, AudioSource::Create(options.sample_rate));
  }
  // What grows later is another matter: see StateBudget::EndLargest(). A device has memory of its
  // own.
  if (budget_ != nullptr && model_->info.device == "cpu" &&
      !budget_->HasRoomFor(model_->info.state_bytes_per_session)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the states of all sessions have ", budget_->used() >> 20, " of the ",
        budget_->limit() >> 20, " MB that they may, so there is no room for another of ",
        model_->info.state_bytes_per_session >> 10, " KB; go on elsewhere, or try again"));
  }
  std::unique_ptr<SessionState> state;
  LEAPSTREAM_ASSIGN_OR_RETURN(state, model_->translator->NewState());
  TellPolicy(options.policy, state.get());
  auto session = std::make_shared<LiveSession>(options, *model_, sink, this, std::move(from),
                                               std::move(state), std::move(audio));
  MutexLock lock(&mutex_);
  if (stop_) return absl::UnavailableError("the server is shutting down; retry elsewhere");
  AddStateBytes(session->state_bytes());
  open_.insert(session);
  return std::shared_ptr<Session>(std::move(session));
}

void Scheduler::Loop::Enqueue(std::shared_ptr<LiveSession> session, Line line) {
  {
    MutexLock lock(&mutex_);
    lines_[static_cast<size_t>(line)].push_back(std::move(session));
  }
  work_.NotifyOne();
}

void Scheduler::Loop::Close(const std::shared_ptr<LiveSession>& session) {
  session->FreeState();
  MutexLock lock(&mutex_);
  open_.erase(session);
}

StateBudget::Holder::Largest Scheduler::Loop::LargestGrown() const {
  Largest largest;
  if (model_->info.state_bytes_per_token == 0) return largest;  // None has grown.
  MutexLock lock(&mutex_);
  for (const auto& session : open_) {
    const int64_t bytes = session->state_bytes();
    if (bytes > std::max(largest.bytes, model_->info.state_bytes_per_session)) {
      largest = {bytes, session};
    }
  }
  return largest;
}

void Scheduler::Loop::Run() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (!stop_ && lines_[0].empty() && lines_[1].empty()) work_.Wait(&mutex_);
      if (stop_) return;
    }
    // One of each by turns, so that those with a backlog go on however much the live ones have.
    for (const Line line : {Line::kLive, Line::kBacklog}) {
      turn_started_.store(SteadyNow().nanoseconds(), std::memory_order_relaxed);
      TakeTurn(line);
      turn_started_.store(0, std::memory_order_relaxed);
    }
  }
}

bool Scheduler::Loop::TakeTurn(Line line) {
  Turn& turn = turns_[static_cast<size_t>(line)];
  {
    MutexLock lock(&mutex_);
    auto& in_line = lines_[static_cast<size_t>(line)];
    const auto end = in_line.begin() + std::min(in_line.size(), budget::kSessionsPerTurn);
    std::move(in_line.begin(), end, std::back_inserter(turn.sessions));
    in_line.erase(in_line.begin(), end);
  }
  if (turn.sessions.empty()) return false;
  turn.acting.clear();
  turn.writing.clear();
  turn.rows.clear();
  turn.replaying.clear();
  turn.replays.clear();
  turn.states.clear();
  int rows_left = budget::kRowsPerTurn;
  int64_t work_left = budget::kWorkPerTurn;
  int64_t encoder_rows = 0;
  int source_rows = 0;
  size_t planned = 0;
  for (; planned < turn.sessions.size(); ++planned) {
    if (work_left <= 0 || encoder_rows >= budget::kEncoderRowsPerTurn) break;
    const auto& session = turn.sessions[planned];
    const bool acts = session->Plan(std::clamp(rows_left, 1, kMaxRowsPerSession),
                                    std::min(work_left, budget::kWorkPerSession));
    work_left -= session->work();
    if (acts) {
      source_rows += session->read_count();
      rows_left -= session->read_count() + session->replay_count();
      if (encodes_anew_) encoder_rows += session->encoder_rows();
      turn.acting.push_back(session.get());
      if (session->replay_count() > 0) {
        turn.replaying.push_back(session.get());
        turn.replays.push_back(session->due_replay());
        continue;
      }
      if (session->read_count() > 0) turn.rows.push_back(session->due_reads());
      if (!session->write_due()) continue;
      turn.writing.push_back(session.get());
      turn.states.push_back(session->state());
    } else if (session->finished()) {
      Close(session);
    }
  }
  if (planned < turn.sessions.size()) {
    const auto rest = turn.sessions.begin() + static_cast<std::ptrdiff_t>(planned);
    MutexLock lock(&mutex_);
    auto& in_line = lines_[static_cast<size_t>(line)];
    in_line.insert(in_line.begin(), std::make_move_iterator(rest),
                   std::make_move_iterator(turn.sessions.end()));
    turn.sessions.erase(rest, turn.sessions.end());
  }
  absl::Duration waited;
  // Whoever is live does not wait for the end of this turn.
  const auto give_way = [&] {
    if (line == Line::kLive) return;
    const SteadyTime start = SteadyNow();
    if (TakeTurn(Line::kLive)) waited += SteadyNow() - start;
  };
  const SteadyTime start = SteadyNow();
  absl::Status status;
  if (!turn.rows.empty()) status = model_->translator->Read(turn.rows, give_way);
  if (status.ok() && !turn.replays.empty()) {
    status = model_->translator->Replay(turn.replays, give_way);
  }
  turn.decisions.resize(turn.writing.size());
  if (status.ok() && !turn.writing.empty()) {
    status = model_->translator->Decide(turn.states, absl::MakeSpan(turn.decisions), give_way);
  }
  const absl::Duration compute = SteadyNow() - start - waited;
  const size_t deciding = turn.writing.size() + turn.replaying.size();
  if (observer_ != nullptr && (source_rows > 0 || deciding > 0)) {
    observer_->OnStep({compute, source_rows, static_cast<int>(deciding)});
  }
  if (!status.ok()) {
    // Inputs were checked, so it is not one session's fault; their states are no longer good.
    for (LiveSession* session : turn.acting) session->Finish(absl::InternalError(status.message()));
  } else {
    for (LiveSession* session : turn.acting) {
      session->AddTimes(compute, waited);
      if (model_->info.state_bytes_per_token > 0) session->CountState();
    }
    for (LiveSession* session : turn.replaying) session->ApplyReplay();
    for (size_t i = 0; i < turn.writing.size(); ++i) turn.writing[i]->Apply(turn.decisions[i]);
  }
  for (LiveSession* session : turn.acting) Enqueue(session->shared_from_this(), session->line());
  turn.sessions.clear();
  if (budget_ != nullptr && budget_->exceeded()) budget_->EndLargest();
  return true;
}

Scheduler::Scheduler(std::shared_ptr<const Model> model, StepObserver* observer,
                     StateBudget* budget)
    : loop_(std::make_unique<Loop>(std::move(model), observer, budget)) {}
Scheduler::~Scheduler() = default;

absl::StatusOr<std::shared_ptr<Session>> Scheduler::Open(const SessionOptions& options,
                                                         SessionSink* sink, ResumeFrom from) {
  return loop_->Open(options, sink, std::move(from));
}
const std::shared_ptr<const Model>& Scheduler::model() const { return loop_->model(); }
int Scheduler::open_sessions() const { return loop_->open_sessions(); }
int64_t Scheduler::state_bytes() const { return loop_->state_bytes(); }
absl::Duration Scheduler::turn_age() const { return loop_->turn_age(); }

}  // namespace leapstream
