#ifndef LEAPSTREAM_SERVER_WIRE_POLICY_CONFIG_H_
#define LEAPSTREAM_SERVER_WIRE_POLICY_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "model/api/model.h"
#include "streaming/session.h"

namespace leapstream {

// Sets the policy of `options`, and what goes with any policy: the chunks of source, the decoder's
// past and the end of a prefix. INVALID_ARGUMENT: an enum value that does not exist, or an option
// that the policy does not take; the scheduler checks the ranges, and that the model takes them.
absl::Status ReadPolicy(const v1::DecodingPolicy& policy, const ModelInfo& model,
                        SessionOptions* options);

// Writes to `policy` what ReadPolicy() reads, with the defaults of the policy's numbers, and the
// past that it has with this model.
void ShowPolicy(const SessionOptions& options, const ModelInfo& model,
                v1::DecodingPolicy* policy);

// The policies that `model` takes: names of DecodingPolicy's fields, in the order of its numbers.
std::vector<std::string> PolicyNames(const ModelInfo& model);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_POLICY_CONFIG_H_
