#include "model/api/model.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream {
namespace {

// The language of this code, or null.
const LanguageConfig* Find(const std::vector<LanguageConfig>& languages, const std::string& code) {
  for (const LanguageConfig& language : languages) {
    if (language.code == code) return &language;
  }
  return nullptr;
}

absl::Status NoLanguage(const std::string& model, const char* side, const std::string& code) {
  return absl::InvalidArgumentError(
      absl::StrCat("model ", model, " needs one of its own languages as the ", side, ", got ",
                   code.empty() ? "none" : Quoted(code), "; ListModels has all"));
}

}  // namespace

absl::Status Model::SetLanguages(const ModelConfig& config) {
  frame = config.frame;
  languages = config.languages;
  source_frame_tokens = FrameTokens::OfSource(frame, languages, source_vocabulary);
  target_frame_tokens = FrameTokens::OfTarget(frame, languages, target_vocabulary);
  info.source_language = config.source_language;
  info.target_language = config.target_language;
  info.source_languages.clear();
  info.target_languages.clear();
  for (const LanguageConfig& language : languages) {
    if (!language.source_token.empty()) info.source_languages.push_back(language.code);
    if (!language.target_token.empty()) info.target_languages.push_back(language.code);
  }
  if (languages.empty()) return FrameOf({}).status();
  // A token that is missing is found now, not when a session asks for it.
  for (const std::string& source : info.source_languages) {
    LEAPSTREAM_RETURN_IF_ERROR(FrameOf({source, info.target_languages[0]}).status());
  }
  for (const std::string& target : info.target_languages) {
    LEAPSTREAM_RETURN_IF_ERROR(FrameOf({info.source_languages[0], target}).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<Frame> Model::FrameOf(const LanguagePair& pair) const {
  const Vocabulary* const sources = info.speech.has_value() ? nullptr : &source_vocabulary;
  if (languages.empty()) return ResolveFrame(frame, nullptr, nullptr, sources, target_vocabulary);
  const std::string& source_code = pair.source.empty() ? info.source_language : pair.source;
  const std::string& target_code = pair.target.empty() ? info.target_language : pair.target;
  const LanguageConfig* const source = Find(languages, source_code);
  const LanguageConfig* const target = Find(languages, target_code);
  if (source == nullptr || source->source_token.empty()) {
    return NoLanguage(info.name, "source", source_code);
  }
  if (target == nullptr || target->target_token.empty()) {
    return NoLanguage(info.name, "target", target_code);
  }
  return ResolveFrame(frame, source, target, sources, target_vocabulary);
}

}  // namespace leapstream
