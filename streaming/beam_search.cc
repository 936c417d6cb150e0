#include "streaming/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

constexpr TokenId kNoToken = -1;
// Lengths to this power, or one over it, are numbers that a float has.
constexpr double kMostLengthPenalty = 6;
constexpr int kLongestNgram = 64;  // Longer ones do not come twice, and looking for them takes long.
constexpr double kMostTokens = 1 << 20;  // More than in any segment; keeps a * S + b an int.
constexpr float kImpossible = -std::numeric_limits<float>::infinity();
constexpr size_t kReserved = 256;  // Tokens of a row for which there is room from the start.
// The best tokens of a row that may not be candidates, but take the place of those: <pad>, <unk>,
// </s>, some that would repeat an n-gram, and the one that shows that no other is as good.
constexpr int kNoCandidates = 8;
// The logits that are compared with the least candidate side by side.
constexpr size_t kTogether = 16;

// fairseq's max_len: the product is a double, truncated towards zero.
int MaxLength(const BeamOptions& options, const BeamTask& task) {
  const double asked = options.match_source_length
                           ? task.source_words
                           : options.max_length_a * task.source_length + options.max_length_b;
  const int length = static_cast<int>(std::min(asked, kMostTokens));
  return task.max_target_tokens > 0 ? std::min(length, task.max_target_tokens) : length;
}

// Whether one of kTogether logits is above `least`.
bool AnyAbove(const float* logits, float least) {
  int above = 0;
  for (size_t i = 0; i < kTogether; ++i) above |= static_cast<int>(logits[i] > least);
  return above != 0;
}

absl::Status OutOfRange(absl::string_view name, absl::string_view range, double value) {
  return absl::InvalidArgumentError(absl::StrCat("a beam search needs ", name, " in ", range,
                                                 ", got ", value,
                                                 "; leave it unset for the default"));
}

}  // namespace

bool BeamOptions::operator==(const BeamOptions& other) const {
  return beam == other.beam && length_penalty == other.length_penalty &&
         unnormalized == other.unnormalized && min_length == other.min_length &&
         max_length_a == other.max_length_a && max_length_b == other.max_length_b &&
         match_source_length == other.match_source_length &&
         no_repeat_ngram == other.no_repeat_ngram && unknown_penalty == other.unknown_penalty &&
         temperature == other.temperature && n_best == other.n_best;
}

absl::Status CheckBeamOptions(const BeamOptions& options) {
  if (options.beam < 1 || options.beam > kMaxBeam) {
    return OutOfRange("beam", absl::StrCat("[1, ", kMaxBeam, "]"), options.beam);
  }
  if (options.n_best < 1 || options.n_best > options.beam) {
    return OutOfRange("n_best", absl::StrCat("[1, ", options.beam, "] (the beam)"),
                      options.n_best);
  }
  if (!(std::abs(options.length_penalty) <= kMostLengthPenalty)) {
    return OutOfRange("length_penalty", "[-6, 6]", options.length_penalty);
  }
  if (!(std::abs(options.unknown_penalty) <= 1e6)) {
    return OutOfRange("unknown_penalty", "[-1000000, 1000000]", options.unknown_penalty);
  }
  if (!(options.temperature >= 1e-3 && options.temperature <= 1e3)) {
    return OutOfRange("temperature", "[0.001, 1000]", options.temperature);
  }
  if (!(options.max_length_a >= 0 && options.max_length_a <= kMostTokens)) {
    return OutOfRange("max_length_a", "[0, 1048576]", options.max_length_a);
  }
  if (options.max_length_b < 0) {
    return OutOfRange("max_length_b", "[0, 2147483647]", options.max_length_b);
  }
  if (options.max_length_a == 0 && options.max_length_b == 0) {
    return absl::InvalidArgumentError(
        "a beam search needs max_length_a or max_length_b above 0, got 0 for both; leave both "
        "unset for 0 and 200");
  }
  if (options.min_length < 0 ||
      (options.max_length_a == 0 && options.min_length > options.max_length_b)) {
    return OutOfRange("min_length", absl::StrCat("[0, ", options.max_length_b, "] (max_length_b)"),
                      options.min_length);
  }
  if (options.no_repeat_ngram < 0 || options.no_repeat_ngram == 1 ||
      options.no_repeat_ngram > kLongestNgram) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no_repeat_ngram needs to be 0 or in [2, ", kLongestNgram, "], got ", options.no_repeat_ngram,
        "; with 1, no token could come twice, and the end not at all, since a target starts with "
        "its token"));
  }
  return absl::OkStatus();
}

