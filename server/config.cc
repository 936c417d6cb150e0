#include "server/config.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr const char* kLogLevels[] = {"trace", "debug", "info", "warn", "error", "critical", "off"};

absl::Status At(absl::string_view path, const YAML::Mark& mark, absl::string_view message) {
  // yaml-cpp counts from 0; -1 where it does not know.
  return absl::InvalidArgumentError(absl::StrCat(path, ":", mark.line + 1, ": ", message));
}

// The part that may throw.
absl::Status Apply(const YAML::Node& root, absl::string_view path, ServerConfig* config) {
  if (root.IsNull()) return absl::OkStatus();  // Nothing but comments.
  if (!root.IsMap()) return At(path, root.Mark(), "expected a map of settings");
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const YAML::Node& value = entry.second;
    if (!entry.first.IsScalar())
      return At(path, entry.first.Mark(), "expected the name of a setting");
    const std::string& key = entry.first.Scalar();
    if (!seen.insert(key).second) {
      return At(path, entry.first.Mark(), absl::StrCat(key, " was set above already"));
    }
    const auto text = [&](std::string* field) {
      if (!value.IsScalar() || value.Scalar().empty()) {
        return At(path, value.Mark(), absl::StrCat(key, " must be a text"));
      }
      *field = value.Scalar();
      return absl::OkStatus();
    };
    if (key == "listen") {
      LEAPSTREAM_RETURN_IF_ERROR(text(&config->server.listen));
    } else if (key == "port_file") {
      LEAPSTREAM_RETURN_IF_ERROR(text(&config->port_file));
    } else if (key == "log_level") {
      LEAPSTREAM_RETURN_IF_ERROR(text(&config->log_level));
      if (std::find(std::begin(kLogLevels), std::end(kLogLevels), config->log_level) ==
          std::end(kLogLevels)) {
        return At(
            path, value.Mark(),
            absl::StrCat("log_level must be trace, debug, info, warn, error, critical or off, "
                         "got ",
                         config->log_level));
      }
    } else if (key == "log_text") {
      bool log_text = false;
      if (!value.IsScalar() || !YAML::convert<bool>::decode(value, log_text)) {
        return At(path, value.Mark(), "log_text must be true or false");
      }
      config->server.log_text = log_text;
    } else if (key == "models") {
      if (!value.IsSequence())
        return At(path, value.Mark(), "models must be a list of directories");
      config->model_directories.clear();
      for (const YAML::Node& directory : value) {
        if (!directory.IsScalar() || directory.Scalar().empty()) {
          return At(path, directory.Mark(), "a model must be the path of its directory");
        }
        config->model_directories.push_back(directory.Scalar());
      }
    } else {
      return At(path, entry.first.Mark(),
                absl::StrCat("unknown setting ", key,
                             "; there are: listen, log_level, log_text, models, port_file"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config) {
  try {
    return Apply(YAML::Load(std::string(text)), path, config);
  } catch (const YAML::Exception& e) {
    return At(path, e.mark, e.msg);
  }
}

absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("Translates text while it is still arriving, over gRPC.", "leapstream-server");
  std::vector<std::string> models;
  std::string listen, config_path, port_file, log_level;
  bool log_text = false;
  app.add_option("--model", models,
                 "A model directory that leapstream-export wrote; may be repeated")
      ->type_name("DIR")
      ->take_all();
  app.add_option("--listen", listen, "Address; port 0: any free one (0.0.0.0:50051)")
      ->type_name("HOST:PORT");
  app.add_option("--config", config_path, "Settings in YAML; flags win over them")
      ->type_name("FILE");
  app.add_option("--port-file", port_file, "Gets the port once the server listens")
      ->type_name("FILE");
  app.add_option("--log-level", log_level, "What is logged to stderr (info)")
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kLogLevels), std::end(kLogLevels))));
  app.add_flag("--log-text", log_text, "Log translations and error messages too");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    ServerConfig config;
    config.help = app.help();
    return config;
  } catch (const CLI::ParseError& e) {
    return absl::InvalidArgumentError(absl::StrCat(e.what(), "; see leapstream-server --help"));
  }

  ServerConfig config;
  if (!config_path.empty()) {
    std::ifstream file(config_path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", config_path));
    LEAPSTREAM_RETURN_IF_ERROR(ApplyYaml(text, config_path, &config));
  }
  if (!models.empty()) config.model_directories = std::move(models);
  if (!listen.empty()) config.server.listen = std::move(listen);
  if (!port_file.empty()) config.port_file = std::move(port_file);
  if (!log_level.empty()) config.log_level = std::move(log_level);
  if (log_text) config.server.log_text = true;
  if (config.model_directories.empty()) {
    return absl::InvalidArgumentError(
        "no model to serve; give --model DIR or models in the configuration");
  }
  return config;
}

}  // namespace leapstream
