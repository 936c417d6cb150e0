#include "client/cli/typed_words.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace leapstream::client {
namespace {

constexpr char kBackspace = 0x08, kDelete = 0x7F, kEscape = 0x1B;
constexpr char Control(char letter) { return static_cast<char>(letter - '@'); }

void RemoveLastCharacter(std::string& text) {
  while (!text.empty()) {
    const bool continues = (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80;
    text.pop_back();
    if (!continues) return;
  }
}

}  // namespace

std::string TypedWords::Append(absl::string_view bytes) {
  std::string complete;
  for (const char c : bytes) {
    if (ended_) break;
    if (escape_ == Escape::kBegun) {
      escape_ = c == '[' || c == 'O' ? Escape::kSequence : Escape::kNone;
    } else if (escape_ == Escape::kSequence) {
      if (c >= '@' && c <= '~') escape_ = Escape::kNone;
    } else if (c == kEscape) {
      escape_ = Escape::kBegun;
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      absl::StrAppend(&complete, std::exchange(open_, ""), c == ' ' || c == '\t' ? " " : "\n");
    } else if (c == kBackspace || c == kDelete) {
      RemoveLastCharacter(open_);
    } else if (c == Control('U') || c == Control('W')) {
      open_.clear();
    } else if (c == Control('D')) {
      ended_ = true;
    } else if (static_cast<unsigned char>(c) >= ' ') {
      open_ += c;
    }
  }
  if (ended_) complete += Finish();
  return complete;
}

std::string TypedWords::Finish() {
  ended_ = true;
  return std::exchange(open_, "");
}

}  // namespace leapstream::client