BeamSearch::BeamSearch(const BeamOptions& options, BeamTask task)
    : options_(options),
      task_(std::move(task)),
      beam_(std::min(options.beam, task_.vocabulary_size - 1)),
      max_length_(MaxLength(options_, task_)),
      min_length_(std::min(options_.min_length, max_length_)),
      first_step_(static_cast<int>(task_.written.size())),
      step_(first_step_),
      rows_(1),
      paths_(1) {
  Reserve(&paths_[0]);
  paths_[0].tokens.push_back(task_.start);
  paths_[0].tokens.insert(paths_[0].tokens.end(), task_.written.begin(), task_.written.end());
  ListAlwaysWanted();
}

void BeamSearch::Reserve(Path* path) {
  path->tokens.reserve(kReserved);
  path->sums.reserve(kReserved);
}

bool BeamSearch::Before(const Candidate& a, const Candidate& b) {
  if (a.value != b.value) return a.value > b.value;
  return a.row != b.row ? a.row < b.row : a.id < b.id;
}

TokenId BeamSearch::OnlyToken() const {
  if (step_ >= max_length_) return task_.end;
  const auto n = static_cast<size_t>(step_ - first_step_);
  return n < task_.forced.size() ? task_.forced[n] : kNoToken;
}

void BeamSearch::ListAlwaysWanted() {
  always_wanted_.clear();
  const TokenId only = OnlyToken();
  for (const TokenId id : {only == kNoToken ? kUnknown : only, task_.end}) {
    if (id >= 0 && id < task_.vocabulary_size) always_wanted_.push_back(id);
  }
}

WantedScores BeamSearch::wanted() const {
  return {OnlyToken() == kNoToken ? 2 * beam_ + kNoCandidates : 0, always_wanted_};
}

void BeamSearch::FindBanned(const Path& path) {
  banned_.clear();
  const auto n = static_cast<size_t>(options_.no_repeat_ngram);
  if (n == 0 || path.tokens.size() < n) return;
  const auto tail = path.tokens.end() - static_cast<std::ptrdiff_t>(n - 1);
  for (size_t i = 0; i + n <= path.tokens.size(); ++i) {
    if (std::equal(tail, path.tokens.end(), path.tokens.begin() + static_cast<std::ptrdiff_t>(i))) {
      banned_.push_back(path.tokens[i + n - 1]);
    }
  }
}

bool BeamSearch::IsBanned(TokenId id) const { return absl::c_linear_search(banned_, id); }

void BeamSearch::Offer(const Candidate& candidate) {
  if (!(candidate.value > kImpossible)) return;  // Also NaN.
  const auto most = static_cast<size_t>(2 * beam_);
  if (of_row_.size() == most) {
    if (!Before(candidate, of_row_.back())) return;
    of_row_.pop_back();
  }
  of_row_.insert(std::upper_bound(of_row_.begin(), of_row_.end(), candidate, &Before), candidate);
}

