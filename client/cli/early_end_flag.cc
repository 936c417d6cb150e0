#include "client/cli/early_end_flag.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace leapstream::client {
namespace {

struct NamedEarlyEnd {
  const char* name;
  EarlyEnd value;
};

constexpr NamedEarlyEnd kEarlyEnds[] = {
    {"stop", EarlyEnd::kStop},
    {"suppress", EarlyEnd::kSuppress},
    {"read-on", EarlyEnd::kReadOn},
    {"force-finish", EarlyEnd::kForceFinish},
};

}  // namespace

void AddEarlyEndFlag(CLI::App* command, const std::string& help, EarlyEnd& early_end) {
  std::vector<std::string> names;
  for (const NamedEarlyEnd& each : kEarlyEnds) names.emplace_back(each.name);
  command
      ->add_option_function<std::string>(
          "--early-end",
          [&early_end](const std::string& given) {
            const auto* const found =
                std::find_if(std::begin(kEarlyEnds), std::end(kEarlyEnds),
                             [&](const NamedEarlyEnd& each) { return each.name == given; });
            early_end = found->value;  // The check below has refused other names.
          },
          help)
      ->check(CLI::IsMember(names));
}

}  // namespace leapstream::client
