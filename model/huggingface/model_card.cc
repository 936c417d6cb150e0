#include "model/huggingface/model_card.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"

namespace leapstream {
namespace {

constexpr size_t kMaxFrontMatter = 64 << 10;
constexpr size_t kMaxText = 200;

// A text, or the texts of a list, on one line.
std::string TextOf(const YAML::Node& node) {
  std::string text;
  if (node.IsScalar()) text = node.Scalar();
  if (node.IsSequence()) {
    for (const YAML::Node& each : node) {
      if (each.IsScalar()) absl::StrAppend(&text, text.empty() ? "" : ", ", each.Scalar());
    }
  }
  return OneLine(absl::StripAsciiWhitespace(text), kMaxText);
}

}  // namespace

ModelCard ParseModelCard(absl::string_view text) {
  ModelCard card;
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  if (!absl::ConsumePrefix(&text, "---\n") && !absl::ConsumePrefix(&text, "---\r\n")) return card;
  const size_t end = text.find("\n---");
  if (end == text.npos || end > kMaxFrontMatter) return card;
  try {  // yaml-cpp reports by exception.
    const YAML::Node root = YAML::Load(std::string(text.substr(0, end)));
    if (!root.IsMap()) return card;
    if (root["license"]) card.license = TextOf(root["license"]);
    if (card.license == "other" && root["license_name"]) {
      card.license = TextOf(root["license_name"]);
    }
    if (root["base_model"]) card.base_model = TextOf(root["base_model"]);
  } catch (const YAML::Exception&) {
    return ModelCard();
  }
  return card;
}

bool ForbidsCommerce(absl::string_view license) {
  const std::string lower = absl::AsciiStrToLower(license);
  return absl::StrContains(lower, "-nc") || absl::StrContains(lower, "noncommercial") ||
         absl::StrContains(lower, "non-commercial");
}

}  // namespace leapstream
