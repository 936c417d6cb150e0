#include "streaming/segment_terms.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/strip.h"
#include "base/budget.h"
#include "model/api/sentencepiece.h"

namespace leapstream {
namespace {

// A word is the model's own for a term if it is at least so likely for the term alone.
// docs/terms.md, "Measured", has the numbers behind it.
constexpr float kOwnProbability = 0.02f;
constexpr int kMostOwn = 50;  // No more tokens than these have that probability.

}  // namespace

void SegmentTerms::Reset() {
  waiting_.clear();
  open_.clear();
  current_ = kNoTerm;
  next_ = 0;
  tag_words_ = 0;
}

void SegmentTerms::Add(std::vector<FoundTerm> found) {
  for (FoundTerm& term : found) {
    Open open;
    open.kept = true;
    if (term.entry == Glossary::kNone) {
      open.markup = MakeTargetTerm(term.text, model_);
      if (open.markup.ids.empty()) continue;
    } else {
      open.kept = glossary_->entry(term.entry).kept;
    }
    open.found = std::move(term);
    const auto place = std::upper_bound(
        waiting_.begin(), waiting_.end(), open,
        [](const Open& a, const Open& b) { return a.found.ready_at < b.found.ready_at; });
    waiting_.insert(place, std::move(open));
  }
}

void SegmentTerms::Activate(int source_read) {
  size_t count = 0;
  while (count < waiting_.size() && waiting_[count].found.ready_at <= source_read) {
    Open& next = waiting_[count++];
    const FoundTerm& found = next.found;
    const auto overlaps = [&found](const Open& open) {
      return open.found.begin < found.end && found.begin < open.found.end;
    };
    const bool is_markup = found.entry == Glossary::kNone;
    const bool yields = absl::c_any_of(open_, [&](const Open& open) {
      if (!overlaps(open)) return false;
      const bool of_markup = open.found.entry == Glossary::kNone;
      const int length = open.found.end - open.found.begin;
      return open.begun || (of_markup && !is_markup) ||
             (of_markup == is_markup && length >= found.end - found.begin);
    });
    if (yields) continue;
    // Nothing that overlaps has begun, so that only terms that wait move.
    const int current = current_ == kNoTerm ? 0 : open_[current_].found.begin;
    open_.erase(std::remove_if(open_.begin(), open_.end(), overlaps), open_.end());
    const auto place = std::upper_bound(
        open_.begin(), open_.end(), next,
        [](const Open& a, const Open& b) { return a.found.begin < b.found.begin; });
    open_.insert(place, std::move(next));
    if (current_ == kNoTerm) continue;
    current_ = static_cast<size_t>(
        absl::c_find_if(open_, [&](const Open& o) { return o.found.begin == current; }) -
        open_.begin());
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
}

// --- Probes. ---

bool SegmentTerms::WantsProbe(int source_read) {
  Activate(source_read);
  for (const Open& open : open_) {
    const int entry = open.found.entry;
    if (open.begun || entry == Glossary::kNone || own_.contains(entry)) continue;
    probed_ = entry;
    return true;
  }
  return false;
}

void SegmentTerms::BeginProbe() {
  state_->Reset();
  probe_tokens_.clear();
  for (const std::string& symbol :
       model_.source_tokenizer->Encode(glossary_->entry(probed_).source)) {
    if (probe_tokens_.size() == budget::kTermTokens) break;
    const TokenId id = model_.source_vocabulary.Id(symbol);
    const bool special = id == kPadding || model_.source_frame_tokens.Has(id);
    probe_tokens_.push_back(special ? kUnknown : id);
  }
  probe_tokens_.insert(probe_tokens_.end(), frame_.source_tail.begin(), frame_.source_tail.end());
  probe_rows_ = {{state_.get(), 1.0f, {kMostOwn + 1}}};
}

bool SegmentTerms::TakeProbe(const TokenScores& scores) {
  const float least = std::log(kOwnProbability);
  if (scores.log_prob_of(scores.rest) >= least) return false;
  std::vector<std::pair<float, TokenId>> likely;
  for (size_t i = 0; i < scores.logits.size(); ++i) {
    const TokenId id = scores.id(i);
    const float log_prob = scores.log_prob_of(scores.logits[i]);
    if (log_prob < least || id <= kUnknown || model_.target_frame_tokens.Has(id)) continue;
    // A space alone begins any word.
    if (model_.target_vocabulary.Symbol(id) == kSpaceSymbol) continue;
    if (!units_.Begins(kEndOfSentence, id)) continue;
    likely.emplace_back(-log_prob, id);
  }
  std::sort(likely.begin(), likely.end());
  absl::InlinedVector<TokenId, 4>& own = own_[probed_];
  for (const auto& [score, id] : likely) {
    if (own.size() < budget::kOwnWords) own.push_back(id);
  }
  return true;
}

bool SegmentTerms::IsOwn(const Open& open, TokenId id) const {
  const auto own = own_.find(open.found.entry);
  return own != own_.end() && absl::c_linear_search(own->second, id);
}

// --- Target. ---

std::optional<TokenId> SegmentTerms::owed() const {
  if (current_ == kNoTerm) return std::nullopt;
  return TargetOf(open_[current_]).ids[next_];
}

bool SegmentTerms::EndsSentence(TokenId id) const {
  absl::string_view symbol = model_.target_vocabulary.Symbol(id);
  absl::ConsumePrefix(&symbol, kSpaceSymbol);
  return symbol == "." || symbol == "!" || symbol == "?" || symbol == "\xE3\x80\x82" ||
         symbol == "\xEF\xBC\x81" || symbol == "\xEF\xBC\x9F";
}

TokenId SegmentTerms::Choose(const Step& step) {
  Activate(step.source_read);
  const bool ends = step.ends || (step.source_finished && EndsSentence(step.best));
  // The model's word may be its own for one term and the beginning of another one.
  const bool begins_term = absl::c_any_of(
      open_, [&](const Open& open) { return !open.begun && TargetOf(open).ids[0] == step.best; });
  if (begins_term && step.begins_word) return step.best;
  for (const Open& open : open_) {
    if (open.begun) continue;
    const TokenId first = TargetOf(open).ids[0];
    const bool its_place =
        step.begins_word &&
        (IsOwn(open, step.best) ||
         (open.found.is_tag && step.target_words - tag_words_ >= open.found.word));
    if (its_place || (ends && open.kept)) return first;
  }
  return step.best;
}

SegmentTerms::Shown SegmentTerms::Write(TokenId id, bool begins_word, int source_read) {
  Activate(source_read);
  Shown shown;
  if (current_ == kNoTerm) {
    if (!begins_word && id != kUnknown) return shown;
    for (size_t i = 0; i < open_.size() && current_ == kNoTerm; ++i) {
      if (!open_[i].begun && TargetOf(open_[i]).ids[0] == id) current_ = i;
    }
    if (current_ == kNoTerm) return shown;
    open_[current_].begun = true;
    next_ = 0;
    if (open_[current_].found.is_tag && begins_word) ++tag_words_;
  }
  const Open& open = open_[current_];
  const TargetTerm& target = TargetOf(open);
  const bool is_markup = open.found.entry == Glossary::kNone;
  if (target.ids[next_] != id) {  // A stream before this one has written something else.
    current_ = kNoTerm;
    return shown;
  }
  shown.symbol = &target.symbols[next_];
  if (is_markup && next_ == 0) shown.begins = &open.found;
  if (++next_ == target.ids.size()) {
    if (is_markup) shown.ends = &open.found;
    current_ = kNoTerm;
  }
  return shown;
}

}  // namespace leapstream
