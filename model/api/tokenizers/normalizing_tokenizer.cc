#include "model/api/tokenizers/normalizing_tokenizer.h"

#include <any>
#include <deque>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/budget.h"
#include "model/api/tokenizers/punctuation.h"

namespace leapstream {
namespace {

// The size of the first part of a word that the inner tokenizer takes: a longer word is cut between
// two characters.
size_t PartSize(absl::string_view word) {
  if (word.size() <= budget::kWordBytes) return word.size();
  size_t size = budget::kWordBytes;
  while (size > 1 && (static_cast<unsigned char>(word[size]) & 0xC0) == 0x80) --size;
  return size;
}

}  // namespace

struct NormalizingTokenizer::Memory {
  // Words that were passed on together: so many of the user's, so many of the inner tokenizer's
  // that are still to come, and the symbols of those that have come.
  struct Group {
    int words = 0;
    int waiting = 0;
    Symbols symbols;
  };

  TokenizerState inner;
  std::string held;  // Words that the next one may be joined to.
  int held_words = 0;
  std::deque<Group> groups;
};

void NormalizingTokenizer::AppendWord(absl::string_view word, TokenizerState* state,
                                      std::vector<Symbols>* ready) const {
  if (!state->own.has_value()) state->own = Memory();
  auto* const memory = std::any_cast<Memory>(&state->own);
  const bool too_much = memory->held.size() + word.size() > 2 * budget::kWordBytes;
  if (memory->held_words > 0 && (too_much || !JoinsNext(memory->held, word))) {
    PassOn(/*more=*/true, memory, ready);
  }
  absl::StrAppend(&memory->held, memory->held_words > 0 ? " " : "", word);
  ++memory->held_words;
}

void NormalizingTokenizer::FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const {
  if (!state->own.has_value()) state->own = Memory();
  auto* const memory = std::any_cast<Memory>(&state->own);
  if (memory->held_words > 0) PassOn(/*more=*/false, memory, ready);
  std::vector<Symbols> rest;
  inner_->FinishWords(&memory->inner, &rest);
  Sort(std::move(rest), memory, ready);
}

void NormalizingTokenizer::PassOn(bool more, Memory* memory, std::vector<Symbols>* ready) const {
  const std::string text = NormalizePunctuation(memory->held, language_, more);
  std::vector<Symbols> inner_ready;
  Memory::Group& group = memory->groups.emplace_back();
  group.words = memory->held_words;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    for (absl::string_view rest = word; !rest.empty(); ++group.waiting) {
      const size_t size = PartSize(rest);
      inner_->AppendWord(rest.substr(0, size), &memory->inner, &inner_ready);
      rest.remove_prefix(size);
    }
  }
  memory->held.clear();
  memory->held_words = 0;
  Sort(std::move(inner_ready), memory, ready);
}

void NormalizingTokenizer::Sort(std::vector<Symbols> inner_ready, Memory* memory,
                                std::vector<Symbols>* ready) const {
  size_t next = 0;
  while (!memory->groups.empty()) {
    Memory::Group& group = memory->groups.front();
    for (; group.waiting > 0 && next < inner_ready.size(); --group.waiting, ++next) {
      Symbols& symbols = inner_ready[next];
      std::move(symbols.begin(), symbols.end(), std::back_inserter(group.symbols));
    }
    if (group.waiting > 0) return;
    ready->push_back(std::move(group.symbols));
    for (int i = 1; i < group.words; ++i) ready->emplace_back();  // Joined to the first one.
    memory->groups.pop_front();
  }
}

std::vector<std::string> NormalizingTokenizer::Encode(absl::string_view text) const {
  return inner_->Encode(NormalizePunctuation(text, language_, /*more=*/false));
}

}  // namespace leapstream
