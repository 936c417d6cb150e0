#include "model/api/frame.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr char kSourcePlace[] = "{source}";
constexpr char kTargetPlace[] = "{target}";

// Looks up the symbols of one side's part of a frame.
class Resolver {
 public:
  Resolver(absl::string_view side, const LanguageConfig* source, const LanguageConfig* target,
           const Vocabulary* vocabulary)
      : side_(side), source_(source), target_(target), vocabulary_(vocabulary) {}

  absl::StatusOr<TokenId> Token(absl::string_view field, const std::string& entry) const {
    std::string symbol = entry;
    if (entry == kSourcePlace || entry == kTargetPlace) {
      const LanguageConfig* const language = entry == kSourcePlace ? source_ : target_;
      if (language == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            "frame.", field, " has ", entry,
            ", but the session has no such language; list the model's languages in model.json"));
      }
      symbol = entry == kSourcePlace ? language->source_token : language->target_token;
      if (symbol.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("frame.", field, " has ", entry, ", but language ", language->code,
                         " has no token for that side; give it one in model.json"));
      }
    }
    const TokenId id = vocabulary_->Id(symbol);
    if (id != kUnknown || (vocabulary_->size() > kUnknown && vocabulary_->Symbol(id) == symbol)) {
      return id;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "frame.", field, " needs symbols of the ", side_, " dictionary, which has no ", Quoted(symbol),
        "; export the model again with all of its languages"));
  }

  absl::StatusOr<std::vector<TokenId>> Tokens(absl::string_view field,
                                              const std::vector<std::string>& entries) const {
    std::vector<TokenId> ids;
    for (const std::string& entry : entries) {
      LEAPSTREAM_ASSIGN_OR_RETURN(const TokenId id, Token(field, entry));
      ids.push_back(id);
    }
    return ids;
  }

 private:
  const absl::string_view side_;
  const LanguageConfig* const source_;
  const LanguageConfig* const target_;
  const Vocabulary* const vocabulary_;
};

}  // namespace

bool Frame::operator==(const Frame& other) const {
  return source_lead == other.source_lead && source_tail == other.source_tail &&
         start == other.start && forced == other.forced && end == other.end;
}

absl::StatusOr<Frame> ResolveFrame(const FrameConfig& config, const LanguageConfig* source,
                                   const LanguageConfig* target,
                                   const Vocabulary* source_vocabulary,
                                   const Vocabulary& target_vocabulary) {
  Frame frame;
  if (source_vocabulary != nullptr) {
    const Resolver resolver("source", source, target, source_vocabulary);
    LEAPSTREAM_ASSIGN_OR_RETURN(frame.source_lead,
                                resolver.Tokens("source_lead", config.source_lead));
    LEAPSTREAM_ASSIGN_OR_RETURN(frame.source_tail,
                                resolver.Tokens("source_tail", config.source_tail));
  }
  const Resolver resolver("target", source, target, &target_vocabulary);
  LEAPSTREAM_ASSIGN_OR_RETURN(frame.start, resolver.Token("start", config.start));
  LEAPSTREAM_ASSIGN_OR_RETURN(frame.forced, resolver.Tokens("forced", config.forced));
  LEAPSTREAM_ASSIGN_OR_RETURN(frame.end, resolver.Token("end", config.end));
  return frame;
}

FrameTokens FrameTokens::OfSource(const FrameConfig& config,
                                  const std::vector<LanguageConfig>& languages,
                                  const Vocabulary& vocabulary) {
  std::vector<std::string> entries = config.source_lead;
  entries.insert(entries.end(), config.source_tail.begin(), config.source_tail.end());
  return FrameTokens(entries, languages, vocabulary);
}

FrameTokens FrameTokens::OfTarget(const FrameConfig& config,
                                  const std::vector<LanguageConfig>& languages,
                                  const Vocabulary& vocabulary) {
  std::vector<std::string> entries = config.forced;
  entries.insert(entries.end(), {config.start, config.end});
  return FrameTokens(entries, languages, vocabulary);
}

FrameTokens::FrameTokens(const std::vector<std::string>& entries,
                         const std::vector<LanguageConfig>& languages,
                         const Vocabulary& vocabulary) {
  const auto add = [&](const std::string& symbol) {
    const TokenId id = vocabulary.Id(symbol);
    if (id > kUnknown) ids_.push_back(id);
  };
  for (const std::string& entry : entries) {
    if (entry != kSourcePlace && entry != kTargetPlace) {
      add(entry);
      continue;
    }
    for (const LanguageConfig& language : languages) {
      add(entry == kSourcePlace ? language.source_token : language.target_token);
    }
  }
  absl::c_sort(ids_);
  ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
}

bool FrameTokens::Has(TokenId id) const { return absl::c_binary_search(ids_, id); }

}  // namespace leapstream
