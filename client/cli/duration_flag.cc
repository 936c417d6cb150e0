#include "client/cli/duration_flag.h"

#include "absl/strings/str_cat.h"

namespace leapstream::client {

CLI::Validator IsDuration() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        absl::Duration duration;
        return absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration()
                   ? ""
                   : absl::StrCat("want a duration such as 500ms or 5s, got ", text);
      },
      "DURATION");
}

absl::Duration ParseDuration(const std::string& text) {
  absl::Duration duration = absl::InfiniteDuration();
  if (!text.empty()) absl::ParseDuration(text, &duration);
  return duration;
}

}  // namespace leapstream::client
