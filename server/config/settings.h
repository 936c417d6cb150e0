#ifndef LEAPSTREAM_SERVER_CONFIG_SETTINGS_H_
#define LEAPSTREAM_SERVER_CONFIG_SETTINGS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace leapstream {

// One setting: "listen" in the file, --listen on the command line, LEAPSTREAM_LISTEN in the
// environment.
struct Setting {
  enum class Kind { kValue, kSwitch, kModels };

  const char* key;
  const char* type;  // For --help.
  const char* help;
  // Sets the value, or says what is wrong with it.
  std::function<std::string(const std::string& value, ServerConfig* config)> set;
  std::function<std::string(const ServerConfig& config)> get;  // As `set` takes it.
  Kind kind = Kind::kValue;
};

// All settings, in the order of --help and of --print-config.
const std::vector<Setting>& Settings();
const Setting* FindSetting(absl::string_view key);  // Null: there is none.
std::vector<std::string> SettingKeys();
std::string FlagOf(const Setting& setting);
std::string VariableOf(absl::string_view key);

// "; is NAME meant?", if one of `names` is near, or else all of them.
std::string Suggest(absl::string_view name, const std::vector<std::string>& names);
// Says what is wrong with a compute type, or nothing.
std::string CheckComputeType(const std::string& value);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONFIG_SETTINGS_H_
