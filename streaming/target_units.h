#ifndef LEAPSTREAM_STREAMING_TARGET_UNITS_H_
#define LEAPSTREAM_STREAMING_TARGET_UNITS_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model.h"

namespace leapstream {

// The units in which a target is written: words with the punctuation behind them, and in scripts
// without spaces the pieces of characters. Const and thread-safe.
class TargetUnits {
 public:
  static constexpr TokenId kNone = -1;  // The token before the first one.

  explicit TargetUnits(const Model& model) : model_(model) {}  // `model` must outlive this.

  // Whether a unit begins with `id` behind the token `previous`.
  bool Begins(TokenId previous, TokenId id) const;
  // Whether the last one of `ids` ends a character. False: it is one of several bytes, and others
  // are missing.
  bool EndsCharacter(absl::Span<const TokenId> ids) const;
  // The length of the longest beginning of `ids`, `most` at most, that is whole units. A unit is
  // whole if the token behind it begins another one or ends the target. `previous`: the token before
  // `ids`; `next`: the one behind them, or
  // kNone if it is not known; `end`: the token that ends a target.
  struct Around {
    TokenId previous;
    TokenId next;
    TokenId end;
  };
  int Whole(absl::Span<const TokenId> ids, int most, const Around& around) const;
  // The length of the first unit of `ids`; 0: it is not whole.
  int First(absl::Span<const TokenId> ids, const Around& around) const;

 private:
  // Whether a unit ends between the first `count` of `ids` and the token behind these.
  bool Cuts(absl::Span<const TokenId> ids, int count, const Around& around) const;

  const Model& model_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TARGET_UNITS_H_
