#include "model/api/tokenizers/normaliser_rules.h"

namespace leapstream {
namespace {

uint32_t Word(absl::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// darts-clone's layout of a unit: the highest bit marks a leaf, the lowest byte is the label.
constexpr uint32_t kLeaf = uint32_t{1} << 31;
constexpr uint32_t kLabel = kLeaf | 0xff;
size_t OffsetOf(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 0x200) >> 6); }

}  // namespace

bool NormaliserRules::IsSafe(absl::string_view map) {
  if (map.empty()) return true;
  if (map.size() <= 4) return false;
  const size_t trie_bytes = Word(map, 0);
  if (trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes >= map.size() - 4) return false;
  const size_t units = trie_bytes / 4;
  const size_t text_bytes = map.size() - 4 - trie_bytes;
  if (map.back() != '\0') return false;  // Leaves point to texts that end with NUL.
  for (size_t i = 0; i < units; ++i) {
    const uint32_t unit = Word(map, 4 + 4 * i);
    if ((unit & kLeaf) != 0) {
      if ((unit & ~kLeaf) >= text_bytes) return false;
    } else if (((i ^ OffsetOf(unit)) | 0xff) >= units) {
      return false;
    }
  }
  return true;
}

NormaliserRules::NormaliserRules(absl::string_view map)
    : units_(map.empty() ? absl::string_view() : map.substr(4, Word(map, 0))) {}

uint32_t NormaliserRules::Unit(size_t at) const { return Word(units_, 4 * at); }

bool NormaliserRules::GoesOn(absl::string_view text) const {
  if (units_.empty()) return false;
  size_t at = OffsetOf(Unit(0));
  for (const char c : text) {
    at ^= static_cast<unsigned char>(c);
    const uint32_t unit = Unit(at);
    if ((unit & kLabel) != static_cast<unsigned char>(c)) return false;
    at ^= OffsetOf(unit);
  }
  for (uint32_t c = 1; c < 256; ++c) {
    if ((Unit(at ^ c) & kLabel) == c) return true;
  }
  return false;
}

}  // namespace leapstream
