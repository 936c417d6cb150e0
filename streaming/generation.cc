#include "streaming/generation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr size_t kRecentTokens = 16;  // More than the bytes of a character, each of which may be one.

void AppendRecent(absl::Span<const TokenId> tokens, std::vector<TokenId>* recent) {
  recent->insert(recent->end(), tokens.begin(), tokens.end());
  if (recent->size() > kRecentTokens) recent->erase(recent->begin(), recent->end() - kRecentTokens);
}

absl::Status CheckIds(const std::vector<TokenId>& tokens, const Vocabulary& vocabulary) {
  for (const TokenId token : tokens) {
    if (token >= 0 && token < vocabulary.size()) continue;
    return absl::InvalidArgumentError(absl::StrCat("a token of a text must be in [0, ",
                                                   vocabulary.size(), "), got ", token));
  }
  return absl::OkStatus();
}

// All that the model is given before it chooses.
std::vector<TokenId> FeedOf(const GenerationRequest& request) {
  std::vector<TokenId> feed = request.from.pending;
  if (request.from.state.empty() && !request.without_start) feed = {kEndOfSentence};
  feed.insert(feed.end(), request.prompt.begin(), request.prompt.end());
  return feed;
}

}  // namespace

absl::Status CheckGeneration(const GenerationRequest& request, const Model& model) {
  if (!model.info.generates) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.info.name, " translates and goes on with no texts; call StreamTranslate or "
        "Translate, or name a language model: ListModels says which models generate"));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckSampling(request.sampling));
  LEAPSTREAM_RETURN_IF_ERROR(CheckIds(request.prompt, model.target_vocabulary));
  LEAPSTREAM_RETURN_IF_ERROR(CheckIds(request.from.pending, model.target_vocabulary));
  LEAPSTREAM_RETURN_IF_ERROR(CheckIds(request.from.recent, model.target_vocabulary));
  if (request.from.state.empty() != request.from.pending.empty()) {
    return absl::InvalidArgumentError("a saved text needs a state and the tokens after it");
  }
  if (request.without_start && request.prompt.empty()) {
    return absl::InvalidArgumentError("a text without </s> in front needs a token, got none");
  }
  if (request.max_tokens < 0 || request.min_tokens < 0) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens and min_tokens must not be negative, "
                                                   "got ",
                                                   request.max_tokens, " and ",
                                                   request.min_tokens));
  }
  size_t longest = 0;
  size_t shortest = 1;
  for (const std::string& stop : request.stop) {
    longest = std::max(longest, stop.size());
    shortest = std::min(shortest, stop.size());
  }
  if (request.stop.size() > kMostStopSequences || longest > kMostStopBytes || shortest == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a text may have ", kMostStopSequences, " stop sequences of 1 to ",
                     kMostStopBytes, " bytes, got ", request.stop.size(), " of up to ", longest,
                     shortest == 0 ? ", one of them empty" : ""));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SessionState>> StateOf(const GenerationRequest& request,
                                                      const Model& model) {
  const LanguageModel& network = *model.translator->language_model();
  std::unique_ptr<SessionState> state;
  if (request.from.state.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(state, network.NewState());
  } else {
    LEAPSTREAM_ASSIGN_OR_RETURN(state, network.Restore(request.from.state));
  }
  // A last token that nothing is chosen after is not read.
  const int64_t length = state->source_read() + static_cast<int64_t>(FeedOf(request).size()) -
                         (request.max_tokens > 0 ? 0 : 1);
  const int most = model.info.max_source_tokens;
  if (most > 0 && length > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", model.info.name, " has positions for a text of ", most,
                     " tokens, </s> in front included, got ", length,
                     "; shorten the prompt, or begin a new text"));
  }
  return state;
}

Generation::Generation(GenerationRequest request, std::unique_ptr<SessionState> state,
                       GenerationSink* sink, const Model& model, Loop* loop)
    : request_(std::move(request)),
      model_(model),
      sink_(sink),
      loop_(loop),
      opened_(SteadyNow()),
      inbox_(1, /*has_backlog=*/true,
             [this](Queue queue) { loop_->Enqueue(shared_from_this(), queue); }),
      state_(std::move(state)),
      feed_(FeedOf(request_)),
      scored_from_(feed_.size() - request_.prompt.size() +
                   std::min(request_.scored_from, request_.prompt.size())),
      stop_(request_.stop),
      text_(model.target_tokenizer.get()),
      state_bytes_(state_->bytes()) {
  result_.prompt_tokens = static_cast<int>(feed_.size());
  inbox_.Hold();  // Until Start().
  Prime();
}

void Generation::Prime() {
  std::vector<TokenId> before = request_.from.recent;
  AppendRecent(feed_, &before);
  const auto end = std::find(before.rbegin(), before.rend(), kEndOfSentence).base();
  for (auto token = end; token != before.end(); ++token) {
    text_.Append(model_.target_vocabulary.Symbol(*token));
  }
}

int64_t Generation::Length() const {
  return state_->source_read() + static_cast<int64_t>(feed_.size() - fed_);
}

