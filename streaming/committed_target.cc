#include "streaming/committed_target.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "model/api/vocabulary.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

absl::Status Refusal(absl::string_view why) {
  absl::Status status = absl::InvalidArgumentError(why);
  status.SetPayload(kCommittedTargetPayload, absl::Cord());
  return status;
}

}  // namespace

absl::Status CommittedTarget::Check(const ResumeFrom& from, const Model& model,
                                    const Frame& frame) {
  if (from.segment < 1) return absl::InvalidArgumentError("segments are numbered from 1");
  for (const TokenId id : from.committed) {
    if (id < 0 || id >= model.target_vocabulary.size() || id == frame.end) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a committed target token must be in [0, ", model.target_vocabulary.size(),
          ") and not ", frame.end, ", the end of a translation, got ", id,
          "; send the tokens as they were received"));
    }
  }
  if (!from.source_read.empty() && from.source_read.size() != from.committed.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "each committed target token has its source tokens read, got ", from.source_read.size(),
        " of them for ", from.committed.size(), " tokens; send both as they were received"));
  }
  return absl::OkStatus();
}

CommittedTarget::CommittedTarget(ResumeFrom* from, const SessionOptions& options,
                                 const Model& model)
    : at_once_(model.translator->can_replay() && CountsTokensOnly(options.policy) &&
               options.read_tokens <= 1 && options.read_words == 0 &&
               options.early_end != EarlyEnd::kForceFinish &&
               !model.feeds_back_symbols && !from->source_read.empty()),
      tokens_(std::move(from->committed)),
      source_read_(std::move(from->source_read)) {}

CommittedTarget::Step CommittedTarget::NextStep(Progress progress, const SessionOptions& options,
                                                const ModelInfo& model) const {
  const size_t next = next_ + due_;
  if (next == tokens_.size()) return Step::kNone;
  progress.target_written = static_cast<int>(next);
  const bool writes = Decide(options.policy, progress) == Action::kWrite;
  const bool reads_on = options.early_end == EarlyEnd::kReadOn;
  if (progress.source_read < source_read_[next] && !progress.source_finished &&
      (!writes || reads_on)) {
    return writes ? Step::kReadOn : Step::kRead;
  }
  if (progress.source_read == source_read_[next] && writes &&
      progress.target_written < TargetLimit(options, model, progress.source_read)) {
    return Step::kReplay;
  }
  return Step::kImpossible;
}

int CommittedTarget::CountDue(int source_read) const {
  size_t end = next_;
  while (end < tokens_.size() && source_read_[end] <= source_read) ++end;
  return static_cast<int>(end - next_);
}

void CommittedTarget::Clear() {
  tokens_.clear();
  source_read_.clear();
  next_ = due_ = 0;
}

absl::Status CommittedTarget::NoSegment() const {
  return Refusal(absl::StrCat(tokens_.size(),
                              " target tokens are said to be committed, but the segment that they "
                              "are of has no source; send it again"));
}

absl::Status CommittedTarget::TooMany(int written) const {
  return Refusal(absl::StrCat("the open segment has ", written, " target tokens, but ",
                              tokens_.size(),
                              " are said to be committed; is its source complete?"));
}

absl::Status CommittedTarget::Impossible(const Policy& policy, int source_read) const {
  const size_t next = next_ + due_;
  return Refusal(absl::StrCat(
      "committed target token ", next + 1, " is said to have been written when ",
      source_read_[next], " source tokens were read, but with ", ToString(policy), " and ",
      source_read,
      " source tokens it cannot have been; send tokens and source as they were"));
}

}  // namespace leapstream
