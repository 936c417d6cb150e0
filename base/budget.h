#ifndef LEAPSTREAM_BASE_BUDGET_H_
#define LEAPSTREAM_BASE_BUDGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

// The most that one client, call or turn may cost, in bytes and rows and not in tokens alone. Every bound
// that is no setting stands here, and nowhere else; docs/operating.md, "Budgets", has the same list
// with the test that holds each.
namespace leapstream::budget {

// A turn of the step thread. Source tokens, and target tokens that are replayed; beyond it, each
// session still has one.
inline constexpr int kRowsPerTurn = 64;
inline constexpr size_t kSessionsPerTurn = 256;

// The work of one turn beside the model's, and the share that one session may have. A unit is about what
// scanning a byte of text takes; 64 K of them are about a millisecond. When they are used up, those
// who have not had their turn yet are the first of the next one.
inline constexpr int64_t kWorkPerTurn = 64 << 10;
inline constexpr int64_t kWorkPerSession = 16 << 10;
inline constexpr int64_t kInputWork = 128;         // Taking an input from the inbox.
inline constexpr int64_t kIdsPerWork = 4;          // Source token ids that are checked.
inline constexpr int64_t kPieceWork = 8;           // Looking up a source piece.
inline constexpr int64_t kEncodedByteWork = 8;     // Tokenising a byte.
inline constexpr int64_t kEmptyWordWork = 1024;    // A word without pieces, which no row counts.
inline constexpr int64_t kResampledWork = 4;       // A sample, at another rate than the model's.
inline constexpr int64_t kSegmentWork = 2048;      // Completing a segment.

// A longer word of source is cut, so that holding and tokenising one has a bound.
inline constexpr size_t kWordBytes = 1024;

// Encoder rows of one turn, of models that encode all that was read anew after each READ. One
// session always has its own.
inline constexpr int64_t kEncoderRowsPerTurn = 512;

// Source tokens, and as many target tokens, that a session's state is expected to have room for in
// the memory for states (max_state_bytes), and may keep between its segments.
inline constexpr int64_t kTypicalSegmentTokens = 500;

// One session's inbox.
inline constexpr int64_t kInputBytes = 64;  // What an input counts besides its content.
// Most inputs a session may have queued, whatever their size: to receive one takes longer than to
// store it. A live speaker has only a few.
inline constexpr size_t kQueuedInputs = 128;

// A connection. Headers of a call, as HPACK counts them: 32 bytes more for each.
inline constexpr int kHeaderBytes = 128 << 10;

// The bytes that gRPC may hold, of all connections: a share of the free memory, or more if that is
// little or many sessions may be open.
inline constexpr int64_t kBufferShare = 8;
inline constexpr int64_t kLeastBufferBytes = 64 << 20;
inline constexpr int64_t kBufferBytesPerSession = 128 << 10;

// Calls over a limit that may yet turn out to resume a session that is open here, whose place they
// then take; and how long each may take to say so.
inline constexpr int kUndecidedCalls = 64;
inline constexpr absl::Duration kUndecidedTime = absl::Seconds(1);

// A call of Translate. Lines of its text, and bytes of the translation: the most that gRPC's clients
// take unless told otherwise, less what else the message has.
inline constexpr int64_t kTranslateLines = 1 << 16;
inline constexpr size_t kTranslationBytes = (4 << 20) - 1024;

// The texts of all calls together: a share of the free memory, or more if that is little. A
// Translate has its text, the translation, and the message that this becomes: so many times its
// request from the start, and more when they grow beyond. A config may have the tokens of a resume,
// which take four bytes for each of its own, and twice that while it is read.
inline constexpr int64_t kTextShare = 8;
inline constexpr int64_t kLeastTextBytes = 16 << 20;
inline constexpr int64_t kBytesPerTextByte = 3;
inline constexpr int64_t kBytesPerConfigByte = 8;

// The log.
inline constexpr size_t kLogBytes = 256 << 10;    // Lines that nobody has read yet.
inline constexpr size_t kLogLineBytes = 16 << 10;
inline constexpr size_t kLogValueBytes = 200;     // A field, and a line of gRPC itself.

// A client. Addresses of one name that it connects to.
inline constexpr size_t kAddressesPerName = 64;

// Descriptors.
inline constexpr int kMaxDescriptors = 1 << 20;  // Of the process, whatever its hard limit is.
// A fourth of the limit, within these, is for all but connections to the gRPC port: the HTTP port
// has half of it, the admin port most of the rest, and files that are read again the last fourth.
inline constexpr int kLeastReservedDescriptors = 16;
inline constexpr int kMostReservedDescriptors = 64;
inline constexpr int kServerDescriptors = 8;  // That gRPC and the ports take of their own.

// Threads of a gRPC port for calls that need one each: those of administrators, and reflection,
// which anybody may ask for and hold open.
inline constexpr int kCallThreads = 64;
// A connection without a call is closed then.
inline constexpr absl::Duration kIdleConnection = absl::Minutes(5);

// A connection to a gRPC port has this long for TLS and HTTP/2 to begin.
inline constexpr int kHandshakeMilliseconds = 20000;
// Streams of one HTTP/2 connection beyond max_sessions, for the calls that are no sessions: a proxy
// may have one connection for all clients.
inline constexpr int kStreamsBesideSessions = 1000;

// The HTTP port. A connection has this long for a request and its answer, however it dawdles.
inline constexpr int kHttpMilliseconds = 5000;
inline constexpr size_t kHttpHeadBytes = 8 << 10;

// Freed memory that is kept for the next one who needs some.
inline constexpr size_t kIdleHeapBytes = 32 << 20;

}  // namespace leapstream::budget

#endif  // LEAPSTREAM_BASE_BUDGET_H_
