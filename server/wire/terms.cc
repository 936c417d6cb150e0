#include "server/wire/terms.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/glossary_text.h"
#include "server/status_mapping.h"
#include "streaming/glossary.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

// Config or TranslateRequest: the fields have the same names.
template <typename Request>
absl::Status ReadTermsOf(const Request& request, bool text, const Scheduler& scheduler,
                         SessionOptions* options) {
  const Model& model = *scheduler.model();
  const bool can = text && TakesTerms(*options, model.info);
  if (!can && (request.has_glossary() || request.keep_markup())) {
    return InvalidRequest(
        "GLOSSARY_INVALID",
        absl::StrCat("a glossary and keep_markup are for text, and for policies that decide of one "
                     "token at a time: wait_k, adaptive_wait_k, learned, and offline without a "
                     "beam; leave them unset, or take one of these"));
  }
  options->keep_markup = request.keep_markup();
  if (!request.has_glossary()) {
    if (can) options->glossary = scheduler.glossary();
    return absl::OkStatus();
  }
  if (request.glossary().terms().empty()) return absl::OkStatus();  // None at all is asked for.
  std::vector<GlossaryTerm> terms;
  for (const v1::Term& term : request.glossary().terms()) {
    terms.push_back({term.source(), term.target()});
    if (terms.size() > budget::kGlossaryTerms) break;  // Glossary::Create() says so.
  }
  auto glossary = Glossary::Create(std::move(terms), model);
  if (!glossary.ok()) return InvalidRequest("GLOSSARY_INVALID", glossary.status().message());
  options->glossary = *std::move(glossary);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTerms(const v1::SessionConfig& config, const Scheduler& scheduler,
                       SessionOptions* options) {
  const bool text = config.input_format() == v1::INPUT_FORMAT_UNSPECIFIED ||
                    config.input_format() == v1::INPUT_FORMAT_TEXT;
  return ReadTermsOf(config, text, scheduler, options);
}

absl::Status ReadTerms(const v1::TranslateRequest& request, const Scheduler& scheduler,
                       SessionOptions* options) {
  return ReadTermsOf(request, /*text=*/true, scheduler, options);
}

}  // namespace leapstream
