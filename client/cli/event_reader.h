#ifndef LEAPSTREAM_CLIENT_CLI_EVENT_READER_H_
#define LEAPSTREAM_CLIENT_CLI_EVENT_READER_H_

#include <istream>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {

// Reads the events of a recorded run one after the other. Each event is a JSON object with a text
// "event", in the shape of `leapstream translate --json` and --trace. The input is of that shape,
// or has the answers of StreamTranslate in the JSON of Protocol Buffers, as grpcurl and other tools
// print them: an answer on one line or on several, or several on one; with names of either form,
// 64-bit numbers as texts, zeros left out. Not thread-safe.
class EventReader {
 public:
  explicit EventReader(std::istream* input) : input_(input) {}  // `input` must outlive this.

  // Returns the next event; nullopt: there are no more. INVALID_ARGUMENT: the next object is no
  // event of either shape.
  absl::StatusOr<std::optional<nlohmann::json>> Next();

  // Returns INVALID_ARGUMENT with the line and the beginning of the event that Next() returned
  // last.
  absl::Status NotAnEvent() const;

 private:
  // Reads the next line into rest_ if rest_ is empty. False: there is none.
  bool NextLine();
  // Reads the next object into text_. False: there is none.
  bool ReadObject();

  std::istream* const input_;
  std::string text_;
  std::string rest_;  // The rest of the last line, after text_.
  int line_ = 0;    // The number of the last line that was read.
  int began_ = 0;   // The number of the first line of text_.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVENT_READER_H_
