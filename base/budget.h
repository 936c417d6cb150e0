#ifndef LEAPSTREAM_BASE_BUDGET_H_
#define LEAPSTREAM_BASE_BUDGET_H_

#include <cstddef>
#include <cstdint>

// What one client, call or turn may cost, in bytes and rows and not in tokens alone. Every bound
// that is no setting stands here, and nowhere else; docs/operating.md, "Budgets", has the same list
// with the test that holds each.
namespace leapstream::budget {

// A turn of the step thread. Source tokens, and target tokens that are replayed; beyond it, each
// session still has one.
inline constexpr int kRowsPerTurn = 64;
inline constexpr size_t kSessionsPerTurn = 256;

// The same turn's work beside the model's, and what a session may have of it. A unit is about what
// scanning a byte of text takes; 64 K of them are about a millisecond. When they are used up, those
// who have not had their turn yet are the first of the next one.
inline constexpr int64_t kWorkPerTurn = 64 << 10;
inline constexpr int64_t kWorkPerSession = 16 << 10;
inline constexpr int64_t kInputWork = 128;         // Taking an input from the inbox.
inline constexpr int64_t kIdsPerWork = 4;          // Source token ids that are checked.
inline constexpr int64_t kPieceWork = 8;           // Looking up a source piece.
inline constexpr int64_t kEncodedByteWork = 8;     // Tokenising a byte,
inline constexpr int64_t kEmptyWordWork = 1024;    // and a word without pieces: no row counts it.
inline constexpr int64_t kResampledWork = 4;       // A sample, at another rate than the model's.
inline constexpr int64_t kSegmentWork = 2048;      // Completing a segment.

// A longer word of source is cut, so that holding and tokenising one has a bound.
inline constexpr size_t kWordBytes = 1024;

// Encoder rows of one turn, of models that encode all that was read anew after each READ. One
// session always has its own.
inline constexpr int64_t kEncoderRowsPerTurn = 512;

// Of a source and a target token each: what a session is expected to need in the memory for states
// (max_state_bytes), and may keep between its segments.
inline constexpr int64_t kTypicalSegmentTokens = 500;

// One session's inbox.
inline constexpr int64_t kInputBytes = 64;  // What an input counts besides its content.
// Most inputs a session may have queued, whatever their size: to receive one takes longer than to
// store it. A live speaker has only a few.
inline constexpr size_t kQueuedInputs = 128;

}  // namespace leapstream::budget

#endif  // LEAPSTREAM_BASE_BUDGET_H_