Due Generation::Plan(int max_rows, int64_t /*max_work*/) {
  Due due;
  if (finished_) return due;
  Inbox::Turn begun = inbox_.BeginTurn();
  able_since_ = begun.able_since;
  if (begun.cancelled.has_value()) {
    Finish(*std::move(begun.cancelled));
    return due;
  }
  // A last token that nothing is chosen after stays for whoever goes on with the text.
  const size_t all = feed_.size() - (generates() ? 0 : 1);
  Inbox::TurnEnd end;
  if (!inbox_.held()) {
    if (fed_ == all) {
      End(TextEnd::kMaxTokens);
      return due;
    }
    due_ = std::min(all - fed_, static_cast<size_t>(max_rows));
    const bool chooses = generates() && fed_ + due_ == all;
    size_t scored = chooses ? due_ - 1 : due_;
    if (scored_from_ < feed_.size()) {
      scored = std::min(scored, std::max(scored_from_, fed_ + 1) - fed_ - 1);
    }
    ListWanted(scored);
    due.text = {state_.get(), absl::MakeConstSpan(feed_).subspan(fed_, due_), scored, wanted_};
    end.acts = true;
    end.caught_up = chooses;
    result_.queue += SteadyNow() - able_since_;
  }
  due.has_turn = inbox_.EndTurn(end);
  return due;
}

void Generation::ListWanted(size_t scored) {
  wanted_.clear();
  for (size_t i = fed_ + scored; i < fed_ + due_; ++i) {
    if (ScoresPrompt(i)) {
      wanted_.push_back({0, absl::MakeConstSpan(feed_).subspan(i + 1, 1)});
    } else if (i + 1 == feed_.size() && generates()) {
      excluded_ = {kPadding};
      // fairseq ends no empty text either.
      const bool too_short = result_.generated_tokens < request_.min_tokens || Length() == 1;
      if (too_short) excluded_.push_back(kEndOfSentence);
      const double uniform =
          UniformAt(request_.sampling.seed, state_->source_read() + static_cast<int64_t>(due_));
      wanted_.push_back(WantedToChoose(request_.sampling, excluded_, uniform));
    } else {
      wanted_.push_back({0});
    }
  }
}

void Generation::RecordStep(absl::Duration compute, absl::Duration waited) {
  result_.compute += compute;
  result_.queue += waited;
}

bool Generation::TakeScores(size_t row, const TokenScores& scores) {
  const size_t i = fed_ + row;
  if (ScoresPrompt(i)) {
    const TokenId token = feed_[i + 1];
    prompt_scores_.push_back({token, scores.log_prob(token)});
  } else if (i + 1 == feed_.size() && generates()) {
    chosen_ = ChooseToken(scores, request_.sampling, excluded_,
                          UniformAt(request_.sampling.seed, state_->source_read()));
    return chosen_.has_value();
  }
  return true;
}

void Generation::ApplyScores() {
  fed_ += due_;
  due_ = 0;
  for (const ScoredToken& token : prompt_scores_) sink_->OnPromptScore(token);
  prompt_scores_.clear();
  if (chosen_.has_value()) Take(*std::exchange(chosen_, std::nullopt));
}

void Generation::Take(ScoredToken token) {
  const SteadyTime now = SteadyNow();
  if (result_.generated_tokens == 0) result_.first_token = now - opened_;
  if (StepObserver* const observer = loop_->observer(); observer != nullptr) {
    observer->OnToken(now - able_since_);
    if (result_.generated_tokens == 0) observer->OnFirstToken(result_.first_token);
  }
  feed_.push_back(token.id);
  GeneratedToken generated{token, ""};
  const bool ends = token.id == kEndOfSentence;
  if (!ends) {
    ++result_.generated_tokens;
    if (token.id != kBeginOfSentence) {
      generated.text = stop_.Append(text_.Append(model_.target_vocabulary.Symbol(token.id)));
    }
  }
  sink_->OnToken(std::move(generated));
  const int most = model_.info.max_source_tokens;
  if (ends) return End(TextEnd::kEndOfSentence);
  if (stop_.found()) return End(TextEnd::kStopSequence);
  if (result_.generated_tokens >= request_.max_tokens || (most > 0 && Length() > most)) {
    End(TextEnd::kMaxTokens);
  }
}

void Generation::End(TextEnd end) {
  result_.end = end;
  result_.text = stop_.Append(text_.Finish()) + stop_.Finish();
  if (stop_.found()) result_.end = TextEnd::kStopSequence;
  // The numbers of a state in memory are no more than four times as large as saved.
  if (request_.saves && state_->bytes() / 4 <= request_.most_saved_bytes) result_.saved = Save();
  sink_->OnEnd(std::move(result_));
  Finish(absl::OkStatus());
}

SavedText Generation::Save() const {
  SavedText saved;
  saved.state = model_.translator->language_model()->Save(*state_);
  saved.pending.assign(feed_.begin() + static_cast<std::ptrdiff_t>(fed_), feed_.end());
  saved.recent = request_.from.recent;
  AppendRecent(absl::MakeConstSpan(feed_).first(fed_), &saved.recent);
  return saved;
}

void Generation::CountState() {
  const int64_t bytes = state_->bytes();
  loop_->AddStateBytes(bytes - state_bytes_.exchange(bytes, std::memory_order_relaxed));
}

void Generation::FreeState() {
  state_.reset();
  // In this order: StateBudget::EndLargest() may look between the two.
  loop_->AddStateBytes(-state_bytes());
  state_bytes_.store(0, std::memory_order_relaxed);
}

void Generation::Finish(absl::Status status) {
  if (finished_) return;
  finished_ = true;
  ending_.store(true, std::memory_order_relaxed);
  inbox_.Close();
  sink_->OnFinished(std::move(status));
}

}  // namespace leapstream
