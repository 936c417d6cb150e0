#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "base/suggest.h"
#include "server/config/config.h"
#include "server/config/settings.h"

namespace leapstream {
namespace {

std::string Place(absl::string_view path, const YAML::Mark& mark) {
  if (mark.is_null()) return std::string(path);
  return absl::StrCat(path, ":", mark.line + 1);  // YAML counts from 0.
}

absl::Status At(absl::string_view path, const YAML::Mark& mark, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(Place(path, mark), ": ", message));
}

// Adds a model of the list. `node` is the model's directory, or a map that has it as `path`.
absl::Status ApplyModel(const YAML::Node& node, absl::string_view path, ServerConfig* config) {
  constexpr absl::string_view kWanted =
      "a model must be the path of its directory, or have a path and maybe a name, a "
      "compute_type, a state_type and a glossary";
  ModelSource model;
  if (node.IsScalar()) {
    model.directory = node.Scalar();
  } else if (node.IsMap()) {
    for (const auto& entry : node) {
      if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
        return At(path, entry.first.Mark(), kWanted);
      }
      const std::string& key = entry.first.Scalar();
      const std::string& value = entry.second.Scalar();
      std::string* const field = key == "path"           ? &model.directory
                                 : key == "name"         ? &model.name
                                 : key == "compute_type" ? &model.compute_type
                                 : key == "state_type"   ? &model.state_type
                                 : key == "glossary"     ? &model.glossary
                                                         : nullptr;
      if (field == nullptr) {
        return At(path, entry.first.Mark(),
                  absl::StrCat("unknown setting ", Quoted(key), " of a model",
                               Suggest(key, {"path", "name", "compute_type", "state_type",
                                             "glossary"})));
      }
      if (!field->empty()) {
        return At(path, entry.first.Mark(), absl::StrCat(key, " was set above already"));
      }
      *field = value;
    }
  }
  if (model.directory.empty()) return At(path, node.Mark(), kWanted);
  if (const std::string wrong = CheckComputeType(model.compute_type); !wrong.empty()) {
    return At(path, node.Mark(), absl::StrCat("compute_type ", wrong));
  }
  if (const std::string wrong = CheckStateType(model.state_type); !wrong.empty()) {
    return At(path, node.Mark(), absl::StrCat("state_type ", wrong));
  }
  config->models.push_back(std::move(model));
  return absl::OkStatus();
}

// Applies a whole document. May throw YAML::Exception.
absl::Status Apply(const YAML::Node& root, absl::string_view path, ServerConfig* config) {
  if (root.IsNull()) return absl::OkStatus();  // There are only comments.
  if (!root.IsMap()) return At(path, root.Mark(), "expected a map of settings");
  std::map<std::string, std::string> seen;
  for (const auto& entry : root) {
    const YAML::Node& value = entry.second;
    if (!entry.first.IsScalar()) {
      return At(path, entry.first.Mark(), "expected the name of a setting");
    }
    const std::string& key = entry.first.Scalar();
    const Setting* const setting = FindSetting(key);
    if (setting == nullptr) {
      return At(path, entry.first.Mark(),
                absl::StrCat("unknown setting ", Quoted(key), Suggest(key, SettingKeys())));
    }
    if (!seen.emplace(key, Place(path, entry.first.Mark())).second) {
      return At(path, entry.first.Mark(), absl::StrCat(key, " was set above already"));
    }
    if (value.IsNull()) {  // The place of a null is that of the next thing, so the key's is used.
      return At(path, entry.first.Mark(),
                absl::StrCat(key, " has no value; leave the line out for the default"));
    }
    if (setting->kind == Setting::Kind::kModels) {
      if (!value.IsSequence()) {
        return At(path, value.Mark(), "models must be a list of directories");
      }
      config->models.clear();
      for (const YAML::Node& model : value) {
        if (model.IsNull()) {  // The place of a null is that of the next thing.
          return At(path, entry.first.Mark(), "models has an entry that is empty");
        }
        LEAPSTREAM_RETURN_IF_ERROR(ApplyModel(model, path, config));
      }
      continue;
    }
    if (!value.IsScalar()) {
      return At(path, value.Mark(),
                absl::StrCat(key, " must be a ",
                             setting->kind == Setting::Kind::kSwitch ? "true or false"
                                                                     : "text or a number"));
    }
    const std::string wrong = setting->set(value.Scalar(), config);
    if (!wrong.empty()) return At(path, value.Mark(), absl::StrCat(key, " ", wrong));
  }
  for (auto& place : seen) config->origins[place.first] = std::move(place.second);
  return absl::OkStatus();
}

std::string YamlText(absl::string_view text) {
  const bool plain = !text.empty() && absl::ascii_isalnum(static_cast<unsigned char>(text[0])) &&
                     std::all_of(text.begin(), text.end(),
                                 [](char c) {
                                   return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                                          absl::StrContains("_./-:", c);
                                 }) &&
                     !absl::EndsWith(text, ":");
  return plain ? std::string(text) : absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\"");
}

}  // namespace

absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    for (size_t i = 1; i < documents.size(); ++i) {
      if (documents[i].IsNull()) continue;  // There is nothing after a "---".
      return At(path, documents[i].Mark(),
                "a second YAML document begins here; a configuration is one, so take the \"---\" "
                "before it away");
    }
    return documents.empty() ? absl::OkStatus() : Apply(documents.front(), path, config);
  } catch (const YAML::Exception& e) {
    return At(path, e.mark, e.msg);
  }
}

std::string PrintConfig(const ServerConfig& config) {
  std::string text;
  for (const Setting& setting : Settings()) {
    const auto origin = config.origins.find(setting.key);
    const std::string from =
        absl::StrCat("  # ", origin == config.origins.end() ? "default" : origin->second, "\n");
    absl::StrAppend(&text, setting.key, ":");
    if (setting.kind != Setting::Kind::kModels) {
      absl::StrAppend(&text, " ", YamlText(setting.get(config)), from);
      continue;
    }
    absl::StrAppend(&text, from);
    for (const ModelSource& model : config.models) {
      absl::StrAppend(&text, "  - path: ", YamlText(model.directory), "\n");
      if (!model.name.empty()) absl::StrAppend(&text, "    name: ", YamlText(model.name), "\n");
      if (!model.compute_type.empty()) {
        absl::StrAppend(&text, "    compute_type: ", model.compute_type, "\n");
      }
      if (!model.state_type.empty()) {
        absl::StrAppend(&text, "    state_type: ", model.state_type, "\n");
      }
      if (!model.glossary.empty()) {
        absl::StrAppend(&text, "    glossary: ", YamlText(model.glossary), "\n");
      }
    }
  }
  return text;
}

}  // namespace leapstream