bool BeamSearch::Take(size_t row, const TokenScores& scores) {
  const Path& path = paths_[row];
  const float sum = path.sums.empty() ? 0.0f : path.sums.back();
  const auto unknown_penalty = static_cast<float>(options_.unknown_penalty);
  FindBanned(path);
  of_row_.clear();
  const TokenId only = OnlyToken();
  const bool matches = options_.match_source_length;
  // The special tokens: <pad> is never written, and the rules of </s> come last, as in fairseq.
  const auto offer = [&](TokenId id) {
    const size_t place = scores.place(id);
    if (id == kPadding || place == scores.logits.size()) return;
    float log_prob = scores.log_prob_of(scores.logits[place]);
    if (id == kUnknown) log_prob -= unknown_penalty;
    if (IsBanned(id)) log_prob = kImpossible;
    if (id == task_.end) {
      if (only == kNoToken && step_ < min_length_) log_prob = kImpossible;
      if (matches) log_prob = step_ < max_length_ ? kImpossible : 0.0f;
    }
    Offer({log_prob + sum, row, id});
  };
  if (only != kNoToken) {
    offer(only);
  } else {
    const auto scan = [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const TokenId id = scores.id(i);
        if (id == kPadding || id == kUnknown || id == task_.end) continue;
        const float value = scores.log_prob_of(scores.logits[i]) + sum;
        if (of_row_.size() == static_cast<size_t>(2 * beam_) && !(value > of_row_.back().value)) {
          continue;  // Among equal values the lower id is first.
        }
        if (!IsBanned(id)) Offer({value, row, id});
      }
    };
    const size_t size = scores.logits.size();
    size_t i = 0;
    for (; i + kTogether <= size; i += kTogether) {
      // A token can only be better than the last candidate if its logit is larger.
      if (of_row_.size() < static_cast<size_t>(2 * beam_) ||
          AnyAbove(scores.logits.data() + i, scores.logits[scores.place(of_row_.back().id)])) {
        scan(i, i + kTogether);
      }
    }
    scan(i, size);
    // The lower id of equal values is first, and may be one that is not here.
    if (!scores.has_all() && (of_row_.size() < static_cast<size_t>(2 * beam_) ||
                              scores.log_prob_of(scores.rest) + sum >= of_row_.back().value)) {
      return false;
    }
    if (task_.end != kUnknown) offer(kUnknown);
    offer(task_.end);
  }
  candidates_.insert(candidates_.end(), of_row_.begin(), of_row_.end());
  return true;
}

void BeamSearch::FinishHypothesis(const Candidate& candidate) {
  const Path& path = paths_[candidate.row];
  BeamHypothesis hypothesis;
  hypothesis.ids.assign(path.tokens.begin() + 1 + first_step_, path.tokens.end());
  hypothesis.ids.push_back(candidate.id);
  float before = 0;
  for (const float sum : path.sums) {
    hypothesis.log_probs.push_back(sum - std::exchange(before, sum));
  }
  hypothesis.log_probs.push_back(candidate.value - before);
  hypothesis.score =
      options_.unnormalized
          ? candidate.value
          : candidate.value / static_cast<float>(std::pow(static_cast<double>(steps() + 1),
                                                          options_.length_penalty));
  finished_.push_back(std::move(hypothesis));
}

void BeamSearch::Advance() {
  const auto beam = static_cast<size_t>(beam_);
  const bool forced_end = step_ < max_length_ && OnlyToken() == task_.end;
  if (forced_end && step_ > first_step_) {
    // fairseq copies row 0 to all rows first.
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(),
                                     [](const Candidate& c) { return c.row != 0; }),
                      candidates_.end());
    if (!candidates_.empty()) candidates_.resize(beam, candidates_.front());
  }
  const size_t most = std::min(2 * beam, candidates_.size());
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(most),
                    candidates_.end(), &Before);
  rows_.clear();
  for (size_t rank = 0; rank < most; ++rank) {
    const Candidate& candidate = candidates_[rank];
    if (candidate.id != task_.end) {
      if (rows_.size() < beam) rows_.push_back({candidate.row, candidate.id});
    } else if (rank < beam && finished_.size() < beam) {
      FinishHypothesis(candidate);
    }
  }
  done_ = finished_.size() == beam || step_ >= max_length_ || rows_.empty();
  if (done_) rows_.clear();
  while (next_paths_.size() < rows_.size()) {
    Reserve(&next_paths_.emplace_back());
  }
  // The rows that go on are the first candidates of their kind, in order.
  size_t rank = 0;
  for (size_t r = 0; r < rows_.size(); ++r, ++rank) {
    while (candidates_[rank].id == task_.end) ++rank;
    const Path& parent = paths_[rows_[r].parent];
    Path& path = next_paths_[r];
    path.tokens = parent.tokens;
    path.tokens.push_back(rows_[r].token);
    path.sums = parent.sums;
    path.sums.push_back(candidates_[rank].value);
  }
  paths_.swap(next_paths_);
  candidates_.clear();
  ++step_;
  ListAlwaysWanted();
}

std::vector<BeamHypothesis> BeamSearch::Result() const {
  std::vector<BeamHypothesis> result = finished_;
  std::stable_sort(
      result.begin(), result.end(),
      [](const BeamHypothesis& a, const BeamHypothesis& b) { return a.score > b.score; });
  if (result.size() > static_cast<size_t>(options_.n_best)) result.resize(options_.n_best);
  return result;
}

}  // namespace leapstream
