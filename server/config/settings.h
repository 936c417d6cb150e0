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
  const char* type;  // The kind of value, as --help shows it.
  const char* help;
  // Sets the value and returns "", or says what is wrong with the value.
  std::function<std::string(const std::string& value, ServerConfig* config)> set;
  // Returns the value, in the form that `set` takes.
  std::function<std::string(const ServerConfig& config)> get;
  Kind kind = Kind::kValue;
};

// All settings, in the order in which --help and --print-config print them.
const std::vector<Setting>& Settings();
const Setting* FindSetting(absl::string_view key);  // Null: there is none.
std::vector<std::string> SettingKeys();
std::string FlagOf(const Setting& setting);
std::string VariableOf(absl::string_view key);

// Says what is wrong with a compute type; empty: nothing is.
std::string CheckComputeType(const std::string& value);
std::string CheckStateType(const std::string& value);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONFIG_SETTINGS_H_
