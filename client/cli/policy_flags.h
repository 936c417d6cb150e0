#ifndef LEAPSTREAM_CLIENT_CLI_POLICY_FLAGS_H_
#define LEAPSTREAM_CLIENT_CLI_POLICY_FLAGS_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/policy.h"

namespace leapstream::client {

// The flags of a command that choose a policy, or with kSeveral a list of policies.
class PolicyFlags {
 public:
  enum class Number { kOne, kSeveral };

  // Adds the flags to `command`, which must not parse once this object is gone.
  void AddTo(CLI::App* command, Number number = Number::kOne);

  // The policies that were asked for, after the command line was parsed; if none was, one that
  // leaves the rule to the server. Throws CLI::ValidationError if flags do not go together, so it
  // is for callbacks of the parser.
  std::vector<Policy> Policies() const;
  Policy One() const { return Policies().front(); }

 private:
  std::vector<Policy> Rules() const;
  void Complete(Policy& policy) const;

  CLI::App* command_ = nullptr;
  std::vector<std::string> texts_;
  std::string ks_, past_, prefix_end_;
  bool offline_ = false, count_words_ = false;
  int read_words_ = 0, read_tokens_ = 0, read_ms_ = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_POLICY_FLAGS_H_
